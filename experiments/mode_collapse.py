"""G collapses to a few kinds of images: the run beside a healthy one, and its cure.

    python -m experiments.mode_collapse --seeds 0 1 2

Recipe textbook-tuned without the average, so that the G that D sees is scored. Three runs a seed:

- healthy: as the recipe has it;
- collapsed: D's learning rate divided by DIVISOR, so that D does not keep up;
- cured: the collapsed run up to half of its epochs, and then with D's own learning rate.

The result also holds trials on seed 0: which other settings collapse, and which do not.
Pictures of the last epoch, SHOWN of each run, are stored under "healthy seed 0" and so on.
"""

import itertools
from collections.abc import Iterator
from copy import deepcopy

import torch
from torch import Tensor, nn

from experiments.common import (
    begin,
    parser,
    read_images,
    score_generator,
    write_images,
    write_result,
)
from ganlib.config import replace
from ganlib.data import load
from ganlib.data.transforms import denormalize
from ganlib.metrics import extract_features, load_classifier
from ganlib.metrics.classifiers import class_shares
from ganlib.recipes import recipe
from ganlib.sampling import sample_images, sample_noise, sample_pixels
from ganlib.training import TrainState, Turn, fit, generator_step, new_state, train_step

NAME = "mode_collapse"
HEALTHY = recipe("textbook-tuned", epochs=8, ema_decay=0.0)
DIVISOR = 20
COLLAPSED = replace(HEALTHY, learning_rate_d=HEALTHY.learning_rate_d / DIVISOR)
SHOWN = 32
COUNT = 10_000


@torch.no_grad()
def shares_of(G: nn.Module) -> list[float]:
    """Share of each of the ten classes among COUNT images of G."""
    classifier = load_classifier("mnist")
    pixels = sample_pixels(G, HEALTHY.latent_dim, count=COUNT)
    classes = classifier.head(extract_features(classifier, pixels)).argmax(dim=1)
    return class_shares(classes, 10).tolist()


def follow(state: TrainState, pixels: Tensor, turn: Turn = train_step) -> list[list]:
    """Train up to state.config.epochs -> the shares of the classes after each epoch."""
    shares = []
    for record in fit(state, pixels, turn=turn):
        shares.append(shares_of(state.G))
        percent = [round(100 * share) for share in shares[-1]]
        config = state.config
        print(config.learning_rate_d, config.seed, record.epoch, percent, flush=True)
    return shares


def facts(state: TrainState, shares: list[list[float]]) -> dict:
    """What is stored of a run that has ended, and its images, bytes (SHOWN, …)."""
    scores = score_generator(state)
    print({name: scores[name] for name in ("frechet", "recall", "classes", "kl")})
    z = sample_noise(SHOWN, HEALTHY.latent_dim, seed=1)
    images = denormalize(sample_images(state.G, z))
    about = {"history": state.history, "shares": shares, "scores": scores}
    return {**about, "images": images}


def several_g_steps(steps: int) -> Turn:
    """train_step, then further steps of G alone against the same D."""

    def turn(state: TrainState, real: Tensor) -> Tensor:
        numbers = train_step(state, real)
        for _ in range(steps - 1):
            z = torch.randn(len(real), state.config.latent_dim)
            generator_step(state.G, state.D, state.optimizer_g, z)
        return numbers

    return turn


TRIAL_EPOCHS = 4
TRIALS: dict[str, tuple[dict, Turn]] = {
    "the recipe": ({}, train_step),
    "D's learning rate / 5": ({"learning_rate_d": 2e-4}, train_step),
    "D's learning rate / 10": ({"learning_rate_d": 1e-4}, train_step),
    "D's learning rate / 20": ({"learning_rate_d": 5e-5}, train_step),
    "5 steps of G for one of D": ({}, several_g_steps(5)),
    "G's learning rate x 10": ({"learning_rate_g": 1e-2}, train_step),
    "both learning rates x 10, no label smoothing": (
        {"learning_rate_g": 1e-2, "learning_rate_d": 1e-2, "real_label": 1.0},
        train_step,
    ),
}


def run_trial(name: str, pixels: Tensor) -> dict:
    """A run of TRIAL_EPOCHS on seed 0 with the changes of a trial -> what is stored."""
    changes, turn = TRIALS[name]
    print(name, flush=True)
    state = new_state(replace(HEALTHY, epochs=TRIAL_EPOCHS, **changes))
    return {
        "trial": name,
        "changes": changes,
        **facts(state, follow(state, pixels, turn)),
    }


def collapse_and_cure(seed: int, pixels: Tensor) -> Iterator[tuple[str, dict]]:
    """The collapsed run of a seed and its cure, one after the other: name, facts."""
    state = new_state(replace(COLLAPSED, seed=seed, epochs=HEALTHY.epochs // 2))
    until_then = follow(state, pixels)
    for name, config in (("cured", HEALTHY), ("collapsed", COLLAPSED)):
        run = deepcopy(state)
        run.config = replace(config, seed=seed)
        for group in run.optimizer_d.param_groups:
            group["lr"] = config.learning_rate_d
        yield name, facts(run, until_then + follow(run, pixels))


def stay_healthy(seed: int, pixels: Tensor) -> Iterator[tuple[str, dict]]:
    """The healthy run of a seed: name, facts."""
    state = new_state(replace(HEALTHY, seed=seed))
    yield "healthy", facts(state, follow(state, pixels))


PARTS = {
    ("healthy",): stay_healthy,
    ("cured", "collapsed"): collapse_and_cure,
}


def main() -> None:
    options = parser(__doc__, seeds=3, resumes=True).parse_args()
    torch.set_num_threads(1)
    pixels = load("mnist", fallback=False).pixels
    about = {"healthy": vars(HEALTHY), "collapsed": vars(COLLAPSED), "count": COUNT}
    result = begin(NAME, about, out=options.out, fresh=options.fresh)
    images = read_images(NAME, options.out)
    for seed, (names, make) in itertools.product(options.seeds, PARTS.items()):
        have = {one["run"] for one in result["runs"] if one["seed"] == seed}
        if have.issuperset(names):
            continue
        for name, run in make(seed, pixels):
            images[f"{name} seed {seed}"] = run.pop("images")
            result["runs"].append({"run": name, "seed": seed, **run})
        write_images(NAME, images, options.out)
        write_result(NAME, result, options.out)
    trials = result.setdefault("trials", [])
    for name in TRIALS:
        if all(trial["trial"] != name for trial in trials):
            trial = run_trial(name, pixels)
            images[f"trial {name}"] = trial.pop("images")
            trials.append(trial)
            write_images(NAME, images, options.out)
            write_result(NAME, result, options.out)


if __name__ == "__main__":
    main()
