"""A hundred pictures of your own: how few are enough, and did it copy?

    python -m experiments.own --counts 100 --seeds 0
    python -m experiments.own --counts 300 1000 --arms "32 none" "32 changed" --seeds 0 1 2

"Yours" are fresh drawings of avatars, which no shipped network has seen: 100, 300 or
1,000, of which a fifth is held out as `ganlib train own` does it. Each run has the same
seconds of the processor (BUDGET), measurements left out. An arm is called by its size
and by what it does: at 64 pixels G may start from the shipped network faces, which has
never seen a drawing; at 32 pixels, where a step costs a fifth, it starts from noise.

Every EPOCH steps the two criteria of ganlib/own.py are measured, so that the result
says when each would have stopped. At the end stand the scores against 10,000 fresh
drawings, and the share of copies against as many fresh drawings as were learned from.
"""

import time
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from experiments.common import begin, over_seeds, parser, read_images, write_images
from ganlib import training
from ganlib.accelerate import set_memory_format
from ganlib.augment import augment
from ganlib.config import Config, replace
from ganlib.data.avatars import draw
from ganlib.data.transforms import denormalize, normalize
from ganlib.metrics import (
    copied_share,
    frechet_distance,
    load_feature_extractor,
    precision_recall_density_coverage,
)
from ganlib.own import OWN
from ganlib.sampling import sample_images, sample_noise, sample_pixels
from ganlib.stopping import Watch, features_of, hold_out
from ganlib.training import TrainState, new_state, train_step
from ganlib.transfer import ALONE, batches_of_passes, start_from

NAME = "own"
BUDGET = 120.0  # seconds of one thread
EPOCH = {32: 100, 64: 20}  # steps between two measurements, by size
COUNTS = 100, 300, 1_000
FRESH = 10_000  # drawings that the distance is measured to
SAMPLES = 2_000  # behind each final score
SHOWN = 16
START = "faces"
RAMP = 5_000  # images in which the controller may go from no image changed to all


def changes_for(size: int) -> dict[str, Any]:
    """The changes of DiffAugment, as `ganlib train own` has them."""
    return {"augment_shift": size // 8, "augment_color": True, "augment_cutout": 0.5}


ARMS = {  # name -> size, start, whether D sees changes, other fields
    "32 none": (32, None, "none"),
    "32 changed": (32, None, "all"),
    "32 controlled": (32, None, "controlled"),
    "32 real side only": (32, None, "real"),
    "64 none": (64, None, "none"),
    "64 changed": (64, None, "all"),
    "64 none, from faces": (64, START, "none"),
    "64 changed, from faces": (64, START, "all"),
    "64 controlled, from faces": (64, START, "controlled"),
}


def at(size: int, pixels: Tensor) -> Tensor:
    """Bytes (N, C, 64, 64) at `size`, by the means of squares."""
    if size == pixels.shape[-1]:
        return pixels
    smaller = torch.nn.functional.adaptive_avg_pool2d(normalize(pixels), size)
    return denormalize(smaller)


def config_of(arm: str, seed: int) -> Config:
    """The config of a run of an arm."""
    size, _, changed = ARMS[arm]
    fields = changes_for(size) if changed in ("all", "controlled") else {}
    if changed == "controlled":
        fields |= {"augment_target": 0.6, "augment_ramp": RAMP}
    return replace(OWN, dataset="avatars", image_size=size, seed=seed, **fields)


def real_side_turn(config: Config, state: TrainState, real: Tensor) -> Tensor:
    """`train_step` with real images changed as `config` says, and generated ones not."""
    return train_step(state, augment(real, config))


def epoch_of(
    size: int, count: int, batch_size: int, device: torch.device
) -> Sequence[Tensor]:
    """A sampler: EPOCH[size] batches of whole passes."""
    return batches_of_passes(count, batch_size, device, EPOCH[size])[: EPOCH[size]]


@cache
def fresh_features(size: int) -> Tensor:
    """Features (FRESH, F) of the drawings that the scores compare with."""
    pixels, _ = draw(FRESH, seed=1)  # the test images of avatars
    return features_of(load_feature_extractor("avatars"), at(size, pixels))


def final_scores(state: TrainState, pixels: Tensor, seed: int) -> dict[str, Any]:
    """Distance, precision, recall, coverage and share of copies of the run's end."""
    config, extractor = state.config, load_feature_extractor("avatars")
    G = state.sampling_generator
    fake = features_of(extractor, sample_pixels(G, config.latent_dim, count=SAMPLES))
    fresh = fresh_features(config.image_size)
    shares = precision_recall_density_coverage(fresh[:SAMPLES], fake)
    unseen, _ = draw(len(pixels), seed=20_000 + seed)
    known, unknown = (
        features_of(extractor, at(config.image_size, one)) for one in (pixels, unseen)
    )
    copied, error = copied_share(fake, known, unknown)
    return {
        "frechet": frechet_distance(fresh, fake),
        **shares,
        "copied": copied,
        "copied_error": error,
    }


def run(
    arm: str, count: int, images: dict[str, Tensor], out: Path, seed: int
) -> dict[str, Any]:
    """One run -> what is stored; its pictures go to `images`."""
    size, start, changed = ARMS[arm]
    drawn, _ = draw(count, seed=10_000 + seed)
    training_pixels, held_out = hold_out(at(size, drawn))
    config = replace(config_of(arm, seed), epochs=100_000)
    state = new_state(config)
    watch = Watch(load_feature_extractor("avatars"), training_pixels, held_out)
    turn = train_step
    if changed == "real":
        turn = partial(real_side_turn, replace(config, **changes_for(size)))
    z = sample_noise(SHOWN, config.latent_dim, seed=1)
    started = time.process_time()
    if start:
        start_from(state, start, training_pixels)
    set_memory_format(state)
    spent, strengths = time.process_time() - started, []
    sampler = partial(epoch_of, size)
    epochs = training.fit(state, training_pixels, turn=turn, sampler=sampler)
    while spent < BUDGET:
        started = time.process_time()
        next(epochs)
        spent += time.process_time() - started
        watch.measure(state.sampling_generator, config.latent_dim, len(state.history))
        strength = state.augment_strength
        strengths.append(None if strength is None else round(strength.item(), 3))
        stop = watch.reason_to_stop
        print(arm, count, seed, f"{spent:.0f} s", watch.measures[-1], stop, flush=True)
    images[f"{arm}, {count}, {seed}"] = denormalize(
        sample_images(state.sampling_generator, z)
    )
    write_images(NAME, images, out)
    scores = final_scores(state, hold_out(drawn)[0], seed)
    print(arm, count, seed, state.step, scores, flush=True)
    return {
        "cpu_seconds": round(spent, 1),
        "steps": state.step,
        "history": state.history,
        "strengths": strengths,
        "measures": watch.measures,
        "scores": scores,
    }


def main() -> None:
    made = parser(__doc__, seeds=1, resumes=True)
    made.add_argument("--counts", type=int, nargs="+", default=list(COUNTS))
    made.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    options = made.parse_args()
    torch.set_num_threads(1)
    facts = {
        "base": vars(OWN),
        "budget": BUDGET,
        "alone": ALONE,
        "start": START,
        "samples": SAMPLES,
        "fresh": FRESH,
    }
    result = begin(NAME, facts, out=options.out, fresh=options.fresh)
    images = read_images(NAME, options.out)
    for seed in options.seeds:
        for count in options.counts:
            for arm in options.arms:
                one = partial(run, arm, count, images, options.out)
                key = {"arm": arm, "count": count}
                over_seeds(NAME, result, [seed], one, out=options.out, **key)


if __name__ == "__main__":
    main()
