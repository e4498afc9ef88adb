"""The scores: known answers on made-up features, and errors where a number would mislead."""

import pytest
import torch

from ganlib.errors import GanlibError
from ganlib.metrics import DigitClassifier, subsample, extract_features, frechet_distance, inside, kernel_distance, load_classifier, nearest, precision_recall_density_coverage, knn_radii, score
from ganlib.data.transforms import normalize


def clouds(*centres, each=500, seed=0):
    """Points (len(centres) * each, 4): a normal cloud around each of the centres."""
    generator = torch.Generator().manual_seed(seed)
    return torch.cat([torch.randn(each, 4, generator=generator) + centre for centre in centres])


def test_precision_and_recall_are_not_swapped():
    real, generated = clouds(0, 50), clouds(0, 0, seed=1)  # half of the real class_coverage is never generated
    lopsided = precision_recall_density_coverage(real, generated)
    assert lopsided["precision"] > 0.9 and lopsided["recall"] == pytest.approx(0.5, abs=0.05)
    other = precision_recall_density_coverage(generated, real)  # half of what is generated is not real
    assert other["precision"] == pytest.approx(0.5, abs=0.05) and other["recall"] > 0.9


def test_coverage_sees_the_missing_half_and_density_the_crowded_one():
    shares = precision_recall_density_coverage(clouds(0, 50), clouds(0, 0, seed=1))
    assert shares["coverage"] == pytest.approx(0.5, abs=0.05)
    assert shares["density"] == pytest.approx(1.0, abs=0.15)


def test_an_outlier_among_the_real_images_inflates_precision_and_not_density():
    real = torch.cat([clouds(0), torch.full((1, 4), 100.0)])  # all its neighbours are far: one ball holds everything
    shares = precision_recall_density_coverage(real, clouds(80, seed=1))
    assert shares["precision"] == 1.0 and shares["density"] == pytest.approx(0.2)


def test_radii_and_inside_by_hand():
    line = torch.tensor([[0.0], [1.0], [3.0], [7.0]])
    assert knn_radii(line, 1).tolist() == [1, 1, 2, 4]
    assert knn_radii(line, 2).tolist() == [3, 2, 3, 6]
    assert inside(torch.tensor([[0.5], [5.0], [20.0]]), line, knn_radii(line, 1)).tolist() == [2, 2, 0]


def test_the_frechet_distance_of_two_normal_clouds_is_the_formula():
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(200_000, 3, generator=generator)
    b = torch.randn(200_000, 3, generator=generator) * 2 + 1
    expected = 3 * 1**2 + 3 * (1 + 4 - 2 * 2)  # |m - m'|² + Σ (s - s')²
    assert frechet_distance(a, b) == pytest.approx(expected, rel=0.02)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)


def test_the_kernel_distance_is_unbiased_and_grows_with_the_shift():
    same = kernel_distance(clouds(0, each=5000), clouds(0, each=5000, seed=1))
    near, far = (kernel_distance(clouds(0, each=2000), clouds(shift, each=2000, seed=1)) for shift in (0.5, 1.0))
    assert abs(same) < 20 < near < far


def test_the_scores_of_a_hand_made_set_count_images_and_classes():
    torch.manual_seed(0)
    classifier = DigitClassifier()
    with torch.no_grad():  # the class of an image is decided by the bias alone: all in class 3
        classifier.head.weight.zero_()
        classifier.head.bias.copy_(torch.eye(10)[3])
    real, generated = torch.rand(1200, 1, 28, 28) * 2 - 1, torch.rand(1000, 1, 28, 28) * 2 - 1
    scores = score(classifier, real, generated)
    assert (scores.real, scores.generated, scores.classes) == (1200, 1000, 1)
    assert scores.kl == pytest.approx(2.302585, abs=1e-5)  # log 10


@pytest.mark.parametrize("real, generated, word", [(999, 1000, "real"), (1000, 10, "generated")])
def test_too_few_images_are_an_error_and_no_number(real, generated, word):
    with pytest.raises(GanlibError, match=rf"\d+ {word} images; a score needs at least 1,000"):
        score(DigitClassifier(), torch.zeros(real, 1, 28, 28), torch.zeros(generated, 1, 28, 28))


def test_bytes_and_floats_score_alike():
    pixels = torch.randint(0, 256, (2000, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    classifier = DigitClassifier()
    assert score(classifier, pixels[:1000], pixels[1000:]) == score(
        classifier, normalize(pixels[:1000]), normalize(pixels[1000:])
    )


def test_images_of_another_shape_are_one_sentence():
    gray, colour = torch.zeros(1000, 1, 28, 28), torch.zeros(1000, 3, 64, 64)
    with pytest.raises(GanlibError, match=r"^The generated images are \(3, 64, 64\); this judge takes \(1, 28"):
        score(DigitClassifier(), gray, colour)
    with pytest.raises(GanlibError, match="The real images are"):
        score(DigitClassifier(), colour, gray)


def test_the_nearest_by_hand():
    distance, index = nearest(
        torch.tensor([[0.0, 0.0], [9.0, 4.0]]), torch.tensor([[9.0, 0.0], [3.0, 4.0], [9.0, 7.0]])
    )
    assert distance.tolist() == [5, 3] and index.tolist() == [1, 2]


def test_a_copy_has_distance_zero_however_many_there_are():
    others = clouds(100, each=3000)  # far from 0, where the fast way to a distance rounds most
    copied = torch.randperm(3000, generator=torch.Generator().manual_seed(1))[:1200]
    distance, index = nearest(others[copied], others)
    assert (distance == 0).all() and torch.equal(index, copied)
    assert nearest(others[copied] + 0.01, others)[0].min() > 0


def test_the_chosen_come_from_all_over_and_are_always_the_same():
    pixels = torch.arange(1000)
    chosen = subsample(pixels, 100)
    assert len(set(chosen.tolist())) == 100 and chosen.min() < 100 and chosen.max() >= 900
    assert torch.equal(subsample(pixels, 100), chosen)
    assert torch.equal(subsample(pixels, 1000), pixels)


def test_features_do_not_depend_on_the_batch():
    classifier, images = DigitClassifier().eval(), torch.rand(1500, 1, 28, 28)
    with torch.no_grad():
        assert torch.allclose(extract_features(classifier, images), classifier.features(images), atol=1e-5)


def test_an_unknown_classifier_lists_the_known_ones():
    with pytest.raises(GanlibError, match="no classifier for 'cats'"):
        load_classifier("cats")
