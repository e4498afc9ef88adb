"""Shipping a network: what is taken from a run, what is stored, what a new score changes."""

import numpy as np
import pytest
import torch

from experiments import ship
from ganlib.checkpoint import (
    load_generator,
    read_metadata,
    save_generator,
    save_run,
    shipped,
)
from ganlib.config import Config
from ganlib.metrics import Scores
from ganlib.models import build
from ganlib.plotting import save_image_grid
from ganlib.training import fit, new_state


@pytest.fixture
def no_scores(monkeypatch):
    """Scores cost seconds: here they are the number of generated channels."""
    monkeypatch.setattr(
        ship, "scores_of", lambda G, config: {"frechet": config.channels}
    )
    for name in ("spread_over_noise", "bootstrap_spread", "nearest_distances"):
        monkeypatch.setattr(ship, name, lambda G, config: {})


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_network_carries_all_scores(name):
    metadata = read_metadata(name)
    assert set(Scores._fields) - {"kid_error"} <= set(metadata["scores"])
    assert metadata["scores"]["generated"] == 10_000


@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_cut_out_of_a_grid_as_they_were_put_in(tmp_path, channels):
    images = torch.randint(0, 256, (20, channels, 16, 16), dtype=torch.uint8)
    save_image_grid(images, tmp_path / "grid.png")
    config = Config(channels=channels, image_size=16)
    assert torch.equal(ship.cut(tmp_path / "grid.png", config, 18), images[:18])


@pytest.fixture
def run_folder(tmp_path):
    """The folder of a run of three epochs that was stopped early."""
    config = Config(
        recipe="small",
        epochs=5,
        batch_size=10,
        latent_dim=3,
        hidden_dim=8,
        image_size=4,
    )
    pixels = torch.randint(0, 256, (20, 1, 4, 4), dtype=torch.uint8)
    state = new_state(config)
    out = tmp_path / "run"
    save_run(state, out)
    for record in fit(state, pixels):
        save_run(state, out, models_every=2)
        if record.epoch == 3:
            return out


def test_a_run_is_shipped_with_its_pictures_and_history(
    run_folder, tmp_path, no_scores
):
    ship.ship(str(run_folder), tmp_path, tmp_path)
    metadata = read_metadata(tmp_path / "small.safetensors")
    assert metadata["config"]["epochs"] == len(metadata["history"]) == 3
    assert metadata["scores_by_epoch"] == {"2": {"frechet": 1}}
    assert metadata["commit"] and metadata["modules"] and metadata["scored"]["commit"]
    with np.load(tmp_path / "small-epochs.npz") as file:
        assert file["epochs"].tolist() == [0, 1, 2, 3]
        assert file["images"].shape == (4, ship.SHOWN, 1, 4, 4)
    assert (tmp_path / "training-small.png").is_file()


def test_the_shipped_weights_are_those_of_the_run(run_folder, tmp_path, no_scores):
    ship.ship(str(run_folder), tmp_path, tmp_path)
    ours, _ = load_generator(tmp_path / "small.safetensors")
    theirs, _ = load_generator(run_folder)
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, other)


def test_scored_again_only_the_scores_change(tmp_path, no_scores):
    config = Config(latent_dim=3, hidden_dim=8, image_size=4)
    G, _ = build(config)
    path = tmp_path / "small.safetensors"
    facts = {"scores": {"frechet": 99}, "machine": "another", "history": [[1, 2]]}
    save_generator(G, config, path, **facts)
    ship.score_again("small", tmp_path)
    again, _ = load_generator(path)
    assert all(
        torch.equal(a, b)
        for a, b in zip(G.parameters(), again.parameters(), strict=True)
    )
    metadata = read_metadata(path)
    assert metadata["scores"] == {"frechet": 1}
    assert metadata["scored"]["commit"]
    assert metadata["machine"] == "another" and metadata["history"] == [[1, 2]]
