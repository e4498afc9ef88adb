"""The studio's order book: drawn faces, any number, whose factors are known because we chose them."""

import itertools
import math

import torch

from ganlib.errors import GanlibError
from ganlib.data.avatars.faces import NUMBERS, SIZE, paint

MOST = 200_000  # faces in one call: 2.5 GB
CHUNK = 50  # faces painted together: few enough to stay in the processor's cache

# Every factor, its values, and the share of the faces that have it. A face takes one of each, independently.
FACTORS = {
    "background": {"blue": 0.5, "pink": 0.3, "green": 0.2},
    "skin": {"light": 0.32, "tan": 0.28, "brown": 0.22, "dark": 0.18},
    "hair colour": {"black": 0.5, "blond": 0.3, "red": 0.2},
    "hair": {"short": 0.4, "long": 0.3, "curly": 0.18, "tied": 0.12},
    "eyes": {"open": 0.85, "closed": 0.15},
    "mouth": {"smiling": 0.72, "laughing": 0.28},
    "glasses": {"no": 0.78, "round": 0.22},
}
VALUES = tuple(len(values) for values in FACTORS.values())
CLASSES = tuple(
    f"{background} background, {skin} skin, {hair} {colour} hair, {eyes} eyes, {mouth}, {glasses} glasses"
    for background, skin, colour, hair, eyes, mouth, glasses in itertools.product(*FACTORS.values())
)


def draw(count, *, seed=0):
    """How many -> pixels uint8 (count, 3, 64, 64) and labels int64 (count,), which are indices into CLASSES.

    A seed gives the same faces every time, and fewer of them are the first of more. GanlibError if `count` or `seed`
    is out of range.
    """
    for name, value, low, high in ("count", count, 1, MOST), ("seed", seed, 0, 2**31 - 1):
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise GanlibError(f"The {name} of avatars is {value!r}; it must be a whole number from {low} to {high}.")
    chance = torch.rand(count, len(FACTORS) + NUMBERS, generator=torch.Generator().manual_seed(seed))
    ends = [torch.tensor(list(values.values())).cumsum(0)[:-1] for values in FACTORS.values()]
    factors = torch.stack([(chance[:, i, None] >= end).sum(dim=1) for i, end in enumerate(ends)], dim=1)
    labels, pixels = join(factors), torch.empty(count, 3, SIZE, SIZE, dtype=torch.uint8)
    order = (labels % math.prod(VALUES[3:])).argsort(stable=True)  # the same hair, eyes, mouth and glasses together
    for part in order.split(CHUNK):
        pixels[part] = paint(factors[part], FACTORS, chance[part, len(FACTORS) :])
    return pixels, labels


def join(factors):
    """Values of the factors (N, 7), as indices in the order of FACTORS -> labels (N,)."""
    label = torch.zeros(len(factors), dtype=torch.int64)
    for column, values in zip(factors.unbind(dim=1), VALUES, strict=True):
        label = label * values + column
    return label


def split(labels):
    """Labels (N,) -> values of the factors (N, 7), as indices in the order of FACTORS."""
    return torch.stack(torch.unravel_index(labels, VALUES), dim=1)


def common(*, least=10, among=10_000):
    """Labels, ascending, of the combinations that are expected at least `least` times among so many faces."""
    shares = itertools.product(*(values.values() for values in FACTORS.values()))
    return torch.tensor([label for label, share in enumerate(shares) if math.prod(share) * among >= least])
