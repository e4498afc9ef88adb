"""The parts of the book's own Sphinx extension, one by one, without a browser."""

import json
import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
import torch
from docutils import nodes
from PIL import Image
from sphinx.application import Sphinx

from ganlib.data.transforms import denormalize
from ganlib.models import DCGANGenerator, Generator
from ganlib.sampling import sample_images, sample_noise
from ganlib.widgets import explore

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "book" / "_ext"))
import fallback  # noqa: E402
import figures  # noqa: E402
import moving  # noqa: E402
import sliders  # noqa: E402
from formulas import translate  # noqa: E402
from outputs import (  # noqa: E402
    fold_name,
    keep_spreads_whole,
    lines_html,
    table_of,
)
from sections import FILE, sections  # noqa: E402

GLOSSARY = """
Glossary
========

.. glossary::

   leaky unit
     Like a unit, with a slope. :math:`s`, see :doc:`/page`.

   EMA
     An average. Page 8.

   step
     A turn of each.
"""
PAGE = """
About leaky units
=================

One leaky unit, ``leaky unit``, and a leaky unit again. An EMA is one step; ema is none.

Second part
-----------

The sum :math:`\\log D(x)` and 60,000 words.

.. code-block:: python

   odd_name = 1
"""


@pytest.fixture
def build(tmp_path):
    """`build(extensions, pages, **config)` -> (folder of the site, what the build said)."""

    def run(extensions, pages, **config):
        for name, text in pages.items():
            (tmp_path / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "source" / name).write_text(text)
        static = {"html_static_path": [str(ROOT / "book" / "_static")]}
        said = (tmp_path / "said").open("w+")
        app = Sphinx(
            tmp_path / "source", None, tmp_path / "site", tmp_path / "trees", "html",
            {"extensions": extensions, "root_doc": "page", **static, **config},
            status=None, warning=said,
        )  # fmt: skip
        app.build()
        said.seek(0)
        return tmp_path / "site", said.read()

    return run


# Formulas


def signs(tex, block=False):
    """A formula -> (name, text) of its parts in order, spaces with their width."""
    root = ET.fromstring(translate(tex, block))
    return [
        (part.tag, part.text or part.get("width"))
        for part in root.iter()
        if part.text or part.get("width")
    ]


def test_names_of_functions_have_a_space_behind_them_as_in_tex():
    assert signs(r"\log D(x)")[:3] == [
        ("mi", "log"),
        ("mspace", "0.167em"),
        ("mi", "D"),
    ]
    assert ("mspace", "0.167em") not in signs(r"\log(x)")
    assert signs(r"\max(0, x)")[0] == ("mi", "max")


def test_a_number_with_commas_is_one_and_its_sign_belongs_to_it():
    assert signs("60,000") == [("mn", "60,000")]
    assert signs("(2, 3)")[1:4] == [("mn", "2"), ("mo", ","), ("mn", "3")]
    minus = lambda tex: ET.fromstring(translate(tex)).findall(".//mo")  # noqa: E731
    assert minus(r"x \approx -1.39")[1].get("form") == "prefix"
    assert minus("a - 1")[0].get("form") is None


def test_lines_of_a_formula_are_rows():
    root = ET.fromstring(
        translate(r"\begin{aligned} a &= b \\ c &= d \end{aligned}", True)
    )
    assert len(root.findall(".//mtr")) == 2
    assert "&" not in "".join(root.itertext())


def test_a_command_that_cannot_be_set_is_a_warning_and_stays_as_it_is(build):
    with pytest.raises(ValueError, match="nosuchthing"):
        translate(r"\nosuchthing x")
    pages = {"page.rst": "Page\n====\n\n:math:`\\nosuchthing x` and :math:`y`\n"}
    site, said = build(["formulas"], pages)
    assert "page.rst" in said and "cannot be set" in said
    page = (site / "page.html").read_text()
    assert r"<code>\nosuchthing x</code>" in page and "<mi>y</mi>" in page


def test_formulas_need_no_script_and_only_their_pages_the_style(build):
    pages = {
        "page.rst": "Page\n====\n\n:math:`x`\n\n.. toctree::\n\n   plain\n",
        "plain.rst": "Plain\n=====\n\nWords.\n",
    }
    site, said = build(["formulas"], pages)
    page, plain = ((site / f"{name}.html").read_text() for name in ("page", "plain"))
    assert "cannot be set" not in said and "mathjax" not in (page + plain).lower()
    assert ("formulas.css" in page, "formulas.css" in plain) == (True, False)


# What cells print


def test_columns_under_headings_are_a_table():
    rows, rest = table_of(
        "share   V(D*, G)   highest D*\n    0     -1.035         0.84\n  0.5     -1.267         0.63\n"
    )
    assert rows == [
        ["share", "V(D*, G)", "highest D*"],
        ["0", "-1.035", "0.84"],
        ["0.5", "-1.267", "0.63"],
    ]
    assert rest == ""


def test_a_mean_and_its_spread_stay_on_one_line_in_tables_alone():
    tree = nodes.section(
        "",
        nodes.entry("", nodes.paragraph(text="5.6 ± 0.4")),
        nodes.raw("", "<table><td>5.6 ± 0.4</td></table>", format="html"),
        nodes.paragraph(text="5.6 ± 0.4"),
    )
    keep_spreads_whole(None, tree, "page")
    whole = "5.6\u00a0±\u00a00.4"
    assert [part.astext() for part in tree] == [
        whole,
        f"<table><td>{whole}</td></table>",
        "5.6 ± 0.4",
    ]


def test_labels_spreads_and_a_line_below_are_kept_apart():
    text = (
        "              images/s  distance\n"
        "textbook loop    9,275    984 ±  28\n"
        "+ one tensor    17,429 1046 ± 128\n"
        "speed: 2 threads\n"
    )
    rows, rest = table_of(text)
    assert rows[0] == ["", "images/s", "distance"]
    assert rows[1:] == [
        ["textbook loop", "9,275", "984 ± 28"],
        ["+ one tensor", "17,429", "1046 ± 128"],
    ]
    assert rest == "speed: 2 threads"


@pytest.mark.parametrize(
    "text",
    [
        "epoch 1: Loss_D 1.05, Loss_G 1.44\nepoch 2: Loss_D 0.93, Loss_G 1.04\nepoch 3: Loss_D 1.05, Loss_G 1.38",
        "always 1/2      V = -1.39\nhills are real  V = -1.20\nhills are fake  V = -2.09",
        "x      0.0   best 0.06\nx      1.5   best 0.78\nx      2.0   best 0.80",
        "architecture  mlp -> batchnorm-mlp\nr1_weight     0.0 -> 0.3\nepochs        20 -> 17",
        "All of it holds.",
    ],
)
def test_lines_without_headings_are_no_table(text):
    assert table_of(text) == ([], text)


def test_every_line_of_a_text_is_a_box_and_nothing_of_it_is_html():
    html = lines_html("a < b\n  c\n")
    assert re.findall(r'<span class="line">(.*?)\n</span>', html) == ["a &lt; b", "  c"]


# Figures


def picture(tmp_path, *blocks, width=400):
    """A transparent picture with filled columns (start, end)."""
    pixels = np.zeros((50, width, 4), np.uint8)
    for start, end in blocks:
        pixels[:, start:end] = 255
    path = tmp_path / "picture.png"
    Image.fromarray(pixels).save(path)
    return path


def test_a_figure_of_two_plots_is_cut_between_them(tmp_path):
    path = picture(tmp_path, (0, 180), (200, 210), (220, 400))
    left, right = figures.panels(path, 2)
    assert (left.width, right.width) == (190, 210), (
        "at the first gap: then comes a label"
    )
    assert np.asarray(left)[0, 179, 3] == 255 and np.asarray(right)[0, 10, 3] == 255


def test_a_figure_of_one_plot_or_without_clear_gaps_is_whole(tmp_path):
    assert figures.panels(picture(tmp_path, (0, 180), (200, 400)), 1) == []
    assert figures.panels(picture(tmp_path, (0, 400)), 2) == []
    assert figures.panels(picture(tmp_path, (0, 100), (120, 400)), 2) == []
    assert (
        len(figures.panels(picture(tmp_path, (0, 120), (140, 260), (280, 400)), 3)) == 3
    )


def test_a_legend_beside_a_plot_becomes_a_part_of_its_own(tmp_path):
    path = picture(tmp_path, (0, 270), (290, 400))
    with Image.open(path) as image:
        pixels = np.asarray(image).copy()
    pixels[:20, 280:] = 0
    Image.fromarray(pixels).save(path)
    plot, legend = figures.panels(path, 1)
    assert plot.size == (280, 50)
    assert legend.size == (120, 30), "without the room above it"
    columns = [(start, start + 40) for start in range(0, 400, 60)]
    assert figures.panels(picture(tmp_path, *columns), 1) == [], "a grid of images"


def test_pictures_of_one_cell_share_its_words_and_are_shown_at_half_their_pixels(
    tmp_path,
):
    one, other, alone = (nodes.image(alt=words) for words in ("A | B", "A | B", "C"))
    figures.share_words([one, other, alone])
    assert [image["alt"] for image in (one, other, alone)] == ["A", "B", "C"]
    path = picture(tmp_path, (0, 400))
    figures._set_width(alone, path)
    assert alone["width"] == "200px"
    one["width"] = "50%"
    figures._set_width(one, path)
    assert one["width"] == "50%"


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("# Use the ganlib beside this notebook, or install it.\n", "Installer,"),
        ("from math import log\n\nuse_style()", "Imports"),
        ("boxes = {}", "Code"),
    ],
)
def test_folded_code_says_what_it_is(code, name):
    assert fold_name(code).startswith(name)


def test_pictures_know_how_many_plots_they_hold():
    notebook = json.loads((ROOT / "notebooks" / "12_stopping.ipynb").read_text())
    counts = sorted(figures.axes_of_pictures(notebook).values())
    assert counts[0] == 1 and counts[-1] > 4 and 2 in counts


def test_a_film_shows_every_moment_and_ends_with_the_last():
    epochs = torch.randint(0, 256, (3, 5, 1, 4, 4), dtype=torch.uint8)
    film = np.asarray(moving.film_of([images[:4] for images in epochs], 2))
    side = 4 + moving.GAP
    assert film.shape == (3 * 2 * side, 2 * side, 4)
    for moment, images in enumerate(epochs):
        for n in range(4):
            top, left = (2 * moment + n // 2) * side, n % 2 * side
            assert (
                film[top : top + 4, left : left + 4, 0] == images[n, 0].numpy()
            ).all()
            assert film[top + 4, left, 3] == 0, "the gap is transparent"


# Widgets without JavaScript


def test_an_explorer_leaves_what_its_network_draws():
    torch.manual_seed(0)
    G = Generator(8, 16, (1, 4, 4)).eval()
    with torch.no_grad():
        G.layers[-2].weight *= 6
    widget = explore(G)
    found = fallback.samples(widget.about, widget.packed).int()
    wanted = denormalize(sample_images(G, sample_noise(fallback.SAMPLES, 8, seed=0)))
    assert (found - wanted.int()).abs().max() <= 1 and wanted.float().std() > 20
    with pytest.raises(ValueError, match="needs the network itself"):
        convolutions = explore(DCGANGenerator(5, 1, (1, 16, 16)))
        fallback.samples(convolutions.about, convolutions.packed)


@pytest.mark.parametrize("colours", [1, 3])
def test_a_timelapse_leaves_its_last_pictures(colours):
    from ganlib.training import Record
    from ganlib.widgets import timelapse

    smooth = torch.rand(
        3 * 5, colours, 4, 4, generator=torch.Generator().manual_seed(0)
    )
    images = torch.nn.functional.interpolate(255 * smooth, size=32, mode="bilinear")
    images = images.to(torch.uint8)
    history = [Record(*[epoch] * len(Record._fields)) for epoch in range(3)]
    epochs = dict(enumerate(images.split(5)))
    widget = timelapse(history, epochs)
    found = fallback.last_epoch(widget.about, widget.packed).int()
    assert found.shape == epochs[2].shape
    away = [(found - one.int()).abs().float().mean() for one in epochs.values()]
    assert away[2] < 5 < min(away[:2])


# Sliders


@pytest.mark.parametrize("name", sliders.SLIDERS)
def test_a_slider_shows_points_of_its_curves_at_every_position(name):
    slider = sliders.SLIDERS[name]()
    low, high = slider.y
    moves = set()
    for value in slider.values.tolist():
        frame = slider.frame(value)
        moves.add(frame.words)
        curves = frame.curves or slider.curves(sliders._grid(slider.x))
        for (x, y), curve in zip(frame.points, curves, strict=True):
            nearest = (sliders._grid(slider.x) - x).abs().argsort()[:3]
            near = curve[nearest].clamp(low, high)
            room = 0.06 * (high - low)
            assert near.min() - room <= y <= near.max() + room, (value, x, y)
    assert len(moves) == len(slider.values), "every position has a sentence of its own"


def test_sliders_say_what_pytorch_computes():
    words = lambda name, value: sliders.SLIDERS[name]().frame(value).words  # noqa: E731
    x = torch.tensor(1.5, requires_grad=True)
    x.tanh().backward()
    assert f"{x.grad.item():.3f} is left" in words("tanh-slope", 1.5)
    logit = torch.tensor(-3.0, requires_grad=True)
    (gradient,) = torch.autograd.grad(torch.nn.functional.softplus(-logit), logit)
    assert f"one of {gradient.item():.3f}" in words("loss-of-g", -3.0)
    (gradient,) = torch.autograd.grad(torch.log(1 - logit.sigmoid()), logit)
    assert f"slope of {gradient.item():.3f} there" in words("loss-of-g", -3.0)
    byte = denormalize(torch.tensor([0.3, 1.1]))
    assert f"rounded {byte[0].item()}," in words("byte-of-value", 0.3)
    assert f"Clamped it is {byte[1].item()};" in words("byte-of-value", 1.1)
    real = torch.nn.functional.binary_cross_entropy_with_logits
    cost = real(torch.tensor(0.8).logit(), torch.tensor(0.8))
    assert f"pays least, {cost.item():.3f}," in words("real-label", 0.8)


@pytest.mark.parametrize(("beta1", "late"), [(0.0, "no"), (0.5, "no"), (0.9, "5")])
def test_the_slider_of_adam_moves_as_torch_does(beta1, late):
    weight = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = torch.optim.Adam([weight], lr=1.0, betas=(beta1, 0.999))
    path = [0.0]
    for gradient in [1.0] * 20 + [-1.0] * 20:
        weight.grad = torch.full_like(weight, gradient)
        optimizer.step()
        path.append(weight.item())
    frame = sliders.SLIDERS["adam-memory"]().frame(beta1)
    assert frame.points[1][1] == pytest.approx(path[25] - path[24], abs=1e-4)
    assert f"after the turn {late} steps go" in frame.words


def test_pages_2_to_7_and_9_have_their_sliders():
    pages = {
        "02": ["pixel-range"],
        "03": ["byte-of-value"],
        "04": ["leaky-slope"],
        "05": ["tanh-slope"],
        "06": ["logit"],
        "07": ["loss-of-g"],
        "09": ["adam-memory", "real-label"],
    }
    for page, names in pages.items():
        (path,) = (ROOT / "notebooks").glob(f"{page}_*.ipynb")
        assert re.findall(r"```{slider} ([\w-]+)", path.read_text()) == names


def test_the_drawing_is_that_of_the_first_position_and_unknown_names_are_told(build):
    start, _ = sliders.figure_html(sliders.SLIDERS["tanh-slope"]())
    data = json.loads(re.search(r'json">(.*?)</script>', start)[1])
    circles = re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', start)
    assert [[float(x), float(y)] for x, y in circles] == data["points"][data["first"]]
    assert f'slider-words">{data["words"][data["first"]]}<' in start
    _, said = build(["sliders"], {"page.rst": "Page\n====\n\n.. slider:: tan\n"})
    assert "There is no slider tan; known: pixel-range," in said


# Glossary and search


def test_the_first_of_a_word_leads_to_its_meaning(build):
    pages = {
        "book/glossary.rst": GLOSSARY,
        "page.rst": f"{PAGE}\n.. toctree::\n\n   book/glossary\n",
    }
    site, _ = build(["terms"], pages)
    page = (site / "page.html").read_text()
    links = re.findall(
        r'<a class="term" href="([^"]*)" data-meaning="([^"]*)">([^<]*)</a>', page
    )
    assert [words for _, _, words in links] == ["leaky unit", "EMA"]
    assert [place for place, _, _ in links] == [
        "book/glossary.html#term-leaky-unit",
        "book/glossary.html#term-EMA",
    ]
    assert links[1][1] == "An average." and "&lt;math" in links[0][1]
    assert (
        "terms.js" in page
        and 'class="term"' not in (site / "book/glossary.html").read_text()
    )


def test_the_search_has_sections_with_their_words_and_no_menus(build):
    pages = {
        "book/glossary.rst": GLOSSARY,
        "page.rst": f"{PAGE}\n.. toctree::\n\n   book/glossary\n",
    }
    site, _ = build(["sections"], pages)
    script = (site / FILE).read_text()
    found = {
        place: {anchor: (title, text, code) for anchor, title, text, code in parts}
        for place, _, parts in json.loads(script.partition("= ")[2].rstrip(";\n"))
    }
    assert set(found["page.html"]) == {"", "second-part"}
    title, text, code = found["page.html"]["second-part"]
    assert title == "Second part" and text.startswith("The sum … and 60,000 words.")
    assert "odd_name" in code and "odd_name" not in text
    assert found["page.html"][""][1].startswith("One leaky unit,")
    assert found["book/glossary.html"]["term-EMA"][:2] == ("EMA", "An average. Page 8.")
    assert "Navigation" not in script


def test_outputs_are_not_searched():
    cell = nodes.container("", nb_element="cell_code_output")
    cell += nodes.literal_block(text="12345 printed")
    place = nodes.section("", nodes.title(text="Title"), cell, ids=["title"])
    document = nodes.Element("", place)
    assert "printed" not in str(sections(document))


# Where to run a page


@pytest.mark.parametrize("slug", ["", "me/book"])
def test_colab_is_offered_under_the_title_where_there_is_an_address(slug):
    import launch

    class App:
        class config:  # noqa: N801
            book_repository = slug
            html_theme_options = {}  # noqa: RUF012

    context = {
        "body": "<h1>Title</h1><p>Text</p>",
        "sourcename": "notebooks/01.ipynb",
        "pathto": lambda path, _: f"../{path}",
    }
    launch.add_links(App, "notebooks/01", "page.html", context, None)
    body = context["body"]
    colab = (
        "https://colab.research.google.com/github/me/book/blob/main/notebooks/01.ipynb"
    )
    assert (f'href="{colab}">Run in Colab</a>' in body) == bool(slug)
    assert body.startswith("<h1>Title</h1>\n<p") and body.endswith("</p><p>Text</p>")
    assert 'href="../_sources/notebooks/01.ipynb"' in body
