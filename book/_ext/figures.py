"""The figures of the notebooks, as the site shows them: numbered, captioned, in panels.

The caption is the description that the notebook has for the figure, so that everybody
reads it. A figure of several plots side by side is also cut between them; on a narrow
screen its parts stand below each other.
"""

import hashlib
import json
import re
from base64 import b64decode
from itertools import pairwise
from pathlib import Path

import numpy as np
from docutils import nodes
from PIL import Image
from sphinx.util.osutil import relative_uri

AXES = re.compile(r"with (\d+) Axes")
GAP = 8  # pixels of the stored picture
SMALLEST = 0.3  # share of a figure's width that a part has at least, if there are two
FOLDER = "_images/panels"


def setup(app):
    app.connect("doctree-resolved", caption_figures)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def caption_figures(app, doctree, docname):
    """Put each picture that a cell drew into a figure."""
    source = Path(app.env.doc2path(docname))
    if app.builder.format != "html" or source.suffix != ".ipynb":
        return
    chapter = app.env.toc_secnumbers.get(docname, {}).get("", ())
    axes = axes_of_pictures(json.loads(source.read_text(encoding="utf-8")))
    for count, image in enumerate(list(doctree.findall(_is_drawn)), start=1):
        place = [*map(str, chapter), str(count)]
        number = f"Figure {'.'.join(place)}"
        figure = nodes.figure("", classes=["plot"], ids=[f"figure-{'-'.join(place)}"])
        image.replace_self(figure)
        figure += image
        image["classes"].append("bare")
        path = app.srcdir / image["uri"]
        parts = panels(path, axes.get(path.stem, 1))
        if parts:
            figure["classes"].append("has-panels")
            figure += _panels(app, docname, parts, number, path.stem)
        if image.get("alt"):
            label = nodes.inline("", number, classes=["figure-number"])
            figure += nodes.caption("", "", label, nodes.Text(f" {image['alt']}"))
            image["alt"] = number  # what it shows stands below it


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


def panels(path, count):
    """A picture of `count` plots -> one of each; nothing if it has no clear gaps."""
    if not 2 <= count <= 4:
        return []
    with Image.open(path) as picture:
        rgba = picture.convert("RGBA")
    gaps = _gaps(np.asarray(rgba)[..., 3])
    inner = [(start + end) // 2 for start, end in gaps]
    if count == 2:
        least = SMALLEST * rgba.width
        inner = [cut for cut in inner if least < cut < rgba.width - least][:1]
    if len(inner) != count - 1:
        return []
    edges = [0, *inner, rgba.width]
    cuts = [(left, 0, right, rgba.height) for left, right in pairwise(edges)]
    return [rgba.crop(cut) for cut in cuts]


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


def _panels(app, docname, parts, number, name):
    """The parts of a figure, as files and as a place in the page."""
    folder = app.outdir / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    html = ""
    for place, part in enumerate(parts, start=1):
        file = f"{name[:16]}-{place}.png"
        reduced = part.quantize(256, method=Image.Quantize.FASTOCTREE)
        reduced.save(folder / file, optimize=True)
        uri = relative_uri(app.builder.get_target_uri(docname), f"{FOLDER}/{file}")
        size = f'width="{part.width // 2}" height="{part.height // 2}"'
        alt = f"{number}, part {place}"
        html += f'<img src="{uri}" {size} alt="{alt}" class="bare" loading="lazy">'
    return nodes.raw("", f'<div class="panels">{html}</div>', format="html")
