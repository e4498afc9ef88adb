"""How soon is a given distance reached on MNIST? One change after the other.

    python -m experiments.time_to_quality --seeds 0 1 2 3 4
    python -m experiments.time_to_quality --speed
    python -m experiments.time_to_quality --page

Begins with the textbook's loop and recipe, whose 200 epochs set the first goal, and ends
with the recipe mnist-speedrun. Every 100 steps the generator is copied; the first copy
that is as near as the goal counts. Steps do not depend on what else the machine does. How
long a step takes is measured apart, all loops taking turns on one thread, so that the
times that follow from both are ratios of one run. --speed measures that again; --page
writes the table of records, book/records.md, from what is stored.
"""

import statistics
import time
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from experiments.bench import Rates, ganlib_loop, ratio, take_turns
from experiments.common import (
    ROOT,
    begin,
    distance,
    over_seeds,
    parser,
    write_result,
)
from experiments.textbook_loop import MLP, Mnist, TextbookLoop, mlps
from ganlib.accelerate import matmul_precision
from ganlib.config import Config, replace
from ganlib.data import load
from ganlib.ema import refresh_batchnorm
from ganlib.files import write_atomic
from ganlib.recipes import recipe
from ganlib.results import distance_text, load_result, spread, summary
from ganlib.training import fit, new_state, train_step

NAME = "time_to_quality"
PAGE = ROOT / "book" / "records.md"
TEMPLATE = Path(__file__).with_name("records.template.md")
TEXTBOOK_EPOCHS = 200
TRAINING_IMAGES = 60_000  # of MNIST: an epoch
SECOND_GOAL = 60.0  # where the better recipe shows
BATCHES = 100  # of each loop in a round of the speed
INTERVAL = 100  # steps from one copy of the generator to the next
MOST_EPOCHS = 60  # a run that has not reached its goal by then is given up

# What each rung changes; the last one is mnist-speedrun.
CHANGES: dict[str, dict[str, Any]] = {
    "learning rate 0.001, beta1 0.5": {
        "learning_rate_g": 1e-3,
        "learning_rate_d": 1e-3,
        "beta1": 0.5,
    },
    "average of G, 0.998": {"ema_decay": 0.998},
    "label 0.9": {"real_label": 0.9},
    "BatchNorm in G": {"architecture": "batchnorm-mlp"},
    "R1 of weight 0.3": {"r1_weight": 0.3},
    "Adam with betas 0 and 0.9": {"beta1": 0.0, "beta2": 0.9},
    "average 0.99": {"ema_decay": 0.99},
    "noise of 10 numbers": {"latent_dim": 10},
    "D's learning rate halved": {"learning_rate_d": 5e-4},
    "batches of 64": {"batch_size": 64},
    "learning rates 0.0015 and 0.0007": {
        "learning_rate_g": 1.5e-3,
        "learning_rate_d": 7e-4,
    },
}


def rungs() -> dict[str, Config]:
    """{change: config with it and with all before it}."""
    config = recipe("textbook")
    found = {}
    for name, changes in CHANGES.items():
        config = replace(config, **changes)
        found[name] = config
    return found


ENTRIES = {  # recipes that run for both goals
    "textbook-tuned": recipe("textbook-tuned"),
    "mnist": recipe("mnist"),
    "mnist-conv": recipe("mnist-conv"),
}


def textbook_target() -> float:
    """Mean distance of the textbook recipe's 200 epochs, over the scoreboard's seeds."""
    runs = load_result("scoreboard/textbook-on-mnist")["runs"]
    last = str(TEXTBOOK_EPOCHS)
    return statistics.mean(run["scores"][last]["frechet"] for run in runs)


def first_within(
    copies: list[tuple[int, nn.Module]], config: Config, goal: float
) -> tuple[int, float] | None:
    """The steps and the distance of the first copy that is as near as the goal."""
    for step, G in copies:
        if config.ema_decay:
            refresh_batchnorm(G, config.latent_dim)
        found = distance(G, config)
        if found <= goal:
            return step, found
    return None


def run(config: Config, pixels: Tensor, goals: list[float]) -> dict[str, list]:
    """Train until the last goal is reached, or for MOST_EPOCHS.

    Args:
        goals: distances, in falling order.

    Returns "reached": for each goal the steps, the images and the distance where it is
    reached, None where it is not; and "distances": that after each epoch.
    """
    state = new_state(replace(config, epochs=MOST_EPOCHS))
    copies: list[tuple[int, nn.Module]] = []

    def turn(state, real):
        if state.step and state.step % INTERVAL == 0:
            copies.append((state.step, deepcopy(state.G_ema or state.G)))
        return train_step(state, real)

    reached: list[dict | None] = []
    distances = []
    with matmul_precision(config.matmul_precision):
        for record in fit(state, pixels, turn=turn):
            last = deepcopy(state.sampling_generator)
            now = distance(last, config)
            print(config.recipe, config.seed, record.epoch, round(now), flush=True)
            distances.append(now)
            while len(reached) < len(goals) and now <= goals[len(reached)]:
                found = first_within(copies, config, goals[len(reached)])
                step, value = found or (state.step, now)
                images = step * config.batch_size
                reached.append({"steps": step, "images": images, "frechet": value})
            if len(reached) == len(goals):
                break
            copies.clear()
    reached += [None] * (len(goals) - len(reached))
    return {"reached": reached, "distances": distances}


def work_of(config: Config) -> Config:
    """A config that differs only where a step of the other takes another time."""
    return replace(
        config,
        recipe="",
        seed=0,
        epochs=1,
        learning_rate_g=1e-3,
        learning_rate_d=1e-3,
        beta1=0.5,
        beta2=0.999,
        real_label=1.0,
        r1_weight=float(config.r1_weight > 0),
        ema_decay=0.9 if config.ema_decay else 0.0,
    )


def measure_speed(pixels: Tensor) -> dict[str, dict[str, float]]:
    """{loop: images/s, their spread, and ratio to the textbook's loop}, on one thread.

    Medians over the rounds, and the standard deviation. Loops that do the same work
    are measured once.
    """
    textbook = TextbookLoop(*mlps(), MLP)
    loops = {"textbook loop": lambda: textbook.epoch(Mnist(), BATCHES)}
    configs = {"ganlib's loop": recipe("textbook"), **rungs(), **ENTRIES}
    first_of: dict[Config, str] = {}
    for name, config in configs.items():
        if first_of.setdefault(work_of(config), name) == name:
            loops[name] = ganlib_loop(config, pixels, BATCHES)
    rates: Rates = take_turns(loops)
    measured = {
        name: {
            "rate": statistics.median(values),
            "spread": statistics.stdev(values),
            "ratio": ratio(values, rates["textbook loop"]),
        }
        for name, values in rates.items()
    }
    same = {name: measured[first_of[work_of(one)]] for name, one in configs.items()}
    return {"textbook loop": measured["textbook loop"], **same}


def records(result: dict[str, Any], place: int) -> list[str]:
    """Lines of the table of a goal: 0 is the first one, 1 the second."""
    whole = result["textbook_epochs"] * TRAINING_IMAGES
    slowest = whole / result["speed"]["textbook loop"]["rate"]
    lines = ["| Recipe | Seeds | Steps | Seconds | Times as fast |", "|---" * 5 + "|"]
    names = {"textbook loop": "`textbook`, the textbook's loop"}
    names["ganlib's loop"] = "`textbook`, ganlib's loop"
    for name in names if place == 0 else ():
        spent = whole / result["speed"][name]["rate"]
        steps = f"{whole // recipe('textbook').batch_size:,}"
        lines.append(
            f"| {names[name]} | 5 | {steps} | {spent:,.0f} | {slowest / spent:.1f} |"
        )
    for name in [*CHANGES, *ENTRIES] if place == 0 else ENTRIES:
        runs = [run for run in result["runs"] if run["rung"] == name]
        reached = [run["reached"][place] for run in runs]
        if not reached or None in reached:
            continue
        rate = result["speed"][name]["rate"]
        spent = [one["images"] / rate for one in reached]
        steps = spread([one["steps"] for one in reached], 0)
        times = spread([slowest / one for one in spent], 0)
        title = f"`{name}`" if name in ENTRIES else f"+ {name}"
        cells = title, len(runs), steps, f"{statistics.mean(spent):,.0f}", times
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def page() -> str:
    """The text of book/records.md."""
    result = load_result(NAME)
    text = TEMPLATE.read_text(encoding="utf-8")
    values = {name: result[name] for name in ("date", "machine", "torch", "commit")}
    for place, name in enumerate(("first", "second")):
        lines = records(result, place)
        values[name] = "\n".join(lines) if lines[2:] else "There is no row yet."
    values["target"] = f"{result['target']:.0f}"
    values["second_target"] = f"{result['second_target']:.0f}"
    values["most_epochs"] = MOST_EPOCHS
    tuned = summary("textbook-tuned")
    values["tuned"] = distance_text(tuned) if tuned else "–"
    speeds = result["speed"].values()
    values["jitter"] = f"{max(one['spread'] / one['rate'] for one in speeds):.0%}"
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", str(value))
    return text


def main() -> None:
    made = parser(__doc__, seeds=5, resumes=True)
    made.add_argument(
        "--page", action="store_true", help="write the page, train nothing"
    )
    made.add_argument(
        "--speed", action="store_true", help="measure the speed again, train nothing"
    )
    options = made.parse_args()
    if options.page:
        write_atomic(PAGE, page().encode())
        return
    torch.set_num_threads(1)
    pixels = load("mnist", fallback=False).pixels
    facts = {
        "target": textbook_target(),
        "second_target": SECOND_GOAL,
        "textbook_epochs": TEXTBOOK_EPOCHS,
        "changes": CHANGES,
    }
    result = begin(NAME, facts, out=options.out, fresh=options.fresh)
    if options.speed or "speed" not in result:
        result["speed"] = measure_speed(pixels)
        write_result(NAME, result, options.out)
    if options.speed:
        return
    first = [facts["target"]]
    both = [facts["target"], SECOND_GOAL]
    started = time.time()
    for name, config in {**rungs(), **ENTRIES}.items():
        goals = both if name in ENTRIES else first

        def one_run(seed: int, config: Config = config, goals: list = goals) -> dict:
            return run(replace(config, seed=seed), pixels, goals)

        over_seeds(NAME, result, options.seeds, one_run, out=options.out, rung=name)
        print(name, f"{time.time() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
