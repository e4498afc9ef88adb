"""Networks: shapes, ranges, first weights, and the layers that are our own."""

import copy
import dataclasses
import math

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ganlib.config import Config
from ganlib.models import (
    SIZES,
    BatchNormGenerator,
    DCGANDiscriminator,
    DCGANGenerator,
    Discriminator,
    Generator,
    MinibatchStdDev,
    PixelShuffleGenerator,
    ResidualBlock,
    ResidualDiscriminator,
    ResidualGenerator,
    ResizeConvDiscriminator,
    ResizeConvGenerator,
    build,
    init_weights,
    layer_widths,
    parameter_count,
)
from ganlib.training import frozen

ARCHITECTURES = {
    "mlp": (Generator, Discriminator),
    "batchnorm-mlp": (BatchNormGenerator, Discriminator),
    "dcgan": (DCGANGenerator, DCGANDiscriminator),
    "resize-conv": (ResizeConvGenerator, ResizeConvDiscriminator),
    "residual": (ResidualGenerator, ResidualDiscriminator),
    "pixel-shuffle": (PixelShuffleGenerator, Discriminator),
}


def tiny(architecture, **changes):
    """A config of narrow networks for 16x16 images."""
    linear = {"hidden_dim": 5}
    widths = {"mlp": linear, "batchnorm-mlp": linear}
    widths["pixel-shuffle"] = {"hidden_dim": 5, "base_channels": 4}
    width = widths.get(architecture, {"base_channels": 2})
    fields = {"image_size": 16, "latent_dim": 6, **width, **changes}
    return Config(architecture=architecture, **fields)


# --- shapes ---------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("size", [16, 32, 64, 128])
@pytest.mark.parametrize("channels", [1, 3])
def test_noise_to_images_to_logits(architecture, size, channels):
    G, D = build(tiny(architecture, image_size=size, channels=channels))
    images = G(torch.randn(2, 6))
    assert images.shape == (2, channels, size, size)
    assert images.abs().max() <= 1
    assert D(images).shape == (2,)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_one_image_keeps_its_batch_dimension(architecture):
    G, D = build(tiny(architecture))
    image = G.eval()(torch.randn(1, 6))
    assert image.shape == (1, 1, 16, 16)
    assert D.eval()(image).shape == (1,)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_build_makes_what_the_config_names(architecture):
    G, D = build(tiny(architecture))
    assert (type(G), type(D)) == ARCHITECTURES[architecture]


@pytest.mark.parametrize("architecture", ["mlp", "batchnorm-mlp"])
def test_linear_networks_have_the_width_of_the_config(architecture):
    G, D = build(tiny(architecture, hidden_dim=7, channels=3, image_size=8))
    of_g = [layer.weight.shape for layer in G.layers if isinstance(layer, nn.Linear)]
    of_d = [layer.weight.shape for layer in D.layers if isinstance(layer, nn.Linear)]
    assert of_g == [(7, 6), (7, 7), (192, 7)]
    assert of_d == [(7, 192), (7, 7), (1, 7)]


@pytest.mark.parametrize("architecture", ["dcgan", "resize-conv"])
def test_channels_double_as_the_side_halves(architecture):
    """From the image inwards: 32x32, 16x16, 8x8, 4x4."""
    G, D = build(tiny(architecture, image_size=64, base_channels=3, channels=2))
    convolutions = [layer for layer in D.layers if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions[:4]] == [3, 6, 12, 24]
    norms = [layer for layer in G.layers if isinstance(layer, _BatchNorm)]
    assert [layer.num_features for layer in norms[:4]] == [24, 12, 6, 3]


def test_widths():
    assert layer_widths(64, (3, 64, 64)) == [64, 128, 256, 512]
    assert layer_widths(5, (1, 16, 16)) == [5, 10]
    assert layer_widths(32, (1, 28, 28)) == [32, 64]
    assert layer_widths(8, (1, 48, 48)) == [8, 16, 32]


@pytest.mark.parametrize(
    ("height", "width"), [(30, 30), (64, 32), (8, 8), (512, 512), (100, 100)]
)
def test_other_sizes_are_refused(height, width, says):
    with says(f"{height}x{width}", *SIZES):
        layer_widths(8, (3, height, width))


@pytest.mark.parametrize("architecture", ["dcgan", "resize-conv", "residual"])
def test_a_config_of_another_size_is_refused(architecture, says):
    with says("30x30", "28", "64"):
        build(Config(architecture=architecture, image_size=30))


@pytest.mark.parametrize("size", [30, 6])
def test_a_pixel_shuffle_generator_takes_sides_that_four_divides(size, says):
    with says(f"{size}x{size}", "4 divides"):
        build(tiny("pixel-shuffle", image_size=size))
    G, _ = build(tiny("pixel-shuffle", image_size=20, channels=2))
    assert G(torch.randn(3, 6)).shape == (3, 2, 20, 20)


def test_no_convolution_of_a_pixel_shuffle_generator_runs_at_full_size():
    sides = []
    G, _ = build(tiny("pixel-shuffle", image_size=28))
    for layer in G.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(
                lambda _, inputs, __: sides.append(inputs[0].shape[-1])
            )
    G(torch.randn(2, 6))
    assert sides == [7, 14]


@pytest.mark.parametrize("architecture", ["dcgan", "resize-conv", "residual"])
@pytest.mark.parametrize("size", SIZES[:10])
def test_convolutional_networks_take_every_size(architecture, size):
    G, D = build(tiny(architecture, image_size=size))
    images = G(torch.randn(3, 6))
    assert images.shape == (3, 1, size, size)
    assert D(images).shape == (3,)


# --- first weights --------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_first_weights_follow_the_global_seed(architecture):
    pairs = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        pairs.append(build(tiny(architecture)))
    for one, same, other in zip(*pairs, strict=True):
        for name, value in one.state_dict().items():
            assert torch.equal(value, same.state_dict()[name])
        assert not torch.equal(next(one.parameters()), next(other.parameters()))


def test_first_weights_of_a_dcgan():
    torch.manual_seed(0)
    G, D = build(tiny("dcgan", base_channels=32, image_size=64, channels=3))
    for network in (G, D):
        layers = list(network.modules())
        kernels = [x for x in layers if isinstance(x, nn.Conv2d | nn.ConvTranspose2d)]
        values = torch.cat([layer.weight.flatten() for layer in kernels])
        assert abs(values.mean()) < 1e-4 and abs(values.std() - 0.02) < 2e-4
        norms = [layer for layer in layers if isinstance(layer, nn.BatchNorm2d)]
        gains = torch.cat([layer.weight for layer in norms])
        assert abs(gains.mean() - 1) < 0.01 and abs(gains.std() - 0.02) < 0.004
        assert all((layer.bias == 0).all() for layer in norms)


def test_init_weights_leaves_biases_and_linear_layers():
    network = nn.Sequential(
        nn.Conv2d(1, 8, 4),
        nn.BatchNorm2d(8),
        nn.ConvTranspose2d(8, 1, 4),
        nn.Linear(3, 3),
    )
    before = copy.deepcopy(network.state_dict())
    init_weights(network)
    now = network.state_dict()
    drawn = [name for name in now if not torch.equal(now[name], before[name])]
    assert drawn == ["0.weight", "1.weight", "2.weight"]


@pytest.mark.parametrize(
    "architecture", ["batchnorm-mlp", "dcgan", "resize-conv", "pixel-shuffle"]
)
def test_batchnorm_has_the_settings_of_its_paper(architecture):
    """BatchNorm(n, 0.8), a common slip, sets eps and not momentum."""
    G, D = build(tiny(architecture))
    layers = [*G.modules(), *D.modules()]
    norms = [layer for layer in layers if isinstance(layer, _BatchNorm)]
    assert norms
    assert {(layer.eps, layer.momentum) for layer in norms} == {(1e-5, 0.1)}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_untrained_pair_can_learn(architecture):
    """Images differ with their noise, and D's answer reaches every weight of G."""
    torch.manual_seed(0)
    G, D = build(tiny(architecture))
    for network in (G, D):
        for layer in network.modules():
            if isinstance(layer, ResidualBlock):  # starts at 0 and leaves it in a step
                layer.added[-1].weight.data.normal_(0, 0.1)
    images = G(torch.randn(16, 6))
    assert images.std(dim=0).mean() > 1e-3
    D(images).sum().backward()
    assert all(weight.grad.abs().sum() > 0 for weight in G.parameters())


# --- single layers --------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["mlp", "dcgan"])
def test_dropout_drops_only_in_training(architecture):
    torch.manual_seed(0)
    _, D = build(tiny(architecture, dropout=0.5))
    images = torch.rand(20, 1, 16, 16)
    assert not torch.equal(D(images), D(images))
    D.eval()
    assert torch.equal(D(images), D(images))


@pytest.mark.parametrize("out_channels", [3, 5])
def test_a_residual_block_starts_as_its_shortcut(out_channels):
    torch.manual_seed(0)
    block, maps = ResidualBlock(3, out_channels), torch.randn(2, 3, 4, 4)
    assert torch.equal(block(maps), block.shortcut(maps))
    if out_channels == 3:
        assert torch.equal(block(maps), maps)
    nn.init.ones_(block.added[-1].bias)
    torch.testing.assert_close(block(maps), block.shortcut(maps) + 1)


def test_which_discriminators_have_batchnorm():
    """A gradient penalty is only right where there is none."""
    found = {}
    for architecture in ARCHITECTURES:
        _, D = build(tiny(architecture))
        found[architecture] = any(
            isinstance(layer, _BatchNorm) for layer in D.modules()
        )
    assert found == {
        "mlp": False,
        "batchnorm-mlp": False,
        "dcgan": True,
        "resize-conv": False,
        "residual": False,
        "pixel-shuffle": False,
    }


def answer_to_a_flat_map(layers, channels):
    """What `layers` draw, away from the borders, of a 4x4 map of ones."""
    values = torch.ones(1, channels, 4, 4)
    with torch.no_grad():
        for layer in layers:
            values = layer(values)
    return values[0, 0, 20:-20, 20:-20]


def test_resize_convolutions_draw_no_checkerboard():
    """Transposed convolutions do, even with a kernel of 4."""
    torch.manual_seed(0)
    resize = ResizeConvGenerator(6, 4, (1, 64, 64)).eval()
    transposed = DCGANGenerator(6, 4, (1, 64, 64)).eval()
    assert answer_to_a_flat_map(resize.layers[2:], 32).std() < 1e-6
    assert answer_to_a_flat_map(transposed.layers[1:], 32).std() > 1e-3


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 9, 10, 12, 13, 16])
def test_minibatch_standard_deviation_by_hand(count):
    """Groups hold the largest divisor of the batch up to 8, every so many images."""
    torch.manual_seed(count)
    values = torch.randn(count, 3, 2, 2)
    group = max(size for size in range(1, 9) if count % size == 0)
    stride = count // group
    result = MinibatchStdDev()(values)
    assert result.shape == (count, 4, 2, 2)
    assert torch.equal(result[:, :3], values)
    numbers = values.double().flatten(1).tolist()
    for image in range(count):
        members = [numbers[other] for other in range(image % stride, count, stride)]
        deviations = []
        for column in zip(*members, strict=True):
            middle = sum(column) / group
            variance = sum((value - middle) ** 2 for value in column) / group
            deviations.append(math.sqrt(variance + 1e-8))
        by_hand = sum(deviations) / len(deviations)
        expected = torch.full((2, 2), by_hand)
        torch.testing.assert_close(result[image, 3], expected)


def test_a_collapsed_batch_shows_in_the_new_channel():
    image = torch.randn(1, 3, 4, 4)
    collapsed = MinibatchStdDev()(image.expand(8, 3, 4, 4))[:, 3]
    varied = MinibatchStdDev()(torch.randn(8, 3, 4, 4))[:, 3]
    assert collapsed.max() < 2e-4 and varied.min() > 0.5


def test_only_the_resize_convolution_discriminator_sees_its_batch():
    """The same image, beside others and beside copies of itself."""
    sees = {}
    for architecture in ("mlp", "resize-conv"):
        torch.manual_seed(0)
        _, D = build(tiny(architecture))
        images = torch.rand(8, 1, 16, 16)
        beside_others, beside_copies = (
            D(images)[0],
            D(images[:1].expand(8, -1, -1, -1))[0],
        )
        sees[architecture] = abs(beside_others - beside_copies).item() > 1e-4
    assert sees == {"mlp": False, "resize-conv": True}


def test_minibatch_standard_deviation_has_a_gradient_where_images_are_equal():
    """The square root at 0 has none; 1e-8 keeps it away from there."""
    values = torch.ones(4, 1, 2, 2, requires_grad=True)
    MinibatchStdDev()(values).sum().backward()
    assert values.grad.isfinite().all()


def test_minibatch_standard_deviation_keeps_half_precision():
    values = torch.randn(4, 1, 2, 2, dtype=torch.bfloat16)
    assert MinibatchStdDev()(values).dtype == torch.bfloat16


# --- what files rely on ---------------------------------------------------------------


def norm_names(index):
    parts = "weight", "bias", "running_mean", "running_var", "num_batches_tracked"
    return [f"layers.{index}.{part}" for part in parts]


def linear_names(*indices):
    return [
        f"layers.{index}.{part}" for index in indices for part in ("weight", "bias")
    ]


def test_the_names_of_the_weights_stay():
    """Saved networks are found by these."""
    G, D = build(tiny("mlp"))
    assert list(G.state_dict()) == linear_names(0, 2, 4)
    assert list(D.state_dict()) == linear_names(1, 4, 7)
    G, _ = build(tiny("batchnorm-mlp"))
    assert list(G.state_dict()) == [
        *linear_names(0),
        *norm_names(1),
        *linear_names(3),
        *norm_names(4),
        *linear_names(6),
    ]
    G, D = build(tiny("dcgan"))
    assert list(G.state_dict()) == [
        "layers.0.weight",
        *norm_names(1),
        "layers.3.weight",
        *norm_names(4),
        *linear_names(6),
    ]
    assert list(D.state_dict()) == [
        *linear_names(0),
        "layers.2.weight",
        *norm_names(3),
        *linear_names(6),
    ]


def test_parameter_count_counts_what_is_learned():
    D = Discriminator(5, (1, 4, 4))
    assert parameter_count(D) == 16 * 5 + 5 + 5 * 5 + 5 + 5 * 1 + 1
    with frozen(D):
        assert parameter_count(D) == 0
    G = BatchNormGenerator(3, 5, (1, 4, 4))
    norms = 2 * 2 * 5  # gains and shifts; running statistics are not learned
    assert parameter_count(G) == 3 * 5 + 5 + 5 * 5 + 5 + 5 * 16 + 16 + norms


@pytest.mark.parametrize("architecture", ["mlp", "resize-conv"])
def test_spectral_norm_bounds_the_layers_of_d_and_leaves_g_alone(architecture):
    config = tiny(architecture, image_size=16)
    G, D = build(dataclasses.replace(config, spectral_norm=True))
    plain_g, _ = build(config)
    assert G.state_dict().keys() == plain_g.state_dict().keys()
    D.train()
    for _ in range(30):  # each pass improves the estimate
        D(torch.randn(4, *config.image_shape))
    weights = [
        layer.weight
        for layer in D.modules()
        if isinstance(layer, nn.Linear | nn.Conv2d)
    ]
    for weight in weights:
        largest = torch.linalg.matrix_norm(weight.flatten(1), ord=2)
        assert largest.item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("architecture", ["mlp", "resize-conv", "residual"])
def test_frozen_layers_are_the_first_of_d(architecture):
    G, D = build(tiny(architecture, image_size=16, frozen_layers=1))
    first, *others = (
        layer for layer in D.modules() if isinstance(layer, nn.Linear | nn.Conv2d)
    )
    assert not any(weight.requires_grad for weight in first.parameters())
    learned = [
        *G.parameters(),
        *(one for layer in others for one in layer.parameters()),
    ]
    assert all(weight.requires_grad for weight in learned)


def test_a_layer_of_d_must_learn(says):
    with says("frozen_layers is 3", "D has 3 layers", "at most 2"):
        build(tiny("mlp", frozen_layers=3))
