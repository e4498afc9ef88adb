"""The built site in a real browser, opened as files: whole, light, readable, and asking nobody for anything."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from browser import ROOT, SIZES, open_page, violations, watched_page

SITE = ROOT / "_build" / "html"
MAX_BYTES = 3_000_000
SHARED = "_static"  # what every page uses: a browser fetches it once
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text())
NAMES = [
    TOC["root"],
    *(chapter["file"] for part in TOC["parts"] for chapter in part["chapters"]),
]


def views(name):
    """How many widgets a source of the book shows: those that its notebook stores, and explorers that the site adds."""
    path = ROOT / f"{name}.ipynb"
    cells = json.loads(path.read_text())["cells"] if path.is_file() else []
    outputs = [
        output.get("data", {}) for cell in cells for output in cell.get("outputs", [])
    ]
    added = sum(
        "".join(cell["source"]).count("```{explorer}")
        for cell in cells
        if cell["cell_type"] == "markdown"
    )
    return added + sum(
        "application/vnd.jupyter.widget-view+json" in data for data in outputs
    )


BOXES = ":is(pre, .cell_output, .pst-scrollable-table-container)"
CUT = """blocks => blocks
    .filter((block) => block.clientWidth && block.scrollWidth > block.clientWidth + 1)
    .map((block) => block.textContent.trim().slice(0, 60))"""

WITH_WIDGETS = [name for name in NAMES if views(name)]
WITH_PLAYGROUND = {
    TOC["root"]: "Healthy",
    "book/playground": "Healthy",
    "notebooks/01_problem": "One dimension",
}


def built(name):
    """Name in the table of contents -> its page; skips what was not built since its source changed, but not in CI."""
    page = SITE / f"{name}.html"
    source = next(
        path for path in (ROOT / f"{name}.md", ROOT / f"{name}.ipynb") if path.is_file()
    )
    if not page.is_file() or page.stat().st_mtime < source.stat().st_mtime:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            f"{name} is not built from its source; run make book"
        )
    return page


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_whole_and_asks_nobody(chromium, name):
    loaded = []
    with watched_page(chromium) as page:
        page.on("request", lambda request: loaded.append(request.url))
        assert open_page(page, built(name)) == views(name)
        assert page.troubles == []
        for width in SIZES:
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (
                f"scrolls sideways at {width}"
            )
            cut = "images => images.filter((image) => image.getBoundingClientRect().right > innerWidth).length"
            assert (
                page.eval_on_selector_all(
                    ".bd-article :is(img, canvas, figure svg, .ganlib-widget svg)", cut
                )
                == 0
            ), f"a figure is cut at {width}"
            boxes = ".cell_output:has(figure)" if width == min(SIZES) else BOXES
            hidden = page.eval_on_selector_all(f".bd-article {boxes}", CUT)
            assert hidden == [], f"cut at {width}"
    files = {
        Path(url.removeprefix("file://").split("?")[0])
        for url in loaded
        if url.startswith("file:")
    }
    assert (
        sum(file.stat().st_size for file in files if SHARED not in file.parts)
        <= MAX_BYTES
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_checker_of_accessibility_has_nothing_against_a_page(chromium, name):
    with watched_page(chromium) as page:
        open_page(page, built(name))
        assert violations(page) == []
        page.emulate_media(color_scheme="dark")
        page.wait_for_selector('html[data-theme="dark"]')
        page.wait_for_timeout(500)  # colours fade over
        assert violations(page) == [], "in the dark"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_table_stands_on_the_page_itself(chromium, theme):
    with watched_page(chromium, color_scheme=theme) as page:
        open_page(page, built("notebooks/22_which_loss"))
        page.wait_for_selector(f'html[data-theme="{theme}"]')
        grounds = page.locator(".cell_output .text_html").evaluate_all(
            "tables => tables.map(table => getComputedStyle(table).backgroundColor)"
        )
        assert grounds and set(grounds) == {"rgba(0, 0, 0, 0)"}


def test_some_pages_have_widgets():
    assert WITH_WIDGETS, (
        "no notebook stores a widget: scripts/notebooks.py should keep them"
    )


@pytest.mark.parametrize("name", WITH_WIDGETS)
def test_every_slider_of_a_page_changes_a_picture(chromium, name):
    with watched_page(chromium) as page:
        open_page(page, built(name))
        widgets = page.locator(".ganlib-widget")
        for widget in widgets.all():
            for slider in widget.get_by_role("slider").all():
                before = pictures(widget)
                slider.press("ArrowLeft")
                slider.press("Home")
                assert (
                    pictures(widget) != before
                    or slider.get_attribute("min") == slider.input_value() == "0"
                )
                before = pictures(widget)
                slider.press("End")
                assert pictures(widget) != before, slider.get_attribute("aria-label")


def pictures(widget):
    """Every pixel that the canvases of a widget show, as text."""
    return widget.locator("canvas").evaluate_all(
        "canvases => canvases.map(canvas => canvas.toDataURL()).join()"
    )


@pytest.mark.parametrize("name", WITH_WIDGETS)
def test_play_shows_one_picture_after_the_other(chromium, name):
    with watched_page(chromium) as page:
        open_page(page, built(name))
        for widget in page.get_by_role(
            "group", name="Time-lapse of a training run"
        ).all():
            seen, play = {pictures(widget)}, widget.get_by_role("button")
            play.press("Enter")
            for _ in range(40):
                seen.add(pictures(widget))
                if len(seen) > 3:
                    break
                page.wait_for_timeout(200)
            play.press("Enter")
            assert len(seen) > 3 and "Play" in play.inner_text()


@pytest.mark.parametrize("name", WITH_WIDGETS)
def test_the_tab_key_reaches_every_control_of_every_widget(chromium, name):
    with watched_page(chromium) as page:
        open_page(page, built(name))
        for widget in page.locator(".ganlib-widget").all():
            controls = widget.locator("button, input")
            controls.first.focus()
            for place in range(1, controls.count()):
                page.keyboard.press("Tab")
                assert controls.nth(place).evaluate(
                    "control => control === document.activeElement"
                ), (name, place)
                assert controls.nth(place).evaluate(
                    "control => control.matches(':focus-visible')"
                )


@pytest.mark.parametrize(("name", "preset"), WITH_PLAYGROUND.items())
def test_the_playground_of_a_page_plays(chromium, name, preset):
    with watched_page(chromium) as page:
        open_page(page, built(name))
        place = page.locator(".gan-playground")
        assert (
            place.get_by_role("button", name=preset).get_attribute("aria-pressed")
            == "true"
        )
        before = place.locator(".gp-field").evaluate("canvas => canvas.toDataURL()")
        place.get_by_role("button", name="Start", exact=True).press("Enter")
        page.wait_for_function("ganPlayground.state().steps > 5")
        place.get_by_role("button", name="Pause").press("Enter")
        assert (
            place.locator(".gp-field").evaluate("canvas => canvas.toDataURL()")
            != before
        )
        assert page.troubles == []


def test_the_ring_of_the_front_page_is_filled_by_one_preset_and_not_by_the_other(
    chromium,
):
    with watched_page(chromium) as page:
        open_page(page, built(TOC["root"]))
        reached = {}
        for preset in ("Healthy", "Collapse"):
            page.get_by_role("button", name=preset).click()
            reached[preset] = [
                page.evaluate("ganPlayground.run(100).reached") for _ in range(8)
            ]
        assert max(reached["Healthy"]) == 8 and max(reached["Collapse"]) <= 4


@pytest.mark.parametrize("name", NAMES)
def test_a_page_says_what_it_is_and_where_to_go_on(chromium, name):
    with watched_page(chromium) as page:
        open_page(page, built(name))
        meta = lambda key: page.locator(f"meta[{key}]").get_attribute("content")  # noqa: E731
        assert (
            meta("property='og:title'") in page.title()
            and len(meta("property='og:description'").split()) >= 8
        )
        assert meta("name='description'") == meta("property='og:description'")
        assert (built(name).parent / meta("property='og:image'")).resolve().is_file()
        ways = page.locator(".prev-next-footer a").all()
        assert len(ways) == (1 if name in (NAMES[0], NAMES[-1]) else 2)
        assert all(
            (built(name).parent / way.get_attribute("href")).is_file() for way in ways
        )
        fields = page.locator("input[type=search]").all()
        assert (
            sum(field.is_visible() for field in fields)
            + page.locator(".search-button-field").count()
            <= 1
        )
        code = page.locator("div.cell_input div.highlight").count()
        assert page.locator("div.cell_input button.copybtn").count() == code


def test_the_search_opens_one_field_and_finds(chromium):
    with watched_page(chromium) as page:
        open_page(page, built(TOC["root"]))
        page.keyboard.press("Control+k")
        field = page.locator("input[type=search]:visible")
        assert field.count() == 1
        field.fill("collapse")
        field.press("Enter")
        page.wait_for_selector("ul.search li")
        assert page.locator("ul.search li").count() > 2 and page.troubles == []


def test_code_is_copied_as_it_was_written(chromium):
    with watched_page(chromium) as page:
        open_page(page, built("notebooks/01_problem"))
        page.evaluate(
            "Object.defineProperty(navigator, 'clipboard', {value: {writeText: async (text) => (window.got = text)}})"
        )
        page.evaluate(
            "document.execCommand = () => (window.got = getSelection().toString() || document.activeElement.value)"
        )
        cell = page.locator("div.cell_input:visible").first
        cell.hover()
        cell.locator("button.copybtn").click()
        page.wait_for_function("window.got")
        assert (
            page.evaluate("window.got").strip()
            == cell.locator("pre").inner_text().strip()
        )


def test_notebooks_to_download_have_no_link_that_leads_nowhere():
    notebooks = list((SITE / "_sources" / "notebooks").glob("*.ipynb"))
    assert notebooks
    dead = [path.name for path in notebooks if "OWNER/REPOSITORY" in path.read_text()]
    assert not dead


def test_a_wrong_address_leads_back(chromium):
    page_404 = SITE / "404.html"
    if not page_404.is_file():
        pytest.skip("the site is not built; run make book")
    with watched_page(chromium) as page:
        open_page(page, page_404)
        assert "no such page" in page.get_by_role("main").inner_text()
        page.locator('.bd-sidebar-primary a[href$="01_problem.html"]').first.click()
        assert page.url.endswith("notebooks/01_problem.html") and page.troubles == []


@pytest.mark.parametrize(
    "name", [TOC["root"], "book/glossary", "book/playground", *WITH_WIDGETS]
)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_page_can_be_printed(chromium, name, theme):
    with watched_page(chromium, color_scheme=theme) as page:
        open_page(page, built(name))
        page.emulate_media(media="print", color_scheme=theme)
        page.set_viewport_size(
            {"width": 680, "height": 960}
        )  # A4 without its margins, in CSS pixels
        for gone in (
            ".bd-sidebar-primary",
            ".bd-header-article",
            ".prev-next-footer",
            ".copybtn",
            ".ganlib-button",
        ):
            assert not any(one.is_visible() for one in page.locator(gone).all()), gone
        assert page.evaluate("document.documentElement.scrollWidth") <= 680
        cut = "blocks => blocks.filter((block) => block.scrollWidth > block.clientWidth + 1 && block.clientWidth).length"
        assert page.eval_on_selector_all("div.highlight pre", cut) == 0, (
            "lines of code are cut off"
        )
        ink = "nodes => nodes.map((node) => getComputedStyle(node).color.match(/\\d+/g).slice(0, 3).map(Number))"
        for selector in (".bd-article p", "div.highlight pre", "div.highlight span"):
            colours = page.eval_on_selector_all(
                f".bd-article {selector}".replace(".bd-article .bd-", ".bd-"), ink
            )
            assert all(min(colour) < 160 for colour in colours), (
                f"{selector} is pale on paper"
            )
        for canvas in page.locator(".ganlib-widget canvas:visible, .gp-field").all():
            assert (
                len(set(canvas.evaluate("canvas => canvas.toDataURL()"))) > 1
                and canvas.bounding_box()["width"] > 30
            )
        assert (
            page.pdf(format="A4", print_background=True).startswith(b"%PDF")
            and page.troubles == []
        )


def test_without_a_browser_the_tests_say_what_they_skip(tmp_path):
    left_out = ("CI", "PYTEST_ADDOPTS")
    settings = {key: value for key, value in os.environ.items() if key not in left_out}
    settings["PATH"] = str(tmp_path)  # nothing is found there
    what = ["tests/site/test_site.py", "-k", "wrong_address", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *what],
        cwd=ROOT,
        env=settings,
        capture_output=True,
        text=True,
    )
    assert re.search(r"SKIPPED \[1\].*the browser tests need.*Chromium", done.stdout)
