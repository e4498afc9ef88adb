"""Runs are killed and resumed; GANLIB_KILLS says how many."""

import os

import pytest
from killed_runs import kill_runs

KILLS = int(os.environ.get("GANLIB_KILLS", "5"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_runs_go_on_to_the_same_end():
    assert kill_runs(KILLS, seed=7)["kills"] == KILLS
