"""Precision, recall, density, coverage and neighbours of points drawn by hand."""

import pytest
import torch

from ganlib.metrics import (
    copied_share,
    count_in_balls,
    knn_radii,
    nearest_neighbour,
    precision_recall_density_coverage,
)


def line(*points):
    return torch.tensor(points, dtype=torch.float32)[:, None]


def normal(count, *, seed, features=4):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, features, generator=generator)


def test_radii_by_hand():
    assert knn_radii(line(0, 1, 3, 7), 1).tolist() == [1, 1, 2, 4]
    assert knn_radii(line(0, 1, 3, 7), 2).tolist() == [3, 2, 3, 6]


def test_a_double_is_its_own_neighbour():
    assert knn_radii(line(0, 0, 1), 1).tolist() == [0, 0, 1]


def test_balls_by_hand():
    points, centres = line(0.5, 5, 20, 11), line(0, 1, 3, 7)
    radii = torch.tensor([1.0, 1.0, 2.0, 4.0])  # 5 and 11 lie on a surface
    assert count_in_balls(points, centres, radii).tolist() == [2, 2, 0, 1]


@pytest.fixture(scope="module")
def by_hand():
    """Seven real points, and six generated ones to their right.

    Radii of the real points for k = 3: 3 2 2 2 2 2 3; for k = 5: 5 4 3 3 3 4 5.
    Radii of the generated ones for k = 3: 3 2 2 2 2 3.
    """
    real, fake = line(0, 1, 2, 3, 4, 5, 6), line(7, 8, 9, 10, 11, 12)
    return precision_recall_density_coverage(real, fake)


def test_precision_by_hand(by_hand):
    # 7, 8, 9 are in the ball of 6; 7 is in that of 5 too.
    assert by_hand["precision"] == pytest.approx(3 / 6)


def test_recall_by_hand(by_hand):
    # 4, 5, 6 are in the ball of 7; 6 is in that of 8 too.
    assert by_hand["recall"] == pytest.approx(3 / 7)


def test_density_by_hand(by_hand):
    # The ball of 6 holds 7 to 11, that of 5 holds 7 to 9, that of 4 holds 7.
    assert by_hand["density"] == pytest.approx((5 + 3 + 1) / (5 * 6))


def test_coverage_by_hand(by_hand):
    # The balls of 4, 5 and 6 hold one.
    assert by_hand["coverage"] == pytest.approx(3 / 7)


@pytest.fixture(scope="module")
def mode():
    """600 points (600, 3), whole numbers, so that distances are not rounded."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(-500, 500, (600, 3), generator=generator).float()


FAR = torch.tensor([1500.0, 0.0, 0.0])


def test_a_missing_mode_costs_its_share_of_recall_and_coverage(mode):
    shares = precision_recall_density_coverage(torch.cat([mode, mode + FAR]), mode)
    assert shares["precision"] == 1.0
    assert shares["recall"] == 0.5
    assert shares["coverage"] == 0.5
    assert shares["density"] == pytest.approx(6 / 5)  # five neighbours and itself


def test_an_invented_mode_costs_its_share_of_precision_and_density(mode):
    shares = precision_recall_density_coverage(mode, torch.cat([mode, mode + FAR]))
    assert shares["precision"] == 0.5
    assert shares["recall"] == 1.0
    assert shares["coverage"] == 1.0
    assert shares["density"] == pytest.approx(6 / 5 / 2)


def test_a_real_outlier_inflates_precision_and_not_density():
    outlier = torch.full((1, 4), 100.0)  # all others are far: its ball holds everything
    real = torch.cat([normal(500, seed=0), outlier])
    shares = precision_recall_density_coverage(real, normal(500, seed=1) + 80)
    assert shares["precision"] == 1.0
    assert shares["density"] == pytest.approx(1 / 5)


def test_many_images_are_compared_as_few_are():
    """The definitions, with whole tables: these images are worked off in parts."""
    real, fake = normal(1500, seed=0), 0.9 * normal(1300, seed=1) + 0.3
    real_table = torch.cdist(real, real).sort(dim=1).values
    fake_table = torch.cdist(fake, fake).sort(dim=1).values
    across = torch.cdist(fake, real)
    near_real = across <= real_table[:, 3]
    near_fake = across <= fake_table[:, 3, None]
    in_balls = across <= real_table[:, 5]
    assert precision_recall_density_coverage(real, fake) == pytest.approx(
        {
            "precision": near_real.any(dim=1).double().mean().item(),
            "recall": near_fake.any(dim=0).double().mean().item(),
            "density": in_balls.sum().item() / (5 * 1300),
            "coverage": in_balls.any(dim=0).double().mean().item(),
        }
    )


def test_the_nearest_by_hand():
    points = torch.tensor([[0.0, 0.0], [9.0, 4.0]])
    others = torch.tensor([[9.0, 0.0], [3.0, 4.0], [9.0, 7.0]])
    distance, index = nearest_neighbour(points, others)
    assert distance.tolist() == [5, 3]
    assert index.tolist() == [1, 2]


def test_a_copy_has_distance_zero_even_far_from_the_origin():
    others = normal(3000, seed=0) + 100
    copied = torch.randperm(3000, generator=torch.Generator().manual_seed(1))[:1200]
    distance, index = nearest_neighbour(others[copied], others)
    assert (distance == 0).all()
    assert torch.equal(index, copied)


def test_a_changed_copy_is_not_at_distance_zero():
    others = normal(3000, seed=0) + 100
    assert nearest_neighbour(others[:1200] + 0.01, others)[0].min() > 0


# --- copies ---------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("held_out", [40, 150])
def test_the_share_of_copies_is_the_one_planted(share, held_out):
    torch.manual_seed(0)
    training, others, fresh = (torch.randn(n, 8) for n in (150, held_out, 2_000))
    copies = round(share * len(fresh))
    fresh[:copies] = training[torch.randint(len(training), (copies,))]
    found, error = copied_share(fresh, training, others)
    assert found == pytest.approx(share, abs=3 * error) and error < 0.25
    assert share < 1 or found == 1


def test_the_error_is_the_spread_over_ways_to_hold_out():
    torch.manual_seed(0)
    real, fresh = torch.randn(100, 4), torch.randn(1_000, 4)
    found = []
    for _ in range(60):
        order = torch.randperm(len(real))
        found.append(copied_share(fresh, real[order[20:]], real[order[:20]]))
    shares, errors = torch.tensor(found).T
    assert shares.std().item() == pytest.approx(errors[0].item(), rel=0.3)
    assert abs(shares.mean().item()) < 3 * errors[0].item() / 60**0.5
