"""The named configs: findable, changeable, and each of them trainable."""

import dataclasses

import pytest
import torch

from ganlib.config import Config
from ganlib.models import build, conditioned
from ganlib.recipes import RECIPES, recipe
from ganlib.sampling import sample_inputs


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_called_what_it_says(name):
    assert recipe(name).recipe == name


@pytest.mark.parametrize("name", RECIPES)
def test_the_networks_of_a_recipe_fit_each_other(name):
    config = recipe(name)
    G, D = build(config)
    images = G(sample_inputs(2, config.latent_dim, classes=config.classes))
    assert images.shape == (2, *config.image_shape)
    condition = torch.zeros(2, config.classes) if config.classes else None
    assert conditioned(D, condition)(images).shape == (2,)


def test_the_textbook_recipe_is_that_of_the_tutorials():
    """yunjey's pytorch-tutorial, 2017: linear layers, Adam's defaults at 0.0002."""
    expected = Config(
        recipe="textbook",
        architecture="mlp",
        latent_dim=64,
        hidden_dim=256,
        channels=1,
        image_size=28,
        epochs=200,
        batch_size=100,
        learning_rate_g=2e-4,
        learning_rate_d=2e-4,
        beta1=0.9,
        beta2=0.999,
        loss="nonsaturating",
        real_label=1.0,
        dropout=0.0,
        ema_decay=0.0,
    )
    assert recipe("textbook") == expected


def test_an_unknown_recipe_lists_the_known_ones(says):
    with says("'mnits'", *RECIPES):
        recipe("mnits")


def test_an_unknown_field_lists_the_fields(says):
    with says("'nz'", *[field.name for field in dataclasses.fields(Config)]):
        recipe("mnist", nz=100)


def test_a_value_outside_its_range_is_named(says):
    with says("epochs is 0"):
        recipe("mnist", epochs=0)


def test_a_change_leaves_the_recipe_alone():
    before = Config(**vars(RECIPES["mnist"]))
    changed = recipe("mnist", epochs=7, seed=5)
    assert (changed.epochs, changed.seed) == (7, 5)
    assert RECIPES["mnist"] == before
