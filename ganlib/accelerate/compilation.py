"""A step through torch.compile."""

from typing import Any

import torch
from torch import Tensor

from ganlib.training import TrainState, Turn, train_step


def compile_step(turn: Turn = train_step) -> Turn:
    """`turn` through torch.compile: fewer, larger kernels, and on CUDA its graphs.

    The first step waits until all is compiled. The gradients and Adam's step are not
    traced into the graphs: torch breaks them there. Random numbers are those of the
    plain step, and losses and weights differ from it by rounding alone.
    """
    torch.compiler.reset()  # else the ninth run of a process is no longer compiled
    options: dict[str, Any] = {"fallback_random": True}
    options["triton.cudagraphs"] = torch.cuda.is_available()
    compiled = torch.compile(turn, options=options, dynamic=False)

    def compiled_turn(state: TrainState, *batch: Tensor) -> Tensor:
        torch.compiler.cudagraph_mark_step_begin()
        return compiled(state, *batch).clone()  # the next step writes over its result

    return compiled_turn
