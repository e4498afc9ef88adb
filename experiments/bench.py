"""Measure ganlib's training loop beside the textbook loop, taking turns in one process, and write RESULTS.md."""

import platform
import statistics
import tempfile
import time
from datetime import date
from pathlib import Path

import textbook
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from ganlib.data.avatars import draw
from ganlib.recipes import recipe
from ganlib.config import replace
from ganlib.data import load
from ganlib.training import fit, new_state, products

ROUNDS, MLP_BATCHES, DCGAN_BATCHES = 7, 100, 5
RESULTS = Path(__file__).with_name("RESULTS.md")
MEDIUM, HALF = {"matmul_precision": "medium"}, {"bfloat16": True}
MLPS = {  # all on MNIST, whose images have the shape of Fashion-MNIST's
    "recipe textbook": recipe("textbook"),
    "recipe textbook, medium": recipe("textbook", **MEDIUM),
    "recipe textbook, bfloat16": recipe("textbook", **HALF),
    "recipe mnist": recipe("mnist"),
    "recipe mnist, medium": recipe("mnist", **MEDIUM),
    "recipe mnist-long": recipe("mnist-long"),
    "recipe fashion-mnist": recipe("fashion-mnist", dataset="mnist"),
    "recipe mnist-speedrun (medium)": recipe("mnist-speedrun"),
    "recipe mnist-speedrun, bfloat16": recipe("mnist-speedrun", **HALF),
}
WIDTH = {"hidden_dim": 64, "shift": 0, "mirror": False, "ema_decay": 0.0, "real_label": 1.0, "channels_last": False}
DCGANS = {
    "the textbook's recipe": recipe("faces", **WIDTH),
    "the same, channels last": recipe("faces", **WIDTH | {"channels_last": True}),
    "the same, channels last, bfloat16": recipe("faces", **WIDTH | HALF | {"channels_last": True}),
}


def ganlib_loop(config, pixels, batches):
    """Config -> a function that runs one more epoch of ganlib's loop over the first batches and gives images/s."""
    part = pixels[: batches * config.batch_size]
    epochs = fit(new_state(replace(config, epochs=100_000)), part)

    def rate():
        started = time.perf_counter()
        next(epochs)
        return len(part) / (time.perf_counter() - started)

    return rate


def train_step(loops, rounds=ROUNDS):
    """{name: function that gives images/s} -> {name: a list of them}, every loop once a round; the first warms up."""
    rates = [[loop() for loop in loops.values()] for _ in range(rounds + 1)][1:]
    return dict(zip(loops, map(list, zip(*rates, strict=True)), strict=True))


def matmul_peak(dtype, precision="highest", size=2048):
    """The most floating-point operations a second that products of square matrices reach here, and one product."""
    torch.manual_seed(0)
    a, b = (torch.randn(size, size).to(dtype) for _ in range(2))
    times = []
    with products(precision):
        for _ in range(12):
            started = time.perf_counter()
            product = a @ b
            times.append(time.perf_counter() - started)
    return 2 * size**3 / min(times), product


def measure_peaks():
    """Operations a second of products -> {"default": torch's own in float32, "float32": the best, "bfloat16"}.

    With the precision "medium" torch may ask another library, which counts as float32 where its product is as exact.
    """
    (default, exact), (medium, product) = (matmul_peak(torch.float32, name) for name in ("highest", "medium"))
    alike = (product - exact).abs().max() < 1e-5 * exact.abs().max()
    best = max(default, medium) if alike else default
    return {"default": default, "float32": best, "bfloat16": matmul_peak(torch.bfloat16)[0]}


def operations(work, images):
    """Floating-point operations an image, counted by torch while `work` runs over that many images."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops() / images


def bench_mlp():
    """The textbook loop and every recipe of linear layers, on MNIST -> rates, operations an image of float32."""
    pixels = load("mnist", fallback=False).pixels
    loop, batches = textbook.Loop(textbook.Mlps(), textbook.MLP), textbook.Mnist()
    loops = {"textbook loop": lambda: loop.epoch(batches, MLP_BATCHES)}
    loops |= {f"ganlib, {name}": ganlib_loop(config, pixels, MLP_BATCHES) for name, config in MLPS.items()}
    rates = train_step(loops)
    counts = {"textbook loop": operations(lambda: loop.epoch(batches, 1), 100)}
    for name, config in MLPS.items():
        config = replace(config, penalty=0.0)  # torch's counter stops at a gradient of a gradient
        counts[f"ganlib, {name}"] = operations(ganlib_loop(config, pixels, 1), config.batch_size)
    return rates, counts


def bench_dcgan(folder):
    """The textbook loop on pictures in `folder`, and ganlib's on the same as bytes -> rates, operations an image."""
    pixels, _ = draw(DCGAN_BATCHES * textbook.DCGAN["batch_size"], seed=0)
    write_pictures(pixels, folder)
    loop, batches = textbook.Loop(textbook.Dcgans(), textbook.DCGAN), textbook.Pictures(folder)
    loops = {"textbook loop": lambda: loop.epoch(batches)}
    loops |= {f"ganlib, {name}": ganlib_loop(config, pixels, DCGAN_BATCHES) for name, config in DCGANS.items()}
    rates = train_step(loops)
    counts = {"textbook loop": operations(lambda: loop.epoch([torch.zeros(64, 3, 64, 64)]), 64)}
    for name, config in DCGANS.items():
        counts[f"ganlib, {name}"] = operations(ganlib_loop(config, pixels, 1), config.batch_size)
    return rates, counts


def write_pictures(pixels, folder):
    """Bytes (N, 3, 64, 64) -> JPEG files of 178x218, the size of CelebA's, in a folder of the one class "faces"."""
    place = Path(folder) / "faces"
    place.mkdir()
    for number, image in enumerate(pixels.permute(0, 2, 3, 1).numpy()):
        Image.fromarray(image).resize((178, 218)).save(place / f"{number:05}.jpg")


def render(title, rates, counts, peak, epoch):
    """Rates and operations of the loops on one kind of network -> lines of a table of RESULTS.md."""
    base, lines = rates["textbook loop"], [f"## {title}", ""]
    lines += [f"| loop | images/s | seconds per {epoch:,} images | times the textbook loop | share of the peak |"]
    lines += ["| --- | ---: | ---: | ---: | ---: |"]
    for name, values in rates.items():
        ratio = statistics.median(value / other for value, other in zip(values, base, strict=True))
        rate = statistics.median(values)
        share = rate * counts[name] / peak
        lines.append(f"| {name} | {rate:,.0f} | {epoch / rate:.1f} | {ratio:.2f} | {share:.0%} |")
    return lines


def main():
    torch.manual_seed(0)
    peaks = measure_peaks()
    mlp = render("MLP GAN, 64-256-256-784, on MNIST", *bench_mlp(), peaks["float32"], 60_000)
    with tempfile.TemporaryDirectory() as folder:
        dcgan = render("DCGAN, 64x64, width 64", *bench_dcgan(folder), peaks["float32"], 4_330)
    machine = f"{platform.machine()} with {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads"
    report = "\n".join([INTRODUCTION.format(
        date=date.today(), machine=machine, rounds=ROUNDS,
        versions=f"Python {platform.python_version()}, torch {torch.__version__}", mlp_batches=MLP_BATCHES,
        dcgan_batches=DCGAN_BATCHES, **{name: peak / 1e9 for name, peak in peaks.items()},
    ), *mlp, "", *dcgan, ""])  # fmt: skip
    RESULTS.write_text(report)
    print(report)


INTRODUCTION = """# Benchmarks

Written by `make bench` on {date}: {machine}, {versions}.

{rounds} rounds, the loops taking turns in one process; medians, and the median of the ratios round by round. A
round of the MLP GAN is {mlp_batches} batches, of the DCGAN {dcgan_batches}. The textbook loop
(`benchmarks/textbook.py`) opens one picture at a time, uses BCELoss on a sigmoid, lets D collect gradients in G's
turn and reads both losses at each step. "Medium" is the precision of matrix products that lets torch take another
library for them. Products of 2048x2048 matrices reach {default:,.0f} billion operations a second here as torch takes
them by default, {float32:,.0f} in float32 at best and {bfloat16:,.0f} in bfloat16. Shares are of the best in float32,
with the operations that each loop itself needs for an image; those of a penalty are not counted.
"""

if __name__ == "__main__":
    main()
