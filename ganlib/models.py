"""The workshop: a generator and a discriminator of three linear layers each, and how to draw from any generator."""

from contextlib import contextmanager
from math import prod

import torch
from torch import nn

from ganlib.dcgan import build_dcgan


class Generator(nn.Module):
    """Noise (N, latent_dim) -> image (N, C, H, W) in -1..1."""

    def __init__(self, latent_dim=64, hidden_dim=256, image_shape=(1, 28, 28)):
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

    def forward(self, z):
        return self.layers(z).view(-1, *self.image_shape)


class BatchNormGenerator(Generator):
    """Noise (N, latent_dim) -> image (N, C, H, W) in -1..1, with BatchNorm (Ioffe 2015) before each ReLU."""

    def __init__(self, latent_dim=64, hidden_dim=256, image_shape=(1, 28, 28)):
        super().__init__(latent_dim, hidden_dim, image_shape)
        first, relu, second, _, last, tanh = self.layers
        norms = nn.BatchNorm1d(hidden_dim), nn.BatchNorm1d(hidden_dim)
        self.layers = nn.Sequential(first, norms[0], relu, second, norms[1], nn.ReLU(), last, tanh)


class Discriminator(nn.Module):
    """Image (N, C, H, W) in -1..1 -> logit (N,); positive means real."""

    def __init__(self, hidden_dim=256, image_shape=(1, 28, 28), dropout=0.0):
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

    def forward(self, images):
        return self.layers(images).squeeze(1)


def build_mlp(config):
    """Config -> (G, D) of linear layers, freshly initialised."""
    G = Generator(config.latent_dim, config.hidden_dim, config.image_shape)
    D = Discriminator(config.hidden_dim, config.image_shape, config.dropout)
    return G, D


def build_batchnorm_mlp(config):
    """Config -> (G, D) of linear layers, with BatchNorm in G, freshly initialised."""
    G = BatchNormGenerator(config.latent_dim, config.hidden_dim, config.image_shape)
    D = Discriminator(config.hidden_dim, config.image_shape, config.dropout)
    return G, D


FAMILIES = {"mlp": build_mlp, "batchnorm-mlp": build_batchnorm_mlp, "dcgan": build_dcgan}


def build(config):
    """Config -> (G, D) of the family that `config.networks` names, from torch's global random state."""
    return FAMILIES[config.networks](config)


def parameter_count(network):
    """How many numbers of `network` are learned."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def draw_noise(count, latent_dim=64, *, seed=None):
    """Noise z (count, latent_dim), standard normal; the same `seed` gives the same noise on every device."""
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    return torch.randn(count, latent_dim, generator=generator)


@torch.no_grad()
def sample(G, z):
    """Noise (N, latent_dim) -> image (N, C, H, W) in -1..1, with G in eval mode; its mode is restored."""
    was_training = G.training
    G.eval()
    images = G(z.to(next(G.parameters()).device))
    G.train(was_training)
    return images


@contextmanager
def frozen(network):
    """Inside the `with`, `network` passes gradients through but collects none of its own."""
    network.requires_grad_(False)
    try:
        yield network
    finally:
        network.requires_grad_(True)
