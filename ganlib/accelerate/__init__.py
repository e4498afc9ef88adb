"""What makes the taught loop faster or wider, from outside."""

import warnings
from collections.abc import Iterator

import torch
from torch import Tensor

from ganlib import training
from ganlib.accelerate.compilation import compile_step
from ganlib.accelerate.distributed import average_record
from ganlib.accelerate.precision import (
    matmul_precision,
    multiplies_bfloat16,
    precision,
)
from ganlib.config import replace
from ganlib.training import (
    Record,
    Sampler,
    TrainState,
    Turn,
    shuffled_batches,
    train_step,
)

__all__ = [
    "compile_step",
    "fit",
    "matmul_precision",
    "multiplies_bfloat16",
    "precision",
    "set_memory_format",
]


DEVICES = {"cpu": "CPU", "cuda": "GPU"}


def fit(
    state: TrainState,
    pixels: Tensor,
    conditions: Tensor | None = None,
    *,
    turn: Turn = train_step,
    sampler: Sampler = shuffled_batches,
) -> Iterator[Record]:
    """`training.fit` with the speed that the config asks for; arguments as there.

    The precision holds while an epoch runs, not while the caller has its record. Where
    the device would only imitate bfloat16, float32 is taken, with a warning. For
    several processes, `sampler` comes from `distributed.distribute`.
    """
    config = state.config
    device = next(state.G.parameters()).device
    if config.bfloat16 and not multiplies_bfloat16(device):
        warnings.warn(
            f"This {DEVICES[device.type]} has no arithmetic for "
            "bfloat16, so the run takes float32, which is faster here; bfloat16=False "
            "(--set bfloat16=false) asks for that.",
            stacklevel=2,
        )
        config = replace(config, bfloat16=False)
    set_memory_format(state)
    if config.compile_step:
        turn = compile_step(turn)
    epochs = training.fit(state, pixels, conditions, turn=turn, sampler=sampler)
    while True:
        with precision(config, device):
            record = next(epochs, None)
        if record is None:
            return
        yield average_record(state)


def set_memory_format(state: TrainState) -> None:
    """Lay out the weights of `state` as config.channels_last says, and Adam's memory.

    A compiled step keeps torch's own layout: the compiler chooses that of convolutions
    itself, and stops with an error on weights that come in another. The fused Adam
    reads weights and memory in the order in which they lie: a resumed run must not mix
    two layouts.
    """
    wanted = torch.contiguous_format
    if state.config.channels_last and not state.config.compile_step:
        wanted = torch.channels_last
    for network in (state.G, state.D, state.G_ema):
        if network is not None:
            network.to(memory_format=wanted)
    for optimizer in (state.optimizer_g, state.optimizer_d):
        for weight, memory in optimizer.state.items():
            for name, value in memory.items():
                if value.shape == weight.shape:
                    memory[name] = torch.empty_like(weight).copy_(value)
