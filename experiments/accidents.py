"""Short runs in which one thing is wrong, beside one in which nothing is.

    python -m experiments.accidents --seeds 0

For the exercises, which ask what is wrong with a curve. 10,000 images of MNIST and 20
epochs each; SHOWN pictures of each run after its last epoch go beside the result. D gets
what G draws, so every picture and every number is of G itself: there is no average.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from experiments.common import begin, over_seeds, parser, read_images, write_images
from ganlib.config import replace
from ganlib.data import load
from ganlib.data.transforms import denormalize
from ganlib.losses import discriminator_loss, generator_loss
from ganlib.recipes import recipe
from ganlib.sampling import sample_images, sample_noise
from ganlib.training import (
    TrainState,
    Turn,
    discriminator_step,
    fit,
    generator_step,
    new_state,
    train_step,
)

NAME = "accidents"
HEALTHY = recipe("textbook-tuned", epochs=20, ema_decay=0.0)
IMAGES = 10_000
SHOWN = 16
Loss = Callable[..., Tensor]


def turn_with(d_loss_of: Loss, g_loss_of: Loss, probability: Loss) -> Turn:
    """A turn like `train_step` with other losses, and another reading of D's output."""

    def turn(state: TrainState, real: Tensor) -> Tensor:
        z, more_z = torch.randn(2, len(real), state.config.latent_dim)
        d_loss, real_logits, before = discriminator_step(
            state.G, state.D, state.optimizer_d, real, z, loss=d_loss_of
        )
        g_loss, after = generator_step(
            state.G, state.D, state.optimizer_g, more_z, loss=g_loss_of
        )
        opinions = [probability(one).mean() for one in (real_logits, before, after)]
        return torch.stack([d_loss, g_loss, *opinions])

    return turn


def swapped_generator_loss(fake_logits: Tensor) -> Tensor:
    """G asks to be called generated."""
    return binary_cross_entropy_with_logits(fake_logits, torch.zeros_like(fake_logits))


def sigmoid_twice_discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """D ends in a sigmoid, and the loss takes another one."""
    return discriminator_loss(real.sigmoid(), fake.sigmoid())


def sigmoid_twice_generator_loss(fake: Tensor) -> Tensor:
    return generator_loss(fake.sigmoid())


ACCIDENTS: dict[str, tuple[dict[str, Any], Turn]] = {
    "healthy": ({}, train_step),
    "D has won": (
        {"learning_rate_d": 2e-3, "learning_rate_g": 2e-5, "real_label": 1.0},
        train_step,
    ),
    "collapsed": ({"learning_rate_d": 5e-5}, train_step),
    "labels swapped": (
        {"real_label": 1.0},
        turn_with(discriminator_loss, swapped_generator_loss, torch.sigmoid),
    ),
    "sigmoid twice": (
        {"learning_rate_g": 1e-4, "real_label": 1.0},
        turn_with(
            sigmoid_twice_discriminator_loss,
            sigmoid_twice_generator_loss,
            lambda logits: logits.sigmoid().sigmoid(),
        ),
    ),
}


def run(seed: int, *, name: str, images: dict[str, Tensor]) -> dict[str, Any]:
    """One run -> its history; its pictures (SHOWN, 1, 28, 28) go to `images`."""
    changes, turn = ACCIDENTS[name]
    state = new_state(replace(HEALTHY, seed=seed, **changes))
    pixels = load("mnist", fallback=False).pixels[:IMAGES]
    for record in fit(state, pixels, turn=turn):
        print(name, [round(value, 2) for value in record[:6]], flush=True)
    z = sample_noise(SHOWN, HEALTHY.latent_dim, seed=1)
    images[f"{name} seed {seed}"] = denormalize(sample_images(state.G, z))
    return {"changes": changes, "history": state.history}


def main() -> None:
    options = parser(__doc__, seeds=1, resumes=True).parse_args()
    torch.set_num_threads(1)
    facts = {"config": vars(HEALTHY), "images": IMAGES}
    result = begin(NAME, facts, out=options.out, fresh=options.fresh)
    images = read_images(NAME, options.out)
    for seed in options.seeds:
        for name in ACCIDENTS:
            one = partial(run, name=name, images=images)
            over_seeds(NAME, result, [seed], one, out=options.out, accident=name)
            write_images(NAME, images, options.out)


if __name__ == "__main__":
    main()
