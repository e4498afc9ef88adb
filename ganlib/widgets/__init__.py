"""A window: two pictures that answer back, in Jupyter, in Colab and on a page without a kernel. Nothing depends on it.

What they show and how stands in ganlib/browser, in plain JavaScript; here is only what they are given.
"""

import io
import zlib
from copy import deepcopy
from pathlib import Path

import anywidget
import numpy as np
import torch
import traitlets
from PIL import Image
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from ganlib.errors import GanlibError
from ganlib.models import ConvGenerator
from ganlib.models import Generator

BROWSER = Path(__file__).parent / "browser"
MOST_PRODUCTS = 110_000_000  # in one forward pass: 105 million took a browser on a busy 2-core machine 83 ms or more


def timelapse(history, epochs, *, scores=None):
    """List of Records and {epoch: bytes (N, C, H, W)} of fixed noise -> a widget: the run under a slider.

    `scores` adds a third plot: {name: {epoch: number}}. Pictures in colour are stored as WebP, a tenth as long and a
    little different. GanlibError unless all are uint8 of one shape, in grey or in colour.
    """
    moments = sorted(epochs)
    shapes = {tuple(images.shape) for images in epochs.values()}
    if len(shapes) != 1 or any(images.dtype != torch.uint8 for images in epochs.values()):
        raise GanlibError("epochs must be {epoch: bytes (N, C, H, W)}, uint8 and of one shape; use denormalize().")
    ((count, *shape),) = shapes
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise GanlibError(f"Pictures of shape {tuple(shape)} cannot be shown; they must be (1, H, W) or (3, H, W).")
    panels = [
        _panel("Losses", history, Loss_D=("d_loss", "d"), Loss_G=("g_loss", "g")),
        _panel("What D says", history, **{"D(x)": ("d_real", "d"), "D(G(z))": ("d_fake_after", "g")}, span=[0, 1]),
    ]
    if scores:
        looks = dict(zip(scores, "dgo" * len(scores), strict=False))
        lines = [_line(name, sorted(points.items()), looks[name]) for name, points in scores.items()]
        panels.append({"title": "Scores", "span": None, "lines": lines})
    pixels = torch.cat([epochs[moment] for moment in moments]).cpu().numpy()
    packed = _webp(pixels) if shape[0] == 3 else zlib.compress(pixels.tobytes(), 9)
    about = {"epochs": moments, "count": count, "shape": shape, "panels": panels}
    return Timelapse(about=about, packed=packed, at=len(moments) - 1)


def _webp(pixels):
    """Bytes (N, 3, H, W) -> one WebP with all of them in rows; the last row may end in black."""
    count, channels, height, width = pixels.shape
    columns = int(np.ceil(np.sqrt(count)))
    sheet = np.zeros((-(-count // columns) * columns, channels, height, width), np.uint8)
    sheet[:count] = pixels
    sheet = sheet.reshape(-1, columns, channels, height, width).transpose(0, 3, 1, 4, 2)
    packed = io.BytesIO()
    Image.fromarray(sheet.reshape(-1, columns * width, channels)).save(packed, "webp", quality=85, method=6)
    return packed.getvalue()


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
    """Generator or ConvGenerator -> a widget that runs it in the page and draws new images as its sliders move.

    The noise of the image shown comes back as `.z`, a list of floats, while a kernel listens.
    Raises GanlibError for a network that is neither, or that would take a browser more than 100 ms for an image.
    """
    layers, convolutions = _plain_layers(G), isinstance(G, ConvGenerator)
    sizes = [len(layers[0].weight) if convolutions else layers[0].in_features, *(len(layer.bias) for layer in layers)]
    side = 2 ** (len(layers) + 1)
    shape = [sizes[-1], side, side] if convolutions else list(G.image_shape)
    products = sum(layer.weight.numel() * (4 ** (at + 1) if at else 1) for at, layer in enumerate(layers))
    if convolutions and products > MOST_PRODUCTS:
        raise GanlibError(
            f"One image of this network takes {products:,} products, which keeps a browser busy for more than 100 ms; "
            "explore takes a ConvGenerator with a hidden_dim of at most 64 for images of 64x64, or 16 for 128x128."
        )
    numbers = [part.detach().cpu().numpy().ravel() for layer in layers for part in (layer.weight, layer.bias)]
    half = np.concatenate(numbers).astype("<f2")
    planes = half.view(np.uint8).reshape(-1, 2).T  # all low bytes, then all high bytes: it packs better
    about = {"sizes": sizes, "shape": shape, "directions": _directions(layers[0]), "convolutions": convolutions}
    return Explorer(about=about, packed=zlib.compress(planes.tobytes(), 9))


def _plain_layers(G):
    """A generator -> its layers that learn, with ReLU between them and tanh at the end, or GanlibError.

    A BatchNorm in eval mode is a product and a sum for each unit or channel, which go into the layer before it.
    """
    layers, kind = [], nn.ConvTranspose2d if isinstance(G, ConvGenerator) else nn.Linear
    for layer in deepcopy(G).eval().layers if isinstance(G, Generator | ConvGenerator) else ():
        if isinstance(layer, nn.BatchNorm1d) and layers and isinstance(layers[-1], nn.Linear):
            layers[-1] = fuse_linear_bn_eval(layers[-1], layer)
        elif isinstance(layer, nn.BatchNorm2d) and layers and isinstance(layers[-1], nn.ConvTranspose2d):
            layers[-1] = fuse_conv_bn_eval(layers[-1], layer, transpose=True)
        else:
            layers.append(layer)
    plain, between = layers[::2], layers[1::2]
    class_coverage = [nn.ReLU] * (len(plain) - 1) + [nn.Tanh]
    if not layers or any(type(layer) is not kind for layer in plain) or [*map(type, between)] != class_coverage:
        raise GanlibError(f"explore takes a Generator or a ConvGenerator of ganlib; this is a {type(G).__name__}.")
    return plain


def _directions(layer):
    """The first layer -> the two directions of its input (unit vectors) that it stretches most."""
    weight = layer.weight.detach().cpu()
    matrix = weight if weight.dim() == 2 else weight.flatten(1).T
    first_two = torch.linalg.svd(matrix, full_matrices=False).Vh[:2]
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

    _esm = _read("common.js", "network.js", "explore.js")
    z = traitlets.List(traitlets.Float()).tag(sync=True)

    def __repr__(self):
        return f"Explorer of a generator {'-'.join(map(str, self.about['sizes']))}"
