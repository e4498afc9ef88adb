"""Generators and discriminators: linear, convolutional of four kinds, conditional."""

from itertools import pairwise
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from ganlib.config import Config
from ganlib.errors import GanlibError

# Convolutional layers double or halve the side, from 4, 5, 6 or 7 pixels on.
SIZES = tuple(first << layers for layers in range(2, 7) for first in (4, 5, 6, 7))


class Generator(nn.Module):
    """Noise (N, latent_dim) -> images (N, C, H, W) in -1..1: three linear layers."""

    def __init__(
        self,
        latent_dim: int = 64,
        hidden_dim: int = 256,
        image_shape: tuple[int, int, int] = (1, 28, 28),
    ) -> None:
        super().__init__()
        self.image_shape = image_shape
        self.layers = nn.Sequential(
            nn.Linear(latent_dim, hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, prod(image_shape)),
            nn.Tanh(),
        )

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z).view(-1, *self.image_shape)


class BatchNormGenerator(nn.Module):
    """The same with BatchNorm (Ioffe 2015) before each ReLU."""

    def __init__(
        self,
        latent_dim: int = 64,
        hidden_dim: int = 256,
        image_shape: tuple[int, int, int] = (1, 28, 28),
    ) -> None:
        super().__init__()
        self.image_shape = image_shape
        self.layers = nn.Sequential(
            nn.Linear(latent_dim, hidden_dim),
            nn.BatchNorm1d(hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, hidden_dim),
            nn.BatchNorm1d(hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, prod(image_shape)),
            nn.Tanh(),
        )

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z).view(-1, *self.image_shape)


class Discriminator(nn.Module):
    """Images (N, C, H, W) in -1..1 -> logits (N,); positive means real."""

    def __init__(
        self,
        hidden_dim: int = 256,
        image_shape: tuple[int, int, int] = (1, 28, 28),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(prod(image_shape), hidden_dim),
            nn.LeakyReLU(0.2),
            nn.Dropout(dropout),
            nn.Linear(hidden_dim, hidden_dim),
            nn.LeakyReLU(0.2),
            nn.Dropout(dropout),
            nn.Linear(hidden_dim, 1),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images).squeeze(1)


class DCGANGenerator(nn.Module):
    """Noise (N, latent_dim) -> images (N, C, H, W) in -1..1.

    Transposed convolutions: the last hidden layer has `base_channels`, each earlier
    one twice as many (Radford 2015).
    """

    def __init__(
        self,
        latent_dim: int = 100,
        base_channels: int = 64,
        image_shape: tuple[int, int, int] = (3, 64, 64),
    ) -> None:
        super().__init__()
        widths = layer_widths(base_channels, image_shape)[::-1]
        side = image_shape[1] >> len(widths)
        layers: list[nn.Module] = [
            nn.ConvTranspose2d(latent_dim, widths[0], side, 1, 0, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(),
        ]
        for wide, narrow in pairwise(widths):
            layers += [
                nn.ConvTranspose2d(wide, narrow, 4, 2, 1, bias=False),
                nn.BatchNorm2d(narrow),
                nn.ReLU(),
            ]
        layers += [nn.ConvTranspose2d(widths[-1], image_shape[0], 4, 2, 1), nn.Tanh()]
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z[:, :, None, None])


class DCGANDiscriminator(nn.Module):
    """Images (N, C, H, W) in -1..1 -> logits (N,), with BatchNorm (Radford 2015)."""

    def __init__(
        self,
        base_channels: int = 64,
        image_shape: tuple[int, int, int] = (3, 64, 64),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        widths = layer_widths(base_channels, image_shape)
        layers: list[nn.Module] = [
            nn.Conv2d(image_shape[0], widths[0], 4, 2, 1),
            nn.LeakyReLU(0.2),
        ]
        for narrow, wide in pairwise(widths):
            layers += [
                nn.Conv2d(narrow, wide, 4, 2, 1, bias=False),
                nn.BatchNorm2d(wide),
                nn.LeakyReLU(0.2),
            ]
        side = image_shape[1] >> len(widths)
        layers += [nn.Dropout(dropout), nn.Conv2d(widths[-1], 1, side, 1, 0)]
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images).flatten()


class ResizeConvGenerator(nn.Module):
    """Noise (N, latent_dim) -> images (N, C, H, W) in -1..1, without checkerboards.

    A linear layer to 4x4 (7x7 for 28x28), then doubling by repeated pixels and a 3x3
    convolution (Odena 2016) with BatchNorm.
    """

    def __init__(
        self,
        latent_dim: int = 100,
        base_channels: int = 32,
        image_shape: tuple[int, int, int] = (3, 64, 64),
    ) -> None:
        super().__init__()
        widths = layer_widths(base_channels, image_shape)[::-1]
        side = image_shape[1] >> len(widths)
        layers: list[nn.Module] = [
            nn.Linear(latent_dim, widths[0] * side**2),
            nn.Unflatten(1, (widths[0], side, side)),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(),
        ]
        for wide, narrow in pairwise([*widths, widths[-1]]):
            layers += [
                nn.Upsample(scale_factor=2),
                nn.Conv2d(wide, narrow, 3, padding=1, bias=False),
                nn.BatchNorm2d(narrow),
                nn.ReLU(),
            ]
        layers += [nn.Conv2d(widths[-1], image_shape[0], 3, padding=1), nn.Tanh()]
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z)


class MinibatchStdDev(nn.Module):
    """Appends one channel: how much the images of the batch differ (Karras 2018).

    Values (N, C, H, W) -> (N, C + 1, H, W); the new channel holds the standard
    deviation over groups of at most 8 images, averaged over all values.
    """

    def forward(self, values: Tensor) -> Tensor:
        count = len(values)
        group = next(size for size in range(min(8, count), 0, -1) if count % size == 0)
        groups = values.float().view(group, count // group, *values.shape[1:])
        # torch's var is several times slower on a CPU.
        variance = (groups - groups.mean(dim=0)).square().mean(dim=0)
        deviation = (variance + 1e-8).sqrt()
        deviation = deviation.mean(dim=(1, 2, 3), keepdim=True).to(values.dtype)
        channel = deviation.repeat(group, 1, 1, 1).expand(-1, 1, *values.shape[2:])
        return torch.cat([values, channel], dim=1)


class ResizeConvDiscriminator(nn.Module):
    """Images (N, C, H, W) in -1..1 -> logits (N,), without BatchNorm.

    Args:
        minibatch_stddev: whether D is told how much the images of a batch differ.
    """

    def __init__(
        self,
        base_channels: int = 32,
        image_shape: tuple[int, int, int] = (3, 64, 64),
        *,
        minibatch_stddev: bool = True,
    ) -> None:
        super().__init__()
        widths = layer_widths(base_channels, image_shape)
        layers: list[nn.Module] = []
        for narrow, wide in pairwise([image_shape[0], *widths]):
            layers += [nn.Conv2d(narrow, wide, 4, 2, 1), nn.LeakyReLU(0.2)]
        layers += _last_layers(widths, image_shape, minibatch_stddev)
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images).squeeze(1)


def _last_layers(
    widths: list[int], image_shape: tuple[int, int, int], minibatch_stddev: bool
) -> list[nn.Module]:
    """From D's smallest maps (N, widths[-1], side, side) to a logit (N, 1)."""
    maps = widths[-1] + minibatch_stddev
    linear = nn.Linear(maps * (image_shape[1] >> len(widths)) ** 2, 1)
    first: list[nn.Module] = [MinibatchStdDev()] if minibatch_stddev else []
    return [*first, nn.Flatten(), linear]


class ResidualBlock(nn.Module):
    """Maps (N, C, H, W) -> (N, D, H, W): what came in, plus what two convolutions add.

    Without BatchNorm: the second convolution starts at zero, so that at first the block
    is its shortcut, however many follow each other (He 2016; the start is that of
    Zhang 2019, Fixup). Where C is not D, the shortcut is a 1x1 convolution.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        last = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]
        self.added = nn.Sequential(
            nn.LeakyReLU(0.2),
            nn.Conv2d(in_channels, out_channels, 3, padding=1),
            nn.LeakyReLU(0.2),
            last,
        )
        self.shortcut: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.shortcut = nn.Conv2d(in_channels, out_channels, 1, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        return self.shortcut(maps) + self.added(maps)


class ResidualGenerator(nn.Module):
    """Noise (N, latent_dim) -> images (N, C, H, W) in -1..1: residual blocks.

    A linear layer to 4x4 (7x7 for 28x28), then a block and a doubling by repeated
    pixels, as often as needed; no BatchNorm.
    """

    def __init__(
        self,
        latent_dim: int = 100,
        base_channels: int = 32,
        image_shape: tuple[int, int, int] = (3, 64, 64),
    ) -> None:
        super().__init__()
        widths = layer_widths(base_channels, image_shape)[::-1]
        side = image_shape[1] >> len(widths)
        layers: list[nn.Module] = [
            nn.Linear(latent_dim, widths[0] * side**2),
            nn.Unflatten(1, (widths[0], side, side)),
        ]
        for wide, narrow in pairwise([*widths, widths[-1]]):
            layers += [ResidualBlock(wide, narrow), nn.Upsample(scale_factor=2)]
        layers += [
            nn.LeakyReLU(0.2),
            nn.Conv2d(widths[-1], image_shape[0], 3, padding=1),
            nn.Tanh(),
        ]
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z)


class ResidualDiscriminator(nn.Module):
    """Images (N, C, H, W) in -1..1 -> logits (N,): residual blocks, no BatchNorm.

    A strided convolution, which spares the blocks the full size, then blocks, each
    with a mean over 2x2 behind it.

    Args:
        minibatch_stddev: whether D is told how much the images of a batch differ.
    """

    def __init__(
        self,
        base_channels: int = 32,
        image_shape: tuple[int, int, int] = (3, 64, 64),
        *,
        minibatch_stddev: bool = True,
    ) -> None:
        super().__init__()
        widths = layer_widths(base_channels, image_shape)
        layers: list[nn.Module] = [nn.Conv2d(image_shape[0], widths[0], 4, 2, 1)]
        for narrow, wide in pairwise(widths):
            layers += [ResidualBlock(narrow, wide), nn.AvgPool2d(2)]
        layers += [
            nn.LeakyReLU(0.2),
            *_last_layers(widths, image_shape, minibatch_stddev),
        ]
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images).squeeze(1)


class PixelShuffleGenerator(nn.Module):
    """Noise (N, latent_dim) -> images (N, C, H, W) in -1..1, by cheap convolutions.

    Two linear layers to a quarter of the side with `base_channels`, a multiple of 4;
    then two 3x3 convolutions, four channels of which become four pixels (Shi 2016), so
    that none of them runs at the full size.

    Raises GanlibError unless the image is a square with a side that 4 divides.
    """

    def __init__(
        self,
        latent_dim: int = 64,
        hidden_dim: int = 256,
        base_channels: int = 32,
        image_shape: tuple[int, int, int] = (1, 28, 28),
    ) -> None:
        super().__init__()
        channels, height, width = image_shape
        if height != width or height % 4:
            raise GanlibError(
                f"The images are {height}x{width}; a pixel-shuffle generator makes "
                "squares with a side that 4 divides."
            )
        side = height // 4
        self.layers = nn.Sequential(
            nn.Linear(latent_dim, hidden_dim, bias=False),
            nn.BatchNorm1d(hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, base_channels * side**2, bias=False),
            nn.Unflatten(1, (base_channels, side, side)),
            nn.BatchNorm2d(base_channels),
            nn.ReLU(),
            nn.Conv2d(base_channels, base_channels, 3, padding=1, bias=False),
            nn.PixelShuffle(2),
            nn.BatchNorm2d(base_channels // 4),
            nn.ReLU(),
            nn.Conv2d(base_channels // 4, 4 * channels, 3, padding=1),
            nn.PixelShuffle(2),
            nn.Tanh(),
        )

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z)


def layer_widths(base_channels: int, image_shape: tuple[int, int, int]) -> list[int]:
    """Channels of D's layers from the image inwards, doubled as the side halves.

    Raises GanlibError unless the image is a square with a side of SIZES.
    """
    _, height, width = image_shape
    if height != width or height not in SIZES:
        allowed = ", ".join(map(str, SIZES))
        raise GanlibError(
            f"The images are {height}x{width}; convolutional networks take squares "
            f"with a side of {allowed}."
        )
    halvings = next(count for count in range(2, 7) if height >> count in (4, 5, 6, 7))
    return [base_channels * 2**layer for layer in range(halvings)]


def init_weights(network: nn.Module) -> None:
    """Draw kernels from N(0, 0.02²) and BatchNorm's gains from N(1, 0.02²), in place.

    Source: Radford 2015, section 4, for the kernels; the DCGAN authors' code for the
    gains. Around 0 they would switch every layer off.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, 0.02)
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02)


def normalize_spectrum(network: nn.Module) -> None:
    """Divide each weight by its largest singular value, which is estimated, in place.

    Then no linear or convolutional layer stretches a difference of its inputs by more
    than 1 (a convolution: nearly). Source: Miyato 2018, section 2.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            spectral_norm(layer)


class ConcatenationDiscriminator(nn.Module):
    """Images (N, C, H, W) and conditions (N, classes) -> logits (N,) (Mirza 2014).

    The condition stands beside the pixels of an image; where D is convolutional, as
    planes of one value beside its colours.

    Args:
        D: a discriminator of this module; its first layer becomes wider.
        classes: length of a condition.
    """

    def __init__(self, D: nn.Module, classes: int) -> None:
        super().__init__()
        layers: nn.Sequential = D.layers  # type: ignore[assignment]
        kinds = nn.Linear | nn.Conv2d
        place = next(at for at, one in enumerate(layers) if isinstance(one, kinds))
        layers[place] = wide = _widened(layers[place], classes)
        self.D, self.is_linear = D, isinstance(wide, nn.Linear)

    def forward(self, images: Tensor, condition: Tensor) -> Tensor:
        if self.is_linear:
            return self.D(torch.cat([images.flatten(1), condition], dim=1))
        planes = condition[:, :, None, None].expand(-1, -1, *images.shape[2:])
        return self.D(torch.cat([images, planes], dim=1))


def _widened(layer: Any, inputs: int) -> nn.Linear | nn.Conv2d:
    """A first layer of D that takes more inputs; what it does with the others stays."""
    wide: nn.Linear | nn.Conv2d
    if isinstance(layer, nn.Conv2d):
        wide = nn.Conv2d(layer.in_channels + inputs, layer.out_channels, 4, 2, 1)
    else:
        wide = nn.Linear(layer.in_features + inputs, layer.out_features)
    with torch.no_grad():
        wide.weight[:, : layer.weight.shape[1]] = layer.weight
        wide.bias.copy_(layer.bias)  # type: ignore[union-attr]
    return wide


class ProjectionDiscriminator(nn.Module):
    """Images (N, C, H, W) and conditions (N, classes) -> logits (N,).

    To D's logit comes the product of the image's features, which are what D's last
    layer takes, with a vector that belongs to the condition. The vectors start at zero:
    an untrained D judges the image alone. Source: Miyato and Koyama 2018 (cGANs with
    Projection Discriminator), section 3.

    Args:
        D: a discriminator of this module.
        classes: length of a condition.
    """

    def __init__(self, D: nn.Module, classes: int) -> None:
        super().__init__()
        layers: nn.Sequential = D.layers  # type: ignore[assignment]
        self.features, self.head = layers[:-1], layers[-1]
        num_features = self.head.weight[0].numel()  # type: ignore[index]
        self.embedding = nn.Linear(classes, num_features, bias=False)
        nn.init.zeros_(self.embedding.weight)

    def forward(self, images: Tensor, condition: Tensor) -> Tensor:
        features = self.features(images)
        products = features.flatten(1) * self.embedding(condition)
        return self.head(features).flatten() + products.sum(dim=1)


class ConditionedDiscriminator(nn.Module):
    """A conditional D that is asked about one batch: its conditions are given already.

    Images (N, C, H, W) in -1..1 -> logits (N,). It has no weights of its own.
    """

    def __init__(self, D: nn.Module, condition: Tensor) -> None:
        super().__init__()
        self.D = D
        self.condition = condition

    def forward(self, images: Tensor) -> Tensor:
        return self.D(images, self.condition)


def conditioned(D: nn.Module, condition: Tensor | None) -> nn.Module:
    """D itself where there is no condition, else D with the conditions (N, classes)."""
    return D if condition is None else ConditionedDiscriminator(D, condition)


def build(config: Config) -> tuple[nn.Module, nn.Module]:
    """G and D of `config`, freshly initialised from torch's random state.

    With config.classes, G takes noise and condition side by side, (N, latent_dim +
    classes), and D takes images and conditions.
    """
    G, D = _build_plain(config)
    if config.classes and config.label_input == "concatenation":
        D = ConcatenationDiscriminator(D, config.classes)
    if config.spectral_norm:
        normalize_spectrum(D)
    if config.classes and config.label_input == "projection":
        D = ProjectionDiscriminator(D, config.classes)  # starts at 0: has no spectrum
    if config.frozen_layers:
        freeze_first(D, config.frozen_layers)
    return G, D


def freeze_first(D: nn.Module, count: int) -> None:
    """Keep the weights of D's first `count` layers as they are, in place.

    A D that comes from other images knows edges and colours already, and few images
    cannot spoil what does not move. Source: Mo 2020 (Freeze the Discriminator).

    Raises GanlibError unless a layer is left that learns.
    """
    layers = [one for one in D.modules() if isinstance(one, nn.Linear | nn.Conv2d)]
    if count >= len(layers):
        raise GanlibError(
            f"frozen_layers is {count}, but D has {len(layers)} layers, and the last "
            f"must learn; take at most {len(layers) - 1}."
        )
    for layer in layers[:count]:
        layer.requires_grad_(False)


def _build_plain(config: Config) -> tuple[nn.Module, nn.Module]:
    """G for noise and condition, and D for images alone."""
    latent_dim, shape = config.latent_dim, config.image_shape
    latent_dim += config.classes
    G: nn.Module
    D: nn.Module
    if config.architecture == "dcgan":
        G = DCGANGenerator(latent_dim, config.base_channels, shape)
        D = DCGANDiscriminator(config.base_channels, shape, config.dropout)
        init_weights(G)
        init_weights(D)
        return G, D
    if config.architecture == "resize-conv":
        G = ResizeConvGenerator(latent_dim, config.base_channels, shape)
        return G, ResizeConvDiscriminator(config.base_channels, shape)
    if config.architecture == "residual":
        G = ResidualGenerator(latent_dim, config.base_channels, shape)
        return G, ResidualDiscriminator(config.base_channels, shape)
    if config.architecture == "pixel-shuffle":
        G = PixelShuffleGenerator(
            latent_dim, config.hidden_dim, config.base_channels, shape
        )
    elif config.architecture == "batchnorm-mlp":
        G = BatchNormGenerator(latent_dim, config.hidden_dim, shape)
    else:
        G = Generator(latent_dim, config.hidden_dim, shape)
    return G, Discriminator(config.hidden_dim, shape, config.dropout)


def parameter_count(network: nn.Module) -> int:
    """How many numbers of `network` are learned."""
    return sum(
        weight.numel() for weight in network.parameters() if weight.requires_grad
    )
