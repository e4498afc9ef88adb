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


def summary(name: str) -> dict[str, Any] | None:
    """What is stored of the runs of a recipe, or of a network that ships.

    A recipe has the runs of the scoreboard, one for each seed, or else the one run
    whose network ships with ganlib.

    Returns the dataset, the seconds of a run, the machine, and the scores of each run;
    None where nothing is stored.
    """
    row = f"scoreboard/{name}-on-{RECIPES[name].dataset}" if name in RECIPES else ""
    if row and (RESULTS / f"{row}.json").is_file():
        result = load_result(row)
        last = str(result["config"]["epochs"])
        return {
            "dataset": RECIPES[name].dataset,
            "seconds": statistics.mean(run["cpu_seconds"] for run in result["runs"]),
            "machine": result["machine"],
            "scores": [run["scores"][last] for run in result["runs"]],
        }
    return network_summary(name) if name in shipped() else None


def network_summary(name: str) -> dict[str, Any]:
    """The same of the one run whose network ships under this name."""
    facts = read_metadata(name)
    return {
        "dataset": facts["config"]["dataset"],
        "seconds": facts["history"][-1][-1],
        "machine": facts["machine"].replace("1 threads", "1 thread"),
        "scores": [facts["scores"]] if "scores" in facts else [],
    }


def spread(values: list[float], digits: int) -> str:
    """Mean ± standard deviation of several values, one value as it is, or a dash."""
    if not values:
        return "–"
    text = f"{statistics.mean(values):.{digits}f}"
    if len(values) > 1:
        text += f" ± {statistics.stdev(values):.{digits}f}"
    return text


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
