"""Distances between the features of real and of generated images."""

import torch
from torch import Tensor


def frechet_distance(
    real_features: Tensor,
    fake_features: Tensor,
    *,
    real_weights: Tensor | None = None,
    fake_weights: Tensor | None = None,
) -> float:
    """|m - m'|² + tr(C + C' - 2 (C C')^½), from means and covariances.

    In double precision on the CPU. 0 is best. Fewer images give a larger distance, so
    only distances of equally many images can be compared.

    Args:
        real_features: (N, F).
        fake_features: (M, F).
        real_weights: (N,), how much each image counts; None: all the same.
        fake_weights: (M,), likewise.

    Source: Heusel 2017, equation 6, there with the features of an Inception network.
    """
    real_mean, real_covariance = _moments(real_features, real_weights)
    fake_mean, fake_covariance = _moments(fake_features, fake_weights)
    # The eigenvalues of C C' are those of C^½ C' C^½, none below 0 but by rounding.
    roots = torch.linalg.eigvals(real_covariance @ fake_covariance).sqrt().real
    traces = real_covariance.trace() + fake_covariance.trace() - 2 * roots.sum()
    return ((real_mean - fake_mean).square().sum() + traces).item()


def _moments(features: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
    """Features (N, F) -> their mean (F,) and covariance (F, F), both unbiased."""
    features = features.cpu().double()
    if weights is None:
        weights = torch.ones(len(features), device="cpu")
    shares = (weights / weights.sum()).cpu().double()
    mean = shares @ features
    centred = features - mean
    covariance = (shares[:, None] * centred).T @ centred
    return mean, covariance / (1 - shares.square().sum())


def even_weights(classes: Tensor) -> Tensor:
    """Classes (N,) -> weights (N,) that make each class that occurs count the same."""
    _, place, counts = classes.unique(return_inverse=True, return_counts=True)
    return 1 / counts[place]


def kernel_distance(
    real_features: Tensor, fake_features: Tensor, *, subsets: int = 20, size: int = 1000
) -> tuple[float, float | None]:
    """1000 times the unbiased MMD² of the kernel (x·y/F + 1)³: mean over subsets.

    Before, all features are divided by the root mean square of the real ones, so that
    x·y/F is near 1 and the distance does not depend on their scale. 0 is best; being
    unbiased, it falls below 0 by chance.

    Args:
        real_features: (N, F).
        fake_features: (M, F).
        subsets: how many pairs of subsets are compared, the same ones at each call.
        size: images in a subset, of each kind; fewer where N or M is smaller.

    Returns the mean, and its standard error: how much other images of the same two
    kinds would change it. With a standard deviation s over subsets of n among N images
    that is s √(n / (N - n) + 1 / subsets). The second part is the noise of a mean over
    subsets. The first is larger: all subsets are drawn from the same images. Where the
    two kinds are alike, the error comes out up to twice too large. It is None where a
    subset is all there is.

    Source: Bińkowski 2018, section 4; the error is the jackknife of Shao and Wu 1989.
    """
    from torchmetrics.image.kid import poly_mmd

    real_features, fake_features = real_features.cpu(), fake_features.cpu()
    scale = real_features.square().mean().sqrt()
    fewest = min(len(real_features), len(fake_features))
    size = min(size, fewest)
    generator = torch.Generator().manual_seed(0)
    values = []
    for _ in range(subsets):
        real_order, fake_order = (
            torch.randperm(len(features), generator=generator, device="cpu")
            for features in (real_features, fake_features)
        )
        real = (real_features[real_order[:size]] / scale).double()
        fake = (fake_features[fake_order[:size]] / scale).double()
        values.append(1000 * poly_mmd(real, fake))
    distances = torch.stack(values)
    mean = distances.mean().item()
    if size == fewest:
        return mean, None
    return mean, distances.std().item() * (size / (fewest - size) + 1 / subsets) ** 0.5
