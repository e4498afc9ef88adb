"""Measure ganlib's loop beside the textbook loop, taking turns in one process.

    python -m experiments.bench

Writes experiments/RESULTS.md.
"""

import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from experiments import textbook_loop
from experiments.common import machine, parser, provenance
from ganlib import accelerate
from ganlib.accelerate import matmul_precision, multiplies_bfloat16
from ganlib.config import Config, replace
from ganlib.data import load
from ganlib.data.avatars import draw
from ganlib.files import write_atomic
from ganlib.recipes import recipe
from ganlib.training import new_state

ROUNDS = 7
MLP_BATCHES = 100
DCGAN_BATCHES = 5
RESULTS = Path(__file__).with_name("RESULTS.md")
MEDIUM = {"matmul_precision": "medium"}
HALF = {"bfloat16": True}
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
RADFORD = recipe(
    "faces-dcgan",
    base_channels=64,
    augment_shift=0,
    random_flip=False,
    ema_decay=0.0,
    real_label=1.0,
    channels_last=False,
)
DCGANS = {
    "the textbook's recipe": RADFORD,
    "the same, channels last": replace(RADFORD, channels_last=True),
    "the same, channels last, bfloat16": replace(RADFORD, channels_last=True, **HALF),
}
Loops = dict[str, Callable[[], float]]  # functions that give images/s
Rates = dict[str, list[float]]


def ganlib_loop(config: Config, pixels: Tensor, batches: int) -> Callable[[], float]:
    """A function that runs one more epoch of the first batches and gives images/s."""
    part = pixels[: batches * config.batch_size]
    state = new_state(replace(config, epochs=100_000))
    epochs = accelerate.fit(state, part)

    def rate() -> float:
        started = time.perf_counter()
        next(epochs)
        return len(part) / (time.perf_counter() - started)

    return rate


def take_turns(loops: Loops, rounds: int = ROUNDS) -> Rates:
    """Run every loop once a round -> the images/s of each; the first round warms up."""
    rates: Rates = {name: [] for name in loops}
    for _ in range(rounds + 1):
        for name, loop in loops.items():
            rates[name].append(loop())
    return {name: values[1:] for name, values in rates.items()}


def ratio(values: Iterable[float], others: Iterable[float]) -> float:
    """The median, over rounds, of how many times as fast one loop was as another."""
    pairs = zip(values, others, strict=True)
    return statistics.median(value / other for value, other in pairs)


def matmul_peak(
    dtype: torch.dtype, precision: str = "highest", size: int = 2048
) -> tuple[float, Tensor]:
    """Most floating-point operations a second that products of matrices reach here.

    Returns them and one product of two square matrices, always the same two.
    """
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, size, size, generator=generator).to(dtype)
    times = []
    with matmul_precision(precision):
        for _ in range(12):
            started = time.perf_counter()
            product = a @ b
            times.append(time.perf_counter() - started)
    return 2 * size**3 / min(times), product


def measure_peaks() -> dict[str, float]:
    """Operations a second: torch's own in float32, the best in float32, bfloat16.

    With the precision "medium" torch may ask another library, which counts as float32
    where its product is as exact. Without arithmetic for bfloat16 there is no such peak.
    """
    default, exact = matmul_peak(torch.float32)
    medium, product = matmul_peak(torch.float32, "medium")
    best = default
    if (product - exact).abs().max() < 1e-5 * exact.abs().max():
        best = max(default, medium)
    peaks = {"default": default, "float32": best}
    if multiplies_bfloat16(torch.device("cpu")):
        peaks["bfloat16"], _ = matmul_peak(torch.bfloat16)
    return peaks


def operations(work: Callable[[], object], images: int) -> float:
    """Floating-point operations an image, counted while `work` runs over so many."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops() / images


def usable(configs: dict[str, Config]) -> dict[str, Config]:
    """Those of the configs that this CPU has the arithmetic for."""
    able = multiplies_bfloat16(torch.device("cpu"))
    return {name: one for name, one in configs.items() if able or not one.bfloat16}


def bench_mlp(rounds: int) -> tuple[Rates, dict[str, float]]:
    """The textbook loop and every recipe of linear layers -> rates, operations."""
    pixels = load("mnist", fallback=False).pixels
    loop = textbook_loop.TextbookLoop(*textbook_loop.mlps(), textbook_loop.MLP)
    batches = textbook_loop.Mnist()
    loops: Loops = {"textbook loop": lambda: loop.epoch(batches, MLP_BATCHES)}
    for name, config in usable(MLPS).items():
        loops[f"ganlib, {name}"] = ganlib_loop(config, pixels, MLP_BATCHES)
    rates = take_turns(loops, rounds)
    counts = {"textbook loop": operations(lambda: loop.epoch(batches, 1), 100)}
    for name, config in usable(MLPS).items():
        # torch's counter stops at a gradient of a gradient.
        config = replace(config, r1_weight=0.0)
        once = ganlib_loop(config, pixels, 1)
        counts[f"ganlib, {name}"] = operations(once, config.batch_size)
    return rates, counts


def bench_dcgan(folder: Path | str, rounds: int) -> tuple[Rates, dict[str, float]]:
    """The textbook loop on pictures in `folder`, ganlib's on the same as bytes."""
    pixels, _ = draw(DCGAN_BATCHES * RADFORD.batch_size, seed=0)
    write_pictures(pixels, folder)
    loop = textbook_loop.TextbookLoop(*textbook_loop.dcgans(), textbook_loop.DCGAN)
    batches = textbook_loop.Pictures(folder)
    loops: Loops = {"textbook loop": lambda: loop.epoch(batches)}
    for name, config in usable(DCGANS).items():
        loops[f"ganlib, {name}"] = ganlib_loop(config, pixels, DCGAN_BATCHES)
    rates = take_turns(loops, rounds)
    blank = [torch.zeros(64, 3, 64, 64)]
    counts = {"textbook loop": operations(lambda: loop.epoch(blank), 64)}
    for name, config in usable(DCGANS).items():
        once = ganlib_loop(config, pixels, 1)
        counts[f"ganlib, {name}"] = operations(once, config.batch_size)
    return rates, counts


def write_pictures(pixels: Tensor, folder: Path | str) -> None:
    """Bytes (N, 3, 64, 64) -> JPEG files of 178x218 in a folder of one class.

    That is the size of CelebA's pictures.
    """
    place = Path(folder) / "faces"
    place.mkdir()
    for number, image in enumerate(pixels.permute(0, 2, 3, 1).numpy()):
        picture = Image.fromarray(image).resize((178, 218))
        picture.save(place / f"{number:05}.jpg")


def table(
    title: str, rates: Rates, counts: dict[str, float], peak: float, epoch: int
) -> list[str]:
    """Rates and operations of the loops on one kind of network -> lines of a table."""
    heads = [
        "loop",
        "images/s",
        f"seconds per {epoch:,} images",
        "times the textbook loop",
        "share of the peak",
    ]
    lines = [f"## {title}", "", f"| {' | '.join(heads)} |"]
    lines.append("| --- | ---: | ---: | ---: | ---: |")
    for name, values in rates.items():
        rate = statistics.median(values)
        times = ratio(values, rates["textbook loop"])
        share = rate * counts[name] / peak
        cells = f"{rate:,.0f}", f"{epoch / rate:.1f}", f"{times:.2f}", f"{share:.0%}"
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


INTRODUCTION = """# Benchmarks

<!-- {provenance} -->

Written by `python -m experiments.bench` on {date}: {machine}, Python {python},
torch {torch}.

{rounds} rounds, the loops taking turns in one process; medians, and the median of the
ratios round by round. A round of the MLP GAN is {mlp_batches} batches, of the DCGAN
{dcgan_batches}. The textbook loop (`experiments/textbook_loop.py`) opens one picture at
a time, uses BCELoss on a sigmoid, lets D collect gradients in G's turn and reads both
losses at each step. "Medium" is the precision of matrix products that lets torch take
another library for them. Products of 2048x2048 matrices reach {default:,.0f} billion
operations a second here as torch takes them by default, {float32:,.0f} in float32 at
best{half}. Shares are of the best in float32, with the
operations that each loop itself needs for an image; those of a penalty are not counted.
Where a processor has no arithmetic for bfloat16, there are no rows in it.
"""


def report(rounds: int) -> str:
    """Measure everything -> the text of RESULTS.md."""
    about = provenance("RESULTS.md")
    torch.manual_seed(0)
    peaks = measure_peaks()
    best = peaks["float32"]
    mlp = table("MLP GAN, 64-256-256-784, on MNIST", *bench_mlp(rounds), best, 60_000)
    with tempfile.TemporaryDirectory() as folder:
        dcgan = table(
            "DCGAN, 64x64, 64 channels", *bench_dcgan(folder, rounds), best, 4_330
        )
    half = ""
    if "bfloat16" in peaks:
        half = f" and {peaks.pop('bfloat16') / 1e9:,.0f} in bfloat16"
    introduction = INTRODUCTION.format(
        half=half,
        provenance=json.dumps(about),
        date=about["date"],
        python=platform.python_version(),
        rounds=rounds,
        mlp_batches=MLP_BATCHES,
        dcgan_batches=DCGAN_BATCHES,
        **machine(),
        **{name: peak / 1e9 for name, peak in peaks.items()},
    )
    return "\n".join([introduction, *mlp, "", *dcgan, ""])


def main() -> None:
    made = parser(__doc__)
    made.set_defaults(out=RESULTS)
    made.add_argument("--rounds", type=int, default=ROUNDS)
    options = made.parse_args()
    text = report(options.rounds)
    write_atomic(options.out, text.encode())
    print(text)


if __name__ == "__main__":
    main()
