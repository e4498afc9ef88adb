"""Copy the pictures of "My GAN does not work" from the outputs of the notebooks.

    python -m scripts.symptom_figures

The page shows what other pages have stored, so that the two cannot disagree. Run it
again after one of those pages was run.
"""

import base64
import json
from pathlib import Path

from ganlib.errors import GanlibError
from ganlib.files import write_atomic

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "book" / "figures" / "symptoms"
# A file -> the page, and how the alternative text of its picture there begins.
SOURCES = {
    "collapse": ("12_stopping", "Rows of eight samples: after each"),
    "wrong-noise": ("10_results", "Three rows of twelve images. Top, uniform noise"),
    "d-wins": ("08_training", "Two rows of eight images: digits from the healthy"),
    "d-wins-curve": ("08_training", "D(x) and D(G(z)) over 40 epochs"),
    "healthy-curves": ("08_training", "Losses of both networks"),
    "swapped-labels": ("07_losses", "Loss_G and D(G(z)) over 300 steps"),
    "statistics": ("18_batchnorm_statistics", "Two rows of five generated faces"),
    "range": ("03_denormalization", "Three rows of eight digits. First row"),
    "checkerboard": ("17_dcgan_faces", "Enlarged parts of avatars"),
    "early": ("15_fashion_mnist", "Rows of generated clothes at the epochs"),
    "beta1": ("09_optimizers", "Two rows of eight images after ten epochs"),
    "drift": ("12_stopping", "The Fréchet distance of the long run"),
    "forgotten": ("13_saving", "Loss_D and Loss_G of eight epochs"),
    "own-pictures": ("17_dcgan_faces", "Six square versions of one avatar"),
    "by-heart": ("16_generalization", "Three histograms of logits"),
    "saturating": ("07_losses", "Length of G's gradient"),
    "company": ("07_losses", "Two scatter plots of logits"),
}


def stored_picture(page: str, words: str) -> bytes:
    """The first PNG of the cell of notebooks/PAGE.ipynb whose alt begins with `words`.

    Raises GanlibError where no cell has such a text and a picture.
    """
    path = ROOT / "notebooks" / f"{page}.ipynb"
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        image = cell["metadata"].get("mystnb", {}).get("image", {})
        if image.get("alt", "").startswith(words):
            for output in cell.get("outputs", []):
                if "image/png" in output.get("data", {}):
                    return base64.b64decode("".join(output["data"]["image/png"]))
    raise GanlibError(
        f"{path.name} stores no picture whose alternative text begins with {words!r}; "
        "correct SOURCES in scripts/symptom_figures.py."
    )


def main() -> None:
    for name, source in SOURCES.items():
        write_atomic(FIGURES / f"{name}.png", stored_picture(*source))


if __name__ == "__main__":
    main()
