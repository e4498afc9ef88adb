"""beta1 0.9 against 0.5 at a learning rate of 0.001: distance after every epoch.

    python -m experiments.beta1 --seeds 0 1 2

All else is the textbook's recipe. 16 pictures of each run after its last epoch go beside
the result, under "0.9 seed 0" and so on.
"""

from functools import partial

import torch

from experiments.common import (
    COUNT,
    begin,
    distance,
    over_seeds,
    parser,
    read_images,
    write_images,
)
from ganlib.config import replace
from ganlib.data import load
from ganlib.data.transforms import denormalize
from ganlib.recipes import recipe
from ganlib.sampling import sample_images, sample_noise
from ganlib.training import fit, new_state

BASE = recipe("textbook", epochs=10, learning_rate_g=1e-3, learning_rate_d=1e-3)
BETAS = 0.9, 0.5
SHOWN = 16


def run(seed: int, *, beta1: float, images: dict) -> dict:
    """Train one run -> its distances; its pictures (SHOWN, 1, 28, 28) go to `images`."""
    state = new_state(replace(BASE, seed=seed, beta1=beta1))
    distances = []
    for record in fit(state, load("mnist", fallback=False).pixels):
        distances.append(distance(state))
        print(beta1, seed, record.epoch, round(distances[-1]), flush=True)
    z = sample_noise(SHOWN, BASE.latent_dim, seed=1)
    images[f"{beta1} seed {seed}"] = denormalize(sample_images(state.G, z))
    return {"distances": distances, "history": state.history}


def main() -> None:
    options = parser(__doc__, seeds=3, resumes=True).parse_args()
    torch.set_num_threads(1)
    facts = {"config": vars(BASE), "count": COUNT}
    result = begin("beta1", facts, out=options.out, fresh=options.fresh)
    images = read_images("beta1", options.out)
    for seed in options.seeds:
        for beta1 in BETAS:
            one = partial(run, beta1=beta1, images=images)
            over_seeds("beta1", result, [seed], one, out=options.out, beta1=beta1)
            write_images("beta1", images, options.out)


if __name__ == "__main__":
    main()
