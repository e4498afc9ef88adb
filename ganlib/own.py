"""Pictures of your own: what to train on them, where to start, and when to stop.

`python -m ganlib train own --dataset folder:PATH` does what `plan_for` plans.
"""

from collections.abc import Sequence
from statistics import median
from typing import Any

from torch import Tensor

from ganlib.checkpoint import load_generator
from ganlib.config import Config, replace
from ganlib.errors import GanlibError
from ganlib.metrics import (
    extract_features,
    kernel_distance,
    load_feature_extractor,
    subsample,
)
from ganlib.sampling import sample_pixels
from ganlib.stopping import hold_out
from ganlib.transfer import ALONE

LEAST = 50  # pictures; with fewer the held-out ones say nothing
SIZES = 64, 32  # of a side, the larger where the pictures have it
FEW = 5_000  # pictures below which D sees them changed
SAMPLES = 500  # by which a start is chosen
STARTS = "faces", "avatars"  # shipped networks to start from

OWN = Config(
    recipe="own",
    dataset="folder:PATH",
    architecture="resize-conv",
    epochs=1_000,
    batch_size=32,
    latent_dim=100,
    base_channels=32,
    channels=3,
    image_size=64,
    learning_rate_g=3e-4,
    learning_rate_d=3e-4,
    beta1=0.0,
    beta2=0.99,
    r1_weight=0.5,
    ema_decay=0.998,
    channels_last=True,
)


# What is trained


def size_for(sizes: Sequence[tuple[int, int]]) -> tuple[int, str]:
    """(width, height) of all pictures -> the side to train at, and why.

    The larger of SIZES that the smaller side of at least half of them has.
    """
    shorter = [min(size) for size in sizes]
    middle = median(shorter)
    side = next((one for one in SIZES if middle >= one), SIZES[-1])
    why = f"of half of them the shorter side has {middle:.0f} pixels or more"
    if len(set(sizes)) == 1:
        why = f"they are {sizes[0][0]}x{sizes[0][1]}"
    sentence = f"Images are {side}x{side}, since {why}; a long side is cut to a square."
    small = sum(one < side for one in shorter)
    if small:
        sentence += f" {small:,} of {len(sizes):,} are smaller and are enlarged."
    return side, sentence


def without_duplicates(pixels: Tensor) -> Tensor:
    """Bytes (N, C, H, W) -> the first of those that are equal, in their order."""
    first: dict[bytes, int] = {}
    for index, image in enumerate(pixels):
        first.setdefault(image.numpy().tobytes(), index)
    return pixels[list(first.values())]


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
    sentences = []
    chosen: dict[str, Any] = {"dataset": dataset, "image_size": side}
    chosen["channels"] = channels
    if channels == 1:
        sentences.append("All pictures are grey, so images have 1 channel.")
    else:
        grey = (pixels == pixels[:, :1]).flatten(1).all(dim=1).sum().item()
        sentences.append(
            "Images have 3 channels, for colours."
            + (f" {grey:,} pictures are grey, and stay so." if grey else "")
        )
    learned = len(hold_out(pixels)[0])
    chosen["batch_size"] = OWN.batch_size if learned < 2_000 else 64
    sentences.append(
        f"{count - learned:,} pictures are held out, to say when to stop; "
        f"{learned:,} are learned from, {chosen['batch_size']} a step."
    )
    if learned < FEW:
        chosen |= {"augment_shift": side // 8, "augment_cutout": 0.5}
        chosen |= {"augment_color": True}
        sentences.append(
            "They are few, so D sees all images, real and generated, shifted, in "
            "changed colours and with a hole: else it soon knows them by heart."
        )
    return replace(OWN, **chosen | changes), sentences


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
