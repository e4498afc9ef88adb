"""Pictures of your own: what to train on them, where to start, and when to stop.

What `python -m ganlib train own --dataset folder:PATH` chooses, says and keeps.
"""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from ganlib.checkpoint import GENERATOR, save_generator
from ganlib.config import Config, replace
from ganlib.data import load, picture_sizes
from ganlib.errors import GanlibError
from ganlib.files import read_bytes, write_atomic
from ganlib.metrics import load_feature_extractor
from ganlib.recipes import FACES
from ganlib.stopping import Measure, Watch, hold_out
from ganlib.training import TrainState
from ganlib.transfer import batches_of_passes, fitting_start

LEAST = 50  # pictures; with fewer the held-out ones say nothing
SIZES = 64, 32  # of a side, the larger where the pictures have it
FEW = 5_000  # pictures below which D sees them changed
FROZEN = 1  # of D's layers, where it comes from other images
EPOCH_STEPS = 100  # at least, from one measurement to the next
BEST = "best.safetensors"  # in the folder of a run
MEASURES = "measures.csv"

OWN = replace(
    FACES,
    recipe="own",
    dataset="folder:PATH",
    epochs=1_000,
    image_size=SIZES[-1],
    base_channels=16,
    batch_size=32,
    learning_rate_g=1e-3,
    learning_rate_d=1e-3,
    r1_weight=0.1,
    random_flip=False,
    augment_shift=0,
    bfloat16=False,
)
# What the recipe faces has for larger images.
LARGE = {
    name: getattr(FACES, name)
    for name in ("base_channels", "learning_rate_g", "learning_rate_d", "r1_weight")
}
# Those of DiffAugment (Zhao 2020), at 32x32.
CHANGES = {"augment_shift": 4, "augment_color": True, "augment_cutout": 0.5}


# What is trained


class Plan(NamedTuple):
    """What a run on a folder is made of."""

    config: Config
    training: Tensor  # pictures to learn from, bytes (N, C, H, W)
    held_out: Tensor  # others, by which the run is stopped
    start: str | None  # the name of a start, see transfer.py
    sentences: list[str]  # what was chosen, and why


def plan_for(dataset: str, changes: dict[str, Any], *, slow: bool) -> Plan:
    """Read the pictures of "folder:PATH", and choose how to train on them.

    Args:
        changes: fields of the config that were asked for by name; they stay.
        slow: whether the processor is to train, and not a graphics card.

    Raises GanlibError if the folder cannot be read or has fewer pictures than LEAST.
    """
    sizes, others = picture_sizes(dataset)
    size, sentence = size_for(sizes, padded="square=pad" in dataset, slow=slow)
    if "image_size" in changes:
        size, sentence = changes["image_size"], "The size of images was asked for."
    images = load(dataset, fallback=False, size=size, channels=changes.get("channels"))
    pixels, said = without_duplicates(images.pixels), [sentence]
    if others:
        said.append(f"{others:,} other files are no pictures and are left alone.")
    left_out = len(images.pixels) - len(pixels)
    if left_out:
        said.append(f"{left_out:,} of the pictures repeat others and are left out.")
    config, why = config_for(pixels, dataset, changes)
    config, start, sentence = start_for(config, changes)
    return Plan(config, *hold_out(pixels), start, [*said, *why, sentence])


def size_for(
    sizes: Sequence[tuple[int, int]], *, padded: bool = False, slow: bool = False
) -> tuple[int, str]:
    """(width, height) of all pictures -> the side to train at, and why.

    The larger of SIZES that the smaller side of at least half of them has; the smaller
    of SIZES where a step of the larger would take long.

    Args:
        padded: whether all of a picture is kept, and not the square in its middle.
        slow: whether the processor is to train, and not a graphics card.
    """
    shorter = [min(size) for size in sizes] or [SIZES[0]]
    middle = median(shorter)
    side = next((one for one in SIZES if middle >= one), SIZES[-1])
    why = f"of half of them the shorter side has {middle:.0f} pixels or more"
    if len(set(sizes)) == 1:
        why = f"they are {sizes[0][0]}x{sizes[0][1]}"
    if slow and side > SIZES[-1]:
        why += f", which is enough for {side}x{side}, but no graphics card is here"
        side = SIZES[-1]
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
    if side > OWN.image_size:
        chosen |= LARGE
    if learned < FEW:
        chosen |= CHANGES | {"augment_shift": side // 8}
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


def start_for(
    config: Config, changes: dict[str, Any]
) -> tuple[Config, str | None, str]:
    """Where to start from -> the config for that, the name of a start, and why.

    Args:
        changes: fields that were asked for by name; they stay as they are.
    """
    name = fitting_start(config)
    if name is None:
        shape = "x".join(map(str, config.image_shape))
        sentence = f"No start has networks for {shape}, so both begin anew."
        return config, None, sentence
    config = replace(config, **{"frozen_layers": FROZEN} | changes)
    sentence = (
        f"G and D begin with the weights of {name}, which come from other pictures; "
        f"the first of D's layers are kept as they are ({config.frozen_layers})."
    )
    return config, name, sentence


# What is kept


def own_batches(count: int, batch_size: int, device: torch.device) -> Sequence[Tensor]:
    """A sampler for `fit`: an epoch is as many passes as make EPOCH_STEPS steps."""
    return batches_of_passes(count, batch_size, device, EPOCH_STEPS)


class Keeper:
    """Measures a run after its epochs, keeps the best generator, says when to stop.

    In the folder of the run, BEST is that generator and MEASURES has the numbers.

    Raises GanlibError, when it is made, if a file of measures is there and broken.
    """

    def __init__(self, state: TrainState, plan: Plan, out: Path) -> None:
        self.state, self.out = state, out
        extractor = load_feature_extractor(state.config.dataset)
        self.watch = Watch(extractor, plan.training, plan.held_out)
        self.watch.measures = read_measures(out, len(state.history))

    def after_epoch(self) -> bool:
        """Measure what is not measured yet; whether to stop."""
        last = self.watch.measures[-1].epoch if self.watch.measures else -1
        if last < len(self.state.history):
            tqdm.write(as_sentence(self._measure()))
        return self.watch.reason_to_stop is not None

    def _measure(self) -> Measure:
        """In an order in which a kill loses nothing but what can be measured again."""
        config, G = self.state.config, self.state.sampling_generator
        measure = self.watch.measure(G, config.latent_dim, len(self.state.history))
        if self.watch.best == measure:
            save_generator(G, config, self.out / BEST, **measure._asdict())
        text = io.StringIO(newline="")
        csv.writer(text).writerows([Measure._fields, *self.watch.measures])
        write_atomic(self.out / MEASURES, text.getvalue().encode())
        return measure

    def finish(self) -> list[str]:
        """Let the best be the generator of the run; sentences on how it ended."""
        best, epochs = self.watch.best, self.state.config.epochs
        said = [self.watch.reason_to_stop or f"It has had its {epochs} epochs."]
        if best is None:
            said.append(
                "Each generator that was measured copies; the last is kept. Take more "
                "pictures."
            )
            return said
        write_atomic(self.out / GENERATOR, read_bytes(self.out / BEST))
        return [*said, f"The best generator, of epoch {best.epoch}, is in {self.out}"]


def as_sentence(measure: Measure) -> str:
    """A measurement as a line."""
    return (
        f"epoch {measure.epoch}: distance to the held-out pictures {measure.kid:.1f}, "
        f"copies {measure.copied:.0%} (± {measure.copied_error:.0%})"
    )


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
