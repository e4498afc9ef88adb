"""Noise by seed, and images from a generator that is left as it was."""

import copy

import pytest
import torch

from ganlib.data.transforms import denormalize
from ganlib.models import BatchNormGenerator, Generator
from ganlib.sampling import noise_circle, sample_images, sample_noise, sample_pixels


def modes(network):
    return [layer.training for layer in network.modules()]


# --- noise ----------------------------------------------------------------------------


def test_a_seed_always_gives_the_same_noise():
    torch.manual_seed(1)
    z = sample_noise(6, 4, seed=7)
    torch.manual_seed(2)
    assert z.shape == (6, 4)
    assert torch.equal(z, sample_noise(6, 4, seed=7))
    assert not torch.equal(z, sample_noise(6, 4, seed=8))


def test_a_seed_leaves_torchs_own_numbers_alone():
    before = torch.get_rng_state()
    sample_noise(6, 4, seed=7)
    assert torch.equal(torch.get_rng_state(), before)


def test_without_a_seed_noise_follows_the_global_one():
    torch.manual_seed(5)
    one, other = sample_noise(6, 4), sample_noise(6, 4)
    assert not torch.equal(one, other)
    torch.manual_seed(5)
    assert torch.equal(sample_noise(6, 4), one)


def test_noise_is_standard_normal():
    z = sample_noise(20_000, 10, seed=0)
    assert abs(z.mean()) < 0.01 and abs(z.std() - 1) < 0.01


# --- images ---------------------------------------------------------------------------


class Recording(BatchNormGenerator):
    """A G that notes its mode and whether gradients are recorded."""

    def forward(self, z):
        self.saw = self.training, torch.is_grad_enabled()
        return super().forward(z)


@pytest.mark.parametrize("training", [True, False])
def test_images_are_drawn_in_eval_mode_and_nothing_is_changed(training):
    G, z = Recording(3, 5, (1, 4, 4)).train(training), sample_noise(6, 3, seed=0)
    before, modes_before = copy.deepcopy(G.state_dict()), modes(G)
    images = sample_images(G, z)
    assert G.saw == (False, False)
    assert images.shape == (6, 1, 4, 4) and not images.requires_grad
    assert modes(G) == modes_before
    for name, value in G.state_dict().items():
        assert torch.equal(value, before[name]), "statistics included"


def test_the_mode_of_each_layer_is_restored():
    """One BatchNorm was set to eval mode by hand, as in fine-tuning."""
    G = BatchNormGenerator(3, 5, (1, 4, 4)).train()
    G.layers[1].eval()
    before = modes(G)
    sample_images(G, sample_noise(6, 3, seed=0))
    assert modes(G) == before


def test_the_mode_is_restored_after_an_error():
    G = BatchNormGenerator(3, 5, (1, 4, 4)).train()
    with pytest.raises(RuntimeError):
        sample_images(G, sample_noise(6, 4, seed=0))  # noise of another length
    assert all(modes(G))


# --- bytes ----------------------------------------------------------------------------


def test_pixels_are_the_bytes_of_the_images_of_a_seed():
    G = BatchNormGenerator(3, 5, (1, 4, 4))
    pixels = sample_pixels(G, 3, count=1203, seed=9)
    images = sample_images(G, sample_noise(1203, 3, seed=9))
    assert pixels.dtype == torch.uint8 and pixels.shape == (1203, 1, 4, 4)
    difference = pixels.int() - denormalize(images).int()
    assert difference.abs().max() <= 1, "batches may round otherwise"
    assert torch.equal(sample_pixels(G, 3, count=1203, seed=9), pixels)
    assert not torch.equal(sample_pixels(G, 3, count=1203, seed=8), pixels)


def test_pixels_are_drawn_in_batches():
    sizes = []
    G = Generator(3, 5, (1, 4, 4))
    G.register_forward_hook(lambda _, inputs, images: sizes.append(len(images)))
    assert len(sample_pixels(G, 3, count=1203)) == sum(sizes) == 1203
    assert max(sizes) <= 500, "10,000 images of 64x64 at once would take gigabytes"


def test_a_walk_is_a_closed_circle_of_normal_noise():
    noise = noise_circle(12, 500, seed=3)
    assert noise.shape == (12, 500)
    steps = (noise - noise.roll(1, dims=0)).norm(
        dim=1
    )  # from the last to the first too
    assert torch.allclose(steps, steps[0].expand(12), rtol=0.1)
    assert noise.square().mean().sqrt().item() == pytest.approx(1, abs=0.05)
    assert torch.equal(noise, noise_circle(12, 500, seed=3))
