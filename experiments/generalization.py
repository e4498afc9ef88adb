"""Label smoothing, dropout and logits, each on and off, on MNIST over several seeds.

    python -m experiments.generalization --seeds 0 1 2

The result holds every run's record of each epoch and its scores; its pictures are fixed
noise at EPOCHS, for seed 0. Runs with logits go on to LONG epochs and are scored again
there. A run that is stored already is not made again.
"""

import itertools
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy

from experiments.common import (
    begin,
    over_seeds,
    parser,
    read_images,
    score_generator,
    write_images,
)
from ganlib.config import replace
from ganlib.data import load
from ganlib.data.transforms import denormalize
from ganlib.recipes import recipe
from ganlib.sampling import sample_images, sample_noise
from ganlib.training import (
    TrainState,
    discriminator_step,
    fit,
    generator_step,
    new_state,
    train_step,
)

BASE = recipe("textbook-tuned", epochs=6, real_label=1.0)
EPOCHS = 0, 1, 2, 4, 6  # that pictures are kept of
LONG = 20  # epochs of a run with logits
SHOWN = 8
SWITCHES: dict[str, dict] = {
    "smoothing": {"real_label": 0.9},
    "dropout": {"dropout": 0.3},
    "logits": {},
}


def bce_discriminator_loss(
    real_logits: Tensor, fake_logits: Tensor, *, real_label: float
) -> Tensor:
    """discriminator_loss by way of a sigmoid and BCELoss: logits (N,) -> scalar."""
    real, fake = torch.sigmoid(real_logits), torch.sigmoid(fake_logits)
    real_loss = binary_cross_entropy(real, torch.full_like(real, real_label))
    return real_loss + binary_cross_entropy(fake, torch.zeros_like(fake))


def bce_generator_loss(fake_logits: Tensor) -> Tensor:
    """generator_loss by way of a sigmoid and BCELoss: logits (N,) -> scalar."""
    fake = torch.sigmoid(fake_logits)
    return binary_cross_entropy(fake, torch.ones_like(fake))


def bce_train_step(state: TrainState, real: Tensor) -> Tensor:
    """train_step with the losses of a D that ends in a sigmoid."""
    config = state.config
    z = torch.randn(len(real), config.latent_dim)
    d_loss_of = partial(bce_discriminator_loss, real_label=config.real_label)
    d_loss, real_logits, before = discriminator_step(
        state.G, state.D, state.optimizer_d, real, z, loss=d_loss_of
    )
    z = torch.randn(len(real), config.latent_dim)
    g_loss, after = generator_step(
        state.G, state.D, state.optimizer_g, z, loss=bce_generator_loss
    )
    probabilities = [logits.sigmoid().mean() for logits in (real_logits, before, after)]
    return torch.stack([d_loss, g_loss, *probabilities])


def subsets(names: dict[str, dict]) -> Iterator[tuple[str, ...]]:
    """Every choice of the names, from none to all."""
    for size in range(len(names) + 1):
        yield from itertools.combinations(names, size)


def train(
    on: tuple[str, ...], seed: int, pixels: Tensor
) -> tuple[dict[str, Any], Tensor]:
    """Train with some switches on -> the row, bytes (len(EPOCHS), SHOWN, 1, 28, 28).

    "history" and "scores" are those after BASE.epochs, "long_scores" those after LONG.
    """
    changes: dict[str, Any] = {}
    for switch in on:
        changes |= SWITCHES[switch]
    last = LONG if "logits" in on else BASE.epochs
    state = new_state(replace(BASE, epochs=last, seed=seed, **changes))
    z = sample_noise(SHOWN, BASE.latent_dim, seed=1)
    shown = [denormalize(sample_images(state.sampling_generator, z))]
    row: dict[str, Any] = {}
    turn = train_step if "logits" in on else bce_train_step
    for record in fit(state, pixels, turn=turn):
        if record.epoch in EPOCHS:
            shown.append(denormalize(sample_images(state.sampling_generator, z)))
        if record.epoch == BASE.epochs:
            row |= {"history": list(state.history), "scores": score_generator(state)}
    if last > BASE.epochs:
        row["long_scores"] = score_generator(state)
    return row, torch.stack(shown)


def main() -> None:
    options = parser(__doc__, seeds=3, resumes=True).parse_args()
    torch.set_num_threads(1)
    pixels = load("mnist", fallback=False).pixels
    facts = {"base": vars(BASE), "epochs": EPOCHS, "long": LONG}
    result = begin("generalization", facts, out=options.out, fresh=options.fresh)
    images = read_images("generalization", options.out)

    def run(seed: int, *, on: tuple[str, ...]) -> dict:
        row, shown = train(on, seed, pixels)
        if seed == 0:
            images["+".join(on) or "none"] = shown
            write_images("generalization", images, options.out)
        print(on, seed, row["scores"], row.get("long_scores"), flush=True)
        return row

    for seed, on in itertools.product(options.seeds, subsets(SWITCHES)):
        over_seeds(
            "generalization",
            result,
            [seed],
            partial(run, on=on),
            out=options.out,
            on=list(on),
        )


if __name__ == "__main__":
    main()
