"""One step of D, one step of G, and the loop that takes turns."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ganlib.augment import augmented, controlled
from ganlib.config import Config
from ganlib.data.transforms import normalize
from ganlib.ema import refresh_batchnorm, update_average
from ganlib.errors import GanlibError
from ganlib.losses import (
    LOSSES,
    discriminator_loss,
    generator_loss,
    gradient_penalty,
    r1_penalty,
)
from ganlib.models import build, conditioned
from ganlib.sampling import with_condition

Turn = Callable[..., Tensor]  # of a TrainState, a batch and, if any, its conditions
Sampler = Callable[[int, int, torch.device], Sequence[Tensor]]
R1_INTERVAL = 4  # steps from one penalty to the next, which weighs so many times more


class Record(NamedTuple):
    """One epoch in numbers: means over its batches, then totals since the run began."""

    epoch: int
    d_loss: float
    g_loss: float
    d_real: float  # D(x): mean probability that D gives to real images
    d_fake_before: float  # D(G(z)) before D's update
    d_fake_after: float  # D(G(z)) after it, on fresh noise
    images_seen: int
    seconds: float


@dataclass
class TrainState:
    """All that training changes, and the config it follows."""

    config: Config
    G: nn.Module
    D: nn.Module
    optimizer_g: torch.optim.Optimizer
    optimizer_d: torch.optim.Optimizer
    G_ema: nn.Module | None = None
    step: int = 0  # steps since the run began
    history: list[Record] = field(default_factory=list)
    measured_at: int = -1  # step at which the average's BatchNorm was measured
    augment_strength: Tensor | None = None  # scalar in 0..1, see augment.py; None: 1

    @property
    def sampling_generator(self) -> nn.Module:
        """The generator to draw from: the average with its own statistics, or G.

        The statistics are measured once a step; after changing G_ema by hand, call
        `refresh_batchnorm`.
        """
        if self.G_ema is None:
            return self.G
        if self.measured_at != self.step:
            config = self.config
            refresh_batchnorm(self.G_ema, config.latent_dim, classes=config.classes)
            self.measured_at = self.step
        return self.G_ema


def new_state(
    config: Config,
    device: torch.device | str = "cpu",
    *,
    networks: Callable[[Config], tuple[nn.Module, nn.Module]] = build,
) -> TrainState:
    """A run before its first step, on `device`; equal configs give equal weights.

    Args:
        networks: function of the config that gives G and D: those that the config
            asks for, or others.
    """
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        G, D = (network.to(device) for network in networks(config))
    betas = (config.beta1, config.beta2)
    optimizer_g = torch.optim.Adam(
        G.parameters(), lr=config.learning_rate_g, betas=betas, fused=True
    )
    optimizer_d = torch.optim.Adam(
        D.parameters(), lr=config.learning_rate_d, betas=betas, fused=True
    )
    G_ema = deepcopy(G) if config.ema_decay else None
    state = TrainState(config, G, D, optimizer_g, optimizer_d, G_ema)
    if config.augment_target:
        state.augment_strength = torch.zeros((), device=device)
    return state


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Inside the `with`, `network` passes gradients on but collects none of its own."""
    flags = [(weight, weight.requires_grad) for weight in network.parameters()]
    network.requires_grad_(False)
    try:
        yield
    finally:
        for weight, flag in flags:
            weight.requires_grad_(flag)


def discriminator_step(
    G: nn.Module,
    D: nn.Module,
    optimizer_d: torch.optim.Optimizer,
    real: Tensor,
    z: Tensor,
    *,
    loss: Callable[..., Tensor] = discriminator_loss,
) -> tuple[Tensor, Tensor, Tensor]:
    """D's turn: one step that makes D tell real from generated images better.

    Args:
        real: images (N, C, H, W) in -1..1.
        z: noise (N, latent_dim); G is not changed.
        loss: function of real and fake logits, see losses.py.

    Returns d_loss, a scalar, and the real and fake logits (N,), all before the step.
    """
    with torch.no_grad():
        fake = G(z)
    real_logits, fake_logits = D(real), D(fake)
    d_loss = loss(real_logits, fake_logits)
    optimizer_d.zero_grad()
    d_loss.backward()
    optimizer_d.step()
    return d_loss.detach(), real_logits.detach(), fake_logits.detach()


def generator_step(
    G: nn.Module,
    D: nn.Module,
    optimizer_g: torch.optim.Optimizer,
    z: Tensor,
    *,
    loss: Callable[..., Tensor] = generator_loss,
) -> tuple[Tensor, Tensor]:
    """G's turn: one step that makes D take generated images for real more often.

    Args:
        z: noise (N, latent_dim), fresh; D is not changed.
        loss: function of the fake logits, see losses.py.

    Returns g_loss, a scalar, and the fake logits (N,), both before the step.
    """
    with frozen(D):
        fake_logits = D(G(z))
        g_loss = loss(fake_logits)
        optimizer_g.zero_grad()
        g_loss.backward()
    optimizer_g.step()
    return g_loss.detach(), fake_logits.detach()


def r1_step(
    D: nn.Module, optimizer_d: torch.optim.Optimizer, images: Tensor, *, weight: float
) -> Tensor:
    """A step of D alone that makes it less steep at `images` (N, C, H, W) in -1..1.

    Returns the penalty before its weight, a scalar. A step of its own every few steps
    is lazy regularization (Karras 2020, StyleGAN2, appendix B); unlike there, Adam's
    settings are not corrected for the extra steps.
    """
    images = images.detach().requires_grad_()
    penalty = r1_penalty(D(images), images)
    optimizer_d.zero_grad()
    (weight * penalty).backward()
    optimizer_d.step()
    return penalty.detach()


def gp_discriminator_step(
    G: nn.Module,
    D: nn.Module,
    optimizer_d: torch.optim.Optimizer,
    real: Tensor,
    z: Tensor,
    *,
    loss: Callable[..., Tensor],
    weight: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """`discriminator_step` with the gradient penalty in its loss (Gulrajani 2017).

    Algorithm 1 there, with one step of D for one of G. Unlike R1 this penalty is no
    step of its own: as large as it is, it would fill Adam's memory of the squared
    gradient and leave the loss hardly a say.

    Args:
        weight: of the penalty; 10 in the paper. The other arguments, and what is
            returned, are those of `discriminator_step`; the penalty is not in d_loss.
    """
    with torch.no_grad():
        fake = G(z)
    share = torch.rand(len(real), *[1] * (real.dim() - 1), device=real.device)
    between = real.lerp(fake, share).requires_grad_()
    real_logits, fake_logits = D(real), D(fake)
    d_loss = loss(real_logits, fake_logits)
    penalty = gradient_penalty(D(between), between)
    optimizer_d.zero_grad()
    (d_loss + weight * penalty).backward()
    optimizer_d.step()
    return d_loss.detach(), real_logits.detach(), fake_logits.detach()


def train_step(
    state: TrainState, real: Tensor, condition: Tensor | None = None
) -> Tensor:
    """D's turn, then G's, on one batch of real images (N, C, H, W) in -1..1.

    Where the networks are conditional, `condition` (N, classes) belongs to the images;
    generated ones are asked for with the same conditions.

    Returns five numbers (5,): d_loss, g_loss, D(x), D(G(z)) before and after D's step.
    """
    config, G = state.config, state.G
    D = conditioned(state.D, condition)
    D = augmented(D, config, state.augment_strength)
    d_loss_of, g_loss_of = LOSSES[config.loss]
    if config.real_label != 1.0:
        d_loss_of = partial(d_loss_of, real_label=config.real_label)
    z = torch.randn(len(real), config.latent_dim, device=real.device)
    z = with_condition(z, condition)
    d_step = discriminator_step
    if config.gp_weight:
        d_step = partial(gp_discriminator_step, weight=config.gp_weight)
    d_loss, real_logits, before = d_step(
        G, D, state.optimizer_d, real, z, loss=d_loss_of
    )
    if config.loss == "relativistic":  # compares each generated image with a real one
        with torch.no_grad():
            g_loss_of = partial(g_loss_of, real_logits=D(real))
    z = torch.randn(len(real), config.latent_dim, device=real.device)
    z = with_condition(z, condition)
    g_loss, after = generator_step(G, D, state.optimizer_g, z, loss=g_loss_of)
    probabilities = [logits.sigmoid().mean() for logits in (real_logits, before, after)]
    return torch.stack([d_loss, g_loss, *probabilities])


def penalty_step(
    state: TrainState, real: Tensor, condition: Tensor | None = None
) -> None:
    """The penalties that the config asks for: R1 at real images, R2 at generated.

    Arguments as of `train_step`.
    """
    config = state.config
    D = conditioned(state.D, condition)
    D = augmented(D, config, state.augment_strength)
    if config.r1_weight:
        r1_step(D, state.optimizer_d, real, weight=R1_INTERVAL * config.r1_weight)
    if config.r2_weight:
        with torch.no_grad():
            z = torch.randn(len(real), config.latent_dim, device=real.device)
            fake = state.G(with_condition(z, condition))
        r1_step(D, state.optimizer_d, fake, weight=R1_INTERVAL * config.r2_weight)


def shuffled_batches(
    count: int, batch_size: int, device: torch.device
) -> Sequence[Tensor]:
    """The numbers 0..count-1 in random order, in batches; a partial one is dropped."""
    order = torch.randperm(count, device=device)
    return order[: count - count % batch_size].split(batch_size)


def train_epoch(
    state: TrainState,
    pixels: Tensor,
    turn: Turn = train_step,
    sampler: Sampler = shuffled_batches,
    conditions: Tensor | None = None,
) -> Record:
    """One pass over bytes (N, C, H, W) in random order; arguments as in `fit`."""
    started = time.perf_counter()
    config = state.config
    batches = sampler(len(pixels), config.batch_size, pixels.device)
    totals = torch.zeros(5, device=pixels.device)
    for batch in batches:
        real = normalize(pixels[batch])
        condition = () if conditions is None else (conditions[batch],)
        totals += turn(state, real, *condition)
        if state.G_ema is not None:
            update_average(state.G_ema, state.G, config.ema_decay, state.step)
        state.step += 1
        if state.step % R1_INTERVAL == 0:
            penalty_step(state, real, *condition)
    means = (totals / len(batches)).tolist()  # waits for a GPU, so before the clock
    images_seen = sum(len(batch) for batch in batches)
    seconds = time.perf_counter() - started
    if state.history:
        images_seen += state.history[-1].images_seen
        seconds += state.history[-1].seconds
    return Record._make([len(state.history) + 1, *means, images_seen, seconds])


def fit(
    state: TrainState,
    pixels: Tensor,
    conditions: Tensor | None = None,
    *,
    turn: Turn = train_step,
    sampler: Sampler = shuffled_batches,
) -> Iterator[Record]:
    """Train `state` up to config.epochs; yields a Record after each epoch.

    Epoch e draws its random numbers from (config.seed, e) alone, so stopping between
    epochs and going on later changes nothing; a state that was interrupted within one
    is to be loaded again. The caller's random numbers are left as they were; torch 2.10
    forgets those of Apple's GPU, MPS. Images that do not fill a last batch are left out
    of that epoch.

    Args:
        pixels: bytes (N, C, H, W), the shape that the config asks for.
        conditions: floats (N, classes), where the config has classes: what each image
            is, such as `conditions_of` its label.
        turn: what does both turns on a batch: `train_step`, or a wrapped one.
        sampler: function of N, batch size and device that gives the batches of an
            epoch as indices; `shuffled_batches`, or one that gives a process its share.

    Raises GanlibError where images and config do not fit each other, and after an epoch
    that left a loss or a weight that is not finite.
    """
    config = state.config
    check_images(config, pixels)
    check_conditions(config, len(pixels), conditions)
    if config.augment_target:
        turn = controlled(turn)
    device = next(state.G.parameters()).device
    pixels = pixels.to(device)
    conditions = None if conditions is None else conditions.to(device)
    while len(state.history) < config.epochs:
        with torch.random.fork_rng():
            torch.manual_seed(config.seed * 1_000_003 + len(state.history) + 1)
            record = train_epoch(state, pixels, turn, sampler, conditions)
        check_finite(state, record)
        state.history.append(record)
        yield record


def check_images(config: Config, pixels: Tensor) -> None:
    """Raise GanlibError unless `pixels` (N, C, H, W) can be trained on."""
    shape = tuple(pixels.shape[1:])
    if pixels.dtype != torch.uint8:
        raise GanlibError(
            f"The images are {pixels.dtype}; fit takes bytes 0..255 (torch.uint8) and "
            "brings them to -1..1 itself."
        )
    if shape != config.image_shape:
        raise GanlibError(
            f"The images of {config.dataset} are {shape}; the recipe {config.recipe} "
            f"takes {config.image_shape}."
        )
    if config.batch_size > len(pixels):
        raise GanlibError(
            f"batch_size is {config.batch_size}; it must be at most {len(pixels)}, the "
            "number of images."
        )


def check_conditions(config: Config, count: int, conditions: Tensor | None) -> None:
    """Raise GanlibError unless `conditions` are those of `count` images, or none."""
    wanted = (count, config.classes)
    if conditions is None and not config.classes:
        return
    if conditions is None:
        raise GanlibError(
            f"classes is {config.classes}, so fit takes a condition for each image: "
            f"floats {wanted}, such as conditions_of(labels, {config.classes})."
        )
    if not config.classes:
        raise GanlibError(
            "There are conditions, but classes is 0, and the networks take none; leave "
            f"them out, or set classes to {conditions.shape[-1]}."
        )
    if tuple(conditions.shape) != wanted or not conditions.is_floating_point():
        raise GanlibError(
            f"The conditions are {conditions.dtype} {tuple(conditions.shape)}; they "
            f"must be floats {wanted}."
        )


def check_finite(state: TrainState, record: Record) -> None:
    """Raise GanlibError if a loss or a weight is no longer finite."""
    weights = [*state.G.parameters(), *state.D.parameters()]
    losses_are_finite = all(map(math.isfinite, record[1:6]))
    if losses_are_finite and all(weight.isfinite().all() for weight in weights):
        return
    raise GanlibError(
        f"A loss or a weight is no longer finite in epoch {record.epoch}; most likely "
        "the learning rate is too high, or images or weights hold NaN."
    )
