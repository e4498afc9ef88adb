"""What stays of a widget where there is no JavaScript: a picture and a sentence.

A time-lapse leaves its last picture, an explorer eight samples, a writer what it was
asked for, a playground what it shows after 800 steps.
"""

import base64
import io
import json
import re
import zlib
from pathlib import Path

import numpy as np
import torch
from docutils import nodes
from PIL import Image
from sphinx.util.osutil import relative_uri

from ganlib.checkpoint import load_generator
from ganlib.plotting import image_grid
from ganlib.sampling import (
    conditions_of,
    sample_noise,
    sample_pixels,
    with_condition,
)

STATE = "application/vnd.jupyter.widget-state+json"
VIEW = re.compile(r'widget-view\+json">\{"model_id": "([\w-]+)"')
SHIPPED = "shipped-explorer-"
PLAYGROUND = re.compile(r'<div class="gan-playground"( data-start="([\w ]+)")?>')
PLAYGROUNDS = {
    "one dimension": ("playground-line.webp", "Two hills and the samples of G on them"),
    "healthy": ("playground-ring.webp", "Eight heaps on a ring, and samples of G"),
}
SAMPLES = 8  # of an explorer
FOLDER = "_images/without-javascript"


def setup(app):
    app.connect("doctree-resolved", leave_pictures)
    app.connect("html-page-context", leave_playgrounds)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def leave_pictures(app, doctree, docname):
    """Put a picture behind each widget of a page."""
    if app.builder.format != "html":
        return
    for widget in list(doctree.findall(nodes.raw)):
        view = VIEW.search(widget.astext())
        if view is None:
            continue
        model, here = view[1], app.builder.get_target_uri(docname)
        pixels, what = pictures_of(model, Path(app.env.doc2path(docname)))
        file = f"{FOLDER}/{docname.replace('/', '-')}-{model[-12:]}.png"
        path = app.outdir / file
        path.parent.mkdir(parents=True, exist_ok=True)
        grid = Image.fromarray(image_grid(pixels, columns=SAMPLES))
        grid.resize((2 * grid.width, 2 * grid.height), Image.Resampling.NEAREST).save(
            path, optimize=True
        )
        words = f"{what} With JavaScript there is a widget here."
        html = noscript(relative_uri(here, file), what, words)
        place = widget.parent.index(widget) + 1
        widget.parent.insert(place, nodes.raw("", html, format="html"))


def noscript(uri, alt, words):
    return (
        f'<noscript><figure class="plot"><img class="bare" src="{uri}" alt="{alt}">'
        f"<figcaption>{words}</figcaption></figure></noscript>"
    )


def pictures_of(model, source):
    """A widget -> bytes (N, C, H, W) that it could show, and what they are."""
    if model.startswith(SHIPPED):
        G, config = load_generator(model.removeprefix(SHIPPED))
        return sample_pixels(
            G, config.latent_dim, count=SAMPLES
        ), "Samples of the network."
    stored = json.loads(source.read_text(encoding="utf-8"))["metadata"]["widgets"]
    widget = stored[STATE]["state"][model]
    about = widget["state"]["about"]
    packed = base64.b64decode(widget["buffers"][0]["data"])
    if "epochs" in about:
        words = f"The pictures of epoch {about['epochs'][-1]}, the last of the run."
        return last_epoch(about, packed), words
    if "characters" in about:
        text = widget["state"]["text"]
        return written(about, packed, text), f"{text}, drawn by the network."
    return samples(about, packed), "Samples of the network."


def last_epoch(about, packed):
    """What a time-lapse shows last."""
    count, shape, moments = about["count"], about["shape"], len(about["epochs"])
    if shape[0] == 1:
        pixels = np.frombuffer(zlib.decompress(packed), np.uint8)
        return torch.from_numpy(pixels.reshape(moments, count, *shape)[-1].copy())
    with Image.open(io.BytesIO(packed)) as sheet:  # images in rows, as _webp made it
        colours = np.asarray(sheet.convert("RGB"))
    _, height, width = shape
    rows = colours.reshape(-1, height, colours.shape[1] // width, width, 3)
    images = rows.transpose(0, 2, 4, 1, 3).reshape(-1, *shape)
    return torch.from_numpy(images[: moments * count][-count:].copy())


def written(about, packed, text):
    """What a writer draws of a text."""
    characters = about["characters"]
    labels = [characters.index(one) for one in text if one in characters]
    condition = conditions_of(torch.tensor(labels), len(characters))
    latent_dim = about["layers"][0][1] - len(characters)
    z = sample_noise(len(labels), latent_dim, seed=0)
    return samples(about, packed, with_condition(z, condition))


def samples(about, packed, z=None):
    """Images of a generator whose layers are all linear, of some noise or of `z`."""
    planes = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(2, -1)
    numbers = torch.from_numpy(planes.T.copy().view("<f2").astype(np.float32).ravel())
    values = z
    if values is None:
        values = sample_noise(SAMPLES, about["layers"][0][1], seed=0)
    start = 0
    for place, (kind, inputs, outputs) in enumerate(about["layers"]):
        if kind != "linear":
            raise ValueError(
                f"an explorer with a layer {kind} needs the network itself"
            )
        weight = numbers[start : start + inputs * outputs].view(outputs, inputs)
        start += inputs * outputs
        bias = numbers[start : start + outputs]
        start += outputs
        values = (values.relu() if place else values) @ weight.T + bias
    images = (values.tanh() + 1) * 127.5
    return images.round().to(torch.uint8).view(-1, *about["shape"])


def leave_playgrounds(app, pagename, templatename, context, doctree):
    """Put a picture into each place for a playground."""

    def with_picture(found):
        file, alt = PLAYGROUNDS[found[2] or "healthy"]
        words = "What the playground shows after 800 steps."
        return found[0] + noscript(context["pathto"](f"_static/{file}", 1), alt, words)

    if "body" in context:
        context["body"] = PLAYGROUND.sub(with_picture, context["body"])
