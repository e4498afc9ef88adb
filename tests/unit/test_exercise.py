"""What a reader hears of an answer, and that the stored answers are the right ones."""

import itertools
import json
import math
import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from ganlib import losses, models
from ganlib.checkpoint import load_generator, load_run
from ganlib.config import replace
from ganlib.data import load, transforms
from ganlib.exercise import check, checkers, letters_of, load_questions, what_is_wrong
from ganlib.metrics import knn_radii
from ganlib.recipes import recipe
from ganlib.results import load_result
from ganlib.sampling import sample_images, sample_noise
from ganlib.training import fit, new_state

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "notebooks").glob("*.ipynb"))
QUESTIONS = load_questions()
EXERCISES = {key: one for key, one in QUESTIONS.items() if key[-1].isdigit()}
PREDICTIONS = {key: one for key, one in QUESTIONS.items() if key not in EXERCISES}
NUMBERS = {key: one for key, one in EXERCISES.items() if "tolerance" in one}
LETTERS = {
    key: one
    for key, one in EXERCISES.items()
    if key not in NUMBERS and "checker" not in one
}
WRITTEN = {key: one for key, one in EXERCISES.items() if "template" in one}
CHECK = re.compile(
    r'answer_(\d) = None  # (?P<what>.+)\ncheck\("(?P<key>[\d.]+)", answer_\1\)'
)
MARK = re.compile(
    r"<!-- predict (\d+\.[a-z]) -->\n\*\*Predict\.\*\* .+\n\n((?:- .+\n?)+)"
)
OPTION = re.compile(r"^- \*\*([a-z])\*\* .+$", re.M)

of_each = pytest.mark.parametrize
# What the working of an answer may use.
NAMES = {
    "load": load,
    "load_generator": load_generator,
    "load_result": load_result,
    "load_run": load_run,
    "losses": losses,
    "math": math,
    "models": models,
    "nn": nn,
    "sample_images": sample_images,
    "sample_noise": sample_noise,
    "torch": torch,
    "transforms": transforms,
    "update_bn": update_bn,
}


def cells_of(page):
    return json.loads(page.read_text())["cells"]


def source(cell):
    return "".join(cell["source"])


# What a reader hears


@of_each(
    ("answer", "sentence"),
    [
        (None, "Not answered yet."),
        (4, "Right."),
        (torch.tensor(4.0), "Right."),
        (True, "Not yet: look for"),
        (5, "Not yet: look for"),
        ("four", "Not yet: the answer is a number."),
        (torch.zeros(2), "Not yet: the answer is a number."),
    ],
)
def test_what_a_number_gets(answer, sentence, capsys):
    check("9.2", answer)
    said = capsys.readouterr().out
    assert said.startswith(sentence) and said.endswith("\n")


@of_each(
    ("answer", "sentence"),
    [
        (None, "Not answered yet."),
        ("c", "Right."),
        (" C ", "Right."),
        ("a", "Not yet: what does the best D say"),
        ("e", "Not yet: the answer is one of the letters a, b, c, d, in quotes."),
        (3, "Not yet: the answer is one of the letters a, b, c, d, in quotes."),
    ],
)
def test_what_a_letter_gets(answer, sentence, capsys):
    check("9.3", answer)
    assert capsys.readouterr().out.startswith(sentence)


def test_an_exercise_that_is_not_there_is_refused(says):
    with says("'99.1'", "7.1"):
        check("99.1", 3)


def test_a_mistake_in_what_a_reader_wrote_is_shown():
    with pytest.raises(ZeroDivisionError):
        check("7.3", lambda real_logits, fake_logits: 1 / 0)


# The stored answers


@of_each("key", EXERCISES)
def test_a_right_answer_passes_and_likely_wrong_ones_fail(key):
    question = EXERCISES[key]
    if key in NUMBERS:
        assert what_is_wrong(question, question["answer"]) == ""
        assert len(question["wrong"]) >= 2
        for number in question["wrong"]:
            assert what_is_wrong(question, number) == question["hint"]
    elif key in LETTERS:
        letters = letters_of(question)
        passed = [one for one in letters if what_is_wrong(question, one) == ""]
        assert passed == [question["answer"]] and len(letters) >= 3
    else:
        assert hasattr(checkers, question["checker"])
        assert question["answer"] in letters_of(question)
        assert key in WRITTEN or key in TRAINED, "nothing tries its options"


@of_each("key", WRITTEN)
def test_of_the_lines_to_choose_from_one_does_it(key):
    question = WRITTEN[key]
    outcomes = {}
    for letter, line in zip(letters_of(question), question["options"], strict=True):
        names = {
            "torch": torch,
            "nn": nn,
            "knn_radii": knn_radii,
            "new_state": new_state,
        }
        exec(question["template"].strip().replace("{}", line), names)
        outcomes[letter] = what_is_wrong(question, names["answer"])
    assert [one for one, wrong in outcomes.items() if not wrong] == [question["answer"]]


@of_each("key", [key for key, one in QUESTIONS.items() if "working" in one])
def test_the_working_leads_to_the_answer(key):
    question = QUESTIONS[key]
    names = dict(NAMES)
    exec(question["working"], names)
    if key in NUMBERS:
        assert what_is_wrong(question, names["answer"]) == ""
    else:
        assert names["answer"] is True


# What is trained: the checkers, tried on states that nobody has to train


def after(config, epochs, **parts):
    """A state as it may be after so many epochs, but for its weights."""
    state = new_state(config)
    record = load_run("textbook-tuned")[0][0]
    numbers = {name: parts.pop(name) for name in record._fields if name in parts}
    state.history = [record._replace(**numbers)] * epochs
    for name, part in parts.items():
        setattr(state, name, part)
    return state


class OneDigit(nn.Module):
    """A generator of one picture of the digits of scikit-learn."""

    def __init__(self):
        super().__init__()
        self.image = nn.Parameter(transforms.normalize(load("digits").pixels[:1]))

    def forward(self, z):
        return self.image.expand(len(z), -1, -1, -1)


def without_average(epochs=2, **changes):
    usual = recipe("textbook-tuned", dataset="digits", epochs=2, ema_decay=0.0)
    state = new_state(replace(usual, **changes))
    for _ in itertools.islice(fit(state, load("digits").pixels), epochs):
        pass
    return state


def flat(**changes):
    config = recipe("fashion-mnist", dataset="digits", r1_weight=100.0, epochs=10)
    return replace(config, **changes)


def quick_g(**changes):
    config = recipe("textbook-tuned", ema_decay=0.0, epochs=2, learning_rate_g=1e-2)
    return replace(config, **changes)


TRAINED = {
    "8.3": (
        without_average,
        [
            lambda: without_average(real_label=1.0),
            lambda: without_average(ema_decay=0.9),
            lambda: without_average(epochs=1),
        ],
    ),
    "12.2": (
        lambda: after(quick_g(), 2, G=OneDigit()),
        [
            lambda: after(quick_g(), 2, G=load_generator("textbook-tuned")[0]),
            lambda: after(quick_g(), 1, G=OneDigit()),
            lambda: after(quick_g(learning_rate_d=5e-5), 2, G=OneDigit()),
        ],
    ),
    "15.1": (
        lambda: after(flat(), 10, d_real=0.46, d_fake_after=0.45),
        [
            lambda: after(flat(), 10, d_real=0.49, d_fake_after=0.42),
            lambda: after(flat(r1_weight=0.3), 10, d_real=0.46, d_fake_after=0.45),
            lambda: after(flat(), 9, d_real=0.46, d_fake_after=0.45),
        ],
    ),
    "15.3": (
        lambda: after(recipe("mnist"), 12, G_ema=load_generator("mnist")[0]),
        [
            lambda: after(recipe("mnist"), 17, G_ema=load_generator("mnist")[0]),
            lambda: after(recipe("mnist"), 12),
            lambda: after(
                recipe("textbook-tuned"), 12, G_ema=load_generator("mnist-drift")[0]
            ),
        ],
    ),
}


@of_each("key", TRAINED)
def test_a_run_that_does_it_passes_and_others_fail(key):
    right, wrong = TRAINED[key]
    assert what_is_wrong(EXERCISES[key], right()) == ""
    for make in wrong:
        assert what_is_wrong(EXERCISES[key], make()) == EXERCISES[key]["hint"]


# The pages


def test_every_question_stands_on_one_page_and_is_counted_from_one():
    found = []
    for page in PAGES:
        number, text = int(page.name[:2]), ""
        for cell in cells_of(page):
            text += source(cell) + "\n\n"
        keys = [match["key"] for match in CHECK.finditer(text)]
        assert keys == [f"{number}.{place}" for place in range(1, len(keys) + 1)]
        assert len(keys) >= 2, page.name
        marks = [match[1] for match in MARK.finditer(text)]
        assert marks == [f"{number}.{chr(97 + place)}" for place in range(len(marks))]
        assert len(marks) >= 2 or number == 14, page.name
        assert text.count("**Predict.**") == len(marks), "without a mark, or options"
        found += keys + marks
    assert sorted(found) == sorted(QUESTIONS)


@of_each("page", PAGES, ids=lambda page: page.stem)
def test_no_cell_shows_an_answer_and_every_solution_is_folded(page):
    cells = cells_of(page)
    for place, cell in enumerate(cells):
        if cell["cell_type"] == "code" and "check(" in source(cell):
            assert CHECK.fullmatch(source(cell)), source(cell)
            assert "".join(cell["outputs"][0]["text"]) == "Not answered yet.\n"
            assert source(cells[place + 1]).startswith(
                "<details><summary>Solution</summary>\n\n"
            )
    folded = "".join(source(cell) for cell in cells).count(
        "<summary>Solution</summary>"
    )
    assert folded == sum(bool(CHECK.search(source(cell))) for cell in cells)


@of_each("page", PAGES, ids=lambda page: page.stem)
def test_the_options_of_a_page_are_those_that_are_checked(page):
    cells = cells_of(page)
    for place, cell in enumerate(cells):
        if found := CHECK.search(source(cell)):
            question = QUESTIONS[found["key"]]
            listed = OPTION.findall(source(cells[place - 1]))
            if found["key"] in LETTERS:
                assert listed == letters_of(question)
                assert found["what"] == "a letter, in quotes"
            else:
                assert not listed
        for key, options in MARK.findall(source(cell)):
            assert OPTION.findall(options) == letters_of(QUESTIONS[key]) == [*"abc"]
            assert source(cell).endswith(options), "nothing between options and result"
            assert cells[place + 1]["cell_type"] == "code"


def text_after(key):
    """What is printed or tabulated after a prediction, up to the next prose, as stored."""
    text = ""
    (page,) = (page for page in PAGES if int(page.name[:2]) == int(key.split(".")[0]))
    cells = cells_of(page)
    mark = f"<!-- predict {key} -->"
    (place,) = (place for place, cell in enumerate(cells) if mark in source(cell))
    for cell in cells[place + 1 :]:
        if cell["cell_type"] != "code":
            return text
        for output in cell["outputs"]:
            text += "".join(output.get("text", ""))
            text += "".join(output.get("data", {}).get("text/plain", ""))
    return text


@of_each("key", [key for key, one in PREDICTIONS.items() if "shown" in one])
def test_the_output_after_a_prediction_is_what_its_answer_rests_on(key):
    assert PREDICTIONS[key]["shown"] in text_after(key)
