"""Shapes given by their distance in pixels, painted with smooth edges on many images.

A shape is a function of pixel coordinates x (1, 1, W) and y (1, H, 1) that gives the
signed distances (N, H, W) to its edge, negative inside. The numbers that make a shape
are floats, or tensors (N, 1, 1) with a number for each image.
"""

from collections.abc import Callable
from functools import reduce

import torch
from torch import Tensor

Number = float | Tensor
Shape = Callable[[Tensor, Tensor], Tensor]
Region = tuple[int, int | None, int, int | None]  # top, bottom, left, right
WHOLE: Region = 0, None, 0, None


class Canvas:
    """Images (N, 3, size, size) in 0..255, painted over from back to front.

    They begin in one colour each, (N, 3).
    """

    def __init__(self, colour: Tensor, size: int) -> None:
        self.pixels = colour[:, :, None, None].repeat(1, 1, size, size)

    def paint(
        self,
        colour: Tensor,
        shape: Shape,
        region: Region = WHOLE,
        *,
        opacity: Number = 1.0,
    ) -> None:
        """Paint a shape in a colour (N, 3), and nothing outside of `region`.

        `opacity` is 0..1; where it is 0 for all images, nothing is computed.
        """
        if isinstance(opacity, Tensor) and not opacity.any():
            return
        top, bottom, left, right = region
        part = self.pixels[:, :, top:bottom, left:right]
        y = torch.arange(top, top + part.shape[2])[None, :, None] + 0.5
        x = torch.arange(left, left + part.shape[3])[None, None, :] + 0.5
        cover = ((0.5 - shape(x, y)).clamp(0, 1) * opacity).unsqueeze(1)
        # No fused arithmetic: the same bytes with any number of threads.
        part += cover * (colour[:, :, None, None] - part)

    def to_bytes(self) -> Tensor:
        """The images as uint8 (N, 3, size, size)."""
        return self.pixels.round().clamp(0, 255).to(torch.uint8)


def ellipse(cx: Number, cy: Number, rx: Number, ry: Number) -> Shape:
    """An ellipse by its centre and half axes.

    Distances are exact for a circle, and close for an ellipse that is nearly one.
    """

    def shape(x: Tensor, y: Tensor) -> Tensor:
        radius = (((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2).sqrt()
        return (radius - 1) * (2 / (1 / rx + 1 / ry))

    return shape


def ring(cx: Number, cy: Number, radius: Number, width: Number) -> Shape:
    """The outline of a circle, `width` pixels wide."""

    def shape(x: Tensor, y: Tensor) -> Tensor:
        return (((x - cx) ** 2 + (y - cy) ** 2).sqrt() - radius).abs() - width / 2

    return shape


def rectangle(left: Number, top: Number, right: Number, bottom: Number) -> Shape:
    """A rectangle with upright sides."""

    def shape(x: Tensor, y: Tensor) -> Tensor:
        beside = torch.maximum(left - x, x - right)
        above_or_below = torch.maximum(top - y, y - bottom)
        return torch.maximum(beside, above_or_below)

    return shape


def stroke(cx: Number, cy: Number, half: Number, bend: Number, width: Number) -> Shape:
    """A stroke from cx - half to cx + half, `width` pixels wide.

    It is a parabola whose ends lie `bend` pixels lower than its middle.
    """

    def shape(x: Tensor, y: Tensor) -> Tensor:
        across = (y - cy - bend * ((x - cx) / half) ** 2).abs() - width / 2
        along = (x - cx).abs() - half - width / 4
        return torch.maximum(across, along)

    return shape


def union(*shapes: Shape) -> Shape:
    """Inside any of the shapes."""
    return lambda x, y: reduce(torch.minimum, (shape(x, y) for shape in shapes))


def intersection(*shapes: Shape) -> Shape:
    """Inside all of the shapes."""
    return lambda x, y: reduce(torch.maximum, (shape(x, y) for shape in shapes))


def complement(shape: Shape) -> Shape:
    """Outside of the shape."""
    return lambda x, y: -shape(x, y)
