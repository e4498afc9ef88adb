"""When a run on few pictures should stop: two criteria on pictures held out from it."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from ganlib.data.transforms import normalize
from ganlib.metrics import (
    Classifier,
    copied_share,
    extract_features,
    kernel_distance,
)
from ganlib.sampling import sample_pixels

HELD_OUT = 0.2  # share of the pictures, of which the run learns nothing
MOST_HELD_OUT = 1_000
SAMPLES = 250  # behind each measurement: with few held out, more say little more
PATIENCE = 12  # measurements without a better one before the run stops
MOST_COPIED = 0.2  # share of copies above which a generator is not kept


def hold_out(pixels: Tensor, count: int | None = None) -> tuple[Tensor, Tensor]:
    """Pictures (N, ...) -> those to learn from, and `count` others, always the same.

    Without a count it is the share HELD_OUT of them, at most MOST_HELD_OUT.
    """
    if count is None:
        count = min(round(HELD_OUT * len(pixels)), MOST_HELD_OUT)
    order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0))
    return pixels[order[count:]], pixels[order[:count]]


class Measure(NamedTuple):
    """What is measured of a generator after an epoch."""

    epoch: int
    kid: float  # kernel_distance to held-out pictures; 0 is best
    copied: float  # copied_share; 0 is best
    copied_error: float  # its standard error


def features_of(feature_extractor: Classifier, pixels: Tensor) -> Tensor:
    """Features (N, F) of bytes (N, C, H, W), grey or of another size than it takes."""
    channels, side, _ = feature_extractor.image_shape
    parts = []
    for part in pixels.split(1_000):
        images = normalize(part).expand(-1, channels, -1, -1)
        if images.shape[-1] != side:
            images = interpolate(images, size=(side, side))
        parts.append(extract_features(feature_extractor, images))
    return torch.cat(parts)


class Watch:
    """Two criteria on one run: KID on held-out pictures, and the share of copies.

    Args:
        feature_extractor: from `load_feature_extractor`.
        training: pictures that the run learns from, bytes (N, C, H, W).
        held_out: others, likewise.
    """

    def __init__(
        self, feature_extractor: Classifier, training: Tensor, held_out: Tensor
    ) -> None:
        self.feature_extractor = feature_extractor
        self.training = self.features(training)
        self.held_out = self.features(held_out)
        self.measures: list[Measure] = []

    def features(self, pixels: Tensor) -> Tensor:
        """Features (N, F) of bytes (N, C, H, W)."""
        return features_of(self.feature_extractor, pixels)

    def measure(self, G: nn.Module, latent_dim: int, epoch: int) -> Measure:
        """Measure SAMPLES images of G, always of the same noise, and remember it."""
        fake = self.features(sample_pixels(G, latent_dim, count=SAMPLES, seed=1))
        kid, _ = kernel_distance(self.held_out, fake, subsets=100)
        copied = copied_share(fake, self.training, self.held_out)
        self.measures.append(Measure(epoch, kid, *copied))
        return self.measures[-1]

    @property
    def best(self) -> Measure | None:
        """The smallest KID of those that do not copy; None before there is one."""
        allowed = [one for one in self.measures if not copies(one)]
        return min(allowed, key=lambda one: one.kid, default=None)

    @property
    def reason_to_stop(self) -> str | None:
        """Why the run should stop, in a sentence; None while it should not."""
        last_two = self.measures[-2:]
        if len(last_two) == 2 and all(copies(one) for one in last_two):
            return (
                f"G copies: {last_two[-1].copied:.0%} of its images lie by a picture "
                "that it learned from as only copies do, and so it was the time before."
            )
        waited = len(self.measures) - 1 - self._place_of_best()
        if waited >= PATIENCE:
            return (
                f"The distance to the held-out pictures has not fallen in {PATIENCE} "
                "measurements."
            )
        return None

    def _place_of_best(self) -> int:
        return -1 if self.best is None else self.measures.index(self.best)


def copies(measure: Measure) -> bool:
    """Whether the share of copies is above MOST_COPIED and above two of its errors."""
    return measure.copied > max(MOST_COPIED, 2 * measure.copied_error)
