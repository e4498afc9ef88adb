"""The front door: the processes that torchrun starts find each other, and end with one sentence between them."""

import os
import signal
import socket
import sys
import threading
import warnings
from contextlib import contextmanager
from functools import cache

import torch
import torch.distributed as dist

from ganlib.errors import GanlibError
from ganlib.config import pick_device

LOST = "Another process of this run has ended; start the same command with --resume, from the last whole epoch."
_one_at_a_time = threading.Lock()


def place():
    """(rank, count) that torchrun gave this process, by its environment; (0, 1) without torchrun."""
    return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))


def restarted():
    """Has torchrun (--max-restarts) started these processes again after one of them died?"""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)) > 0


@contextmanager
def joined(name=None):
    """Inside the `with`, this process is a rank of its run, or alone without torchrun; gives the torch device for it.

    `name` is cuda (each rank has its own: NCCL), mps or cpu (Gloo), or None. GanlibError for a device that is not here
    or cannot be shared, and when another rank has died.
    """
    rank, count = place()
    device = pick_device(name) if count == 1 else _device_of_rank(name)
    if count == 1:
        yield device
        return
    if rank:
        warnings.simplefilter("ignore")  # rank 0 says it
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    try:
        dist.init_process_group(backend, store=_store(), rank=rank, world_size=count)
        _heed_the_end()
        yield device
    except RuntimeError as error:
        if not (isinstance(error, dist.DistError) or "gloo" in str(error)):
            raise
        raise GanlibError(LOST) from None
    dist.destroy_process_group()


def _device_of_rank(name):
    """The device of one of several ranks: the CPU, or of the GPUs here the one with this process's LOCAL_RANK."""
    device, gpus = pick_device(name), torch.cuda.device_count()
    if device.type == "cpu" or (name is None and device.type == "mps"):
        return torch.device("cpu")
    if device.type != "cuda" or device.index is not None:
        raise GanlibError(f"--device is {device}; under torchrun it must be cuda, one for each process, or cpu.")
    if int(os.environ["LOCAL_RANK"]) >= gpus:
        started = f"torchrun started {os.environ['LOCAL_WORLD_SIZE']} processes on a machine with {gpus} GPUs"
        raise GanlibError(f"{started}; give --nproc-per-node={gpus}, or --device cpu.")
    return torch.device("cuda", int(os.environ["LOCAL_RANK"]))


@cache
def _store():
    """What all ranks can write to and read from; torchrun keeps it."""
    start = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")  # what the ranks wrote before they died is out of date
    return dist.PrefixStore(f"ganlib-{start}", next(dist.rendezvous("env://"))[0])


def _heed_the_end():
    """On SIGTERM, with which torchrun ends the ranks when one has died, say so, even while this one waits for that."""
    ear, mouth = socket.socketpair()
    mouth.setblocking(False)
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.set_wakeup_fd(mouth.fileno())
    threading.Thread(target=_listen, args=(ear, mouth), daemon=True).start()


def _listen(ear, _mouth):
    """End this process when the number of SIGTERM arrives at `ear`; `_mouth` is held so that it stays open."""
    while signal.SIGTERM not in ear.recv(64):
        pass
    say(LOST)
    os._exit(1)


def say(sentence):
    """Write why this process ends to stderr, unless another rank of the run has said why already."""
    with _one_at_a_time:
        try:
            first = place()[1] == 1 or _store().add("said", 1) == 1
        except RuntimeError:  # the machine that keeps the store is gone
            first = True
        if first:
            start = "\n" * (place()[1] > 1)  # a progress bar may stand on this line
            print(f"{start}ganlib: {sentence}", file=sys.stderr, flush=True)


def agree(**facts):
    """GanlibError unless all ranks, each of which must call it, give the same facts: else they would wait for ever."""
    if not (dist.is_available() and dist.is_initialized()):
        return
    told = [None] * dist.get_world_size()
    dist.all_gather_object(told, facts)
    for name in facts:
        if len(values := dict.fromkeys(str(one[name]) for one in told)) > 1:
            apart = f"The ranks have different {name}: {', '.join(values)}"
            raise GanlibError(f"{apart}; give all machines the same command, data and --out folder.")


@contextmanager
def one_first():
    """Inside the `with`, the first rank on each machine goes ahead of the others: what it downloads, they find."""
    grouped, local = dist.is_available() and dist.is_initialized(), int(os.environ.get("LOCAL_RANK", 0))
    if grouped and local:
        dist.barrier()
    yield
    if grouped and not local:
        dist.barrier()
