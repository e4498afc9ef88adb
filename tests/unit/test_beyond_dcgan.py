"""The ladder beyond DCGAN: what it measures, and how it shares out seconds."""

import pytest
import torch

from experiments import beyond_dcgan
from experiments.beyond_dcgan import (
    GROWTH,
    POINTS,
    PROGRESSIVE,
    RUNGS,
    SECONDS,
    alternating_power,
    growing_turn,
    sides_of,
    state_of,
    steps_of,
)
from experiments.common import reduced


def test_a_checkerboard_has_alternating_power_and_noise_has_none():
    torch.manual_seed(0)
    noise = torch.randint(100, 156, (50, 3, 32, 32))
    rows, columns = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    board = 10 * ((rows + columns) % 2)
    assert alternating_power(noise.to(torch.uint8)) == pytest.approx(1, abs=0.4)
    assert alternating_power((noise + board).to(torch.uint8)) > 50


def test_images_are_reduced_to_means_over_squares():
    pixels = torch.tensor([[0, 4, 8, 8], [8, 12, 8, 8]], dtype=torch.uint8)
    pixels = pixels.repeat(2, 1).expand(1, 3, 4, 4)
    assert reduced(pixels, 2)[0, 0].tolist() == [[6, 8], [6, 8]]


def test_all_parts_of_a_run_take_equal_seconds():
    cost = {f"{rung}, {side}": side / 100 for rung in RUNGS for side in sides_of(rung)}
    for rung, (size, *_) in RUNGS.items():
        steps = steps_of(rung, cost)
        assert len(steps) == POINTS == len(GROWTH)
        for count, side in zip(steps, sides_of(rung), strict=True):
            assert abs(count * cost[f"{rung}, {side}"] * POINTS - SECONDS[size]) < 5


def test_a_new_size_fades_in_during_half_of_its_steps(monkeypatch):
    monkeypatch.setattr(beyond_dcgan, "train_step", lambda state, real: state.G.fade)
    state = state_of(PROGRESSIVE, seed=0)
    turn = growing_turn(16, steps=8)
    fades = []
    for state.step in range(8):
        fades.append(turn(state, torch.zeros(1)))
    assert fades == [0, 0.25, 0.5, 0.75, 1, 1, 1, 1]
    assert state.G.stage == state.D.stage == state.G_ema.stage == 2
