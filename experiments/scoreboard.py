"""Train a recipe on a data set from several seeds and score each run: one row.

    python -m experiments.scoreboard mnist fashion-mnist --seeds 0 1 2 3 4
    python -m experiments.scoreboard --page

The first stores the row of a recipe on a data set, after each run; the second writes
the page book/scoreboard.md from all rows that are stored.
"""

import json
import statistics
import time
from pathlib import Path

import torch
from torch import Tensor

from experiments.common import ROOT, begin, over_seeds, parser, score_generator
from ganlib import accelerate
from ganlib.config import Config, replace
from ganlib.data import load
from ganlib.files import write_atomic
from ganlib.recipes import recipe
from ganlib.results import RESULTS, load_result
from ganlib.training import new_state

FOLDER = RESULTS / "scoreboard"
PAGE = ROOT / "book" / "scoreboard.md"
TEMPLATE = Path(__file__).with_name("scoreboard.template.md")
DATASETS = "mnist", "fashion-mnist"
SEEDS = 5
MEASURES = {  # a score, its heading, and its digits behind the point
    "frechet": ("Fréchet", 0),
    "frechet_even": ("Even", 0),
    "kid": ("KID", 0),
    "precision": ("Prec.", 2),
    "recall": ("Recall", 2),
    "density": ("Dens.", 2),
    "coverage": ("Cov.", 2),
    "classes": ("Classes", 0),
    "kl": ("KL", 3),
}
TEXTBOOK_MARKS = 20, 200
MARKS = 1, 2, 5, 10, 20, 50, 100, 150, 200  # epochs that are scored, and the last


def run(config: Config, pixels: Tensor) -> dict:
    """Train one run -> images, scores by epoch, losses, seconds of processor time.

    The time of scoring is left out.
    """
    state = new_state(config)
    scores = {}
    spent = 0.0
    started = time.process_time()
    for record in accelerate.fit(state, pixels):
        spent += time.process_time() - started
        if record.epoch in MARKS or record.epoch == config.epochs:
            scores[record.epoch] = score_generator(state)
            where = config.recipe, config.dataset, config.seed, record.epoch
            print(*where, scores[record.epoch], flush=True)
        started = time.process_time()
    losses = []
    for record in state.history:
        means = [round(value, 4) for value in record[1:6]]
        losses.append([record.epoch, *means])
    return {
        "cpu_seconds": round(spent, 1),
        "images": record.images_seen,
        "scores": scores,
        "losses": losses,
    }


def add_row(
    name: str, dataset: str, seeds: list[int], *, out: Path, fresh: bool
) -> None:
    """Run a recipe on a data set from each of the seeds and store its row."""
    torch.set_num_threads(1)
    config = recipe(name, dataset=dataset)
    pixels = load(dataset, fallback=False, size=config.image_size).pixels
    result_name = f"scoreboard/{name}-on-{dataset}"
    row = begin(result_name, {"config": vars(config)}, out=out, fresh=fresh)

    def one_run(seed: int) -> dict:
        return run(replace(config, seed=seed), pixels)

    over_seeds(result_name, row, seeds, one_run, out=out)


def rows() -> list[tuple[str, str, dict]]:
    """(recipe, data set, content) of every stored row."""
    found = []
    for path in sorted(FOLDER.glob("*.json")):
        name, dataset = path.stem.split("-on-")
        found.append((name, dataset, json.loads(path.read_text(encoding="utf-8"))))
    return found


def cell(
    runs: list[dict], epoch: int, measure: str, *, more: int = 0
) -> tuple[float, str]:
    """A measure at an epoch: its mean over the seeds, and that ± standard deviation.

    A dash where older runs lack the measure.

    Args:
        more: digits than the measure usually has.
    """
    values = [run["scores"][str(epoch)].get(measure) for run in runs]
    if None in values:
        return float("nan"), "–"
    _, digits = MEASURES[measure]
    digits += more
    mean, spread = statistics.mean(values), statistics.stdev(values)
    # Narrow spaces that do not break: one word.
    return mean, f"{mean:.{digits}f}\u202f±\u202f{spread:.{digits}f}"


def table(dataset: str) -> list[str]:
    """Lines of the table of a data set, the best distance first.

    A line for each recipe, and one for each of TEXTBOOK_MARKS of the textbook's.
    """
    found = []
    for name, row_dataset, row in rows():
        if row_dataset != dataset:
            continue
        marks = TEXTBOOK_MARKS if name == "textbook" else [row["config"]["epochs"]]
        for epoch in marks:
            cells = [cell(row["runs"], epoch, measure) for measure in MEASURES]
            words = " | ".join(text for _, text in cells)
            distance, _ = cells[0]
            found.append((distance, f"| `{name}` | {epoch} | {words} |"))
    headings = " | ".join(heading for heading, _ in MEASURES.values())
    lines = [f"| Recipe | Epochs | {headings} |", "|---" * (2 + len(MEASURES)) + "|"]
    return lines + [line for _, line in sorted(found)]


def costs() -> list[str]:
    """Lines of the table that says what every row was made from."""
    lines = [
        "| Recipe | Data set | Seeds | Epochs | Images | Seconds | Machine | Code |"
    ]
    lines.append("|---" * 8 + "|")
    for name, dataset, row in rows():
        runs = row["runs"]
        seconds = statistics.mean(run["cpu_seconds"] for run in runs)
        cells = [
            f"`{name}`",
            dataset,
            str(len(runs)),
            str(row["config"]["epochs"]),
            f"{runs[0]['images'] / 1e6:.2g}",
            f"{seconds:,.0f}",
            f"{row['machine']}, torch {row['torch']}",
            f"`{row['commit']}`",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def commands() -> list[str]:
    """The command that makes each row anew."""
    lines = []
    for name, dataset, row in rows():
        seeds = " ".join(str(run["seed"]) for run in row["runs"])
        lines.append(
            f"python -m experiments.scoreboard {name} {dataset} --fresh --seeds {seeds}"
        )
    return lines


def real_images() -> list[str]:
    """Lines of the table of what real images score against the test images."""
    headings = " | ".join(heading for heading, _ in MEASURES.values())
    lines = [f"| Real images | {headings} |", "|---" * (1 + len(MEASURES)) + "|"]
    for dataset, parts in load_result("real_images")["scores"].items():
        runs = [{"scores": {"0": scores}} for scores in parts]
        cells = [cell(runs, 0, measure, more=1)[1] for measure in MEASURES]
        lines.append(f"| {dataset} | {' | '.join(cells)} |")
    return lines


def page() -> str:
    """The text of book/scoreboard.md."""
    text = TEMPLATE.read_text(encoding="utf-8")
    text = text.replace("{real}", "\n".join(real_images()))
    for dataset in DATASETS:
        text = text.replace(f"{{{dataset}}}", "\n".join(table(dataset)))
    text = text.replace("{costs}", "\n".join(costs()))
    return text.replace("{commands}", "\n".join(commands()))


def main() -> None:
    made = parser(__doc__, seeds=SEEDS, resumes=True)
    made.add_argument("recipe", nargs="?")
    made.add_argument("dataset", nargs="?")
    made.add_argument(
        "--page", action="store_true", help="write the page, train nothing"
    )
    options = made.parse_args()
    if options.page:
        write_atomic(PAGE, page().encode())
        return
    if options.dataset is None:
        made.error("give a recipe and a data set, or --page")
    add_row(
        options.recipe,
        options.dataset,
        options.seeds,
        out=options.out,
        fresh=options.fresh,
    )


if __name__ == "__main__":
    main()
