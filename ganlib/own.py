"""Pictures of your own: what to train on them, where to start, and when to stop.

What `python -m ganlib train own --dataset folder:PATH` chooses, says and keeps.
"""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from ganlib.checkpoint import GENERATOR, load_generator, save_generator
from ganlib.config import Config, replace
from ganlib.errors import GanlibError
from ganlib.files import read_bytes, write_atomic
from ganlib.metrics import (
    extract_features,
    kernel_distance,
    load_feature_extractor,
    subsample,
)
from ganlib.recipes import FACES
from ganlib.sampling import sample_pixels
from ganlib.stopping import Measure, Watch, hold_out
from ganlib.training import TrainState
from ganlib.transfer import ALONE, batches_of_passes

LEAST = 50  # pictures; with fewer the held-out ones say nothing
SIZES = 64, 32  # of a side, the larger where the pictures have it
FEW = 5_000  # pictures below which D sees them changed
SAMPLES = 500  # by which a start is chosen
STARTS = "faces", "avatars"  # shipped networks to start from
EPOCH_STEPS = 100  # at least, from one measurement to the next
BEST = "best.safetensors"  # in the folder of a run
MEASURES = "measures.csv"

OWN = replace(
    FACES,
    recipe="own",
    dataset="folder:PATH",
    epochs=1_000,
    batch_size=32,
    random_flip=False,
    augment_shift=0,
    bfloat16=False,
)


# What is trained


def size_for(
    sizes: Sequence[tuple[int, int]], *, padded: bool = False
) -> tuple[int, str]:
    """(width, height) of all pictures -> the side to train at, and why.

    The larger of SIZES that the smaller side of at least half of them has.

    Args:
        padded: whether all of a picture is kept, and not the square in its middle.
    """
    shorter = [min(size) for size in sizes] or [SIZES[0]]
    middle = median(shorter)
    side = next((one for one in SIZES if middle >= one), SIZES[-1])
    why = f"of half of them the shorter side has {middle:.0f} pixels or more"
    if len(set(sizes)) == 1:
        why = f"they are {sizes[0][0]}x{sizes[0][1]}"
    square = "the whole of it" if padded else "the square in its middle"
    sentence = f"Images are {side}x{side}, since {why}; of each, {square} is taken."
    small = sum(one < side for one in shorter)
    if small:
        sentence += f" {small:,} of {len(sizes):,} are smaller and are enlarged."
    return side, sentence


def without_duplicates(pixels: Tensor) -> Tensor:
    """Bytes (N, C, H, W) -> the first of those that are equal, in their order.

    One of two in the pictures that are learned from and the other among those held out
    would pass for a copy that G made.
    """
    first: dict[bytes, int] = {}
    for index, image in enumerate(pixels):
        first.setdefault(image.numpy().tobytes(), index)
    return pixels if len(first) == len(pixels) else pixels[list(first.values())]


def config_for(
    pixels: Tensor, dataset: str, changes: dict[str, Any]
) -> tuple[Config, list[str]]:
    """The config for pictures (N, C, H, W), and a sentence on each choice.

    Args:
        pixels: all of the pictures, bytes, of the size to train at.
        dataset: "folder:PATH", where they come from.
        changes: fields that were asked for by name; they stay as they are.

    Raises GanlibError if there are fewer pictures than LEAST.
    """
    count, channels, side, _ = pixels.shape
    if count < LEAST:
        raise GanlibError(
            f"There are {count} different pictures in {dataset.partition(':')[2]}; "
            f"{LEAST} are the least to learn from, and some hundreds are better."
        )
    learned = len(hold_out(pixels)[0])
    chosen: dict[str, Any] = {
        "dataset": dataset,
        "image_size": side,
        "channels": channels,
        "batch_size": OWN.batch_size if learned < 2_000 else 64,
    }
    if learned < FEW:
        chosen |= {"augment_shift": side // 8, "augment_cutout": 0.5}
        chosen |= {"augment_color": True}
    config = replace(OWN, **chosen | changes)
    sentences = []
    if channels == 1:
        sentences.append("All pictures are grey, so images have 1 channel.")
    else:
        grey = (pixels == pixels[:, :1]).flatten(1).all(dim=1).sum().item()
        sentences.append(
            "Images have 3 channels, for colours."
            + (f" {grey:,} pictures are grey, and stay so." if grey else "")
        )
    sentences.append(
        f"{count - learned:,} pictures are held out, to say when to stop; "
        f"{learned:,} are learned from, {config.batch_size} a step."
    )
    seen = {
        "shifted": config.augment_shift,
        "in changed colours": config.augment_color,
        "with a hole": config.augment_cutout,
        "half of them mirrored": config.random_flip,
    }
    how = ", ".join(name for name, value in seen.items() if value)
    sentences.append(
        f"D sees all images, real and generated, {how}: of few pictures it soon knows "
        "each by heart."
        if how
        else "D sees all images as they are."
    )
    if not config.random_flip:
        sentences.append(
            "Nothing is mirrored; --set random_flip=true where left and right may be "
            "exchanged."
        )
    return config, sentences


# Where it starts


def nearest_start(config: Config, pixels: Tensor) -> tuple[str | None, str]:
    """The shipped network to start from, by the kernel distance to `pixels`; and why.

    None where no shipped G is of the architecture and the shape of `config`.
    """
    distances = {}
    for name in STARTS:
        G, its = load_generator(name)
        fields = "architecture", "latent_dim", "base_channels", "image_shape", "classes"
        if any(getattr(its, field) != getattr(config, field) for field in fields):
            continue
        extractor = load_feature_extractor(config.dataset)
        samples = sample_pixels(G, config.latent_dim, count=SAMPLES)
        real = extract_features(extractor, subsample(pixels, SAMPLES))
        distances[name] = kernel_distance(real, extract_features(extractor, samples))[0]
    if not distances:
        shape = "x".join(map(str, config.image_shape))
        return None, f"No shipped network draws {shape}, so G starts from noise."
    name = min(distances, key=lambda one: distances[one])
    figures = ", ".join(f"{one} {kid:.0f}" for one, kid in distances.items())
    return name, (
        f"G starts from the shipped network {name}, whose images are nearest to yours "
        f"(kernel distance: {figures}); D, of which none ships, starts anew, and has "
        f"{ALONE} steps alone."
    )


# What is kept


def own_batches(count: int, batch_size: int, device: torch.device) -> Sequence[Tensor]:
    """A sampler for `fit`: an epoch is as many passes as make EPOCH_STEPS steps."""
    return batches_of_passes(count, batch_size, device, EPOCH_STEPS)


def keep_best(state: TrainState, watch: Watch, out: Path) -> Measure:
    """Measure a run; keep its generator in `out`, if it is the best, and the measures.

    In an order in which a kill loses nothing: what is not measured is measured again.
    """
    config, epoch = state.config, len(state.history)
    G = state.sampling_generator
    measure = watch.measure(G, config.latent_dim, epoch)
    if watch.best == measure:
        save_generator(G, config, out / BEST, **measure._asdict())
    text = io.StringIO(newline="")
    csv.writer(text).writerows([Measure._fields, *watch.measures])
    write_atomic(out / MEASURES, text.getvalue().encode())
    return measure


def read_measures(out: Path, epochs: int) -> list[Measure]:
    """The measures of the run in `out` up to an epoch; none where there is no file.

    Raises GanlibError if the file is broken.
    """
    path = out / MEASURES
    if not path.is_file():
        return []
    try:
        rows = list(csv.reader(io.StringIO(read_bytes(path).decode(), newline="")))[1:]
        found = [Measure(int(row[0]), *map(float, row[1:])) for row in rows]
    except (UnicodeDecodeError, ValueError, TypeError, IndexError, csv.Error):
        raise GanlibError(
            f"{path} is broken; remove it, and the run goes on without what it held."
        ) from None
    return [one for one in found if one.epoch <= epochs]


def take_best(out: Path) -> None:
    """Let the generator of the run in `out` be the best one, if one was kept."""
    if (out / BEST).is_file():
        write_atomic(out / GENERATOR, read_bytes(out / BEST))
