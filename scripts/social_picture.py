"""Draw the picture that a link to the book shows elsewhere: its title, and digits.

    python -m scripts.social_picture

From top to bottom the recipe `mnist` after some of its epochs, noise first, as the
landing page has it; a column is one noise vector.
"""

from pathlib import Path

import matplotlib
from PIL import Image, ImageChops, ImageDraw, ImageFont

from ganlib.checkpoint import load_run
from ganlib.plotting import BLUE, ORANGE

FILE = Path(__file__).parents[1] / "book" / "_static" / "social.png"
TITLE = "A Game of Two Networks"
SUBTITLE = "Generative adversarial networks, one page at a time"
SIZE = 1200, 630
GROUND, INK, GREY = "#fffdf8", "#1d2a38", "#56606b"
EPOCHS = 0, 1, 3, 17
COLUMNS = 9
ZOOM = 4  # pixels to a pixel of a digit
PITCH = 28 * ZOOM + 8
LEFT, TOP = 64, 148  # of the digits


def picture() -> Image.Image:
    """Title above, digits below, RGB of SIZE."""
    drawn = Image.new("RGB", SIZE, GROUND)
    draw = ImageDraw.Draw(drawn)
    draw_logo(drawn, LEFT, 38)
    draw.text((LEFT + 112, 18), TITLE, INK, font("DejaVuSerif-Bold", 56))
    draw.text((LEFT + 114, 92), SUBTITLE, GREY, font("DejaVuSerif", 27))
    pictures = load_run("mnist")[1]
    for row, epoch in enumerate(EPOCHS):
        for column, digit in enumerate(pictures[epoch][:COLUMNS, 0].numpy()):
            tile = Image.fromarray(digit)
            tile = tile.resize((28 * ZOOM, 28 * ZOOM), Image.Resampling.NEAREST)
            drawn.paste(tile, (LEFT + column * PITCH, TOP + row * PITCH))
    return drawn


def draw_logo(drawn: Image.Image, left: int, top: int) -> None:
    """The two discs of book/_static/logo.svg, 86 pixels wide."""
    large = Image.new("RGB", (4 * 86, 4 * 58), GROUND)  # reduced, its edges are smooth
    discs = []
    for colour, x in ((ORANGE, 0), (BLUE, 112)):
        disc = Image.new("1", large.size)
        ImageDraw.Draw(disc).ellipse((x, 0, x + 231, 231), 1)
        large.paste(colour, mask=disc)
        discs.append(disc)
    large.paste(GROUND, mask=ImageChops.logical_and(*discs))
    drawn.paste(large.resize((86, 58), Image.Resampling.BOX), (left, top))


def font(name: str, size: int) -> ImageFont.FreeTypeFont:
    """A font that matplotlib brings."""
    folder = Path(matplotlib.get_data_path(), "fonts", "ttf")
    return ImageFont.truetype(folder / f"{name}.ttf", size)


def main() -> None:
    picture().save(FILE, optimize=True)


if __name__ == "__main__":
    main()
