"""The painter's brush: shapes given by their distance in pixels, painted with smooth edges on many pictures at once.

A shape is a function of pixel coordinates x (1, 1, W) and y (1, H, 1) -> distances (N, H, W), negative inside. The
numbers that make one are floats, or tensors (N, 1, 1) with a number for each picture.
"""

import torch


class Sheet:
    """Pictures (N, 3, size, size) in 0..255 that begin in a colour (N, 3) each and are painted over, back to front."""

    def __init__(self, colour, size):
        self.pixels = colour[:, :, None, None].repeat(1, 1, size, size)

    def paint(self, colour, shape, window=(0, None, 0, None), *, strength=1.0):
        """Paint `shape` in a colour (N, 3), as opaque as `strength`; nothing outside top, bottom, left, right."""
        if torch.is_tensor(strength) and not strength.any():
            return
        top, bottom, left, right = window
        part = self.pixels[:, :, top:bottom, left:right]
        y = torch.arange(top, top + part.shape[2])[None, :, None] + 0.5
        x = torch.arange(left, left + part.shape[3])[None, None, :] + 0.5
        cover = ((0.5 - shape(x, y)).clamp(0, 1) * strength).unsqueeze(1)
        part += cover * (colour[:, :, None, None] - part)  # no fused arithmetic: the same bytes with any threads

    def finish(self):
        """The pictures as bytes, uint8 (N, 3, size, size)."""
        return self.pixels.round().clamp(0, 255).to(torch.uint8)


def ellipse(cx, cy, rx, ry):
    """Centre and half axes -> shape; its distances are exact for a circle and close for an ellipse."""
    return lambda x, y: ((((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2).sqrt() - 1) * (2 / (1 / rx + 1 / ry))


def ring(cx, cy, radius, width):
    """The outline of a circle, `width` pixels wide."""
    return lambda x, y: (((x - cx) ** 2 + (y - cy) ** 2).sqrt() - radius).abs() - width / 2


def bar(left, top, right, bottom):
    """A rectangle from left to right and from top to bottom."""
    return lambda x, y: torch.maximum((left - x).maximum(x - right), (top - y).maximum(y - bottom))


def stroke(cx, cy, half, bend, width):
    """A stroke from cx - half to cx + half, bent so that its ends lie `bend` pixels lower than its middle."""
    return lambda x, y: torch.maximum(
        (y - cy - bend * ((x - cx) / half) ** 2).abs() - width / 2, (x - cx).abs() - half - width / 4
    )


def union(*shapes):
    """Inside any of the shapes."""
    return lambda x, y: _fold(torch.minimum, shapes, x, y)


def common_part(*shapes):
    """Inside all of the shapes."""
    return lambda x, y: _fold(torch.maximum, shapes, x, y)


def outside(shape):
    """Inside becomes outside."""
    return lambda x, y: -shape(x, y)


def _fold(subsample, shapes, x, y):
    distance = shapes[0](x, y)
    for shape in shapes[1:]:
        distance = subsample(distance, shape(x, y))
    return distance
