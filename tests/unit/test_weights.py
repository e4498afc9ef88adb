"""Sealed weights: what was saved is what is read, and what was tampered with is refused before it is used."""

import json
import os
import pickle

import pytest
import torch
from torch import nn

from ganlib.errors import GanlibError
from ganlib.weights import digest, fill, pack, read_about, read_weights, save_weights, sha256_of, unpack


@pytest.fixture
def saved(tmp_path):
    """A small network and the file that it was saved to."""
    network = nn.Linear(3, 2)
    save_weights(network, tmp_path / "w.pt", purpose="a test")
    return network, tmp_path / "w.pt"


def test_there_and_back(saved):
    network, path = saved
    values, about = read_weights(path)
    again = fill(nn.Linear(3, 2), values, path)
    assert torch.equal(again.weight, network.weight) and torch.equal(again.bias, network.bias)
    assert about["purpose"] == "a test" and about["sha256"] == sha256_of(path.read_bytes())
    assert read_about(path) == about == json.loads(path.with_suffix(".json").read_text())


def test_one_changed_byte_is_noticed(saved):
    _, path = saved
    packed = bytearray(path.read_bytes())
    packed[len(packed) // 2] ^= 1
    path.write_bytes(packed)
    with pytest.raises(GanlibError, match="not the file that the json beside it describes"):
        read_weights(path)


@pytest.mark.parametrize("other", [nn.Linear(3, 4), nn.Linear(3, 2, bias=False), nn.Linear(3, 2).double()])
def test_weights_of_another_network_are_refused(saved, other):
    values, _ = read_weights(saved[1])
    with pytest.raises(GanlibError, match="another architecture"):
        fill(other, values, saved[1])


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_is_not_saved(saved, number):
    network, path = saved
    before = path.read_bytes(), path.with_suffix(".json").read_bytes()
    with torch.no_grad():
        network.weight[1, 2] = number
    with pytest.raises(GanlibError, match="no longer finite and are not saved"):
        save_weights(network, path)
    with pytest.raises(GanlibError, match="no longer finite and are not saved"):
        pack({"a": {"b": {0: network.weight.detach()}}})
    assert (path.read_bytes(), path.with_suffix(".json").read_bytes()) == before


class Harm:
    """Unpickling one of these would make a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_pickle_is_refused_and_not_run(tmp_path):
    sprung = str(tmp_path / "sprung")
    torch.save({"weight": Harm(sprung)}, tmp_path / "harm.pt")
    for content in (pickle.dumps(Harm(sprung)), (tmp_path / "harm.pt").read_bytes(), b"", b"<html></html>"):
        with pytest.raises(GanlibError, match="nothing in it was run"):
            unpack(content, "harm.pt")
    assert not os.path.exists(sprung)


def test_the_digest_sees_names_values_and_types():
    one = {"a": torch.ones(2), "b": {"c": 1}}
    assert digest(one) == digest(unpack(pack(one), "one"))
    for other in ({"a": torch.ones(2), "b": {"c": 2}}, {"a": torch.ones(2).double(), "b": {"c": 1}},
                  {"x": torch.ones(2), "b": {"c": 1}}, {"a": torch.tensor([1.0, -1.0]), "b": {"c": 1}}):  # fmt: skip
        assert digest(other) != digest(one)
