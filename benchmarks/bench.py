"""Measure ganlib's training loop beside the textbook loop, taking turns in one process, and write RESULTS.md."""

import platform
import statistics
import time
from datetime import date
from pathlib import Path

import textbook
import torch

from ganlib.config import recipe
from ganlib.data import load
from ganlib.pixels import normalize
from ganlib.train import new_state, take_turns

ROUNDS, BATCHES = 7, 100
RESULTS = Path(__file__).with_name("RESULTS.md")


def ganlib_rate(state, pixels):
    """Images/s of ganlib's loop over BATCHES batches."""
    started = time.perf_counter()
    sums = torch.zeros(5)
    for index in torch.randperm(len(pixels))[: BATCHES * state.config.batch_size].split(state.config.batch_size):
        sums += take_turns(state, normalize(pixels[index]))
    _ = sums.tolist()
    return BATCHES * state.config.batch_size / (time.perf_counter() - started)


def main():
    torch.manual_seed(0)
    pixels = load("mnist", fallback=False).pixels
    states = {name: new_state(recipe(name)) for name in ("textbook", "mnist")}
    prepared = textbook.prepare()
    rates = {"textbook loop": [], **{f"ganlib, recipe {name}": [] for name in states}}
    for turn in range(ROUNDS + 1):
        measured = [textbook.epoch(*prepared, most_batches=BATCHES)]
        measured += [ganlib_rate(state, pixels) for state in states.values()]
        if turn:  # the first round warms up
            for name, rate in zip(rates, measured, strict=True):
                rates[name].append(rate)
    report = render(rates)
    RESULTS.write_text(report)
    print(report)


def render(rates):
    base = rates["textbook loop"]
    rows = [
        f"| {name} | {statistics.median(values):,.0f} | {60_000 / statistics.median(values):.1f} | "
        f"{statistics.median(value / other for value, other in zip(values, base, strict=True)):.2f} |"
        for name, values in rates.items()
    ]
    machine = f"{torch.get_num_threads()} threads on {platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}"
    return "\n".join(
        [
            "# Benchmarks", "",
            f"Written by `make bench` on {date.today()}: {machine}.", "",
            f"MLP GAN (64-256-256-784) on MNIST, {ROUNDS} rounds of {BATCHES} batches of 100, taking turns in one process; medians.", "",
            "| loop | images/s | seconds per epoch | times the textbook loop |", "| --- | ---: | ---: | ---: |", *rows, "",
        ]
    )  # fmt: skip


if __name__ == "__main__":
    main()
