"""The brush: areas and colours of painted shapes, where both are known."""

import math

import pytest
import torch

from ganlib.data.avatars.shapes import Sheet, bar, common_part, ellipse, outside, ring, stroke, union

RED, GREY = torch.tensor([[255.0, 0.0, 0.0]]), torch.full((1, 3), 100.0)
BALL, BOX = ellipse(32, 30, 12, 12), bar(10, 20, 30, 50)


def painted(shape, *window, strength=1.0):
    """How much of a black sheet of 64x64 a white shape covers, in pixels."""
    sheet = Sheet(torch.zeros(1, 3), 64)
    sheet.paint(torch.full((1, 3), 255.0), shape, *window, strength=strength)
    return sheet.pixels[0].mean(dim=0).sum().item() / 255


@pytest.mark.parametrize(
    "shape, area",
    [
        (BALL, 144 * math.pi),
        (ellipse(32, 30, 16, 8), 128 * math.pi),
        (ring(32, 30, 10, 2), 40 * math.pi),
        (BOX, 600),
        (stroke(32, 32, 10, 0, 4), 4 * 22),  # half a width longer, so that its ends are not blunt
        (outside(BOX), 64 * 64 - 600),
        (union(BOX, bar(20, 20, 40, 50)), 900),
        (common_part(BOX, bar(20, 20, 40, 50)), 300),
        (common_part(BALL, outside(BALL)), 0),
    ],
)
def test_a_shape_covers_its_area(shape, area):
    assert painted(shape) == pytest.approx(area, rel=0.05, abs=45 if area == 0 else 2)


def test_the_ends_of_a_bent_stroke_lie_lower():
    sheet = Sheet(torch.zeros(1, 3), 64)
    sheet.paint(RED, stroke(32, 20, 10, 8, 2))
    top, ends = sheet.pixels[0, 0, :, 32].argmax(), sheet.pixels[0, 0, :, 23].argmax()
    assert abs(top - 20) <= 1 and 5 <= ends - top <= 8


def test_edges_are_smooth_and_the_rest_is_flat():
    sheet = Sheet(GREY, 64)
    sheet.paint(RED, BALL)
    picture = sheet.finish()
    assert picture.dtype == torch.uint8 and picture.shape == (1, 3, 64, 64)
    assert picture[0, :, 30, 32].tolist() == [255, 0, 0] and picture[0, :, 0, 0].tolist() == [100, 100, 100]
    between = (picture[0, 0] > 100) & (picture[0, 0] < 255)
    assert 40 < between.sum() < 120  # about the circumference, 75


def test_a_window_shows_a_part_of_the_same_shape():
    whole, part = Sheet(GREY, 64), Sheet(GREY, 64)
    whole.paint(RED, BALL)
    part.paint(RED, BALL, (26, 50, 29, 40))
    assert torch.equal(part.pixels[:, :, 26:50, 29:40], whole.pixels[:, :, 26:50, 29:40])
    part.pixels[:, :, 26:50, 29:40] = GREY[:, :, None, None]
    assert torch.equal(part.pixels, Sheet(GREY, 64).pixels)


def test_each_picture_has_numbers_a_colour_and_a_strength_of_its_own():
    sheet = Sheet(torch.zeros(3, 3), 64)
    radius, colour = (
        torch.tensor([5.0, 10.0, 10.0])[:, None, None],
        torch.tensor([[100.0], [200.0], [200.0]]).repeat(1, 3),
    )
    sheet.paint(colour, ellipse(32, 32, radius, radius), strength=torch.tensor([1.0, 0.5, 0.0])[:, None, None])
    assert sheet.pixels[:, 0, 32, 32].tolist() == [100, 100, 0]
    assert sheet.pixels[:, 0, 32, 39].tolist() == [0, 100, 0]


def test_a_shape_that_nobody_has_changes_nothing():
    assert painted(BALL, strength=torch.zeros(1, 1, 1)) == 0
    assert painted(BALL, strength=0.25) == pytest.approx(36 * math.pi, rel=0.02)
