"""The drawn faces: the same for a seed, as varied as promised, and with the factors that their labels say."""

import math

import pytest
import torch

from ganlib.data.avatars import CLASSES, FACTORS, MOST, VALUES, common, draw, join, split
from ganlib.errors import GanlibError


@pytest.fixture(scope="module")
def drawn():
    return draw(1000, seed=3)


def test_shapes_types_and_ranges(drawn):
    pixels, labels = drawn
    assert pixels.shape == (1000, 3, 64, 64) and pixels.dtype == torch.uint8
    assert labels.shape == (1000,) and labels.dtype == torch.int64
    assert 0 <= labels.min() and labels.max() < len(CLASSES)
    assert pixels.min() < 60 and pixels.max() == 255  # black hair and the white of the eyes


def test_a_seed_gives_the_same_bytes_and_another_seed_other_faces(drawn):
    torch.manual_seed(99)  # the global generator must not matter
    pixels, labels = draw(1000, seed=3)
    assert torch.equal(pixels, drawn[0]) and torch.equal(labels, drawn[1])
    assert not torch.equal(draw(60, seed=4)[0], pixels[:60])


def test_fewer_faces_are_the_first_of_more(drawn):
    for count in 1, 73:
        pixels, labels = draw(count, seed=3)
        assert torch.equal(pixels, drawn[0][:count]) and torch.equal(labels, drawn[1][:count])


def test_the_number_of_threads_does_not_matter(drawn):
    before = torch.get_num_threads()
    try:
        for threads in 1, 3:
            torch.set_num_threads(threads)
            assert torch.equal(draw(100, seed=3)[0], drawn[0][:100])
    finally:
        torch.set_num_threads(before)


def test_drawing_leaves_the_random_state_alone():
    before = torch.get_rng_state()
    draw(1)
    assert torch.equal(torch.get_rng_state(), before)


def test_no_face_is_drawn_twice(drawn):
    assert len(torch.unique(drawn[0].flatten(1), dim=0)) == 1000


def test_split_and_join_are_inverse_and_agree_with_the_names():
    labels = torch.arange(len(CLASSES))
    factors = split(labels)
    assert factors.shape == (math.prod(VALUES), len(FACTORS)) and torch.equal(join(factors), labels)
    assert len(set(CLASSES)) == len(CLASSES)
    for name, row in zip(CLASSES, factors.tolist(), strict=True):
        for (factor, values), index in zip(FACTORS.items(), row, strict=True):
            noun = {"hair": "", "mouth": ""}.get(factor, factor.split()[0])
            assert f"{list(values)[index]} {noun}".strip() in name


def test_values_are_drawn_as_often_as_promised():
    labels = draw(4000, seed=5)[1]
    for column, values in zip(split(labels).unbind(dim=1), FACTORS.values(), strict=True):
        shares = torch.bincount(column, minlength=len(values)) / len(labels)
        expected = torch.tensor(list(values.values()))
        assert math.isclose(sum(values.values()), 1)
        deviation = (expected * (1 - expected) / len(labels)).sqrt()
        assert ((shares - expected).abs() < 4 * deviation).all()


def test_common_combinations_are_many_and_make_up_most_of_the_faces(drawn):
    labels = common()
    assert 100 <= len(labels) <= 300 and torch.equal(labels, labels.unique())
    assert torch.isin(drawn[1], labels).float().mean() >= 0.7
    assert len(common(least=0)) == len(CLASSES) and len(common(least=10_000)) == 0
    assert labels[0] == 0  # the first value of a factor is its most frequent one
    assert len(CLASSES) - 1 not in labels


@pytest.mark.parametrize("count", [0, -1, MOST + 1, 2.0, True, "many", None])
def test_a_count_that_cannot_be_drawn_is_one_sentence(count):
    with pytest.raises(
        GanlibError, match=rf"^The count of avatars is .*; it must be a whole number from 1 to {MOST}\.$"
    ):
        draw(count)


@pytest.mark.parametrize("seed", [-1, 2**31, 0.5, False, None])
def test_a_seed_out_of_range_is_one_sentence(seed):
    with pytest.raises(GanlibError, match=r"^The seed of avatars is .*; it must be a whole number from 0 to"):
        draw(1, seed=seed)
