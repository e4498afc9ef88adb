"""Fréchet and kernel distance of features whose answer is known."""

import math

import pytest
import torch

from ganlib.metrics import frechet_distance, kernel_distance
from ganlib.metrics.distances import even_weights


def gaussian(mean, covariance, *, count=1000, seed=0):
    """Points (count, F) with exactly this sample mean and sample covariance."""
    mean, covariance = (torch.tensor(value).double() for value in (mean, covariance))
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(count, len(mean), generator=generator, dtype=torch.float64)
    points -= points.mean(dim=0)
    whiten = torch.linalg.inv(torch.linalg.cholesky(points.T.cov())).T
    return points @ whiten @ torch.linalg.cholesky(covariance).T + mean


def test_the_frechet_distance_of_two_gaussians_is_the_closed_form():
    real = gaussian([0.0, 0.0], [[1.0, 0.0], [0.0, 4.0]])
    fake = gaussian([3.0, 1.0], [[2.0, 1.0], [1.0, 2.0]], seed=1)
    # Of a 2x2 matrix A, tr A^½ = √(tr A + 2 √det A); here tr CC' = 10, det CC' = 12.
    expected = 3**2 + 1**2 + 5 + 4 - 2 * math.sqrt(10 + 2 * math.sqrt(12))
    assert frechet_distance(real, fake) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(fake, real) == pytest.approx(expected, rel=1e-6)


def test_the_frechet_distance_of_a_set_from_itself_is_zero():
    real = gaussian([5.0, 0.0], [[1.0, 0.0], [0.0, 4.0]])
    assert frechet_distance(real, real) == pytest.approx(0, abs=1e-6)


def test_the_frechet_distance_is_that_of_torchmetrics():
    from torchmetrics.image.fid import FrechetInceptionDistance

    generator = torch.Generator().manual_seed(0)
    real, fake = torch.randn(2, 300, 5, generator=generator)
    fake = fake @ torch.randn(5, 5, generator=generator) + 1
    identity = torch.nn.Identity()
    identity.num_features = 5
    metric = FrechetInceptionDistance(feature=identity)
    metric.update(real, real=True)
    metric.update(fake, real=False)
    assert frechet_distance(real, fake) == pytest.approx(metric.compute().item())


def test_a_weight_counts_an_image_so_many_times():
    generator = torch.Generator().manual_seed(0)
    real, fake = torch.randn(2, 2000, 3, generator=generator)
    repeats = torch.randint(1, 4, (2000,), generator=generator)
    weighted = frechet_distance(real, fake, fake_weights=repeats)
    repeated = frechet_distance(real, fake.repeat_interleave(repeats, dim=0))
    assert weighted == pytest.approx(repeated, abs=0.005)
    assert weighted != pytest.approx(frechet_distance(real, fake), abs=1e-4)


def test_even_weights():
    weights = even_weights(torch.tensor([5, 5, 2, 5, 7, 7]))
    assert weights.tolist() == pytest.approx([1 / 3, 1 / 3, 1, 1 / 3, 1 / 2, 1 / 2])


def test_the_kernel_distance_by_hand():
    real = torch.tensor([[1.0], [-1.0]])  # root mean square 1
    fake = torch.tensor([[0.0], [2.0]])
    # (xy + 1)³ is 0 within real, 1 within fake, and 1, 27, 1, -1 across: mean 7.
    assert kernel_distance(real, fake)[0] == pytest.approx(1000 * (0 + 1 - 2 * 7))


def test_the_kernel_distance_in_several_dimensions_is_its_definition():
    generator = torch.Generator().manual_seed(0)
    real = torch.randn(6, 3, generator=generator) * 4 + 1
    fake = torch.randn(6, 3, generator=generator) * 2 - 3
    scale = real.square().mean().sqrt()

    def kernel(x, y):
        return ((x / scale) @ (y / scale) / 3 + 1).item() ** 3

    pairs = [(i, j) for i in range(6) for j in range(6)]
    within_real = sum(kernel(real[i], real[j]) for i, j in pairs if i != j) / 30
    within_fake = sum(kernel(fake[i], fake[j]) for i, j in pairs if i != j) / 30
    across = sum(kernel(real[i], fake[j]) for i, j in pairs) / 36
    expected = 1000 * (within_real + within_fake - 2 * across)
    assert kernel_distance(real, fake)[0] == pytest.approx(expected, rel=1e-5)
    assert kernel_distance(100 * real, 100 * fake)[0] == pytest.approx(
        expected, rel=1e-5
    )


def test_the_kernel_distance_of_unequal_numbers_takes_as_many_of_each():
    real, fake = torch.ones(3, 2), torch.ones(2, 2)
    assert kernel_distance(real, fake)[0] == pytest.approx(0, abs=1e-9)


def test_the_kernel_distance_is_that_of_subsets_of_the_given_size():
    """Half of the real images are 1 and half are 3; generated ones are 1."""
    real = torch.tensor([[1.0], [3.0]]).repeat(50, 1)
    fake = torch.ones(100, 1)
    whole, _ = kernel_distance(real, fake)
    pairs, error = kernel_distance(real, fake, subsets=500, size=2)
    assert pairs != whole
    assert abs(pairs - whole) < 4 * error


def distances_of_fresh_draws(shift, count):
    """Kernel distances and their errors, (20, 2), each of other normal images."""
    generator = torch.Generator().manual_seed(0)
    pairs = [torch.randn(2, count, 8, generator=generator) for _ in range(20)]
    results = [kernel_distance(a, b + shift, size=100) for a, b in pairs]
    return torch.tensor(results, dtype=torch.float64)


@pytest.mark.parametrize("count", [150, 400, 2000])
def test_the_error_is_the_spread_over_other_images(count):
    distances, errors = distances_of_fresh_draws(0.5, count).T
    assert 0.6 < errors.mean() / distances.std() < 1.6


def test_equal_distributions_are_at_distance_zero_within_the_error():
    distances, errors = distances_of_fresh_draws(0.0, 400).T
    assert abs(distances.mean()) < errors.mean()


def test_there_is_no_error_where_a_subset_is_all_there_is():
    features = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    assert kernel_distance(features, features + 1)[1] is None
