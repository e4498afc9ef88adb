"""Kill runs at random moments, feed the readers broken files, and write what came of it to book/reliability.md."""

import csv
import hashlib
import os
import platform
import random
import signal
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import torch
import torchvision.utils  # noqa: F401  here, so that no forked process has to import it
from broken_files import READERS, start_fuzzing

from ganlib.cli import main as ganlib
from ganlib.checkpoint import load_checkpoint
from ganlib.data import load
from ganlib.runs import KEPT

KILLS, INPUTS, SECONDS = 50, 22_000, 600
EPOCHS = 5
RUN = "train", "mnist", "--dataset", "digits", "--device", "cpu", "--batch-size", "600", "--epochs", str(EPOCHS)
PAGE = Path(__file__).parents[1] / "book" / "reliability.md"
TEMPLATE = Path(__file__).with_name("reliability.template.md")


def start(*arguments):
    """`python -m ganlib` with these arguments in a process of its own, forked so that nothing is imported again."""
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        ganlib([str(argument) for argument in arguments])
        status = 0
    except SystemExit as end:
        status = end.code
    finally:
        os._exit(status)


def finish(process):
    """Wait for a process -> its exit status, negative if a signal ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def left_by(out):
    """Everything that a finished run left in the folder `out`, but for the seconds, as one comparable value."""
    with open(out / "history.csv", newline="") as file:
        rows = [{name: row[name] for name in row if name != "seconds"} for row in csv.DictReader(file)]
    names = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    pictures = [path.read_bytes() for path in sorted(out.glob("samples/*.png"))]
    state, sums = load_checkpoint(out / "checkpoints" / f"epoch-{EPOCHS:04d}.pt"), []
    for part in (state.G, state.D, state.G_ema):
        sums += [digest(value) for value in part.state_dict().values()]
    for optimizer in (state.optimizer_g, state.optimizer_d):
        sums += [digest(value) for one in optimizer.state.values() for _, value in sorted(one.items())]
    return rows, names, pictures, sums, (out / "generator.pt").read_bytes()


def digest(tensor):
    return hashlib.sha256(tensor.numpy().tobytes()).hexdigest()


def kill_once(out, moment, writing):
    """Start a run, kill it at this moment, or at the next write after it -> was it still running, was it writing?"""
    process = start(*RUN, "--out", out)
    time.sleep(moment)
    over = os.WEXITED | os.WNOHANG | os.WNOWAIT
    while writing and not list(out.rglob("*.part")) and not os.waitid(os.P_PID, process, over):
        pass
    os.kill(process, signal.SIGKILL)
    return finish(process) == -signal.SIGKILL, bool(list(out.rglob("*.part")))


def kill_runs(count, seed=0):
    """Kill `count` runs; each must resume and end as the undisturbed one did -> figures. AssertionError if not."""
    load("digits")  # so that no forked process has to import scikit-learn
    figures = {"kills": 0, "writing": 0, "early": 0, "epochs": EPOCHS}
    rng, started = random.Random(seed), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        straight = Path(folder, "straight")
        assert finish(start(*RUN, "--out", straight)) == 0
        expected, length = left_by(straight), time.perf_counter() - started
        assert [row["epoch"] for row in expected[0]] == [str(epoch + 1) for epoch in range(EPOCHS)]
        while figures["kills"] < count:
            out = Path(folder, f"run-{rng.random()}")
            killed, writing = kill_once(out, rng.uniform(0, 0.9 * length), writing=rng.random() < 0.5)
            if not killed:
                length *= 0.9  # it was faster than its killer, who comes earlier from now on
                continue
            early = not list(out.glob("checkpoints/epoch-*.pt"))  # nothing to resume: started again, same folder
            assert finish(start(*RUN, "--out", out, *["--resume"] * (not early))) == 0, "does not resume"
            assert left_by(out) == expected, "ends as another run"
            figures["kills"] += 1
            figures["writing"] += writing
            figures["early"] += early
    return figures | {"kill_seconds": time.perf_counter() - started}


def render(figures):
    """Figures -> the page book/reliability.md."""
    rows = [
        f"| {READERS[name].title} | {tried:,} | {refused:,} | {tried - refused:,} | {READERS[name].accepted} |"
        for name, (tried, refused) in figures["readers"].items()
    ]
    machine = f"a machine with {os.cpu_count()} {platform.machine()} cores, {platform.system()}"
    versions = f"Python {platform.python_version()}, torch {torch.__version__.split('+')[0]}"
    facts = figures | {"rows": "\n".join(rows), "date": date.today(), "machine": f"{machine}, {versions}", "kept": KEPT}
    return TEMPLATE.read_text().format(**facts)


def main():
    torch.set_num_threads(1)
    fuzzed = start_fuzzing(INPUTS, SECONDS)  # beside the killed runs, in a process of its own
    figures = kill_runs(KILLS) | fuzzed()
    print(figures)
    if figures["failures"] or figures["tried"] < 20_000:
        sys.exit("The page was not written.")
    PAGE.write_text(render(figures))


if __name__ == "__main__":
    main()
