"""A hundred pictures of your own: how few are enough, and did it copy?

    python -m experiments.own --seeds 0 1 2
    python -m experiments.own none:100 "changed, from faces:300" --seeds 0
    python -m experiments.own "changed, from faces:100" --long --seeds 0

"Yours" are fresh drawings of avatars, 32x32, which no network of the book has seen:
100, 300 or 1,000, of which a fifth is held out as `ganlib train own` does it. Each run
has EPOCHS epochs, which are as many steps whatever the count: a step of two arms costs
nearly the same (cpu_seconds, measurements left out); with --long it has LONG, and the
generator that `train own` would keep is scored too. The start is faces-32 (see
experiments/starts.py): photographs of faces, and never a drawing.

After every epoch the two criteria of ganlib/stopping.py are measured, so that the result
says when each would have stopped. At the end stand the scores against 10,000 fresh
drawings, and the share of copies against as many fresh drawings as were learned from.
Beside the runs stand what other drawings score ("real"), and what a G would that draws
its training pictures and nothing else ("copies").
"""

import time
from copy import deepcopy
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from experiments.common import begin, over_seeds, parser, read_images, write_images
from ganlib import training
from ganlib.accelerate import set_memory_format
from ganlib.augment import augment
from ganlib.config import Config, replace
from ganlib.data.avatars import draw
from ganlib.data.transforms import denormalize, normalize
from ganlib.errors import GanlibError
from ganlib.metrics import (
    copied_share,
    frechet_distance,
    load_feature_extractor,
    nearest_neighbour,
    precision_recall_density_coverage,
)
from ganlib.own import CHANGES, FROZEN, OWN, own_batches
from ganlib.sampling import sample_pixels
from ganlib.stopping import Watch, features_of, hold_out
from ganlib.training import TrainState, new_state, train_step
from ganlib.transfer import start_from

NAME = "own"
EPOCHS = 8  # of a hundred steps, or a few more
LONG = 24
COUNTS = 100, 300, 1_000
FRESH = 10_000  # drawings that the distance is measured to
SAMPLES = 1_000  # behind each final score
SHOWN = 16
START = "faces-32"
RAMP = 5_000  # images in which the controller may go from no image changed to all
ARMS = {  # name -> start, which images D sees changed
    "none": (None, "none"),
    "changed": (None, "all"),
    "none, from faces": (START, "none"),
    "changed, from faces": (START, "all"),
    "controlled, from faces": (START, "controlled"),
    "real side only": (None, "real"),
}


def at_size(pixels: Tensor) -> Tensor:
    """Bytes (N, C, 64, 64) at the size of OWN, by the means of squares."""
    means = torch.nn.functional.adaptive_avg_pool2d(normalize(pixels), OWN.image_size)
    return denormalize(means)


def drawings(count: int, seed: int) -> Tensor:
    """Bytes (count, 3, 32, 32): fresh avatars."""
    return at_size(draw(count, seed=seed)[0])


def config_of(arm: str, epochs: int, seed: int) -> Config:
    """The config of a run of an arm."""
    start, changed = ARMS[arm]
    fields: dict[str, Any] = {}
    if changed in ("all", "controlled"):
        fields |= CHANGES
    if changed == "controlled":
        fields |= {"augment_target": 0.6, "augment_ramp": RAMP}
    if start:
        fields["frozen_layers"] = FROZEN
    return replace(OWN, dataset="avatars", epochs=epochs, seed=seed, **fields)


def real_side_turn(config: Config, state: TrainState, real: Tensor) -> Tensor:
    """`train_step` with real images changed as `config` says, and generated ones not."""
    return train_step(state, augment(real, config))


@cache
def fresh_features() -> Tensor:
    """Features (FRESH, F) of the drawings that the scores compare with."""
    return features_of(load_feature_extractor("avatars"), drawings(FRESH, 1))


def scores_of(features: Tensor) -> dict[str, float]:
    """Distance, precision, recall, density and coverage of features (SAMPLES, F)."""
    fresh = fresh_features()
    shares = precision_recall_density_coverage(fresh[: len(features)], features)
    return {"frechet": frechet_distance(fresh, features), **shares}


@cache
def unseen_features(count: int, seed: int) -> Tensor:
    """Features (count, F) of drawings that no run has seen."""
    return features_of(load_feature_extractor("avatars"), drawings(count, seed))


def references(count: int) -> dict[str, Any]:
    """Scores of fresh drawings, or of `count` training pictures drawn again and again."""
    if not count:
        return scores_of(unseen_features(SAMPLES, 2))
    training_pixels, _ = hold_out(drawings(count, 10_000))
    features = features_of(load_feature_extractor("avatars"), training_pixels)
    return scores_of(features.repeat(SAMPLES // len(features) + 1, 1)[:SAMPLES])


def run(
    arm: str,
    count: int,
    epochs: int,
    images: dict[str, Tensor],
    out: Path,
    seed: int,
) -> dict[str, Any]:
    """One run -> what is stored; its pictures go to `images`."""
    start, changed = ARMS[arm]
    training_pixels, held_out = hold_out(drawings(count, 10_000 + seed))
    config = config_of(arm, epochs, seed)
    state = new_state(config)
    if start:
        start_from(state, start)
    set_memory_format(state)
    watch = Watch(load_feature_extractor("avatars"), training_pixels, held_out)
    watch.measure(state.sampling_generator, config.latent_dim, 0)
    turn = train_step
    if changed == "real":
        turn = partial(real_side_turn, replace(config, **CHANGES))
    spent, strengths, best = 0.0, [], state.sampling_generator
    records = training.fit(state, training_pixels, turn=turn, sampler=own_batches)
    for _ in range(epochs):
        began = time.process_time()
        next(records)
        spent += time.process_time() - began
        G = state.sampling_generator
        watch.measure(G, config.latent_dim, len(state.history))
        if watch.best == watch.measures[-1]:
            best = deepcopy(G)
        strength = state.augment_strength
        strengths.append(None if strength is None else round(strength.item(), 3))
        print(arm, count, seed, f"{spent:.0f} s", watch.measures[-1], flush=True)
    unseen = unseen_features(len(training_pixels), 20_000 + seed)

    def scores_at(G: nn.Module, key: str) -> dict[str, float]:
        """Scores of G, which are called `key`; pictures of seed 0 are kept."""
        pixels = sample_pixels(G, config.latent_dim, count=SAMPLES)
        features = watch.features(pixels)
        if seed == 0:
            _, nearest = nearest_neighbour(features[:SHOWN], watch.training)
            images[key] = pixels[:SHOWN]
            images[f"{key}, nearest"] = training_pixels[nearest]
            write_images(NAME, images, out)
        copied, error = copied_share(features, watch.training, unseen)
        return scores_of(features) | {"copied": copied, "copied_error": error}

    key = f"{arm}, {count}" + (", long" if epochs == LONG else "")
    facts = {"scores": scores_at(G, key)}
    if epochs == LONG:
        facts["kept"] = scores_at(best, f"{key}, kept")
    print(arm, count, seed, state.step, facts, flush=True)
    return {
        "cpu_seconds": round(spent, 1),
        "steps": state.step,
        "frozen_layers": config.frozen_layers,
        "history": state.history,
        "strengths": strengths,
        "measures": watch.measures,
        **facts,
    }


def main() -> None:
    made = parser(__doc__, seeds=1, resumes=True)
    every = [f"{arm}:{count}" for arm in ARMS for count in COUNTS]
    made.add_argument("cells", nargs="*", metavar="ARM:COUNT", help="default: all")
    made.add_argument("--long", action="store_true", help=f"{LONG} epochs")
    options = made.parse_args()
    epochs = LONG if options.long else EPOCHS
    torch.set_num_threads(1)
    facts = {
        "base": vars(OWN),
        "changes": CHANGES,
        "start": START,
        "samples": SAMPLES,
        "fresh": FRESH,
    }
    result = begin(NAME, facts, out=options.out, fresh=options.fresh)
    if "real" not in result:
        result["real"] = references(0)
        result["copies"] = {str(count): references(count) for count in COUNTS}
    images = read_images(NAME, options.out)
    for seed in options.seeds:
        for cell in options.cells or every:
            arm, _, count = cell.rpartition(":")
            if arm not in ARMS or not count.isdecimal():
                raise GanlibError(
                    f"{cell} is no cell; it is one of {', '.join(every)}."
                )
            one = partial(run, arm, int(count), epochs, images, options.out)
            key = {"arm": arm, "count": int(count), "long": options.long}
            over_seeds(NAME, result, [seed], one, out=options.out, **key)


if __name__ == "__main__":
    main()
