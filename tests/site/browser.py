"""What the tests in a real browser share: finding Chromium, a page that notes every trouble."""

import shutil
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[2]
SIZES = (390, 1440)  # a telephone, a wide screen
NAMES = "chromium", "chromium-browser", "google-chrome"
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()


def find_chromium():
    """Path of the system's browser, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def watched_page(browser, **options):
    """A new page whose `troubles` lists console errors, exceptions, failed requests and requests beyond the site."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, **options)
    context.set_default_timeout(180_000)  # a busy machine is slow, not wrong
    page = context.new_page()
    page.troubles = []
    page.on(
        "console",
        lambda message: (
            message.type == "error" and page.troubles.append(f"console: {message.text}")
        ),
    )
    page.on("pageerror", lambda error: page.troubles.append(f"exception: {error}"))
    page.on(
        "requestfailed", lambda request: page.troubles.append(f"failed: {request.url}")
    )
    page.on(
        "request",
        lambda request: (
            _local(request.url) or page.troubles.append(f"external: {request.url}")
        ),
    )
    yield page
    context.close()


def _local(url):
    return url.startswith(("file:", "blob:", "data:"))


def open_page(page, path):
    """Open a file and wait until each of its widgets is drawn; returns how many it has."""
    page.goto(Path(path).resolve().as_uri())
    views = page.locator(
        'script[type="application/vnd.jupyter.widget-view+json"]'
    ).count()
    page.wait_for_function(
        f"document.querySelectorAll('[data-widget=drawn]').length === {views}"
    )
    return views


def violations(page, selector="html", rules=None):
    """What axe-core finds serious or critical in a part of the page, formulas aside: sentences with the places."""
    page.evaluate(
        (
            Path(find_spec("axe_playwright_python").origin).parent / "axe.min.js"
        ).read_text(encoding="utf-8")
    )
    scope = {"include": [[selector]], "exclude": [["mjx-container"]]}
    options = {
        "resultTypes": ["violations"],
        "preload": False,  # no second look at the styles: a file may not fetch a file
        **({"runOnly": rules} if rules else {}),
    }
    found = page.evaluate(
        "([scope, options]) => axe.run(scope, options)", [scope, options]
    )["violations"]
    return [
        f"{one['help']}: {[node['target'] for node in one['nodes']][:5]}"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
