"""The fuse box: every number of a run, the named recipes, and the one error type that speaks to the reader."""

import dataclasses
import json
from dataclasses import dataclass, field

import torch


class GanlibError(ValueError):
    """Something the reader can mend: one sentence that says what is wrong and what would be right."""


def _setting(default, low, high):
    """A config field with its permitted range, low and high included."""
    return field(default=default, metadata={"low": low, "high": high})


def _choice(*names):
    """A config field that takes one of `names`; the first is the default."""
    return field(default=names[0], metadata={"names": names})


@dataclass(frozen=True, kw_only=True)
class Config:
    """Every number that decides a run. Checked when made: a value outside its range raises GanlibError."""

    recipe: str = "mnist"
    dataset: str = "mnist"
    networks: str = _choice("mlp", "batchnorm-mlp", "dcgan")  # which family of G and D
    seed: int = _setting(0, 0, 2**31 - 1)
    epochs: int = _setting(15, 1, 100_000)
    batch_size: int = _setting(100, 1, 65_536)
    latent_dim: int = _setting(64, 1, 4_096)  # length of the noise vector z
    hidden_dim: int = _setting(256, 1, 8_192)  # width of the hidden layers; in a DCGAN, channels beside the image
    channels: int = _setting(1, 1, 4)
    image_size: int = _setting(28, 4, 1_024)  # height and width in pixels
    learning_rate_g: float = _setting(2e-4, 0.0, 1.0)
    learning_rate_d: float = _setting(2e-4, 0.0, 1.0)
    beta1: float = _setting(0.9, 0.0, 0.9999)  # Adam's memory of the gradient
    beta2: float = _setting(0.999, 0.0, 0.9999)  # Adam's memory of the squared gradient
    real_label: float = _setting(1.0, 0.5, 1.0)  # below 1: one-sided label smoothing
    dropout: float = _setting(0.0, 0.0, 0.9)  # share of D's hidden units dropped in training
    penalty: float = _setting(0.0, 0.0, 1_000.0)  # weight of D's squared gradient at real images (R1); 0 is off
    ema_decay: float = _setting(0.0, 0.0, 0.99999)  # memory of the averaged G; 0 keeps no average
    mirror: bool = False  # flip half of the real images left to right
    shift: int = _setting(0, 0, 64)  # pixels by which a DCGAN's D sees every image moved at most
    bfloat16: bool = False  # half-precision arithmetic where it is safe (autocast)
    matmul_precision: str = _choice("highest", "high", "medium")  # how exactly float32 matrices are multiplied (torch)
    channels_last: bool = False  # the memory layout that convolutions on a CPU prefer
    compiled: bool = False  # both steps through torch.compile; on CUDA they become CUDA graphs

    def __post_init__(self):
        for entry in dataclasses.fields(self):
            _check(entry, getattr(self, entry.name))

    @property
    def image_shape(self):
        """(C, H, W) of one image."""
        return self.channels, self.image_size, self.image_size


def _check(entry, value):
    """Raise GanlibError unless `value` has the type and lies in the range of the config field `entry`."""
    if entry.type is not int and entry.type is not float:
        names = entry.metadata.get("names")
        if not isinstance(value, entry.type) or (names and value not in names):
            what = f"one of {', '.join(names)}" if names else {str: "text", bool: "True or False"}[entry.type]
            raise GanlibError(f"{entry.name} is {value!r}; it must be {what}.")
        return
    low, high = entry.metadata["low"], entry.metadata["high"]
    allowed = int if entry.type is int else (int, float)
    if isinstance(value, bool) or not isinstance(value, allowed) or not low <= value <= high:
        kind = "a whole number" if entry.type is int else "a number"
        raise GanlibError(f"{entry.name} is {value!r}; it must be {kind} from {low} to {high}.")


RECIPES = {
    # What most introductory tutorials do; kept to be measured against.
    "textbook": Config(recipe="textbook", epochs=200),
    "mnist": Config(
        recipe="mnist",
        epochs=20,
        learning_rate_g=1e-3,
        learning_rate_d=1e-3,
        beta1=0.5,
        real_label=0.9,
        dropout=0.1,
        ema_decay=0.998,
    ),
    # The usual step sizes again, and long: what page 13 logs.
    "mnist-long": Config(recipe="mnist-long", epochs=200, beta1=0.5, real_label=0.9, ema_decay=0.999),
    "fashion-mnist": Config(
        recipe="fashion-mnist",
        dataset="fashion-mnist",
        networks="batchnorm-mlp",
        epochs=11,
        learning_rate_g=1e-3,
        learning_rate_d=1e-3,
        beta1=0.5,
        real_label=0.9,
        penalty=1.0,
        ema_decay=0.998,
    ),
    # Fréchet distance of 200 textbook epochs on MNIST, as soon as possible: page 17.
    "mnist-speedrun": Config(
        recipe="mnist-speedrun",
        networks="batchnorm-mlp",
        epochs=4,
        latent_dim=10,
        learning_rate_g=1e-3,
        learning_rate_d=5e-4,
        beta1=0.0,
        beta2=0.9,
        real_label=0.9,
        penalty=0.3,
        ema_decay=0.99,
        matmul_precision="medium",
    ),
    "faces": Config(
        recipe="faces",
        dataset="celeba",
        networks="dcgan",
        epochs=69,
        batch_size=64,
        latent_dim=100,
        hidden_dim=32,
        channels=3,
        image_size=64,
        beta1=0.5,
        real_label=0.9,
        ema_decay=0.999,
        mirror=True,
        shift=6,
        channels_last=True,
    ),
    "avatars": Config(
        recipe="avatars",
        dataset="avatars",
        networks="dcgan",
        epochs=14,
        batch_size=32,
        latent_dim=64,
        hidden_dim=16,
        channels=3,
        image_size=64,
        learning_rate_g=4e-4,
        learning_rate_d=4e-4,
        beta1=0.5,
        real_label=0.9,
        penalty=1.0,
        ema_decay=0.998,
        channels_last=True,
    ),
}


def recipe(name, **changes):
    """The recipe called `name` with some fields changed. GanlibError lists the known names or the known fields."""
    if name not in RECIPES:
        raise GanlibError(f"There is no recipe {name!r}; the known ones are {', '.join(RECIPES)}.")
    return replace(RECIPES[name], **changes)


def replace(config, /, **changes):
    """`config` with some fields changed; a field that does not exist raises GanlibError."""
    known = [entry.name for entry in dataclasses.fields(Config)]
    for name in changes:
        if name not in known:
            raise GanlibError(f"A config has no field {name!r}; its fields are {', '.join(known)}.")
    return dataclasses.replace(config, **changes)


def parse_field(text):
    """ "hidden_dim=64" -> ("hidden_dim", 64), read as the type of that field; GanlibError if it cannot be."""
    name, found, value = text.partition("=")
    kinds = {entry.name: entry.type for entry in dataclasses.fields(Config)}
    if not found or name not in kinds:
        raise GanlibError(f"{text!r} sets nothing; it must be FIELD=VALUE with a field of {', '.join(kinds)}.")
    try:
        return name, {"true": True, "false": False}[value.lower()] if kinds[name] is bool else kinds[name](value)
    except (KeyError, ValueError):
        what = {bool: "true or false", int: "a whole number", float: "a number"}[kinds[name]]
        raise GanlibError(f"{name} is {value!r}; it must be {what}.") from None


def to_json(config):
    """The config as json text, one field a line."""
    return json.dumps(dataclasses.asdict(config), indent=2)


def pick_device(name=None):
    """The device called `name`, or the best one here: CUDA, then MPS, then CPU. GanlibError if it is not here."""
    here = ["cuda"] * torch.cuda.is_available() + ["mps"] * torch.backends.mps.is_available() + ["cpu"]
    numbered = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if name is not None and name not in here + numbered:
        raise GanlibError(f"There is no device {name!r} on this machine; it has {', '.join(here + numbered)}.")
    return torch.device(name or here[0])
