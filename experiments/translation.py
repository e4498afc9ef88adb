"""Picture to picture at 32x32, with pairs and without, counted by the seven factors.

    python -m experiments.translation outlines --seeds 1 2 3
    python -m experiments.translation glasses --seeds 1 2 3 --kinds "cycle" "no cycle"
    python -m experiments.translation background --seeds 1 2 3

"outlines" is pix2pix from outlines to drawings, with L1 alone, L1 + GAN, and pairs that
were shuffled. L1 alone has as many steps more as its steps are cheaper, timed in turns.
"glasses" and "background" (blue and pink) are CycleGANs between drawings that differ in
that factor; the same face with the other value is drawn for the score and, of the kinds,
shown to "pairs" alone. Pictures of the first seed are stored beside the numbers.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from functools import cache
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.fft import fft2, fftfreq
from torch.nn.functional import interpolate, l1_loss
from torch.optim.lr_scheduler import LambdaLR

from experiments.common import (
    begin,
    over_seeds,
    parser,
    read_images,
    reduced,
    write_images,
)
from ganlib.data.avatars import decode_labels, draw
from ganlib.data.avatars.faces import ATTRIBUTES, RANDOM_NUMBERS, draw_faces
from ganlib.data.transforms import denormalize, normalize
from ganlib.metrics import extract_features, frechet_distance, load_classifier
from ganlib.metrics.classifiers import (
    MIN_PROBABILITY,
    attribute_accuracy,
    attributes_of,
)
from ganlib.translation import (
    LUMINANCE,
    PatchDiscriminator,
    ResidualTranslator,
    UNet,
    cyclegan_step,
    new_cyclegan,
    outline,
    pix2pix_step,
)

FACTORS = list(ATTRIBUTES)
TRAINING = 8_000  # drawings to learn from
TEST = 1_000  # drawings behind each count
SHOWN = 10  # pictures stored of a run
PAIRS = 1_700  # about as many as there are training drawings with glasses
PARTS = {  # factor, and the values that the two sets have
    "glasses": ("glasses", "no", "round"),
    "background": ("background", "blue", "pink"),
}
OUTLINES: dict[str, dict[str, Any]] = {
    "L1": {"gan_weight": 0.0},
    "L1 + GAN": {},
    "shuffled pairs": {"shuffled": True},
}
OUTLINE_FACTS = {
    "batch_size": 8,
    "rates": [2e-3, 3e-4],  # of G and of D
    "l1_weight": 10.0,
}
# Weights of the terms, whether G adds to its input, and what is wrong with the sets.
KINDS: dict[str, dict[str, Any]] = {
    "cycle": {},
    "no cycle": {"cycle_weight": 0.0},
    "whole picture, cycle": {"adds_input": False, "cycle_weight": 10.0, "rate_g": 2e-3},
    "whole picture, no cycle": {
        "adds_input": False,
        "cycle_weight": 0.0,
        "rate_g": 2e-3,
    },
    "identity": {"identity_weight": 1.0},
    "pairs": {"pairs": True},
    "unequal sets": {"only": ("background", "pink")},  # all that Y has
}
SET_FACTS = {
    "batch_size": 4,
    "rate_g": 1e-3,
    "rate_d": 2e-3,
    "cycle_weight": 2.0,
    "identity_weight": 0.0,
}
STEPS = {"outlines": 500, "glasses": 1_200, "background": 150}


@cache
def drawings(train: bool) -> tuple[Tensor, Tensor]:
    """Bytes (N, 3, 32, 32) and the values of their factors (N, 7).

    The first of the training drawings of the book, or of its test drawings.
    """
    pixels, labels = draw(TRAINING, seed=0) if train else draw(TEST, seed=1)
    return reduced(pixels, 32), decode_labels(labels)


@cache
def drawn_twice(
    count: int, factor: str, old: str, new: str, *, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The same faces with one value of a factor and with another, and their values.

    Two times bytes (count, 3, 32, 32) and the values (count, 7) of the first.
    """
    values = decode_labels(draw(count, seed=seed)[1])
    source = torch.Generator().manual_seed(seed)
    numbers = torch.rand(count, RANDOM_NUMBERS, generator=source)
    column = FACTORS.index(factor)
    pair = []
    for value in (old, new):
        values[:, column] = list(ATTRIBUTES[factor]).index(value)
        parts = zip(values.split(50), numbers.split(50), strict=True)
        pair.append(reduced(torch.cat([draw_faces(*part) for part in parts]), 32))
    values[:, column] = list(ATTRIBUTES[factor]).index(old)
    return pair[0], pair[1], values


# What is measured


@torch.no_grad()
def read(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Bytes (N, 3, 32, 32) -> factors (N, 7), whether legible (N,), features (N, 64).

    The classifier of the avatars takes 64x64; each pixel is repeated.
    """
    classifier = load_classifier("avatars")
    large = interpolate(images, scale_factor=2, mode="nearest")
    features = extract_features(classifier, large)
    values, least = attributes_of(classifier.head(features))
    return values, least >= MIN_PROBABILITY, features


def high_power(images: Tensor) -> float:
    """Mean power of the luminance of bytes (N, 3, H, W) at high frequencies.

    Those of a quarter of a cycle per pixel and more: what a blur takes away.
    """
    weights = torch.tensor(LUMINANCE)[:, None, None]
    grey = (normalize(images) * weights).sum(dim=1)
    power = fft2(grey, norm="ortho").abs().square().mean(dim=0)
    rows, columns = fftfreq(grey.shape[1])[:, None], fftfreq(grey.shape[2])
    return power[torch.hypot(rows, columns) >= 0.25].sum().item()


def judge_drawings(images: Tensor, truth: Tensor, values: Tensor) -> dict[str, Any]:
    """All that is measured of drawings, bytes, made from outlines of other ones."""
    known, legible, features = read(images)
    return {
        "right": attribute_accuracy(known, values),
        "legible": legible.float().mean().item(),
        "l1": l1_loss(normalize(images), normalize(truth)).item(),
        "high_power": high_power(images) / high_power(truth),
        "frechet": frechet_distance(read(truth)[2], features),
        "shares": {
            name: torch.bincount(known[:, at], minlength=len(shares)).tolist()
            for at, (name, shares) in enumerate(ATTRIBUTES.items())
        },
    }


def judge_change(
    images: Tensor, truth: Tensor, values: Tensor, factor: str, new: str
) -> dict[str, Any]:
    """How often a factor was changed to `new`, and how often all six others were kept.

    Args:
        images: translated drawings, bytes.
        truth: the same faces drawn with the other value.
        values: factors of the drawings before they were translated, (N, 7).
    """
    known, legible, _ = read(images)
    column = FACTORS.index(factor)
    changed = known[:, column] == list(ATTRIBUTES[factor]).index(new)
    same = known == values
    others = [at for at in range(len(FACTORS)) if at != column]
    kept = same[:, others].all(dim=1)
    return {
        "changed": changed.float().mean().item(),
        "kept": kept.float().mean().item(),
        "both": (changed & kept).float().mean().item(),
        "each": {FACTORS[at]: same[:, at].float().mean().item() for at in others},
        "legible": legible.float().mean().item(),
        "l1": l1_loss(normalize(images), normalize(truth)).item(),
    }


@torch.no_grad()
def translated(network: nn.Module, pixels: Tensor) -> Tensor:
    """Bytes -> what a translator makes of them, bytes."""
    parts = [denormalize(network(normalize(part))) for part in pixels.split(250)]
    return torch.cat(parts)


# Training


def adams(G: nn.Module, D: nn.Module, rates: Any) -> list[torch.optim.Optimizer]:
    """Adam for each, with the betas of Isola 2017 and Zhu 2017."""
    pairs = zip((G, D), rates, strict=True)
    return [
        torch.optim.Adam(network.parameters(), rate, (0.5, 0.999), fused=True)
        for network, rate in pairs
    ]


def decay(optimizers: list[torch.optim.Optimizer], steps: int) -> list[LambdaLR]:
    """A constant rate for half of the steps, then a line down to 0 (Zhu 2017)."""
    return [
        LambdaLR(one, lambda step: min(1.0, 2 * (1 - step / steps)))
        for one in optimizers
    ]


def batches(pixels: Tensor, size: int) -> Iterator[Tensor]:
    """Random indices of `size` of the pixels, without end."""
    while True:
        yield torch.randint(len(pixels), (size,))


def outline_run(
    kind: str, seed: int, steps: int
) -> tuple[nn.Module, Callable[[], Any]]:
    """A translator from outlines to drawings, and what trains it for one step."""
    torch.manual_seed(seed)
    pixels, _ = drawings(train=True)
    G, D = UNet(1, 3), PatchDiscriminator(4)
    optimizer_g, optimizer_d = adams(G, D, OUTLINE_FACTS["rates"])
    weights = {"l1_weight": OUTLINE_FACTS["l1_weight"], **OUTLINES[kind]}
    shuffled = weights.pop("shuffled", False)
    learning = [optimizer_g, optimizer_d][: 1 if kind == "L1" else 2]
    schedules = decay(learning, steps)
    chosen = batches(pixels, int(OUTLINE_FACTS["batch_size"]))

    def step() -> None:
        target = normalize(pixels[next(chosen)])
        source = outline(target)
        if shuffled:
            target = target.roll(1, dims=0)
        pix2pix_step(G, D, optimizer_g, optimizer_d, source, target, **weights)
        for schedule in schedules:
            schedule.step()

    return G, step


def cost() -> dict[str, float]:
    """Seconds of a step of L1 alone and of L1 + GAN, medians of rounds in turns."""
    steps = {kind: outline_run(kind, 0, 1_000)[1] for kind in ("L1", "L1 + GAN")}
    seconds: dict[str, list[float]] = {kind: [] for kind in steps}
    for _ in range(8):
        for kind, step in steps.items():
            started = time.thread_time()
            for _ in range(5):
                step()
            seconds[kind].append((time.thread_time() - started) / 5)
    return {kind: median(values) for kind, values in seconds.items()}


def run_outlines(
    kind: str, seed: int, steps: int, images: dict[str, Tensor]
) -> dict[str, Any]:
    """Train one network from outlines to drawings -> what is measured of it."""
    truth, values = drawings(train=False)
    G, step = outline_run(kind, seed, steps)
    started = time.thread_time()
    for _ in range(steps):
        step()
    seconds = time.thread_time() - started
    lines = denormalize(outline(normalize(truth)))
    made = translated(G, lines)
    if "input" not in images:
        images |= {"input": lines[:SHOWN], "truth": truth[:SHOWN]}
    images.setdefault(kind, made[:SHOWN])
    measured = judge_drawings(made, truth, values)
    return {"steps": steps, "cpu_seconds": round(seconds, 1), **measured}


def two_sets(part: str, only: tuple[str, str] | None = None) -> tuple[Tensor, Tensor]:
    """Training drawings with the old value of the part's factor, and with the new one.

    With `only`, a factor and a value, the second set has no others.
    """
    factor, old, new = PARTS[part]
    pixels, values = drawings(train=True)

    def having(factor: str, value: str) -> Tensor:
        index = list(ATTRIBUTES[factor]).index(value)
        return values[:, FACTORS.index(factor)] == index

    second = having(factor, new)
    if only:
        second &= having(*only)
    return pixels[having(factor, old)], pixels[second]


def train_unpaired(
    sets: tuple[Tensor, Tensor],
    seed: int,
    steps: int,
    *,
    adds_input: bool,
    rate_g: float,
    rate_d: float,
    **weights: float,
) -> tuple[nn.Module, nn.Module]:
    """G from the old value to the new one, and F back, from two sets without pairs."""
    torch.manual_seed(seed)
    first, second = sets
    size = int(SET_FACTS["batch_size"])
    run = new_cyclegan(
        ResidualTranslator(adds_input=adds_input),
        PatchDiscriminator(),
        learning_rate_g=rate_g,
        learning_rate_d=rate_d,
    )
    schedules = decay([run.optimizer_g, run.optimizer_d], steps)
    chosen = zip(batches(first, size), batches(second, size), strict=True)
    for _, (x, y) in zip(range(steps), chosen, strict=False):
        cyclegan_step(run, normalize(first[x]), normalize(second[y]), **weights)
        for schedule in schedules:
            schedule.step()
    return run.G, run.F


def train_paired(
    pairs: tuple[Tensor, Tensor], seed: int, steps: int
) -> tuple[nn.Module, nn.Module]:
    """The same two networks, each by pix2pix from pairs."""
    torch.manual_seed(seed)
    first, second = pairs
    networks, size = [], int(SET_FACTS["batch_size"])
    for source, target in ((first, second), (second, first)):
        G, D = ResidualTranslator(), PatchDiscriminator(6)
        rates = SET_FACTS["rate_g"], SET_FACTS["rate_d"]
        optimizer_g, optimizer_d = adams(G, D, rates)
        schedules = decay([optimizer_g, optimizer_d], steps)
        for _, chosen in zip(range(steps), batches(source, size), strict=False):
            pair = normalize(source[chosen]), normalize(target[chosen])
            pix2pix_step(G, D, optimizer_g, optimizer_d, *pair, l1_weight=10.0)
            for schedule in schedules:
                schedule.step()
        networks.append(G)
    return networks[0], networks[1]


def run_sets(
    part: str, kind: str, seed: int, steps: int, images: dict[str, Tensor]
) -> dict[str, Any]:
    """Train one pair of translators -> what is measured of both directions."""
    factor, old, new = PARTS[part]
    settings = {"adds_input": True, **SET_FACTS, **KINDS[kind]}
    del settings["batch_size"]
    only = settings.pop("only", None)
    if settings.pop("pairs", False):
        pairs = drawn_twice(PAIRS, factor, old, new, seed=0)[:2]
        started = time.thread_time()
        G, F = train_paired(pairs, seed, steps)
    else:
        sets = two_sets(part, only)
        started = time.thread_time()
        G, F = train_unpaired(sets, seed, steps, **settings)
    seconds = time.thread_time() - started
    before, after, values = drawn_twice(TEST, factor, old, new, seed=1)
    values_after = values.clone()
    values_after[:, FACTORS.index(factor)] = list(ATTRIBUTES[factor]).index(new)
    there, back = translated(G, before), translated(F, after)
    if "without" not in images:
        images |= {"without": before[:SHOWN], "with": after[:SHOWN]}
    if f"{kind}: to with" not in images:
        images[f"{kind}: to with"] = there[:SHOWN]
        images[f"{kind}: to without"] = back[:SHOWN]
        images[f"{kind}: there and back"] = translated(F, there[:SHOWN])
    round_trip = l1_loss(normalize(translated(F, there)), normalize(before))
    return {
        "steps": steps,
        "cpu_seconds": round(seconds, 1),
        "there": judge_change(there, after, values, factor, new),
        "back": judge_change(back, before, values_after, factor, old),
        "round_trip": round_trip.item(),
    }


def baselines(part: str) -> dict[str, Any]:
    """The same counts for the input as it is, another drawing, and the true picture."""
    factor, old, new = PARTS[part]
    before, after, values = drawn_twice(TEST, factor, old, new, seed=1)
    rows = {"copy": before, "another": after.roll(1, dims=0), "truth": after}
    return {
        name: judge_change(images, after, values, factor, new)
        for name, images in rows.items()
    }


def run_part(part: str, kinds: list[str], options: argparse.Namespace) -> None:
    """Run what is missing of a part, and store it."""
    name = f"translation_{part}"
    facts = {"training": TRAINING, "test": TEST, "steps": STEPS[part]}
    facts |= OUTLINE_FACTS if part == "outlines" else SET_FACTS
    result = begin(name, facts, out=options.out, fresh=options.fresh)
    images = {} if options.fresh else read_images(name, options.out)
    if part == "outlines" and "cost" not in result:
        truth, values = drawings(train=False)
        result |= {"cost": cost(), "truth": judge_drawings(truth, truth, values)}
    if part != "outlines" and "baselines" not in result:
        result["baselines"] = baselines(part)
    for kind in kinds:

        def one_run(seed: int, kind: str = kind) -> dict[str, Any]:
            steps = options.steps or STEPS[part]
            if part == "outlines":
                if kind == "L1":
                    seconds = result["cost"]
                    steps = round(steps * seconds["L1 + GAN"] / seconds["L1"])
                row = run_outlines(kind, seed, steps, images)
            else:
                row = run_sets(part, kind, seed, steps, images)
            print(part, kind, seed, row, flush=True)
            write_images(name, images, options.out)
            return row

        over_seeds(name, result, options.seeds, one_run, out=options.out, kind=kind)


def main() -> None:
    made = parser(__doc__, seeds=4, resumes=True)
    made.add_argument("parts", nargs="+", choices=list(STEPS))
    made.add_argument("--kinds", nargs="+", help="some only; default: all of a part")
    made.add_argument("--steps", type=int, help="other than the part's, for a trial")
    options = made.parse_args()
    torch.set_num_threads(1)
    for part in options.parts:
        known = list(OUTLINES if part == "outlines" else KINDS)
        kinds = [kind for kind in known if kind in (options.kinds or known)]
        run_part(part, kinds, options)


if __name__ == "__main__":
    main()
