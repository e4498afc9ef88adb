"""Widgets: a run under a slider, and generators that draw in the page.

They work in Jupyter, in Colab, and on a page without a kernel: what they show is drawn
by the JavaScript in this folder. Here is only what it is given.
"""

import io
import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import anywidget
import numpy as np
import torch
import traitlets
from PIL import Image
from torch import Tensor, nn

from ganlib.errors import GanlibError
from ganlib.models import (
    BatchNormGenerator,
    DCGANGenerator,
    Generator,
    ResizeConvGenerator,
)
from ganlib.training import Record

BROWSER = Path(__file__).parent  # the JavaScript and the style
# In one forward pass: 105 million took a browser on a busy 2-core machine 83 ms.
MOST_PRODUCTS = 110_000_000
GENERATORS = Generator, BatchNormGenerator, DCGANGenerator, ResizeConvGenerator

Points = Iterable[tuple[int, float]]  # epoch and number


class _Widget(anywidget.AnyWidget):
    _css = (BROWSER / "widgets.css").read_text(encoding="utf-8")
    about = traitlets.Dict().tag(sync=True)
    packed = traitlets.Bytes().tag(sync=True)


def _script(*names: str) -> str:
    """Files of this folder as one module, without its comments: pages store it."""
    text = "\n".join((BROWSER / name).read_text(encoding="utf-8") for name in names)
    lines = (line.strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//"))


class Timelapse(_Widget):
    """A run under a slider; `at` is the place of the picture shown, counted from 0."""

    _esm = _script("common.js", "timelapse.js")
    at = traitlets.Int(0).tag(sync=True)

    def __repr__(self) -> str:
        return f"Time-lapse of {len(self.about['epochs'])} epochs"


class Explorer(_Widget):
    """A generator that draws in the page; `z` is the noise of the image shown.

    The page also opens files of generators, and then `z` is the noise of that one.
    """

    _esm = _script("common.js", "network.js", "open.js", "explore.js")
    z = traitlets.List(traitlets.Float()).tag(sync=True)

    def __repr__(self) -> str:
        layers = self.about["layers"]
        sizes = [layers[0][1], *(outputs for _, _, outputs in layers)]
        return f"Explorer of a generator {'-'.join(map(str, sizes))}"


class Writer(_Widget):
    """A conditional generator that draws what is typed; `text` is what was."""

    _esm = _script("common.js", "network.js", "write.js")
    text = traitlets.Unicode().tag(sync=True)

    def __repr__(self) -> str:
        return f"Writer of {self.about['characters']}"


class Editor(_Widget):
    """A generator with a slider for each direction; `z` is the noise of the image."""

    _esm = _script("common.js", "network.js", "edit.js")
    _css = _Widget._css + (BROWSER / "edit.css").read_text(encoding="utf-8")
    z = traitlets.List(traitlets.Float()).tag(sync=True)

    def __repr__(self) -> str:
        return f"Editor of {', '.join(self.about['directions'])}"


def timelapse(
    history: Sequence[Record],
    epochs: Mapping[int, Tensor],
    *,
    scores: Mapping[str, Mapping[int, float]] | None = None,
) -> Timelapse:
    """A run under a slider: images of one epoch, and what the networks said.

    Args:
        epochs: {epoch: bytes (N, C, H, W)} of the same noise, in grey or in colour.
            Colour is stored as WebP, a tenth as long and a little different.
        scores: {name: {epoch: number}} for a third plot.

    Raises GanlibError for images of other types or of different shapes.
    """
    moments = sorted(epochs)
    shapes = {tuple(images.shape) for images in epochs.values()}
    if len(shapes) != 1 or any(
        images.dtype != torch.uint8 for images in epochs.values()
    ):
        raise GanlibError(
            "epochs must be {epoch: bytes (N, C, H, W)}, uint8 and of one shape; use "
            "denormalize()."
        )
    count, *shape = shapes.pop()
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise GanlibError(
            f"Pictures of shape {tuple(shape)} cannot be shown; they must be (1, H, W) "
            "or (3, H, W)."
        )
    panels = [
        _panel(
            "Losses",
            _line("Loss_D", _points(history, "d_loss"), "d"),
            _line("Loss_G", _points(history, "g_loss"), "g"),
        ),
        _panel(
            "What D says",
            _line("D(x)", _points(history, "d_real"), "d"),
            _line("D(G(z))", _points(history, "d_fake_after"), "g"),
            span=[0, 1],
        ),
    ]
    if scores:
        lines = [
            _line(name, sorted(scores[name].items()), "dgo"[place % 3])
            for place, name in enumerate(scores)
        ]
        panels.append(_panel("Scores", *lines))
    pixels = torch.cat([epochs[moment] for moment in moments]).cpu().numpy()
    packed = _webp(pixels) if shape[0] == 3 else zlib.compress(pixels.tobytes(), 9)
    about = {"epochs": moments, "count": count, "shape": shape, "panels": panels}
    return Timelapse(about=about, packed=packed, at=len(moments) - 1)


def _points(history: Sequence[Record], field: str) -> Points:
    return [(record.epoch, getattr(record, field)) for record in history]


def _line(label: str, points: Points, look: str) -> dict[str, Any]:
    """A line of a plot; `look` is "d", "g" or "o": its colour and its dashes."""
    rounded = [[epoch, round(float(value), 4)] for epoch, value in points]
    return {"label": label, "look": look, "points": rounded}


def _panel(title: str, *lines: dict, span: list[int] | None = None) -> dict[str, Any]:
    """A plot; `span` holds the ends of its vertical axis, None fits them."""
    return {"title": title, "span": span, "lines": list(lines)}


def _webp(pixels: np.ndarray) -> bytes:
    """Bytes (N, 3, H, W) -> one WebP of all in rows, of which the last may be short."""
    count, channels, height, width = pixels.shape
    columns = int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    sheet = np.zeros((rows * columns, channels, height, width), np.uint8)
    sheet[:count] = pixels
    sheet = sheet.reshape(rows, columns, channels, height, width)
    picture = sheet.transpose(0, 3, 1, 4, 2).reshape(rows * height, -1, channels)
    packed = io.BytesIO()
    Image.fromarray(picture).save(packed, "webp", quality=85, method=6)
    return packed.getvalue()


def explore(G: nn.Module) -> Explorer:
    """A widget that runs G in the page and draws as its sliders move.

    Its weights are rounded to 16 bits. The noise of the image shown comes back as `.z`,
    a list of floats, while a kernel listens.

    Args:
        G: one of the generators of models.py.

    Raises GanlibError for another network, and for one that would take a browser more
    than 100 ms for an image.
    """
    layers = _plain_layers(G)
    about = {
        "layers": _sizes(layers),
        "shape": _shape_of(G, layers),
        "directions": _directions(layers[0].weight),
    }
    return Explorer(about=about, packed=_pack(layers))


def edit(G: nn.Module, directions: Mapping[str, Tensor], z: Tensor) -> Editor:
    """A widget that runs G in the page, with a slider for each direction of noise.

    Its weights are rounded to 16 bits. The noise of the image shown comes back as `.z`,
    a list of floats, while a kernel listens.

    Args:
        G: one of the generators of models.py.
        directions: {what it changes: (latent_dim,)}; a slider at 1 adds it once.
        z: noise (latent_dim,) of the first image.

    Raises GanlibError for another network, for one that would take a browser more than
    100 ms for an image, and for vectors of another length.
    """
    layers = _plain_layers(G)
    shape = _shape_of(G, layers)
    latent_dim = layers[0].weight.shape[1]
    for name, vector in {**directions, "z": z}.items():
        if tuple(vector.shape) != (latent_dim,):
            raise GanlibError(
                f"{name!r} has the shape {tuple(vector.shape)}; the noise of this G "
                f"has ({latent_dim},)."
            )
    vectors = {name: _rounded(vector) for name, vector in directions.items()}
    about = {"layers": _sizes(layers), "shape": shape, "directions": vectors}
    return Editor(about=about, packed=_pack(layers), z=_rounded(z))


def write(G: nn.Module, text: str, *, characters: str = "0123456789") -> Writer:
    """A widget that runs a conditional G in the page and draws the text that is typed.

    Its weights are rounded to 16 bits.

    Args:
        G: a conditional Generator or BatchNormGenerator of models.py.
        text: what it draws at first.
        characters: those of the classes, in their order.

    Raises GanlibError for another network.
    """
    layers = _plain_layers(G)
    inputs = layers[0].weight.shape[1]
    if layers[-1].kind != "linear" or inputs <= len(characters):
        raise GanlibError(
            f"write takes a Generator or a BatchNormGenerator of noise and "
            f"{len(characters)} classes; this is a {type(G).__name__} with {inputs} "
            "inputs."
        )
    about = {
        "layers": _sizes(layers),
        "shape": list(G.image_shape),  # type: ignore[arg-type]
        "characters": characters,
    }
    return Writer(about=about, packed=_pack(layers), text=text)


class _Layer(NamedTuple):
    """What the page can compute; ReLU stands between layers, and tanh at the end."""

    kind: str  # "linear"; "double", a transposed convolution; "same", a convolution
    weight: Tensor  # (outputs, inputs) and, of convolutions, (…, 4, 4) or (…, 3, 3)
    bias: Tensor  # (outputs,)


def _plain_layers(G: nn.Module) -> list[_Layer]:
    """A generator of ganlib in eval mode as layers of three kinds, or GanlibError.

    BatchNorm is a product and a sum for each unit or channel, which go into the layer
    before it. Repeated pixels and then a 3x3 convolution are a transposed convolution
    with sums of its weights.
    """
    layers: list[_Layer] = []
    activations: list[type[nn.Module]] = []
    repeated = False
    copied = deepcopy(G).cpu().eval().requires_grad_(False)
    for layer in copied.layers if isinstance(copied, GENERATORS) else ():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layers[-1] = _with_batchnorm(layers[-1], layer)
        elif isinstance(layer, nn.Linear):
            layers.append(_layer("linear", layer.weight, layer.bias))
        elif isinstance(layer, nn.ConvTranspose2d) and not layers:
            layers.append(_layer("linear", layer.weight.flatten(1).T, layer.bias))
        elif isinstance(layer, nn.ConvTranspose2d):
            layers.append(_layer("double", layer.weight.transpose(0, 1), layer.bias))
        elif isinstance(layer, nn.Conv2d) and repeated:
            sums = layer.weight.new_tensor([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]])
            layers.append(_layer("double", sums @ layer.weight @ sums.T, layer.bias))
        elif isinstance(layer, nn.Conv2d):
            layers.append(_layer("same", layer.weight, layer.bias))
        elif isinstance(layer, nn.ReLU | nn.Tanh):
            activations.append(type(layer))
        repeated = isinstance(layer, nn.Upsample)
    if not layers or activations != [nn.ReLU] * (len(layers) - 1) + [nn.Tanh]:
        raise GanlibError(
            f"explore takes {', '.join(kind.__name__ for kind in GENERATORS)} of "
            f"ganlib; this is a {type(G).__name__}."
        )
    return layers


def _shape_of(G: nn.Module, layers: Sequence[_Layer]) -> list[int]:
    """The shape of an image of G, or GanlibError if a browser needs too long for it."""
    values, products = layers[0].weight.shape[1], 0
    for layer in layers:
        inputs = layer.weight.shape[1]
        side = 1 if layer.kind == "linear" else math.isqrt(values // inputs)
        products += layer.weight.numel() * side**2
        side *= 2 if layer.kind == "double" else 1
        values = len(layer.bias) * side**2
    if products > MOST_PRODUCTS:
        raise GanlibError(
            f"One image of this network takes {products:,} products, which keeps a "
            "browser busy for more than 100 ms; widgets take up to "
            f"{MOST_PRODUCTS:,}: smaller images, or fewer base_channels."
        )
    if layers[-1].kind == "linear":
        return list(G.image_shape)  # type: ignore[arg-type]
    return [len(layers[-1].bias), side, side]


def _rounded(vector: Tensor) -> list[float]:
    return [round(value, 5) for value in vector.tolist()]


def _sizes(layers: Sequence[_Layer]) -> list[list[Any]]:
    """[kind, inputs, outputs] of each layer."""
    return [
        [layer.kind, layer.weight.shape[1], layer.weight.shape[0]] for layer in layers
    ]


def _pack(layers: Sequence[_Layer]) -> bytes:
    """The weights and biases of all layers as packed float16."""
    parts = [part for layer in layers for part in (layer.weight, layer.bias)]
    half = np.concatenate([part.numpy().ravel() for part in parts]).astype("<f2")
    planes = half.view(np.uint8).reshape(-1, 2).T  # low bytes, then high: packs better
    return zlib.compress(planes.tobytes(), 9)


def _layer(kind: str, weight: Tensor, bias: Tensor | None) -> _Layer:
    """A layer; `bias` may be missing, or be one for each 4x4 of a first convolution."""
    outputs = len(weight)
    if bias is None:
        bias = weight.new_zeros(outputs)
    return _Layer(kind, weight, bias.repeat_interleave(outputs // len(bias)))


def _with_batchnorm(layer: _Layer, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> _Layer:
    """A layer whose values are those of `layer` after `norm` in eval mode."""
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None and variance is not None  # they are where it has statistics
    scale = norm.weight / (variance + norm.eps).sqrt()
    shift = norm.bias - mean * scale
    scale = scale.repeat_interleave(len(layer.bias) // len(scale))
    shift = shift.repeat_interleave(len(layer.bias) // len(shift))
    weight = layer.weight * scale.view(-1, *[1] * (layer.weight.dim() - 1))
    return _Layer(layer.kind, weight, layer.bias * scale + shift)


def _directions(weight: Tensor) -> list[list[float]]:
    """The two directions of noise, unit vectors, that the first layer stretches most.

    Args:
        weight: (units, latent_dim).
    """
    directions = torch.linalg.svd(weight.detach().cpu(), full_matrices=False).Vh[:2]
    # A singular vector has no sign of its own.
    signs = directions.sum(dim=1, keepdim=True).sign()
    return [_rounded(row) for row in directions * signs]
