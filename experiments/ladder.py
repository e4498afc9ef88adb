"""From the textbook loop to ganlib's, one switch at a time: speed and score of each.

    python -m experiments.ladder --seeds 0 1 2

Scores are those of one thread; for the speed the loops take turns, with all threads.
There is a rung in bfloat16 where the processor has the arithmetic for it.
"""

import statistics

import torch
from torch import Tensor, nn

from experiments.bench import Rates, ganlib_loop, ratio, take_turns
from experiments.common import machine, parser, score_generator, write_result
from experiments.textbook_loop import MLP, SWITCHES, Mnist, TextbookLoop, mlps
from ganlib import accelerate
from ganlib.accelerate import multiplies_bfloat16
from ganlib.config import replace
from ganlib.data import load
from ganlib.recipes import recipe
from ganlib.training import new_state

EPOCHS = 2
BATCHES = 100  # in a round of the speed
# What the textbook loop can do too.
BASE = recipe("textbook-tuned", epochs=EPOCHS, real_label=1.0, ema_decay=0.0)
SETTINGS = {
    **MLP,
    "learning_rate": BASE.learning_rate_g,
    "betas": (BASE.beta1, BASE.beta2),
}
LOOPS: dict[str, tuple[str, ...]] = {"textbook loop": ()}
for place, switch in enumerate(SWITCHES):
    LOOPS[f"+ {switch}"] = SWITCHES[: place + 1]
AVERAGED = replace(BASE, ema_decay=0.998)
MEDIUM = replace(AVERAGED, matmul_precision="medium")
COMPILED = replace(MEDIUM, compile_step=True)
CONFIGS = {
    "ganlib's loop": BASE,
    "+ averaged G": AVERAGED,
    "+ medium precision": MEDIUM,
    "+ compiled": COMPILED,
}
if multiplies_bfloat16(torch.device("cpu")):
    CONFIGS["+ bfloat16"] = replace(COMPILED, bfloat16=True)


def trained(name: str, seed: int, pixels: Tensor) -> nn.Module:
    """The generator that EPOCHS epochs of a rung make from a seed."""
    if name in CONFIGS:
        state = new_state(replace(CONFIGS[name], seed=seed))
        for _ in accelerate.fit(state, pixels):
            pass
        return state.sampling_generator
    torch.manual_seed(seed)
    loop = TextbookLoop(*mlps(), SETTINGS, LOOPS[name])
    batches = Mnist(pixels if "one tensor" in LOOPS[name] else None)
    for _ in range(EPOCHS):
        loop.epoch(batches)
    return loop.G


def measure_scores(pixels: Tensor, seeds: list[int]) -> dict[str, list[dict]]:
    """{rung: scores of each seed}."""
    scores: dict[str, list[dict]] = {}
    for name in [*LOOPS, *CONFIGS]:
        scores[name] = []
        for seed in seeds:
            scores[name].append(score_generator(trained(name, seed, pixels), BASE))
        print(name, [round(one["frechet"]) for one in scores[name]], flush=True)
    return scores


def measure_speed(pixels: Tensor) -> dict[str, dict[str, float]]:
    """{rung: median images/s, and median ratio to the textbook loop, by rounds}."""
    loops = {}
    for name, on in LOOPS.items():
        loop = TextbookLoop(*mlps(), SETTINGS, on)
        batches = Mnist(pixels if "one tensor" in on else None)
        loops[name] = lambda loop=loop, batches=batches: loop.epoch(batches, BATCHES)
    for name, config in CONFIGS.items():
        loops[name] = ganlib_loop(config, pixels, BATCHES)
    rates: Rates = take_turns(loops)
    return {
        name: {
            "rate": statistics.median(values),
            "ratio": ratio(values, rates["textbook loop"]),
        }
        for name, values in rates.items()
    }


def main() -> None:
    options = parser(__doc__, seeds=3).parse_args()
    threads = torch.get_num_threads()
    pixels = load("mnist", fallback=False).pixels
    machines = {"speed": machine()["machine"]}
    speed = measure_speed(pixels)
    torch.set_num_threads(1)
    machines["score"] = machine()["machine"]
    result = {
        "config": vars(BASE),
        "epochs": EPOCHS,
        "seeds": len(options.seeds),
        "machine": machines,
        "speed": speed,
        "score": measure_scores(pixels, options.seeds),
    }
    torch.set_num_threads(threads)
    write_result("ladder", result, options.out)


if __name__ == "__main__":
    main()
