"""Cut the font of the formulas down to what the book sets.

    python -m scripts.math_font STIXTwoMath-Regular.ttf

The font is STIX Two Math, https://github.com/stipub/stixfonts, under the SIL Open Font
License 1.1. Needs the packages fonttools and brotli.
"""

import sys
from pathlib import Path

from fontTools import subset

FILE = Path(__file__).parents[1] / "book" / "_static" / "math-font.woff2"
RANGES = (  # ends included; letters of formulas are those of the mathematical planes
    "20-7E A0 AF B1 B7 D7 302 304 391-3A9 3B1-3C9 3F5 2016 2026 2032 203E 2061 210E"
    " 2113 211D 2190 2192 2202 2205 2207 2208 2211 2212 221A 221E 2223 2225 223C 2248"
    " 2260 2264 2265 22C5 2C6 27E8 27E9 1D434-1D467 1D53C 1D6FC-1D71B"
)


def characters() -> list[int]:
    """The code points that the font keeps."""
    found = []
    for part in RANGES.split():
        first, _, last = part.partition("-")
        found += range(int(first, 16), int(last or first, 16) + 1)
    return found


def main(source: str) -> None:
    options = subset.Options()
    options.layout_features = []  # stretching is not among them
    options.hinting = False
    options.name_IDs = [*range(7), 13, 14]  # the last two are the licence
    options.flavor = "woff2"
    font = subset.load_font(source, options)
    cut = subset.Subsetter(options)
    cut.populate(unicodes=characters())
    cut.subset(font)
    subset.save_font(font, str(FILE), options)


if __name__ == "__main__":
    main(*sys.argv[1:])
