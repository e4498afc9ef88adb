"""The one error that speaks to the reader."""


class GanlibError(ValueError):
    """Something the reader can mend: one sentence, what is wrong and what is right."""
