"""Noise, and images from any generator."""

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from ganlib.data.transforms import denormalize


def sample_noise(
    count: int, latent_dim: int = 64, *, seed: int | None = None
) -> Tensor:
    """Standard normal noise z (count, latent_dim), made on the CPU.

    The same `seed` gives the same noise on every device; None takes torch's own state.
    """
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    return torch.randn(count, latent_dim, generator=generator, device="cpu")


def sample_inputs(
    count: int, latent_dim: int = 64, *, classes: int = 0, seed: int | None = None
) -> Tensor:
    """What G takes: noise, and beside it conditions of all classes in turn, if any.

    Returns (count, latent_dim + classes), made on the CPU; the noise is that of
    `sample_noise`.
    """
    z = sample_noise(count, latent_dim, seed=seed)
    if not classes:
        return z
    return with_condition(z, conditions_of(labels_in_turn(count, classes), classes))


def labels_in_turn(count: int, classes: int) -> Tensor:
    """Labels (count,), int64: 0, 1, … `classes` - 1, and again from 0 on."""
    return torch.arange(count, device="cpu") % classes


def conditions_of(labels: Tensor, classes: int) -> Tensor:
    """Labels (N,), int64 below `classes` -> conditions (N, classes): 1 at the label."""
    return one_hot(labels, classes).float()


def with_condition(z: Tensor, condition: Tensor | None) -> Tensor:
    """What a conditional G takes: noise and condition side by side, the noise first.

    (N, latent_dim) and (N, classes) -> (N, latent_dim + classes); None leaves z.
    """
    return z if condition is None else torch.cat([z, condition], dim=1)


@torch.no_grad()
def sample_images(G: nn.Module, z: Tensor) -> Tensor:
    """Noise (N, latent_dim) -> images (N, C, H, W) in -1..1, with G in eval mode.

    A conditional G takes what `with_condition` puts together.
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
    G: nn.Module,
    latent_dim: int,
    *,
    count: int = 10_000,
    seed: int = 0,
    classes: int = 0,
) -> Tensor:
    """Images of G as bytes (count, C, H, W) on the CPU, from the noise of `seed`.

    What every score of the book is computed from; of a conditional G with `classes`
    they are of all classes in turn.
    """
    return pixels_of(G, sample_inputs(count, latent_dim, seed=seed, classes=classes))


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
