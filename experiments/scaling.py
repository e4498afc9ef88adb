"""Measure training with one process and with two (Gloo, one thread each), taking turns, and store the table as json.

`python benchmarks/scaling.py` takes about a minute on two free cores. Each process has its own batch of the size
stated. While one process is measured the other waits, without using its core.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from contextlib import nullcontext
from datetime import date
from pathlib import Path
from unittest.mock import patch

import torch
import torch.distributed as dist

from ganlib.recipes import recipe
from ganlib.accelerate.distributed import joined, place
from ganlib.training import new_state, train_epoch

STORED = Path(__file__).parents[1] / "ganlib" / "assets" / "experiments" / "scaling.json"
ROUNDS = 5
FACES = recipe("faces", mirror=False, shift=0)
WORK = {  # name -> (config, batches in one measurement, do the ranks share BatchNorm's statistics?)
    "MLP, batch 100": (recipe("textbook"), 60, True),
    "DCGAN of width 32, batch 64": (FACES, 2, True),
    "the same, BatchNorm not shared": (FACES, 2, False),
}


def rate(state, pixels):
    """Images/s of one pass over bytes (N, C, H, W), by all the ranks of the TrainState together."""
    dist.barrier()
    started = time.perf_counter()
    train_epoch(state, pixels)
    return len(pixels) / (time.perf_counter() - started)


def measure():
    """What each of two ranks does -> {name: [(images/s of one process, of two), …]}, of which rank 0's counts."""
    torch.set_num_threads(1)
    alone = {name: new_state(config) for name, (config, *_) in WORK.items()}  # of one rank, being made before we join
    rates = {name: [] for name in WORK}
    with joined("cpu"):
        both = {}
        for name, (config, _, shared) in WORK.items():
            with nullcontext() if shared else patch("ganlib.train.share_statistics"):
                both[name] = new_state(config)
        for _ in range(ROUNDS + 1):
            for name, (config, batches, _) in WORK.items():
                count = config.batch_size * batches
                pixels = torch.randint(0, 256, (2 * count, *config.image_shape)).byte()
                one = rate(alone[name], pixels[:count]) if place()[0] == 0 else dist.barrier()
                rates[name].append((one, rate(both[name], pixels)))
    return {name: pairs[1:] for name, pairs in rates.items()}  # the first round warms up


def table(rates):
    """What `measure` gives -> rows of numbers: medians, and the ratio round by round."""
    rows = []
    for name, pairs in rates.items():
        ratios = [two / one for one, two in pairs]
        one, two = (round(statistics.median(column)) for column in zip(*pairs, strict=True))
        span = {"times": statistics.median(ratios), "least": min(ratios), "most": max(ratios)}
        rows.append({"work": name, "one": one, "two": two} | {key: round(value, 2) for key, value in span.items()})
    return rows


def main():
    if "RANK" not in os.environ:
        flags = "--standalone", "--nproc-per-node=2"
        raise SystemExit(subprocess.call([sys.executable, "-m", "torch.distributed.run", *flags, __file__]))
    load = os.getloadavg()[0]
    rates = measure()
    if place()[0] == 0:
        rows = table(rates)
        about = {"made_by": "benchmarks/scaling.py", "date": str(date.today()), "rounds": ROUNDS, "rows": rows}
        about |= {"machine": platform.machine(), "cores": os.cpu_count(), "threads_per_process": 1}
        about |= {"load_at_the_start": round(load, 2), "python": platform.python_version(), "torch": torch.__version__}
        STORED.write_text(json.dumps(about, indent=1) + "\n")
        for row in rows:
            print(f"{row['work']:36} {row['one']:7,} {row['two']:7,} images/s, {row['times']} times", end=" ")
            print(f"({row['least']} to {row['most']})")


if __name__ == "__main__":
    main()
