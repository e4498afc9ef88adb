"""A GAN and flow matching, equal seconds: on MNIST, and on a grid of 25 Gaussians.

    python -m experiments.diffusion --cost
    python -m experiments.diffusion grid mnist --seeds 1 2 3

The first measures, in turns and on one thread, what a step of training and a thousand
samples cost in seconds of the processor. From this follows how many steps a flow has in
the time of the GAN's, BUDGET. The second adds the runs of flows that are missing. Those of
the GANs are stored already: on MNIST recipe mnist, which the scoreboard has; on the grid
the plain loss at its best rate, which experiments.losses has. A flow has their batch size
and as wide layers. The first run on MNIST also stores its network.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from experiments.bench import take_turns
from experiments.common import (
    begin,
    parser,
    real_features,
    references,
    write_result,
)
from experiments.losses import grid_points, grid_scores, grid_state, train_grid
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
from ganlib.metrics import (
    Classifier,
    extract_features,
    frechet_distance,
    precision_recall_density_coverage,
)
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
    "mnist": [600, 1_200, 3_000],
    "grid": [750, 1_500, 3_000],
}
CALLS = 1, 4, 16, 64  # of the velocity network, in a sample
CURVE_CALLS = 16  # in the earlier checkpoints
LATE = 2  # checkpoint from which all numbers of calls are tried
IMAGES = 10_000  # behind each score
POINTS = 2_500  # as experiments.losses has them
MNIST_FLOW = {
    "hidden_dim": 256,
    "batch_size": 100,
    "rate": 3e-3,
    "decay": 0.999,
    "location": -1.5,
}
GRID_FLOW = {
    "hidden_dim": 128,
    "batch_size": 128,
    "rate": 3e-3,
    "decay": 0.999,
    "location": 0.0,
}
GRID_RATE = 5e-3  # of the GAN on the grid
BATCHES = 40  # of each loop in a round of the cost

Draw = Callable[[int, torch.Generator], Tensor]  # a batch of data
Trained = Iterator[tuple[int, nn.Module]]  # steps and average at each checkpoint


def train_flow(draw: Draw, checkpoints: list[int], *, seed: int, **how: Any) -> Trained:
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
        t = sample_times(len(data), how["location"], source)
        loss = flow_matching_loss(velocity, data, z, t)
        adam.zero_grad()
        loss.backward()
        adam.step()
        update_average(average, velocity, how["decay"], step)
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
    points = grid_state("non-saturating", GRID_RATE, seed=0)
    trained = {"seed": 0, "checkpoints": [BATCHES]}
    loops = {
        ("mnist", "gan"): (gan_on_mnist, BATCHES),
        ("mnist", "flow"): (
            lambda: list(train_flow(digits, **trained, **MNIST_FLOW)),
            BATCHES,
        ),
        ("grid", "gan"): (lambda: train_grid(points, BATCHES), BATCHES),
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


def samples(velocity: nn.Module, z: Tensor, calls: int) -> Tensor:
    """Samples of a flow from noise (N, …), with so many calls of its network."""
    return torch.cat([flow_path(velocity, part, calls)[-1] for part in z.split(250)])


@cache
def real_digits() -> tuple[Classifier, Tensor]:
    """The classifier of digits, and the features of the test images."""
    return references("mnist", 28)[0], real_features("mnist", 28, IMAGES)


def image_scores(velocity: nn.Module, calls: int) -> dict[str, Any]:
    """Scores of 10,000 images of a flow against the test images.

    Those of `ganlib.metrics.score` but for the kernel distance, which takes longest.
    """
    z = torch.randn(IMAGES, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    classifier, real = real_digits()
    pixels = denormalize(samples(velocity, z, calls))
    fake = extract_features(classifier, pixels)
    classes, kl = classifier.class_coverage(real, fake)
    shares = precision_recall_density_coverage(real, fake)
    distance = frechet_distance(real, fake)
    return {"frechet": distance, **shares, "classes": classes, "kl": kl}


def point_scores(velocity: nn.Module, calls: int) -> dict[str, Any]:
    """Modes and good points among 2,500 of a flow on the grid."""
    z = sample_noise(POINTS, 2, seed=0)
    return grid_scores(samples(velocity, z, calls))


def flow_scores(
    scores: Callable[..., dict[str, Any]], velocity: nn.Module, checkpoint: int
) -> dict[str, Any]:
    """What is measured of a flow: {calls: scores}."""
    tried = CALLS if checkpoint >= LATE else (CURVE_CALLS,)
    return {str(calls): scores(velocity, calls) for calls in tried}


def start(
    part: str, seed: int, *, pixels: Tensor, cost: dict[str, Any]
) -> tuple[Trained, Callable[[nn.Module, int], dict[str, Any]]]:
    """A run before its first step, and what scores it."""
    steps = flow_steps(part, cost)
    if part == "grid":
        trained = train_flow(draw_points, steps, seed=seed, **GRID_FLOW)
        return trained, partial(flow_scores, point_scores)
    digits = partial(draw_digits, pixels)
    trained = train_flow(digits, steps, seed=seed, **MNIST_FLOW)
    return trained, partial(flow_scores, image_scores)


def run_in_turns(
    part: str, seeds: list[int], result: dict[str, Any], **how: Any
) -> Iterator[tuple[int, nn.Module]]:
    """Bring all runs that are missing to one checkpoint after the other.

    So the seeds are always equally far. Yields a seed and its network after each
    checkpoint; what was measured is in result["runs"].
    """
    runs, started = {}, {}
    for seed in seeds:
        about = {"part": part, "seed": seed}
        known = [run for run in result["runs"] if about.items() <= run.items()]
        if known and len(known[0]["steps"]) == len(BUDGET[part]):
            continue
        result["runs"] = [run for run in result["runs"] if run not in known]
        runs[seed] = {**about, "steps": [], "scores": []}
        started[seed] = start(part, seed, **how)
        result["runs"].append(runs[seed])
    for checkpoint in range(1, len(BUDGET[part]) + 1):
        for seed, (trained, scores) in started.items():
            step, network = next(trained)
            runs[seed]["steps"].append(step)
            runs[seed]["scores"].append(scores(network, checkpoint))
            print(part, seed, step, runs[seed]["scores"][-1], flush=True)
            yield seed, network


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
    }
    result = begin(NAME, facts, out=options.out, fresh=options.fresh)
    if options.cost:
        write_result(NAME, {**result, "cost": costs(pixels)}, options.out)
        return
    how = {"pixels": pixels, "cost": result["cost"]}
    for part in options.parts:
        for seed, network in run_in_turns(part, options.seeds, result, **how):
            write_result(NAME, result, options.out)
            if part == "mnist" and seed == min(options.seeds):
                save_weights(network, options.out / f"{NAME}.safetensors")


if __name__ == "__main__":
    main()
