"""The experiment that sets a GAN beside a flow: equal seconds, seeds in turn."""

import torch
from torch import nn

from experiments import diffusion
from ganlib.flow import flow_path

SMALL = {"hidden_dim": 8, "batch_size": 16, "rate": 1e-2, "decay": 0.9, "location": 0.0}


def test_a_flow_has_the_steps_that_take_as_long_as_those_of_the_gan():
    cost = {"grid": {"gan": 0.005, "flow": 0.002}}
    steps = diffusion.flow_steps("grid", cost)
    assert steps == [step * 5 // 2 for step in diffusion.BUDGET["grid"]]


def test_seconds_are_those_of_one_piece_of_the_work(monkeypatch):
    clock = iter([10.0, 16.0])
    monkeypatch.setattr(diffusion.time, "process_time", lambda: next(clock))
    assert diffusion.seconds_of(lambda: None, 3)() == 2.0


def weights_of(network):
    return torch.cat([weight.flatten() for weight in network.parameters()])


def flow_weights(seed, checkpoints):
    trained = diffusion.train_flow(
        diffusion.draw_points, checkpoints, seed=seed, **SMALL
    )
    return {step: weights_of(average).clone() for step, average in trained}


def test_a_run_depends_on_its_seed_and_not_on_its_checkpoints():
    torch.manual_seed(5)
    one = flow_weights(1, [2, 6])
    torch.rand(3)
    other = flow_weights(1, [6])
    assert torch.equal(one[6], other[6])
    assert not torch.equal(one[2], one[6])
    assert not torch.equal(one[6], flow_weights(2, [6])[6])


def test_samples_of_a_flow_do_not_depend_on_how_they_are_parted():
    velocity = diffusion.VelocityNetwork((2,), 8)
    z = torch.randn(600, 2)
    assert torch.allclose(
        diffusion.samples(velocity, z, 4), flow_path(velocity, z, 4)[-1], atol=1e-6
    )


def test_seeds_take_turns_and_what_is_whole_is_not_run_again(monkeypatch):
    budget = [1, 2]
    begun = []

    def start(part, seed):
        begun.append(seed)
        network = nn.Identity()
        return iter([(10, network), (20, network)]), lambda network, checkpoint: {
            "seed": seed,
            "checkpoint": checkpoint,
        }

    monkeypatch.setitem(diffusion.BUDGET, "grid", budget)
    monkeypatch.setattr(diffusion, "start", start)
    about = {"part": "grid"}
    whole = {**about, "seed": 1, "steps": [10, 20], "scores": ["kept", "kept"]}
    half = {**about, "seed": 2, "steps": [10], "scores": ["lost"]}
    result = {"runs": [whole, half]}
    turns = diffusion.run_in_turns("grid", [1, 2, 3], result)
    assert [seed for seed, _ in turns] == [2, 3, 2, 3]
    assert begun == [2, 3]
    runs = {run["seed"]: run for run in result["runs"]}
    assert len(result["runs"]) == 3 and runs[1] == whole
    assert runs[2]["steps"] == [10, 20]
    assert [one["checkpoint"] for one in runs[3]["scores"]] == [1, 2]
