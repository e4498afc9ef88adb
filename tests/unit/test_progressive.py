"""Networks that grow: what they draw and see at each size, and between two."""

from itertools import chain

import pytest
import torch
from torch.nn.functional import avg_pool2d, interpolate

from ganlib.models import Discriminator, ResizeConvDiscriminator, ResizeConvGenerator
from ganlib.progressive import ProgressiveDiscriminator, ProgressiveGenerator, grow


def networks():
    torch.manual_seed(0)
    return ProgressiveGenerator(6, 2), ProgressiveDiscriminator(2)


@pytest.mark.parametrize(("stage", "side"), [(1, 8), (2, 16), (3, 32), (4, 64)])
@pytest.mark.parametrize("fade", [0.0, 0.3, 1.0])
def test_noise_to_images_to_logits_at_each_size(stage, side, fade):
    G, D = networks()
    fade = fade if stage > 1 else 1.0
    grow(G, stage, fade)
    grow(D, stage, fade)
    images = G(torch.randn(4, 6))
    assert images.shape == (4, 3, side, side) and images.abs().max() <= 1
    assert D(images).shape == (4,)


@torch.no_grad()
def test_a_new_size_begins_as_the_one_before_enlarged():
    G, D = networks()
    G.eval()
    z = torch.randn(4, 6)
    grow(G, 2, 1.0)
    small = G(z)
    grow(G, 3, 0.0)
    torch.testing.assert_close(G(z), interpolate(small, scale_factor=2))
    images = torch.randn(4, 3, 32, 32)
    grow(D, 3, 0.0)
    faded = D(images)
    grow(D, 2, 1.0)
    torch.testing.assert_close(faded, D(avg_pool2d(images, 2)))


@torch.no_grad()
def test_a_size_fades_in_evenly():
    G, _ = networks()
    G.eval()
    z = torch.randn(4, 6)
    images = []
    for fade in (0.0, 0.25, 1.0):
        grow(G, 4, fade)
        images.append(torch.atanh(G(z)))
    torch.testing.assert_close(images[1], images[0].lerp(images[2], 0.25))


@torch.no_grad()
def test_full_grown_they_are_the_networks_that_do_not_grow():
    G, D = networks()
    plain = ResizeConvGenerator(6, 2)
    plain.layers[:-2].load_state_dict(
        torch.nn.Sequential(*G.first, *chain(*G.doublings)).state_dict()
    )
    plain.layers[-2].load_state_dict(G.to_image[-1].state_dict())
    z = torch.randn(4, 6)
    torch.testing.assert_close(G.eval()(z), plain.eval()(z))
    other = ResizeConvDiscriminator(2)
    parts = [*D.from_image[0], *chain(*D.halvings), *D.last]
    other.layers.load_state_dict(torch.nn.Sequential(*parts).state_dict())
    images = torch.randn(4, 3, 64, 64)
    torch.testing.assert_close(D(images), other(images))


def test_at_a_small_size_only_its_layers_learn():
    G, D = networks()
    grow(G, 1, 1.0)
    grow(D, 1, 1.0)
    D(G(torch.randn(4, 6))).sum().backward()
    for layers, used in ((G.to_image, 0), (G.doublings, 0), (D.from_image, 3)):
        for place, layer in enumerate(layers):
            learns = all(one.grad is not None for one in layer.parameters())
            assert learns == (place == used)


@pytest.mark.parametrize("stage", [0, 5])
def test_other_stages_are_refused(stage, says):
    with says("stage", stage, "from 1 to 4"):
        grow(networks()[0], stage, 1.0)


@pytest.mark.parametrize(("stage", "fade"), [(2, -0.1), (2, 1.1), (1, 0.5)])
def test_other_fades_are_refused(stage, fade, says):
    with says("fade", fade, "from 0 to 1"):
        grow(networks()[1], stage, fade)


def test_what_does_not_grow_is_refused(says):
    with says("Discriminator", "ProgressiveGenerator"):
        grow(Discriminator(), 1, 1.0)
