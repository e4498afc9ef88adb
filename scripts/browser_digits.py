"""Write the digits that a page of the book trains on: book/_static/trainer_digits.js.

Run: python -m scripts.browser_digits (it needs MNIST; see README.md). The first
10,000 training images, rounded to 16 levels of grey, two pixels to a byte, packed with
zlib and written as text that a script tag can load.
"""

import base64
import zlib
from pathlib import Path

import numpy as np
from torch import Tensor

from ganlib.data import load

COUNT = 10_000
FILE = Path(__file__).parents[1] / "book" / "_static" / "trainer_digits.js"
HEAD = """\
/* The first {count:,} training images of MNIST by Yann LeCun, Corinna Cortes and \
Christopher J. C. Burges, changed: 16 levels of
 * grey, two pixels to a byte, zlib, base64. Under CC BY-SA 3.0, as MNIST is: \
https://creativecommons.org/licenses/by-sa/3.0/ */
"""


def pack(pixels: Tensor) -> bytes:
    """Bytes (N, 1, 28, 28) -> the text of the script, which sets ganTrainerDigits."""
    levels = np.round(pixels.numpy().ravel() / 17).astype(np.uint8)
    packed = zlib.compress((levels[::2] << 4 | levels[1::2]).tobytes(), 9)
    text = base64.b64encode(packed).decode()
    head = HEAD.format(count=len(pixels))
    return f'{head}window.ganTrainerDigits =\n  "{text}";\n'.encode()


def main() -> None:
    FILE.write_bytes(pack(load("mnist", fallback=False).pixels[:COUNT]))


if __name__ == "__main__":
    main()
