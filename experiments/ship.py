"""Store a trained generator in ganlib/assets: weights with json and scores, fixed noise of its epochs, a picture of it.

`ship.py mnist` trains the recipe mnist first; `ship.py runs/faces` takes what `python -m ganlib train` left there.
`ship.py --scores mnist faces` scores networks that are shipped already anew: their json changes, their weights do not.
"""

import json
import os
import platform
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from ganlib.data.avatars import common
from ganlib.checkpoint import ASSETS, load_checkpoint, load_generator, save_generator
from ganlib.recipes import recipe
from ganlib.data import load
from ganlib.files import write_atomic
from ganlib.metrics import subsample, score
from ganlib.sampling import sample_pixels
from ganlib.sampling import sample_noise, sample_images
from ganlib.data.transforms import denormalize
from ganlib.metrics.classifiers import load_feature_extractor
from ganlib.plotting import save_image_grid
from ganlib.training import fit, new_state
from ganlib.weights import read_weights

FIGURES = Path(__file__).parents[1] / "book" / "figures"
SHOWN, MOST_EPOCHS = 16, 41  # images of each epoch; of a longer run about every n-th epoch is stored
SHOWN_LARGE, MOST_EPOCHS_LARGE = 8, 13  # the same for images in colour, of which each has 16 times as many bytes
MACHINE = f"{torch.get_num_threads()} threads of a {os.cpu_count()}-core {platform.machine()} CPU"


def ship(name):
    """Train the recipe called `name`, or take the run in the folder `name`, and write its assets and its picture."""
    state, epochs = take(Path(name)) if Path(name).is_dir() else train(name)
    config, path = state.config, ASSETS / f"{state.config.recipe}.pt"
    facts = {"machine": MACHINE, "scores": scores_of(state.sampling_generator, config)}
    models = sorted((Path(name) / "models").glob("*.pt")) if Path(name).is_dir() else []
    if models:
        facts["scores_by_epoch"] = {int(one.stem[6:]): scores_of(load_generator(one)[0], config) for one in models}
    facts["history"] = state.history  # last: the model cards show what stands before it
    save_generator(state.sampling_generator, config, path, **facts)
    images = torch.stack(list(epochs.values())).numpy()
    np.savez_compressed(path.with_name(f"{path.stem}-epochs.npz"), epochs=list(epochs), images=images)
    draw_strip(epochs, FIGURES / f"training-{path.stem}.png")


def train(name):
    """Train the recipe called `name` -> its TrainState, and {epoch: bytes (SHOWN, C, H, W)} of fixed noise."""
    config = recipe(name)
    images, state = load(config.dataset, fallback=False, size=config.image_size), new_state(config)
    z = sample_noise(SHOWN, config.latent_dim, seed=1)
    epochs = {0: denormalize(sample_images(state.sampling_generator, z))}
    for record in tqdm(fit(state, images.pixels), total=config.epochs, unit="epoch"):
        epochs[record.epoch] = denormalize(sample_images(state.sampling_generator, z))
    return state, epochs


def take(out):
    """Folder of a run -> its TrainState, and {epoch: bytes (N, C, H, W)} cut out of its sample grids."""
    newest = max((out / "checkpoints").glob("epoch-*.pt"))
    last = int(newest.stem.removeprefix("epoch-"))
    state = load_checkpoint(newest, epochs=last)  # a run that was stopped early says so
    shown, most = (SHOWN, MOST_EPOCHS) if state.config.channels == 1 else (SHOWN_LARGE, MOST_EPOCHS_LARGE)
    kept = {round(place * last / (most - 1)) for place in range(most)}
    paths = {epoch: out / "samples" / f"epoch-{epoch:04d}.png" for epoch in sorted(kept)}
    return state, {epoch: cut(path, state.config, shown) for epoch, path in paths.items()}


def cut(path, config, shown, *, gap=2, columns=8):
    """PNG file as ganlib.plotting.save_image_grid writes it -> its first images, bytes (shown, C, H, W)."""
    picture, side = torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1), config.image_size
    corners = [[gap + (side + gap) * place for place in divmod(number, columns)] for number in range(shown)]
    return torch.stack([picture[: config.channels, y : y + side, x : x + side] for y, x in corners])


def scores_of(G, config, count=10_000):
    """G's scores as a dict, and of avatars the share that is covered: what `python -m ganlib score` prints.

    Real are the test images, or all of CelebA, which is not divided.
    """
    real = load(config.dataset, train=False, fallback=False, size=config.image_size).pixels
    generated = sample_pixels(G, config.latent_dim, count=count)
    scores = score(load_feature_extractor(config.dataset), subsample(real, count), generated)._asdict()
    return {"covered": scores["classes"] / len(common()), **scores} if config.dataset == "avatars" else scores


def score_again(name):
    """Put fresh scores into the json of the shipped network `name`; the weights and the rest of the json stay."""
    path = ASSETS / f"{name}.pt"
    (_, about), (G, config) = read_weights(path), load_generator(name)
    history = about.pop("history")  # last: the model cards show what stands before it
    about |= {"scores": scores_of(G, config), "history": history}
    write_atomic(path.with_suffix(".json"), (json.dumps(about, indent=2) + "\n").encode())
    read_weights(path)
    print(name, about["scores"], flush=True)


def draw_strip(epochs, path):
    """{epoch: bytes (N, C, H, W)} -> a picture: one row of images for some of the epochs, and for the last."""
    wanted = [0, 1, 2, 4, 8, max(epochs)] if max(epochs) <= MOST_EPOCHS else [max(epochs) * k // 5 for k in range(6)]
    rows = sorted({min(epochs, key=lambda epoch: abs(epoch - target)) for target in wanted})
    picture = torch.cat([epochs[epoch] for epoch in rows])
    times = 3 if picture.shape[-1] < 64 else 1
    save_image_grid(picture.repeat_interleave(times, dim=2).repeat_interleave(times, dim=3), path, columns=len(epochs[0]))


if __name__ == "__main__":
    again = sys.argv[1:2] == ["--scores"]
    for name in sys.argv[1 + again :]:
        score_again(name) if again else ship(name)
