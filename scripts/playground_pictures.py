"""Store what the playground shows after a while, for readers without JavaScript.

    python -m scripts.playground_pictures

Draws with the system's Chromium, as the tests in tests/site do.
"""

import base64
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests" / "site"))
from browser import FLAGS, find_chromium  # noqa: E402

STATIC = ROOT / "book" / "_static"
STEPS = 800
PRESETS = {"healthy": "playground-ring", "one dimension": "playground-line"}
PAGE = """<!doctype html><html data-theme="light"><meta charset="utf-8">
<link rel="stylesheet" href="{0}/playground.css"><script defer src="{0}/playground.js">
</script><div class="gan-playground"></div>"""


def main() -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find_chromium(), args=FLAGS
        )
        page = browser.new_page(viewport={"width": 600, "height": 700})
        page.goto((STATIC / "playground.js").as_uri())  # a page that may load files
        page.set_content(PAGE.format(STATIC.as_uri()))
        page.wait_for_function("window.ganPlayground")
        for preset, name in PRESETS.items():
            page.evaluate(
                "([name, steps]) => (ganPlayground.preset(name), "
                "ganPlayground.run(steps))",
                [preset, STEPS],
            )
            canvas = "document.querySelector('.gp-field').toDataURL('image/webp', 0.9)"
            picture = page.evaluate(canvas).partition(",")[2]
            file = STATIC / f"{name}.webp"
            file.write_bytes(base64.b64decode(picture))
        browser.close()


if __name__ == "__main__":
    main()
