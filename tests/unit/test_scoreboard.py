"""The scoreboard and the other stored measurements: whole, of the recipes as they are, shown as they are stored."""

import importlib.util
import json
import math
from pathlib import Path

import pytest

from ganlib.checkpoint import EXPERIMENTS, load_result
from ganlib.recipes import RECIPES, recipe
from ganlib.config import Config, replace

HOUSE = Path(__file__).parents[1]
IMAGES = {"mnist": 60_000, "fashion-mnist": 60_000, "avatars": 20_000}  # to train on
ROWS = sorted((EXPERIMENTS / "scoreboard").glob("*.json"))


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("scoreboard", HOUSE / "tools" / "scoreboard.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=ROWS, ids=lambda path: path.stem)
def row(request):
    return request.param.stem, json.loads(request.param.read_text())


def test_there_are_rows_for_both_data_sets():
    names = {path.stem for path in ROWS}
    assert {"textbook-on-mnist", "mnist-on-mnist", "fashion-mnist-on-fashion-mnist"} <= names


def test_a_row_is_of_the_recipe_as_it_is(row):
    stem, content = row
    name, dataset = stem.split("-on-")
    assert replace(Config(), **content["config"]) == recipe(name, dataset=dataset)
    assert f"{name} {dataset}" in content["command"] and content["machine"] and content["torch"]


def test_a_row_has_seeds_enough_and_every_one_is_whole(row):
    stem, content = row
    epochs, runs = content["config"]["epochs"], content["runs"]
    assert len({run["seed"] for run in runs}) == len(runs) >= 5
    for run in runs:
        assert [line[0] for line in run["history"]] == list(range(1, epochs + 1))
        assert run["images"] == IMAGES[stem.split("-on-")[1]] * epochs and run["cpu_seconds"] > 0
        last = run["scores"][str(epochs)]
        assert last["real"] == last["generated"] == 10_000
        assert last["frechet"] > 0 and 0 <= last["kl"] < math.log(10)
    assert len({run["scores"][str(epochs)]["frechet"] for run in runs}) == len(runs)  # no seed is there twice


def test_the_page_is_what_the_files_say(tool, monkeypatch, tmp_path):
    monkeypatch.setattr(tool, "PAGE", tmp_path / "scoreboard.md")
    tool.write_page()
    assert (tmp_path / "scoreboard.md").read_text() == (HOUSE / "book" / "scoreboard.md").read_text()


def test_every_row_is_on_the_page_and_the_best_comes_first(tool):
    for dataset in tool.DATASETS:
        lines = tool.table(dataset)[2:]
        distances = [float(line.split("|")[3].split("±")[0]) for line in lines]
        assert distances == sorted(distances)
        assert all(line.count("|") == lines[0].count("|") for line in tool.table(dataset))
        shown = {line.split("`")[1] for line in lines}
        assert shown == {path.stem.split("-on-")[0] for path in ROWS if path.stem.endswith(f"-on-{dataset}")}


def test_the_race_was_run_by_the_recipe_that_stands_in_the_book():
    race = load_result("time_to_quality")
    for runs in race["runs"].values():
        assert len({run["seed"] for run in runs}) >= 10
        for run in runs:
            assert len(run["epochs"]) == RECIPES["mnist-speedrun"].epochs
            assert run["scores"]["classes"] == 10 and run["scores"]["generated"] == 10_000
            first = next(epoch for epoch in run["epochs"] if epoch["frechet"] <= race["target"])
            assert run["reached"] == first["seconds"]


def test_the_goal_of_the_race_is_the_textbook_row_of_the_scoreboard():
    runs = load_result("scoreboard/textbook-on-mnist")["runs"]
    distances = [run["scores"]["200"]["frechet"] for run in runs]
    assert load_result("time_to_quality")["target"] == pytest.approx(sum(distances) / len(distances))


def test_the_ladder_has_a_speed_and_scores_for_every_rung():
    ladder = load_result("ladder")
    assert list(ladder["speed"]) == list(ladder["score"]) and len(ladder["speed"]) >= 8
    assert all(len(scores) == ladder["seeds"] >= 3 for scores in ladder["score"].values())
    assert ladder["speed"]["textbook loop"]["ratio"] == 1
