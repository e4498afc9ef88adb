"""A window: two pictures that answer back, in Jupyter, in Colab and on a page without a kernel. Nothing depends on it.

What they show and how stands in ganlib/browser, in plain JavaScript; here is only what they are given.
"""

import zlib
from copy import deepcopy
from pathlib import Path

import anywidget
import numpy as np
import torch
import traitlets
from torch import nn
from torch.nn.utils.fusion import fuse_linear_bn_eval

from ganlib.config import GanlibError
from ganlib.models import Generator

BROWSER = Path(__file__).parent / "browser"


def timelapse(history, epochs, *, scores=None):
    """List of Records and {epoch: bytes (N, C, H, W)} of fixed noise -> a widget: the run under a slider.

    `scores` adds a third plot: {name: {epoch: number}}. GanlibError unless all are uint8 of one shape.
    """
    moments = sorted(epochs)
    shapes = {tuple(images.shape) for images in epochs.values()}
    if len(shapes) != 1 or any(images.dtype != torch.uint8 for images in epochs.values()):
        raise GanlibError("epochs must be {epoch: bytes (N, C, H, W)}, uint8 and of one shape; use denormalize().")
    ((count, *shape),) = shapes
    panels = [
        _panel("Losses", history, Loss_D=("d_loss", "d"), Loss_G=("g_loss", "g")),
        _panel("What D says", history, **{"D(x)": ("d_real", "d"), "D(G(z))": ("d_fake_after", "g")}, span=[0, 1]),
    ]
    if scores:
        looks = dict(zip(scores, "dgo" * len(scores), strict=False))
        lines = [_line(name, sorted(points.items()), looks[name]) for name, points in scores.items()]
        panels.append({"title": "Scores", "span": None, "lines": lines})
    pixels = torch.stack([epochs[moment] for moment in moments]).cpu().numpy().tobytes()
    about = {"epochs": moments, "count": count, "shape": shape, "panels": panels}
    return Timelapse(about=about, packed=zlib.compress(pixels, 9), at=len(moments) - 1)


def _panel(title, history, *, span=None, **lines):
    """One plot: {label: (field of Record, look)} -> what the page needs to draw it; `span` fixes the vertical axis."""
    drawn = [
        _line(label, [(record.epoch, getattr(record, field)) for record in history], look)
        for label, (field, look) in lines.items()
    ]
    return {"title": title, "span": span, "lines": drawn}


def _line(label, points, look):
    return {"label": label, "look": look, "points": [[epoch, round(float(value), 4)] for epoch, value in points]}


def explore(G):
    """Generator of linear layers -> a widget that runs it in the page and draws new images as its sliders move.

    The noise of the image shown comes back as `.z`, a list of floats, while a kernel listens.
    Raises GanlibError for a network that is no Generator of ganlib.
    """
    layers = _linear_layers(G)
    sizes = [layers[0].in_features, *(layer.out_features for layer in layers)]
    numbers = [part.detach().cpu().numpy().ravel() for layer in layers for part in (layer.weight, layer.bias)]
    half = np.concatenate(numbers).astype("<f2")
    planes = half.view(np.uint8).reshape(-1, 2).T  # all low bytes, then all high bytes: it packs better
    about = {"sizes": sizes, "shape": list(G.image_shape), "directions": _directions(layers[0])}
    return Explorer(about=about, packed=zlib.compress(planes.tobytes(), 9))


def _linear_layers(G):
    """A Generator -> its linear layers, with ReLU between them and tanh at the end, or GanlibError.

    A BatchNorm in eval mode is a product and a sum for each unit, which go into the layer before it.
    """
    layers = []
    for layer in deepcopy(G).eval().layers if isinstance(G, Generator) else ():
        if isinstance(layer, nn.BatchNorm1d) and layers and isinstance(layers[-1], nn.Linear):
            layers[-1] = fuse_linear_bn_eval(layers[-1], layer)
        else:
            layers.append(layer)
    linear, between = layers[::2], layers[1::2]
    kinds = [nn.ReLU] * (len(linear) - 1) + [nn.Tanh]
    if not layers or any(type(layer) is not nn.Linear for layer in linear) or [*map(type, between)] != kinds:
        raise GanlibError(f"explore takes a Generator of linear layers with ReLU; this is a {type(G).__name__}.")
    return linear


def _directions(layer):
    """A linear layer -> the two directions of its input (unit vectors) that it stretches most."""
    first_two = torch.linalg.svd(layer.weight.detach().cpu(), full_matrices=False).Vh[:2]
    signs = first_two.sum(dim=1, keepdim=True).sign()  # a singular vector has no sign of its own
    return [[round(value, 5) for value in row] for row in (first_two * signs).tolist()]


def _read(*names):
    return "\n".join((BROWSER / name).read_text(encoding="utf-8") for name in names)


class _Widget(anywidget.AnyWidget):
    _css = _read("widgets.css")
    about = traitlets.Dict().tag(sync=True)
    packed = traitlets.Bytes().tag(sync=True)


class Timelapse(_Widget):
    """A run under a slider; `at` is the place of the picture shown, counted from 0."""

    _esm = _read("common.js", "timelapse.js")
    at = traitlets.Int(0).tag(sync=True)

    def __repr__(self):
        return f"Time-lapse of {len(self.about['epochs'])} epochs"


class Explorer(_Widget):
    """A generator that draws in the page; `z` is the noise of the image shown."""

    _esm = _read("common.js", "explore.js")
    z = traitlets.List(traitlets.Float()).tag(sync=True)

    def __repr__(self):
        return f"Explorer of a generator {'-'.join(map(str, self.about['sizes']))}"
