"""The solutions on the pages, run as they stand there: each passes its own check.

Those that train on MNIST take some minutes.
"""

import json
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from ganlib.data import load
from ganlib.exercise import load_questions, what_is_wrong
from ganlib.metrics import knn_radii
from ganlib.recipes import recipe
from ganlib.training import fit, new_state

PAGES = Path(__file__).parents[2] / "notebooks"
QUESTIONS = load_questions()
RUN = [key for key, question in QUESTIONS.items() if "checker" in question]
ON_MNIST = "12.2", "15.3"
SOLUTION = "<details><summary>Solution</summary>"
CODE = re.compile(r"```python\n(.*?)```", re.S)


def solution_of(key):
    """The code of the solution that follows an exercise's check."""
    (page,) = PAGES.glob(f"{int(key.split('.')[0]):02d}_*.ipynb")
    cells = ["".join(cell["source"]) for cell in json.loads(page.read_text())["cells"]]
    (place,) = (at for at, cell in enumerate(cells) if f'check("{key}",' in cell)
    assert cells[place + 1].startswith(SOLUTION)
    (code,) = CODE.findall(cells[place + 1].partition("</details>")[0])
    return code


@pytest.mark.parametrize("key", RUN)
def test_a_solution_passes_its_own_check(key, request):
    if key in ON_MNIST:
        request.getfixturevalue("real_mnist")
    names = {"torch": torch, "nn": nn, "load": load, "knn_radii": knn_radii}
    names |= {"recipe": recipe, "new_state": new_state, "fit": fit}
    if key == "8.3":
        names["digits"] = load("digits").pixels
        state = new_state(recipe("textbook-tuned", dataset="digits", epochs=2))
        list(fit(state, names["digits"]))
        names["undisturbed"] = state
    elif key in ON_MNIST:
        names["digits"] = load("mnist")
        names["pixels"] = names["digits"].pixels
    with torch.random.fork_rng():
        exec(solution_of(key), names)
    assert what_is_wrong(QUESTIONS[key], names[f"answer_{key.split('.')[1]}"]) == ""
