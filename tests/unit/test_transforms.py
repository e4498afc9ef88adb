"""The hall: bytes to -1..1 and back, for all 256 of them."""

import torch

from ganlib.data.transforms import denormalize, mirror, normalize

ALL = torch.arange(256, dtype=torch.uint8)


def test_there_and_back_for_all_256():
    assert torch.equal(denormalize(normalize(ALL)), ALL)


def test_normalize_by_hand():
    by_hand = torch.tensor([2 * value / 255 - 1 for value in range(256)], dtype=torch.float64)
    images = normalize(ALL)
    assert images.dtype == torch.float32
    torch.testing.assert_close(images.double(), by_hand, rtol=0, atol=1e-7)
    assert images[0] == -1 and images[255] == 1 and (images.diff() > 0).all()


def test_denormalize_rounds_to_the_nearest_byte():
    step = 2 / 255
    for offset in (-0.49, 0.49):
        inside = (normalize(ALL) + offset * step).clamp(-1, 1)
        assert torch.equal(denormalize(inside), ALL)
    assert denormalize(normalize(ALL[:255]) + 0.51 * step).tolist() == list(range(1, 256))


def test_values_outside_are_clipped_not_wrapped():
    images = torch.tensor([-1e9, -1.01, -1.0, 1.0, 1.01, 3.0, 1e9])
    assert denormalize(images).tolist() == [0, 0, 0, 255, 255, 255, 255]


def test_shapes_stay_and_arguments_too():
    pixels = torch.randint(0, 256, (3, 2, 5, 4), dtype=torch.uint8).transpose(2, 3)
    before = pixels.clone()
    images = normalize(pixels)
    kept = images.clone()
    assert images.shape == (3, 2, 4, 5) and denormalize(images).shape == (3, 2, 4, 5)
    assert torch.equal(pixels, before) and torch.equal(images, kept)
    assert denormalize(images).dtype == torch.uint8
    assert normalize(torch.tensor(255, dtype=torch.uint8)).shape == ()


def test_a_mirrored_image_is_itself_or_flipped_left_to_right():
    torch.manual_seed(0)
    images = torch.randn(1000, 2, 3, 5)
    mirrored = mirror(images)
    same = (mirrored == images).flatten(1).all(dim=1)
    flipped = (mirrored == images[..., [4, 3, 2, 1, 0]]).flatten(1).all(dim=1)
    assert mirrored.shape == images.shape and (same ^ flipped).all(), "as a whole, in all channels and rows"
    assert 450 < flipped.sum() < 550


def test_mirroring_leaves_its_argument_and_keeps_bytes():
    pixels = torch.randint(0, 256, (50, 3, 4, 4), dtype=torch.uint8)
    before = pixels.clone()
    assert mirror(pixels).dtype == torch.uint8 and torch.equal(pixels, before)
    assert mirror(pixels[:0]).shape == (0, 3, 4, 4)
    symmetric = torch.cat([pixels, pixels.flip(3)], dim=3)
    assert torch.equal(mirror(symmetric), symmetric)


def test_mirroring_draws_from_the_global_random_state():
    images = torch.randn(50, 1, 2, 2)
    torch.manual_seed(3)
    one, other = mirror(images), mirror(images)
    torch.manual_seed(3)
    assert torch.equal(mirror(images), one) and not torch.equal(one, other)
