"""The fuse box: every number of a run is checked when it is set, and what is wrong is said in one sentence."""

import dataclasses
import json

import pytest
import torch

from ganlib.recipes import RECIPES, recipe
from ganlib.config import Config, parse_field, pick_device, replace, to_json
from ganlib.errors import GanlibError


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch_size", 0), ("batch_size", -1), ("batch_size", 1.5), ("batch_size", "100"), ("batch_size", True),
        ("epochs", 0), ("seed", -1), ("seed", 2**31), ("latent_dim", 0), ("hidden_dim", None), ("image_size", 3),
        ("learning_rate_g", -1e-3), ("learning_rate_d", float("nan")), ("learning_rate_g", float("inf")),
        ("beta1", 1.0), ("beta2", 1), ("real_label", 0.4), ("real_label", 1.1), ("dropout", 1.0), ("ema_decay", 1.0),
        ("recipe", 3), ("dataset", None), ("networks", "cnn"), ("mirror", 1), ("mirror", "yes"), ("penalty", -1.0),
    ],
)  # fmt: skip
def test_a_value_outside_its_range_is_named(name, value, says):
    with says(name, repr(value)):
        Config(**{name: value})
    with says(name, repr(value)):
        recipe("mnist", **{name: value})


@pytest.mark.parametrize("entry", dataclasses.fields(Config), ids=lambda entry: entry.name)
def test_every_field_refuses_what_is_no_value_of_it(entry, says):
    wrong = [None, [1], {}, b"5", object]
    for end, beyond in (("low", -1), ("high", 1)):
        if end in entry.metadata:
            low, high = entry.metadata["low"], entry.metadata["high"]
            wrong += [entry.metadata[end] + beyond, "1", True, float("nan"), beyond * float("inf")]
    wrong += [0, "True"] if entry.type is bool else []
    wrong += ["nosuch", 1] if "names" in entry.metadata else []
    for value in wrong:
        right = entry.metadata.get("names") or ([low, high] if "low" in entry.metadata else [])
        with says(f"{entry.name} is {value!r}; it must be ", *right):
            Config(**{entry.name: value})


def test_both_ends_of_every_range_are_allowed():
    for entry in dataclasses.fields(Config):
        for end in ("low", "high"):
            if end in entry.metadata:
                assert getattr(Config(**{entry.name: entry.metadata[end]}), entry.name) == entry.metadata[end]


def test_whole_numbers_serve_as_numbers():
    assert Config(dropout=0, learning_rate_g=1).dropout == 0


def test_a_range_says_what_would_be_right(says):
    with says("batch_size is 0; it must be a whole number from 1 to 65536."):
        Config(batch_size=0)


def test_a_config_cannot_be_changed_in_place():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().epochs = 3
    with pytest.raises(TypeError):
        Config("mnist")


def test_image_shape():
    assert Config(channels=3, image_size=32).image_shape == (3, 32, 32)


def test_recipes_are_called_what_they_say():
    assert {name: config.recipe for name, config in RECIPES.items()} == {name: name for name in RECIPES}
    assert recipe("mnist") == RECIPES["mnist"]


def test_the_textbook_recipe_is_that_of_the_tutorials():
    textbook = recipe("textbook")
    assert (textbook.latent_dim, textbook.hidden_dim, textbook.image_shape) == (64, 256, (1, 28, 28))
    assert textbook.learning_rate_g == textbook.learning_rate_d == 2e-4
    assert (textbook.beta1, textbook.beta2, textbook.batch_size, textbook.epochs) == (0.9, 0.999, 100, 200)
    assert (textbook.real_label, textbook.dropout, textbook.ema_decay) == (1.0, 0.0, 0.0)


def test_an_unknown_recipe_lists_the_known_ones(says):
    with says("'mnits'", *RECIPES):
        recipe("mnits")


def test_an_unknown_field_lists_the_fields(says):
    for change in (lambda: recipe("mnist", nz=100), lambda: replace(Config(), nz=100)):
        with says("'nz'", *[entry.name for entry in dataclasses.fields(Config)]):
            change()


def test_a_change_leaves_the_recipe_alone():
    before = RECIPES["mnist"]
    changed = recipe("mnist", epochs=7, seed=5)
    assert (changed.epochs, changed.seed) == (7, 5)
    assert RECIPES["mnist"] is before and before == Config(**vars(before)) and before.seed != 5
    assert replace(changed, epochs=before.epochs, seed=before.seed) == before


def test_json_there_and_back():
    config = recipe("mnist", learning_rate_d=3e-4, seed=9)
    assert Config(**json.loads(to_json(config))) == config


def _machine(monkeypatch, *, cuda=0, mps=False):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


def test_cuda_then_mps_then_cpu(monkeypatch):
    _machine(monkeypatch, cuda=2, mps=True)
    assert pick_device() == torch.device("cuda")
    assert pick_device("cuda:1") == torch.device("cuda:1")
    assert pick_device("cpu") == torch.device("cpu")
    _machine(monkeypatch, mps=True)
    assert pick_device() == torch.device("mps")
    _machine(monkeypatch)
    assert pick_device() == torch.device("cpu")


@pytest.mark.parametrize("name", ["tpu", "", "CPU", "cuda", "cuda:0", "cpu:x", "mps"])
def test_a_device_that_is_not_here(monkeypatch, name, says):
    _machine(monkeypatch)
    with says(repr(name), "cpu"):
        pick_device(name)


def test_a_number_of_a_gpu_that_is_not_here(monkeypatch, says):
    _machine(monkeypatch, cuda=1)
    with says("'cuda:1'", "cuda, cpu, cuda:0"):
        pick_device("cuda:1")


def test_the_error_is_a_value_error():
    assert issubclass(GanlibError, ValueError)


@pytest.mark.parametrize(
    ("text", "field"),
    [("hidden_dim=64", ("hidden_dim", 64)), ("penalty=1e-1", ("penalty", 0.1)), ("mirror=True", ("mirror", True)),
     ("bfloat16=false", ("bfloat16", False)), ("dataset=folder:a=b", ("dataset", "folder:a=b"))],
)  # fmt: skip
def test_a_field_is_read_as_its_type(text, field):
    found = parse_field(text)
    assert found == field and type(found[1]) is type(field[1])


@pytest.mark.parametrize(
    ("text", "words"),
    [("hidden_dim", ["'hidden_dim'", "FIELD=VALUE"]), ("hiden_dim=3", ["'hiden_dim=3'", "hidden_dim"]),
     ("hidden_dim=wide", ["hidden_dim", "'wide'", "whole number"]), ("mirror=1", ["mirror", "true or false"])],
)  # fmt: skip
def test_a_field_that_cannot_be_read(text, words, says):
    with says(*words):
        parse_field(text)
