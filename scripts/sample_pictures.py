"""Draw the samples that the cards of faces and avatars show, from the shipped networks.

    python -m scripts.sample_pictures

The first twelve of noise of seed 0; nobody picked them.
"""

from pathlib import Path

from torch import Tensor

from ganlib.checkpoint import load_generator
from ganlib.plotting import save_image_grid
from ganlib.sampling import sample_pixels

FIGURES = Path(__file__).parents[1] / "book" / "figures"
NAMES = "faces", "avatars"
COUNT, COLUMNS = 12, 4
ZOOM = 4  # 64 pixels are shown at 128, from a file of twice the density


def samples(name: str) -> Tensor:
    """Bytes (COUNT, 3, 256, 256) of a shipped generator, each pixel repeated."""
    G, config = load_generator(name)
    pixels = sample_pixels(G, config.latent_dim, count=COUNT, seed=0)
    return pixels.repeat_interleave(ZOOM, dim=2).repeat_interleave(ZOOM, dim=3)


def main() -> None:
    for name in NAMES:
        save_image_grid(samples(name), FIGURES / f"samples-{name}.png", columns=COLUMNS)


if __name__ == "__main__":
    main()
