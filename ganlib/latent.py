"""Into G and back: the noise of a given picture, and directions in noise."""

from copy import deepcopy
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from ganlib.errors import GanlibError
from ganlib.sampling import sample_noise


class Inversion(NamedTuple):
    """What `invert` found for each image, and what each of its starts came to."""

    z: Tensor  # (N, latent_dim), of the best start
    images: Tensor  # (N, C, H, W) in -1..1, what G draws from it
    losses: Tensor  # (N, starts)
    z_by_start: Tensor  # (N, starts, latent_dim)


def invert(
    G: nn.Module,
    images: Tensor,
    latent_dim: int = 64,
    *,
    starts: int = 8,
    steps: int = 600,
    lr: float = 0.1,
    prior: float = 3e-3,
    seed: int | None = 0,
) -> Inversion:
    """Find noise from which G draws given images, by gradient from several starts.

    Adam, whose steps fall to 0 along a cosine, lowers the mean squared difference of
    the pixels plus `prior` times the mean square of z. The second term says that z
    should be normal noise, which is what G learned to draw from.

    Source: Zhu 2016 and Lipton and Tripathi 2017; the prior and the restarts are those
    of Bora 2017.

    Args:
        G: a generator that takes noise alone; it is used in eval mode, on the device of
            the images, and stays as it is.
        images: (N, C, H, W) in -1..1.
        starts: for each image, from standard normal noise of `seed`.
        prior: 0 or more; at 0, z may go wherever the pixels lead it.

    Raises GanlibError for images that G cannot draw, and for numbers out of range.
    """
    if starts < 1 or steps < 1 or lr <= 0 or prior < 0:
        raise GanlibError(
            f"starts={starts}, steps={steps}, lr={lr} and prior={prior} do not work "
            "together; give 1 start and 1 step at least, lr above 0, prior from 0 on."
        )
    copied = deepcopy(G).eval().requires_grad_(False)
    z = sample_noise(starts * len(images), latent_dim, seed=seed).to(images.device)
    shape = tuple(copied(z[:1]).shape[1:])
    if not images.is_floating_point() or tuple(images.shape[1:]) != shape:
        raise GanlibError(
            f"This G draws floats of shape (N, {', '.join(map(str, shape))}); the "
            f"images to invert are {images.dtype} of shape {tuple(images.shape)}."
        )
    targets = images.repeat_interleave(starts, dim=0)

    def losses(z: Tensor) -> Tensor:
        differences = (copied(z) - targets).square().flatten(1).mean(dim=1)
        return differences + prior * z.square().mean(dim=1)

    z.requires_grad_()
    optimizer = torch.optim.Adam([z], lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        losses(z).sum().backward()  # of the sum: no image changes another's gradient
        optimizer.step()
        schedule.step()
    z = z.detach()
    by_start = losses(z).view(-1, starts)
    z_by_start = z.view(-1, starts, latent_dim)
    best = z_by_start[torch.arange(len(images)), by_start.argmin(dim=1)]
    return Inversion(best, copied(best), by_start, z_by_start)


def attribute_direction(z: Tensor, has: Tensor) -> Tensor:
    """The direction in noise that leads to an attribute: a unit vector (latent_dim,).

    It is the mean of the noise whose images have the attribute, minus the mean of the
    rest (Radford 2015, section 6.3.2). If z is standard normal and the attribute
    depends on one direction of it alone, this is that direction.

    Args:
        z: noise (N, latent_dim).
        has: (N,), bool: whether the image of each has the attribute.

    Raises GanlibError unless there are some with the attribute and some without.
    """
    if has.dtype != torch.bool or has.shape != z.shape[:1]:
        raise GanlibError(
            f"has is {has.dtype} of shape {tuple(has.shape)}; for {len(z)} vectors of "
            f"noise it must be bool of shape ({len(z)},)."
        )
    count = int(has.sum())
    if not 0 < count < len(z):
        raise GanlibError(
            f"{count} of {len(z)} images have the attribute; a direction needs some "
            "with and some without it."
        )
    return normalize(z[has].mean(dim=0) - z[~has].mean(dim=0), dim=0)


def project_out(direction: Tensor, others: Tensor) -> Tensor:
    """What is left of a direction, as a unit vector, if it must not move along others.

    Source: Shen 2020, section 3.3 (conditional manipulation).

    Args:
        direction: (latent_dim,).
        others: (K, latent_dim), directions that are to stay as they are.

    Raises GanlibError if nothing is left.
    """
    shared = torch.linalg.pinv(others) @ (others @ direction)
    rest = direction - shared
    if rest.norm() < 1e-4 * direction.norm() or not direction.any():
        raise GanlibError(
            f"The {len(others)} other directions leave nothing of this one; give fewer "
            "of them."
        )
    return normalize(rest, dim=0)


def slerp(start: Tensor, end: Tensor, t: float) -> Tensor:
    """Points (N, latent_dim) on the arcs from `start` to `end`, for t from 0 to 1.

    Spherical interpolation: the angle and the length change evenly, so that between two
    vectors of one length all points have this length (White 2016).

    Args:
        start: (N, latent_dim); none is 0, none is opposite to its end.
        end: the same.

    Raises GanlibError where there is no arc, or more than one.
    """
    first, last = normalize(start, dim=1), normalize(end, dim=1)
    along = (first * last).sum(dim=1, keepdim=True)
    rest = last - along * first
    across = rest.norm(dim=1, keepdim=True)
    lengths = torch.lerp(
        start.norm(dim=1, keepdim=True), end.norm(dim=1, keepdim=True), t
    )
    if not lengths.all() or ((across < 1e-6) & (along < 0.5)).any():
        raise GanlibError(
            "A start or an end is 0, or they point in opposite directions: there is no "
            "single arc between them; take other noise."
        )
    angle = t * torch.atan2(across, along)
    return lengths * (angle.cos() * first + angle.sin() * normalize(rest, dim=1))


def principal_directions(G: nn.Module, z: Tensor) -> tuple[Tensor, Tensor]:
    """The directions of noise in the order in which G listens to them.

    Returns unit vectors (latent_dim, latent_dim), one in a row, and how far the image
    moves along each: the root mean square, over the noise given, of the length of the
    derivative, (latent_dim,).

    They are the eigenvectors of the mean of JᵀJ, J being G's Jacobian (Ramesh 2018).

    Args:
        G: a generator that takes noise alone; it is used in eval mode.
        z: noise (N, latent_dim) on the device of G; some dozens suffice.
    """
    copied = deepcopy(G).eval().requires_grad_(False)
    small = 0.01
    jacobian = torch.stack(
        [
            (copied(z + step) - copied(z - step)).flatten(1) / (2 * small)
            for step in small * torch.eye(z.shape[1], device=z.device)
        ],
        dim=2,
    )
    mean = torch.einsum("npi,npj->ij", jacobian, jacobian) / len(z)
    squares, directions = torch.linalg.eigh(mean)
    return directions.T.flip(0), squares.clamp(min=0).sqrt().flip(0)
