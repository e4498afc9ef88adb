"""Config: what it accepts, what it refuses and in which words; fields as text."""

import dataclasses
import json

import pytest
import torch

from ganlib.config import Config, parse_field, pick_device, replace, to_json
from ganlib.errors import GanlibError
from ganlib.losses import LOSSES

FIELDS = dataclasses.fields(Config)
RANGED = [
    (field, end) for field in FIELDS for end in ("low", "high") if end in field.metadata
]
NAMED = [field for field in FIELDS if "names" in field.metadata]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch_size", 0),
        ("batch_size", 1.5),
        ("batch_size", "100"),
        ("batch_size", True),
        ("epochs", 0),
        ("seed", -1),
        ("seed", 2**31),
        ("hidden_dim", None),
        ("image_size", 3),
        ("learning_rate_g", -1e-3),
        ("learning_rate_d", float("nan")),
        ("learning_rate_g", float("inf")),
        ("beta1", 1.0),
        ("beta2", 1),
        ("real_label", 0.4),
        ("real_label", 1.1),
        ("dropout", 1.0),
        ("ema_decay", 1.0),
        ("augment_cutout", 1.0),
        ("recipe", 3),
        ("dataset", None),
        ("architecture", "cnn"),
        ("loss", "mse"),
        ("random_flip", 1),
        ("augment_color", "yes"),
        ("r1_weight", -1.0),
    ],
)
def test_a_value_outside_its_range_is_named(name, value, says):
    with says(f"{name} is {value!r}; it must be"):
        Config(**{name: value})
    with says(f"{name} is {value!r}; it must be"):
        replace(Config(), **{name: value})


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
@pytest.mark.parametrize("value", [None, [1], {}, b"5", object], ids=repr)
def test_every_field_refuses_other_types(field, value, says):
    with says(f"{field.name} is {value!r}; it must be"):
        Config(**{field.name: value})


@pytest.mark.parametrize(
    ("field", "end"), RANGED, ids=lambda part: getattr(part, "name", part)
)
def test_every_range_ends_where_it_says(field, end, says):
    last = field.metadata[end]
    beyond = last - 1 if end == "low" else last + 1
    limits = f"from {field.metadata['low']} to {field.metadata['high']}"
    with says(f"{field.name} is {beyond!r}; it must be a", limits):
        Config(**{field.name: beyond})
    architecture = "dcgan" if field.name == "base_channels" else "mlp"
    size = 128 if field.name == "augment_shift" else Config.image_size
    fields = {"architecture": architecture, "image_size": size, field.name: last}
    if field.name in ("augment_target", "augment_ramp"):
        fields = {"augment_target": 0.6, "random_flip": True} | fields
    config = Config(**fields)
    assert getattr(config, field.name) == last


@pytest.mark.parametrize("field", NAMED, ids=lambda field: field.name)
def test_every_choice_lists_its_names(field, says):
    with says(f"{field.name} is 'nosuch'", *field.metadata["names"]):
        Config(**{field.name: "nosuch"})
    rest = {"classes": 2} if field.name == "label_input" else {}
    for name in field.metadata["names"]:
        # The spectral norm bounds any D, as the wasserstein loss wants it.
        config = Config(spectral_norm=True, **{field.name: name}, **rest)
        assert getattr(config, field.name) == name


def test_whole_numbers_serve_as_numbers():
    assert Config(dropout=0, learning_rate_g=1).dropout == 0


def test_a_range_says_what_would_be_right(says):
    with says("batch_size is 0; it must be a whole number from 1 to 65536."):
        Config(batch_size=0)


def test_a_config_cannot_be_changed_in_place():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().epochs = 3


def test_fields_are_given_by_name():
    with pytest.raises(TypeError):
        Config("mnist")


def test_image_shape():
    assert Config(channels=3, image_size=32).image_shape == (3, 32, 32)


def test_every_choice_of_loss_has_its_functions():
    (loss,) = [field for field in FIELDS if field.name == "loss"]
    assert set(loss.metadata["names"]) == set(LOSSES)


# --- combinations ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("architecture", "name", "value"),
    [
        ("mlp", "base_channels", 32),
        ("batchnorm-mlp", "base_channels", 32),
        ("dcgan", "hidden_dim", 128),
        ("resize-conv", "hidden_dim", 128),
        ("resize-conv", "dropout", 0.1),
    ],
)
def test_a_field_that_the_architecture_ignores_is_refused(
    architecture, name, value, says
):
    with says(
        f"{name} is {value}", architecture, f"leave it at {getattr(Config(), name)}"
    ):
        Config(architecture=architecture, **{name: value})


@pytest.mark.parametrize(
    "loss", ["hinge", "least-squares", "wasserstein", "relativistic"]
)
def test_a_loss_without_labels_takes_no_smoothed_ones(loss, says):
    with says("real_label is 0.9", loss, "1.0"):
        Config(loss=loss, real_label=0.9, r1_weight=1.0)


def test_the_wasserstein_loss_wants_something_that_bounds_the_slope(says):
    with says("wasserstein", "gp_weight", "r1_weight", "spectral_norm"):
        Config(loss="wasserstein")
    for bound in ({"gp_weight": 10.0}, {"r1_weight": 1.0}, {"spectral_norm": True}):
        Config(loss="wasserstein", **bound)


@pytest.mark.parametrize("penalty", ["r1_weight", "r2_weight", "gp_weight"])
def test_a_penalty_through_batchnorm_is_refused(penalty, says):
    with says("r1_weight, r2_weight and gp_weight must be 0", "dcgan", "resize-conv"):
        Config(architecture="dcgan", image_size=64, **{penalty: 0.1})
    with says("BatchNorm"):
        replace(Config(architecture="dcgan", image_size=64), **{penalty: 0.1})


def test_pixels_are_made_of_four_channels_each(says):
    with says("base_channels is 6", "multiple of 4"):
        Config(architecture="pixel-shuffle", base_channels=6)
    Config(architecture="pixel-shuffle", base_channels=8, hidden_dim=5, dropout=0.1)


@pytest.mark.parametrize(
    "architecture", ["mlp", "batchnorm-mlp", "resize-conv", "pixel-shuffle"]
)
def test_a_penalty_goes_with_a_discriminator_without_batchnorm(architecture):
    config = Config(
        architecture=architecture, image_size=16, r1_weight=1.0, r2_weight=1.0
    )
    assert config.r1_weight == config.r2_weight == 1.0


@pytest.mark.parametrize("channels", [2, 4])
def test_colour_changes_need_grey_or_rgb(channels, says):
    with says("augment_color", f"{channels} channels", "1 or 3"):
        Config(augment_color=True, channels=channels)


def test_a_controller_has_something_to_control(says):
    with says("augment_target is 0.6", "nothing to control", "augment_shift"):
        Config(augment_target=0.6)
    for change in ("random_flip", "augment_color"):
        Config(augment_target=0.6, **{change: True})


def test_a_ramp_without_a_controller_is_refused(says):
    with says("augment_ramp is 9", "augment_target is 0", "20000"):
        Config(augment_ramp=9, augment_color=True)


@pytest.mark.parametrize("loss", ["least-squares", "wasserstein", "relativistic"])
def test_a_controller_needs_logits_whose_sign_means_something(loss, says):
    changes = {"augment_shift": 1, "spectral_norm": True}
    with says("augment_target is 0.6", loss, "sign", "hinge"):
        Config(augment_target=0.6, loss=loss, **changes)
    Config(loss=loss, **changes)


# --- replace, JSON, text --------------------------------------------------------------


def test_replace_makes_a_changed_copy():
    config = Config(seed=1)
    changed = replace(config, epochs=7)
    assert (changed.epochs, changed.seed) == (7, 1)
    assert config == Config(seed=1)


def test_an_unknown_field_lists_the_fields(says):
    with says("'nz'", *[field.name for field in FIELDS]):
        replace(Config(), nz=100)


def test_json_there_and_back():
    config = Config(recipe="own", learning_rate_d=3e-4, random_flip=True, seed=9)
    assert Config(**json.loads(to_json(config))) == config


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("hidden_dim=64", ("hidden_dim", 64)),
        ("r1_weight=1e-1", ("r1_weight", 0.1)),
        ("random_flip=True", ("random_flip", True)),
        ("bfloat16=false", ("bfloat16", False)),
        ("dataset=folder:a=b", ("dataset", "folder:a=b")),
    ],
)
def test_a_field_is_read_as_its_type(text, field):
    found = parse_field(text)
    assert found == field and type(found[1]) is type(field[1])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hidden_dim", ["'hidden_dim'", "FIELD=VALUE"]),
        ("hiden_dim=3", ["'hiden_dim=3'", "hidden_dim"]),
        ("hidden_dim=wide", ["hidden_dim", "'wide'", "whole number"]),
        ("dropout=some", ["dropout", "'some'", "a number"]),
        ("random_flip=1", ["random_flip", "true or false"]),
    ],
)
def test_a_field_that_cannot_be_read(text, words, says):
    with says(*words):
        parse_field(text)


def test_the_error_is_a_value_error():
    assert issubclass(GanlibError, ValueError)


# --- devices --------------------------------------------------------------------------


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


@pytest.mark.parametrize(
    "fields, word",
    [
        ({"architecture": "batchnorm-mlp", "batch_size": 1}, "batch_size"),
        ({"augment_shift": 28}, "augment_shift"),
        ({"augment_cutout": 0.01}, "augment_cutout"),
    ],
)
def test_what_cannot_work_is_refused_when_the_config_is_made(fields, word, says):
    with says(word):
        Config(**fields)
