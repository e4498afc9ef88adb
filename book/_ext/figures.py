"""The figures of the notebooks, as the site shows them: numbered, captioned, in panels.

The caption is the description that the notebook has for the figure, so that everybody
reads it. A figure of several plots side by side, or of a plot with its legend beside
it, is also cut between them; on a narrow screen its parts stand below each other.
Pictures are stored at twice the density at which they are shown.
"""

import hashlib
import json
import re
from base64 import b64decode
from functools import cache
from html import escape
from itertools import pairwise
from pathlib import Path

import numpy as np
from docutils import nodes
from PIL import Image
from sphinx.util.osutil import relative_uri

AXES = re.compile(r"with (\d+) Axes")
GAP = 8  # pixels of the stored picture
SMALLEST = 0.3  # share of a figure's width that a part has at least, if there are two
LEGEND = 0.55  # share of a figure's width that a plot beside its legend has at least
FOLDER = "_images/panels"


def setup(app):
    app.connect("doctree-resolved", caption_figures)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def caption_figures(app, doctree, docname):
    """Put each picture that a cell drew into a figure; cut and size those of text."""
    source = Path(app.env.doc2path(docname))
    if app.builder.format != "html":
        return
    if source.suffix != ".ipynb":
        for figure in doctree.findall(nodes.figure):
            for place, image in enumerate(list(figure.findall(nodes.image)), start=1):
                path = app.srcdir / image["uri"]
                _set_width(image, path)
                if parts := panels(path, plots_of_copy(path, app.srcdir)):
                    words = image.get("alt", "")
                    _add_panels(app, docname, figure, place, parts, words, path.stem)
        return
    chapter = app.env.toc_secnumbers.get(docname, {}).get("", ())
    axes = axes_of_pictures(json.loads(source.read_text(encoding="utf-8")))
    drawn = list(doctree.findall(_is_drawn))
    share_words(drawn)
    for count, image in enumerate(drawn, start=1):
        place = [*map(str, chapter), str(count)]
        number = f"Figure {'.'.join(place)}"
        figure = nodes.figure("", classes=["plot"], ids=[f"figure-{'-'.join(place)}"])
        image.replace_self(figure)
        figure += image
        image["classes"].append("bare")
        path = app.srcdir / image["uri"]
        _set_width(image, path)
        parts = panels(path, axes.get(path.stem, 1))
        if parts:
            _add_panels(app, docname, figure, 1, parts, number, path.stem)
        if image.get("alt"):
            label = nodes.inline("", number, classes=["figure-number"])
            figure += nodes.caption("", "", label, nodes.Text(f" {image['alt']}"))
            image["alt"] = number  # what it shows stands below it


def share_words(images):
    """Pictures of one cell have one description; ` | ` parts it into theirs."""
    for words in {image.get("alt", "") for image in images}:
        same = [image for image in images if image.get("alt") == words]
        parts = words.split(" | ")
        if len(parts) == len(same):
            for image, part in zip(same, parts, strict=True):
                image["alt"] = part


def _is_drawn(node):
    if not isinstance(node, nodes.image):
        return False
    while node := node.parent:
        if node.get("nb_element") == "cell_code_output":
            return True
    return False


def axes_of_pictures(notebook):
    """A notebook -> {name of a picture's file, without its ending: how many plots}."""
    found = {}
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            words = AXES.search("".join(data.get("text/plain", "")))
            if "image/png" in data and words:
                picture = b64decode("".join(data["image/png"]))
                found[hashlib.sha256(picture).hexdigest()] = int(words[1])
    return found


@cache
def _stored(folder):
    """How many plots the pictures of all notebooks hold, as in axes_of_pictures."""
    pages = sorted((folder / "notebooks").glob("*.ipynb"))
    notebooks = (json.loads(page.read_text(encoding="utf-8")) for page in pages)
    return dict(pair for one in notebooks for pair in axes_of_pictures(one).items())


def plots_of_copy(path, folder):
    """How many plots a picture holds that is a copy of a notebook's."""
    name = hashlib.sha256(path.read_bytes()).hexdigest()
    return _stored(Path(folder)).get(name, 1)


def panels(path, count):
    """A picture of `count` plots -> one of each; nothing if it has no clear gaps.

    A picture of one plot is cut where a legend stands to the right of it.
    """
    if not 1 <= count <= 4 or path.suffix != ".png":
        return []
    with Image.open(path) as picture:
        rgba = picture.convert("RGBA")
    gaps = _gaps(np.asarray(rgba)[..., 3])
    inner = [(start + end) // 2 for start, end in gaps]
    if count == 2:
        least = SMALLEST * rgba.width
        inner = [cut for cut in inner if least < cut < rgba.width - least][:1]
    beside = gaps and gaps[0][0] > LEGEND * rgba.width
    if beside and (count == 1 or (count == 2 and not inner)):
        inner, count = [sum(gaps[0]) // 2], 2
    if count == 1 or len(inner) != count - 1:
        return []
    edges = [0, *inner, rgba.width]
    cuts = [(left, 0, right, rgba.height) for left, right in pairwise(edges)]
    parts = [rgba.crop(cut) for cut in cuts]
    if beside and (box := parts[-1].getbbox()):  # no room above and below a legend
        parts[-1] = parts[-1].crop((0, box[1], parts[-1].width, box[3]))
    return parts


def _gaps(alpha):
    """Columns in which nothing is drawn, not near a side -> [(start, end)]."""
    empty = np.flatnonzero((alpha == 0).all(axis=0))
    runs = np.split(empty, np.flatnonzero(np.diff(empty) > 1) + 1)
    width = alpha.shape[1]
    return [
        (run[0], run[-1] + 1)
        for run in runs
        if len(run) >= GAP and 0.2 * width < run[0] and run[-1] < 0.8 * width
    ]


def _set_width(image, path):
    """Where nothing says how wide a picture is, half of its pixels."""
    if "width" not in image and path.suffix == ".png":
        with Image.open(path) as picture:
            image["width"] = f"{picture.width // 2}px"


def _add_panels(app, docname, figure, place, parts, words, name):
    """Put the parts of a picture behind it, for narrow screens."""
    figure["classes"].append("has-panels")
    figure.insert(place, _panels(app, docname, parts, words, name))


def _panels(app, docname, parts, number, name):
    """The parts of a figure, as files and as a place in the page."""
    folder = app.outdir / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    html = ""
    for place, part in enumerate(parts, start=1):
        file = f"{name[:32]}-{place}.png"
        reduced = part.quantize(256, method=Image.Quantize.FASTOCTREE)
        reduced.save(folder / file, optimize=True)
        uri = relative_uri(app.builder.get_target_uri(docname), f"{FOLDER}/{file}")
        size = f'width="{part.width // 2}" height="{part.height // 2}"'
        alt = escape(f"{number}, part {place}")
        html += f'<img src="{uri}" {size} alt="{alt}" class="bare" loading="lazy">'
    return nodes.raw("", f'<div class="panels">{html}</div>', format="html")
