"""Distances between the features of real and of generated images."""

import torch
from torch import Tensor, nn


def frechet_distance(real_features: Tensor, fake_features: Tensor) -> float:
    """|m - m'|² + tr(C + C' - 2 (C C')^½), from means and covariances, by torchmetrics.

    In double precision on the CPU. 0 is best. Fewer images give a larger distance, so
    only distances of equally many images can be compared.

    Args:
        real_features: (N, F).
        fake_features: (M, F).

    Source: Heusel 2017, equation 6, there with the features of an Inception network.
    """
    # Not at the top of the file: this import takes as long as that of torch.
    from torchmetrics.image.fid import FrechetInceptionDistance

    identity = nn.Identity()
    identity.num_features = real_features.shape[1]  # type: ignore[assignment]
    metric = FrechetInceptionDistance(feature=identity)
    metric.update(real_features.cpu(), real=True)
    metric.update(fake_features.cpu(), real=False)
    return metric.compute().item()


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
        real_order = torch.randperm(len(real_features), generator=generator)
        fake_order = torch.randperm(len(fake_features), generator=generator)
        real = (real_features[real_order[:size]] / scale).double()
        fake = (fake_features[fake_order[:size]] / scale).double()
        values.append(1000 * poly_mmd(real, fake))
    distances = torch.stack(values)
    mean = distances.mean().item()
    if size == fewest:
        return mean, None
    return mean, distances.std().item() * (size / (fewest - size) + 1 / subsets) ** 0.5
