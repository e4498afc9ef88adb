"""The fast paths: in float32 they give the losses of the plain loop; in bfloat16 they still learn."""

import shutil
from copy import deepcopy

import pytest
import torch
from torch import nn

from ganlib import train
from ganlib.recipes import recipe
from ganlib.data import load
from ganlib.data.transforms import normalize
from ganlib.training import fit, new_state

STEPS, BATCH = 50, 32
compiler = pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler here")


@pytest.fixture(scope="module")
def digits():
    return load("digits").pixels[: STEPS * BATCH]


def _config(networks="mlp", **changes):
    if networks == "dcgan":  # images of 28x28 are no DCGAN's: see `_fitting`
        changes |= {"image_size": 16, "hidden_dim": 8}
    return recipe("textbook", networks=networks, epochs=1, batch_size=BATCH, **changes)


def _fitting(pixels, config):
    return pixels[..., 6:22, 6:22].contiguous() if config.image_size == 16 else pixels


def _losses(config, pixels, monkeypatch):
    """(d_loss, g_loss) of each of the STEPS steps of an epoch of ganlib's own loop."""
    losses, turns = [], train.train_step

    def noted(state, real):
        numbers = turns(state, real)
        losses.append(numbers[:2].tolist())
        return numbers

    monkeypatch.setattr(train, "train_step", noted)
    list(fit(new_state(config), _fitting(pixels, config)))
    monkeypatch.undo()
    assert len(losses) == STEPS
    return torch.tensor(losses)


def _plain_losses(config, pixels):
    """The same by the loop of the tutorials: BCELoss after a sigmoid, no freezing, Adam one tensor at a time."""
    pixels, state = _fitting(pixels, config), new_state(config)
    G, D = deepcopy(state.G), nn.Sequential(deepcopy(state.D), nn.Sigmoid())
    settings = {"lr": config.learning_rate_g, "betas": (config.beta1, config.beta2), "foreach": False}
    optimizer_g, optimizer_d = (torch.optim.Adam(network.parameters(), **settings) for network in (G, D))
    criterion, losses = nn.BCELoss(), []
    with torch.random.fork_rng():
        torch.manual_seed(config.seed * 1_000_003 + 1)
        for index in torch.randperm(len(pixels)).split(config.batch_size):
            real, ones, zeros = normalize(pixels[index]), torch.ones(len(index)), torch.zeros(len(index))
            fake = G(torch.randn(len(index), config.latent_dim)).detach()
            d_loss = criterion(D(real), ones) + criterion(D(fake), zeros)
            D.zero_grad()
            d_loss.backward()
            optimizer_d.step()
            g_loss = criterion(D(G(torch.randn(len(index), config.latent_dim))), ones)
            G.zero_grad()
            g_loss.backward()
            optimizer_g.step()
            losses.append([d_loss.item(), g_loss.item()])
    return torch.tensor(losses)


@pytest.mark.parametrize("networks", ["mlp", "batchnorm-mlp", "dcgan"])
def test_the_loop_gives_the_losses_of_the_plain_loop(networks, digits, monkeypatch):
    config = _config(networks)
    difference = (_losses(config, digits, monkeypatch) - _plain_losses(config, digits)).abs().max()
    assert difference <= 1e-4


@pytest.mark.parametrize(
    "networks, switch, dropout",
    [
        ("dcgan", "channels_last", 0.0),  # another layout drops other units
        pytest.param("mlp", "compiled", 0.3, marks=compiler),
        pytest.param("dcgan", "compiled", 0.3, marks=compiler),
    ],
)
def test_a_switch_in_float32_changes_no_loss(networks, switch, dropout, digits, monkeypatch):
    plain = _losses(_config(networks, dropout=dropout), digits, monkeypatch)
    fast = _losses(_config(networks, dropout=dropout, **{switch: True}), digits, monkeypatch)
    assert (plain - fast).abs().max() <= 1e-4


@pytest.mark.parametrize("networks", ["mlp", "dcgan"])
@pytest.mark.parametrize("switch", [{"bfloat16": True}, {"matmul_precision": "medium"}])
def test_shorter_numbers_follow_float32_closely_at_first(networks, switch, digits, monkeypatch):
    """With weights that were cast once and kept, D would stand still while its float32 copy moves on."""
    full = _losses(_config(networks), digits, monkeypatch)[:20]
    half = _losses(_config(networks, **switch), digits, monkeypatch)[:20]
    assert (full - half).abs().max() <= 0.1 < (full[0] - full[-1]).abs().max()


@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_the_precision_of_products_holds_for_an_epoch_and_no_longer(precision, digits, monkeypatch):
    """Nor does it outlive an epoch that fails."""
    inside, turns = [], train.train_step

    def noted(state, real):
        inside.append(torch.get_float32_matmul_precision())
        return turns(state, real)

    monkeypatch.setattr(train, "train_step", noted)
    before = torch.get_float32_matmul_precision()
    records = fit(new_state(_config(matmul_precision=precision)), digits[:BATCH])
    next(records)
    assert inside == [precision] and torch.get_float32_matmul_precision() == before
    monkeypatch.setattr(train, "train_step", lambda state, real: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        next(fit(new_state(_config(matmul_precision=precision)), digits[:BATCH]))
    assert torch.get_float32_matmul_precision() == before
