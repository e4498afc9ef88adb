"""The tool that stores networks: new scores in a shipped json change nothing else, and every shipped json has some."""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest

from ganlib import checkpoint
from ganlib.checkpoint import ASSETS, shipped
from ganlib.data import load
from ganlib.metrics import Scores
from ganlib.weights import read_weights

TOOLS = Path(__file__).parents[1] / "tools"


@pytest.fixture
def tool():
    spec = importlib.util.spec_from_file_location("ship", TOOLS / "ship.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_network_carries_all_scores(name):
    _, about = read_weights(ASSETS / f"{name}.pt")
    assert set(Scores._fields) <= set(about["scores"])
    assert about["scores"]["generated"] == 10_000 and about["scores"]["real"] >= 1000
    assert list(about)[-1] == "history"  # the model cards show what stands before it


def test_scored_again_only_the_scores_change(tool, monkeypatch, tmp_path, capsys):
    for ending in "pt", "json":
        shutil.copy(ASSETS / f"mnist.{ending}", tmp_path)
    for module in tool, checkpoint:
        monkeypatch.setattr(module, "ASSETS", tmp_path)
    monkeypatch.setattr(tool, "load", lambda *name, **how: load("digits"))
    before, weights = json.loads((tmp_path / "mnist.json").read_text()), (tmp_path / "mnist.pt").read_bytes()
    tool.score_again("mnist")
    after = json.loads((tmp_path / "mnist.json").read_text())
    assert (tmp_path / "mnist.pt").read_bytes() == weights
    assert after["scores"]["real"] == 1797 and after["scores"] != before["scores"]
    assert {**after, "scores": before["scores"]} == before and list(after)[-1] == "history"
    assert capsys.readouterr().out.startswith("mnist {'frechet'")
