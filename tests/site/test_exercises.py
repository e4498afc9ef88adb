"""The questions of the built pages, answered by keyboard alone, and without JavaScript."""

import json
import re
from base64 import b64decode

import pytest
from browser import SIZES, open_page, violations, watched_page
from test_site import NAMES, built

from ganlib.exercise import load_questions

QUESTIONS = load_questions()
NOTEBOOKS = {
    int(name.split("/")[1][:2]): name for name in NAMES if name.startswith("notebooks/")
}
NUMBER, CHOICE, WRITTEN, PREDICTION = "7.2", "7.1", "7.3", "7.b"


def place_of(page, key):
    return page.locator(f"#question-{key.replace('.', '-')}")


def opened(page, key):
    """The page of a question, and its place."""
    open_page(page, built(NOTEBOOKS[int(key.split(".")[0])]))
    return place_of(page, key)


def solution_of(place):
    return place.locator("xpath=following-sibling::*[1][self::details]")


def answer_by_keyboard(page, place, answer):
    """Type a number, or go down to an option, and press Check; nothing for None."""
    if place.get_by_role("textbox").count():
        place.get_by_role("textbox").focus()
        page.keyboard.press("Control+a")
        page.keyboard.type("" if answer is None else str(answer))
        page.keyboard.press("Enter")
        return
    options = place.get_by_role("radio")
    options.first.focus()
    if answer is not None:
        page.keyboard.press("Space")
        for _ in range(ord(answer) - ord("a")):
            page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.tagName") == "BUTTON"
    page.keyboard.press("Enter")


def wrong_answer(key):
    question = QUESTIONS[key]
    return question["wrong"][0] if "wrong" in question else other(question["answer"])


def other(letter):
    return "b" if letter == "a" else "a"


@pytest.mark.parametrize("key", [NUMBER, CHOICE, WRITTEN])
def test_an_exercise_says_at_once_what_an_answer_is_worth(chromium, key):
    with watched_page(chromium) as page:
        place = opened(page, key)
        said, hint = place.get_by_role("status"), place.locator("details.hint")
        assert said.inner_text() == "" and not hint.is_visible()
        assert solution_of(place).get_attribute("open") is None
        answer_by_keyboard(page, place, None)
        assert said.inner_text().startswith("Not answered yet")
        assert not hint.is_visible()
        answer_by_keyboard(page, place, wrong_answer(key))
        assert said.inner_text().startswith("Not yet. ")
        assert (
            hint.is_visible() and hint.inner_text().split("\n")[-1] in said.inner_text()
        )
        assert solution_of(place).get_attribute("open") is None
        answer_by_keyboard(page, place, wrong_answer(key))
        assert "solution" in said.inner_text()
        assert solution_of(place).get_attribute("open") is not None
        answer_by_keyboard(page, place, QUESTIONS[key]["answer"])
        assert said.inner_text().startswith("Right.")
        assert page.troubles == []


@pytest.mark.parametrize("key", [NUMBER, CHOICE, WRITTEN])
def test_a_right_answer_opens_the_solution(chromium, key):
    with watched_page(chromium) as page:
        place = opened(page, key)
        answer_by_keyboard(page, place, QUESTIONS[key]["answer"])
        assert place.get_by_role("status").inner_text().startswith("Right.")
        assert solution_of(place).get_attribute("open") is not None
        assert not place.locator("details.hint").is_visible()


def test_numbers_may_be_written_as_people_write_them(chromium):
    written = {"3.338": True, "3,34": True, " 3.34 ": True, "10.014/3": True}
    written |= {"-3.34": False, "−3.34": False, "334": False, "3.34.": False}
    with watched_page(chromium) as page:
        place = opened(page, NUMBER)
        for text, right in written.items():
            answer_by_keyboard(page, place, text)
            said = place.get_by_role("status").inner_text()
            assert said.startswith("Right." if right else ("Not yet.", "That is not"))


def test_a_word_is_no_number(chromium):
    with watched_page(chromium) as page:
        place = opened(page, NUMBER)
        answer_by_keyboard(page, place, "many")
        assert "not a number" in place.get_by_role("status").inner_text()
        assert not place.locator("details.hint").is_visible()


@pytest.mark.parametrize("guess", ["right", "wrong", "none"])
def test_outputs_unfold_after_a_prediction(chromium, guess):
    with watched_page(chromium) as page:
        place = opened(page, PREDICTION)
        result = page.get_by_text(QUESTIONS[PREDICTION]["shown"])
        assert not result.is_visible()
        answer_by_keyboard(page, place, None)
        said = place.get_by_role("status")
        assert (
            said.inner_text() == "Choose one of them first." and not result.is_visible()
        )
        right = QUESTIONS[PREDICTION]["answer"]
        if guess == "none":
            place.get_by_role("button", name="without a guess").press("Enter")
        else:
            answer_by_keyboard(page, place, right if guess == "right" else other(right))
        assert result.is_visible()
        assert said.inner_text().startswith(
            "Right." if guess == "right" else f"It is {right}."
        )
        assert page.evaluate("document.activeElement.className") == "feedback"


@pytest.mark.parametrize("number", NOTEBOOKS)
def test_every_question_of_a_page_takes_its_answer(chromium, number):
    with watched_page(chromium) as page:
        open_page(page, built(NOTEBOOKS[number]))
        for key in [key for key in QUESTIONS if key.split(".")[0] == str(number)]:
            place = place_of(page, key)
            closed = page.locator("[hidden=until-found]").count()
            if key[-1].isdigit():
                answer_by_keyboard(page, place, wrong_answer(key))
                assert place.get_by_role("status").inner_text().startswith("Not yet. ")
            answer_by_keyboard(page, place, QUESTIONS[key]["answer"])
            assert place.get_by_role("status").inner_text().startswith("Right.")
            still_closed = page.locator("[hidden=until-found]").count()
            assert (
                still_closed == closed if key[-1].isdigit() else still_closed < closed
            )
        assert page.locator("[hidden=until-found]").count() == 0
        assert page.troubles == []


def test_without_javascript_everything_can_be_read(chromium):
    with watched_page(chromium, java_script_enabled=False) as page:
        page.goto(built(NOTEBOOKS[7]).resolve().as_uri())
        for key in (NUMBER, CHOICE, WRITTEN):
            hint = place_of(page, key).locator("details.hint")
            assert hint.is_visible() and hint.locator("summary").inner_text() == "Hint"
            assert solution_of(place_of(page, key)).is_visible()
        options = place_of(page, CHOICE).locator("li")
        assert options.count() == 4 and options.last.is_visible()
        assert page.get_by_text(QUESTIONS[PREDICTION]["shown"]).is_visible()
        assert (
            page.get_by_role("radio").count() == 0
            and page.locator(".exercise button").count() == 0
        )


def test_on_paper_results_and_solutions_are_there(chromium):
    with watched_page(chromium) as page:
        place = opened(page, PREDICTION)
        page.emulate_media(media="print")
        assert page.get_by_text(QUESTIONS[PREDICTION]["shown"]).is_visible()
        assert not place.get_by_role("button").first.is_visible()
        words = solution_of(place_of(page, WRITTEN)).locator("p").last
        assert words.bounding_box()["height"] > 10 and words.is_visible()


@pytest.mark.parametrize("name", NOTEBOOKS.values())
def test_no_page_shows_what_is_right(name):
    text = built(name).read_text(encoding="utf-8")
    words = re.sub("<[^>]+>", "", text)  # the highlighter wraps parts of a line
    assert "answer_1 = None" not in words and "ganlib.exercise import check" in words
    keys = re.findall(
        r'<div class="exercise" id="[\w-]+" data-key="([\d.a-z]+)" data-right="([\w=]+)"',
        text,
    )
    assert len(keys) == text.count('class="exercise"') >= 4 or name.endswith("jovian")
    for key, encoded in keys:
        right = json.loads(b64decode(encoded))
        assert right["answer"] == QUESTIONS[key]["answer"]


@pytest.mark.parametrize("width", SIZES)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_checker_of_accessibility_has_nothing_against_answered_questions(
    chromium, width, theme
):
    with watched_page(chromium, color_scheme=theme) as page:
        opened(page, NUMBER)
        page.set_viewport_size({"width": width, "height": 900})
        answer_by_keyboard(page, place_of(page, NUMBER), wrong_answer(NUMBER))
        answer_by_keyboard(page, place_of(page, CHOICE), QUESTIONS[CHOICE]["answer"])
        answer_by_keyboard(page, place_of(page, PREDICTION), "a")
        for key in (NUMBER, CHOICE, WRITTEN, PREDICTION, "7.a"):
            assert violations(page, f"#question-{key.replace('.', '-')}") == []
        targets = page.locator(
            ".exercise :is(button, .option, input[type=text]):visible"
        ).all()
        assert all(target.bounding_box()["height"] >= 43.5 for target in targets)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
