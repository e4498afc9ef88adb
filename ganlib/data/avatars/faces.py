"""A face from the values of its attributes, drawn by formulas from back to front."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ganlib.data.avatars.shapes import (
    Canvas,
    Region,
    Shape,
    complement,
    ellipse,
    intersection,
    rectangle,
    ring,
    stroke,
    union,
)

SIZE = 64  # height and width in pixels; all measures below are in pixels
RANDOM_NUMBERS = 49  # of a face, for all that is no attribute; the last four are spare

# Each attribute, its values, and the share of the faces that have it. A face takes one
# of each, independently.
ATTRIBUTES = {
    "background": {"blue": 0.5, "pink": 0.3, "green": 0.2},
    "skin": {"light": 0.32, "tan": 0.28, "brown": 0.22, "dark": 0.18},
    "hair colour": {"black": 0.5, "blond": 0.3, "red": 0.2},
    "hair": {"short": 0.4, "long": 0.3, "curly": 0.18, "tied": 0.12},
    "eyes": {"open": 0.85, "closed": 0.15},
    "mouth": {"smiling": 0.72, "laughing": 0.28},
    "glasses": {"no": 0.78, "round": 0.22},
}
COLOURS = {  # of each, one for each value
    "background": ((122, 184, 232), (243, 178, 196), (148, 208, 158)),
    "skin": ((255, 222, 196), (230, 172, 124), (172, 112, 74), (112, 72, 52)),
    "hair colour": ((38, 32, 40), (240, 202, 92), (200, 72, 30)),
    "lips": ((200, 70, 76), (178, 52, 56), (116, 28, 36), (222, 118, 110)),  # as skin
    "shirt": (  # no attribute: any of these
        (60, 92, 168),
        (250, 248, 240),
        (212, 72, 72),
        (70, 70, 88),
        (246, 186, 66),
        (40, 140, 130),
    ),
}
WHITE = torch.tensor([[255.0, 255.0, 255.0]])
BLACK = torch.tensor([[38.0, 28.0, 34.0]])
MOUTH = torch.tensor([[112.0, 24.0, 36.0]])
BLUSH = torch.tensor([[255.0, 84.0, 84.0]])
HAIR_REGION: Region = 0, 44, 0, 64
EYES_REGION: Region = 16, 50, 8, 56
MOUTH_REGION: Region = 34, 56, 14, 50


class _RandomNumbers:
    """Numbers (N, 49) in 0..1, of which each is used once, in order."""

    def __init__(self, numbers: Tensor) -> None:
        self.columns = iter(numbers.unbind(dim=1))

    def uniform(self, low: float, high: float) -> Tensor:
        """The next number of each face, (N, 1, 1), scaled to low..high."""
        return (low + (high - low) * next(self.columns))[:, None, None]


@dataclass
class _Face:
    """What several layers need to know; measures are (N, 1, 1), colours (N, 3)."""

    values: dict[str, Tensor]  # attribute -> (N,)
    colours: dict[str, Tensor]
    cx: Tensor  # centre and half axes of the head
    cy: Tensor
    rx: Tensor
    ry: Tensor
    turn: Tensor  # how far eyes, nose and mouth are moved to the right
    parting: Tensor  # of the hair: left of the centre if negative
    volume: Tensor  # of the hair
    gap: Tensor  # from the middle to an eye

    def has(self, attribute: str, value: str) -> Tensor:
        """1 for the faces with this value of an attribute, 0 for the others."""
        index = list(ATTRIBUTES[attribute]).index(value)
        return (self.values[attribute] == index).float()[:, None, None]


def draw_faces(values: Tensor, random_numbers: Tensor) -> Tensor:
    """Faces from their attributes, and from numbers for place, size and shade.

    Args:
        values: (N, 7), indices in the order of ATTRIBUTES.
        random_numbers: (N, 49) in 0..1; they decide all that is no attribute.

    Returns pixels, uint8 (N, 3, 64, 64).
    """
    numbers = _RandomNumbers(random_numbers)
    face = _measure(values, numbers)
    canvas = Canvas(face.colours["background"], SIZE)
    _draw_behind(canvas, face, numbers)
    _draw_head(canvas, face, numbers)
    _draw_eyes(canvas, face, numbers)
    _draw_mouth(canvas, face, numbers)
    _draw_hair(canvas, face)
    _draw_glasses(canvas, face, numbers)
    return canvas.to_bytes()


def _measure(values: Tensor, numbers: _RandomNumbers) -> _Face:
    by_attribute = dict(zip(ATTRIBUTES, values.unbind(dim=1), strict=True))
    shirt = numbers.uniform(0, len(COLOURS["shirt"]) - 0.001).long().flatten()
    face = _Face(
        values=by_attribute,
        colours={},
        cx=numbers.uniform(30, 34),
        cy=numbers.uniform(31, 34),
        rx=numbers.uniform(14.2, 16),
        ry=numbers.uniform(16.4, 18.2),
        turn=numbers.uniform(-2, 2),
        parting=numbers.uniform(-1, 1),
        volume=numbers.uniform(0, 2),
        gap=numbers.uniform(6.2, 7.2),
    )
    chosen = by_attribute | {"lips": by_attribute["skin"], "shirt": shirt}
    for name, colours in COLOURS.items():
        brightness = numbers.uniform(-8, 8)[:, 0]
        tint = torch.cat([numbers.uniform(-4, 4)[:, 0] for _ in range(3)], dim=1)
        face.colours[name] = torch.tensor(colours)[chosen[name]] + (brightness + tint)
    return face


def _both_sides(shape: Callable[[int], Shape]) -> Shape:
    """A function of a side, -1 or 1, that gives a shape -> both shapes as one."""
    return union(shape(-1), shape(1))


def _draw_behind(canvas: Canvas, face: _Face, numbers: _RandomNumbers) -> None:
    """A round light, the hair behind the head, shirt and neck."""
    cx, cy, rx, ry = face.cx, face.cy, face.rx, face.ry
    hair, skin = face.colours["hair colour"], face.colours["skin"]
    canvas.paint(face.colours["background"] * 0.6 + 102, ellipse(32, 34, 29, 29))
    radius = numbers.uniform(5.4, 6.6)
    knot = ellipse(cx + 2 * face.parting, cy - ry - 4, radius, radius)
    canvas.paint(hair, knot, HAIR_REGION, opacity=face.has("hair", "tied"))
    width = rx + 3.4 + face.volume
    end = numbers.uniform(54, 61)
    falling = union(
        ellipse(cx, cy - 2, width, ry + 2),
        rectangle(cx - width, cy - 2, cx + width, end - 5),
        ellipse(cx, end - 5, width, 5),
    )
    canvas.paint(hair * 0.86, falling, opacity=face.has("hair", "long"))
    radius = numbers.uniform(7, 8.4)
    curls = []
    for number in range(10):
        angle = math.pi * (number / 6 - 0.25)
        x = cx - math.cos(angle) * (rx + 1 + face.volume)
        y = cy - 3 - math.sin(angle) * (ry - 2 + face.volume)
        curls.append(ellipse(x, y, radius, radius))
    curly = face.has("hair", "curly")
    canvas.paint(hair, union(*curls), (0, 58, 0, 64), opacity=curly)
    shoulders = ellipse(cx, 69, numbers.uniform(20, 25), numbers.uniform(14, 16))
    canvas.paint(face.colours["shirt"], shoulders, (50, 64, 0, 64))
    half = numbers.uniform(5.2, 6.4)
    canvas.paint(skin, ellipse(cx, 55, half + 2.6, 5), (48, 64, 16, 48))
    neck = rectangle(cx - half, 44, cx + half, 55)
    canvas.paint(skin * 0.86, neck, (44, 58, 16, 48))


def _draw_head(canvas: Canvas, face: _Face, numbers: _RandomNumbers) -> None:
    """Ears, head and cheeks."""
    cx, cy, rx, skin = face.cx, face.cy, face.rx, face.colours["skin"]
    ears = _both_sides(
        lambda side: ellipse(cx + side * rx - face.turn / 3, cy + 3, 3, 3.6)
    )
    canvas.paint(skin * 0.93, ears, EYES_REGION)
    canvas.paint(skin, ellipse(cx, cy, rx, face.ry), (10, 56, 12, 52))
    radius = numbers.uniform(2.6, 3.6)
    cheeks = _both_sides(
        lambda side: ellipse(
            cx + face.turn + side * 9.4, cy + 7.6, radius, radius * 0.7
        )
    )
    canvas.paint(BLUSH, cheeks, EYES_REGION, opacity=0.22)


def _draw_eyes(canvas: Canvas, face: _Face, numbers: _RandomNumbers) -> None:
    """Open or closed eyes, and the brows."""
    cx, cy, gap = face.cx + face.turn, face.cy + 2, face.gap
    radius = numbers.uniform(3, 3.5)
    iris = numbers.uniform(2.1, 2.4)
    look = numbers.uniform(-0.8, 0.8)
    lift = numbers.uniform(6.6, 7.8)
    bend = numbers.uniform(-0.4, 1.6)
    is_open = face.has("eyes", "open")
    whites = _both_sides(lambda side: ellipse(cx + side * gap, cy, radius, radius))
    canvas.paint(WHITE, whites, EYES_REGION, opacity=is_open)
    irises = _both_sides(lambda side: ellipse(cx + side * gap + look, cy, iris, iris))
    canvas.paint(BLACK, irises, EYES_REGION, opacity=is_open)
    glints = _both_sides(
        lambda side: ellipse(cx + side * gap + look - 0.8, cy - 0.9, 0.8, 0.8)
    )
    canvas.paint(WHITE, glints, EYES_REGION, opacity=is_open)
    lids = _both_sides(lambda side: stroke(cx + side * gap, cy - 1, radius, 2.4, 1.7))
    canvas.paint(BLACK, lids, EYES_REGION, opacity=1 - is_open)
    brows = _both_sides(lambda side: stroke(cx + side * gap, cy - lift, 3.4, bend, 1.6))
    colour = face.colours["hair colour"] * 0.55 + face.colours["skin"] * 0.1
    canvas.paint(colour, brows, EYES_REGION)


def _draw_mouth(canvas: Canvas, face: _Face, numbers: _RandomNumbers) -> None:
    """The nose, and a smiling or laughing mouth."""
    cx, cy, laughs = face.cx + face.turn, face.cy, face.has("mouth", "laughing")
    nose = ellipse(cx + face.turn / 3, cy + 6, numbers.uniform(1.5, 2.1), 1.2)
    canvas.paint(face.colours["skin"] * 0.82, nose, MOUTH_REGION)
    half = numbers.uniform(4.6, 5.8)
    bend = numbers.uniform(2.2, 3.2)
    smile = stroke(cx, cy + 12.4, half, -bend, 1.9)
    canvas.paint(face.colours["lips"], smile, MOUTH_REGION, opacity=1 - laughs)
    bowl = intersection(
        ellipse(cx, cy + 9.4, half + 0.6, 5.2), rectangle(0, cy + 9.4, 64, 64)
    )
    canvas.paint(MOUTH, bowl, MOUTH_REGION, opacity=laughs)
    teeth = intersection(
        bowl, rectangle(cx - half + 0.6, 0, cx + half - 0.6, cy + 11.4)
    )
    canvas.paint(WHITE, teeth, MOUTH_REGION, opacity=laughs)


def _draw_hair(canvas: Canvas, face: _Face) -> None:
    """The hair before the head."""
    cx, cy, rx, ry, volume = face.cx, face.cy, face.rx, face.ry, face.volume
    colour = face.colours["hair colour"]
    skull = ellipse(cx, cy - 1.6, rx + 1.4, ry + 1.2 + volume)
    forehead = ellipse(cx + face.parting.sign() * 4, cy + 7, rx + 0.6, ry - 0.4)
    short = intersection(skull, complement(forehead), rectangle(0, 0, 64, cy + 1))
    canvas.paint(colour, short, HAIR_REGION, opacity=face.has("hair", "short"))
    curtain = ellipse(cx, cy - 2, rx + 3.4 + volume, ry + 2)
    forehead = ellipse(cx + 2 * face.parting, cy + 6, rx - 1.4, ry + 1.4)
    long = intersection(curtain, complement(forehead), rectangle(0, 0, 64, cy + 9))
    canvas.paint(colour, long, HAIR_REGION, opacity=face.has("hair", "long"))
    curls = [
        ellipse(cx + 5.6 * number, cy - ry + 2 + 1.6 * abs(number), 4.8, 4.8)
        for number in (-2, -1, 0, 1, 2)
    ]
    canvas.paint(colour, union(*curls), HAIR_REGION, opacity=face.has("hair", "curly"))
    forehead = ellipse(cx, cy + 5, rx + 1, ry + 1.4)
    tied = intersection(skull, complement(forehead), rectangle(0, 0, 64, cy - 1))
    canvas.paint(colour, tied, HAIR_REGION, opacity=face.has("hair", "tied"))


def _draw_glasses(canvas: Canvas, face: _Face, numbers: _RandomNumbers) -> None:
    cx, cy, gap = face.cx + face.turn, face.cy + 2, face.gap
    worn = face.has("glasses", "round")
    lens = gap - numbers.uniform(0.4, 1.2)
    lenses = _both_sides(lambda side: ellipse(cx + side * gap, cy, lens, lens))
    canvas.paint(WHITE, lenses, EYES_REGION, opacity=0.2 * worn)
    left, right = cx - gap - lens, cx + gap + lens
    frame = union(
        _both_sides(lambda side: ring(cx + side * gap, cy, lens, 1.8)),
        rectangle(cx - 2, cy - 1.4, cx + 2, cy),
        rectangle(left - 2.5, cy - 1.4, left, cy),
        rectangle(right, cy - 1.4, right + 2.5, cy),
    )
    canvas.paint(BLACK, frame, EYES_REGION, opacity=worn)
