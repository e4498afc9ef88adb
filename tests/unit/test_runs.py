"""A run as a folder: what is written, what is kept, what is refused. The corridor's tests go on from here."""

import csv

import pytest
import torch

from ganlib.checkpoint import load_generator
from ganlib.errors import GanlibError
from ganlib.recipes import recipe
from ganlib.data import load
from ganlib.sampling import sample_noise, sample_images
from ganlib.runs import history_csv, new_run, resume_run, save_run
from ganlib.training import Record, fit


@pytest.fixture
def trained(tmp_path):
    """A run of two epochs on digits, saved after each, and its folder."""
    config = recipe("mnist", dataset="digits", epochs=2)
    state = new_run(config, tmp_path, "cpu")
    for _ in fit(state, load("digits").pixels):
        save_run(state, tmp_path)
    return state, tmp_path


def test_the_files_of_a_run(trained):
    state, out = trained
    assert sorted(path.name for path in (out / "samples").iterdir()) == ["epoch-0001.png", "epoch-0002.png"]
    G, config = load_generator(out / "generator.pt")
    z = sample_noise(5, config.latent_dim, seed=3)
    assert config == state.config and torch.equal(sample_images(G, z), sample_images(state.sampling_generator, z))
    with open(out / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"] and float(rows[1]["d_loss"]) == state.history[1].d_loss


def test_a_run_is_not_written_over(trained):
    state, out = trained
    with pytest.raises(GanlibError, match="holds a run already"):
        new_run(state.config, out, "cpu")


def test_a_resumed_run_must_agree_but_for_the_epochs(trained):
    _, out = trained
    longer = recipe("mnist", dataset="digits", epochs=4)
    assert resume_run(longer, {"epochs": 4}, out, "cpu").config.epochs == 4
    other = recipe("mnist", dataset="digits", epochs=4, batch_size=50)
    with pytest.raises(GanlibError, match=r"batch_size 100 \(not 50\)"):
        resume_run(other, {"epochs": 4, "batch_size": 50}, out, "cpu")


def test_a_csv_has_one_line_per_record():
    records = [Record(1, 0.5, 1.5, 0.6, 0.4, 0.3, 100, 2.0)]
    assert history_csv(records).decode().splitlines() == [",".join(Record._fields), "1,0.5,1.5,0.6,0.4,0.3,100,2.0"]
