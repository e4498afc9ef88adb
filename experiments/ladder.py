"""From the textbook loop to ganlib's, one switch at a time: what each does for speed and for the score.

`ladder.py score` trains with each of them over several seeds, `ladder.py speed` lets them take turns; both write their
part of ganlib/assets/experiments/ladder.json.
"""

import json
import os
import platform
import statistics
import sys

import textbook
import torch
from bench import ganlib_loop, train_step

from ganlib.checkpoint import EXPERIMENTS
from ganlib.recipes import recipe
from ganlib.config import replace
from ganlib.data import load
from ganlib.files import write_atomic
from ganlib.sampling import sample_pixels
from ganlib.metrics import load_classifier, score
from ganlib.training import fit, new_state

CPU = f"{os.cpu_count()}-core {platform.machine()} CPU with {torch.backends.cpu.get_cpu_capability()}"
PATH = EXPERIMENTS / "ladder.json"
EPOCHS, SEEDS, BATCHES = 2, range(3), 100
BASE = recipe("mnist", epochs=EPOCHS, real_label=1.0, dropout=0.0, ema_decay=0.0)  # what the textbook loop can do too
SETTINGS = textbook.MLP | {"learning_rate": BASE.learning_rate_g, "betas": (BASE.beta1, BASE.beta2)}
LOOPS = {"textbook loop": ()} | {
    f"+ {name}": textbook.SWITCHES[: place + 1] for place, name in enumerate(textbook.SWITCHES)
}
CONFIGS = {
    "ganlib's loop": BASE,
    "+ averaged G": replace(BASE, ema_decay=0.998),
    "+ medium products": replace(BASE, ema_decay=0.998, matmul_precision="medium"),
    "+ bfloat16": replace(BASE, ema_decay=0.998, matmul_precision="medium", bfloat16=True),
    "+ compiled": replace(BASE, ema_decay=0.998, matmul_precision="medium", bfloat16=True, compiled=True),
}


def trained(name, seed, pixels):
    """Name of a rung and a seed -> the G that EPOCHS epochs of it make."""
    if name in CONFIGS:
        state = new_state(replace(CONFIGS[name], seed=seed))
        list(fit(state, pixels))
        return state.sampling_generator
    torch.manual_seed(seed)
    loop = textbook.Loop(textbook.Mlps(), SETTINGS, LOOPS[name])
    batches = textbook.Mnist(pixels if "one tensor" in LOOPS[name] else None)
    for _ in range(EPOCHS):
        loop.epoch(batches)
    return loop.G


def measure_scores(pixels):
    """Pixels -> {rung: Scores of each seed, as dicts}."""
    torch.set_num_threads(1)
    classifier, real = load_classifier("mnist"), load("mnist", train=False, fallback=False).pixels
    scores = {}
    for name in [*LOOPS, *CONFIGS]:
        scores[name] = []
        for seed in SEEDS:
            images = sample_pixels(trained(name, seed, pixels), BASE.latent_dim)
            scores[name].append(score(classifier, real, images)._asdict())
        print(name, [round(one["frechet"]) for one in scores[name]], flush=True)
    return scores


def measure_speed(pixels):
    """Pixels -> {rung: median images/s, and median ratio to the textbook loop round by round}."""
    loops = {}
    for name, on in LOOPS.items():
        loop = textbook.Loop(textbook.Mlps(), SETTINGS, on)
        batches = textbook.Mnist(pixels if "one tensor" in on else None)
        loops[name] = lambda loop=loop, batches=batches: loop.epoch(batches, BATCHES)
    loops |= {name: ganlib_loop(config, pixels, BATCHES) for name, config in CONFIGS.items()}
    rates = train_step(loops)
    pairs = {name: zip(values, rates["textbook loop"], strict=True) for name, values in rates.items()}
    return {
        name: {"rate": statistics.median(rates[name]), "ratio": statistics.median(a / b for a, b in pair)}
        for name, pair in pairs.items()
    }


def main(part):
    pixels = load("mnist", fallback=False).pixels
    stored = json.loads(PATH.read_text()) if PATH.is_file() else {}
    stored[part] = {"score": measure_scores, "speed": measure_speed}[part](pixels)
    stored |= {"epochs": EPOCHS, "seeds": len(SEEDS), "config": vars(BASE), "torch": torch.__version__}
    stored["machine"] = stored.get("machine", {}) | {part: f"{torch.get_num_threads()} threads of a {CPU}"}
    write_atomic(PATH, json.dumps(stored, indent=1).encode())
    print(json.dumps(stored[part], indent=1))


if __name__ == "__main__":
    main(sys.argv[1])
