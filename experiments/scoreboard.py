"""Train a recipe on a data set from several seeds, score each run, store the row: scoreboard.py mnist mnist 0 1 2 3 4.

Writes ganlib/assets/experiments/scoreboard/RECIPE-on-DATASET.json after every run; a seed in it is not run again.
Without arguments it writes the page book/scoreboard.md from all the rows that are there.
"""

import json
import os
import platform
import statistics
import sys
import time
from pathlib import Path

import torch

from ganlib.checkpoint import EXPERIMENTS
from ganlib.config import Config, replace
from ganlib.errors import GanlibError
from ganlib.recipes import recipe
from ganlib.data import load
from ganlib.files import write_atomic
from ganlib.metrics import subsample, score
from ganlib.sampling import sample_pixels
from ganlib.metrics.classifiers import load_feature_extractor
from ganlib.training import fit, new_state

CPU = f"{os.cpu_count()}-core {platform.machine()} CPU with {torch.backends.cpu.get_cpu_capability()}"
FOLDER = EXPERIMENTS / "scoreboard"
PAGE = Path(__file__).parents[1] / "book" / "scoreboard.md"
TEMPLATE = Path(__file__).with_name("scoreboard.template.md")
DATASETS = "mnist", "fashion-mnist"
MEASURES = {
    "frechet": "Fréchet", "kid": "KID", "precision": "Prec.", "recall": "Recall", "density": "Dens.",
    "coverage": "Cov.", "classes": "Classes", "kl": "KL",
}  # fmt: skip
TEXTBOOK_MARKS = 20, 200
MARKS = 1, 2, 5, 10, 20, 50, 100, 150, 200  # epochs that are scored, and always the last


def run(config, pixels, judge, real):
    """Train one run -> its seed, images, scores by epoch, mean losses of every epoch, and seconds of processor time.

    The time of scoring is left out.
    """
    state, scores, spent, started = new_state(config), {}, 0.0, time.process_time()
    for record in fit(state, pixels):
        spent += time.process_time() - started
        if record.epoch in MARKS or record.epoch == config.epochs:
            scores[record.epoch] = score(judge, real, sample_pixels(state.sampling_generator, config.latent_dim))._asdict()
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
    settings = {"fallback": False, "size": config.image_size}
    pixels, unseen = (load(dataset, train=train, **settings).pixels for train in (True, False))
    judge, real = load_feature_extractor(dataset), subsample(unseen, 10_000)
    row = json.loads(path.read_text()) if path.is_file() else {"config": vars(config), "runs": []}
    if replace(Config(), **row["config"]) != config:  # a field that is younger than the row has its default there
        raise GanlibError(f"{path} holds runs of another config; move it away, or set the config back.")
    row |= {
        "machine": f"1 thread of a {CPU}", "torch": torch.__version__,
        "command": f"python tools/scoreboard.py {name} {dataset} {' '.join(map(str, seeds))}",
    }  # fmt: skip
    for seed in seeds:
        if all(one["seed"] != seed for one in row["runs"]):
            row["runs"].append(run(recipe(name, dataset=dataset, seed=seed), pixels, judge, real))
            write_atomic(path, json.dumps(row).encode())


def cell(runs, epoch, measure):
    """Mean ± standard deviation over seeds of one measure at one epoch, with as many digits as it deserves."""
    values = [run["scores"][epoch][measure] for run in runs]
    digits = {"frechet": 0, "kid": 0, "classes": 0, "kl": 3}.get(measure, 2)
    mean, spread = statistics.mean(values), statistics.stdev(values)
    return f"{mean:.{digits}f}\u202f±\u202f{spread:.{digits}f}"  # one unbroken word


def table(dataset):
    """Data set name -> lines of its table: a line for each recipe, and for each scored epoch of the textbook's."""
    lines = ["| Recipe | Epochs | " + " | ".join(MEASURES.values()) + " |", "|---" * (2 + len(MEASURES)) + "|"]
    found = []
    for path in FOLDER.glob(f"*-on-{dataset}.json"):
        row, name = json.loads(path.read_text()), path.stem.removesuffix(f"-on-{dataset}")
        for epoch in TEXTBOOK_MARKS if name == "textbook" else [row["config"]["epochs"]]:
            scores = [cell(row["runs"], str(epoch), measure) for measure in MEASURES]
            found.append((scores[0], f"| `{name}` | {epoch} | " + " | ".join(scores) + " |"))
    return lines + [line for _, line in sorted(found, key=lambda pair: float(pair[0].split("\u202f")[0]))]


def rows():
    """(recipe and data set, content) of every stored row."""
    return [(path.stem.split("-on-"), json.loads(path.read_text())) for path in sorted(FOLDER.glob("*.json"))]


def costs():
    """Lines of the table that says what every row was made from."""
    lines = ["| Recipe | Data set | Seeds | Epochs | Images | Seconds | Machine |", "|---" * 7 + "|"]
    for (name, dataset), row in rows():
        runs = row["runs"]
        images, seconds = runs[0]["images"] / 1e6, statistics.mean(run["cpu_seconds"] for run in runs)
        facts = f"`{name}` | {dataset} | {len(runs)} | {row['config']['epochs']} | {images:.2g} | {seconds:,.0f}"
        lines.append(f"| {facts} | {row['machine']}, torch {row['torch']} |")
    return lines


def write_page():
    text = TEMPLATE.read_text()
    for dataset in DATASETS:
        text = text.replace(f"{{{dataset}}}", "\n".join(table(dataset)))
    commands = [row["command"] for _, row in rows()]
    text = text.replace("{costs}", "\n".join(costs())).replace("{commands}", "\n".join(commands))
    write_atomic(PAGE, text.encode())


if __name__ == "__main__":
    if sys.argv[1:]:
        main(sys.argv[1], sys.argv[2], [int(seed) for seed in sys.argv[3:]] or range(5))
    else:
        write_page()
