"""Drawn faces: the same for a seed, as varied as promised, as their labels say."""

import hashlib
import math

import pytest
import torch

from ganlib.data.avatars import (
    ATTRIBUTES,
    CLASSES,
    MAX_COUNT,
    VALUE_COUNTS,
    common_combinations,
    decode_labels,
    draw,
    encode_labels,
)

# Of the first 200 faces of seed 0, as at commit 312366d: a network that was trained on
# those faces must still meet them.
PIXELS = "f15aa175d907c4daef0314f4be2243aa8ef00e8f00e80bd8445e11d75a55fb43"
LABELS = "372277265861453709bd4a9bcea84a6c0a0f13f68667fa9167d124924b3935c9"


@pytest.fixture(scope="module")
def drawn():
    return draw(1000, seed=3)


def test_the_faces_of_a_seed_stay_what_they_were():
    pixels, labels = draw(200, seed=0)
    assert hashlib.sha256(pixels.numpy().tobytes()).hexdigest() == PIXELS
    assert hashlib.sha256(labels.numpy().tobytes()).hexdigest() == LABELS


def test_shapes_types_and_ranges(drawn):
    pixels, labels = drawn
    assert pixels.shape == (1000, 3, 64, 64) and pixels.dtype == torch.uint8
    assert labels.shape == (1000,) and labels.dtype == torch.int64
    assert 0 <= labels.min() and labels.max() < len(CLASSES)
    assert pixels.min() < 60 and pixels.max() == 255  # black hair, white of the eyes


def test_a_seed_gives_the_same_faces_and_fewer_are_the_first_of_more(drawn):
    torch.manual_seed(99)  # the global generator must not matter
    for count in 1, 73:
        pixels, labels = draw(count, seed=3)
        assert torch.equal(pixels, drawn[0][:count])
        assert torch.equal(labels, drawn[1][:count])
    assert not torch.equal(draw(60, seed=4)[0], drawn[0][:60])


def test_the_number_of_threads_does_not_matter(drawn):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert torch.equal(draw(100, seed=3)[0], drawn[0][:100])
    finally:
        torch.set_num_threads(before)


def test_drawing_leaves_the_random_state_alone():
    before = torch.get_rng_state()
    draw(1)
    assert torch.equal(torch.get_rng_state(), before)


def test_no_face_is_drawn_twice(drawn):
    assert len(torch.unique(drawn[0].flatten(1), dim=0)) == 1000


def test_encoding_and_decoding_are_inverse_and_agree_with_the_names():
    labels = torch.arange(len(CLASSES))
    attributes = decode_labels(labels)
    assert attributes.shape == (math.prod(VALUE_COUNTS), len(ATTRIBUTES))
    assert torch.equal(encode_labels(attributes), labels)
    assert len(set(CLASSES)) == len(CLASSES)
    for name, row in zip(CLASSES, attributes.tolist(), strict=True):
        for (attribute, values), index in zip(ATTRIBUTES.items(), row, strict=True):
            noun = {"hair": "", "mouth": ""}.get(attribute, attribute.split()[0])
            assert f"{list(values)[index]} {noun}".strip() in name


def test_values_are_drawn_as_often_as_promised():
    attributes = decode_labels(draw(4000, seed=5)[1])
    for column, values in zip(attributes.T, ATTRIBUTES.values(), strict=True):
        expected = torch.tensor(list(values.values()))
        assert math.isclose(sum(values.values()), 1)
        shares = torch.bincount(column, minlength=len(values)) / len(column)
        deviation = (expected * (1 - expected) / len(column)).sqrt()
        assert ((shares - expected).abs() < 4 * deviation).all()


def test_common_combinations_make_up_most_of_the_faces(drawn):
    labels = common_combinations()
    assert torch.equal(labels, labels.unique()) and len(labels) < len(CLASSES) / 3
    assert torch.isin(drawn[1], labels).float().mean() >= 0.7
    assert labels[0] == 0  # the first value of an attribute is its most frequent one
    assert len(CLASSES) - 1 not in labels
    assert len(common_combinations(expected=0)) == len(CLASSES)
    assert len(common_combinations(expected=10_000)) == 0


@pytest.mark.parametrize("count", [0, -1, MAX_COUNT + 1, 2.0, True, "many", None])
def test_a_count_that_cannot_be_drawn_is_one_sentence(count, says):
    with says("count", repr(count), f"from 1 to {MAX_COUNT}"):
        draw(count)


@pytest.mark.parametrize("seed", [-1, 2**31, 0.5, False, None])
def test_a_seed_out_of_range_is_one_sentence(seed, says):
    with says("seed", repr(seed), "from 0 to"):
        draw(1, seed=seed)
