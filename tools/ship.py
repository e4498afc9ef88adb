"""Store a trained generator in ganlib/assets: weights with json and scores, fixed noise of its epochs, a picture of it.

`ship.py mnist` trains the recipe mnist first; `ship.py runs/faces` takes what `python -m ganlib train` left there.
"""

import os
import platform
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from ganlib.checkpoint import ASSETS, load_checkpoint, save_generator
from ganlib.config import recipe
from ganlib.data import load
from ganlib.metrics import CLASSIFIERS, load_classifier, score
from ganlib.models import draw_noise, sample
from ganlib.pixels import denormalize, normalize
from ganlib.reader import covered
from ganlib.show import save_tile
from ganlib.train import fit, new_state

FIGURES = Path(__file__).parents[1] / "book" / "figures"
SHOWN, MOST_EPOCHS = 16, 41  # images of each epoch; of a longer run about every n-th epoch is stored
MACHINE = f"{torch.get_num_threads()} threads of a {os.cpu_count()}-core {platform.machine()} CPU"


def ship(name):
    """Train the recipe called `name`, or take the run in the folder `name`, and write its assets and its picture."""
    state, epochs = take(Path(name)) if Path(name).is_dir() else train(name)
    config, path = state.config, ASSETS / f"{state.config.recipe}.pt"
    facts = {"history": state.history, "machine": MACHINE, "scores": scores_of(state.best_g, config)}
    save_generator(state.best_g, config, path, **facts)
    images = torch.stack(list(epochs.values())).numpy()
    np.savez_compressed(path.with_name(f"{path.stem}-epochs.npz"), epochs=list(epochs), images=images)
    draw_strip(epochs, FIGURES / f"training-{path.stem}.png")


def train(name):
    """Train the recipe called `name` -> its State, and {epoch: bytes (SHOWN, C, H, W)} of fixed noise."""
    config = recipe(name)
    images, state = load(config.dataset, fallback=False, size=config.image_size), new_state(config)
    z = draw_noise(SHOWN, config.latent_dim, seed=1)
    epochs = {0: denormalize(sample(state.best_g, z))}
    for record in tqdm(fit(state, images.pixels), total=config.epochs, unit="epoch"):
        epochs[record.epoch] = denormalize(sample(state.best_g, z))
    return state, epochs


def take(out):
    """Folder of a run -> its State, and {epoch: bytes (SHOWN, C, H, W)} cut out of its sample grids."""
    state = load_checkpoint(max((out / "checkpoints").glob("epoch-*.pt")))
    last = len(state.history)
    kept = {round(place * last / (MOST_EPOCHS - 1)) for place in range(MOST_EPOCHS)}
    paths = {epoch: out / "samples" / f"epoch-{epoch:04d}.png" for epoch in sorted(kept)}
    return state, {epoch: cut(path, state.config) for epoch, path in paths.items()}


def cut(path, config, gap=2):
    """PNG file as ganlib.show.save_tile writes it, 8 in a row -> its first SHOWN images, bytes (SHOWN, C, H, W)."""
    picture, side = torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1), config.image_size
    places = [
        (gap + row * (side + gap), gap + column * (side + gap)) for row in range(SHOWN // 8) for column in range(8)
    ]
    return torch.stack([picture[: config.channels, y : y + side, x : x + side] for y, x in places])


def scores_of(G, config, count=10_000):
    """G's scores as a dict: coverage for avatars, against the test images where a classifier is shipped, else None."""
    if config.dataset == "avatars":
        noise = draw_noise(count, config.latent_dim, seed=0).split(1000)
        return {"covered": covered(torch.cat([sample(G, z) for z in noise])), "generated": count}
    if not (CLASSIFIERS / f"{config.dataset}.pt").is_file():
        return None
    real = normalize(load(config.dataset, train=False, fallback=False).pixels)
    noise = draw_noise(count, config.latent_dim, seed=0).split(1000)
    generated = normalize(torch.cat([denormalize(sample(G, z)) for z in noise]))
    return score(load_classifier(config.dataset), real, generated)._asdict()


def draw_strip(epochs, path):
    """{epoch: bytes (SHOWN, C, H, W)} -> a picture: one row of images for some of the epochs, and for the last."""
    wanted = [0, 1, 2, 4, 8, max(epochs)] if max(epochs) <= MOST_EPOCHS else [max(epochs) * k // 5 for k in range(6)]
    rows = sorted({min(epochs, key=lambda epoch: abs(epoch - target)) for target in wanted})
    picture = torch.cat([epochs[epoch] for epoch in rows])
    times = 3 if picture.shape[-1] < 64 else 1
    save_tile(picture.repeat_interleave(times, dim=2).repeat_interleave(times, dim=3), path, columns=SHOWN)


if __name__ == "__main__":
    for recipe_or_run in sys.argv[1:]:
        ship(recipe_or_run)
