"""How long until the distance of 200 epochs of the textbook recipe on MNIST is reached?

    python -m experiments.time_to_quality --seeds 0 1 2 3 4 5 6 7 8 9

The recipe mnist-speedrun takes turns with the textbook loop, whose time for 200 epochs
follows from the images that it manages a second in the same minutes: with torch's own
products of matrices, with those of the precision "medium", which is the recipe as it
stands, and in bfloat16. Scoring is not timed.
"""

import statistics

from torch import Tensor

from experiments.common import distance, parser, score_generator, write_result
from experiments.textbook_loop import MLP, Mnist, TextbookLoop, mlps
from ganlib import accelerate
from ganlib.config import Config
from ganlib.data import load
from ganlib.recipes import recipe
from ganlib.results import load_result
from ganlib.training import new_state

BATCHES = 200  # of the textbook loop, to measure its speed
TEXTBOOK_EPOCHS = 200
KINDS = {
    "float32": {"matmul_precision": "highest"},
    "medium": {},
    "bfloat16": {"bfloat16": True},
}


def target() -> float:
    """Mean distance of the textbook recipe's 200 epochs, over the scoreboard's seeds."""
    runs = load_result("scoreboard/textbook-on-mnist")["runs"]
    last = str(TEXTBOOK_EPOCHS)
    return statistics.mean(run["scores"][last]["frechet"] for run in runs)


def run(config: Config, pixels: Tensor, goal: float) -> dict:
    """Train one run -> seconds and distance by epoch, and when the goal was reached."""
    state = new_state(config)
    epochs = []
    for record in accelerate.fit(state, pixels):
        epochs.append({"seconds": record.seconds, "frechet": distance(state)})
    reached = [one["seconds"] for one in epochs if one["frechet"] <= goal]
    return {
        "seed": config.seed,
        "reached": reached[0] if reached else None,
        "epochs": epochs,
        "scores": score_generator(state),
    }


def main() -> None:
    options = parser(__doc__, seeds=10).parse_args()
    pixels = load("mnist", fallback=False).pixels
    goal = target()
    loop = TextbookLoop(*mlps(), MLP)
    batches = Mnist()
    loop.epoch(batches, BATCHES)  # warms up
    rates: list[float] = []
    runs: dict[str, list[dict]] = {kind: [] for kind in KINDS}
    for seed in options.seeds:
        rates.append(loop.epoch(batches, BATCHES))
        for kind, changes in KINDS.items():
            config = recipe("mnist-speedrun", seed=seed, **changes)
            runs[kind].append(run(config, pixels, goal))
            print(kind, seed, runs[kind][-1]["reached"], flush=True)
        seconds = TEXTBOOK_EPOCHS * len(pixels) / statistics.median(rates)
        result = {
            "target": goal,
            "textbook_rates": rates,
            "textbook_seconds": seconds,
            "runs": runs,
        }
        write_result("time_to_quality", result, options.out)
    for kind, row in runs.items():
        reached = [one["reached"] for one in row]
        if None not in reached:
            mean = statistics.mean(reached)
            print(f"{kind}: {mean:.1f} s, {seconds / mean:.0f} times as fast")


if __name__ == "__main__":
    main()
