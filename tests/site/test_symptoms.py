"""The page of symptoms: the search finds it, its pictures are those of the notebooks, its code runs."""

import re

import pytest
import torch
from browser import ROOT, watched_page

from ganlib.data import load
from scripts import symptom_figures

SITE = ROOT / "_build" / "html"
PAGE = "book/my_gan_does_not_work"
SOURCE = ROOT / f"{PAGE}.md"
QUERIES = {  # what a reader types -> the section that answers
    "mode collapse": "All samples look the same",
    "all samples look the same": "All samples look the same",
    "D loss is 0": "D loss is 0",
    "loss not decreasing": "Loss not decreasing",
    "NaN": "Loss is NaN",
    "grey pictures": "Grey pictures",
    "checkerboard": "Checkerboard",
    "blurry": "Blurry samples",
    "how long to train": "How long to train",
    "resume": "Resume, also when Colab disconnects",
    "own images": "Own images",
    "CUDA out of memory": "CUDA out of memory",
    "Colab disconnects": "Resume, also when Colab disconnects",
    "wasserstein": "Which loss",
    "detach": "Where is detach",
}


@pytest.mark.parametrize(("query", "title"), QUERIES.items())
def test_the_search_leads_to_the_section(chromium, query, title):
    if not (SITE / f"{PAGE}.html").is_file():
        pytest.skip("the site is not built; run make book")
    with watched_page(chromium) as page:
        page.goto((SITE / "search.html").as_uri())
        field = page.locator("input[type=search]:visible").first
        field.fill(query)
        field.press("Enter")
        # The results come one after the other; the last is there when this is said.
        page.get_by_text("Search finished").wait_for()
        links = page.locator("ul.search li a").evaluate_all(
            "links => links.slice(0, 3).map(link => link.href)"
        )
        link = next((link for link in links if f"{PAGE}.html#" in link), None)
        assert link, links
        page.goto(link.split("?")[0] + "#" + link.split("#")[1])
        place = page.locator(f"[id='{link.split('#')[1]}']").first
        heading = place.evaluate(
            "place => place.closest('section').querySelector('h2').textContent"
        )
        assert heading.startswith(title)


@pytest.mark.parametrize("name", symptom_figures.SOURCES)
def test_a_picture_is_the_one_that_its_notebook_stores(name):
    stored = symptom_figures.stored_picture(*symptom_figures.SOURCES[name])
    assert (symptom_figures.FIGURES / f"{name}.png").read_bytes() == stored, (
        "run python -m scripts.symptom_figures"
    )


def test_the_code_of_the_page_runs(tmp_path, monkeypatch, capsys):
    from torchvision.utils import save_image

    monkeypatch.chdir(tmp_path)
    save_image(load("digits").pixels[0].expand(3, -1, -1) / 255, tmp_path / "own.png")
    monkeypatch.setattr("matplotlib.pyplot.show", lambda: None)
    blocks = re.findall(r"^```python\n(.*?)^```", SOURCE.read_text(), re.M | re.S)
    code = "\n".join(blocks).replace("folder:PATH", f"folder:{tmp_path}")
    names = {}
    with torch.random.fork_rng():
        exec(compile(code, SOURCE.name, "exec"), names)
    printed = capsys.readouterr().out
    assert "goes on after epoch 2 of 4" in printed
    claimed = re.search(r"prints (\d+), (\d+) and (\d+) MB", SOURCE.read_text())
    assert re.findall(r"\} (\d+) MB", printed) == list(claimed.groups())
    assert (names["resumed"].step, printed.count("True")) == (34, 2)
