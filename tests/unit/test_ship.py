"""The tools that score: new scores in a shipped json change nothing else, and pictures are spoiled as they say."""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
import torch

from ganlib import checkpoint
from ganlib.checkpoint import ASSETS, shipped
from ganlib.data import load
from ganlib.metrics import Scores
from ganlib.weights import read_weights

TOOLS = Path(__file__).parents[1] / "tools"


def tool_called(name):
    spec = importlib.util.spec_from_file_location(name, TOOLS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tool():
    return tool_called("ship")


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


def test_pictures_are_spoiled_as_they_say():
    pixels = torch.randint(0, 256, (40, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    spoiled = tool_called("judges").spoiled(pixels)
    assert all(images.shape == pixels.shape and images.dtype == torch.uint8 for images in spoiled.values())
    assert torch.equal(spoiled["mirrored"].flip(3), pixels) and torch.equal(spoiled["upside down"].flip(2), pixels)
    assert (spoiled["grey"].amax(dim=1) == spoiled["grey"].amin(dim=1)).all()
    assert len(spoiled["twenty, repeated"].unique(dim=0)) == 20
    off = {name: (images.float() - pixels).square().mean() for name, images in spoiled.items()}
    assert 0 < off["faint noise"] < off["strong noise"]

    def pieces(images):
        corners = [(y, x) for y in range(0, 64, 16) for x in range(0, 64, 16)]
        return [images[:, :, y : y + 16, x : x + 16] for y, x in corners]

    whole, shuffled = pieces(pixels), pieces(spoiled["pieces shuffled"])
    places = [[torch.equal(piece, other) for other in whole].index(True) for piece in shuffled]
    assert sorted(places) == list(range(16)) != places
