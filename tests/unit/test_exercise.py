"""Three possible sentences."""

import pytest
import torch

from ganlib.exercise import check


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (None, "Not answered yet."),
        (3, "Right."),
        (4, "Not yet: count them."),
        (0, "Not yet: count them."),
    ],
)
def test_what_it_says(answer, sentence, capsys):
    check(answer, lambda answer: answer == 3, hint="count them.")
    assert capsys.readouterr().out == sentence + "\n"


def test_an_open_exercise_is_not_checked(capsys):
    check(None, lambda answer: 1 / 0, hint="")
    assert capsys.readouterr().out == "Not answered yet.\n"


def test_tensors_are_answers_too(capsys):
    check(torch.tensor(2.0), lambda answer: (answer - 2).abs() < 0.1, hint="")
    assert capsys.readouterr().out == "Right.\n"
