"""Bytes to -1..1 and back, for all 256 of them."""

import torch

from ganlib.data.transforms import denormalize, normalize

ALL = torch.arange(256, dtype=torch.uint8)


def test_there_and_back():
    assert torch.equal(denormalize(normalize(ALL)), ALL)


def test_normalize_by_hand():
    by_hand = torch.tensor([2 * value / 255 - 1 for value in range(256)])
    images = normalize(ALL)
    assert images.dtype == torch.float32
    torch.testing.assert_close(images, by_hand, rtol=0, atol=1e-7)
    assert images[0] == -1 and images[255] == 1


def test_denormalize_gives_the_nearest_byte():
    step = 2 / 255
    for offset in (-0.49, 0.49):
        inside = (normalize(ALL) + offset * step).clamp(-1, 1)
        assert torch.equal(denormalize(inside), ALL)
    above = denormalize(normalize(ALL[:255]) + 0.51 * step)
    assert above.tolist() == list(range(1, 256))


def test_values_outside_are_clipped_not_wrapped():
    images = torch.tensor([-1e9, -1.01, -1.0, 1.0, 1.01, 3.0, 1e9])
    assert denormalize(images).tolist() == [0, 0, 0, 255, 255, 255, 255]


def test_shapes_stay_and_arguments_too():
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (3, 2, 5, 4), generator=generator).byte()
    pixels = pixels.transpose(2, 3)
    before = pixels.clone()
    images = normalize(pixels)
    kept = images.clone()
    back = denormalize(images)
    assert images.shape == back.shape == (3, 2, 4, 5) and back.dtype == torch.uint8
    assert torch.equal(pixels, before) and torch.equal(images, kept)
