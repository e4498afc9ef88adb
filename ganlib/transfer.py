"""Training that starts from the weights of another run, of G and of its D.

A D that knows nothing leads a trained G away from what it knows: both are kept, in a
file called a start.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganlib.checkpoint import ASSETS, load_weights, read_metadata, save_weights
from ganlib.config import Config, replace
from ganlib.errors import GanlibError
from ganlib.models import build
from ganlib.training import TrainState, shuffled_batches

STARTS = ASSETS / "starts"
SHAPED_BY = "architecture", "latent_dim", "base_channels", "image_shape", "classes"


def starts() -> dict[str, Config]:
    """The starts that ship, by name: the configs of the runs that they come from."""
    return {
        path.stem: _config_of(path) for path in sorted(STARTS.glob("*.safetensors"))
    }


def _config_of(path: Path) -> Config:
    return replace(Config(), **read_metadata(path)["config"])


def save_start(
    G: nn.Module, D: nn.Module, config: Config, path: Path | str, **facts: Any
) -> None:
    """Write both networks, their config and `facts` to one file; see `save_weights`."""
    networks = nn.ModuleDict({"G": G, "D": D})
    save_weights(networks, path, config=dataclasses.asdict(config), **facts)


def load_start(name: str) -> tuple[nn.Module, nn.Module, Config]:
    """A start that ships -> (G, D, the config of the run that they come from).

    Raises GanlibError that lists the known names.
    """
    path = STARTS / f"{name}.safetensors"
    if name not in starts():
        raise GanlibError(
            f"There is no start {name!r}; the known ones are {', '.join(starts())}."
        )
    config = _config_of(path)
    G, D = build(config)
    load_weights(nn.ModuleDict({"G": G, "D": D}), path)
    return G, D, config


def fitting_start(config: Config) -> str | None:
    """The name of a start with networks of the shape that `config` has; or None."""
    for name, its in starts().items():
        if all(getattr(its, field) == getattr(config, field) for field in SHAPED_BY):
            return name
    return None


def start_from(state: TrainState, name: str) -> None:
    """Give the networks of a run that has not begun the weights of a start, in place.

    Of D, config.frozen_layers says how many layers keep them. Raises GanlibError if the
    start has networks of another shape.
    """
    with torch.random.fork_rng():
        G, D, its = load_start(name)
    for field in SHAPED_BY:
        if getattr(its, field) != getattr(state.config, field):
            raise GanlibError(
                f"The start {name} has {field} {getattr(its, field)}, but the config "
                f"asks for {getattr(state.config, field)}; set it so, or start anew."
            )
    state.D.load_state_dict(D.state_dict())
    for network in (state.G, state.G_ema):
        if network is not None:
            network.load_state_dict(G.state_dict())


def batches_of_passes(
    count: int, batch_size: int, device: torch.device, steps: int
) -> Sequence[Tensor]:
    """Batches of whole passes over `count` images, at least `steps` of them."""
    batches: list[Tensor] = []
    while len(batches) < steps:
        batches += shuffled_batches(count, batch_size, device)
    return batches
