"""The arena: one step of D, one step of G, and the one loop that takes turns."""

import time
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

import torch

from ganlib.config import Config, GanlibError
from ganlib.losses import discriminator_loss, generator_loss, gradient_penalty
from ganlib.models import build, frozen
from ganlib.pixels import mirror, normalize
from ganlib.ranks import Ranks, averaging, draw_share, joint, refuse_misfit, share_statistics, split_epoch, total

PENALTY_EVERY = 4  # steps; a rarer, heavier penalty does the same for less time (Karras 2020, "lazy regularization")


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
class State:
    """All that training changes, and the config it follows: what a checkpoint has to hold."""

    config: Config
    G: torch.nn.Module
    D: torch.nn.Module
    optimizer_g: torch.optim.Optimizer
    optimizer_d: torch.optim.Optimizer
    average_g: torch.nn.Module | None = None
    history: list[Record] = field(default_factory=list)
    ranks: Ranks = field(default_factory=Ranks)  # the processes that train this together; usually this one alone

    @property
    def best_g(self):
        """The generator to draw from: the averaged one if the config keeps an average, else G."""
        return self.G if self.average_g is None else self.average_g


def new_state(config, device="cpu"):
    """Config -> State at epoch 0 on `device`; the same config gives the same weights."""
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        layout = torch.channels_last if config.channels_last else torch.preserve_format
        G, D = (network.to(device, memory_format=layout) for network in build(config))
    ranks = Ranks()
    share_statistics(G, ranks), share_statistics(D, ranks)
    graphs = config.compiled and torch.device(device).type == "cuda"
    settings = {"betas": (config.beta1, config.beta2), "fused": True, "capturable": graphs}
    optimizer_g = torch.optim.Adam(G.parameters(), lr=config.learning_rate_g, **settings)
    optimizer_d = torch.optim.Adam(D.parameters(), lr=config.learning_rate_d, **settings)
    average_g = deepcopy(G) if config.ema_decay else None
    return State(config, G, D, optimizer_g, optimizer_d, average_g, ranks=ranks)


def discriminator_step(G, D, optimizer_d, real, z, *, real_label=1.0):
    """One turn of D. Image (N, C, H, W) in -1..1 and noise (N, latent_dim) -> d_loss, real_logits, fake_logits (N,)."""
    with torch.no_grad():
        fake = G(z)
    real_logits, fake_logits = D(real), D(fake)
    d_loss = discriminator_loss(real_logits, fake_logits, real_label=real_label)
    optimizer_d.zero_grad()
    d_loss.backward()
    optimizer_d.step()
    return d_loss.detach(), real_logits.detach(), fake_logits.detach()


def generator_step(G, D, optimizer_g, z):
    """One turn of G. Noise (N, latent_dim) -> g_loss, fake_logits (N,); D is left as it was."""
    with frozen(D):
        fake_logits = D(G(z))
        g_loss = generator_loss(fake_logits)
        optimizer_g.zero_grad()
        g_loss.backward()
    optimizer_g.step()
    return g_loss.detach(), fake_logits.detach()


def penalty_step(D, optimizer_d, real, *, weight):
    """A turn of D that only makes it less steep at images (N, C, H, W) in -1..1 -> the penalty, before its weight."""
    real = real.detach().requires_grad_()
    penalty = gradient_penalty(D(real), real)
    optimizer_d.zero_grad()
    (weight * penalty).backward()
    optimizer_d.step()
    return penalty.detach()


def fit(state, pixels):
    """Train `state` up to config.epochs on bytes (N, C, H, W); yields one Record per epoch, for the caller to use.

    Epoch e draws its random numbers from (seed, e) alone, so what the caller does in between, or stopping and
    going on later, changes nothing. Raises GanlibError if the config and the images do not fit each other, and
    where a loss or a weight is no longer finite.
    """
    config = state.config
    if tuple(pixels.shape[1:]) != config.image_shape:
        raise GanlibError(f"The images are {tuple(pixels.shape[1:])}; the config asks for {config.image_shape}.")
    refuse_misfit(config, len(pixels), state.ranks)
    pixels = pixels.to(next(state.G.parameters()).device)
    while len(state.history) < config.epochs:
        # Without its cache: weights that change within the context would be used as they were when it began.
        half = {"dtype": torch.bfloat16, "enabled": config.bfloat16, "cache_enabled": False}
        autocast = torch.autocast(pixels.device.type, **half)
        with torch.random.fork_rng(), autocast, products(config.matmul_precision):
            state.ranks.seed(config.seed * 1_000_003 + len(state.history) + 1, pixels.device)
            try:
                record = train_epoch(state, pixels)
            except KeyboardInterrupt:
                epoch = len(state.history) + 1
                raise KeyboardInterrupt(f"Stopped within epoch {epoch}; go on from the last checkpoint.") from None
        state.history.append(record)
        yield record


def train_epoch(state, pixels):
    """One pass over bytes (N, C, H, W) in random order -> Record. Every 100 steps it checks that the loss is finite."""
    started = time.perf_counter()
    config, ranks = state.config, state.ranks
    order = torch.randperm(len(pixels), device=pixels.device, generator=ranks.common)
    batches = split_epoch(order, config.batch_size, ranks)
    sums, finite_steps = torch.zeros(5, device=pixels.device), torch.zeros((), device=pixels.device)
    for step, batch in enumerate(batches, start=1):
        real = normalize(pixels[ranks.share(batch)])
        sums += ranks.weight * take_turns(state, mirror(real) if config.mirror else real)
        if config.penalty and step % PENALTY_EVERY == 0:
            with averaging(state.optimizer_d, ranks):
                penalty_step(state.D, state.optimizer_d, real, weight=PENALTY_EVERY * config.penalty)
        finite_steps += sums.isfinite().all()  # what is not finite stays in the sums
        if step % 100 == 0 or step == len(batches):
            refuse_broken(state, finite_steps, step)
    means = (total(sums, ranks) / len(batches)).tolist()
    before = state.history[-1] if state.history else Record(0, *[0.0] * 5, 0, 0.0)
    seconds = before.seconds + time.perf_counter() - started
    return Record(before.epoch + 1, *means, before.images_seen + len(pixels), seconds)


def refuse_broken(state, finite_steps, step):
    """GanlibError that names the first step of which the losses, or else this `step` if the weights, are not finite."""
    weights = [weight for network in (state.G, state.D) for weight in network.parameters()]
    if finite_steps == step and all(bool(weight.isfinite().all()) for weight in weights):
        return
    what = "loss is" if finite_steps < step else "weights are"
    where = f"step {min(int(finite_steps) + 1, step)} of epoch {len(state.history) + 1}"
    causes = "the learning rate is too high, or there are NaN in the images or in the weights"
    raise GanlibError(f"The {what} no longer finite at {where}; most likely {causes}.")


def take_turns(state, real):
    """D's turn, then G's, on one batch (N, C, H, W) in -1..1 -> the five numbers (5,) that a Record averages."""
    config, G, D, ranks = state.config, state.G, state.D, state.ranks
    d_step, g_step = (compiled(step) if config.compiled else step for step in (discriminator_step, generator_step))
    z = draw_share(real, config.latent_dim, ranks)
    d_loss, real_logits, before = d_step(G, joint(D, ranks), state.optimizer_d, real, z, real_label=config.real_label)
    z = draw_share(real, config.latent_dim, ranks)
    g_loss, after = g_step(joint(G, ranks), D, state.optimizer_g, z)
    if state.average_g is not None:
        move_average(state.average_g, G, config.ema_decay)
    probabilities = [torch.sigmoid(logits).mean() for logits in (real_logits, before, after)]
    return torch.stack([d_loss, g_loss, *probabilities])


@contextmanager
def products(precision):
    """Within it, products of float32 matrices are as exact as "highest", "high" or "medium" says; then as before."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@cache
def compiled(step):
    """A step function -> the same through torch.compile: fewer, larger kernels, and CUDA graphs where there is CUDA."""
    # With fallback_random dropout draws what it draws without compiling, also when torch gives up compiling again.
    options = {"fallback_random": True, "triton.cudagraphs": torch.cuda.is_available()}
    fast = torch.compile(step, options=options, dynamic=False)

    def fast_step(*parts, **settings):
        torch.compiler.cudagraph_mark_step_begin()
        return tuple(number.clone() for number in fast(*parts, **settings))  # a graph writes over its last results

    return fast_step


@torch.no_grad()
def move_average(average_g, G, decay):
    """Move every weight of `average_g` the share 1 - decay of its way to G's (EMA of the weights; Yazici 2019)."""
    torch._foreach_lerp_(list(average_g.parameters()), list(G.parameters()), 1 - decay)
    for average, current in zip(average_g.buffers(), G.buffers(), strict=True):
        average.copy_(current)  # BatchNorm's statistics follow G's at once
