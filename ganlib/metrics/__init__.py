"""How good are generated images? Scores that compare them with real ones."""

from typing import NamedTuple

import torch
from torch import Tensor

from ganlib.errors import GanlibError
from ganlib.metrics.classifiers import (
    CLASSIFIERS,
    MIN_IMAGES,
    AttributeClassifier,
    Classifier,
    DigitClassifier,
    attribute_coverage,
    class_accuracy,
    extract_features,
    load_classifier,
    load_feature_extractor,
    read_attributes,
)
from ganlib.metrics.distances import (
    even_weights,
    frechet_distance,
    kernel_distance,
)
from ganlib.metrics.neighbours import (
    copied_share,
    count_in_balls,
    knn_radii,
    nearest_neighbour,
    precision_recall_density_coverage,
)

__all__ = [
    "CLASSIFIERS",
    "MIN_IMAGES",
    "AttributeClassifier",
    "Classifier",
    "DigitClassifier",
    "Scores",
    "attribute_coverage",
    "class_accuracy",
    "copied_share",
    "count_in_balls",
    "extract_features",
    "frechet_distance",
    "kernel_distance",
    "knn_radii",
    "load_classifier",
    "load_feature_extractor",
    "nearest_neighbour",
    "precision_recall_density_coverage",
    "read_attributes",
    "score",
    "subsample",
]


class Scores(NamedTuple):
    """How generated images compare with real ones, and how many of each there were.

    All but the counts are computed from features; see the function of each.
    """

    frechet: float  # frechet_distance; 0 is best
    frechet_even: float | None  # the same with classes weighed evenly; None: no classes
    kid: float  # kernel_distance; 0 is best, and chance takes it below
    kid_error: float | None  # standard error of kid; None for exactly 1,000 images
    precision: float  # share of generated images near real ones; 1 is best
    recall: float  # share of real images near generated ones; 1 is best
    density: float  # like precision, counting the real ones; about 1 for real images
    coverage: float  # share of real images with a generated one nearby; 1 is best
    classes: int | None  # classes that are generated; None: the network knows none
    kl: float | None  # nats from the real shares of classes to these; 0 is best
    real: int  # images
    generated: int  # images


@torch.no_grad()
def score(feature_extractor: Classifier, real: Tensor, generated: Tensor) -> Scores:
    """Compare generated images with real ones in the features of a network.

    Args:
        feature_extractor: from `load_feature_extractor`, on any device.
        real: images (N, C, H, W), bytes or in -1..1, on any device.
        generated: images (M, C, H, W), likewise.

    Raises GanlibError for images of another shape than the network takes, and for fewer
    than 1,000 of either.
    """
    _check_images(feature_extractor, "real", real)
    _check_images(feature_extractor, "generated", generated)
    real_features = extract_features(feature_extractor, real)
    fake_features = extract_features(feature_extractor, generated)
    kid, kid_error = kernel_distance(real_features, fake_features)
    classes, kl = feature_extractor.class_coverage(real_features, fake_features)
    return Scores(
        frechet=frechet_distance(real_features, fake_features),
        frechet_even=_frechet_even(feature_extractor, real_features, fake_features),
        kid=kid,
        kid_error=kid_error,
        **precision_recall_density_coverage(real_features, fake_features),
        classes=classes,
        kl=kl,
        real=len(real),
        generated=len(generated),
    )


def _frechet_even(
    feature_extractor: Classifier, real_features: Tensor, fake_features: Tensor
) -> float | None:
    """The Fréchet distance with classes weighed evenly on both sides.

    It does not see how often a class is generated, only what its images are like.
    """
    real_classes = feature_extractor.classes_of(real_features)
    fake_classes = feature_extractor.classes_of(fake_features)
    if real_classes is None or fake_classes is None:
        return None
    return frechet_distance(
        real_features,
        fake_features,
        real_weights=even_weights(real_classes),
        fake_weights=even_weights(fake_classes),
    )


def _check_images(feature_extractor: Classifier, name: str, images: Tensor) -> None:
    """Raise GanlibError unless the images, called `name`, can be scored."""
    shape, expected = tuple(images.shape[1:]), feature_extractor.image_shape
    if shape != expected:
        raise GanlibError(
            f"The {name} images are {shape}; this feature extractor takes {expected}."
        )
    if len(images) < MIN_IMAGES:
        raise GanlibError(
            f"There are {len(images)} {name} images; a score needs at least "
            f"{MIN_IMAGES:,}."
        )


def subsample(images: Tensor, count: int) -> Tensor:
    """`count` of the images (N, ...), or all if there are no more.

    They are drawn from all over, since the first of a data set may be special, and are
    the same at each call.
    """
    if len(images) <= count:
        return images
    source = torch.Generator().manual_seed(0)
    order = torch.randperm(len(images), generator=source, device="cpu")
    return images[order[:count]]
