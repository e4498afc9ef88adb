"""The workshop's second floor: sizes, the layers against loops written by hand, first weights, and moved images."""

import copy
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from ganlib.recipes import RECIPES
from ganlib.config import Config
from ganlib.models import SIZES, ConvDiscriminator, ConvGenerator, RandomShift, build_dcgan, init_weights, layer_widths
from ganlib.models import build
from ganlib.sampling import sample_noise, sample_images

TINY = 2, 16, 16
EPS = 1e-5  # BatchNorm's own


def conv(x, kernels, bias, *, stride, margin):
    """By hand: (N, I, H, W) with kernels (O, I, 4, 4) -> (N, O, …)."""
    x = np.pad(x, [(0, 0), (0, 0), (margin, margin), (margin, margin)])
    side = (x.shape[2] - 4) // stride + 1
    out = np.zeros((len(x), len(kernels), side, side))
    for row in range(side):
        for column in range(side):
            window = x[:, :, row * stride : row * stride + 4, column * stride : column * stride + 4]
            out[:, :, row, column] = np.einsum("nihw,oihw->no", window, kernels)
    return out + (0 if bias is None else bias[None, :, None, None])


def conv_transposed(x, kernels, bias, *, stride, margin):
    """By hand: (N, I, H, W) with kernels (I, O, 4, 4): each value stamps its kernel -> (N, O, …)."""
    side = (x.shape[2] - 1) * stride + 4
    out = np.zeros((len(x), kernels.shape[1], side, side))
    for row in range(x.shape[2]):
        for column in range(x.shape[3]):
            stamp = np.einsum("ni,iohw->nohw", x[:, :, row, column], kernels)
            out[:, :, row * stride : row * stride + 4, column * stride : column * stride + 4] += stamp
    out = out[:, :, margin : side - margin, margin : side - margin]
    return out + (0 if bias is None else bias[None, :, None, None])


def batch_norm(x, gain, shift):
    mean, variance = x.mean((0, 2, 3), keepdims=True), x.var((0, 2, 3), keepdims=True)
    return (x - mean) / np.sqrt(variance + EPS) * gain[None, :, None, None] + shift[None, :, None, None]


def learned(network):
    return [value.detach().double().numpy() for value in network.parameters()]


def test_g_by_hand():
    torch.manual_seed(0)
    G, z = ConvGenerator(3, 4, TINY), torch.randn(5, 3)
    first, gain1, shift1, second, gain2, shift2, last, bias = learned(G)
    x = conv_transposed(z.double().numpy()[:, :, None, None], first, None, stride=1, margin=0)
    x = conv_transposed(np.maximum(batch_norm(x, gain1, shift1), 0), second, None, stride=2, margin=1)
    x = conv_transposed(np.maximum(batch_norm(x, gain2, shift2), 0), last, bias, stride=2, margin=1)
    images = G(z)
    assert images.shape == (5, *TINY) and images.abs().max() <= 1
    np.testing.assert_allclose(images.detach().numpy(), np.tanh(x), atol=1e-5)


def test_d_by_hand():
    torch.manual_seed(0)
    D, images = ConvDiscriminator(4, TINY), torch.rand(5, *TINY) * 2 - 1
    first, bias1, second, gain, shift, last, bias2 = learned(D)

    def leaky(x):
        return np.where(x > 0, x, 0.2 * x)

    x = leaky(conv(images.double().numpy(), first, bias1, stride=2, margin=1))
    x = leaky(batch_norm(conv(x, second, None, stride=2, margin=1), gain, shift))
    x = conv(x, last, bias2, stride=1, margin=0)
    logits = D(images)
    assert logits.shape == (5,) and x.shape == (5, 1, 1, 1)
    np.testing.assert_allclose(logits.detach().numpy(), x.ravel(), atol=1e-5)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_size_there_and_back(size, channels):
    G, D = build_dcgan(Config(networks="dcgan", latent_dim=6, hidden_dim=2, channels=channels, image_size=size))
    images = G(torch.randn(2, 6))
    assert images.shape == (2, channels, size, size) and images.abs().max() <= 1
    assert D(images).shape == (2,)


def test_one_image_keeps_its_batch_dimension():
    G, D = build_dcgan(Config(networks="dcgan", latent_dim=6, hidden_dim=2, channels=3, image_size=16))
    image = sample_images(G, sample_noise(1, 6, seed=0))
    assert image.shape == (1, 3, 16, 16) and D.eval()(image).shape == (1,)


def test_widths_double_as_the_side_halves():
    assert layer_widths(64, (3, 64, 64)) == [64, 128, 256, 512]  # the usual width
    assert layer_widths(5, (1, 16, 16)) == [5, 10]
    assert len(layer_widths(1, (3, 256, 256))) == 6


@pytest.mark.parametrize("height, width", [(28, 28), (64, 32), (8, 8), (4, 4), (0, 0), (512, 512), (48, 48), (64, 65)])
def test_other_sizes_are_refused(says, height, width):
    with says(f"{height}x{width}", *SIZES):
        layer_widths(8, (3, height, width))


def test_a_config_of_another_size_is_refused(says):
    with says("28x28", "64"):
        build(Config(networks="dcgan"))


def test_g_at_the_shapes_of_the_faces():
    """Four doublings: 4, 8, 16, 32, 64 pixels a side, with channels halved at each step."""
    G, D = build(RECIPES["faces"])
    shapes, x = [], torch.randn(2, 100)[:, :, None, None]
    for layer in G.layers:
        x = layer(x)
        shapes += [tuple(x.shape[1:])] * isinstance(layer, nn.ConvTranspose2d)
    assert shapes == [(256, 4, 4), (128, 8, 8), (64, 16, 16), (32, 32, 32), (3, 64, 64)]
    class_coverage = [type(layer) for layer in D.modules()]
    assert class_coverage.count(nn.Conv2d) == 5 and class_coverage.count(nn.BatchNorm2d) == 3  # none at D's input or output
    assert [type(layer) for layer in G.modules()].count(nn.BatchNorm2d) == 4


def test_the_names_of_the_weights_stay():
    """Shipped and saved networks are found by these."""
    G, D = build_dcgan(Config(networks="dcgan", latent_dim=6, hidden_dim=2, image_size=16, shift=1))
    norm = "weight", "bias", "running_mean", "running_var", "num_batches_tracked"
    of_g = ["0.weight", *(f"1.{one}" for one in norm), "3.weight", *(f"4.{one}" for one in norm), "6.weight", "6.bias"]
    of_d = ["0.weight", "0.bias", "2.weight", *(f"3.{one}" for one in norm), "6.weight", "6.bias"]
    assert list(G.state_dict()) == [f"layers.{name}" for name in of_g]
    assert list(D.state_dict()) == [f"1.layers.{name}" for name in of_d]


def test_first_weights():
    torch.manual_seed(0)
    G, D = build_dcgan(Config(networks="dcgan", latent_dim=100, hidden_dim=32, channels=3, image_size=64))
    for network in (G, D):
        kernels = [layer.weight for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]
        norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
        everything = torch.cat([kernel.flatten() for kernel in kernels])
        assert abs(everything.mean()) < 1e-4 and abs(everything.std() - 0.02) < 2e-4
        gains = torch.cat([layer.weight for layer in norms])
        assert abs(gains.mean() - 1) < 0.01 and abs(gains.std() - 0.02) < 0.004
        assert all((layer.bias == 0).all() for layer in norms)
        assert all(layer.eps == EPS and layer.momentum == 0.1 for layer in norms)  # 0.8 is neither


def test_first_weights_do_not_switch_g_off():
    """Images of different noise differ, and D's answers to them pass a gradient on to G."""
    torch.manual_seed(0)
    G, D = build_dcgan(Config(networks="dcgan", latent_dim=100, hidden_dim=16, channels=3, image_size=64))
    images = G(sample_noise(16, 100, seed=0))
    assert images.std(dim=0).mean() > 0.02
    D(images).sum().backward()
    assert next(G.parameters()).grad.norm() > 1e-3
    for layer in G.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 0.0, 0.02)  # the classic mistake, for comparison
    assert G(sample_noise(16, 100, seed=0)).std(dim=0).mean() < 0.002


def test_init_weights_draws_every_kernel_anew_and_leaves_biases():
    network = nn.Sequential(nn.Conv2d(1, 8, 4), nn.BatchNorm2d(8), nn.ConvTranspose2d(8, 1, 4), nn.Linear(3, 3))
    before = copy.deepcopy(network.state_dict())
    init_weights(network)
    same = [name for name, value in network.state_dict().items() if torch.equal(value, before[name])]
    changed = sorted(before.keys() - same)
    assert changed == ["0.weight", "1.weight", "2.weight"]


def test_the_same_seed_gives_the_same_pair():
    config = Config(networks="dcgan", latent_dim=6, hidden_dim=2, image_size=16)
    pairs = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        pairs.append(build_dcgan(config))
    for same, other, different in zip(*pairs, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(same.parameters(), other.parameters(), strict=True))
        assert not torch.equal(next(same.parameters()), next(different.parameters()))


def test_build_follows_every_number_of_the_config():
    config = Config(networks="dcgan", latent_dim=5, hidden_dim=3, channels=4, image_size=32, dropout=0.25, shift=3)
    G, D = build(config)
    assert isinstance(G, ConvGenerator) and next(G.parameters()).shape == (5, 12, 4, 4)
    assert G.layers[-2].weight.shape == (3, 4, 4, 4)
    shift, inner = D
    assert isinstance(shift, RandomShift) and shift.most == 3 and isinstance(inner, ConvDiscriminator)
    assert inner.layers[0].weight.shape == (3, 4, 4, 4)
    assert [layer.p for layer in inner.modules() if isinstance(layer, nn.Dropout)] == [0.25]
    assert isinstance(build(Config(networks="dcgan", image_size=32))[1], ConvDiscriminator)


def test_dropout_drops_only_in_training():
    torch.manual_seed(0)
    D, images = ConvDiscriminator(8, TINY, dropout=0.5), torch.rand(20, *TINY)
    assert not torch.equal(D(images), D(images))
    D.eval()
    assert torch.equal(D(images), D(images))


def numbered(count, size):
    """Images whose pixels all differ, none of them black."""
    return torch.linspace(-0.9, 0.9, count * 2 * size * size).view(count, 2, size, size)


def test_a_shifted_image_is_the_image_moved_on_black():
    torch.manual_seed(0)
    images, most = numbered(200, 8), 3
    moved = RandomShift(most)(images)
    assert moved.shape == images.shape
    seen = set()
    for image, result in zip(images, moved, strict=True):
        fits = []
        for down in range(-most, most + 1):
            for right in range(-most, most + 1):
                by_hand = torch.full_like(image, -1.0)
                top, left = max(down, 0), max(right, 0)
                bottom, end = min(8, 8 + down), min(8, 8 + right)
                by_hand[:, top:bottom, left:end] = image[:, top - down : bottom - down, left - right : end - right]
                fits += [(down, right)] * torch.equal(result, by_hand)
        assert len(fits) == 1
        seen |= set(fits)
    assert len(seen) == (2 * most + 1) ** 2  # every way, standing still among them


def test_images_are_shifted_only_in_training():
    images, shift = numbered(30, 8), RandomShift(2)
    assert not torch.equal(shift(images), images)
    assert torch.equal(shift.eval()(images), images)
    assert torch.equal(RandomShift(0)(images), images)


def test_a_shift_draws_from_the_global_random_state():
    images, shift = numbered(30, 8), RandomShift(2)
    torch.manual_seed(5)
    one, other = shift(images), shift(images)
    torch.manual_seed(5)
    assert torch.equal(shift(images), one) and not torch.equal(one, other)


def test_gradients_pass_through_a_shift_to_the_pixels_that_stay():
    torch.manual_seed(0)
    images = numbered(4, 8).requires_grad_()
    RandomShift(2)(images).sum().backward()
    assert set(images.grad.unique().tolist()) <= {0.0, 1.0}
    assert (images.grad[:, :, 2:-2, 2:-2] == 1).all()  # no shift of 2 moves these out


def test_logits_do_not_depend_on_the_layout_in_memory():
    torch.manual_seed(0)
    G, D = build_dcgan(Config(networks="dcgan", latent_dim=6, hidden_dim=4, channels=3, image_size=32))
    z = sample_noise(8, 6, seed=0)
    images = sample_images(G, z)
    logits = D(images).detach()
    other_g, other_d = (network.to(memory_format=torch.channels_last) for network in (G, D))
    torch.testing.assert_close(sample_images(other_g, z), images, atol=1e-5, rtol=0)
    torch.testing.assert_close(
        other_d(images.to(memory_format=torch.channels_last)).detach(), logits, atol=1e-4, rtol=0
    )


def test_parameter_count_by_hand():
    G, D = build(RECIPES["faces"])
    widths = [32, 64, 128, 256]
    kernels = 16 * sum(narrow * wide for narrow, wide in pairwise(widths))
    of_g = 100 * 256 * 16 + kernels + 32 * 3 * 16 + 3 + 2 * sum(widths)
    of_d = 3 * 32 * 16 + 32 + kernels + 256 * 16 + 1 + 2 * sum(widths[1:])
    assert [sum(math.prod(one.shape) for one in network.parameters()) for network in (G, D)] == [of_g, of_d]
    assert (of_g, of_d) == (1_100_227, 694_689)
