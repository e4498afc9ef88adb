"""The workshop: shapes, ranges, the layers against hand-written arithmetic, and sampling that leaves no trace."""

import copy
import dataclasses

import numpy as np
import pytest
import torch

from ganlib.config import Config
from ganlib.models import FAMILIES, BatchNormGenerator, Discriminator, Generator, build, parameter_count, sample
from ganlib.sampling import sample_noise
from ganlib.training import frozen


def _numbers(network):
    return [value.detach().double().numpy() for value in network.state_dict().values()]


def test_g_by_hand():
    torch.manual_seed(0)
    G, z = Generator(3, 5, (2, 4, 4)), torch.randn(7, 3)
    w1, b1, w2, b2, w3, b3 = _numbers(G)
    hidden = np.maximum(z.double().numpy() @ w1.T + b1, 0)
    hidden = np.maximum(hidden @ w2.T + b2, 0)
    by_hand = np.tanh(hidden @ w3.T + b3).reshape(7, 2, 4, 4)
    images = G(z)
    assert images.shape == (7, 2, 4, 4) and images.abs().max() <= 1
    np.testing.assert_allclose(images.detach().numpy(), by_hand, atol=1e-6)


def test_d_by_hand():
    torch.manual_seed(0)
    D, images = Discriminator(5, (2, 4, 4)), torch.rand(7, 2, 4, 4) * 2 - 1
    w1, b1, w2, b2, w3, b3 = _numbers(D)

    def leaky(x):
        return np.where(x > 0, x, 0.2 * x)

    hidden = leaky(leaky(images.flatten(1).double().numpy() @ w1.T + b1) @ w2.T + b2)
    logits = D(images)
    assert logits.shape == (7,)
    np.testing.assert_allclose(logits.detach().numpy(), (hidden @ w3.T + b3)[:, 0], atol=1e-6)


@pytest.mark.parametrize("count", [1, 2])
def test_one_image_keeps_its_batch_dimension(count):
    G, D = build(Config())
    assert G(torch.randn(count, 64)).shape == (count, 1, 28, 28)
    assert D(torch.zeros(count, 1, 28, 28)).shape == (count,)


def test_g_reaches_both_ends_of_the_range():
    G = Generator(3, 5, (1, 4, 4))
    with torch.no_grad():
        for parameter in G.parameters():
            parameter.mul_(30)
    images = G(torch.randn(200, 3))
    assert images.min() < -0.999 and images.max() > 0.999


def test_dropout_drops_only_in_training():
    torch.manual_seed(0)
    D, images = Discriminator(64, (1, 4, 4), dropout=0.5), torch.rand(20, 1, 4, 4)
    assert not torch.equal(D(images), D(images))
    D.eval()
    assert torch.equal(D(images), D(images))
    plain = Discriminator(64, (1, 4, 4))
    assert torch.equal(plain(images), plain(images))


def test_build_follows_every_number_of_the_config():
    config = Config(latent_dim=5, hidden_dim=7, channels=3, image_size=8, dropout=0.25)
    G, D = build(config)
    assert [tuple(value.shape) for value in G.parameters()] == [(7, 5), (7,), (7, 7), (7,), (192, 7), (192,)]
    assert [tuple(value.shape) for value in D.parameters()] == [(7, 192), (7,), (7, 7), (7,), (1, 7), (1,)]
    assert [layer.p for layer in D.modules() if isinstance(layer, torch.nn.Dropout)] == [0.25, 0.25]


def test_build_draws_from_the_global_random_state():
    torch.manual_seed(3)
    one = build(Config())
    torch.manual_seed(3)
    same = build(Config())
    other = build(Config())
    assert all(torch.equal(a, b) for a, b in zip(one[0].parameters(), same[0].parameters(), strict=True))
    assert not torch.equal(next(same[1].parameters()), next(other[1].parameters()))


def test_parameter_count_by_hand():
    G, D = build(Config())
    assert parameter_count(G) == 64 * 256 + 256 + 256 * 256 + 256 + 256 * 784 + 784 == 283_920
    assert parameter_count(D) == 784 * 256 + 256 + 256 * 256 + 256 + 256 + 1 == 267_009
    with frozen(D):
        assert parameter_count(D) == 0


def test_noise_of_a_seed_is_always_the_same():
    state = torch.get_rng_state()
    z = sample_noise(6, 4, seed=7)
    assert torch.equal(torch.get_rng_state(), state), "a seed of its own must not touch torch's"
    torch.manual_seed(99)
    assert z.shape == (6, 4) and torch.equal(z, sample_noise(6, 4, seed=7))
    assert not torch.equal(z, sample_noise(6, 4, seed=8))
    assert not torch.equal(sample_noise(6, 4), sample_noise(6, 4))


def test_noise_is_standard_normal():
    z = sample_noise(20_000, 10, seed=0)
    assert abs(z.mean()) < 0.01 and abs(z.std() - 1) < 0.01


class Moody(Generator):
    """A G whose images depend on its mode, and that notices gradients."""

    def forward(self, z):
        self.saw = self.training, torch.is_grad_enabled()
        return super().forward(z) * (0.5 if self.training else 1)


@pytest.mark.parametrize("training", [True, False])
def test_sample_is_eval_mode_and_restores_the_mode(training):
    G, z = Moody(3, 5, (1, 4, 4)), sample_noise(6, 3, seed=0)
    before = copy.deepcopy(G.state_dict())
    G.train(training)
    images = sample_images(G, z)
    assert G.saw == (False, False)
    assert G.training is training and all(layer.training is training for layer in G.modules())
    assert not images.requires_grad and all(parameter.grad is None for parameter in G.parameters())
    assert all(torch.equal(G.state_dict()[name], value) for name, value in before.items())
    with torch.no_grad():
        assert torch.equal(images, G.eval()(z))


def test_frozen_passes_gradients_through_but_keeps_none():
    D = Discriminator(8, (1, 4, 4))
    images = torch.rand(5, 1, 4, 4, requires_grad=True)
    with frozen(D) as inside:
        assert inside is D and not any(parameter.requires_grad for parameter in D.parameters())
        D(images).sum().backward()
    assert images.grad.abs().sum() > 0
    assert all(parameter.grad is None and parameter.requires_grad for parameter in D.parameters())


def test_frozen_thaws_after_an_error():
    D = Discriminator(8, (1, 4, 4))
    with pytest.raises(ZeroDivisionError), frozen(D):
        raise ZeroDivisionError
    assert all(parameter.requires_grad for parameter in D.parameters())


def test_a_batchnorm_generator_by_hand():
    torch.manual_seed(0)
    G = BatchNormGenerator(3, 5, (1, 2, 2)).eval()
    for layer in G.layers:
        if isinstance(layer, torch.nn.BatchNorm1d):
            torch.nn.init.normal_(layer.running_mean), torch.nn.init.uniform_(layer.running_var, 0.5, 2)
            torch.nn.init.normal_(layer.weight), torch.nn.init.normal_(layer.bias)
    z = values = torch.randn(4, 3)
    for linear, norm in zip(G.layers[0:4:3], G.layers[1:5:3], strict=True):
        values = values @ linear.weight.T + linear.bias
        values = (values - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias
        values = values.clamp(min=0)
    by_hand = torch.tanh(values @ G.layers[6].weight.T + G.layers[6].bias).view(4, 1, 2, 2)
    torch.testing.assert_close(G(z), by_hand)


@pytest.mark.parametrize("networks", FAMILIES)
def test_every_family_gives_the_images_and_logits_that_the_config_asks_for(networks):
    config = Config(networks=networks, image_size=16, channels=3, latent_dim=7, hidden_dim=4)
    G, D = build(config)
    images = G(torch.randn(5, 7))
    assert images.shape == (5, 3, 16, 16) and images.abs().max() <= 1
    assert D(images).shape == (5,)


def test_the_config_knows_every_family():
    (entry,) = [entry for entry in dataclasses.fields(Config) if entry.name == "networks"]
    assert set(entry.metadata["names"]) == set(FAMILIES)
