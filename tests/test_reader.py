"""The reader of faces: right on fresh drawings and on spoiled ones, and a coverage that can be worked out by hand."""

import pytest
import torch

from ganlib.avatars import FACTORS, common, draw, split
from ganlib.config import GanlibError
from ganlib.pixels import normalize
from ganlib.reader import READERS, Reader, accuracy, covered, load_reader, read_factors
from ganlib.weights import read_about


@pytest.fixture(scope="module")
def fresh():
    pixels, labels = draw(2000, seed=12345)
    return normalize(pixels), labels


def test_fresh_drawings_are_read_without_fail(fresh):
    images, labels = fresh
    factors = read_factors(images)
    assert factors.dtype == torch.int64 and factors.shape == (2000, len(FACTORS))
    assert accuracy(factors, split(labels))["all"] >= 0.99


def test_blurred_and_noisy_drawings_are_still_read(fresh):
    images, labels = fresh[0][:500], fresh[1][:500]
    generator = torch.Generator().manual_seed(0)
    blurred = torch.nn.functional.avg_pool2d(images, 3, stride=1, padding=1)
    noisy = images + 0.1 * torch.randn(images.shape, generator=generator)
    for spoiled in blurred, noisy:
        assert accuracy(read_factors(spoiled), split(labels))["all"] >= 0.95


def test_the_reader_does_not_look_at_the_labels(fresh):
    mirrored = read_factors(fresh[0][:300].flip(3))  # a mirrored face has the same factors
    assert accuracy(mirrored, split(fresh[1][:300]))["all"] >= 0.95
    swapped = read_factors(fresh[0][:300].flip(1))  # red for blue: another skin, hair and background
    assert accuracy(swapped, split(fresh[1][:300]))["all"] < 0.5


def test_features_and_head_make_up_the_network(fresh):
    reader, images = load_reader(), fresh[0][:10]
    assert not reader.training
    with torch.no_grad():
        features = reader.features(images)
        assert features.shape == (10, reader.num_features)
        assert torch.equal(reader.head(features), reader(images))


def test_every_common_combination_that_was_drawn_is_covered(fresh):
    images, labels = fresh
    expected = torch.isin(common(), labels).float().mean().item()
    assert 0.7 < expected < 1
    assert covered(images) == pytest.approx(expected, abs=0.02)


def test_one_face_over_and_over_covers_one_combination(fresh):
    place = torch.isin(fresh[1], common()).nonzero()[0]
    assert covered(fresh[0][place].expand(1000, -1, -1, -1)) == pytest.approx(1 / len(common()))


def test_smears_and_noise_cover_nearly_nothing(fresh):
    smear = fresh[0].mean(dim=0).expand(1000, -1, -1, -1)
    assert covered(smear) <= 1 / len(common()) + 1e-6
    assert covered(torch.rand(1000, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1) < 0.05


def test_what_lies_between_two_faces_covers_less_than_the_faces(fresh):
    images, labels = fresh[0][:1000], fresh[1][:1000]
    strangers = (split(labels) != split(labels.roll(1))).any(dim=1)
    between = ((images + images.roll(1, 0)) / 2)[strangers].repeat(2, 1, 1, 1)[:1000]
    assert covered(between) < 0.1 < covered(images)


def test_an_unsure_reader_counts_nothing():
    torch.manual_seed(0)
    assert covered(torch.zeros(1000, 3, 64, 64), reader=Reader()) == 0


def test_too_few_images_and_other_shapes_are_one_sentence():
    with pytest.raises(GanlibError, match=r"^There are 999 images; coverage needs at least 1,000, better 10,000\.$"):
        covered(torch.zeros(999, 3, 64, 64))
    for shape in (4, 1, 28, 28), (4, 3, 32, 32), (3, 64, 64):
        with pytest.raises(GanlibError, match=r"no avatars; theirs is \(N, 3, 64, 64\)"):
            read_factors(torch.zeros(shape))


def test_the_json_says_how_good_the_reader_is():
    about = read_about(READERS / "avatars.pt")
    assert list(about["test_accuracy"]) == [*FACTORS, "all"] and about["test_accuracy"]["all"] >= 0.995
