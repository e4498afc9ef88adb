"""Runs that are killed at random moments: each must go on to the same end."""

import csv
import hashlib
import os
import random
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

import torchvision.utils  # noqa: F401  so that no forked process has to import it

from ganlib.checkpoint import load_checkpoint
from ganlib.cli import main
from ganlib.data import load

EPOCHS = 5
# BatchNorm, the R1 penalty and an average: all that a checkpoint must bring back.
RUN = [
    *("train", "fashion-mnist", "--dataset", "digits", "--device", "cpu"),
    *("--batch-size", "300", "--epochs", str(EPOCHS)),
]


def start(*arguments: Any) -> int:
    """Run a command of ganlib in a forked process, which need not import anew."""
    process = os.fork()
    if process:
        return process
    status: Any = 1
    try:
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        main([str(argument) for argument in arguments])
        status = 0
    except SystemExit as end:
        status = end.code
    finally:
        os._exit(status)


def finish(process: int) -> int:
    """Wait for a process -> its exit status, negative if a signal ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def digests_of(value: Any) -> Any:
    """Nested dicts and lists with the digests of tensors in the place of these."""
    if isinstance(value, dict):
        return {name: digests_of(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [digests_of(inner) for inner in value]
    if hasattr(value, "numpy"):
        return hashlib.sha256(value.numpy().tobytes()).hexdigest()
    return value


def left_by(out: Path) -> dict[str, Any]:
    """All that a finished run left in the folder `out`, but for the seconds."""
    left: dict[str, Any] = {}
    for path in sorted(out.rglob("*")):
        name = str(path.relative_to(out))
        if path.suffix == ".pt":
            state = load_checkpoint(path)
            parts = state.G, state.D, state.G_ema, state.optimizer_g, state.optimizer_d
            history = [record[:-1] for record in state.history]
            left[name] = [digests_of(part.state_dict()) for part in parts], history
        elif path.suffix == ".csv":
            with open(path, encoding="utf-8", newline="") as file:
                rows = list(csv.DictReader(file))
            left[name] = [{**row, "seconds": None} for row in rows]
        elif path.is_file():
            left[name] = path.read_bytes()
    return left


def kill_once(out: Path, moment: float, *, writing: bool) -> tuple[bool, bool]:
    """Start a run and kill it after `moment` seconds, or at the next write after that.

    Returns whether it was still running, and whether a file was half-written.
    """
    process = start(*RUN, "--out", out)
    time.sleep(moment)
    over = os.WEXITED | os.WNOHANG | os.WNOWAIT
    while writing and not list(out.rglob("*.part")):
        if os.waitid(os.P_PID, process, over):
            break
    os.kill(process, signal.SIGKILL)
    killed = finish(process) == -signal.SIGKILL
    return killed, bool(list(out.rglob("*.part")))


def kill_runs(count: int, seed: int = 0) -> dict[str, Any]:
    """Kill `count` runs and resume them -> figures.

    AssertionError unless each ends as the undisturbed run does, bit for bit.
    """
    load("digits")  # so that no forked process has to import scikit-learn
    figures: dict[str, Any] = {"kills": 0, "writing": 0, "early": 0, "epochs": EPOCHS}
    rng, started = random.Random(seed), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        straight = Path(folder, "straight")
        assert finish(start(*RUN, "--out", straight)) == 0
        length = time.perf_counter() - started
        expected = left_by(straight)
        assert len(expected["history.csv"]) == EPOCHS
        while figures["kills"] < count:
            out = Path(folder, f"run-{rng.random()}")
            moment, at_a_write = rng.uniform(0, 0.9 * length), rng.random() < 0.5
            killed, writing = kill_once(out, moment, writing=at_a_write)
            if not killed:
                length *= 0.9  # the run was faster: the next is killed earlier
                continue
            early = not list(out.glob("checkpoints/epoch-*.pt"))  # nothing to resume
            resume = [] if early else ["--resume"]
            assert finish(start(*RUN, "--out", out, *resume)) == 0, "does not resume"
            left = left_by(out)
            differing = [
                name
                for name in left.keys() | expected.keys()
                if left.get(name) != expected.get(name)
            ]
            assert not differing, f"ends with other {', '.join(differing)}"
            figures["kills"] += 1
            figures["writing"] += writing
            figures["early"] += early
    return figures | {"kill_seconds": time.perf_counter() - started}
