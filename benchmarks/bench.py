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
from ganlib.train import new_state, train_epoch

ROUNDS, BATCHES = 7, 100
NAMES = "textbook", "mnist", "mnist-long", "fashion-mnist"  # recipes; all on MNIST, whose images have the same shape
RESULTS = Path(__file__).with_name("RESULTS.md")


def ganlib_rate(state, pixels):
    """Images/s of ganlib's own epoch over the first BATCHES batches of images."""
    part = pixels[: BATCHES * state.config.batch_size]
    started = time.perf_counter()
    train_epoch(state, part)
    return len(part) / (time.perf_counter() - started)


def main():
    torch.manual_seed(0)
    pixels = load("mnist", fallback=False).pixels
    states = {name: new_state(recipe(name)) for name in NAMES}
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
    """{loop: images/s of each round} -> the text of RESULTS.md."""
    base = rates["textbook loop"]
    rows = []
    for name, values in rates.items():
        ratio = statistics.median(value / other for value, other in zip(values, base, strict=True))
        rate = statistics.median(values)
        rows.append(f"| {name} | {rate:,.0f} | {60_000 / rate:.1f} | {ratio:.2f} |")
    machine = f"{platform.machine()}, {torch.get_num_threads()} threads"
    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    return f"""# Benchmarks

Written by `make bench` on {date.today()}: {machine}, {versions}.

MLP GAN (64-256-256-784) on MNIST. {ROUNDS} rounds of {BATCHES} batches of 100, the loops taking turns in one
process; medians, and the median of the ratios round by round. The textbook loop loads one PIL image at a time, uses
BCELoss on a sigmoid and reads both losses at each step (`benchmarks/textbook.py`). The recipe `mnist` adds dropout
and an averaged G, `mnist-long` the average alone, `fashion-mnist` the average, BatchNorm in G and a penalty on D.

| loop | images/s | seconds per epoch | times the textbook loop |
| --- | ---: | ---: | ---: |
{chr(10).join(rows)}
"""


if __name__ == "__main__":
    main()
