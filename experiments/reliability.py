"""Kill runs, feed the readers broken files, and write book/reliability.md.

python -m experiments.reliability
"""

import argparse
import os
import platform
import sys
from datetime import date
from pathlib import Path
from typing import Any

import torch

from experiments.common import ROOT, commit
from ganlib.checkpoint import KEPT
from tests.fuzz.broken_files import READERS, start_fuzzing
from tests.fuzz.killed_runs import kill_runs

PAGE = ROOT / "book" / "reliability.md"
TEMPLATE = Path(__file__).with_name("reliability.template.md")


def render(figures: dict[str, Any]) -> str:
    """The page, with these figures in it."""
    rows = []
    for name, (tried, refused) in figures["readers"].items():
        reader = READERS[name]
        counts = f"{tried:,} | {refused:,} | {tried - refused:,}"
        rows.append(f"| {reader.title} | {counts} | {reader.accepted} |")
    cores = f"{os.cpu_count()} {platform.machine()} cores"
    torch_version = str(torch.__version__).split("+")[0]
    facts = {
        "rows": "\n".join(rows),
        "date": date.today(),
        "commit": commit(),
        "machine": f"{cores}, {platform.system()}, torch {torch_version}",
        "kept": KEPT,
    }
    return TEMPLATE.read_text(encoding="utf-8").format(**facts, **figures)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--inputs", type=int, default=22_000, help="broken files")
    parser.add_argument("--seconds", type=float, default=3600, help="for broken files")
    parser.add_argument("--out", type=Path, default=PAGE)
    options = parser.parse_args()
    torch.set_num_threads(1)
    fuzzed = start_fuzzing(options.inputs, options.seconds)  # beside the killed runs
    figures = kill_runs(options.kills) | fuzzed()
    if figures["failures"]:
        sys.exit("\n".join(figures["failures"]) + "\nThe page was not written.")
    options.out.write_text(render(figures), encoding="utf-8")
    print(f"{options.out} is written.")


if __name__ == "__main__":
    main()
