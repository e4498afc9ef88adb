"""Every number that decides a run, checked when the config is made."""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

import torch

from ganlib.errors import GanlibError


def _number(default: Any, low: float, high: float) -> Any:
    """A field that holds a number from `low` to `high`, both included."""
    return field(default=default, metadata={"low": low, "high": high})


def _choice(*names: str) -> Any:
    """A field that holds one of `names`; the first is the default."""
    return field(default=names[0], metadata={"names": names})


# Fields that an architecture has no use for.
IGNORED = {
    "mlp": ("base_channels",),
    "batchnorm-mlp": ("base_channels",),
    "dcgan": ("hidden_dim",),
    "resize-conv": ("hidden_dim", "dropout"),
    "residual": ("hidden_dim", "dropout"),
    "pixel-shuffle": (),
}


@dataclass(frozen=True, kw_only=True)
class Config:
    """All settings of a run. Immutable; `replace` makes a changed copy.

    Raises GanlibError, when it is made, for a value of the wrong type or outside its
    range, and for a combination that would be ignored or wrong.
    """

    recipe: str = "mnist"
    dataset: str = "mnist"
    seed: int = _number(0, 0, 2**31 - 1)

    # Networks: see models.py.
    architecture: str = _choice(
        "mlp", "batchnorm-mlp", "dcgan", "resize-conv", "residual", "pixel-shuffle"
    )
    latent_dim: int = _number(64, 1, 4_096)  # length of the noise vector z
    hidden_dim: int = _number(256, 1, 8_192)  # width of the hidden linear layers
    base_channels: int = _number(64, 1, 1_024)  # of convolutional layers, see models.py
    channels: int = _number(1, 1, 4)  # of an image
    image_size: int = _number(28, 4, 1_024)  # height and width in pixels
    dropout: float = _number(0.0, 0.0, 0.9)  # share of D's units dropped in training

    # A condition, as of what an image is to show: G has it beside z, D beside an image.
    classes: int = _number(0, 0, 1_024)  # length of the condition; 0: there is none
    label_input: str = _choice("concatenation", "projection")  # how D takes it

    # The game: see losses.py, augment.py and ema.py.
    loss: str = _choice(
        "nonsaturating",
        "saturating",
        "hinge",
        "least-squares",
        "wasserstein",
        "relativistic",
    )
    real_label: float = _number(1.0, 0.5, 1.0)  # below 1: one-sided label smoothing
    r1_weight: float = _number(0.0, 0.0, 1_000.0)  # penalty on D at real images
    r2_weight: float = _number(0.0, 0.0, 1_000.0)  # penalty on D at generated images
    gp_weight: float = _number(0.0, 0.0, 1_000.0)  # on D's slope between the two
    spectral_norm: bool = False  # D's layers stretch nothing by more than 1
    frozen_layers: int = _number(0, 0, 16)  # of D, the first, which learn nothing more
    random_flip: bool = False  # D sees half of all images flipped left to right
    augment_shift: int = _number(0, 0, 64)  # D sees all images moved by so many pixels
    augment_color: bool = False  # D sees brightness, saturation and contrast changed
    augment_cutout: float = _number(0.0, 0.0, 0.9)  # side of a square hidden from D
    augment_target: float = _number(0.0, 0.0, 1.0)  # mean sign of D to hold; 0: do not
    augment_ramp: int = _number(20_000, 1, 10**9)  # images from no image changed to all
    ema_decay: float = _number(0.0, 0.0, 0.99999)  # of the average of G; 0: no average

    # Optimisation: Adam (Kingma 2015) for both networks.
    epochs: int = _number(15, 1, 100_000)
    batch_size: int = _number(100, 1, 65_536)
    learning_rate_g: float = _number(2e-4, 0.0, 1.0)
    learning_rate_d: float = _number(2e-4, 0.0, 1.0)
    beta1: float = _number(0.9, 0.0, 0.9999)  # memory of the gradient
    beta2: float = _number(0.999, 0.0, 0.9999)  # memory of the squared gradient

    # Speed: applied by ganlib.accelerate.fit, not by the plain loop.
    bfloat16: bool = False  # autocast: half precision where it is safe
    matmul_precision: str = _choice("highest", "high", "medium")  # of float32 products
    channels_last: bool = False  # memory layout of convolutions
    compile_step: bool = False  # torch.compile; on CUDA also CUDA graphs

    def __post_init__(self) -> None:
        for entry in dataclasses.fields(self):
            _check_field(entry, getattr(self, entry.name))
        _check_combination(self)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        return self.channels, self.image_size, self.image_size


def _check_field(entry: dataclasses.Field, value: Any) -> None:
    """Raise GanlibError unless `value` has the type and the range of the field."""
    name, kind = entry.name, entry.type
    if kind is str or kind is bool:
        names = entry.metadata.get("names")
        if isinstance(value, kind) and (names is None or value in names):
            return
        what = {str: "text", bool: "True or False"}[kind]
        what = f"one of {', '.join(names)}" if names else what
        raise GanlibError(f"{name} is {value!r}; it must be {what}.")
    low, high = entry.metadata["low"], entry.metadata["high"]
    is_number = isinstance(value, int if kind is int else (int, float))
    if isinstance(value, bool) or not is_number or not low <= value <= high:
        what = "a whole number" if kind is int else "a number"
        raise GanlibError(
            f"{name} is {value!r}; it must be {what} from {low} to {high}."
        )


def _check_combination(config: Config) -> None:
    """Raise GanlibError for fields that would be ignored or that contradict."""
    for name in IGNORED[config.architecture]:
        default = Config.__dataclass_fields__[name].default
        if getattr(config, name) != default:
            raise GanlibError(
                f"{name} is {getattr(config, name)}, but the architecture "
                f"{config.architecture} has none; leave it at {default}."
            )
    if config.label_input != "concatenation" and not config.classes:
        raise GanlibError(
            f"label_input is {config.label_input}, but classes is 0, and D has no "
            "condition to take; leave it at concatenation, or set classes."
        )
    has_labels = config.loss in ("nonsaturating", "saturating")
    if not has_labels and config.real_label != 1.0:
        raise GanlibError(
            f"real_label is {config.real_label}, but the {config.loss} loss has no "
            "labels; leave it at 1.0."
        )
    penalised = config.r1_weight or config.r2_weight or config.gp_weight
    if config.architecture == "dcgan" and penalised:
        raise GanlibError(
            "r1_weight, r2_weight and gp_weight must be 0 for the architecture dcgan: "
            "its D has BatchNorm, through which a logit depends on the whole batch and "
            "the penalty is no gradient of one image; take resize-conv."
        )
    if config.loss == "wasserstein" and not (penalised or config.spectral_norm):
        raise GanlibError(
            "The wasserstein loss has no lower bound while D may be as steep as it "
            "likes; set gp_weight (10 in the paper), r1_weight or spectral_norm."
        )
    if config.architecture == "pixel-shuffle" and config.base_channels % 4:
        raise GanlibError(
            f"base_channels is {config.base_channels}; the architecture pixel-shuffle "
            "turns four channels into four pixels, so it must be a multiple of 4."
        )
    linear_batchnorm = config.architecture in ("batchnorm-mlp", "pixel-shuffle")
    if linear_batchnorm and config.batch_size == 1:
        raise GanlibError(
            "batch_size is 1; BatchNorm compares images, so take at least 2."
        )
    if config.augment_shift >= config.image_size:
        raise GanlibError(
            f"augment_shift is {config.augment_shift}; it must be below image_size, "
            f"{config.image_size}, or nothing of an image is left."
        )
    if 0 < config.augment_cutout * config.image_size < 0.5:
        raise GanlibError(
            f"augment_cutout is {config.augment_cutout}, less than half a pixel of "
            f"{config.image_size}; make it larger, or 0."
        )
    if config.augment_color and config.channels not in (1, 3):
        raise GanlibError(
            f"augment_color is True for {config.channels} channels; it takes 1 or 3."
        )
    _check_controller(config)


def _check_controller(config: Config) -> None:
    """Raise GanlibError where the strength of the changes cannot be controlled."""
    target, ramp = config.augment_target, config.augment_ramp
    default = Config.__dataclass_fields__["augment_ramp"].default
    if not target and ramp != default:
        raise GanlibError(
            f"augment_ramp is {ramp}, but augment_target is 0, and all images are "
            f"changed from the start; set a target, such as 0.6, or leave the ramp at "
            f"{default}."
        )
    asked = config.augment_shift or config.augment_color or config.augment_cutout
    if target and not (asked or config.random_flip):
        raise GanlibError(
            f"augment_target is {target}, but there is nothing to control; set "
            "augment_shift, augment_color, augment_cutout or random_flip, or leave it "
            "at 0."
        )
    if target and config.loss in ("least-squares", "wasserstein", "relativistic"):
        raise GanlibError(
            f"augment_target is {target}, but with the {config.loss} loss the sign of "
            "a logit does not say real or generated; take nonsaturating, saturating or "
            "hinge, or leave it at 0."
        )


def replace(config: Config, /, **changes: Any) -> Config:
    """A copy of `config` with some fields changed; GanlibError for unknown fields."""
    known = [entry.name for entry in dataclasses.fields(Config)]
    for name in changes:
        if name not in known:
            raise GanlibError(
                f"A config has no field {name!r}; its fields are {', '.join(known)}."
            )
    return dataclasses.replace(config, **changes)


def parse_field(text: str) -> tuple[str, Any]:
    """ "latent_dim=64" -> ("latent_dim", 64), as the type of that field.

    Raises GanlibError for an unknown field or a value of another type.
    """
    name, found, value = text.partition("=")
    kinds = {entry.name: entry.type for entry in dataclasses.fields(Config)}
    if not found or name not in kinds:
        raise GanlibError(
            f"{text!r} sets nothing; it must be FIELD=VALUE with a field of "
            f"{', '.join(kinds)}."
        )
    kind = kinds[name]
    try:
        if kind is bool:
            return name, {"true": True, "false": False}[value.lower()]
        return name, kind(value)  # type: ignore[operator]
    except (KeyError, ValueError):
        what = {bool: "true or false", int: "a whole number", float: "a number"}[kind]  # type: ignore[index]
        raise GanlibError(f"{name} is {value!r}; it must be {what}.") from None


def to_json(config: Config) -> str:
    """The config as JSON text, one field a line."""
    return json.dumps(dataclasses.asdict(config), indent=2)


def pick_device(name: str | None = None) -> torch.device:
    """The device called `name`, or the best here: CUDA, then MPS, then CPU.

    Raises GanlibError if this machine does not have it.
    """
    here = ["cpu"]
    if torch.backends.mps.is_available():
        here.insert(0, "mps")
    if torch.cuda.is_available():
        here.insert(0, "cuda")
    numbered = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if name is not None and name not in here + numbered:
        raise GanlibError(
            f"There is no device {name!r} on this machine; it has "
            f"{', '.join(here + numbered)}."
        )
    return torch.device(name or here[0])
