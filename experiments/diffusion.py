"""A GAN and flow matching, equal seconds: on MNIST, and on a grid of 25 Gaussians.

    python -m experiments.diffusion --cost
    python -m experiments.diffusion grid mnist --seeds 1 2 3

The first measures, in turns and on one thread, what a step of training and a thousand
samples cost in seconds of the processor. From this follows how many steps the flow has in
the time of the GAN's, BUDGET. The second adds the runs that are missing. The GAN on MNIST
is recipe mnist, whose runs the scoreboard has; the flow has its hidden layers, its batch
size, learning rate and average. The first run on MNIST also stores its network.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from experiments.bench import take_turns
from experiments.common import begin, over_seeds, parser, references, write_result
from experiments.losses import grid_points, grid_scores, grid_state
from ganlib.checkpoint import save_weights
from ganlib.data import load
from ganlib.data.transforms import denormalize, normalize
from ganlib.ema import update_average
from ganlib.flow import (
    VelocityNetwork,
    flow_matching_loss,
    flow_path,
    sample_times,
)
from ganlib.metrics import score
from ganlib.recipes import recipe
from ganlib.sampling import sample_images, sample_noise
from ganlib.training import (
    R1_INTERVAL,
    new_state,
    penalty_step,
    train_step,
)

NAME = "diffusion"
GAN = recipe("mnist")
BUDGET = {  # steps of the GAN after which both are scored; on MNIST, its epochs
    "mnist": [600, 1_200, 3_000, 6_000, 10_200],
    "grid": [750, 1_500, 3_000, 6_000, 12_000],
}
CALLS = 1, 2, 4, 8, 16, 32, 64  # of the velocity network, in a sample
CURVE_CALLS = 64  # while training
IMAGES = 10_000  # behind each score
POINTS = 2_500  # as experiments.losses has them
MNIST_FLOW = {"hidden_dim": 256, "batch_size": 100, "rate": 1e-3, "decay": 0.999}
GRID_FLOW = {"hidden_dim": 128, "batch_size": 128, "rate": 1e-3, "decay": 0.999}
GRID_GAN = {"loss": "non-saturating", "rate": 5e-3, "decay": 0.999}
BATCHES = 40  # of each loop in a round of the cost

Draw = Callable[[int, torch.Generator], Tensor]  # a batch of data


def train_flow(
    draw: Draw, checkpoints: list[int], *, seed: int, **how: Any
) -> Iterator[tuple[int, nn.Module]]:
    """Train a velocity network: yields the steps and the average at each checkpoint.

    `how` is MNIST_FLOW or GRID_FLOW.
    """
    source = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        velocity = VelocityNetwork(draw(1, source).shape[1:], how["hidden_dim"])
    average = deepcopy(velocity)
    adam = torch.optim.Adam(velocity.parameters(), how["rate"], fused=True)
    for step in range(1, checkpoints[-1] + 1):
        data = draw(how["batch_size"], source)
        z = torch.randn(data.shape, generator=source)
        t = sample_times(len(data), source)
        loss = flow_matching_loss(velocity, data, z, t)
        adam.zero_grad()
        loss.backward()
        adam.step()
        update_average(average, velocity, how["decay"], step)
        if step in checkpoints:
            yield step, average


def train_grid_gan(
    checkpoints: list[int], *, seed: int, loss: str, rate: float, decay: float
) -> Iterator[tuple[int, nn.Module]]:
    """The same of a GAN on the grid, with the losses and networks of page 22."""
    state = grid_state(loss, rate, seed)
    average = deepcopy(state.G)
    source = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for step in range(1, checkpoints[-1] + 1):
            real, _ = grid_points(state.config.batch_size, source)
            train_step(state, real)
            if step % R1_INTERVAL == 0:
                penalty_step(state, real)
            update_average(average, state.G, decay, step)
            if step in checkpoints:
                yield step, average


def draw_points(count: int, source: torch.Generator) -> Tensor:
    """A batch from the grid: points (count, 2)."""
    return grid_points(count, source)[0]


def draw_digits(pixels: Tensor, count: int, source: torch.Generator) -> Tensor:
    """A batch of images (count, 1, 28, 28) in -1..1."""
    return normalize(pixels[torch.randint(len(pixels), (count,), generator=source)])


# Cost


def seconds_of(work: Callable[[], object], count: int) -> Callable[[], float]:
    """A function that gives the processor's seconds of one of `count` pieces of work."""

    def measure() -> float:
        started = time.process_time()
        work()
        return (time.process_time() - started) / count

    return measure


def costs(pixels: Tensor) -> dict[str, dict[str, float]]:
    """Seconds of a step of training, and of a thousand samples in batches of 500.

    Of a flow a sample is one call of its network. All take turns in one process.
    """
    state, first = new_state(GAN), pixels[: BATCHES * GAN.batch_size]

    def gan_on_mnist() -> None:
        for batch in torch.arange(len(first)).split(GAN.batch_size):
            real = normalize(first[batch])
            train_step(state, real)
            update_average(state.G_ema, state.G, GAN.ema_decay, state.step)
            state.step += 1
            if state.step % R1_INTERVAL == 0:
                penalty_step(state, real)

    digits = partial(draw_digits, pixels)
    G, velocity = state.G, VelocityNetwork((1, 28, 28))
    noise, z = sample_noise(500, GAN.latent_dim), torch.randn(500, 1, 28, 28)
    trained = {"seed": 0, "checkpoints": [BATCHES]}
    loops = {
        ("mnist", "gan"): (gan_on_mnist, BATCHES),
        ("mnist", "flow"): (
            lambda: list(train_flow(digits, **trained, **MNIST_FLOW)),
            BATCHES,
        ),
        ("grid", "gan"): (lambda: list(train_grid_gan(**trained, **GRID_GAN)), BATCHES),
        ("grid", "flow"): (
            lambda: list(train_flow(draw_points, **trained, **GRID_FLOW)),
            BATCHES,
        ),
        ("samples", "gan"): (
            lambda: [sample_images(G, noise) for _ in range(BATCHES)],
            BATCHES / 2,
        ),
        ("samples", "flow"): (lambda: flow_path(velocity, z, BATCHES), BATCHES / 2),
    }
    turns = take_turns({key: seconds_of(*loop) for key, loop in loops.items()})
    found: dict[str, dict[str, float]] = {}
    for (what, method), seconds in turns.items():
        found.setdefault(what, {})[method] = statistics.median(seconds)
    return found


def flow_steps(part: str, cost: dict[str, dict[str, float]]) -> list[int]:
    """The steps of a flow that take as long as those of the GAN in BUDGET."""
    ratio = cost[part]["gan"] / cost[part]["flow"]
    return [round(steps * ratio) for steps in BUDGET[part]]


# Runs


def samples(
    velocity: nn.Module, z: Tensor, calls: int, *, midpoint: bool = False
) -> Tensor:
    """Samples of a flow from noise (N, …), with so many calls of its network."""
    steps = calls // 2 if midpoint else calls
    parts = [
        flow_path(velocity, part, steps, midpoint=midpoint) for part in z.split(250)
    ]
    return torch.cat([path[-1] for path in parts])


def image_scores(velocity: nn.Module, calls: int, **how: Any) -> dict[str, Any]:
    """Scores of 10,000 images of a flow against the test images."""
    source = torch.Generator().manual_seed(0)
    z = torch.randn(IMAGES, 1, 28, 28, generator=source)
    feature_extractor, real = references("mnist", 28)
    pixels = denormalize(samples(velocity, z, calls, **how))
    return score(feature_extractor, real, pixels)._asdict()


def point_scores(velocity: nn.Module, calls: int, **how: Any) -> dict[str, Any]:
    """Modes and good points among 2,500 of a flow on the grid."""
    z = sample_noise(POINTS, 2, seed=0)
    return grid_scores(samples(velocity, z, calls, **how))


def run_flow(
    trained: Iterator[tuple[int, nn.Module]], scores: Callable[..., dict[str, Any]]
) -> tuple[dict[str, Any], nn.Module]:
    """What is measured of a flow while it trains and at its end, and its network."""
    steps, curve = [], []
    for step, average in trained:
        steps.append(step)
        curve.append(scores(average, CURVE_CALLS))
        print(step, curve[-1], flush=True)
    by_calls = {str(calls): scores(average, calls) for calls in CALLS[:-1]}
    by_calls[str(CURVE_CALLS)] = curve[-1]
    midpoint = {
        str(calls): scores(average, calls, midpoint=True) for calls in CALLS[1:-1]
    }
    return {
        "steps": steps,
        "curve": curve,
        "calls": by_calls,
        "midpoint": midpoint,
    }, average


def main() -> None:
    made = parser(__doc__, resumes=True)
    made.add_argument("parts", nargs="*", help=f"of {', '.join(BUDGET)}")
    made.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    made.add_argument("--cost", action="store_true", help="measure the time of a step")
    options = made.parse_args()
    torch.set_num_threads(1)
    pixels = load("mnist", fallback=False).pixels
    facts = {
        "gan": vars(GAN),
        "budget": BUDGET,
        "mnist_flow": MNIST_FLOW,
        "grid_flow": GRID_FLOW,
        "grid_gan": GRID_GAN,
    }
    result = begin(NAME, facts, out=options.out, fresh=options.fresh or options.cost)
    if options.cost:
        write_result(NAME, {**result, "cost": costs(pixels)}, options.out)
        return

    def mnist_flow(seed: int) -> dict[str, Any]:
        digits = partial(draw_digits, pixels)
        steps = flow_steps("mnist", result["cost"])
        trained = train_flow(digits, steps, seed=seed, **MNIST_FLOW)
        run, velocity = run_flow(trained, image_scores)
        if seed == min(options.seeds):
            save_weights(velocity, options.out / f"{NAME}.safetensors", seed=seed)
        return run

    def grid_flow(seed: int) -> dict[str, Any]:
        steps = flow_steps("grid", result["cost"])
        trained = train_flow(draw_points, steps, seed=seed, **GRID_FLOW)
        return run_flow(trained, point_scores)[0]

    def grid_gan(seed: int) -> dict[str, Any]:
        trained = train_grid_gan(BUDGET["grid"], seed=seed, **GRID_GAN)
        noise = sample_noise(POINTS, 2, seed=0)
        curve = [grid_scores(sample_images(G, noise)) for _, G in trained]
        return {"steps": BUDGET["grid"], "curve": curve}

    runs = {
        "grid": {"gan": grid_gan, "flow": grid_flow},
        "mnist": {"flow": mnist_flow},
    }
    for part in options.parts:
        for method, run in runs[part].items():
            about = {"part": part, "method": method}
            over_seeds(NAME, result, options.seeds, run, out=options.out, **about)


if __name__ == "__main__":
    main()
