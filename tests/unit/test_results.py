"""Stored results come back as they were written, histories as Records."""

import json

import numpy as np
import pytest
import torch

from ganlib import results
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
