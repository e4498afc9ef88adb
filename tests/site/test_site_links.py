"""The sources of the site agree with each other: contents, citations, figures, glossary. (Sphinx checks links.)"""

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
BOOK = ROOT / "book"
PAGES = sorted(BOOK.glob("*.md"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
DRAWINGS = sorted((BOOK / "figures").glob("*.svg"))
KEYS = re.findall(r"^@\w+\{(\w+),", (BOOK / "references.bib").read_text(), re.M)


def text_of(page):
    """A page -> its markdown; of a notebook, that of its markdown cells."""
    if page.suffix == ".md":
        return page.read_text()
    cells = json.loads(page.read_text())["cells"]
    return "\n\n".join(
        "".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"
    )


def contents():
    """Files of the table of contents, in order, without their endings."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    return [
        toc["root"],
        *(chapter["file"] for part in toc["parts"] for chapter in part["chapters"]),
    ]


def test_every_page_of_the_book_stands_in_the_contents_once():
    assert PAGES and NOTEBOOKS
    files = [
        str(path.relative_to(ROOT).with_suffix("")) for path in [*PAGES, *NOTEBOOKS]
    ]
    assert sorted(contents()) == sorted(files)


def test_the_front_page_lists_every_notebook_in_order():
    linked = re.findall(
        r"\[\]\(\.\./(notebooks/\w+)\.ipynb\)", (BOOK / "index.md").read_text()
    )
    assert linked == [name for name in contents() if name.startswith("notebooks/")]


def test_every_citation_has_a_source_and_no_source_stands_twice():
    cited = {
        key.strip()
        for page in [*PAGES, *NOTEBOOKS]
        for keys in re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", text_of(page))
        for key in keys.split(",")
    }
    assert cited
    assert cited <= set(KEYS), f"not in references.bib: {sorted(cited - set(KEYS))}"
    assert len(KEYS) == len(set(KEYS))


@pytest.mark.parametrize("drawing", DRAWINGS, ids=lambda path: path.name)
def test_a_drawing_speaks_fits_and_is_used(drawing):
    root = ET.parse(drawing).getroot()
    space = "{http://www.w3.org/2000/svg}"
    named = root.get("aria-labelledby").split()
    for tag in ("title", "desc"):
        found = root.find(space + tag)
        assert found is not None and found.text.strip() and found.get("id") in named
    assert root.get("viewBox") and root.get("width") is None, "it scales"
    style = root.find(space + "style").text
    assert "prefers-color-scheme: dark" in style and 'data-theme="dark"' in style
    assert drawing.name in "".join(page.read_text() for page in PAGES)


def test_every_picture_has_words():
    pictures = [
        (page, block)
        for page in PAGES
        for block in page.read_text().split("```{figure}")[1:]
    ]
    assert pictures
    for page, block in pictures:
        assert re.search(r"^:alt: \S.{30,}", block, re.M), page.name
        assert (BOOK / block.split()[0]).is_file(), (
            f"{page.name} shows {block.split()[0]}"
        )
    for page in PAGES:
        assert "![](" not in page.read_text(), page.name


def test_glossary_terms_are_in_order_and_say_where():
    body = (
        (BOOK / "glossary.md").read_text().split("```{glossary}\n")[1].split("```")[0]
    )
    entries = [entry.split("\n", 1) for entry in body.strip().split("\n\n")]
    terms = [term for term, _ in entries]
    assert terms == sorted(terms, key=str.lower) and len(terms) == len(set(terms))
    for term, meaning in entries:
        assert re.search(r"\]\(|\{term\}", meaning), f"{term} leads nowhere"


def test_the_site_fetches_nothing_that_it_styles():
    style = (BOOK / "_static" / "book.css").read_text()
    assert not re.search(r"https?:|@import|url\(", style)


@pytest.mark.parametrize("page", [*PAGES, *NOTEBOOKS], ids=lambda path: path.stem)
def test_no_gap_is_left_open(page):
    """As a word: the letters alone stand in a picture now and then."""
    assert not re.search(r"\bTODO\b", page.read_text())
