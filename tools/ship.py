"""Train a recipe and store it in ganlib/assets: weights with json, fixed noise of every epoch, a picture of it."""

import os
import platform
import sys
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from ganlib.checkpoint import ASSETS, save_generator
from ganlib.config import recipe
from ganlib.data import load
from ganlib.models import draw_noise, sample
from ganlib.pixels import denormalize
from ganlib.show import save_tile
from ganlib.train import fit, new_state

FIGURES = Path(__file__).parents[1] / "book" / "figures"


def ship(name):
    """Train the recipe called `name` and write its three assets and the landing page's picture."""
    config = recipe(name)
    images = load(config.dataset, fallback=False)
    state = new_state(config)
    z = draw_noise(16, config.latent_dim, seed=1)
    epochs = [denormalize(sample(state.best_g, z))]
    for _ in tqdm(fit(state, images.pixels), total=config.epochs, unit="epoch"):
        epochs.append(denormalize(sample(state.best_g, z)))
    machine = f"{torch.get_num_threads()} threads of a {os.cpu_count()}-core {platform.machine()} CPU"
    save_generator(state.best_g, config, ASSETS / f"{name}.pt", history=state.history, machine=machine)
    np.savez_compressed(ASSETS / f"{name}-epochs.npz", images=torch.stack(epochs).numpy())
    draw_strip(epochs, FIGURES / f"training-{name}.png")


def draw_strip(epochs, path):
    """A list of bytes (16, C, H, W), one entry per epoch -> a picture: one row of images for some of the epochs."""
    rows = [epoch for epoch in (0, 1, 2, 4, 8, len(epochs) - 1) if epoch < len(epochs)]
    picture = torch.cat([epochs[epoch] for epoch in rows])
    save_tile(picture.repeat_interleave(3, dim=2).repeat_interleave(3, dim=3), path, columns=16)


if __name__ == "__main__":
    for recipe_name in sys.argv[1:]:
        ship(recipe_name)
