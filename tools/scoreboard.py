"""Train a recipe on a data set from several seeds, score each run, store the row: scoreboard.py mnist mnist 0 1 2 3 4.

Writes ganlib/assets/experiments/scoreboard/RECIPE-on-DATASET.json after every run; a seed in it is not run again.
"""

import json
import os
import platform
import sys
import time

import torch

from ganlib.checkpoint import EXPERIMENTS
from ganlib.config import Config, GanlibError, recipe, replace
from ganlib.data import load
from ganlib.files import write_whole
from ganlib.metrics import load_classifier, score
from ganlib.models import draw_noise, sample
from ganlib.pixels import denormalize, normalize
from ganlib.train import fit, new_state

FOLDER = EXPERIMENTS / "scoreboard"
COUNT, NOISE = 10_000, 0  # generated images, and the seed of their noise: what `python -m ganlib score` takes
MARKS = 1, 2, 5, 10, 20, 50, 100, 150, 200  # epochs that are scored, and always the last


def judge(G, config, classifier, real):
    """A generator -> its Scores as a dict, from bytes as they would be in a file."""
    noise = draw_noise(COUNT, config.latent_dim, seed=NOISE).split(1000)
    generated = torch.cat([normalize(denormalize(sample(G, z))) for z in noise])
    return score(classifier, real, generated)._asdict()


def run(config, images, classifier, real):
    """Train one run -> its seed, images, scores by epoch, mean losses of every epoch, and seconds of processor time.

    The time of scoring is left out.
    """
    state, scores, spent, started = new_state(config), {}, 0.0, time.process_time()
    for record in fit(state, images.pixels):
        spent += time.process_time() - started
        if record.epoch in MARKS or record.epoch == config.epochs:
            scores[record.epoch] = judge(state.best_g, config, classifier, real)
            print(config.recipe, config.dataset, config.seed, record.epoch, scores[record.epoch], flush=True)
        started = time.process_time()
    history = [[record.epoch, *(round(value, 4) for value in record[1:6])] for record in state.history]
    return {
        "seed": config.seed, "cpu_seconds": round(spent, 1), "images": record.images_seen,
        "scores": scores, "history": history,
    }  # fmt: skip


def main(name, dataset, seeds):
    torch.set_num_threads(1)
    path = FOLDER / f"{name}-on-{dataset}.json"
    config = recipe(name, dataset=dataset)
    images = load(dataset, fallback=False)
    real = normalize(load(dataset, train=False, fallback=False).pixels[:COUNT])
    row = json.loads(path.read_text()) if path.is_file() else {"config": vars(config), "runs": []}
    if replace(Config(), **row["config"]) != config:  # a field that is younger than the row has its default there
        raise GanlibError(f"{path} holds runs of another config; move it away, or set the config back.")
    row |= {
        "machine": f"1 thread of a {os.cpu_count()}-core {platform.machine()} CPU", "torch": torch.__version__,
        "command": f"python tools/scoreboard.py {name} {dataset} {' '.join(map(str, seeds))}",
    }  # fmt: skip
    for seed in seeds:
        if all(one["seed"] != seed for one in row["runs"]):
            row["runs"].append(run(recipe(name, dataset=dataset, seed=seed), images, load_classifier(dataset), real))
            write_whole(path, json.dumps(row).encode())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], [int(seed) for seed in sys.argv[3:]] or range(5))
