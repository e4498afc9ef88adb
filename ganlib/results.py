"""Stored results of experiments, for the pages that show them."""

import json
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from ganlib.errors import GanlibError
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
    result = json.loads(path.read_text())
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


def _raise_unknown(what: str, name: str, ending: str) -> NoReturn:
    """Raise GanlibError that lists the results with a file of that ending."""
    paths = sorted(RESULTS.rglob(f"*{ending}"))
    known = [path.relative_to(RESULTS).with_suffix("").as_posix() for path in paths]
    raise GanlibError(
        f"There is no stored {what} {name!r}; the known ones are: "
        f"{', '.join(known) or 'none'}."
    )
