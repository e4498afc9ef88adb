"""The Dirac-GAN in the page: its paths are those of the page's own code, and it can be steered."""

import json

import pytest
from browser import ROOT, violations, watched_page

NOTEBOOK = ROOT / "notebooks" / "22_which_loss.ipynb"
PAGE = ROOT / "_build" / "html" / "notebooks" / "22_which_loss.html"


@pytest.fixture
def page(chromium):
    if not PAGE.is_file():
        pytest.skip("the site is not built; run make book")
    with watched_page(chromium) as page:
        page.goto(PAGE.as_uri())
        page.locator(".dirac-words").wait_for()
        yield page


def code_of_the_page():
    """What the page defines: PENALTIES and dirac_path."""
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    source = next(source for source in sources if "def dirac_path" in source)
    names = {}
    exec("import torch\nfrom ganlib.losses import LOSSES", names)
    exec(source[: source.index("paths = {")], names)
    return names


@pytest.mark.parametrize("start", [[1, 1], [-0.5, 2]])
def test_a_path_is_that_of_the_code_on_the_page(page, start):
    names = code_of_the_page()
    games = names["PENALTIES"]
    for title, (loss, how) in games.items():
        name = title.replace("GP", "gradient penalty")
        shown = page.evaluate(
            "([name, start]) => diracPath(name, start)", [name, start]
        )
        path = names["dirac_path"](loss, start=tuple(map(float, start)), **how)
        assert len(shown) == len(path), title
        for place in (1, 50, 200):
            assert shown[place] == pytest.approx(path[place].tolist(), abs=1e-3), title


def test_it_can_be_steered_by_keyboard_and_by_dragging(page):
    figure = page.locator(".dirac-figure")
    words, path = figure.locator(".dirac-words"), figure.locator(".dirac-path")
    seen = [path.get_attribute("d")]
    figure.get_by_label("non-saturating, R1").check()
    assert words.inner_text().endswith("It spirals in.")
    seen.append(path.get_attribute("d"))
    figure.locator("input[type=range]").first.press("ArrowLeft")
    assert "θ = 0.9" in words.inner_text()
    seen.append(path.get_attribute("d"))
    figure.locator("svg").scroll_into_view_if_needed()
    box = figure.locator("svg").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + box["height"] * 0.75)
    page.mouse.up()
    assert "θ = -1.2, ψ = -1.2" in words.inner_text()
    seen.append(path.get_attribute("d"))
    assert len(set(seen)) == len(seen)
    assert page.troubles == []
    assert violations(page, ".dirac-figure") == []
