"""How long until the Fréchet distance of the textbook recipe's 200 epochs on MNIST is reached? Ten seeds, as json.

The recipe mnist-speedrun takes turns with the textbook loop, whose time for 200 epochs follows from the images that it
manages a second in the same minutes: with torch's own products of matrices, with those of the precision "medium", which
is the recipe as it stands, and in bfloat16. Scoring is not timed.
"""

import json
import os
import platform
import statistics

import textbook
import torch

from ganlib.checkpoint import EXPERIMENTS
from ganlib.recipes import recipe
from ganlib.data import load
from ganlib.files import write_atomic
from ganlib.sampling import sample_pixels
from ganlib.metrics import extract_features, frechet_distance, load_classifier, score
from ganlib.training import fit, new_state

PATH, SEEDS, BATCHES, TEXTBOOK_EPOCHS = EXPERIMENTS / "time_to_quality.json", range(10), 200, 200
CPU = f"{os.cpu_count()}-core {platform.machine()} CPU with {torch.backends.cpu.get_cpu_capability()}"
KINDS = {"float32": {"matmul_precision": "highest"}, "medium": {}, "bfloat16": {"bfloat16": True}}


def target():
    """The mean Fréchet distance of the textbook recipe after 200 epochs, over the seeds of the scoreboard."""
    runs = json.loads((EXPERIMENTS / "scoreboard" / "textbook-on-mnist.json").read_text())["runs"]
    return statistics.mean(run["scores"][str(TEXTBOOK_EPOCHS)]["frechet"] for run in runs)


def run(config, pixels, classifier, real, goal):
    """One run of the recipe -> seconds when the goal was reached (None if not), distance and seconds of each epoch."""
    state, epochs, real_features = new_state(config), [], extract_features(classifier, real)
    for record in fit(state, pixels):
        images = sample_pixels(state.sampling_generator, config.latent_dim)
        distance = frechet_distance(real_features, extract_features(classifier, images))
        epochs.append({"seconds": record.seconds, "frechet": distance})
    reached = [epoch["seconds"] for epoch in epochs if epoch["frechet"] <= goal]
    scores = score(classifier, real, images)._asdict()
    return {"seed": config.seed, "reached": reached[0] if reached else None, "epochs": epochs, "scores": scores}


def main():
    goal, classifier, pixels = target(), load_classifier("mnist"), load("mnist", fallback=False).pixels
    real = load("mnist", train=False, fallback=False).pixels
    loop, batches = textbook.Loop(textbook.Mlps(), textbook.MLP), textbook.Mnist()
    loop.epoch(batches, BATCHES)  # warms up
    rates, runs = [], {kind: [] for kind in KINDS}
    for seed in SEEDS:
        rates.append(loop.epoch(batches, BATCHES))
        for kind, changes in KINDS.items():
            runs[kind].append(run(recipe("mnist-speedrun", seed=seed, **changes), pixels, classifier, real, goal))
            print(kind, seed, runs[kind][-1]["reached"], runs[kind][-1]["scores"], flush=True)
        facts = {
            "target": goal, "textbook_rates": rates,
            "textbook_seconds": TEXTBOOK_EPOCHS * len(pixels) / statistics.median(rates),
            "machine": f"{torch.get_num_threads()} threads of a {CPU}",
            "torch": torch.__version__, "runs": runs,
        }  # fmt: skip
        write_atomic(PATH, json.dumps(facts, indent=1).encode())
    for kind, row in runs.items():
        seconds = [one["reached"] for one in row]
        if None not in seconds:
            ratio = facts["textbook_seconds"] / statistics.mean(seconds)
            print(f"{kind}: {statistics.mean(seconds):.1f} s, {ratio:.0f} times as fast as the textbook loop")


if __name__ == "__main__":
    main()
