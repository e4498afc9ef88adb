"""Noise, and images from any generator."""

import torch
from torch import Tensor, nn

from ganlib.data.transforms import denormalize


def sample_noise(
    count: int, latent_dim: int = 64, *, seed: int | None = None
) -> Tensor:
    """Standard normal noise z (count, latent_dim), made on the CPU.

    The same `seed` gives the same noise on every device; None takes torch's own state.
    """
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    return torch.randn(count, latent_dim, generator=generator, device="cpu")


@torch.no_grad()
def sample_images(G: nn.Module, z: Tensor) -> Tensor:
    """Noise (N, latent_dim) -> images (N, C, H, W) in -1..1, with G in eval mode.

    The mode of each layer of G is restored, also after an error.
    """
    modes = {layer: layer.training for layer in G.modules()}
    G.eval()
    try:
        return G(z.to(next(G.parameters()).device))
    finally:
        for layer, training in modes.items():
            layer.training = training


def sample_pixels(
    G: nn.Module, latent_dim: int, *, count: int = 10_000, seed: int = 0
) -> Tensor:
    """Images of G as bytes (count, C, H, W) on the CPU, from the noise of `seed`.

    What every score of the book is computed from.
    """
    return pixels_of(G, sample_noise(count, latent_dim, seed=seed))


def pixels_of(G: nn.Module, noise: Tensor) -> Tensor:
    """Noise (N, latent_dim), any N -> images as bytes (N, C, H, W) on the CPU."""
    parts = [denormalize(sample_images(G, z)).cpu() for z in noise.split(500)]
    return torch.cat(parts)


def noise_circle(
    count: int, latent_dim: int = 64, *, seed: int | None = None
) -> Tensor:
    """Noise (count, latent_dim) along a circle: the last leads to the first again.

    The circle goes through two vectors of standard normal noise, and each of its
    points is such a vector too.
    """
    start, side = sample_noise(2, latent_dim, seed=seed)
    angle = torch.arange(count, device="cpu").unsqueeze(1) * (2 * torch.pi / count)
    return angle.cos() * start + angle.sin() * side
