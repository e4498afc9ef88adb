"""What is wrong with this run? A history and samples, compared with healthy runs.

The rules are plain comparisons. Some hold for every run with the losses of the first
GAN paper, since they rest on arithmetic; the others compare with healthy runs of the
recipe mnist on MNIST, five seeds of the scoreboard, and say where they cannot.
"""

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from statistics import mean, median
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ganlib.checkpoint import GENERATOR, load_generator
from ganlib.config import Config
from ganlib.data.transforms import normalize
from ganlib.ema import has_batchnorm, refresh_batchnorm
from ganlib.errors import GanlibError
from ganlib.files import read_bytes
from ganlib.metrics.classifiers import class_shares, extract_features, load_classifier
from ganlib.recipes import RECIPES
from ganlib.results import load_result
from ganlib.sampling import sample_images, sample_noise, sample_pixels

PAIRED = 500  # samples whose differences are measured
CERTAIN = 0.9  # probability of its class from which on an image counts as legible
SAMPLES = 2_000  # that are drawn from the generator of a run
LEVELS = "d_loss", "g_loss", "d_real", "d_fake_before", "d_fake_after"
COLUMNS = *LEVELS, "images_seen"
NEEDED = "d_loss", "g_loss"
MAX_BYTES = 2**24  # of a history


# What is measured on samples


@torch.no_grad()
def sample_measures(pixels: Tensor) -> dict[str, float]:
    """What simple sums say of samples of digits, bytes (N, 1, 28, 28).

    Returns the mean distance between two of them ("difference"), the share of pixels
    that are black ("black": below -0.9), the mean step from a pixel to the one on its
    right ("roughness"), the share of the most frequent class ("largest_class"), and
    that of images of which the classifier is certain ("legible").
    """
    images = normalize(pixels)
    classifier = load_classifier("mnist")
    logits = classifier.head(extract_features(classifier, pixels))
    certain = logits.softmax(dim=1).amax(dim=1) >= CERTAIN
    return {
        "difference": torch.pdist(images[:PAIRED].flatten(1)).mean().item(),
        "black": (images < -0.9).float().mean().item(),
        "roughness": images.diff(dim=3).abs().mean().item(),
        "largest_class": class_shares(logits.argmax(dim=1), 10).max().item(),
        "legible": certain.float().mean().item(),
    }


def statistics_shift(G: nn.Module, latent_dim: int) -> float | None:
    """How much samples change when G's BatchNorm statistics are measured anew.

    Mean absolute difference of pixels in -1..1; about 0 where the statistics are G's
    own, None where G has no BatchNorm.
    """
    if not has_batchnorm(G):
        return None
    z = sample_noise(PAIRED, latent_dim, seed=1)
    own = refresh_batchnorm(deepcopy(G), latent_dim)
    return (sample_images(own, z) - sample_images(G, z)).abs().mean().item()


# The history of a run


def read_history(
    source: Path | str, columns: Mapping[str, str] | None = None
) -> dict[str, list[float]]:
    """{name of a Record's field: one number an epoch} of a run, or of a csv file.

    Args:
        source: the folder of a run, or a csv file whose first line names its columns.
        columns: {field: name of the column in the file}, where they differ.

    Loss_D and Loss_G have to be there; D(x), D(G(z)) and images_seen may be. Raises
    GanlibError that says what is missing, or which line holds no number.
    """
    path = Path(source)
    path = path / "history.csv" if path.is_dir() else path
    if not path.is_file():
        raise GanlibError(
            f"There is no history {path}; give the folder of a run, or a csv file."
        )
    columns = dict(columns or {})
    for name in columns:
        if name not in COLUMNS:
            raise GanlibError(
                f"The doctor reads no column {name!r}; it reads {', '.join(COLUMNS)}."
            )
    try:
        text = read_bytes(path, MAX_BYTES).decode("utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
    except (UnicodeDecodeError, csv.Error):
        raise GanlibError(
            f"{path} is no csv file; give the history of a run."
        ) from None
    if not rows:
        raise GanlibError(f"{path} has no epochs; train at least one.")
    history = {}
    for name in COLUMNS:
        column = columns.get(name, name)
        if column in rows[0]:
            history[name] = [
                _number(row[column], f"Line {line} of {path}", column)
                for line, row in enumerate(rows, start=2)
            ]
        elif name in NEEDED or name in columns:
            there = ", ".join(str(other) for other in rows[0])
            raise GanlibError(
                f"{path} has no column {column} (it has {there}); say which one it is, "
                f"as in --column {name}=OTHER."
            )
    seen = [0.0, *history.get("images_seen", [])]
    if not all(before < after < math.inf for before, after in pairwise(seen)):
        raise GanlibError(
            f"images_seen of {path} does not grow from epoch to epoch; it must count "
            "all images since the run began."
        )
    return history


def _number(text: str | None, where: str, column: str) -> float:
    """A cell of a csv file as a number; NaN and infinity are numbers here."""
    try:
        return float(text or "")
    except ValueError:
        raise GanlibError(
            f"{where} has {text or ''!r} as {column}; it must be a number."
        ) from None


# The bands

BANDS_OF = "scoreboard/mnist-on-mnist"  # the stored healthy runs: recipe mnist on MNIST
BANDS_CONFIG = RECIPES["mnist"]
LEAST_WIDTH = 0.05  # of a band: five runs understate the spread of all
ALARM = 1.0  # widths outside of the band from which on an epoch counts


@cache
def healthy_runs() -> tuple[float, list[dict[str, list[float]]]]:
    """Images in an epoch of the stored healthy runs, and {column: values} of each."""
    runs = load_result(BANDS_OF)["runs"]
    histories = [
        {
            name: [row[place] for row in run["losses"]]
            for place, name in enumerate(LEVELS, 1)
        }
        for run in runs
    ]
    return runs[0]["images"] / len(runs[0]["losses"]), histories


def resampled(
    values: Sequence[float], images_seen: Sequence[float], epoch: float, most: int
) -> list[float]:
    """Means over passes of `epoch` images, of values that are means over others.

    Args:
        values: one mean for each record.
        images_seen: since the run began, at the end of each record.
        most: passes that are given at most.

    A pass that is not whole is left out.
    """
    ends = [0.0, *images_seen]
    sums = [0.0]
    for value, start, end in zip(values, ends, images_seen, strict=False):
        sums.append(sums[-1] + value * (end - start))
    whole = min(int(images_seen[-1] / epoch + 1e-9), most)
    at = np.interp([epoch * number for number in range(whole + 1)], ends, sums)
    return (np.diff(at) / epoch).tolist()


def bands(column: str) -> list[tuple[float, float, float]]:
    """(Smallest, median, largest) value of the healthy runs in each of their epochs."""
    _, runs = healthy_runs()
    return [
        (min(values), median(values), max(values))
        for values in zip(*(run[column] for run in runs), strict=True)
    ]


def outside(value: float, low: float, high: float) -> float:
    """How far a value lies outside of a band, in widths of the band; 0 inside."""
    return max(low - value, value - high, 0.0) / max(high - low, LEAST_WIDTH)


# What the doctor says


class Finding(NamedTuple):
    """One thing that is wrong, or looks so."""

    fault: str
    sees: str  # a sentence with the numbers that show it
    causes: tuple[str, ...]  # the likeliest first
    first: str  # what to try first


@dataclass
class Report:
    """What the doctor says of a run; `print` shows it in sentences."""

    findings: list[Finding]  # the surest first
    unjudged: list[str]  # what could not be judged, and why
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return {
            "findings": [finding._asdict() for finding in self.findings],
            "unjudged": self.unjudged,
            "notes": self.notes,
        }

    def __str__(self) -> str:
        lines = []
        for finding in self.findings:
            lines += [f"{finding.fault}.", f"  {finding.sees}", "  Likely causes:"]
            lines += [
                f"  {place}. {cause}" for place, cause in enumerate(finding.causes, 1)
            ]
            lines += [f"  Try first: {finding.first}", ""]
        if not self.findings:
            where = " in what could be judged" if self.unjudged else ""
            lines += [f"Nothing unusual{where}.", ""]
        lines += [f"Note: {text}" for text in self.notes]
        lines += [f"Not judged: {text}" for text in self.unjudged]
        return "\n".join(lines).rstrip()


@dataclass
class Run:
    """What is known of a run.

    Args:
        history: as `read_history` gives it.
        samples: as `sample_measures` gives them, with "statistics_shift" if it is
            known; None: there are no samples of digits.
        config: None for a run from elsewhere.
    """

    history: Mapping[str, Sequence[float]]
    samples: Mapping[str, float | None] | None = None
    config: Config | None = None

    def has(self, *names: str) -> bool:
        return all(name in self.history for name in names)

    def late(self, name: str) -> float:
        """Mean over the second half of the epochs."""
        values = self.history[name]
        return mean(values[len(values) // 2 :])


@cache
def healthy_samples() -> dict[str, float]:
    """The measures on samples of the network `mnist`, which ships."""
    G, config = load_generator("mnist")
    return sample_measures(sample_pixels(G, config.latent_dim, count=SAMPLES))


def not_finite(run: Run) -> Finding | None:
    for name in LEVELS:
        for epoch, value in enumerate(run.history.get(name, ()), 1):
            if not math.isfinite(value):
                return Finding(
                    "A number is no longer finite",
                    f"{WORDS[name]} is {value} in epoch {epoch}.",
                    (
                        "A learning rate that is too high.",
                        "A logarithm of a rounded probability.",
                        "NaN in the images.",
                    ),
                    "the loss from logits, then half of both learning rates.",
                )
    return None


def saturating(run: Run) -> Finding | None:
    if run.late("g_loss") >= 0:
        return None
    return Finding(
        "Loss_G is negative",
        f"Loss_G is {run.late('g_loss'):.2f}, and -log D(G(z)) cannot be below 0.",
        (
            "The saturating loss, log(1 - D(G(z))): with a strong D its gradient "
            "vanishes.",
            "A loss of another family (Wasserstein, hinge), for which this is normal.",
        ),
        'the non-saturating loss, loss="nonsaturating".',
    )


def swapped(run: Run) -> Finding | None:
    if not run.has("d_fake_after"):
        return None
    # Files from elsewhere round a small D(G(z)) to 0.
    least = -math.log(max(run.late("d_fake_after"), 0.05))
    if run.late("g_loss") > least - 0.1:
        return None
    return Finding(
        "Loss_G and D(G(z)) contradict each other",
        f"Loss_G is {run.late('g_loss'):.2f}, while D(G(z)) is "
        f"{run.late('d_fake_after'):.2f}; a G that wants to be called real would pay "
        f"at least {least:.2f} for that.",
        (
            "The labels in G's step are swapped: G is paid for being called generated.",
            "D(G(z)) was written down at another moment, or by another D, than Loss_G.",
        ),
        "the label of real images, 1, in G's step.",
    )


def sigmoid_twice(run: Run) -> Finding | None:
    if not run.has("d_real", "d_fake_before"):
        return None
    lowest = min(run.history["d_fake_before"])
    highest = max(run.history["d_real"])
    if lowest < 0.495 or highest > 0.735:
        return None
    if run.late("d_real") - run.late("d_fake_before") < 0.05:
        return None  # a D that cannot tell stays near 0.5 without a second sigmoid
    return Finding(
        "No answer of D lies outside of 0.5 to 0.731",
        f"D(x) is at most {highest:.3f} and D(G(z)) at least {lowest:.3f}: what a "
        "sigmoid makes of numbers from 0 to 1.",
        ("The sigmoid is taken twice, in D and in the loss.",),
        "a D that ends in its linear layer, with the loss that takes logits.",
    )


def mixed_batch(run: Run) -> Finding | None:
    if not run.has("d_fake_before", "d_fake_after"):
        return None
    before, after = run.late("d_fake_before"), run.late("d_fake_after")
    if after < before + 0.1:
        return None
    return Finding(
        "D is surer of generated images in its own turn than in G's",
        f"D(G(z)) is {before:.2f} in D's turn and {after:.2f} in G's, after D has "
        "learned more.",
        (
            "D has BatchNorm, and sees real and generated images in one batch in its "
            "own turn, generated ones alone in G's.",
            "D has dropout or another layer that is in another mode in G's turn.",
        ),
        "one batch for real and one for generated images, or a D without BatchNorm.",
    )


def d_wins(run: Run) -> Finding | None:
    if not run.has("d_real", "d_fake_after"):
        return None
    real, fake = run.late("d_real"), run.late("d_fake_after")
    if real - fake < 0.75:
        return None
    return Finding(
        "D wins",
        f"D(x) is {real:.2f} and D(G(z)) {fake:.2f}; Loss_D is "
        f"{run.late('d_loss'):.2f}, Loss_G {run.late('g_loss'):.2f}.",
        (
            "D's learning rate is too high for G's, or nothing holds D back.",
            "beta1 is 0.9 at a learning rate as high as 0.001.",
            "Real and generated images differ in their range, or another simple way.",
            "No gradient reaches G.",
        ),
        "D's learning rate as low as G's, and the penalty r1_weight.",
    )


def cannot_tell(run: Run) -> Finding | None:
    if not run.has("d_real", "d_fake_before"):
        return None
    real, fake = run.late("d_real"), run.late("d_fake_before")
    if abs(real - fake) >= 0.01 or run.late("d_loss") < 1.3:
        return None
    return Finding(
        "D cannot tell at all",
        f"D(x) is {real:.2f} and D(G(z)) {fake:.2f}, Loss_D "
        f"{run.late('d_loss'):.2f} (a D that guesses pays 1.39).",
        (
            "D is too slow for G, which has collapsed to a few images.",
            "The sigmoid is taken twice; then no answer of D is below 0.5.",
            "D learns nothing: its weights are frozen, or its learning rate is 0.",
            "Perfect play; no stored run has come there.",
        ),
        "look at a hundred samples; if they are alike, raise D's learning rate.",
    )


def foreign_statistics(run: Run) -> Finding | None:
    shift = (run.samples or {}).get("statistics_shift")
    if shift is None or shift < 0.02:
        return None
    return Finding(
        "G's BatchNorm statistics are not its own",
        f"Measured anew, they change a pixel of the samples by {shift:.3f} on average "
        "(pixels go from -1 to 1).",
        (
            "The average of G carries the running statistics of G.",
            "The file was written in the middle of a step.",
        ),
        "refresh_batchnorm(G, latent_dim), or update_bn of torch.optim.swa_utils.",
    )


def alike(run: Run) -> Finding | None:
    if run.samples is None:
        return None
    usual, found = healthy_samples(), run.samples
    share = found["largest_class"] or 0.0
    difference = found["difference"] or 0.0
    if difference > 0.7 * usual["difference"] and share < 0.5:
        return None
    return Finding(
        "The samples are too much alike",
        f"Two of them are {difference:.1f} apart on average (healthy: "
        f"{usual['difference']:.1f}), and {share:.0%} are read as one digit (healthy: "
        f"{usual['largest_class']:.0%}).",
        (
            "The noise is wrong: from torch.rand, of one number, the same each time.",
            "G has collapsed: D is too slow.",
        ),
        "the mean and the standard deviation of the noise, 0 and 1; then D's rate.",
    )


def washed_out(run: Run) -> Finding | None:
    if run.samples is None:
        return None
    usual, black = healthy_samples()["black"], run.samples["black"] or 0.0
    if black > 0.6 * usual:
        return None
    return Finding(
        "The background of the samples is not black",
        f"{black:.0%} of their pixels are black; in healthy samples of MNIST "
        f"{usual:.0%} are.",
        (
            "The real images lie in 0..1, while G draws in -1..1.",
            "G has not learned yet, or draws noise.",
            "The BatchNorm statistics of G are not its own.",
        ),
        "the smallest and the largest value of a real batch: they should be -1 and 1.",
    )


def illegible(run: Run) -> Finding | None:
    if run.samples is None:
        return None
    usual, legible = healthy_samples()["legible"], run.samples["legible"] or 0.0
    if legible > 0.6 * usual:
        return None
    return Finding(
        "The samples are no digits",
        f"The classifier is certain of {legible:.0%} of them (healthy: {usual:.0%}).",
        ("Too few steps.", "One network has lost the game."),
        "the pictures of the first and of the last epoch, beside each other.",
    )


def outside_of_the_bands(run: Run) -> Finding | None:
    if why_not_compared(run) is not None:
        return None
    epoch, _ = healthy_runs()
    worst, words = 0.0, ""
    for name in LEVELS:
        if not run.has(name):
            continue
        known = bands(name)
        seen = run.history["images_seen"]
        values = resampled(run.history[name], seen, epoch, len(known))
        pairs = list(zip(values, known, strict=False))
        off = [outside(value, low, high) for value, (low, _, high) in pairs]
        if median(off) > max(worst, ALARM):
            worst = median(off)
            value, (low, _, high) = pairs[-1]
            words = (
                f"{WORDS[name]} is {value:.2f} after {len(pairs)} times {epoch:,.0f} "
                f"images; healthy runs had {low:.2f} to {high:.2f} there."
            )
    if not words:
        return None
    return Finding(
        "The numbers lie outside of those of healthy runs",
        words,
        (
            "A setting differs from the recipe.",
            "The data, or what D sees of it, is not what the recipe was made for.",
        ),
        "samples, a real batch as the loop gets it, and the settings one by one.",
    )


WORDS = {
    "d_loss": "Loss_D",
    "g_loss": "Loss_G",
    "d_real": "D(x)",
    "d_fake_before": "D(G(z)) before D's step",
    "d_fake_after": "D(G(z)) after D's step",
}
# In this order; of the first group the first that fits is named, for each explains what
# the later ones would see.
OF_THE_HISTORY: tuple[Callable[[Run], Finding | None], ...] = (
    saturating,
    swapped,
    sigmoid_twice,
    mixed_batch,
    d_wins,
    cannot_tell,
    outside_of_the_bands,
)
OF_THE_SAMPLES: tuple[Callable[[Run], Finding | None], ...] = (
    foreign_statistics,
    washed_out,
    alike,
    illegible,
)


def differs_from_the_bands(config: Config) -> list[str]:
    """What a config has otherwise than the healthy runs of the bands."""
    theirs = vars(BANDS_CONFIG)
    return [
        f"{name} {value}"
        for name, value in vars(config).items()
        if name in ("dataset", "loss", "architecture") and value != theirs[name]
    ]


def why_not_compared(run: Run) -> str | None:
    """Why the bands say nothing of a run, in a sentence; None where they do."""
    if run.config is not None and (other := differs_from_the_bands(run.config)):
        return (
            f"no comparison with healthy runs, since this run has {', '.join(other)}, "
            "and theirs is the recipe mnist on MNIST."
        )
    if run.config is None:
        return (
            "no comparison with healthy runs, since data, networks and loss of a csv "
            "file are not known; theirs is the recipe mnist on MNIST."
        )
    if not run.has("images_seen"):
        return "no comparison with healthy runs, since there is no images_seen."
    if run.history["images_seen"][-1] < healthy_runs()[0]:
        return (
            f"no comparison with healthy runs, since theirs begins at "
            f"{healthy_runs()[0]:,.0f} images, and this run has seen "
            f"{run.history['images_seen'][-1]:,.0f}."
        )
    return None


def diagnose(
    history: Mapping[str, Sequence[float]],
    *,
    samples: Mapping[str, float | None] | None = None,
    config: Config | None = None,
) -> Report:
    """What the rules say of a history, as `read_history` gives it; see `Run`."""
    run = Run(history, samples, config)
    broken = not_finite(run)
    if broken is not None:
        return Report([broken], ["the rest of a run whose numbers are not finite."])
    findings = []
    other_loss = config is not None and config.loss == "hinge"
    if not other_loss:
        found = (rule(run) for rule in OF_THE_HISTORY)
        findings += [one for one in found if one is not None][:1]
    found = (rule(run) for rule in OF_THE_SAMPLES)
    findings += [one for one in found if one is not None]
    unjudged = []
    if other_loss:
        unjudged.append("the history, since its rules are not for the hinge loss.")
    elif (why := why_not_compared(run)) is not None:
        unjudged.append(why)
    missing = [WORDS[name] for name in LEVELS if not run.has(name)]
    if missing:
        unjudged.append(f"what {', '.join(missing)} would show; they are not there.")
    if len(history["d_loss"]) == 1:
        unjudged.append("any trend, since there is one epoch.")
    if samples is None:
        unjudged.append("samples, since there are none of MNIST's digits here.")
    return Report(findings, unjudged)


def examine(
    source: Path | str,
    *,
    columns: Mapping[str, str] | None = None,
    pixels: Tensor | None = None,
) -> Report:
    """What is wrong with the run in a folder, or with that of a csv file.

    Args:
        columns: {field of a Record: name of the column}, where they differ.
        pixels: samples, bytes (N, 1, 28, 28); None draws them from the generator in
            the folder, if there is one.

    Raises GanlibError for what cannot be read.
    """
    history = read_history(source, columns)
    config: Config | None = None
    samples: Mapping[str, float | None] | None = None
    notes: list[str] = []
    folder = Path(source)
    if (folder / GENERATOR).is_file():
        G, config = load_generator(folder)
        if draws_digits(config) and pixels is None:
            drawn = sample_pixels(G, config.latent_dim, count=SAMPLES)
            samples = {
                **sample_measures(drawn),
                "statistics_shift": statistics_shift(G, config.latent_dim),
            }
        notes = changed_fields(config)
    if pixels is not None:
        if tuple(pixels.shape[1:]) != (1, 28, 28) or len(pixels) < PAIRED:
            raise GanlibError(
                f"The samples are {tuple(pixels.shape)}; the doctor reads at least "
                f"{PAIRED} of (1, 28, 28)."
            )
        if config is None or draws_digits(config):
            samples = sample_measures(pixels)
    report = diagnose(history, samples=samples, config=config)
    report.notes += notes
    return report


def draws_digits(config: Config) -> bool:
    """Whether the rules for samples are for those of this config."""
    return config.dataset == "mnist" and config.image_shape == (1, 28, 28)


def changed_fields(config: Config) -> list[str]:
    """A sentence on what a config changes of its recipe; none if it is unknown."""
    if config.recipe not in RECIPES:
        return []
    theirs = RECIPES[config.recipe]
    changed = [
        f"{name} {getattr(config, name)} (not {value})"
        for name, value in vars(theirs).items()
        if name not in ("seed", "epochs", "dataset") and getattr(config, name) != value
    ]
    if not changed:
        return []
    return [f"the run differs from the recipe {config.recipe} in {', '.join(changed)}."]
