"""Areas and colours of painted shapes, where both are known."""

import math

import pytest
import torch

from ganlib.data.avatars.shapes import (
    Canvas,
    complement,
    ellipse,
    intersection,
    rectangle,
    ring,
    stroke,
    union,
)

RED, GREY = torch.tensor([[255.0, 0.0, 0.0]]), torch.full((1, 3), 100.0)
BALL, BOX = ellipse(32, 30, 12, 12), rectangle(10, 20, 30, 50)


def area(shape, opacity=1.0):
    """How much of a black canvas of 64x64 a white shape covers, in pixels."""
    canvas = Canvas(torch.zeros(1, 3), 64)
    canvas.paint(torch.full((1, 3), 255.0), shape, opacity=opacity)
    return canvas.pixels[0].mean(dim=0).sum().item() / 255


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (BALL, 144 * math.pi),
        (ellipse(32, 30, 16, 8), 128 * math.pi),
        (ring(32, 30, 10, 2), 40 * math.pi),
        (BOX, 600),
        (stroke(32, 32, 10, 0, 4), 4 * 22),  # half a width longer: its ends are round
        (complement(BOX), 64 * 64 - 600),
        (union(BOX, rectangle(20, 20, 40, 50)), 900),
        (intersection(BOX, rectangle(20, 20, 40, 50)), 300),
    ],
)
def test_a_shape_covers_its_area(shape, expected):
    assert area(shape) == pytest.approx(expected, rel=0.05)


def test_the_ends_of_a_bent_stroke_lie_lower():
    canvas = Canvas(torch.zeros(1, 3), 64)
    canvas.paint(RED, stroke(32, 20, 10, 8, 2))
    middle, end = (
        canvas.pixels[0, 0, :, 32].argmax(),
        canvas.pixels[0, 0, :, 23].argmax(),
    )
    assert abs(middle - 20) <= 1 and 5 <= end - middle <= 8


def test_edges_are_smooth_and_the_rest_is_flat():
    canvas = Canvas(GREY, 64)
    canvas.paint(RED, BALL)
    image = canvas.to_bytes()
    assert image.dtype == torch.uint8 and image.shape == (1, 3, 64, 64)
    assert image[0, :, 30, 32].tolist() == [255, 0, 0]
    assert image[0, :, 0, 0].tolist() == [100, 100, 100]
    between = (image[0, 0] > 100) & (image[0, 0] < 255)
    assert 40 < between.sum() < 120, "about the circumference, 75"


def test_a_region_shows_a_part_of_the_same_shape():
    whole, part = Canvas(GREY, 64), Canvas(GREY, 64)
    whole.paint(RED, BALL)
    part.paint(RED, BALL, (26, 50, 29, 40))
    inside = torch.zeros(64, 64, dtype=torch.bool)
    inside[26:50, 29:40] = True
    assert torch.equal(part.pixels[..., inside], whole.pixels[..., inside])
    assert (part.pixels[..., ~inside] == 100).all()


def test_each_image_has_a_size_a_colour_and_an_opacity_of_its_own():
    canvas = Canvas(torch.zeros(3, 3), 64)
    radius = torch.tensor([5.0, 10.0, 10.0])[:, None, None]
    colour = torch.tensor([[100.0], [200.0], [200.0]]).expand(3, 3)
    opacity = torch.tensor([1.0, 0.5, 0.0])[:, None, None]
    canvas.paint(colour, ellipse(32, 32, radius, radius), opacity=opacity)
    assert canvas.pixels[:, 0, 32, 32].tolist() == [100, 100, 0]
    assert canvas.pixels[:, 0, 32, 39].tolist() == [0, 100, 0]


def test_a_transparent_shape_changes_nothing():
    assert area(BALL, opacity=torch.zeros(1, 1, 1)) == 0
    assert area(BALL, opacity=0.25) == pytest.approx(36 * math.pi, rel=0.02)
