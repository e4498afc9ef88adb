"""The studio: each value of each factor is seen in the face, and in the place where it belongs."""

import pytest
import torch

from ganlib.data.avatars import FACTORS
from ganlib.data.avatars.faces import COLOURS, NUMBERS, paint

PLACES = {  # where a factor may change the face: rows, columns
    "background": (0, 64, 0, 64),
    "skin": (8, 64, 10, 54),
    "hair colour": (0, 62, 0, 64),
    "hair": (0, 62, 0, 64),
    "eyes": (25, 45, 15, 51),
    "mouth": (38, 50, 22, 44),
    "glasses": (24, 48, 12, 54),
}


def faces(**values):
    """One plain face, and for each value of a factor in `values` the same face with that value."""
    rows = torch.zeros(1 + len(values), len(FACTORS), dtype=torch.int64)
    for row, (factor, value) in enumerate(values.items(), start=1):
        rows[row, list(FACTORS).index(factor)] = value
    return paint(rows, FACTORS, torch.full((len(rows), NUMBERS), 0.5)).float()


@pytest.mark.parametrize("factor, value", [(name, i) for name in FACTORS for i in range(1, len(FACTORS[name]))])
def test_a_value_shows_and_only_where_it_belongs(factor, value):
    plain, changed = faces(**{factor: value})
    difference = (plain - changed).abs().amax(dim=0)
    top, bottom, left, right = PLACES[factor]
    assert (difference > 40).sum() >= 20  # pixels that are clearly another colour
    difference[top:bottom, left:right] = 0
    assert difference.max() == 0


def test_there_is_a_colour_for_every_value():
    for factor in "background", "skin", "hair colour":
        assert len(COLOURS[factor]) == len(FACTORS[factor])
    assert len(COLOURS["lips"]) == len(FACTORS["skin"])


def test_every_number_but_the_spare_ones_matters():
    hair, mouth, glasses = (list(FACTORS).index(name) for name in ("hair", "mouth", "glasses"))
    rows = torch.zeros(5, len(FACTORS), dtype=torch.int64)
    rows[:, hair], rows[4, mouth], rows[0, glasses] = torch.tensor([0, 1, 2, 3, 0]), 1, 1
    plain = torch.full((5, NUMBERS), 0.4)
    before = paint(rows, FACTORS, plain)
    changes = [plain.index_fill(1, torch.tensor([number]), 0.9) for number in range(NUMBERS)]
    unused = [number for number, chance in enumerate(changes) if torch.equal(paint(rows, FACTORS, chance), before)]
    assert unused == list(range(NUMBERS - 4, NUMBERS))
