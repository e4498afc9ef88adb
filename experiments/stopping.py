"""Which epoch of a long run is the best, by images that were held out?

    python -m experiments.stopping --seeds 0 1 2
    python -m experiments.stopping --seeds 0 --ship

Trains the recipe mnist-long without 10,000 of its training images. Every ten epochs the
kernel distance (KID) of 10,000 samples to those images is measured; the generator with
the smallest is kept. The scores against the test images, which every table of this book
shows, are stored beside it and choose nothing. --ship stores the kept generator of the
first seed as the network mnist-long.
"""

import time
from copy import deepcopy
from pathlib import Path

import torch
from torch import Tensor, nn

from experiments.common import (
    COUNT,
    begin,
    machine,
    over_seeds,
    parser,
    references,
    score_generator,
)
from experiments.ship import ASSETS, FIGURES, MOST_EPOCHS, SHOWN, store
from ganlib import accelerate
from ganlib.config import replace
from ganlib.data import load
from ganlib.data.transforms import denormalize
from ganlib.metrics import extract_features, kernel_distance
from ganlib.recipes import recipe
from ganlib.sampling import sample_images, sample_noise, sample_pixels
from ganlib.stopping import hold_out
from ganlib.training import TrainState, new_state

NAME = "mnist-long"
HELD_OUT = 10_000  # training images
INTERVAL = 10  # epochs from one measurement to the next


def held_out_kid(G: nn.Module, latent_dim: int, features: Tensor) -> tuple[float, ...]:
    """KID of COUNT samples to images with these features, and its standard error."""
    feature_extractor, _ = references("mnist", 28)
    samples = sample_pixels(G, latent_dim, count=COUNT, seed=3)
    kid, error = kernel_distance(features, extract_features(feature_extractor, samples))
    return kid, error or 0.0


class Best:
    """The generator with the smallest distance so far, and where it was found."""

    def __init__(self) -> None:
        self.kid = float("inf")
        self.epoch = 0
        self.G: nn.Module | None = None

    def consider(self, G: nn.Module, kid: float, epoch: int) -> None:
        """Keep a copy of G if its distance is the smallest."""
        if kid < self.kid:
            self.kid, self.epoch, self.G = kid, epoch, deepcopy(G)


def run(seed: int, pixels: Tensor) -> tuple[dict, Best, TrainState, dict]:
    """One long run -> what is stored, the best generator, the run, pictures by epoch."""
    state = new_state(replace(recipe(NAME), seed=seed))
    latent_dim = state.config.latent_dim
    training, held_out = hold_out(pixels, HELD_OUT)
    feature_extractor, _ = references("mnist", 28)
    features = extract_features(feature_extractor, held_out)
    z = sample_noise(SHOWN, latent_dim, seed=1)
    pictures = {0: denormalize(sample_images(state.sampling_generator, z))}
    best = Best()
    epochs = []
    spent = 0.0
    started = time.process_time()
    for record in accelerate.fit(state, training):
        spent += time.process_time() - started
        if record.epoch % (state.config.epochs // (MOST_EPOCHS - 1)) == 0:
            images = sample_images(state.sampling_generator, z)
            pictures[record.epoch] = denormalize(images)
        if record.epoch % INTERVAL == 0:
            G = state.sampling_generator
            kid, error = held_out_kid(G, latent_dim, features)
            best.consider(G, kid, record.epoch)
            one = {"epoch": record.epoch, "kid": kid, "kid_error": error}
            one["scores"] = score_generator(G, state.config)
            epochs.append(one)
            print(seed, one, flush=True)
        started = time.process_time()
    row = {"chosen": best.epoch, "cpu_seconds": round(spent, 1), "epochs": epochs}
    return row, best, state, pictures


def main() -> None:
    made = parser(__doc__, seeds=3, resumes=True)
    made.add_argument("--ship", action="store_true")
    options = made.parse_args()
    torch.set_num_threads(1)
    pixels = load("mnist", fallback=False).pixels
    facts = {"config": vars(recipe(NAME)), "held_out": HELD_OUT}
    result = begin("stopping", facts, out=options.out, fresh=options.fresh)

    def one_run(seed: int) -> dict:
        row, best, state, pictures = run(seed, pixels)
        if options.ship and seed == options.seeds[0] and best.G is not None:
            facts = {"chosen_epoch": best.epoch, "held_out": HELD_OUT, **machine()}
            store(best.G, state, pictures, facts, ASSETS, FIGURES)
        return row

    over_seeds("stopping", result, options.seeds, one_run, out=Path(options.out))


if __name__ == "__main__":
    main()
