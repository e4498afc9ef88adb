"""Which images lie near which, by the distances between their features."""

from collections.abc import Iterator

import torch
from torch import Tensor

MAX_DISTANCES = 1_000_000  # in memory at once: 4 MB, which stays in the cache
PRECISION_NEIGHBOURS = 3  # Kynkäänniemi 2019, section 3
DENSITY_NEIGHBOURS = 5  # Naeem 2020, section 5


def distances_by_rows(points: Tensor, others: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """The distances between (N, F) and (M, F), some rows at a time.

    Yields a slice of the N points and their distances (rows, M) to the others; never
    more than MAX_DISTANCES of them, unless a single row is longer.
    """
    rows = max(1, MAX_DISTANCES // len(others))
    for start in range(0, len(points), rows):
        part = slice(start, start + rows)
        yield part, torch.cdist(points[part], others)


def knn_distances(features: Tensor, k: int) -> Tensor:
    """Distances (N, k) of each of the features (N, F) to its k nearest others."""
    nearest = [
        # The nearest of all is the point itself.
        distances.topk(k + 1, largest=False).values[:, 1:]
        for _, distances in distances_by_rows(features, features)
    ]
    return torch.cat(nearest)


def knn_radii(features: Tensor, k: int) -> Tensor:
    """Distance (N,) of each of the features (N, F) to its k-th nearest other."""
    return knn_distances(features, k)[:, -1]


def count_in_balls(points: Tensor, centres: Tensor, radii: Tensor) -> Tensor:
    """How many balls each point lies in, (N,); the surface belongs to the ball.

    Args:
        points: (N, F).
        centres: of the balls, (M, F).
        radii: of the balls, (M,).
    """
    counts = [
        (distances <= radii).sum(dim=1)
        for _, distances in distances_by_rows(points, centres)
    ]
    return torch.cat(counts)


def precision_recall_density_coverage(
    real_features: Tensor, fake_features: Tensor
) -> dict[str, float]:
    """Four shares, from balls around images that reach to their k-th nearest neighbour.

    - precision: share of generated images in a ball of a real one, k = 3.
    - recall: share of real images in a ball of a generated one, k = 3.
    - density: how many balls of real images hold a generated one, divided by k = 5;
      the mean over generated images. About 1 for real against real.
    - coverage: share of real images whose ball holds a generated one, k = 5.

    Three tables of distances serve all four. torchmetrics has none of them; prdc 0.2
    has one k for all, and counts a distance that equals the radius as outside.

    Args:
        real_features: (N, F), N > 5.
        fake_features: (M, F), M > 3.

    Source: Kynkäänniemi 2019, equations 1 and 2; Naeem 2020, section 3.
    """
    real_distances = knn_distances(real_features, DENSITY_NEIGHBOURS)
    precision_radii = real_distances[:, PRECISION_NEIGHBOURS - 1]
    density_radii = real_distances[:, DENSITY_NEIGHBOURS - 1]
    recall_radii = knn_radii(fake_features, PRECISION_NEIGHBOURS)

    fake_is_near = []  # for each generated image: is it in a ball of a real one?
    ball_counts = []  # for each generated image: in how many balls of real ones?
    real_is_near = torch.zeros_like(density_radii, dtype=torch.bool)
    nearest_fake = torch.full_like(density_radii, torch.inf)
    for part, distances in distances_by_rows(fake_features, real_features):
        fake_is_near.append((distances <= precision_radii).any(dim=1))
        ball_counts.append((distances <= density_radii).sum(dim=1))
        real_is_near |= (distances <= recall_radii[part, None]).any(dim=0)
        nearest_fake = torch.minimum(nearest_fake, distances.amin(dim=0))
    return {
        "precision": torch.cat(fake_is_near).float().mean().item(),
        "recall": real_is_near.float().mean().item(),
        "density": (torch.cat(ball_counts) / DENSITY_NEIGHBOURS).mean().item(),
        "coverage": (nearest_fake <= density_radii).float().mean().item(),
    }


def nearest_neighbour(points: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Distance (N,) from each point to the nearest of the others, and its index (N,).

    A point that is among the others has distance 0.

    Args:
        points: (N, F): features, or flattened images.
        others: (M, F).
    """
    centre = others.mean(dim=0)  # far from 0, cdist rounds too coarsely
    tables = distances_by_rows(points - centre, others - centre)
    index = torch.cat([distances.argmin(dim=1) for _, distances in tables])
    return (points - others[index]).norm(dim=1), index


def copied_share(
    fake_features: Tensor, training_features: Tensor, held_out_features: Tensor
) -> tuple[float, float]:
    """How many generated images lie by a training image as only copies do.

    Images were held out at random: while G knows the training images no better than
    these, the nearest of all to a generated image is a training image with the
    probability N / (N + M). Where it is one more often, with a share s, the share of
    copies that would explain it is (s - N / (N + M)) / (M / (N + M)): 0 by chance, 1 if
    the nearest is always a training image. Chance takes it below 0.

    Args:
        fake_features: (K, F).
        training_features: (N, F).
        held_out_features: (M, F).

    Returns the share, and its standard error: how far another choice of the held-out
    images would move it if there were no copies. Two nearest images that are equal
    count as the first, so leave out duplicates.

    Source: the question is that of Meehan 2020 (a test to detect data-copying), who
    compares distances; counting the nearest is the test of Schilling 1986.
    """
    real = torch.cat([training_features, held_out_features])
    count, held_out = len(real), len(held_out_features)
    _, nearest = nearest_neighbour(fake_features, real)
    won = torch.bincount(nearest.cpu(), minlength=count).double() / len(nearest)
    to_held_out = won[-held_out:].sum().item()
    by_chance = held_out / count
    # The sum of `held_out` of `count` numbers, drawn without replacement.
    error = won.std().item() * (held_out * (1 - by_chance)) ** 0.5
    return 1 - to_held_out / by_chance, error / by_chance
