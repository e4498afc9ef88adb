"""Train the MNIST GAN with label smoothing, dropout and logits each on and off, over several seeds, and store it all.

Writes ganlib/assets/experiments/generalization.json (every run's record of every epoch, and its scores) and .npz (fixed
noise of every epoch, seed 0). A run that the json holds already is not made again.
"""

import itertools
import json
import sys
from contextlib import nullcontext
from unittest.mock import patch

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy

from ganlib.checkpoint import EXPERIMENTS
from ganlib.recipes import recipe
from ganlib.config import replace
from ganlib.data import load
from ganlib.files import write_atomic
from ganlib.metrics import load_classifier, score
from ganlib.sampling import sample_noise, sample_images
from ganlib.data.transforms import denormalize, normalize
from ganlib.training import fit, new_state

BASE = recipe("mnist", epochs=6, real_label=1.0, dropout=0.0)
SEEDS, SHOWN, COUNT = range(3), 8, 10_000
SWITCHES = {"smoothing": {"real_label": 0.9}, "dropout": {"dropout": 0.3}, "logits": {}}
EPOCHS = 0, 1, 2, 4, 6


def bce_losses():
    """What a D that ends in a sigmoid trains with: BCELoss on its probabilities, in place of the loss on logits."""

    def discriminator_loss(real_logits, fake_logits, *, real_label):
        real, fake = torch.sigmoid(real_logits), torch.sigmoid(fake_logits)
        real_loss = binary_cross_entropy(real, torch.full_like(real, real_label))
        return real_loss + binary_cross_entropy(fake, torch.zeros_like(fake))

    def generator_loss(fake_logits):
        fake = torch.sigmoid(fake_logits)
        return binary_cross_entropy(fake, torch.ones_like(fake))

    return patch.multiple("ganlib.train", discriminator_loss=discriminator_loss, generator_loss=generator_loss)


def run(on, seed, pixels, judge):
    """The switches that are on, and a seed -> (facts for the json, bytes (len(EPOCHS), SHOWN, 1, 28, 28))."""
    changes = {name: value for switch in on for name, value in SWITCHES[switch].items()}
    state = new_state(replace(BASE, seed=seed, **changes))
    z = sample_noise(SHOWN, BASE.latent_dim, seed=1)
    shown = [denormalize(sample_images(state.sampling_generator, z))]
    with nullcontext() if "logits" in on else bce_losses():
        for record in fit(state, pixels):
            if record.epoch in EPOCHS:
                shown.append(denormalize(sample_images(state.sampling_generator, z)))
    facts = {"on": list(on), "seed": seed, "history": state.history, "scores": judge(state.sampling_generator)._asdict()}
    return facts, torch.stack(shown)


def main(seeds):
    torch.set_num_threads(1)
    pixels = load("mnist", fallback=False).pixels
    real = normalize(load("mnist", train=False, fallback=False).pixels)
    classifier = load_classifier("mnist")

    def judge(G):
        noise = sample_noise(COUNT, BASE.latent_dim, seed=0).split(1000)
        return score(classifier, real, torch.cat([sample_images(G, z) for z in noise]))

    path = EXPERIMENTS / "generalization.json"
    runs = json.loads(path.read_text())["runs"] if path.is_file() else []
    pictures = dict(np.load(path.with_suffix(".npz"))) if path.with_suffix(".npz").is_file() else {}
    for seed, (*on,) in itertools.product(seeds, subsets(SWITCHES)):
        if any(one["on"] == on and one["seed"] == seed for one in runs):
            continue
        facts, shown = run(on, seed, pixels, judge)
        runs.append(facts)
        if seed == 0:
            pictures["+".join(on) or "none"] = shown.numpy()
            np.savez_compressed(path.with_suffix(".npz"), **pictures)
        write_atomic(path, json.dumps({"base": vars(BASE), "epochs": EPOCHS, "runs": runs}).encode())
        print(on, seed, facts["scores"], flush=True)


def subsets(names):
    return itertools.chain.from_iterable(itertools.combinations(names, size) for size in range(len(names) + 1))


if __name__ == "__main__":
    main([int(seed) for seed in sys.argv[1:]] or SEEDS)
