"""Write the table of results into README.md, from what is stored in ganlib/assets.

    python -m scripts.results_table

A recipe has the runs of the scoreboard, one for each seed, or else the one run whose
network ships with ganlib.
"""

import statistics
from pathlib import Path

from ganlib.checkpoint import read_metadata, shipped
from ganlib.recipes import RECIPES
from ganlib.results import RESULTS, load_result

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- results -->\n", "<!-- end of results -->\n"
SCORES = {"frechet": 0, "precision": 2, "recall": 2}  # digits behind the point
HEAD = (
    "| Recipe | Data | Minutes | Machine | Fréchet | Precision | Recall | Seeds |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- |\n"
)


def table() -> str:
    """The table in Markdown, the recipes in the order of ganlib/recipes.py."""
    rows = [row for row in map(row_of, RECIPES) if row]
    return HEAD + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def row_of(name: str) -> list[str]:
    """The cells of a recipe; none if there is neither a row of scores nor a network."""
    dataset = RECIPES[name].dataset
    row = f"scoreboard/{name}-on-{dataset}"
    if (RESULTS / f"{row}.json").is_file():
        result = load_result(row)
        last = str(result["config"]["epochs"])
        scores = [run["scores"][last] for run in result["runs"]]
        seconds = statistics.mean(run["cpu_seconds"] for run in result["runs"])
        machine, seeds = result["machine"], len(scores)
    elif name in shipped():
        facts = read_metadata(name)
        scores = [facts["scores"]] if "scores" in facts else []
        *_, seconds = facts["history"][-1]
        machine, seeds = facts["machine"].replace("1 threads", "1 thread"), 1
    else:
        return []
    cells = [f"`{name}`", dataset, f"{seconds / 60:.1f}", machine]
    for score, digits in SCORES.items():
        cells.append(spread([run[score] for run in scores], digits))
    return [*cells, str(seeds)]


def spread(values: list[float], digits: int) -> str:
    """Mean ± standard deviation of several values, one value as it is, or a dash."""
    if not values:
        return "–"
    text = f"{statistics.mean(values):.{digits}f}"
    if len(values) > 1:
        text += f" ± {statistics.stdev(values):.{digits}f}"
    return text


def in_readme() -> str:
    """The table that stands in README.md."""
    return README.read_text().split(BEGIN)[1].split(END)[0]


def main() -> None:
    text = README.read_text()
    README.write_text(text.replace(BEGIN + in_readme(), BEGIN + table()))


if __name__ == "__main__":
    main()
