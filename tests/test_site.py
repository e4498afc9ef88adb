"""The built site in a real browser, opened as files: whole, light, readable, and asking nobody for anything."""

import json
import os
from pathlib import Path

import pytest
import yaml
from browser import HOUSE, SIZES, best_of, open_page, violations, watched_page

SITE = HOUSE / "build" / "_build" / "html"
MOST_BYTES, MOST_SECONDS = 3_000_000, 2.0
SHARED = "_static"  # what every page uses: a browser fetches it once
TOC = yaml.safe_load((HOUSE / "book" / "_toc.yml").read_text())
NAMES = [TOC["root"], *(chapter["file"] for part in TOC["parts"] for chapter in part["chapters"])]


def views(name):
    """How many widgets a source of the book shows: those that its notebook stores, and explorers that the site adds."""
    path = HOUSE / f"{name}.ipynb"
    cells = json.loads(path.read_text())["cells"] if path.is_file() else []
    outputs = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
    added = sum("".join(cell["source"]).count("```{explorer}") for cell in cells if cell["cell_type"] == "markdown")
    return added + sum("application/vnd.jupyter.widget-view+json" in data for data in outputs)


WITH_WIDGETS = [name for name in NAMES if views(name)]


def built(name):
    """Name in the table of contents -> its page; skips what was not built since its source changed, but not in CI."""
    page = SITE / f"{name}.html"
    source = next(path for path in (HOUSE / f"{name}.md", HOUSE / f"{name}.ipynb") if path.is_file())
    if not page.is_file() or page.stat().st_mtime < source.stat().st_mtime:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{name} is not built from its source; run make book")
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
            assert page.evaluate("document.documentElement.scrollWidth") <= width, f"scrolls sideways at {width}"
    files = {Path(url.removeprefix("file://").split("?")[0]) for url in loaded if url.startswith("file:")}
    assert sum(file.stat().st_size for file in files if SHARED not in file.parts) <= MOST_BYTES


@pytest.mark.parametrize("name", NAMES)
def test_a_checker_of_accessibility_has_nothing_against_a_page(chromium, name):
    with watched_page(chromium) as page:
        open_page(page, built(name))
        assert violations(page) == []
        page.emulate_media(color_scheme="dark")
        page.wait_for_selector('html[data-theme="dark"]')
        page.wait_for_timeout(500)  # colours fade over
        assert violations(page, rules=["color-contrast"]) == [], "in the dark"


def test_some_pages_have_widgets():
    assert WITH_WIDGETS, "no notebook stores a widget: tools/notebooks.py should keep them"


@pytest.mark.parametrize("name", WITH_WIDGETS)
def test_the_first_widget_is_there_soon(chromium, name):
    def seconds():
        with watched_page(chromium) as page:
            client = page.context.new_cdp_session(page)
            client.send("Performance.enable", {"timeDomain": "threadTicks"})  # what other programs take is not counted
            open_page(page, built(name))
            metrics = {one["name"]: one["value"] for one in client.send("Performance.getMetrics")["metrics"]}
            assert metrics["TaskDuration"] > 0
            return metrics["TaskDuration"]

    assert best_of(3, seconds) <= MOST_SECONDS


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
                assert pictures(widget) != before or slider.get_attribute("min") == slider.input_value() == "0"
                before = pictures(widget)
                slider.press("End")
                assert pictures(widget) != before, slider.get_attribute("aria-label")


def pictures(widget):
    """Every pixel that the canvases of a widget show, as text."""
    return widget.locator("canvas").evaluate_all("canvases => canvases.map(canvas => canvas.toDataURL()).join()")
