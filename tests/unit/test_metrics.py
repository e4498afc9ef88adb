"""score(): every number of images whose features are planted, and its refusals."""

import math

import pytest
import torch
from torch import nn

from ganlib.data.transforms import normalize
from ganlib.errors import GanlibError
from ganlib.metrics import (
    Classifier,
    DigitClassifier,
    extract_features,
    score,
    subsample,
)


class Pixels(Classifier):
    """The two pixels of an image are its features; the first gives its class."""

    num_features = 2
    image_shape = 1, 1, 2

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Flatten())
        self.head = nn.Linear(2, 2)

    def classes_of(self, features):
        return (features[:, 0] > 5).long()

    def class_coverage(self, real_features, fake_features):
        return len(real_features), len(fake_features) / 8


def as_images(features):
    return features.view(-1, 1, 1, 2)


@pytest.fixture(scope="module")
def planted():
    """Scores of two equal modes, of which one alone is generated.

    Each has 600 points, the covariance 1, and its mean at (0, 0) or at (10, 0).
    """
    points = torch.randn(600, 2, generator=torch.Generator().manual_seed(0))
    mode = torch.linalg.qr(points - points.mean(dim=0)).Q * math.sqrt(600)
    real = torch.cat([mode, mode + torch.tensor([10.0, 0.0])])
    return score(Pixels(), as_images(real), as_images(mode.repeat(2, 1)))


def test_frechet_of_planted_features(planted):
    # The variance of both modes together is 25 larger from left to right.
    expected = 5**2 + (math.sqrt(26) - math.sqrt(1)) ** 2
    assert planted.frechet == pytest.approx(expected, rel=0.002)


def test_uneven_shares_alone_leave_the_even_distance_at_zero():
    """Two modes, one generated nine times as often as the other."""
    points = torch.randn(1000, 2, generator=torch.Generator().manual_seed(0))
    modes = points, points + torch.tensor([10.0, 0.0])
    real = torch.cat(modes)
    fake = torch.cat([modes[0].repeat(9, 1), modes[1]])
    scores = score(Pixels(), as_images(real), as_images(fake))
    assert scores.frechet > 15
    assert scores.frechet_even == pytest.approx(0, abs=0.01)


def test_other_images_of_a_class_are_seen_by_the_even_distance_too():
    points = torch.randn(1000, 2, generator=torch.Generator().manual_seed(0))
    other = points + torch.tensor([10.0, 0.0])
    moved = points + torch.tensor([0.0, 4.0])
    real, fake = torch.cat([points, other]), torch.cat([moved, other])
    scores = score(Pixels(), as_images(real), as_images(fake))
    # The mean is 2 away, the variance upwards 4 larger; the two are not independent.
    assert scores.frechet_even == pytest.approx(scores.frechet, rel=0.01)
    assert scores.frechet_even > 4


def test_precision_and_recall_of_planted_features(planted):
    assert planted.precision == 1.0
    assert planted.recall == 0.5


def test_density_and_coverage_of_planted_features(planted):
    # Five neighbours and itself; those on the surface of a ball may be rounded out.
    assert planted.density == pytest.approx(6 / 5, abs=0.02)
    assert planted.coverage == 0.5


def test_classes_and_counts_are_asked_of_real_then_of_generated_images():
    images = as_images(torch.randn(2400, 2, generator=torch.Generator().manual_seed(0)))
    scores = score(Pixels(), images[:1400], images[1400:])
    assert (scores.classes, scores.kl) == (1400, 1000 / 8)
    assert (scores.real, scores.generated) == (1400, 1000)


def test_kid_of_planted_features():
    """Of exactly 1,000 images: one subset, the definition, and no error."""
    generator = torch.Generator().manual_seed(0)
    real = torch.randn(1000, 2, generator=generator) + 3
    fake = 2 * torch.randn(1000, 2, generator=generator)
    scores = score(Pixels(), as_images(real), as_images(fake))
    x, y = (part.double() / real.square().mean().sqrt() for part in (real, fake))
    within_x, within_y = ((p @ p.T / 2 + 1) ** 3 for p in (x, y))
    across = (x @ y.T / 2 + 1) ** 3
    others = ~torch.eye(1000, dtype=torch.bool)
    mmd = within_x[others].mean() + within_y[others].mean() - 2 * across.mean()
    assert scores.kid == pytest.approx(1000 * mmd.item(), rel=1e-5)
    assert scores.kid_error is None


def test_kid_has_an_error_with_more_images():
    images = as_images(torch.randn(3000, 2, generator=torch.Generator().manual_seed(0)))
    scores = score(Pixels(), images[:1500], images[1500:])
    assert abs(scores.kid) < 3 * scores.kid_error


@pytest.mark.parametrize("name", ["real", "generated"])
def test_too_few_images_are_refused(name):
    counts = {"real": 1000, "generated": 1000, name: 999}
    images = [torch.zeros(count, 1, 28, 28) for count in counts.values()]
    with pytest.raises(
        GanlibError, match=rf"^There are 999 {name} images; a score needs .* 1,000\.$"
    ):
        score(DigitClassifier(), *images)


@pytest.mark.parametrize("name", ["real", "generated"])
def test_images_of_another_shape_are_refused(name):
    shapes = {"real": (1, 28, 28), "generated": (1, 28, 28), name: (3, 64, 64)}
    images = [torch.zeros(1000, *shape) for shape in shapes.values()]
    with pytest.raises(
        GanlibError, match=rf"^The {name} images are \(3, 64, 64\); .*\(1, 28, 28\)\.$"
    ):
        score(DigitClassifier(), *images)


def random_bytes(count):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(
        0, 256, (count, 1, 28, 28), dtype=torch.uint8, generator=generator
    )


def test_bytes_and_floats_have_the_same_features():
    classifier, pixels = DigitClassifier(), random_bytes(20)
    from_bytes = extract_features(classifier, pixels)
    assert torch.equal(from_bytes, extract_features(classifier, normalize(pixels)))


def test_features_do_not_depend_on_the_number_of_images():
    classifier, images = DigitClassifier(), normalize(random_bytes(1500))
    with torch.no_grad():
        at_once = classifier.features(images)
    assert torch.allclose(extract_features(classifier, images), at_once, atol=1e-5)


def test_features_are_computed_on_the_device_of_the_network():
    classifier = DigitClassifier().to("meta")
    features = extract_features(classifier, random_bytes(5))
    assert features.shape == (5, classifier.num_features)
    assert features.device.type == "meta"


def test_a_subsample_comes_from_all_over_and_is_always_the_same():
    images = torch.arange(1000)
    chosen = subsample(images, 100)
    assert len(set(chosen.tolist())) == 100
    assert chosen.min() < 100 and chosen.max() >= 900
    assert torch.equal(subsample(images, 100), chosen)


def test_a_subsample_of_more_than_there_are_is_all():
    images = torch.arange(1000)
    assert torch.equal(subsample(images, 1000), images)
    assert torch.equal(subsample(images, 2000), images)
