"""The workshop's second floor: a generator and a discriminator of convolutions, for images of 16x16 to 256x256."""

from itertools import pairwise
from math import log2

import torch
from torch import nn

from ganlib.config import GanlibError

SIZES = 16, 32, 64, 128, 256  # every layer doubles or halves the side, and G begins at 4x4


class ConvGenerator(nn.Module):
    """Noise (N, latent_dim) -> image (N, C, H, W) in -1..1; `hidden_dim` channels at its end (Radford 2015)."""

    def __init__(self, latent_dim=100, hidden_dim=64, image_shape=(3, 64, 64)):
        super().__init__()
        widths = layer_widths(hidden_dim, image_shape)[::-1]
        layers = [nn.ConvTranspose2d(latent_dim, widths[0], 4, 1, 0, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()]
        for wide, narrow in pairwise(widths):
            layers += [nn.ConvTranspose2d(wide, narrow, 4, 2, 1, bias=False), nn.BatchNorm2d(narrow), nn.ReLU()]
        layers += [nn.ConvTranspose2d(widths[-1], image_shape[0], 4, 2, 1), nn.Tanh()]
        self.layers = nn.Sequential(*layers)

    def forward(self, z):
        return self.layers(z[:, :, None, None])


class ConvDiscriminator(nn.Module):
    """Image (N, C, H, W) in -1..1 -> logit (N,); positive means real (Radford 2015)."""

    def __init__(self, hidden_dim=64, image_shape=(3, 64, 64), dropout=0.0):
        super().__init__()
        widths = layer_widths(hidden_dim, image_shape)
        layers = [nn.Conv2d(image_shape[0], widths[0], 4, 2, 1), nn.LeakyReLU(0.2)]
        for narrow, wide in pairwise(widths):
            layers += [nn.Conv2d(narrow, wide, 4, 2, 1, bias=False), nn.BatchNorm2d(wide), nn.LeakyReLU(0.2)]
        layers += [nn.Dropout(dropout), nn.Conv2d(widths[-1], 1, 4, 1, 0)]
        self.layers = nn.Sequential(*layers)

    def forward(self, images):
        return self.layers(images).flatten()


class RandomShift(nn.Module):
    """Image (N, C, H, W) -> the same, in training each moved by up to `most` pixels, black where nothing moved in.

    Before D it makes few images go a longer way: real and fake are moved alike, so that G learns no moved images
    (Zhao 2020, "Differentiable augmentation for data-efficient GAN training").
    """

    def __init__(self, most):
        super().__init__()
        self.most = most

    def forward(self, images):
        if not self.training:
            return images
        count, _, height, width = images.shape
        padded = nn.functional.pad(images, [self.most] * 4, value=-1.0)
        tops, lefts = torch.randint(2 * self.most + 1, (2, count)).tolist()
        moved = [one[:, y : y + height, x : x + width] for one, y, x in zip(padded, tops, lefts, strict=True)]
        return torch.stack(moved)


def layer_widths(hidden_dim, image_shape):
    """Channels of D's layers from the image inwards: doubled as often as the side is halved, down to 4x4."""
    _, height, width = image_shape
    if height != width or height not in SIZES:
        allowed = ", ".join(map(str, SIZES))
        raise GanlibError(f"The images are {height}x{width}; a DCGAN takes squares with a side of {allowed}.")
    return [hidden_dim * 2**layer for layer in range(int(log2(height)) - 2)]


def init_weights(network):
    """Draw the weights of a network anew: kernels from N(0, 0.02²), BatchNorm's gains from N(1, 0.02²), shifts 0.

    Source: Radford 2015, section 4. The gains start around 1: around 0 they would switch every layer off.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, 0.02)
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02)


def build_dcgan(config):
    """Config -> (G, D) of convolutions, freshly initialised; `config.shift` above 0 puts RandomShift before D."""
    G = ConvGenerator(config.latent_dim, config.hidden_dim, config.image_shape)
    D = ConvDiscriminator(config.hidden_dim, config.image_shape, config.dropout)
    init_weights(G)
    init_weights(D)
    return G, nn.Sequential(RandomShift(config.shift), D) if config.shift else D
