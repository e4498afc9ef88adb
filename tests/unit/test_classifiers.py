"""The reader of faces: right on fresh drawings and on spoiled ones, and a coverage that can be worked out by hand."""

import json
import math

import pytest
import torch

from ganlib.data.avatars import FACTORS, common, draw, split
from ganlib.errors import GanlibError
from ganlib.metrics import DigitClassifier, extract_features, score
from ganlib.data.transforms import normalize
from ganlib.metrics.classifiers import READERS, AttributeClassifier, Stranger, accuracy, covered, load_feature_extractor, load_reader, read_factors
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
    assert covered(torch.zeros(1000, 3, 64, 64), reader=AttributeClassifier()) == 0


def test_too_few_images_and_other_shapes_are_one_sentence():
    with pytest.raises(GanlibError, match=r"^There are 999 images; coverage needs at least 1,000, better 10,000\.$"):
        covered(torch.zeros(999, 3, 64, 64))
    for shape in (4, 1, 28, 28), (4, 3, 32, 32), (3, 64, 64):
        with pytest.raises(GanlibError, match=r"no avatars; theirs is \(N, 3, 64, 64\)"):
            read_factors(torch.zeros(shape))


def test_the_json_says_how_good_the_reader_is():
    about = read_about(READERS / "avatars.pt")
    assert list(about["test_accuracy"]) == [*FACTORS, "all"] and about["test_accuracy"]["all"] >= 0.995


def test_the_judge_of_drawings_counts_combinations_and_compares_shares(fresh):
    judge, (images, labels) = load_feature_extractor("avatars"), fresh
    features = extract_features(judge, images)
    expected = torch.isin(common(), labels).sum().item()
    with torch.no_grad():
        classes, kl = judge.class_coverage(features)
        blue = judge.class_coverage(features[split(labels)[:, 0] == 0])
    assert abs(classes - expected) <= 5 and classes == round(covered(images) * len(common()))
    assert 0 <= kl < 0.02
    assert blue[0] < 0.8 * classes and blue[1] == pytest.approx(math.log(2), abs=0.05)  # blue has half of the faces


def test_one_face_over_and_over_is_one_kind_and_as_uneven_as_can_be(fresh):
    judge, values = load_feature_extractor("avatars"), [list(values.values()) for values in FACTORS.values()]
    place = torch.isin(fresh[1], common()).nonzero()[0]
    with torch.no_grad():
        classes, kl = judge.class_coverage(extract_features(judge, fresh[0][place]).expand(1000, -1))
    chosen = split(fresh[1][place])[0].tolist()
    assert classes == 1
    assert kl == pytest.approx(-sum(math.log(shares[i]) for shares, i in zip(values, chosen, strict=True)), abs=1e-4)


def test_scores_of_drawings_and_of_spoiled_ones(fresh):
    judge, pixels = load_feature_extractor("avatars"), draw(1000, seed=9)[0]
    good = score(judge, fresh[0], pixels)
    assert good.frechet < 10 and good.precision > 0.85 and good.recall > 0.85 and good.classes > 200
    assert (good.real, good.generated) == (2000, 1000)
    turned = score(judge, fresh[0], pixels.flip(2))
    assert turned.frechet > 50 * good.frechet and turned.precision < 0.2 and turned.kl > 1


@pytest.mark.parametrize(
    "name, kind", [("mnist", DigitClassifier), ("fashion-mnist", DigitClassifier), ("avatars", AttributeClassifier), ("celeba", Stranger),
                   ("folder:pictures", Stranger)]
)  # fmt: skip
def test_every_data_set_has_its_judge(name, kind):
    judge = load_feature_extractor(name)
    assert type(judge) is kind and not judge.training
    assert judge.features(torch.zeros(2, *judge.image_shape)).shape == (2, judge.num_features)


def test_the_judge_of_photographs_sees_the_same_and_knows_no_kinds(fresh):
    stranger = load_feature_extractor("celeba")
    assert torch.equal(extract_features(stranger, fresh[0][:50]), extract_features(load_reader(), fresh[0][:50]))
    scores = score(stranger, fresh[0], fresh[0][:1000])
    assert scores.classes is None and scores.kl is None and scores.frechet < 10


@pytest.mark.parametrize("name", ["cats", "digits", "celeb", "x" * 1000])
def test_an_unknown_judge_lists_the_known_ones(name, one_sentence):
    with pytest.raises(GanlibError) as caught:
        load_feature_extractor(name)
    one_sentence(str(caught.value), "fashion-mnist, mnist, avatars, celeba and folder:PATH")


def test_what_a_judge_is_worth_is_stored_whole():
    tables = json.loads((READERS / "worth.json").read_text())
    assert list(tables) == ["drawings", "photographs", "photographs, untrained judge"]
    for rows in tables.values():
        assert all(row["real"] == row["generated"] == 2000 for row in rows.values())
        mark = rows["other real images"]["frechet"]
        assert all(row["frechet"] >= mark for row in rows.values())
        assert rows["mirrored"]["frechet"] < 2 * mark < rows["upside down"]["frechet"]
    assert tables["photographs"].keys() == tables["photographs, untrained judge"].keys()
