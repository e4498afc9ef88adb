"""Measure the built site in the system's Chromium, and print a table.

    make book && python -m scripts.browser_speed
    python -m scripts.browser_speed book/index          of this page alone

A server on this machine sends the files as they are, without compression. The slow
phone has a processor 4 times slower, 4.8 Mbit/s and 150 ms of latency, by Chromium's
emulation. Each page is loaded three times without a cache; what is printed is the
median, with the least and the most of times. Playgrounds run for five seconds. Other
programs make these times longer; the processor's time of the page's main thread until
its widget is drawn, at this machine's speed, depends on them less.
"""

import http.server
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median

from playwright.sync_api import Browser, CDPSession, Page, sync_playwright

ROOT = Path(__file__).parents[1]
SITE = ROOT / "_build" / "html"
sys.path.append(str(ROOT / "tests" / "site"))
from browser import FLAGS, find_chromium  # noqa: E402

PLAYGROUND = "window.ganPlayground && performance.now()"
WIDGET = "document.querySelector('[data-widget=drawn]') && performance.now()"
PAGES = {  # page: what its first widget is known by
    "book/index": PLAYGROUND,
    "notebooks/01_problem": PLAYGROUND,
    "notebooks/10_results": WIDGET,
    "notebooks/17_dcgan_faces": WIDGET,
}
LOADS = 3
SECONDS = 5
PHONE = {"offline": False, "latency": 150, "downloadThroughput": 4.8e6 / 8}
# Pictures drawn and steps taken in so many seconds after Start.
RUN = """async (seconds) => {
  document.querySelector(".gan-playground").scrollIntoView();
  [...document.querySelectorAll(".gan-playground button")]
    .find((button) => button.textContent.trim() === "Start").click();
  const start = performance.now(), first = ganPlayground.state().steps;
  let frames = 0;
  while (performance.now() - start < 1000 * seconds) {
    await new Promise(requestAnimationFrame);
    frames += 1;
  }
  const passed = (performance.now() - start) / 1000;
  return [frames / passed, (ganPlayground.state().steps - first) / passed];
}"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """A server for a folder on this machine; gives its address."""
    handler = partial(Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def fresh_page(browser: Browser, phone: bool) -> Iterator[tuple[Page, CDPSession]]:
    """A page without a cache, on the slow phone or as fast as this machine is."""
    width, height = (390, 844) if phone else (1440, 900)
    context = browser.new_context(viewport={"width": width, "height": height})
    page = context.new_page()
    tools = context.new_cdp_session(page)
    tools.send("Network.enable")
    if phone:
        limits = {**PHONE, "uploadThroughput": PHONE["downloadThroughput"]}
        tools.send("Network.emulateNetworkConditions", limits)
        tools.send("Emulation.setCPUThrottlingRate", {"rate": 4})
    yield page, tools
    context.close()


def load(browser: Browser, address: str, drawn: str) -> tuple[float, float, int]:
    """Load a page on the slow phone -> seconds to its widget, megabytes, requests."""
    sizes: list[float] = []
    with fresh_page(browser, phone=True) as (page, tools):
        tools.on(
            "Network.loadingFinished",
            lambda event: sizes.append(event["encodedDataLength"]),
        )
        page.goto(address, wait_until="commit")
        seconds = page.wait_for_function(drawn).json_value() / 1000
        page.wait_for_load_state("networkidle")
    return seconds, sum(sizes) / 1e6, len(sizes)


def work(browser: Browser, address: str, drawn: str) -> float:
    """Load a page -> seconds of the processor until its widget is drawn."""
    with fresh_page(browser, phone=False) as (page, tools):
        tools.send("Performance.enable", {"timeDomain": "threadTicks"})
        page.goto(address, wait_until="commit")
        page.wait_for_function(drawn)
        metrics = tools.send("Performance.getMetrics")["metrics"]
    return float(next(one["value"] for one in metrics if one["name"] == "TaskDuration"))


def main() -> None:
    print("| Page | MB | requests | processor, s | first widget, slow phone, s |")
    print("| --- | ---: | ---: | ---: | ---: |")
    with sync_playwright() as playwright, served(SITE) as address:
        browser = playwright.chromium.launch(
            executable_path=find_chromium(), args=FLAGS
        )
        for name in sys.argv[1:] or PAGES:
            drawn = PAGES.get(name, PLAYGROUND)
            loads = [
                load(browser, f"{address}/{name}.html", drawn) for _ in range(LOADS)
            ]
            times, sizes, counts = zip(*loads, strict=True)
            spread = f"{median(times):.1f} ({min(times):.1f} to {max(times):.1f})"
            size, count = median(sizes), median(counts)
            busy = work(browser, f"{address}/{name}.html", drawn)
            row = f"| `{name}` | {size:.2f} | {count} | {busy:.2f} | {spread} |"
            print(row, flush=True)
        for phone in (False, True):
            with fresh_page(browser, phone) as (page, _):
                page.goto(f"{address}/book/playground.html")
                page.wait_for_function(PLAYGROUND)
                frames, steps = page.evaluate(RUN, SECONDS)
            where = "on the slow phone" if phone else "on this machine"
            print(
                f"Playground {where}: {frames:.0f} frames, {steps:.0f} steps a second."
            )
        print("Chromium", browser.version)
        browser.close()


if __name__ == "__main__":
    main()
