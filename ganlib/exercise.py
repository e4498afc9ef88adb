"""Tells a reader whether an answer to an exercise is right."""

from collections.abc import Callable
from typing import Any


def check(answer: Any, is_right: Callable[[Any], Any], *, hint: str) -> None:
    """Print one sentence: not answered yet (None), right, or not yet with the `hint`.

    Args:
        is_right: function of an answer that is not None; true if it is right.
    """
    if answer is None:
        print("Not answered yet.")
    elif is_right(answer):
        print("Right.")
    else:
        print(f"Not yet: {hint}")
