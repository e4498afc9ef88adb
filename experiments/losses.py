"""Six losses, six learning rates, equal seconds: on MNIST, a grid of points, stacked digits.

    python -m experiments.losses --cost
    python -m experiments.losses mnist grid stacked --seeds 0 1 2

The first measures how long a step of each loss takes, all taking turns in one process;
from this follows how many steps each has in the time of STEPS steps of the cheapest. The
second adds the runs that are missing. Networks, Adam and batch size are the same for all.
"""

import itertools
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from experiments.bench import ganlib_loop, take_turns
from experiments.common import begin, over_seeds, parser, score_generator, write_result
from ganlib.config import Config, replace
from ganlib.data import load
from ganlib.errors import GanlibError
from ganlib.metrics import load_classifier
from ganlib.metrics.classifiers import (
    class_shares,
    extract_features,
    kl_divergence,
)
from ganlib.recipes import recipe
from ganlib.sampling import sample_images, sample_noise, sample_pixels
from ganlib.training import (
    R1_INTERVAL,
    TrainState,
    fit,
    new_state,
    penalty_step,
    shuffled_batches,
    train_step,
)

NAME = "losses"
RATES = 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3  # of both networks
LOSSES: dict[str, dict[str, Any]] = {
    "non-saturating": {},
    "least squares": {"loss": "least-squares"},
    "hinge, spectral norm": {"loss": "hinge", "spectral_norm": True},
    "Wasserstein, gradient penalty": {"loss": "wasserstein", "gp_weight": 10.0},
    "relativistic, R1 + R2": {
        "loss": "relativistic",
        "r1_weight": 0.3,
        "r2_weight": 0.3,
    },
    "non-saturating, R1": {"r1_weight": 0.3},
}
# Recipe mnist's networks and Adam; the losses differ in what keeps D in check.
BASE = recipe("mnist", epochs=2, real_label=1.0, r1_weight=0.0, ema_decay=0.998)
STEPS = {"mnist": 1_200, "grid": 3_000, "stacked": 1_200}  # of the cheapest loss
STACKED_RATE = 1e-3
STACKED_IMAGES = 128_000
STACKED_SAMPLES = 26_000  # PacGAN's, and so are the numbers below (Lin 2018, section 4)
GRID_SAMPLES = 2_500
GRID_SD = 0.05
GRID_GP_WEIGHT = 0.1  # where the weight for images, 10, found hardly a mode
SIDE = 5  # centres in a row of the grid, 2 apart


def config_of(loss: str, rate: float, seed: int = 0) -> Config:
    """The config of a run on MNIST."""
    rates = {"learning_rate_g": rate, "learning_rate_d": rate}
    return replace(BASE, seed=seed, **rates, **LOSSES[loss])


def costs(pixels: Tensor) -> dict[str, float]:
    """Seconds of a step of each loss on MNIST as a multiple of the cheapest's."""
    loops = {name: ganlib_loop(config_of(name, 1e-3), pixels, 100) for name in LOSSES}
    rates = take_turns(loops)
    medians = {name: sorted(values)[len(values) // 2] for name, values in rates.items()}
    most = max(medians.values())
    return {name: most / rate for name, rate in medians.items()}


def train(config: Config, pixels: Tensor, steps: int) -> TrainState:
    """Train for so many steps, in config.epochs parts of new random batches each."""

    def sampler(count: int, size: int, device: torch.device) -> Any:
        return shuffled_batches(count, size, device)[: steps // config.epochs]

    state = new_state(config)
    for _ in fit(state, pixels, sampler=sampler):
        pass
    return state


def run_mnist(
    loss: str, rate: float, seed: int, *, pixels: Tensor, steps: int
) -> dict[str, Any]:
    """A run on MNIST -> its scores, or none where a weight was no longer finite."""
    try:
        state = train(config_of(loss, rate, seed), pixels, steps)
    except GanlibError:
        return {"steps": steps, "scores": None}
    return {"steps": steps, "scores": score_generator(state)}


# 25 Gaussians


def grid_points(count: int, source: torch.Generator) -> tuple[Tensor, Tensor]:
    """Points (count, 2) around the centres of the grid, and the centres (25, 2)."""
    line = torch.arange(SIDE) * 2.0 - (SIDE - 1)
    centres = torch.cartesian_prod(line, line)
    which = torch.randint(len(centres), (count,), generator=source)
    noise = torch.randn(count, 2, generator=source)
    return centres[which] + GRID_SD * noise, centres


def grid_networks(spectral: bool, width: int = 128) -> tuple[nn.Module, nn.Module]:
    """G: noise (N, 2) -> points (N, 2); D: points -> logits (N,)."""
    G = nn.Sequential(
        nn.Linear(2, width),
        nn.ReLU(),
        nn.Linear(width, width),
        nn.ReLU(),
        nn.Linear(width, 2),
    )
    layers = [nn.Linear(2, width), nn.Linear(width, width), nn.Linear(width, 1)]
    if spectral:
        layers = [nn.utils.parametrizations.spectral_norm(layer) for layer in layers]
    first, second, last = layers
    D = nn.Sequential(
        first, nn.LeakyReLU(0.2), second, nn.LeakyReLU(0.2), last, nn.Flatten(0)
    )
    return G, D


def grid_state(loss: str, rate: float, seed: int) -> TrainState:
    """A run on the grid before its first step."""
    config = config_of(loss, rate, seed)
    weight = min(config.gp_weight, GRID_GP_WEIGHT)
    config = replace(
        config, latent_dim=2, batch_size=128, ema_decay=0.0, gp_weight=weight
    )
    return new_state(
        config, networks=lambda config: grid_networks(config.spectral_norm)
    )


def train_grid(state: TrainState, steps: int) -> None:
    """So many pairs of turns, each on new points, with the penalties between them."""
    source = torch.Generator().manual_seed(state.config.seed)
    with torch.random.fork_rng():
        torch.manual_seed(state.config.seed)
        for _ in range(steps):
            real, _ = grid_points(state.config.batch_size, source)
            train_step(state, real)
            state.step += 1
            if state.step % R1_INTERVAL == 0:
                penalty_step(state, real)


def grid_scores(points: Tensor) -> dict[str, Any]:
    """Modes found and share of good points of (N, 2), as PacGAN counts them.

    A point is good within three standard deviations of its nearest centre, and a mode
    is found if one good point is near it.
    """
    _, centres = grid_points(1, torch.Generator())
    distances, nearest = torch.cdist(points, centres).min(dim=1)
    good = distances <= 3 * GRID_SD
    return {
        "modes": len(nearest[good].unique()),
        "good": good.float().mean().item(),
    }


def run_grid(
    loss: str, rate: float, seed: int, *, pixels: Tensor, steps: int
) -> dict[str, Any]:
    """A run on the grid, which needs no pixels -> its scores."""
    state = grid_state(loss, rate, seed)
    train_grid(state, steps)
    points = sample_images(state.G, sample_noise(GRID_SAMPLES, 2, seed=0))
    return {"steps": steps, **grid_scores(points)}


# Stacked MNIST


def stacked_digits(pixels: Tensor, count: int) -> Tensor:
    """Three random digits of (N, 1, 28, 28) as the channels of one image."""
    source = torch.Generator().manual_seed(0)
    which = torch.randint(len(pixels), (3, count), generator=source)
    return torch.cat([pixels[order] for order in which], dim=1)


@torch.no_grad()
def stacked_scores(images: Tensor) -> dict[str, Any]:
    """Of 1,000 modes: those found among (N, 3, 28, 28), and the KL to equal shares."""
    classifier = load_classifier("mnist")
    digits = [
        classifier.head(extract_features(classifier, channel)).argmax(dim=1)
        for channel in images.split(1, dim=1)
    ]
    modes = digits[0] * 100 + digits[1] * 10 + digits[2]
    shares = class_shares(modes, 1_000)
    equal = torch.full((1_000,), 1 / 1_000)
    return {
        "modes": int((shares > 0).sum()),
        "kl": kl_divergence(shares, equal),
    }


def run_stacked(
    loss: str, rate: float, seed: int, *, pixels: Tensor, steps: int
) -> dict[str, Any]:
    """A run on stacked digits -> modes and KL."""
    config = replace(config_of(loss, rate, seed), channels=3)
    state = train(config, stacked_digits(pixels, STACKED_IMAGES), steps)
    G = state.sampling_generator
    images = sample_pixels(G, config.latent_dim, count=STACKED_SAMPLES)
    return {"steps": steps, **stacked_scores(images)}


RUNS = {"mnist": run_mnist, "grid": run_grid, "stacked": run_stacked}


def main() -> None:
    made = parser(__doc__, seeds=3, resumes=True)
    made.add_argument("parts", nargs="*", help=f"of {', '.join(RUNS)}")
    made.add_argument("--cost", action="store_true", help="measure the time of a step")
    options = made.parse_args()
    torch.set_num_threads(1)
    pixels = load("mnist", fallback=False).pixels
    about = {"config": vars(BASE), "losses": LOSSES, "rates": RATES, "budget": STEPS}
    result = begin(NAME, about, out=options.out, fresh=options.fresh or options.cost)
    if options.cost:
        write_result(NAME, {**result, "cost": costs(pixels)}, options.out)
        return
    for part, loss in itertools.product(options.parts, LOSSES):
        steps = round(STEPS[part] / result["cost"][loss])
        for rate in [STACKED_RATE] if part == "stacked" else RATES:
            run = partial(RUNS[part], loss, rate, pixels=pixels, steps=steps)
            about = {"part": part, "loss": loss, "rate": rate}
            over_seeds(NAME, result, options.seeds, run, out=options.out, **about)
            print(result["runs"][-1], flush=True)


if __name__ == "__main__":
    main()
