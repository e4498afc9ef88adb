"""Pictures that scripts draw: the stored files are what the scripts would draw now."""

import numpy as np
import pytest
from PIL import Image

from ganlib.plotting import image_grid
from scripts import sample_pictures, social_picture


def levels(picture):
    """A picture as whole numbers, so that differences can be negative."""
    return np.asarray(picture).astype(int)


def test_the_social_picture_is_what_its_script_draws():
    with Image.open(social_picture.FILE) as stored:
        found, made = levels(stored), levels(social_picture.picture())
    assert found.shape == made.shape, "run python -m scripts.social_picture"
    digits = slice(social_picture.TOP, None)
    assert np.array_equal(found[digits], made[digits])
    # Another version of FreeType draws letters with other edges.
    assert abs(found - made).mean() < 1, "run python -m scripts.social_picture"


@pytest.mark.parametrize("name", sample_pictures.NAMES)
def test_the_samples_of_a_card_are_those_of_the_shipped_network(name):
    with Image.open(sample_pictures.FIGURES / f"samples-{name}.png") as stored:
        found = levels(stored)
    samples = sample_pictures.samples(name)
    made = levels(image_grid(samples, columns=sample_pictures.COLUMNS))
    assert found.shape == made.shape, "run python -m scripts.sample_pictures"
    assert np.array_equal(found[..., 3], made[..., 3]), "the gaps are transparent"
    # Another machine may round a pixel to the next level.
    assert abs(found - made).mean() < 0.5, "run python -m scripts.sample_pictures"
