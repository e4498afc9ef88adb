"""Stored results come back as they were written, histories as Records."""

import json

import numpy as np
import pytest
import torch

from ganlib import results
from ganlib.checkpoint import read_metadata
from ganlib.results import Table, load_result, load_result_with_images
from ganlib.training import Record

ROW = [1, 0.5, 1.5, 0.6, 0.4, 0.3, 100, 2.0]


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """A folder of results: one with images, one without, one in a folder."""
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    runs = [{"seed": 0, "history": [ROW]}, {"seed": 1}]
    (tmp_path / "walk.json").write_text(json.dumps({"runs": runs, "commit": "abc"}))
    np.savez(tmp_path / "walk.npz", start=np.arange(4, dtype=np.uint8))
    (tmp_path / "speed.json").write_text(json.dumps({"runs": {"history": 3}}))
    (tmp_path / "table").mkdir()
    (tmp_path / "table" / "row.json").write_text("{}")
    return tmp_path


def test_a_result_is_what_was_stored_with_records_for_rows(stored):
    result = load_result("walk")
    assert result["commit"] == "abc"
    assert result["runs"] == [{"seed": 0, "history": [Record(*ROW)]}, {"seed": 1}]
    assert result["runs"][0]["history"][0].g_loss == 1.5


def test_runs_that_are_no_list_stay_as_they_are(stored):
    assert load_result("speed") == {"runs": {"history": 3}}


def test_images_beside_a_result(stored):
    result, images = load_result_with_images("walk")
    assert result == load_result("walk")
    assert list(images) == ["start"]
    assert torch.equal(images["start"], torch.tensor([0, 1, 2, 3], dtype=torch.uint8))


def test_an_unknown_name_lists_the_known_ones(stored, says):
    with says("'nosuch'", "speed, table/row, walk"):
        load_result("nosuch")


def test_a_result_without_images_lists_those_with(stored, says):
    with says("'speed'", "with images", "are: walk."):
        load_result_with_images("speed")


def test_a_recipe_is_summed_up_over_its_seeds(stored):
    (stored / "scoreboard").mkdir()
    runs = [
        {"cpu_seconds": 10.0, "scores": {"1": {"frechet": 90}, "2": {"frechet": 40}}},
        {"scores": {"1": {"frechet": 90}, "2": {"frechet": 44}}},
    ]
    row = {"config": {"epochs": 2}, "machine": "m", "commit": "abc", "runs": runs}
    path = stored / "scoreboard" / "mnist-on-mnist.json"
    path.write_text(json.dumps(row))
    found = results.summary("mnist")
    assert found["scores"] == [{"frechet": 40}, {"frechet": 44}]
    assert (found["seconds"], found["commits"]) == (10.0, ["abc"])
    assert results.distance_text(found) == "42 ± 3"


def test_one_run_has_the_spread_and_the_commits_of_its_network(stored):
    facts = read_metadata("faces")
    found = results.summary("faces")
    assert found == results.network_summary("faces")
    assert found["seconds"] is None  # the clock's time is none of the processor
    assert found["spread"] == facts["spread"] and len(found["scores"]) == 1
    assert found["commits"] == [facts["commit"], facts["scored"]["commit"]]


def test_seconds_come_from_the_run_of_the_network_alone(stored):
    runs = [{"seed": 1, "cpu_seconds": 9.0}, {"seed": 0, "cpu_seconds": 5.0}]
    (stored / "stopping.json").write_text(json.dumps({"runs": runs}))
    assert results.network_summary("mnist-long")["seconds"] == 5.0


@pytest.mark.parametrize(
    ("values", "error", "text"),
    [
        ([], 0.5, "–"),
        ([4.04], None, "4.0"),
        ([4.0], 0.26, "4.0 ± 0.3"),
        ([1.0, 3.0], None, "2.0 ± 1.4"),
    ],
)
def test_a_spread_is_that_of_several_values_or_the_error_of_one(values, error, text):
    assert results.spread(values, 1, error) == text


def test_every_shipped_result_loads():
    paths = sorted(results.RESULTS.rglob("*.json"))
    assert paths
    for path in paths:
        name = path.relative_to(results.RESULTS).with_suffix("").as_posix()
        assert isinstance(load_result(name), dict)


def test_a_table_is_aligned_as_text_and_escaped_as_html():
    table = Table(("recipe", "s"), [("a & b", 5), ("c", 1_000)])
    assert repr(table).splitlines() == ["recipe     s", "a & b      5", "c       1000"]
    page = table._repr_html_()
    assert "a &amp; b" in page and page.count("<tr>") == 3 and page.count("<th ") == 2


def test_a_table_refuses_a_row_of_another_length():
    with pytest.raises(ValueError):
        repr(Table(("recipe", "s"), [("a",)]))
