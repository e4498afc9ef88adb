"""Training with one process and with two (Gloo, one thread each), taking turns.

    python -m experiments.scaling

About a minute on two free cores. Each process has its own batch of the size stated.
While one process is measured, the other waits without using its core.
"""

import os
import statistics
import subprocess
import sys
import time

import torch
import torch.distributed as dist
from torch import Tensor

from experiments.common import parser, write_result
from ganlib.accelerate.distributed import distribute, is_main, process_group
from ganlib.recipes import recipe
from ganlib.training import (
    Sampler,
    TrainState,
    new_state,
    shuffled_batches,
    train_epoch,
)

ROUNDS = 5
PLAIN_FACES = recipe("faces", bfloat16=False, channels_last=False)
WORK = {  # name -> config, and batches in one measurement
    "MLP, batch 100": (recipe("textbook"), 60),
    "resize-conv with 32 channels, batch 64": (PLAIN_FACES, 2),
}


def rate(state: TrainState, pixels: Tensor, sampler: Sampler) -> float:
    """Seconds of one pass over bytes (N, C, H, W) -> images/s."""
    started = time.perf_counter()
    train_epoch(state, pixels, sampler=sampler)
    return len(pixels) / (time.perf_counter() - started)


def measure(rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Images/s of one process and of two by rounds, as seen by the first of the two."""
    pairs: dict[str, list[tuple[float, float]]] = {name: [] for name in WORK}
    runs = {}
    for name, (config, batches) in WORK.items():
        count = 2 * config.batch_size * batches
        generator = torch.Generator().manual_seed(0)
        shape = count, *config.image_shape
        pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
        together = new_state(config)
        sampler = distribute(together, pixels)
        runs[name] = new_state(config), together, pixels, sampler
    for _ in range(rounds + 1):
        for name, (alone, together, pixels, sampler) in runs.items():
            dist.barrier()
            one = 0.0
            if is_main():
                one = rate(alone, pixels[: len(pixels) // 2], shuffled_batches)
            dist.barrier()
            pairs[name].append((one, rate(together, pixels, sampler)))
    return {name: values[1:] for name, values in pairs.items()}  # the first warms up


def table(pairs: dict[str, list[tuple[float, float]]]) -> list[dict]:
    """What `measure` gives -> rows: medians, and the ratio round by round."""
    rows = []
    for name, values in pairs.items():
        ratios = [two / one for one, two in values]
        rows.append(
            {
                "work": name,
                "one": round(statistics.median(one for one, _ in values)),
                "two": round(statistics.median(two for _, two in values)),
                "times": round(statistics.median(ratios), 2),
                "least": round(min(ratios), 2),
                "most": round(max(ratios), 2),
            }
        )
    return rows


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--rounds", type=int, default=ROUNDS)
    options = made.parse_args()
    if "RANK" not in os.environ:
        torchrun = "-m torch.distributed.run --standalone --nproc-per-node=2".split()
        script = ["-m", "experiments.scaling", *sys.argv[1:]]
        raise SystemExit(subprocess.call([sys.executable, *torchrun, *script]))
    load = os.getloadavg()[0]
    torch.set_num_threads(1)
    with process_group("cpu"):
        pairs = measure(options.rounds)
    if not is_main():
        return
    rows = table(pairs)
    result = {
        "rounds": options.rounds,
        "rows": rows,
        "cores": os.cpu_count(),
        "load_at_the_start": round(load, 2),
    }
    write_result("scaling", result, options.out)
    for row in rows:
        print(f"{row['work']:40} {row['one']:7,} {row['two']:7,} images/s, ", end="")
        print(f"{row['times']} times ({row['least']} to {row['most']})")


if __name__ == "__main__":
    main()
