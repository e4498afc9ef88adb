"""Several processes, started by torchrun, train one run together (Li 2020).

torch's DistributedDataParallel cannot do it: it waits for a gradient of every weight,
and the R1 penalty gives D's last bias none.
"""

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ganlib.config import pick_device
from ganlib.errors import GanlibError
from ganlib.training import Record, Sampler, TrainState, shuffled_batches

LOST = "Another process ended this run; add --resume to go on from its last epoch."


def is_main() -> bool:
    """Whether this process is the one that prints and writes files."""
    return os.environ.get("RANK", "0") == "0"


def restarted() -> bool:
    """Whether torchrun (--max-restarts) started this run again after a failure."""
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"


def _grouped() -> bool:
    """Whether this process is inside `process_group`, and not alone."""
    return dist.is_available() and dist.is_initialized()


def world_size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if _grouped() else 1


@cache
def _rendezvous() -> tuple[Any, int, int]:
    """(store, rank, world_size): all processes can write to the store and read it."""
    store, rank, world_size = next(dist.rendezvous("env://"))
    start = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    # What the processes of an earlier start wrote, addresses too, is out of date.
    return dist.PrefixStore(f"start-{start}", store), rank, world_size


@contextmanager
def process_group(device_name: str | None = None) -> Iterator[torch.device]:
    """Inside the `with`, torchrun's processes are a group; gives this one's device.

    Several processes have a GPU of their machine each (NCCL), or else compute on the
    CPU (Gloo). One alone has no group, and the device that `pick_device` picks.

    Raises GanlibError for a device that is not here, and where another process ended.
    """
    device, backend = pick_device(device_name), "nccl"
    if os.environ.get("WORLD_SIZE", "1") == "1":
        yield device
        return
    if device.type == "cuda":
        device = pick_device(f"cuda:{os.environ['LOCAL_RANK']}")
        torch.cuda.set_device(device)
    else:
        device, backend = torch.device("cpu"), "gloo"
    signal.signal(signal.SIGTERM, _stop)
    try:
        store, rank, world_size = _rendezvous()
        dist.init_process_group(backend, store=store, rank=rank, world_size=world_size)
        yield device
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or "gloo" in str(error):
            raise GanlibError(LOST) from None
        raise
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # let it say why it ends
    dist.destroy_process_group()


def _stop(*_: Any) -> None:
    """torchrun sends SIGTERM to the other processes when one has ended."""
    raise GanlibError(LOST)


def print_error(sentence: object) -> None:
    """Write why the run ends to stderr; of several processes the first to end does."""
    if os.environ.get("WORLD_SIZE", "1") != "1":
        with suppress(RuntimeError):  # the machine that keeps the store may be gone
            if _rendezvous()[0].add("said", 1) > 1:
                return
        print(file=sys.stderr)  # below the progress bar of the main process
    print(f"ganlib: {sentence}", file=sys.stderr, flush=True)


def check_same(**facts: Any) -> None:
    """Raise GanlibError unless all processes, each of which must call it, agree.

    Processes with different numbers of steps would wait for each other for ever.
    """
    if not _grouped():
        return
    told: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(told, facts)
    for name in facts:
        values = dict.fromkeys(str(one[name]) for one in told)
        if len(values) > 1:
            raise GanlibError(
                f"The processes have different {name}: {', '.join(values)}; give all "
                "machines the same command, data and --out folder."
            )


@contextmanager
def main_first() -> Iterator[None]:
    """Inside the `with`, the first process of a machine goes ahead of the others.

    What it downloads, they find.
    """
    first = os.environ.get("LOCAL_RANK", "0") == "0"
    if _grouped() and not first:
        dist.barrier()
    yield
    if _grouped() and first:
        dist.barrier()


def distribute(state: TrainState, pixels: Tensor) -> Sampler:
    """Let all processes train `state` as one; returns the sampler to give to `fit`.

    Each takes an equal share of every batch, draws noise of its own, and steps along
    the mean gradient of all. BatchNorm sees the batches of all processes on GPUs, and
    only that of its own process on CPUs. Alone nothing changes.

    Raises GanlibError unless each process has images for a batch and all start alike.
    """
    if not _grouped():
        return shuffled_batches
    config, world_size = state.config, dist.get_world_size()
    if config.batch_size > len(pixels) // world_size:
        raise GanlibError(
            f"batch_size is {config.batch_size}; it must be at most "
            f"{len(pixels) // world_size}, a process's share of {len(pixels)} images."
        )
    if config.compile_step:
        raise GanlibError("compile_step is True; it must be False for many processes.")
    if config.augment_target:
        raise GanlibError(
            f"augment_target is {config.augment_target}; it must be 0 for many "
            "processes, each of which would change images with a strength of its own."
        )
    weights = [*state.G.parameters(), *state.D.parameters()]
    check_same(weights=f"{sum(weight.double().sum() for weight in weights):.6f}")
    if weights[0].is_cuda:
        state.G = nn.SyncBatchNorm.convert_sync_batchnorm(state.G)
        state.D = nn.SyncBatchNorm.convert_sync_batchnorm(state.D)
    state.optimizer_g.register_step_pre_hook(average_gradients)
    state.optimizer_d.register_step_pre_hook(average_gradients)
    return shared_batches


def average_gradients(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    """Before a step: put the mean over all processes in the place of each gradient."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    parts = (flat / dist.get_world_size()).split([one.numel() for one in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view(gradient.shape))


def shared_batches(
    count: int, batch_size: int, device: torch.device
) -> Sequence[Tensor]:
    """This process's rows of the batches of all; then seeds torch for its own noise."""
    rank, world_size = dist.get_rank(), dist.get_world_size()
    order = torch.cat([*shuffled_batches(count, batch_size * world_size, device)])
    torch.manual_seed(torch.initial_seed() + 1_000_000_007 * (rank + 1))
    return order[rank::world_size].split(batch_size)


def average_record(state: TrainState) -> Record:
    """Make the newest record of `state` that of all processes, and return it."""
    record = state.history[-1]
    if not _grouped():
        return record
    records: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(records, record)
    means = [sum(column) / len(records) for column in zip(*records, strict=True)]
    before = state.history[-2].images_seen if len(state.history) > 1 else 0
    seen = before + (record.images_seen - before) * len(records)
    state.history[-1] = Record._make([record.epoch, *means[1:6], seen, means[7]])
    return state.history[-1]
