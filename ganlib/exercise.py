"""The blackboard: tells a reader whether an answer to an exercise is right."""


def check(answer, is_right, *, hint):
    """Print one sentence: not answered yet (None), right, or not yet with the `hint`. `is_right(answer)` -> bool."""
    if answer is None:
        print("Not answered yet.")
    elif is_right(answer):
        print("Right.")
    else:
        print(f"Not yet: {hint}")
