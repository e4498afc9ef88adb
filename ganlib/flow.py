"""Flow matching: a network learns the velocity that carries noise to data."""

import math
from collections.abc import Callable
from math import prod

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from ganlib.errors import GanlibError

Velocity = Callable[[Tensor, Tensor], Tensor]  # points (N, …), times (N,) -> (N, …)
FREQUENCIES = 8
LAST = 0.05  # the time left is never taken for less: it divides


def time_features(times: Tensor) -> Tensor:
    """Times (N,) in 0..1 -> waves of rising frequency (N, 2 * FREQUENCIES)."""
    angles = times[:, None] * math.pi * torch.arange(1, FREQUENCIES + 1)
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class VelocityNetwork(nn.Module):
    """Points (N, *shape) and times (N,) in 0..1 -> velocities (N, *shape).

    Three linear layers, with LayerNorm (Ba 2016), guess the end of the path; the
    velocity leads there in the time that is left. A hidden layer that is narrower than
    an image can pass on an image, but not the noise that is in a velocity.

    Args:
        shape: of a point, such as (2,) or (1, 28, 28).
        hidden_dim: width of the two hidden layers.

    Source: Li and He 2025, for the guess.
    """

    def __init__(self, shape: tuple[int, ...], hidden_dim: int = 256) -> None:
        super().__init__()
        self.shape = shape
        self.layers = nn.Sequential(
            nn.Linear(prod(shape) + 2 * FREQUENCIES, hidden_dim),
            nn.LayerNorm(hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, hidden_dim),
            nn.LayerNorm(hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, prod(shape)),
        )

    def forward(self, points: Tensor, times: Tensor) -> Tensor:
        x = points.flatten(1)
        end = self.layers(torch.cat([x, time_features(times)], dim=1))
        left = (1 - times[:, None]).clamp(min=LAST)
        return ((end - x) / left).view(-1, *self.shape)


def sample_times(
    count: int, location: float = 0.0, source: torch.Generator | None = None
) -> Tensor:
    """Times (count,) in 0..1, most of them near one place: sigmoid of normal noise.

    Args:
        location: mean of the noise: at 0 half of the times are below 1/2, at -1.5 half
            are below 0.18.
        source: where the noise comes from; None takes torch's own state.

    Source: Esser 2024, section 3.1, with a scale of 1.
    """
    return (location + torch.randn(count, generator=source)).sigmoid()


def flow_matching_loss(
    velocity: Velocity, data: Tensor, z: Tensor, t: Tensor
) -> Tensor:
    """Mean squared error of the velocity on the straight way from noise to data.

    Args:
        velocity: function of points and times.
        data: points (N, …).
        z: noise of the same shape; each point has its own.
        t: times (N,) in 0..1; 0 is the noise, 1 the data.

    Source: Lipman 2023, equation 23 with a width of 0 at the end; Liu 2023, equation 1.
    """
    share = t.view(-1, *[1] * (data.dim() - 1))
    return mse_loss(velocity(torch.lerp(z, data, share), t), data - z)


@torch.no_grad()
def flow_path(
    velocity: Velocity, z: Tensor, steps: int, *, midpoint: bool = False
) -> Tensor:
    """Follow a velocity from noise (N, …) in equal steps: all points (steps + 1, N, …).

    The last ones are the samples. Euler's method; with `midpoint` each step takes the
    velocity in its middle, and asks the network twice.

    Raises GanlibError for fewer steps than 1.
    """
    if steps < 1:
        raise GanlibError(f"steps is {steps}; the way to the data takes at least 1.")
    path = [z]
    for step in range(steps):
        x, t = path[-1], torch.full((len(z),), step / steps)
        v = velocity(x, t)
        if midpoint:
            v = velocity(x + v / (2 * steps), t + 1 / (2 * steps))
        path.append(x + v / steps)
    return torch.stack(path)
