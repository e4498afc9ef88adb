"""Stored experiments: complete, of one mould, readable; and the script that makes them switches what it says."""

import importlib.util
import json
import math
from dataclasses import asdict
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch

from ganlib import checkpoint, train
from ganlib.checkpoint import load_experiment
from ganlib.config import Config, replace
from ganlib.recipes import recipe
from ganlib.data import Images
from ganlib.losses import discriminator_loss, generator_loss
from ganlib.training import Record

SWITCHES = "smoothing", "dropout", "logits"
MIXES = [mix for size in range(4) for mix in combinations(SWITCHES, size)]


@pytest.fixture(scope="module")
def tool():
    """tools/generalization.py as a module."""
    path = Path(__file__).parents[1] / "tools" / "generalization.py"
    spec = importlib.util.spec_from_file_location("generalization", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- what is stored ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stored():
    return load_experiment("generalization")


def test_every_combination_ran_with_every_seed_once(stored):
    found = [(tuple(run["on"]), run["seed"]) for run in stored[0]["runs"]]
    seeds = {seed for _, seed in found}
    assert len(seeds) >= 3
    assert sorted(found) == sorted((mix, seed) for mix in MIXES for seed in seeds)


def test_every_run_is_whole(stored, tool):
    about, _ = stored
    base = replace(Config(), **about["base"])  # a field that is younger than the runs has its default there
    assert base == tool.BASE, "the runs were made with another recipe than the script has now"
    for run in about["runs"]:
        assert all(isinstance(record, Record) for record in run["history"])
        assert [record.epoch for record in run["history"]] == list(range(1, tool.BASE.epochs + 1))
        assert run["history"][-1].images_seen == 60_000 * tool.BASE.epochs
        assert all(math.isfinite(number) for record in run["history"] for number in record)
        assert all(0 < p < 1 for record in run["history"] for p in record[3:6])


def test_every_run_was_scored_alike(stored):
    for run in stored[0]["runs"]:
        scores = run["scores"]
        assert scores["real"] == scores["generated"] == 10_000
        assert scores["frechet"] > 0 and 0 <= scores["kl"] < math.log(10)
        assert all(0 <= scores[name] <= 1 for name in ("precision", "recall", "coverage"))


def test_no_two_runs_are_the_same(stored):
    assert len({run["scores"]["frechet"] for run in stored[0]["runs"]}) == len(stored[0]["runs"])


def test_a_smoothed_d_pays_at_least_its_floor(stored):
    floor = -0.9 * math.log(0.9) - 0.1 * math.log(0.1)
    for run in stored[0]["runs"]:
        if "smoothing" in run["on"]:
            assert min(record.d_loss for record in run["history"]) > floor


def test_the_pictures(stored):
    about, pictures = stored
    assert about["epochs"][0] == 0 and about["epochs"][-1] == about["base"]["epochs"]
    assert sorted(pictures) == sorted("+".join(mix) or "none" for mix in MIXES)
    starts = [images[0] for images in pictures.values()]
    for images in pictures.values():
        assert images.shape == (len(about["epochs"]), 8, 1, 28, 28) and images.dtype == torch.uint8
    assert all(torch.equal(starts[0], start) for start in starts), "the same seed begins with the same G"
    ends = [images[-1] for images in pictures.values()]
    assert not any(torch.equal(one, other) for one, other in combinations(ends, 2))


# --- the loader -------------------------------------------------------------------------------------------------------


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """An empty folder in place of that of the stored experiments, with a way to put one there."""
    monkeypatch.setattr(checkpoint, "EXPERIMENTS", tmp_path)

    def put(name, history):
        run = {"on": [], "seed": 0, "history": history, "scores": {}}
        (tmp_path / f"{name}.json").write_text(json.dumps({"runs": [run]}))
        np.savez_compressed(tmp_path / f"{name}.npz", none=np.arange(4, dtype=np.uint8).reshape(1, 1, 1, 2, 2))

    return put


def test_what_was_put_there_comes_back(shelf):
    record = Record(1, 1.3, 0.7, 0.5, 0.5, 0.5, 100, 2.0)
    shelf("one", [record])
    about, pictures = load_experiment("one")
    assert about["runs"][0]["history"] == [record] and isinstance(about["runs"][0]["history"][0], Record)
    assert pictures["none"].tolist() == [[[[[0, 1], [2, 3]]]]] and pictures["none"].dtype == torch.uint8


def test_an_unknown_experiment(shelf, says):
    with says("nothing-of-this", "none"):
        load_experiment("nothing-of-this")
    shelf("one", [])
    shelf("two", [])
    with says("nothing-of-this", "one, two"):
        load_experiment("nothing-of-this")


def test_a_broken_json(shelf, tmp_path, says):
    shelf("one", [])
    (tmp_path / "one.json").write_text("{")
    with says("one.json"):
        load_experiment("one")


# --- the script -------------------------------------------------------------------------------------------------------


def test_the_switches(tool):
    assert [*tool.subsets(tool.SWITCHES)] == MIXES
    assert (tool.BASE.real_label, tool.BASE.dropout) == (1.0, 0.0), "the base has everything off"
    off = {"epochs": tool.BASE.epochs, "real_label": 1.0, "dropout": 0.0}
    assert asdict(tool.BASE) == asdict(recipe("mnist")) | off
    assert tool.SWITCHES == {"smoothing": {"real_label": 0.9}, "dropout": {"dropout": 0.3}, "logits": {}}


def test_the_sigmoid_changes_rounding_and_nothing_else(tool):
    torch.manual_seed(0)
    real_logits, fake_logits = 3 * torch.randn(50).double(), 3 * torch.randn(50).double()
    with tool.bce_losses():
        assert train.discriminator_loss is not discriminator_loss
        d_loss = train.discriminator_loss(real_logits, fake_logits, real_label=0.9)
        g_loss = train.generator_loss(fake_logits)
        beaten = train.generator_loss(torch.tensor([-200.0]))
    assert train.discriminator_loss is discriminator_loss and train.generator_loss is generator_loss
    assert torch.allclose(d_loss, discriminator_loss(real_logits, fake_logits, real_label=0.9))
    assert torch.allclose(g_loss, generator_loss(fake_logits))
    assert beaten == 100, "a sigmoid and BCELoss clip where logits do not"


@pytest.fixture(scope="module")
def short_runs(tool):
    """{mix: (facts, pictures)} of runs of a single batch an epoch, with what their generators were judged by."""
    pixels = torch.randint(0, 256, (100, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    scores = train.Record(*range(8))  # anything with _asdict
    return {mix: tool.run(mix, 0, pixels, lambda G: scores) for mix in MIXES}


def test_a_run_of_the_script(short_runs, tool):
    for mix, (facts, pictures) in short_runs.items():
        assert facts["on"] == list(mix) and facts["seed"] == 0 and len(facts["history"]) == tool.BASE.epochs
        assert pictures.shape == (len(tool.EPOCHS), tool.SHOWN, 1, 28, 28) and pictures.dtype == torch.uint8
        json.dumps(facts)
    assert isinstance(tool.BASE, Config)


def test_each_switch_does_what_it_says(short_runs):
    last = {mix: facts["history"][-1].d_loss for mix, (facts, _) in short_runs.items()}
    off = [mix for mix in MIXES if "logits" not in mix]
    for mix in off:
        assert math.isclose(last[mix], last[(*mix, "logits")], rel_tol=1e-4), "rounding and nothing else"
    for one, other in combinations(off, 2):
        assert not math.isclose(last[one], last[other], rel_tol=1e-3)


def test_the_script_goes_on_where_it_stopped(tool, monkeypatch, tmp_path):
    made, few = [], Images("mnist", torch.zeros(1, 1, 28, 28, dtype=torch.uint8), torch.zeros(1).long(), ())

    def run(on, seed, *_):
        if len(made) == 10 and made[-1] != "stopped":
            made.append("stopped")
            raise KeyboardInterrupt
        made.append((tuple(on), seed))
        return {"on": on, "seed": seed, "history": [], "scores": {}}, torch.zeros(1, 1, 1, 2, 2, dtype=torch.uint8)

    for name, value in ("run", run), ("load", lambda *_, **__: few), ("EXPERIMENTS", tmp_path):
        monkeypatch.setattr(tool, name, value)
    monkeypatch.setattr(checkpoint, "EXPERIMENTS", tmp_path)
    tool.main([1])
    assert len(made) == 8 and not list(tmp_path.glob("*.npz")), "pictures are kept of seed 0 alone"
    with pytest.raises(KeyboardInterrupt):
        tool.main([0])
    tool.main([0])
    made.remove("stopped")
    assert made == [(mix, seed) for seed in (1, 0) for mix in MIXES], "no run is lost and none made twice"
    about, pictures = load_experiment("generalization")
    assert len(about["runs"]) == 16 and len(pictures) == 8
