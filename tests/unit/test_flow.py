"""Flow matching: velocities that are known, and what a network learns of them."""

import pytest
import torch

from ganlib.errors import GanlibError
from ganlib.flow import (
    VelocityNetwork,
    flow_matching_loss,
    flow_path,
    sample_times,
    time_features,
)

POINT = torch.tensor([3.0, -2.0])


def to_one_point(x, t):
    """The best velocity if the data are one point: straight there, in the time left."""
    return (POINT - x) / (1 - t)[:, None]


def to_a_gaussian(x, t, mean=2.0, sd=0.5):
    """The best velocity if the data are normal: the mean of data - z, given x.

    Data and x are jointly normal, so it is linear in x, with the slope of a regression.
    """
    t = t[:, None]
    variance = (t * sd) ** 2 + (1 - t) ** 2
    return mean + (t * sd**2 - (1 - t)) / variance * (x - t * mean)


def noise(count, *shape, seed=0):
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))


# The loss


def test_the_loss_of_the_exact_velocity_to_one_point_is_zero():
    z, t = noise(50, 2), torch.linspace(0, 0.95, 50)
    data = POINT.expand(50, 2)
    assert flow_matching_loss(to_one_point, data, z, t) < 1e-9
    assert flow_matching_loss(lambda x, t: 0 * x, data, z, t) > 1


def test_the_loss_is_the_squared_error_at_the_point_on_the_straight_way():
    seen = []

    def still(x, t):
        seen.append(x)
        return torch.zeros_like(x)

    data, z = torch.tensor([[4.0, 0.0]]), torch.tensor([[0.0, 8.0]])
    loss = flow_matching_loss(still, data, z, torch.tensor([0.25]))
    assert seen[0].tolist() == [[1.0, 6.0]]
    assert loss == (4**2 + 8**2) / 2


def test_the_loss_takes_images_and_a_time_for_each():
    data, z = noise(3, 1, 4, 4), noise(3, 1, 4, 4, seed=1)
    t = torch.tensor([0.0, 0.5, 1.0])

    def reads(x, t):
        assert torch.allclose(x[0], z[0]) and torch.allclose(x[2], data[2])
        assert torch.allclose(x[1], (data[1] + z[1]) / 2)
        return data - z

    assert flow_matching_loss(reads, data, z, t) == 0


def test_no_velocity_beats_the_exact_one():
    """For normal data even the best one has a loss: other pairs cross the same point."""
    data, z = 2 + 0.5 * noise(20_000, 1, seed=1), noise(20_000, 1, seed=2)
    t = torch.rand(20_000, generator=torch.Generator().manual_seed(3))
    best = flow_matching_loss(to_a_gaussian, data, z, t)
    for factor, shift in ((0.9, 0), (1.1, 0), (1, 0.3), (1, -0.3)):
        other = flow_matching_loss(
            lambda x, t: factor * to_a_gaussian(x, t) + shift,  # noqa: B023
            data,
            z,
            t,
        )
        assert other > best > 0.1


# The path


@pytest.mark.parametrize("steps", [1, 2, 3, 16])
@pytest.mark.parametrize("midpoint", [False, True])
def test_the_exact_velocity_to_one_point_arrives_in_any_number_of_steps(
    steps, midpoint
):
    z = noise(10, 2)
    path = flow_path(to_one_point, z, steps, midpoint=midpoint)
    assert path.shape == (steps + 1, 10, 2)
    assert torch.equal(path[0], z)
    assert torch.allclose(path[-1], POINT.expand(10, 2), atol=1e-5)
    halfway = z + (POINT - z) / steps
    assert torch.allclose(path[1], halfway, atol=1e-5), "the way is straight"


def test_one_step_gives_the_mean_of_the_data_and_many_give_their_spread():
    z = noise(20_000, 1)
    (one, many) = (flow_path(to_a_gaussian, z, steps)[-1] for steps in (1, 100))
    assert one.mean() == pytest.approx(2, abs=0.02)
    assert one.std() < 0.01
    assert many.mean() == pytest.approx(2, abs=0.02)
    assert many.std() == pytest.approx(0.5, abs=0.03)


def test_the_midpoint_is_nearer_than_euler_at_the_same_number_of_calls():
    calls = []

    def counted(x, t):
        calls.append(len(x))
        return to_a_gaussian(x, t)

    z = noise(1_000, 1)
    exact = 2 + 0.5 * z  # the flow of a normal distribution only moves and shrinks
    errors = {}
    for steps, midpoint in ((16, False), (8, True)):
        calls.clear()
        end = flow_path(counted, z, steps, midpoint=midpoint)[-1]
        errors[midpoint] = (end - exact).abs().max().item()
        assert len(calls) == 16
    assert errors[True] < errors[False] / 2


@pytest.mark.parametrize("steps", [0, -3])
def test_fewer_than_one_step_are_refused_in_a_sentence(steps):
    with pytest.raises(GanlibError, match=f"steps is {steps}; .* at least 1"):
        flow_path(to_one_point, noise(2, 2), steps)


# The network


@pytest.mark.parametrize("shape", [(2,), (1, 28, 28)])
def test_the_network_gives_a_velocity_of_the_shape_of_the_point(shape):
    network = VelocityNetwork(shape, hidden_dim=8)
    assert network(noise(5, *shape), torch.rand(5)).shape == (5, *shape)


def test_the_velocity_leads_to_the_networks_guess_in_the_time_that_is_left():
    network, x = VelocityNetwork((2,), hidden_dim=8), noise(4, 2)
    t = torch.tensor([0.0, 0.3, 0.6, 0.9])
    arrives = x + network(x, t) * (1 - t)[:, None]
    guess = network.layers(torch.cat([x, time_features(t)], dim=1))
    assert torch.allclose(arrives, guess, atol=1e-6)
    assert network(x, torch.ones(4)).isfinite().all()


def test_times_are_between_0_and_1_and_told_apart_by_their_features():
    torch.manual_seed(0)
    times = sample_times(10_000)
    assert 0 < times.min() and times.max() < 1
    assert times.mean() == pytest.approx(0.5, abs=0.01)
    assert sample_times(10_000, -1.5).median() == pytest.approx(0.18, abs=0.01)
    inner = ((times - 0.5).abs() < 0.25).float().mean()
    assert inner > 0.6, "the middle comes more often than with equal chances"
    features = time_features(torch.linspace(0, 1, 101))
    apart = torch.cdist(features, features) + torch.eye(101)
    assert apart.min() > 0.1


def test_a_network_learns_the_velocity_to_one_point():
    torch.manual_seed(0)
    network = VelocityNetwork((2,), hidden_dim=32)
    adam = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(200):
        z = torch.randn(64, 2)
        loss = flow_matching_loss(network, POINT.expand(64, 2), z, sample_times(64))
        adam.zero_grad()
        loss.backward()
        adam.step()
    ends = flow_path(network, noise(100, 2), 4)[-1]
    assert (ends - POINT).norm(dim=1).max() < 0.3
