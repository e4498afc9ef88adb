"""What only a GPU can show, in one script of under 8 minutes.

    GANLIB_DATA=FOLDER python -m experiments.gpu_check --out gpu.json
    python -m experiments.gpu_check --device cpu --tiny --out cpu.json

First small runs that have to agree with the CPU: steps, samples, scores, checkpoints.
Then images per second and memory of the textbook loop and of ours, the seconds that a
recipe takes to a quality, and faces at full width. What is hoped for of CUDA graphs: 30
times the textbook loop for the MLP, 3 times for images of 64x64. It writes a json and, beside it, a
table; both after every part, so that a part that fails takes nothing with it.

FOLDER is a torchvision data root with MNIST, and CelebA if at hand; what needs data that
is not there is left out. Beside torch and torchvision it needs ganlib, matplotlib,
safetensors, torchmetrics and tqdm: for a machine without a network,
`pip install --target PACKAGES --no-deps` puts them into a folder that travels, for
PYTHONPATH. Repository, data and packages fit into 64 MiB.
"""

import argparse
import json
import math
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from experiments import bench
from experiments.textbook_loop import (
    DCGAN,
    MLP,
    Mnist,
    Pictures,
    TextbookLoop,
    dcgans,
    mlps,
)
from ganlib import accelerate, training
from ganlib.checkpoint import (
    load_checkpoint,
    load_generator,
    save_checkpoint,
    save_generator,
)
from ganlib.config import Config, replace
from ganlib.data import load
from ganlib.data.avatars import draw
from ganlib.data.transforms import normalize
from ganlib.errors import GanlibError
from ganlib.files import write_atomic
from ganlib.metrics import (
    extract_features,
    frechet_distance,
    load_classifier,
    load_feature_extractor,
    score,
    subsample,
)
from ganlib.recipes import recipe
from ganlib.sampling import sample_images, sample_noise, sample_pixels
from ganlib.training import (
    Record,
    TrainState,
    discriminator_step,
    generator_step,
    new_state,
    r1_step,
    train_step,
)

MINUTES = 8
GOALS = 226, 100, 60  # Fréchet distances; the first is that of 200 textbook epochs
FACES_GOALS = 20, 11  # the second is that of the faces that ship
TINY = {"batch_size": 4, "hidden_dim": 8, "base_channels": 2}
NETWORKS = {  # what is timed: ours, the textbook's networks, and its settings
    "MLP 28x28": (recipe("textbook"), mlps, MLP),
    "DCGAN 64x64": (replace(bench.RADFORD, latent_dim=100), dcgans, DCGAN),
    "resize-conv 64x64": (
        recipe("faces", base_channels=64, bfloat16=False, channels_last=False),
        dcgans,
        DCGAN,
    ),
}
SHORT = {"bfloat16": True, "channels_last": True}
GRAPHS = {"compile_step": True}  # on CUDA with its graphs
WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "medium": {"matmul_precision": "medium"},
    "bfloat16": SHORT,
    "compiled": {},  # without graphs, see `epochs_of`
    "CUDA graphs": GRAPHS,
    "CUDA graphs, bfloat16": GRAPHS | SHORT,
}


class Report:
    """What is found, section by section, in a file that is whole after every part."""

    def __init__(self, path: Path, minutes: float = MINUTES, **about: Any) -> None:
        self.path = path
        self.ends = time.monotonic() + 60 * minutes
        self.found: dict[str, Any] = {"about": about}
        self.failed: list[str] = []

    def seconds_left(self) -> float:
        return self.ends - time.monotonic()

    def part(self, section: str, name: str, work: Callable, *arguments: Any) -> None:
        """Run one part and keep what `work` gives, or why it failed."""
        place = self.found.setdefault(section, {})
        if self.seconds_left() <= 0:
            place[name] = "left out: no time was left"
        else:
            try:
                place[name] = work(*arguments)
            except Exception as error:  # the other parts go on
                place[name] = f"{type(error).__name__}: {str(error)[:300]}"
                self.failed.append(f"{section}, {name}")
        print(f"{section} | {name} | {place[name]}", flush=True)
        self.write()

    def write(self) -> None:
        text = json.dumps({**self.found, "failed": self.failed}, indent=1)
        write_atomic(self.path, text.encode())
        write_atomic(self.path.with_suffix(".md"), table(self.found).encode())


def table(found: dict[str, Any]) -> str:
    """Images per second, beside the textbook loop's, as a table in Markdown."""
    lines = ["| Network | Loop | Images/s | Times the textbook loop | GiB |"]
    lines.append("| --- | --- | ---: | ---: | ---: |")
    for section, ways in found.items():
        if not section.startswith("speed of "):
            continue
        base = ways.get("textbook loop")
        for way, cell in ways.items():
            cells = [section.removeprefix("speed of "), way, str(cell), "", ""]
            if isinstance(cell, dict):
                cells[2] = f"{cell['images_per_second']:,.0f}"
                if isinstance(base, dict):
                    times = cell["images_per_second"] / base["images_per_second"]
                    cells[3] = f"{times:.2f}"
                if cell["gib"] is not None:
                    cells[4] = f"{cell['gib']:.2f}"
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def noise_pixels(count: int, shape: tuple[int, int, int]) -> Tensor:
    """Bytes (count, C, H, W) of noise: what a step costs does not depend on images."""
    source = torch.Generator().manual_seed(0)
    shape_of_all = (count, *shape)
    return torch.randint(
        256, shape_of_all, dtype=torch.uint8, generator=source, device="cpu"
    )


def wait(device: str) -> None:
    """Until the device has done all that it was given."""
    if device != "cpu":
        torch.accelerator.synchronize()


# Checks: small runs on the device and on the CPU. Each gives what it has compared, and
# raises AssertionError where that is too far off.

SMALL = {"hidden_dim": 32, "latent_dim": 8}
CONVOLUTIONAL = {"image_size": 16, "base_channels": 8, "latent_dim": 8, "channels": 3}
CHECKED = {
    "mlp": SMALL,
    "batchnorm-mlp": SMALL,
    "dcgan": CONVOLUTIONAL,
    "resize-conv": CONVOLUTIONAL,
    "pixel-shuffle": {**SMALL, "base_channels": 8},
}


def config_of(architecture: str, **fields: Any) -> Config:
    rates = {"learning_rate_g": 1e-3, "learning_rate_d": 1e-3, "ema_decay": 0.9}
    fixed: dict[str, Any] = {"epochs": 1, "batch_size": 20}
    return Config(
        architecture=architecture,
        **fixed | rates | CHECKED[architecture] | fields,
    )


def largest(one: nn.Module, other: nn.Module) -> float:
    """The largest difference between weights of two networks."""
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return max((a.cpu() - b.cpu()).abs().max().item() for a, b in pairs)


def agree(value: float, most: float) -> float:
    """`value` itself; AssertionError if it is above `most`, or no number."""
    assert value <= most, f"{value:.3g} is above {most:g}"
    return value


def check_steps(architecture: str, device: str) -> dict[str, float]:
    """The same step of D, of G and of the penalty, from the same noise."""
    config = config_of(architecture)
    here, there = new_state(config, "cpu"), new_state(config, device)
    real = normalize(noise_pixels(20, config.image_shape))
    losses = []
    for state in (here, there):
        place = next(state.G.parameters()).device
        z = sample_noise(20, config.latent_dim, seed=1).to(place)
        images = real.to(place)
        d_loss, *_ = discriminator_step(state.G, state.D, state.optimizer_d, images, z)
        g_loss, _ = generator_step(state.G, state.D, state.optimizer_g, z)
        penalty = torch.zeros((), device=place)
        if architecture != "dcgan":
            penalty = r1_step(state.D, state.optimizer_d, images, weight=1.0)
        losses.append(torch.stack([d_loss, g_loss, penalty]).cpu())
    away = float((losses[0] - losses[1]).abs().max())
    return {"losses": agree(away, 1e-2), "weights of G": largest(here.G, there.G)}


def check_sampling(architecture: str, device: str) -> dict[str, float]:
    """The same weights and noise give the same images, seeded statistics included."""
    config = config_of(architecture)
    state = new_state(config, device)
    list(training.fit(state, noise_pixels(100, config.image_shape)))
    G = state.sampling_generator
    z = sample_noise(16, config.latent_dim, seed=0)
    images = sample_images(G, z).cpu()
    on_cpu = sample_images(deepcopy(G).cpu(), z)
    return {"images": agree(float((images - on_cpu).abs().max()), 1e-2)}


def check_scores(device: str) -> dict[str, Any]:
    """The scores of the same images, with the features of the CPU and of the device."""
    real, other = noise_pixels(2400, (1, 28, 28)).split(1200)
    network = load_classifier("mnist")
    on_cpu = score(network, real, other - other // 4)
    images = real.to(device), (other - other // 4).to(device)
    on_device = score(network.to(device), *images)
    away = abs(on_device.frechet / on_cpu.frechet - 1)
    assert on_device.classes == on_cpu.classes
    return {
        "relative": agree(away, 1e-2),
        "frechet": [on_cpu.frechet, on_device.frechet],
    }


def check_checkpoint(architecture: str, device: str) -> dict[str, float]:
    """Stopped and resumed is not stopped; what one device saved, the other goes on with."""
    config = config_of(architecture, epochs=3)
    pixels = noise_pixels(100, config.image_shape)
    straight = new_state(config, device)
    list(training.fit(straight, pixels))
    state = new_state(replace(config, epochs=2), device)
    list(training.fit(state, pixels))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "checkpoint.pt")
        save_checkpoint(state, path)
        on_cpu = load_checkpoint(path, "cpu", epochs=3)
        again = load_checkpoint(path, device, epochs=3)
        generator = Path(folder, "G.safetensors")
        save_generator(state.G, config, generator)
        loaded, _ = load_generator(generator)
    found = {
        "loaded on the CPU": agree(largest(on_cpu.G, state.G), 0),
        "loaded generator": agree(largest(loaded, state.G), 0),
    }
    list(training.fit(again, pixels))
    (record,) = training.fit(on_cpu, pixels)
    assert all(map(math.isfinite, record))
    # No sum on a GPU promises its order, and training amplifies the last bit.
    found["resumed"] = agree(largest(again.G, straight.G), 1e-2)
    return found


def check_way(architecture: str, way: str, device: str) -> list[float]:
    """An epoch with all augmentations, and the penalties where the network has them."""
    penalties = {"r1_weight": 1.0, "r2_weight": 1.0}
    config = config_of(
        architecture,
        random_flip=True,
        augment_shift=2,
        augment_color=True,
        augment_cutout=0.25,
        **{} if architecture == "dcgan" else penalties,
    )
    pixels = noise_pixels(100, config.image_shape)
    (record,) = epochs_of(way, config, pixels, device)
    return [record.d_loss, record.g_loss]


# Speed


def epochs_of(
    way: str, config: Config, pixels: Tensor, device: str
) -> Iterator[Record]:
    """The epochs of a run, in one of WAYS."""
    state = new_state(replace(config, **WAYS[way]), device)
    if way != "compiled":
        return accelerate.fit(state, pixels)
    torch.compiler.reset()
    turn = torch.compile(train_step, dynamic=False, options={"fallback_random": True})
    return training.fit(state, pixels, turn=turn)


def measure(epoch: Callable[[], float], device: str, rounds: int) -> dict[str, Any]:
    """The median images/s of `rounds` epochs after two that warm up, and the memory."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    rates = [epoch() for _ in range(rounds + 2)][2:]
    gib = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else None
    return {"images_per_second": statistics.median(rates), "gib": gib}


def measure_way(
    way: str, config: Config, pixels: Tensor, device: str, rounds: int
) -> dict[str, Any]:
    epochs = epochs_of(way, replace(config, epochs=100_000), pixels.to(device), device)

    def epoch() -> float:
        started = time.perf_counter()
        next(epochs)
        wait(device)
        return len(pixels) / (time.perf_counter() - started)

    return measure(epoch, device, rounds)


def measure_speed(report: Report, device: str, *, tiny: bool) -> None:
    """Every network in every way; the textbook loop with images in memory comes first.

    Then, with its own way of opening one picture at a time, as that tutorial runs it.
    """
    steps, rounds = (2, 1) if tiny else (60, 3)
    for name, (config, networks, settings) in NETWORKS.items():
        if tiny:
            config, settings = shrunk(config), settings | TINY
        section = f"speed of {name}"
        pixels = noise_pixels(steps * config.batch_size, config.image_shape)
        images = normalize(pixels).split(config.batch_size)
        fixed = networks, settings, steps, device, rounds
        report.part(section, "textbook loop", measure_textbook, images, *fixed)
        opening = measure_mnist if networks is mlps else measure_pictures
        if not tiny or networks is dcgans:
            name = "textbook loop, opening pictures"
            report.part(section, name, opening, *fixed)
        for way in ways(tiny):
            report.part(section, way, measure_way, way, config, pixels, device, rounds)


def ways(tiny: bool) -> list[str]:
    """Names of WAYS; without those that compile, which takes minutes, if `tiny`."""
    return ["plain", "bfloat16"] if tiny else list(WAYS)


def measure_textbook(
    batches: Any,
    networks: Callable,
    settings: dict,
    steps: int,
    device: str,
    rounds: int,
) -> dict[str, Any]:
    loop = TextbookLoop(*networks(settings), settings, device=device)
    return measure(lambda: loop.epoch(batches, steps), device, rounds)


def measure_mnist(*fixed: Any) -> dict[str, Any]:
    return measure_textbook(Mnist(), *fixed)


def measure_pictures(
    networks: Callable, settings: dict, steps: int, device: str, rounds: int
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        bench.write_pictures(draw(steps * settings["batch_size"])[0], folder)
        fixed = networks, settings, steps, device, rounds
        return measure_textbook(Pictures(folder), *fixed)


def shrunk(config: Config) -> Config:
    """The same networks, narrower, on few images."""
    width = "hidden_dim" if "mlp" in config.architecture else "base_channels"
    return replace(config, batch_size=TINY["batch_size"], **{width: TINY[width]})


# Quality


def distance_to(
    dataset: str, real: Tensor, device: str
) -> Callable[[TrainState], float]:
    """A function of a run: the Fréchet distance of its images to `real`, as bytes."""
    network = load_feature_extractor(dataset).to(device)
    features = extract_features(network, real)

    def distance(state: TrainState) -> float:
        latent_dim = state.config.latent_dim
        images = sample_pixels(state.sampling_generator, latent_dim, count=len(real))
        return frechet_distance(features, extract_features(network, images))

    return distance


def time_to_quality(
    config: Config,
    pixels: Tensor,
    distance: Callable[[TrainState], float],
    device: str,
    goals: tuple[float, ...],
    *,
    seconds: float,
    every: int = 1,
) -> dict[str, Any]:
    """Seconds of training until the distance first falls below each goal.

    Args:
        distance: function of the run.
        seconds: of the clock, scores included, after which no further epoch begins.
        every: epochs from one score to the next; the last is scored too.
    """
    state = new_state(config, device)
    ends, rows = time.monotonic() + seconds, []
    for record in accelerate.fit(state, pixels):
        is_last = record.epoch == config.epochs or time.monotonic() > ends
        if record.epoch % every == 0 or is_last:
            rows.append([record.epoch, record.seconds, distance(state)])
        if is_last:
            break
    reached = {
        str(goal): next((row[1] for row in rows if row[2] <= goal), None)
        for goal in goals
    }
    names = "epoch", "seconds", "distance"
    return {"seconds to": reached, "columns": names, "rows": rows}


def measure_digits(name: str, epochs: int, device: str, tiny: bool) -> dict[str, Any]:
    config = recipe(name, epochs=epochs)
    if tiny:
        config = replace(shrunk(config), epochs=2)
        train = real = noise_pixels(40, config.image_shape)
    else:
        train, real = (
            load("mnist", train=part, fallback=False).pixels for part in (True, False)
        )
    distance = distance_to("mnist", subsample(real, 10_000), device)
    return time_to_quality(config, train, distance, device, GOALS, seconds=60)


def measure_faces(seconds: float, device: str, tiny: bool) -> dict[str, Any]:
    """Of CelebA, or of avatars where there is none."""
    config = recipe("faces", base_channels=64)
    if tiny:
        config = replace(shrunk(config), epochs=2)
        pixels = noise_pixels(40, config.image_shape)
    else:
        try:
            pixels = load("celeba", fallback=False).pixels
        except GanlibError:
            config = recipe("avatars", base_channels=64)
            pixels = load("avatars").pixels
    distance = distance_to(config.dataset, subsample(pixels, 10_000), device)
    found = time_to_quality(
        config, pixels, distance, device, FACES_GOALS, seconds=seconds, every=15
    )
    return {"dataset": config.dataset, **found}


def run(report: Report, device: str, *, tiny: bool) -> None:
    """Every part, the checks first."""
    for architecture in CHECKED:
        for check in (check_steps, check_sampling, check_checkpoint):
            name = f"{check.__name__.removeprefix('check_')} of {architecture}"
            report.part("checks", name, check, architecture, device)
        for way in ways(tiny):
            name = f"{way}, {architecture}"
            report.part("checks", name, check_way, architecture, way, device)
    report.part("checks", "scores", check_scores, device)
    measure_speed(report, device, tiny=tiny)
    section = "time to quality"
    for name, epochs in (("mnist-speedrun", 12), ("mnist", 17)):
        report.part(section, name, measure_digits, name, epochs, device, tiny)
    left = report.seconds_left() - 20  # what the last score may take
    report.part(section, "faces, 64 channels", measure_faces, left, device, tiny)


def main() -> None:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--device", default="cuda", help="cuda, mps or cpu")
    made.add_argument("--tiny", action="store_true", help="only to test this script")
    made.add_argument("--minutes", type=float, default=MINUTES, help="at most, about")
    made.add_argument("--out", type=Path, required=True, help="the json")
    options = made.parse_args()
    device = options.device
    on_cuda = device == "cuda"
    torch.backends.cudnn.benchmark = on_cuda
    report = Report(
        options.out,
        options.minutes,
        device=torch.cuda.get_device_name() if on_cuda else platform.machine(),
        torch=str(torch.__version__),
        python=platform.python_version(),
        tiny=options.tiny,
    )
    run(report, device, tiny=options.tiny)
    print(table(report.found))
    if report.failed:
        sys.exit(f"Failed: {'; '.join(report.failed)}.")


if __name__ == "__main__":
    main()
