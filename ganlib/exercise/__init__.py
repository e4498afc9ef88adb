"""Tells a reader whether an answer to an exercise is right.

The questions stand on the pages. What is right, and a hint, is in `questions.toml`
beside this file: the notebooks check against it, and the site makes its forms from it.
"""

import tomllib
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from ganlib.errors import GanlibError

QUESTIONS = Path(__file__).with_name("questions.toml")


@cache
def load_questions() -> dict[str, dict[str, Any]]:
    """{key: what is known of a question}; the head of questions.toml has the fields.

    The key of an exercise is its page and its number, "7.1", that of a prediction its
    page and a letter, "7.a".
    """
    return tomllib.loads(QUESTIONS.read_text(encoding="utf-8"))


def check(key: str, answer: Any) -> None:
    """Print one sentence: not answered yet (None), right, or not yet, with a hint.

    Args:
        key: that of the exercise, as "7.1".
        answer: a number, a letter, or what the exercise asks to write.

    Raises GanlibError for a key that no exercise has.
    """
    questions = load_questions()
    if key not in questions:
        raise GanlibError(
            f"There is no exercise {key!r}; a key is a page and a number, as '7.1'."
        )
    if answer is None:
        print("Not answered yet.")
    elif problem := what_is_wrong(questions[key], answer):
        print(f"Not yet: {problem}")
    else:
        print("Right.")


def what_is_wrong(question: dict[str, Any], answer: Any) -> str:
    """Why an answer is not right, in a sentence; nothing if it is."""
    right = question["answer"]
    if "checker" in question:
        checkers = import_module("ganlib.exercise.checkers")
        passed = getattr(checkers, question["checker"])(answer)
    elif isinstance(right, str):
        letters = letters_of(question)
        if not isinstance(answer, str) or answer.strip().lower() not in letters:
            return f"the answer is one of the letters {', '.join(letters)}, in quotes."
        passed = answer.strip().lower() == right
    else:
        try:
            passed = abs(float(answer) - right) <= question["tolerance"]
        except (TypeError, ValueError, RuntimeError):
            return "the answer is a number."
    return "" if passed else question["hint"]


def letters_of(question: dict[str, Any]) -> list[str]:
    """The letters of the options among which a question lets one choose."""
    options = question["options"]
    return [chr(ord("a") + place) for place in range(len(options))]
