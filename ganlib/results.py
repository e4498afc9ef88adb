"""Stored results of experiments, for the pages that show them."""

import html
import json
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from ganlib.checkpoint import read_metadata, shipped
from ganlib.errors import GanlibError
from ganlib.recipes import RECIPES
from ganlib.training import Record

RESULTS = Path(__file__).parent / "assets" / "experiments"


def load_result(name: str) -> dict[str, Any]:
    """The stored result called `name`, as its script in experiments/ wrote it.

    The "history" of each of its "runs" comes back as a list of Records. Raises
    GanlibError that lists the known names.
    """
    path = RESULTS / f"{name}.json"
    if not path.is_file():
        _raise_unknown("result", name, ".json")
    result = json.loads(path.read_text(encoding="utf-8"))
    for run in result.get("runs", []):
        if isinstance(run, dict) and "history" in run:
            run["history"] = [Record(*row) for row in run["history"]]
    return result


def load_result_with_images(name: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The same, and the images stored beside it: {key: bytes}, shapes as stored."""
    result = load_result(name)
    path = RESULTS / f"{name}.npz"
    if not path.is_file():
        _raise_unknown("result with images", name, ".npz")
    with np.load(path) as file:
        return result, {key: torch.from_numpy(file[key]) for key in file}


# Where the runs of a recipe are if not on the scoreboard, and which of them.
ELSEWHERE: dict[str, tuple[str, dict[str, Any]]] = {
    "mnist-long": ("stopping", {"seed": 0}),
    "mnist-conditional": ("conditional", {"dataset": "mnist", "kind": "concatenation"}),
    "fashion-mnist-conditional": (
        "conditional",
        {"dataset": "fashion-mnist", "kind": "concatenation"},
    ),
}


def summary(name: str) -> dict[str, Any] | None:
    """What is stored of the runs of a recipe, or of a network that ships.

    A recipe has several runs, one for each seed, or else the one run whose network
    ships with ganlib.

    Returns the dataset, the processor seconds of a run (None where they were not kept),
    the machine, the commits that trained and scored, the scores of each run, and of
    one run the spread of each score; None where nothing is stored.
    """
    result, runs = _runs_of(name)
    if not runs or "scores" not in runs[0]:
        return network_summary(name) if name in shipped() else None
    last = str(result.get("config", {}).get("epochs"))  # a scoreboard's has several
    return {
        "dataset": RECIPES[name].dataset,
        "seconds": _cpu_seconds(runs),
        "machine": result["machine"],
        "commits": [result["commit"]],
        "scores": [run["scores"].get(last, run["scores"]) for run in runs],
        "spread": {},
    }


def network_summary(name: str) -> dict[str, Any]:
    """The same of the one run whose network ships under this name."""
    facts = read_metadata(name)
    commits = facts["commit"], facts.get("scored", facts)["commit"]
    return {
        "dataset": facts["config"]["dataset"],
        "seconds": _cpu_seconds(_runs_of(name)[1]),
        "machine": facts["machine"].replace("1 threads", "1 thread"),
        "commits": list(dict.fromkeys(commits)),  # the two may be one
        "scores": [facts["scores"]] if "scores" in facts else [],
        "spread": facts.get("spread", {}),
    }


def _runs_of(name: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The result that has runs of a recipe, and these runs; empty if there is none."""
    if name not in RECIPES:
        return {}, []
    row = f"scoreboard/{name}-on-{RECIPES[name].dataset}"
    experiment, about = ELSEWHERE.get(name, (row, {}))
    if not (RESULTS / f"{experiment}.json").is_file():
        return {}, []
    result = load_result(experiment)
    return result, [run for run in result["runs"] if about.items() <= run.items()]


def _cpu_seconds(runs: list[dict[str, Any]]) -> float | None:
    """Processor seconds of a run: the mean over those for which they were kept."""
    kept = [run["cpu_seconds"] for run in runs if "cpu_seconds" in run]
    return statistics.mean(kept) if kept else None


def distance_text(stored: dict[str, Any]) -> str:
    """The Fréchet distance and its spread of what `summary` returned."""
    values = [scores["frechet"] for scores in stored["scores"]]
    digits = 1 if values and min(values) < 30 else 0
    return spread(values, digits, stored["spread"].get("frechet"))


def spread(values: list[float], digits: int, error: float | None = None) -> str:
    """Mean ± standard deviation of several values, or a dash if there are none.

    One value stands with its `error`, or as it is.
    """
    if not values:
        return "–"
    text = f"{statistics.mean(values):.{digits}f}"
    if len(values) > 1:
        error = statistics.stdev(values)
    return text if error is None else f"{text} ± {error:.{digits}f}"


class Table:
    """Rows of text below headings: a table in a notebook, aligned text elsewhere.

    Args:
        headings: one for each column.
        rows: as many values for each row. Columns but the first stand to the right.
    """

    def __init__(self, headings: Sequence[str], rows: Iterable[Sequence[object]]):
        self.lines = [list(headings), *([str(value) for value in row] for row in rows)]

    def __repr__(self) -> str:
        widths = [max(map(len, column)) for column in zip(*self.lines, strict=True)]
        texts = []
        for first, *others in self.lines:
            cells = [first.ljust(widths[0])]
            cells += map(str.rjust, others, widths[1:])
            texts.append("  ".join(cells).rstrip())
        return "\n".join(texts)

    def _repr_html_(self) -> str:
        head = _html_row(self.lines[0], "th")
        body = "".join(_html_row(line, "td") for line in self.lines[1:])
        return f"<table><thead>{head}</thead><tbody>{body}</tbody></table>"


def _html_row(values: list[str], kind: str) -> str:
    """A row of an HTML table with cells of the kind td or th."""
    sides = ["left", *["right"] * (len(values) - 1)]
    cells = [
        f'<{kind} style="text-align: {side}">{html.escape(value)}</{kind}>'
        for side, value in zip(sides, values, strict=True)
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _raise_unknown(what: str, name: str, ending: str) -> NoReturn:
    """Raise GanlibError that lists the results with a file of that ending."""
    paths = sorted(RESULTS.rglob(f"*{ending}"))
    known = [path.relative_to(RESULTS).with_suffix("").as_posix() for path in paths]
    raise GanlibError(
        f"There is no stored {what} {name!r}; the known ones are: "
        f"{', '.join(known) or 'none'}."
    )
