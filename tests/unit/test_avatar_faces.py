"""Each value of each attribute shows in the face, in the place where it belongs."""

import pytest
import torch

from ganlib.data.avatars.faces import (
    ATTRIBUTES,
    COLOURS,
    RANDOM_NUMBERS,
    draw_faces,
)

PLACES = {  # where an attribute may change the face: rows, columns
    "background": (0, 64, 0, 64),
    "skin": (8, 64, 10, 54),
    "hair colour": (0, 62, 0, 64),
    "hair": (0, 62, 0, 64),
    "eyes": (25, 45, 15, 51),
    "mouth": (38, 50, 22, 44),
    "glasses": (24, 48, 12, 54),
}
CHANGES = [
    (name, value) for name in ATTRIBUTES for value in range(1, len(ATTRIBUTES[name]))
]


def values_of(*faces):
    """Dictionaries of attributes that differ from 0 -> values (N, 7)."""
    return torch.tensor([[face.get(name, 0) for name in ATTRIBUTES] for face in faces])


@pytest.mark.parametrize(("attribute", "value"), CHANGES)
def test_a_value_shows_and_only_where_it_belongs(attribute, value):
    numbers = torch.full((2, RANDOM_NUMBERS), 0.5)
    plain, changed = draw_faces(values_of({}, {attribute: value}), numbers).float()
    difference = (plain - changed).abs().amax(dim=0)
    top, bottom, left, right = PLACES[attribute]
    assert (difference > 40).sum() >= 20, "pixels that are clearly another colour"
    difference[top:bottom, left:right] = 0
    assert difference.max() == 0


def test_there_is_a_colour_for_every_value():
    for attribute in "background", "skin", "hair colour":
        assert len(COLOURS[attribute]) == len(ATTRIBUTES[attribute])
    assert len(COLOURS["lips"]) == len(ATTRIBUTES["skin"])


def test_every_random_number_but_the_spare_ones_matters():
    hair = [{"hair": 0, "glasses": 1}, {"hair": 1}, {"hair": 2}, {"hair": 3}]
    values = values_of(*hair, {"mouth": 1})
    numbers = torch.full((5, RANDOM_NUMBERS), 0.4)
    before = draw_faces(values, numbers)
    unused = []
    for number in range(RANDOM_NUMBERS):
        changed = numbers.index_fill(1, torch.tensor([number]), 0.9)
        if torch.equal(draw_faces(values, changed), before):
            unused.append(number)
    assert unused == list(range(RANDOM_NUMBERS - 4, RANDOM_NUMBERS))
