"""The studio: a face from the values of its factors, 64x64 in colour, painted by formulas from back to front."""

import math
from types import SimpleNamespace

import torch

from ganlib.data.avatars.shapes import Sheet, bar, common_part, ellipse, outside, ring, stroke, union

SIZE = 64
NUMBERS = 49  # random numbers of a face, for all that is no factor; the last four are spare

COLOURS = {
    "background": ((122, 184, 232), (243, 178, 196), (148, 208, 158)),
    "skin": ((255, 222, 196), (230, 172, 124), (172, 112, 74), (112, 72, 52)),
    "hair colour": ((38, 32, 40), (240, 202, 92), (200, 72, 30)),
    "lips": ((200, 70, 76), (178, 52, 56), (116, 28, 36), (222, 118, 110)),  # one for each skin
    "shirt": ((60, 92, 168), (250, 248, 240), (212, 72, 72), (70, 70, 88), (246, 186, 66), (40, 140, 130)),
}
INKS = (255, 255, 255), (38, 28, 34), (112, 24, 36), (255, 84, 84)
WHITE, BLACK, MOUTH, BLUSH = (torch.tensor([ink], dtype=torch.float32) for ink in INKS)
UPPER, MIDDLE, LOWER = (0, 44, 0, 64), (16, 50, 8, 56), (34, 56, 14, 50)  # windows: hair, eyes, nose and mouth


def paint(factors, names, chance):
    """Values of the factors (N, F), indices into `names`, and numbers (N, 49) in 0..1 -> pixels uint8 (N, 3, 64, 64).

    `names` is {factor: names of its values}; the numbers decide all that is no factor: place, size, shade.
    """
    numbers = iter(chance.unbind(dim=1))

    def vary(low, high):
        return (low + (high - low) * next(numbers))[:, None, None]

    face = _pose(factors, names, vary)
    sheet = Sheet(face.background, SIZE)
    for layer in _paint_behind, _paint_head, _paint_eyes, _paint_mouth, _paint_hair, _paint_glasses:
        layer(sheet, face, vary)
    return sheet.finish()


def _pose(factors, names, vary):
    """Measures and colours for several layers; `has` gives 1 to faces with a value of a factor and 0 to others."""
    columns = dict(zip(names, factors.unbind(dim=1), strict=True))
    columns["lips"], columns["shirt"] = columns["skin"], vary(0, len(COLOURS["shirt"]) - 0.001).long().flatten()
    face = SimpleNamespace(cx=vary(30, 34), cy=vary(31, 34), rx=vary(14.2, 16), ry=vary(16.4, 18.2))
    face.turn, face.part, face.volume, face.gap = vary(-2, 2), vary(-1, 1), vary(0, 2), vary(6.2, 7.2)
    for name, colours in COLOURS.items():
        shade = vary(-8, 8)[:, 0] + torch.cat([vary(-4, 4)[:, 0] for _ in range(3)], dim=1)
        setattr(face, name.replace(" ", "_"), torch.tensor(colours)[columns[name]] + shade)
    face.has = lambda factor, value: (columns[factor] == list(names[factor]).index(value)).float()[:, None, None]
    return face


def _pair(shape):
    """A function of a side, -1 or 1, that gives a shape -> both shapes as one."""
    return union(shape(-1), shape(1))


def _paint_behind(sheet, face, vary):
    cx, cy, rx, ry, has = face.cx, face.cy, face.rx, face.ry, face.has
    sheet.paint(face.background * 0.6 + 102, ellipse(32, 34, 29, 29))
    knot = vary(5.4, 6.6)
    sheet.paint(
        face.hair_colour, ellipse(cx + 2 * face.part, cy - ry - 4, knot, knot), UPPER, strength=has("hair", "tied")
    )
    wide, end = rx + 3.4 + face.volume, vary(54, 61)
    falling = union(
        ellipse(cx, cy - 2, wide, ry + 2), bar(cx - wide, cy - 2, cx + wide, end - 5), ellipse(cx, end - 5, wide, 5)
    )
    sheet.paint(face.hair_colour * 0.86, falling, strength=has("hair", "long"))
    puff, turns = vary(7, 8.4), [math.pi * (k / 6 - 0.25) for k in range(10)]
    cloud = [
        ellipse(
            cx - math.cos(turn) * (rx + 1 + face.volume), cy - 3 - math.sin(turn) * (ry - 2 + face.volume), puff, puff
        )
        for turn in turns
    ]
    sheet.paint(face.hair_colour, union(*cloud), (0, 58, 0, 64), strength=has("hair", "curly"))
    sheet.paint(face.shirt, ellipse(cx, 69, vary(20, 25), vary(14, 16)), (50, 64, 0, 64))
    neck = vary(5.2, 6.4)
    sheet.paint(face.skin, ellipse(cx, 55, neck + 2.6, 5), (48, 64, 16, 48))
    sheet.paint(face.skin * 0.86, bar(cx - neck, 44, cx + neck, 55), (44, 58, 16, 48))


def _paint_head(sheet, face, vary):
    cx, cy, rx = face.cx, face.cy, face.rx
    sheet.paint(face.skin * 0.93, _pair(lambda side: ellipse(cx + side * rx - face.turn / 3, cy + 3, 3, 3.6)), MIDDLE)
    sheet.paint(face.skin, ellipse(cx, cy, rx, face.ry), (10, 56, 12, 52))
    cheek = vary(2.6, 3.6)
    cheeks = _pair(lambda side: ellipse(cx + face.turn + side * 9.4, cy + 7.6, cheek, cheek * 0.7))
    sheet.paint(BLUSH, cheeks, MIDDLE, strength=0.22)


def _paint_eyes(sheet, face, vary):
    cx, cy, gap, is_open = face.cx + face.turn, face.cy + 2, face.gap, face.has("eyes", "open")
    size, iris, look, lift, bend = vary(3, 3.5), vary(2.1, 2.4), vary(-0.8, 0.8), vary(6.6, 7.8), vary(-0.4, 1.6)
    sheet.paint(WHITE, _pair(lambda side: ellipse(cx + side * gap, cy, size, size)), MIDDLE, strength=is_open)
    sheet.paint(BLACK, _pair(lambda side: ellipse(cx + side * gap + look, cy, iris, iris)), MIDDLE, strength=is_open)
    sheet.paint(
        WHITE, _pair(lambda side: ellipse(cx + side * gap + look - 0.8, cy - 0.9, 0.8, 0.8)), MIDDLE, strength=is_open
    )
    sheet.paint(
        BLACK, _pair(lambda side: stroke(cx + side * gap, cy - 1, size, 2.4, 1.7)), MIDDLE, strength=1 - is_open
    )
    brows = _pair(lambda side: stroke(cx + side * gap, cy - lift, 3.4, bend, 1.6))
    sheet.paint(face.hair_colour * 0.55 + face.skin * 0.1, brows, MIDDLE)


def _paint_mouth(sheet, face, vary):
    cx, cy, laughs = face.cx + face.turn, face.cy, face.has("mouth", "laughing")
    sheet.paint(face.skin * 0.82, ellipse(cx + face.turn / 3, cy + 6, vary(1.5, 2.1), 1.2), LOWER)
    half, bend = vary(4.6, 5.8), vary(2.2, 3.2)
    sheet.paint(face.lips, stroke(cx, cy + 12.4, half, -bend, 1.9), LOWER, strength=1 - laughs)
    bowl = common_part(ellipse(cx, cy + 9.4, half + 0.6, 5.2), bar(0, cy + 9.4, 64, 64))
    sheet.paint(MOUTH, bowl, LOWER, strength=laughs)
    sheet.paint(WHITE, common_part(bowl, bar(cx - half + 0.6, 0, cx + half - 0.6, cy + 11.4)), LOWER, strength=laughs)


def _paint_hair(sheet, face, vary):
    cx, cy, rx, ry, colour = face.cx, face.cy, face.rx, face.ry, face.hair_colour
    skull, side = ellipse(cx, cy - 1.6, rx + 1.4, ry + 1.2 + face.volume), face.part.sign()
    swept = common_part(skull, outside(ellipse(cx + side * 4, cy + 7, rx + 0.6, ry - 0.4)), bar(0, 0, 64, cy + 1))
    sheet.paint(colour, swept, UPPER, strength=face.has("hair", "short"))
    curtain = ellipse(cx, cy - 2, rx + 3.4 + face.volume, ry + 2)
    parted = common_part(
        curtain, outside(ellipse(cx + 2 * face.part, cy + 6, rx - 1.4, ry + 1.4)), bar(0, 0, 64, cy + 9)
    )
    sheet.paint(colour, parted, UPPER, strength=face.has("hair", "long"))
    puffs = [ellipse(cx + 5.6 * k, cy - ry + 2 + 1.6 * abs(k), 4.8, 4.8) for k in (-2, -1, 0, 1, 2)]
    sheet.paint(colour, union(*puffs), UPPER, strength=face.has("hair", "curly"))
    pulled = common_part(skull, outside(ellipse(cx, cy + 5, rx + 1, ry + 1.4)), bar(0, 0, 64, cy - 1))
    sheet.paint(colour, pulled, UPPER, strength=face.has("hair", "tied"))


def _paint_glasses(sheet, face, vary):
    cx, cy, gap, wears = face.cx + face.turn, face.cy + 2, face.gap, face.has("glasses", "round")
    lens = gap - vary(0.4, 1.2)
    sheet.paint(WHITE, _pair(lambda side: ellipse(cx + side * gap, cy, lens, lens)), MIDDLE, strength=0.2 * wears)
    rims = _pair(lambda side: ring(cx + side * gap, cy, lens, 1.8))
    frame = union(
        rims,
        bar(cx - 2, cy - 1.4, cx + 2, cy),
        bar(cx - gap - lens - 2.5, cy - 1.4, cx - gap - lens, cy),
        bar(cx + gap + lens, cy - 1.4, cx + gap + lens + 2.5, cy),
    )
    sheet.paint(BLACK, frame, MIDDLE, strength=wears)
