"""What the book's own Sphinx extension writes, on a book of two pages that is built in a second."""

import json
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from types import SimpleNamespace

import pytest
from docutils import nodes
from sphinx.application import Sphinx

from ganlib.results import load_result

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "book" / "_ext"))
import book_site  # noqa: E402
import exercises  # noqa: E402

PAGES = {
    "index.rst": "A & B\n=====\n\nShort.\n\nThis is the first paragraph that has at least ten words in it.\n\n"
    ".. toctree::\n\n   deep/play\n",
    "deep/play.rst": 'Play\n====\n\nHere.\n\n.. raw:: html\n\n   <div class="gan-playground"></div>\n\n.. math:: x^2\n\n'
    ".. train-in-browser::\n\n   This stays without JavaScript.\n",
}
ADDRESS = "https://someone.example/book/"


@pytest.fixture
def build(tmp_path):
    """`build(html_baseurl="…")` -> (folder of the site, what the build said)."""

    def run(**config):
        source, site = tmp_path / "source", tmp_path / "site"
        for name, text in PAGES.items():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_text(text)
        said = (tmp_path / "said").open("w+")
        overrides = {
            "extensions": ["formulas", "book_site"],
            "html_title": "Book",
            **config,
        }
        static = {"html_static_path": [str(ROOT / "book" / "_static")]}
        app = Sphinx(
            source,
            None,
            site,
            tmp_path / "trees",
            "html",
            overrides | static,
            status=said,
            warning=said,
        )
        app.build()
        said.seek(0)
        return site, said.read()

    return run


def test_previews_have_title_words_and_a_picture(build):
    site, _ = build()
    text, deep = (
        (site / "index.html").read_text(),
        (site / "deep" / "play.html").read_text(),
    )
    assert (
        '<meta property="og:title" content="A &amp; B">' in text
        and 'og:site_name" content="Book"' in text
    )
    words = 'content="This is the first paragraph that has at least ten words in it."'
    assert (
        f'property="og:description" {words}' in text
        and f'name="description" {words}' in text
    )
    assert '<meta name="twitter:card" content="summary_large_image">' in text
    assert (
        'og:image" content="_static/social.png"' in text
        and 'og:image" content="../_static/social.png"' in deep
    )
    assert "og:url" not in text + deep


def test_a_public_address_is_carried_everywhere(build):
    site, _ = build(html_baseurl=ADDRESS)
    deep = (site / "deep" / "play.html").read_text()
    assert f'og:image" content="{ADDRESS}_static/social.png"' in deep
    assert f'og:url" content="{ADDRESS}deep/play.html"' in deep
    places = [
        place.text
        for place in ET.parse(site / "sitemap.xml").iter()
        if place.tag.endswith("loc")
    ]
    assert places == [f"{ADDRESS}deep/play.html", f"{ADDRESS}index.html"]
    assert f"Sitemap: {ADDRESS}sitemap.xml" in (site / "robots.txt").read_text()
    wrong = (site / "404.html").read_text()
    assert '<base href="/book/">' in wrong and wrong.index("<base") < wrong.index(
        "<link"
    ) < wrong.index("<script")


def test_without_an_address_there_is_no_sitemap_and_the_wrong_page_works_in_place(
    build,
):
    site, _ = build()
    assert not (site / "sitemap.xml").exists()
    assert (site / "robots.txt").read_text() == "User-agent: *\nAllow: /\n"
    assert (
        "<base" not in (site / "404.html").read_text()
        and "no such page" in (site / "404.html").read_text()
    )


def test_the_playground_comes_only_where_it_has_a_place(build):
    site, _ = build()
    for name, wanted in {"index.html": 0, "deep/play.html": 1, "404.html": 0}.items():
        text = (site / name).read_text()
        assert (text.count("playground.js"), text.count("playground.css")) == (
            wanted,
            wanted,
        ), name


def test_the_training_comes_only_where_it_has_a_place_with_the_explorer_in_it(build):
    site, _ = build()
    for name, wanted in {"index.html": 0, "deep/play.html": 1, "404.html": 0}.items():
        text = (site / name).read_text()
        found = text.count("trainer.js"), text.count("trainer.css")
        assert found == (wanted, wanted), name
    place = (site / "deep" / "play.html").read_text().split('<div class="gan-trainer">')
    words, parts = place[1].split('<script type="application/json" data-explorer>')
    assert "<p>This stays without JavaScript.</p>" in words
    parts = json.loads(parts.split("</script></div>")[0])
    assert "export default { render }" in parts["esm"] and ".ganlib" in parts["css"]


def test_an_explorer_with_a_result_has_a_slider_for_each_of_its_directions():
    widget = book_site.widget_of("avatars-dcgan", "inversion")
    directions = load_result("inversion")["directions"]
    assert repr(widget) == f"Editor of {', '.join(directions)}"
    assert widget.about["directions"] == directions
    assert "Explorer" in repr(book_site.widget_of("avatars-dcgan"))


def test_the_scores_of_networks_have_their_errors_and_commits():
    scores = {"frechet": 4.04, "kid": 3.4, "kid_error": 0.86, "recall": 0.5, "kl": None}
    facts = {
        "config": {"channels": 3},
        "scores": scores,
        "spread": {"frechet": 0.26, "kid": 9.9},
        "commit": "abc",
        "scored": {"commit": "def"},
    }
    text = "\n".join(book_site.scores_table(["a"], [facts])).replace("\u202f", " ")
    rows = [line.rsplit("| ", 1)[-1] for line in text.splitlines() if line[:1] == "|"]
    assert rows[2:] == ["4.0 ± 0.3 |", "3.4 ± 0.9 |", "0.500 |", "`abc` |", "`def` |"]
    assert "the standard error" in text and "(a bootstrap)" in text
    grey = facts | {"config": {"channels": 1}}
    assert "draws of noise" in book_site.scores_table(["a"], [grey])[-1]


def test_a_long_first_paragraph_is_cut_between_words(build):
    page = nodes.section("", nodes.paragraph(text="The question. " + "word " * 100))
    found = book_site.summary(page)
    assert (
        found.startswith("word word")
        and found.endswith("word …")
        and 190 < len(found) <= 202
    )
    assert (
        book_site.summary(nodes.section("", nodes.paragraph(text="Too short."))) == ""
    )


LINKED = (
    "\n`Code <https://github.com/OWNER/REPOSITORY/blob/main/a.py>`__\n\n"
    "% with address\nPublic.\n\n% end\n% without address\nNot yet.\n\n% end\n"
)


@pytest.mark.parametrize("slug", ["", "me/book"])
def test_links_to_the_repository_lead_there_or_are_words(build, monkeypatch, slug):
    monkeypatch.setitem(PAGES, "index.rst", PAGES["index.rst"] + LINKED)
    monkeypatch.setattr(book_site.set_address, "find", lambda: slug or None)
    site, _ = build()
    page = (site / "index.html").read_text()
    assert "OWNER/REPOSITORY" not in page and "Code" in page
    assert ("https://github.com/me/book/blob/main/a.py" in page) == bool(slug)
    assert ("Public." in page, "Not yet." in page) == (bool(slug), not slug)


def test_links_in_a_download_lead_there_or_are_words():
    link = "see [`a.py`](https://github.com/OWNER/REPOSITORY/blob/main/a.py), line 3"
    assert book_site.with_repository(link, "") == "see `a.py`, line 3"
    assert "(https://github.com/me/book/blob/main/a.py)" in (
        book_site.with_repository(link, "me/book")
    )


# Questions


def cell(code):
    """A code cell as MyST-NB makes it."""
    made = nodes.container("", nodes.literal_block(code, code), nb_element="cell_code")
    made += nodes.container("", nodes.literal_block(text="Not answered yet."))
    return made


def options(count):
    items = [
        nodes.list_item("", nodes.paragraph(text=f"{one}")) for one in range(count)
    ]
    return nodes.bullet_list("", *items)


@pytest.fixture
def asked(monkeypatch):
    """`asked(part, …)`: a page of these after the extension has seen it -> its children, what it warned of."""
    warned = []
    logger = SimpleNamespace(
        warning=lambda text, *words, location: warned.append(text % words)
    )
    monkeypatch.setattr(exercises, "logger", logger)
    app = SimpleNamespace(env=SimpleNamespace(note_dependency=lambda name: None))

    def run(*parts):
        page = nodes.section("", *parts)
        exercises.make_places(app, page)
        return page.children, warned

    return run


def test_the_options_of_a_choice_move_into_its_place_and_the_cell_goes(asked):
    question, listed = nodes.paragraph(text="Which?"), options(4)
    code = 'answer_1 = None  # a letter\ncheck("7.1", answer_1)'
    after = nodes.paragraph(text="After.")
    children, warned = asked(question, listed, cell(code), after)
    assert warned == [] and children[0] is question and children[-1] is after
    start, inside, hint, end = children[1:-1]
    assert inside is listed and end.astext() == "</div>"
    assert 'id="question-7-1"' in start.astext() and "<summary>Hint" in hint.astext()
    assert "answer" not in "".join(child.astext() for child in children)


def test_a_number_has_no_options_and_code_has_those_of_the_library(asked):
    for key, wanted in (("7.2", 0), ("7.3", 4)):
        children, warned = asked(cell(f'answer_1 = None\ncheck("{key}", answer_1)'))
        text = "".join(child.astext() for child in children)
        assert warned == [] and text.count("<li>") == wanted
        assert (("<code>return torch.relu" in text), "Which line" in text) == (
            bool(wanted),
            bool(wanted),
        )


def test_a_prediction_takes_its_paragraph_and_its_options(asked):
    mark = nodes.raw("", "<!-- predict 7.a -->", format="html")
    question, listed, after = (
        nodes.paragraph(text="What?"),
        options(3),
        cell("print(1)"),
    )
    children, warned = asked(mark, question, listed, after)
    assert warned == [] and children[1:3] == [question, listed]
    assert 'data-key="7.a"' in children[0].astext() and children[-1] is after
    assert mark not in children


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        ([cell('check("99.1", answer_1)')], "no question 99.1"),
        ([cell('check("7.1", answer_1)')], "7.1 has no list of options"),
        (
            [nodes.raw("", "<!-- predict 7.a -->", format="html"), nodes.paragraph()],
            "7.a has no list of options",
        ),
    ],
)
def test_a_question_that_cannot_be_shown_is_a_warning(asked, parts, problem):
    assert problem in asked(*parts)[1][0]


def test_the_script_for_answers_comes_only_where_something_is_asked(build):
    site, _ = build(extensions=["sphinx.ext.mathjax", "book_site", "exercises"])
    assert "exercises.js" not in (site / "index.html").read_text()
