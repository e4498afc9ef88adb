"""Avatars: drawn faces, as many as wanted, whose attributes are known."""

import itertools
import math

import torch
from torch import Tensor

from ganlib.data.avatars.faces import ATTRIBUTES, RANDOM_NUMBERS, SIZE, draw_faces
from ganlib.errors import GanlibError

MAX_COUNT = 200_000  # faces in one call: 2.5 GB
CHUNK = 50  # faces drawn together: few enough to stay in the processor's cache

VALUE_COUNTS = tuple(len(values) for values in ATTRIBUTES.values())
CLASSES = tuple(
    f"{background} background, {skin} skin, {hair} {colour} hair, {eyes} eyes, "
    f"{mouth}, {glasses} glasses"
    for background, skin, colour, hair, eyes, mouth, glasses in itertools.product(
        *ATTRIBUTES.values()
    )
)


def draw(count: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Faces as pixels, uint8 (count, 3, 64, 64), and labels, int64 (count,).

    Labels are indices into CLASSES. A seed gives the same faces every time, and fewer
    of them are the first of more.

    Args:
        count: 1 to 200,000.
        seed: 0 to 2**31 - 1.

    Raises GanlibError if one of the two is out of range.
    """
    _check_range("count", count, 1, MAX_COUNT)
    _check_range("seed", seed, 0, 2**31 - 1)
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.rand(count, len(ATTRIBUTES) + RANDOM_NUMBERS, generator=generator)
    columns = []
    for column, shares in enumerate(ATTRIBUTES.values()):
        ends = torch.tensor(list(shares.values())).cumsum(0)[:-1]
        columns.append((numbers[:, column, None] >= ends).sum(dim=1))
    values = torch.stack(columns, dim=1)
    labels = encode_labels(values)
    pixels = torch.empty(count, 3, SIZE, SIZE, dtype=torch.uint8)
    # Faces of the same hair, eyes, mouth and glasses together: a layer that none of a
    # chunk has is not drawn.
    order = (labels % math.prod(VALUE_COUNTS[3:])).argsort(stable=True)
    for part in order.split(CHUNK):
        pixels[part] = draw_faces(values[part], numbers[part, len(ATTRIBUTES) :])
    return pixels, labels


def _check_range(name: str, value: int, low: int, high: int) -> None:
    if type(value) is not int or not low <= value <= high:
        raise GanlibError(
            f"The {name} of avatars is {value!r}; it must be a whole number from {low} "
            f"to {high}."
        )


def encode_labels(values: Tensor) -> Tensor:
    """Values of the attributes (N, 7), indices as in ATTRIBUTES -> labels (N,)."""
    labels = torch.zeros(len(values), dtype=torch.int64)
    for column, count in zip(values.unbind(dim=1), VALUE_COUNTS, strict=True):
        labels = labels * count + column
    return labels


def decode_labels(labels: Tensor) -> Tensor:
    """Labels (N,) -> values of the attributes (N, 7), indices as in ATTRIBUTES."""
    return torch.stack(torch.unravel_index(labels, VALUE_COUNTS), dim=1)


def common_combinations(*, expected: float = 10, among: int = 10_000) -> Tensor:
    """Labels, ascending, of the combinations of attributes that are not rare.

    Those of which `expected` or more are to be expected `among` so many faces.
    """
    shares = itertools.product(*(values.values() for values in ATTRIBUTES.values()))
    return torch.tensor(
        [
            label
            for label, share in enumerate(shares)
            if math.prod(share) * among >= expected
        ]
    )
