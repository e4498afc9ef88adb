"""What is wrong with this run? A history and samples, compared with healthy runs.

The rules are plain comparisons. Some hold for every run with the losses of the first
GAN paper, since they rest on arithmetic; the others compare with healthy runs of the
recipe mnist on MNIST, and say where they cannot.
"""

import csv
import io
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
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
from ganlib.training import Record

SAMPLE_MEASURES = "difference", "black", "roughness", "largest_class", "legible"
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


def columns_of(records: Sequence[Record]) -> dict[str, list[float]]:
    """The same of the Records that `fit` gives."""
    return {name: [getattr(row, name) for row in records] for name in COLUMNS}


def _number(text: str | None, where: str, column: str) -> float:
    """A cell of a csv file as a number; NaN and infinity are numbers here."""
    try:
        return float(text or "")
    except ValueError:
        raise GanlibError(
            f"{where} has {text or ''!r} as {column}; it must be a number."
        ) from None


# The bands

# Stored healthy runs, recipe mnist on MNIST: many short ones and a few whole ones.
SHORT, WHOLE = BANDS_OF = "failures", "scoreboard/mnist-on-mnist"
BANDS_CONFIG = RECIPES["mnist"]
BAND_SEEDS = 20  # of the short ones; later seeds judge the doctor
EDGE = 0.05  # share of the healthy runs that lies below a band, and above it
LEAST_WIDTH = 0.05  # of a band
ALARM = 1.0  # widths outside of the band from which on a pass counts

# Levels of the rules, set on healthy runs of the seeds 0 to 19 and faults of 0 to 2.
UNSTABLE = 3.0
FROM_THE_START = 1e-4  # D(G(z)) in the first record
D_WINS = 0.75  # D(x) - D(G(z)), in two records
COMES_BACK = 0.55  # the same in the second half of the run
OSCILLATES = 0.03  # D(G(z)) while D wins
CANNOT_TELL = 0.005  # D(x) - D(G(z)); healthy runs with a slow D have 0.008 and more
ONE_STEP = 0.2  # share of D(G(z)) that one step of D takes away
SHIFTED = 0.01
WASHED_OUT = 0.15
ALIKE = 0.75
LONG = 600_000  # images from which on samples are compared with the shipped network's


@cache
def healthy_runs(name: str) -> list[dict[str, list[float]]]:
    """{column: one number a record} of each of the stored runs called `name`."""
    runs = load_result(name)["runs"]
    if name == SHORT:
        rows_of = [run["history"] for run in runs if is_healthy(run)]
        seen_of = [[row.images_seen for row in rows] for rows in rows_of]
    else:
        rows_of = [run["losses"] for run in runs]
        parts = [run["images"] / len(run["losses"]) for run in runs]
        seen_of = [
            [part * (place + 1) for place in range(len(rows))]
            for part, rows in zip(parts, rows_of, strict=True)
        ]
    return [
        {
            **{
                column: [row[at] for row in rows] for at, column in enumerate(LEVELS, 1)
            },
            "images_seen": seen,
        }
        for rows, seen in zip(rows_of, seen_of, strict=True)
    ]


def is_healthy(run: Mapping[str, Any]) -> bool:
    """Whether a stored run of the experiment failures belongs to the bands."""
    return run["kind"] == "healthy" and run["seed"] < BAND_SEEDS


def longest_record(images_seen: Sequence[float]) -> float:
    return max(after - before for before, after in pairwise([0.0, *images_seen]))


def resampled(
    values: Sequence[float], images_seen: Sequence[float], part: float
) -> list[float]:
    """Means over parts of `part` images, of values that are means over others.

    Args:
        values: one mean for each record.
        images_seen: since the run began, at the end of each record.

    A last part that is not whole is left out.
    """
    ends = [0.0, *images_seen]
    sums = [0.0]
    for value, start, end in zip(values, ends, images_seen, strict=False):
        sums.append(sums[-1] + value * (end - start))
    whole = int(images_seen[-1] / part + 1e-9)
    at = np.interp([part * number for number in range(whole + 1)], ends, sums)
    return (np.diff(at) / part).tolist()


def bands(name: str, column: str, part: float) -> list[tuple[float, float, float]]:
    """(Low edge, median, high edge) of the stored runs called `name`, in each part.

    Args:
        name: one of BANDS_OF.
        part: images in a part of a run, at least as many as in its records.
    """
    parts = [
        resampled(run[column], run["images_seen"], part) for run in healthy_runs(name)
    ]
    edges = np.quantile(np.array(parts), (EDGE, 0.5, 1 - EDGE), axis=0)
    return [(low, middle, high) for low, middle, high in edges.T.tolist()]


def outside(value: float, low: float, high: float) -> float:
    """How far a value lies outside of a band, in widths of the band; 0 inside."""
    return max(low - value, value - high, 0.0) / max(high - low, LEAST_WIDTH)


# What the doctor says


class Cause(NamedTuple):
    """What may be wrong, and what mends it."""

    sentence: str
    mend: str


# What experiments/failures.py provokes, by the names that it has there.
CAUSES = {
    "D wins": Cause(
        "D is too fast for G: its learning rate is much higher than G's, or nothing "
        "holds it back.",
        "learning rates of one size, and the penalty r1_weight.",
    ),
    "D's rate too high": Cause(
        "D's learning rate is so high that D itself is unstable.",
        "a tenth of D's learning rate.",
    ),
    "D too slow": Cause(
        "D is too slow for G, which has collapsed to a few images.",
        "look at a hundred samples; if they are alike, raise D's learning rate.",
    ),
    "saturating loss": Cause(
        "The saturating loss, log(1 - D(G(z))).",
        'the non-saturating loss, loss="nonsaturating".',
    ),
    "beta1 0.9": Cause(
        "beta1 is 0.9 at a learning rate as high as 0.001.",
        "beta1 of 0.5 or less, or a tenth of the learning rates.",
    ),
    "data in 0..1": Cause(
        "The real images lie in 0..1, while G draws in -1..1.",
        "the smallest and the largest value of a real batch: they should be -1 and 1.",
    ),
    "labels swapped": Cause(
        "The labels in G's step are swapped: G is paid for being called generated.",
        "the label of real images, 1, in G's step.",
    ),
    "sigmoid twice": Cause(
        "The sigmoid is taken twice, in D and in the loss.",
        "a D that ends in its linear layer, with the loss that takes logits.",
    ),
    "no detach, no zero_grad": Cause(
        "Gradients add up: there is no zero_grad, and D's loss reaches G's weights.",
        "zero_grad before each backward, and no_grad or detach in D's turn.",
    ),
    "noise of one number": Cause(
        "The noise has too few numbers.", "the length of the noise, at least ten."
    ),
    "BatchNorm over a mixed batch": Cause(
        "D has BatchNorm, and sees real and generated images in one batch in its own "
        "turn, generated ones alone in G's.",
        "one batch for real and one for generated images, or a D without BatchNorm.",
    ),
    "100 images": Cause(
        "The real images are few, and D has come to know them.",
        "more images, or changed copies of them (augment.py).",
    ),
    "noise from rand": Cause(
        "The noise is another when samples are drawn: from torch.rand, or the same "
        "each time.",
        "the mean and the standard deviation of the noise, 0 and 1.",
    ),
    "foreign BatchNorm statistics": Cause(
        "The average of G carries the running statistics of G.",
        "refresh_batchnorm(G, latent_dim), or update_bn of torch.optim.swa_utils.",
    ),
}


class Finding(NamedTuple):
    """One thing that is wrong, or looks so."""

    fault: str
    sees: str  # a sentence with the numbers that show it
    causes: tuple[str, ...]  # the likeliest first
    first: str  # what to try first


def finding(fault: str, sees: str, *causes: str) -> Finding:
    """A Finding; names of CAUSES stand for their sentences, and the first one's mend.

    Args:
        causes: the likeliest first, which is a name; the others are names or sentences.
    """
    sentences = [CAUSES[one].sentence if one in CAUSES else one for one in causes]
    return Finding(fault, sees, tuple(sentences), CAUSES[causes[0]].mend)


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
def healthy_samples(long: bool) -> dict[str, float]:
    """The measures on healthy samples: of the network `mnist`, which ships, or medians.

    Args:
        long: whether the run is as long as that network's; else the medians are those
            of the short healthy runs.
    """
    if long:
        G, config = load_generator("mnist")
        return sample_measures(sample_pixels(G, config.latent_dim, count=SAMPLES))
    runs = [run["samples"] for run in load_result(SHORT)["runs"] if is_healthy(run)]
    return {name: median(one[name] for one in runs) for name in SAMPLE_MEASURES}


def young(run: Run) -> bool:
    """Whether a run is shorter than those of which healthy samples are known."""
    seen = run.history.get("images_seen")
    return seen is not None and seen[-1] < healthy_runs(SHORT)[0]["images_seen"][-1]


def samples_beside_usual(run: Run) -> tuple[dict[str, float], dict[str, float]] | None:
    """The measures on the samples, and on healthy ones after about as many images.

    None where there are no samples, or where the run is too young for them.
    """
    if run.samples is None or young(run):
        return None
    found = {name: run.samples[name] or 0.0 for name in SAMPLE_MEASURES}
    seen = run.history.get("images_seen", [math.inf])[-1]
    return found, healthy_samples(seen >= LONG)


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
    return finding(
        "Loss_G is negative",
        f"Loss_G is {run.late('g_loss'):.2g}, and -log D(G(z)) cannot be below 0.",
        "saturating loss",
        "A loss of another family (Wasserstein, hinge), for which this is normal.",
    )


def swapped(run: Run) -> Finding | None:
    if not run.has("d_fake_after"):
        return None
    # Files from elsewhere round a small D(G(z)) to 0.
    least = -math.log(max(run.late("d_fake_after"), 0.05))
    if run.late("g_loss") > least - 0.1:
        return None
    causes = ["labels swapped", "saturating loss"]
    if run.history["d_fake_after"][0] < FROM_THE_START:
        causes.reverse()  # swapped labels need some steps to bring it down
    return finding(
        "Loss_G and D(G(z)) contradict each other",
        f"Loss_G is {run.late('g_loss'):.2f}, while D(G(z)) is "
        f"{run.late('d_fake_after'):.2f}; a G that wants to be called real would pay "
        f"at least {least:.2f} for that.",
        *causes,
        "D(G(z)) was written down at another moment, or by another D, than Loss_G.",
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
    return finding(
        "No answer of D lies outside of 0.5 to 0.731",
        f"D(x) is at most {highest:.3f} and D(G(z)) at least {lowest:.3f}: what a "
        "sigmoid makes of numbers from 0 to 1.",
        "sigmoid twice",
    )


def exactly_one_half(run: Run) -> Finding | None:
    names = "d_real", "d_fake_before", "d_fake_after"
    if not run.has(*names):
        return None
    if any(abs(run.late(name) - 0.5) > 0.0005 for name in names):
        return None
    return finding(
        "Every answer of D is one half",
        f"D(x) is {run.late('d_real'):.4f} and D(G(z)) "
        f"{run.late('d_fake_before'):.4f}; of logits one would expect some spread.",
        "sigmoid twice",
        "D learns nothing: its weights are frozen, or its learning rate is 0.",
        "D too slow",
    )


def mixed_batch(run: Run) -> Finding | None:
    if not run.has("d_fake_before", "d_fake_after"):
        return None
    before, after = run.late("d_fake_before"), run.late("d_fake_after")
    if after < before + 0.1:
        return None
    return finding(
        "D is surer of generated images in its own turn than in G's",
        f"D(G(z)) is {before:.2f} in D's turn and {after:.2f} in G's, after D has "
        "learned more.",
        "BatchNorm over a mixed batch",
        "D has dropout or another layer that is in another mode in G's turn.",
    )


def unstable(run: Run) -> Finding | None:
    if run.late("d_loss") < UNSTABLE:
        return None
    return finding(
        "Loss_D is far above that of guessing",
        f"Loss_D is {run.late('d_loss'):.1f}; a D that always says one half pays 1.39.",
        "D's rate too high",
        "beta1 0.9",
        "no detach, no zero_grad",
    )


def half_blind(run: Run) -> Finding | None:
    if not run.has("d_real", "d_fake_before"):
        return None
    real, fake = run.late("d_real"), run.late("d_fake_before")
    if real < 0.8 or fake < 0.4:
        return None
    return finding(
        "D knows real images and not generated ones",
        f"D(x) is {real:.2f} and D(G(z)) {fake:.2f} at once.",
        "no detach, no zero_grad",
        "D never sees generated images with the label 0.",
    )


def d_wins(run: Run) -> Finding | None:
    if not run.has("d_real", "d_fake_after"):
        return None
    real, fake = run.late("d_real"), run.late("d_fake_after")
    apart = sorted(
        real - fake
        for real, fake in zip(
            run.history["d_real"], run.history["d_fake_after"], strict=True
        )
    )
    if apart[-2:][0] < D_WINS or real - fake < COMES_BACK:
        return None
    causes = ["D wins", "beta1 0.9"]
    # At times G comes near, as one that is too slow never does.
    if fake > OSCILLATES:
        causes.reverse()
    return finding(
        "D wins",
        f"D(x) and D(G(z)) have been {apart[-1]:.2f} apart; in the second half D(x) is "
        f"{real:.2f} and D(G(z)) {fake:.2f}, Loss_D {run.late('d_loss'):.2f}, Loss_G "
        f"{run.late('g_loss'):.2f}.",
        *causes,
        "Real and generated images differ in their range, or another simple way.",
        "No gradient reaches G.",
    )


def cannot_tell(run: Run) -> Finding | None:
    if not run.has("d_real", "d_fake_before"):
        return None
    real, fake = run.late("d_real"), run.late("d_fake_before")
    if abs(real - fake) >= CANNOT_TELL or run.late("d_loss") < 1.3:
        return None
    return finding(
        "D cannot tell at all",
        f"D(x) is {real:.2f} and D(G(z)) {fake:.2f}, Loss_D "
        f"{run.late('d_loss'):.2f} (a D that guesses pays 1.39).",
        "D too slow",
        "sigmoid twice",
        "D learns nothing: its weights are frozen, or its learning rate is 0.",
        "Perfect play; no stored run has come there.",
    )


def foreign_statistics(run: Run) -> Finding | None:
    shift = (run.samples or {}).get("statistics_shift")
    if shift is None or shift < SHIFTED:
        return None
    return finding(
        "G's BatchNorm statistics are not its own",
        f"Measured anew, they change a pixel of the samples by {shift:.3f} on average "
        "(pixels go from -1 to 1).",
        "foreign BatchNorm statistics",
        "The file was written in the middle of a step.",
    )


def washed_out(run: Run) -> Finding | None:
    measured = samples_beside_usual(run)
    if measured is None:
        return None
    found, usual = measured
    if found["black"] > WASHED_OUT * usual["black"]:
        return None
    return finding(
        "The background of the samples is not black",
        f"{found['black']:.0%} of their pixels are black; in healthy samples of MNIST "
        f"{usual['black']:.0%} are.",
        "data in 0..1",
        "G has not learned yet, or draws noise.",
        "foreign BatchNorm statistics",
    )


def alike(run: Run) -> Finding | None:
    measured = samples_beside_usual(run)
    if measured is None:
        return None
    found, usual = measured
    difference, share = found["difference"], found["largest_class"]
    if difference > ALIKE * usual["difference"] and share < 0.5:
        return None
    causes = ["noise from rand", "noise of one number", "D too slow"]
    if strayed(run):  # what is wrong in sampling alone leaves the history as it was
        causes = [causes[1], causes[2], causes[0]]
    return finding(
        "The samples are too much alike",
        f"Two of them are {difference:.1f} apart on average (healthy: "
        f"{usual['difference']:.1f}), and {share:.0%} are read as one digit (healthy: "
        f"{usual['largest_class']:.0%}).",
        *causes,
    )


def illegible(run: Run) -> Finding | None:
    measured = samples_beside_usual(run)
    if measured is None:
        return None
    found, usual = measured
    if found["legible"] > 0.6 * usual["legible"]:
        return None
    return Finding(
        "The samples are no digits",
        f"The classifier is certain of {found['legible']:.0%} of them (healthy: "
        f"{usual['legible']:.0%}).",
        ("Too few steps.", "One network has lost the game."),
        "the pictures of the first and of the last epoch, beside each other.",
    )


class Stray(NamedTuple):
    """The column that lies furthest outside of its band."""

    column: str
    widths: float  # how far, in widths of the band; the median over the parts
    value: float  # in the last part
    band: tuple[float, float, float]
    part: float  # images
    images: float  # at the end of the last part


def strayed(run: Run) -> Stray | None:
    """What lies furthest outside of the bands, if it is more than ALARM."""
    if why_not_compared(run) is not None:
        return None
    seen = run.history["images_seen"]
    worst = None
    for name in BANDS_OF:
        own = healthy_runs(name)[0]["images_seen"]
        part = max(longest_record(own), longest_record(seen))
        if part > own[-1] or part > seen[-1]:
            continue
        for column in LEVELS:
            if not run.has(column):
                continue
            values = resampled(run.history[column], seen, part)
            pairs = list(zip(values, bands(name, column, part), strict=False))
            widths = median(
                outside(value, low, high) for value, (low, _, high) in pairs
            )
            if widths > (ALARM if worst is None else worst.widths):
                worst = Stray(column, widths, *pairs[-1], part, part * len(pairs))
    return worst


def outside_of_the_bands(run: Run) -> Finding | None:
    stray = strayed(run)
    if stray is None:
        return None
    low, _, high = stray.band
    start, end = stray.images - stray.part, stray.images
    sees = (
        f"{WORDS[stray.column]} is {stray.value:.2f} from image {start:,.0f} to "
        f"{end:,.0f}; there healthy runs have {low:.2f} to {high:.2f}."
    )
    return finding(
        "The numbers lie outside of those of healthy runs",
        sees,
        *likely_strays(run),
        "Another setting differs from the recipe.",
    )


def likely_strays(run: Run) -> list[str]:
    """Causes, the likeliest first, of a history that is outside of the bands."""
    causes = ["100 images", "data in 0..1", "noise of one number"]
    if not run.has("d_real", "d_fake_before", "d_fake_after"):
        return causes
    before, after = run.late("d_fake_before"), run.late("d_fake_after")
    # Images that are much alike: one step of D changes its mind about all of them.
    if before - after > ONE_STEP * before:
        causes = [*causes[1:], causes[0]]
        if run.late("d_real") < 0.66:
            causes[:2] = reversed(causes[:2])
    return causes


WORDS = {
    "d_loss": "Loss_D",
    "g_loss": "Loss_G",
    "d_real": "D(x)",
    "d_fake_before": "D(G(z)) before D's step",
    "d_fake_after": "D(G(z)) after D's step",
}
# Of the history the first rule that fits is named, for it explains what the later ones
# would see; the bands are asked where none fits.
OF_THE_HISTORY: tuple[Callable[[Run], Finding | None], ...] = (
    saturating,
    swapped,
    sigmoid_twice,
    exactly_one_half,
    mixed_batch,
    unstable,
    half_blind,
    d_wins,
    cannot_tell,
)
OF_THE_SAMPLES: tuple[Callable[[Run], Finding | None], ...] = (
    foreign_statistics,
    washed_out,
    alike,
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
    least = longest_record(healthy_runs(SHORT)[0]["images_seen"])
    if run.history["images_seen"][-1] < least:
        return (
            f"no comparison with healthy runs, since theirs begins at {least:,.0f} "
            f"images, and this run has seen {run.history['images_seen'][-1]:,.0f}."
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
    other_loss = config is not None and config.loss == "hinge"
    rules = () if other_loss else OF_THE_HISTORY
    of_history = [one for rule in rules if (one := rule(run)) is not None][:1]
    findings = [*of_history]
    findings += [one for rule in OF_THE_SAMPLES if (one := rule(run)) is not None]
    if not of_history and (one := outside_of_the_bands(run)) is not None:
        findings.append(one)
    if (one := illegible(run)) is not None:
        findings.append(one)
    unjudged = []
    if other_loss:
        unjudged.append("the history, since its rules are not for the hinge loss.")
    elif (why := why_not_compared(run)) is not None:
        unjudged.append(why)
    elif history["images_seen"][-1] > (
        last := healthy_runs(WHOLE)[0]["images_seen"][-1]
    ):
        unjudged.append(f"what came after {last:,.0f} images, where healthy runs end.")
    missing = [WORDS[name] for name in LEVELS if not run.has(name)]
    if missing:
        unjudged.append(f"what {', '.join(missing)} would show; they are not there.")
    if len(history["d_loss"]) == 1:
        unjudged.append("any trend, since there is one epoch.")
    if samples is None:
        unjudged.append("samples, since there are none of MNIST's digits here.")
    elif young(run):
        least = healthy_runs(SHORT)[0]["images_seen"][-1]
        unjudged.append(
            f"samples, since healthy ones are known from {least:,.0f} images on."
        )
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


# The doctor judged


NOTHING = "nothing"
FAULT_SEEDS = 3  # of the faults, on which the levels were set; later seeds judge


def judging(runs: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The stored runs on which nothing of the doctor was set: faults and healthy."""
    first = {"healthy": BAND_SEEDS, "fault": FAULT_SEEDS}
    return [run for run in runs if run["seed"] >= first.get(run["kind"], math.inf)]


def suspect(report: Report) -> str:
    """The name of the cause that a report puts first; NOTHING without a finding."""
    if not report.findings:
        return NOTHING
    first = report.findings[0].causes[0]
    names = [name for name, cause in CAUSES.items() if cause.sentence == first]
    return names[0] if names else "another"


def confusion(
    runs: Iterable[Mapping[str, Any]], *, with_samples: bool = True
) -> Counter[tuple[str, str]]:
    """{(what was wrong, what the doctor suspects first): runs}.

    Args:
        runs: as `load_result("failures")` has them. The doctor gets their history, as
            that of a run of the recipe mnist, and is not told what was changed.
        with_samples: whether it gets what was measured on the samples, too.
    """
    pairs: Counter[tuple[str, str]] = Counter()
    for run in runs:
        samples = run["samples"] if with_samples else None
        history = columns_of(run["history"])
        report = diagnose(history, samples=samples, config=BANDS_CONFIG)
        truth = NOTHING if run["kind"] == "healthy" else run["case"]
        pairs[truth, suspect(report)] += 1
    return pairs


class Judgement(NamedTuple):
    """How often the doctor was right."""

    faults: int
    noticed: int  # faults with any finding
    named: int  # faults of which the first cause of the first finding was the right one
    healthy: int
    alarms: int  # healthy runs with a finding


def judgement(pairs: Mapping[tuple[str, str], int]) -> Judgement:
    """What a confusion matrix, as `confusion` gives it, comes to."""

    def runs(fits: Callable[[str, str], bool]) -> int:
        return sum(count for pair, count in pairs.items() if fits(*pair))

    return Judgement(
        faults=runs(lambda truth, said: truth != NOTHING),
        noticed=runs(lambda truth, said: NOTHING not in (truth, said)),
        named=runs(lambda truth, said: truth == said != NOTHING),
        healthy=runs(lambda truth, said: truth == NOTHING),
        alarms=runs(lambda truth, said: truth == NOTHING != said),
    )
