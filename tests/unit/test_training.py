"""The arena: each step changes one network, by a hand-written Adam's numbers; a run depends on its config alone."""

import itertools
import math
import random

import numpy as np
import pytest
import torch

from ganlib import train
from ganlib.config import Config
from ganlib.losses import discriminator_loss, generator_loss
from ganlib.models import Discriminator, Generator
from ganlib.sampling import sample_noise, sample_images
from ganlib.data.transforms import normalize
from ganlib.training import (
    Record,
    discriminator_step,
    fit,
    generator_step,
    update_average,
    new_state,
    r1_step,
    train_step,
)


def _run(config, pixels):
    state = new_state(config)
    list(fit(state, pixels))
    return state


def _all_equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.fixture
def everything(weights_of):
    """Every number of a TrainState: three networks and both Adams."""

    def copy(state):
        networks = [value for part in (state.G, state.D, state.sampling_generator) for value in weights_of(part)]
        adams = [state.optimizer_g.state_dict()["state"], state.optimizer_d.state_dict()["state"]]
        return networks + [value.clone() for adam in adams for one in adam.values() for value in one.values()]

    return copy


# --- one step ---------------------------------------------------------------------------------------------------------


def test_ds_turn_changes_d_alone(small, changed, weights_of):
    state = new_state(changed(small, dropout=0.0))
    g_before, d_before = weights_of(state.G), weights_of(state.D)
    real, z = torch.rand(6, 1, 4, 4) * 2 - 1, sample_noise(6, 3, seed=1)
    with torch.no_grad():
        expected_real, expected_fake = state.D(real), state.D(state.G(z))
    d_loss, real_logits, fake_logits = discriminator_step(state.G, state.D, state.optimizer_d, real, z, real_label=0.9)
    assert _all_equal(weights_of(state.G), g_before)
    assert not any(torch.equal(a, b) for a, b in zip(weights_of(state.D), d_before, strict=True))
    assert all(parameter.grad is None for parameter in state.G.parameters()), "a gradient reached G in D's turn"
    assert torch.equal(real_logits, expected_real) and torch.equal(fake_logits, expected_fake)
    assert d_loss == discriminator_loss(expected_real, expected_fake, real_label=0.9)
    assert not (d_loss.requires_grad or real_logits.requires_grad or fake_logits.requires_grad)


def test_gs_turn_changes_g_alone(small, changed, weights_of):
    state = new_state(changed(small, dropout=0.0))
    g_before, d_before = weights_of(state.G), weights_of(state.D)
    z = sample_noise(6, 3, seed=1)
    with torch.no_grad():
        expected = state.D(state.G(z))
    g_loss, fake_logits = generator_step(state.G, state.D, state.optimizer_g, z)
    assert _all_equal(weights_of(state.D), d_before)
    assert not any(torch.equal(a, b) for a, b in zip(weights_of(state.G), g_before, strict=True))
    assert all(parameter.grad is None and parameter.requires_grad for parameter in state.D.parameters())
    assert torch.equal(fake_logits, expected) and g_loss == generator_loss(expected)
    assert not (g_loss.requires_grad or fake_logits.requires_grad)


def test_d_is_frozen_while_g_moves(small):
    state, seen = new_state(small), []
    state.D.register_forward_hook(lambda D, *_: seen.append([one.requires_grad for one in D.parameters()]))
    generator_step(state.G, state.D, state.optimizer_g, sample_noise(6, 3))
    assert len(seen) == 1 and not any(seen[0])


def test_ds_gradient_is_kept_out_of_gs_turn(small, weights_of):
    """A D step after a G step is the same as without it: nothing is left over in D.grad."""
    real, z = torch.rand(6, 1, 4, 4) * 2 - 1, sample_noise(6, 3, seed=1)
    results = []
    for first in (False, True):
        state = new_state(small)
        if first:
            frozen_g = Generator(3, 8, (1, 4, 4))
            generator_step(frozen_g, state.D, torch.optim.SGD(frozen_g.parameters(), lr=0.1), z)
        torch.manual_seed(2)
        discriminator_step(state.G, state.D, state.optimizer_d, real, z)
        results.append(weights_of(state.D))
    assert _all_equal(*results)


class _Adam:
    """Kingma and Ba 2015, algorithm 1, in float64."""

    def __init__(self, values, rate, beta1, beta2):
        self.values, self.rate, self.betas, self.t = values, rate, (beta1, beta2), 0
        self.m, self.v = [np.zeros_like(x) for x in values], [np.zeros_like(x) for x in values]

    def step(self, gradients):
        (b1, b2), self.t = self.betas, self.t + 1
        for i, g in enumerate(gradients):
            self.m[i] = b1 * self.m[i] + (1 - b1) * g
            self.v[i] = b2 * self.v[i] + (1 - b2) * g * g
            m, v = self.m[i] / (1 - b1**self.t), self.v[i] / (1 - b2**self.t)
            self.values[i] = self.values[i] - self.rate * m / (np.sqrt(v) + 1e-8)


def _doubles(network):
    return [parameter.detach().double().numpy().copy() for parameter in network.parameters()]


def test_three_steps_of_each_against_adam_by_hand(small, changed):
    config = changed(small, dropout=0.0, beta1=0.4, beta2=0.95, learning_rate_g=3e-3, learning_rate_d=7e-3)
    state = new_state(config)
    adam_g = _Adam(_doubles(state.G), config.learning_rate_g, config.beta1, config.beta2)
    adam_d = _Adam(_doubles(state.D), config.learning_rate_d, config.beta1, config.beta2)
    for turn in range(3):
        real, z = torch.rand(6, 1, 4, 4) * 2 - 1, sample_noise(6, 3, seed=turn)
        G, D = Generator(3, 8, (1, 4, 4)).double(), Discriminator(8, (1, 4, 4)).double()
        for network, adam in ((G, adam_g), (D, adam_d)):
            network.load_state_dict(dict(zip(network.state_dict(), map(torch.from_numpy, adam.values), strict=True)))
        real_d, fake_d = torch.sigmoid(D(real.double())), torch.sigmoid(D(G(z.double()).detach()))
        loss = -(0.9 * real_d.log() + 0.1 * (1 - real_d).log()).mean() - (1 - fake_d).log().mean()
        adam_d.step([g.numpy() for g in torch.autograd.grad(loss, list(D.parameters()))])
        d_loss, *_ = discriminator_step(state.G, state.D, state.optimizer_d, real, z, real_label=0.9)
        assert d_loss.item() == pytest.approx(loss.item(), abs=1e-5)
        D.load_state_dict(dict(zip(D.state_dict(), map(torch.from_numpy, adam_d.values), strict=True)))
        loss = -torch.sigmoid(D(G(z.double()))).log().mean()
        adam_g.step([g.numpy() for g in torch.autograd.grad(loss, list(G.parameters()))])
        g_loss, _ = generator_step(state.G, state.D, state.optimizer_g, z)
        assert g_loss.item() == pytest.approx(loss.item(), abs=1e-5)
    for network, adam in ((state.G, adam_g), (state.D, adam_d)):
        for found, expected in zip(_doubles(network), adam.values, strict=True):
            np.testing.assert_allclose(found, expected, atol=2e-5)


def test_the_average_after_k_steps_of_a_g_that_stands_still():
    start, G = Generator(3, 5, (1, 4, 4)), Generator(3, 5, (1, 4, 4))
    average, kept = Generator(3, 5, (1, 4, 4)), [value.clone() for value in G.parameters()]
    average.load_state_dict(start.state_dict())
    for _ in range(10):
        update_average(average, G, 0.8)
    for a, s, g in zip(average.parameters(), start.parameters(), G.parameters(), strict=True):
        torch.testing.assert_close(a, 0.8**10 * s + (1 - 0.8**10) * g)
        assert a.requires_grad and a.grad_fn is None
    assert _all_equal(G.parameters(), kept)


def test_the_average_of_a_training_run_by_hand(small):
    state = new_state(small)
    average = _doubles(state.G)
    for step in range(7):
        torch.manual_seed(step)
        train_step(state, torch.rand(6, 1, 4, 4) * 2 - 1)
        average = [0.9 * a + (1 - 0.9) * g for a, g in zip(average, _doubles(state.G), strict=True)]
    for found, expected, now in zip(_doubles(state.G_ema), average, _doubles(state.G), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)
        assert np.abs(found - now).max() > 1e-3
    assert state.sampling_generator is state.G_ema


def test_the_average_follows_batchnorms_statistics(small, changed, pixels):
    state = _run(changed(small, networks="batchnorm-mlp", ema_decay=0.9), pixels)
    buffers = list(zip(state.G_ema.buffers(), state.G.buffers(), strict=True))
    assert len(buffers) == 6 and all(torch.equal(one, other) for one, other in buffers)


def test_the_penalty_step_flattens_d_and_leaves_g_alone(small, changed, weights_of):
    state = new_state(changed(small, learning_rate_d=1e-2))
    real, before = torch.randn(20, 1, 4, 4), [weight.clone() for weight in weights_of(state.G)]
    first, *_, last = [r1_step(state.D, state.optimizer_d, real, weight=1.0).item() for _ in range(20)]
    assert 0 <= last < first / 2
    assert _all_equal(weights_of(state.G), before)
    assert not real.requires_grad


def test_the_penalty_comes_every_few_steps_and_weighs_as_much_more(small, changed, pixels, monkeypatch):
    weights = []
    monkeypatch.setattr(train, "r1_step", lambda *_, weight: weights.append(weight))
    _run(changed(small, batch_size=1, penalty=0.5, epochs=1), torch.cat([pixels, pixels]))
    assert weights == [train.R1_INTERVAL * 0.5] * (50 // train.R1_INTERVAL)


def test_without_ema_there_is_no_average(small, changed):
    state = new_state(changed(small, ema_decay=0.0))
    assert state.G_ema is None and state.sampling_generator is state.G


def test_each_turn_has_noise_of_its_own(small, monkeypatch):
    seen = []
    d_step, g_step = train.discriminator_step, train.generator_step
    monkeypatch.setattr(train, "discriminator_step", lambda *a, **k: seen.append(a[4]) or d_step(*a, **k))
    monkeypatch.setattr(train, "generator_step", lambda *a: seen.append(a[3]) or g_step(*a))
    train_step(new_state(small), torch.zeros(6, 1, 4, 4))
    assert [tuple(z.shape) for z in seen] == [(6, 3), (6, 3)] and not torch.equal(*seen)


def test_take_turns_returns_the_five_numbers_in_order(small, changed):
    config = changed(small, dropout=0.0)
    real, other = torch.rand(6, 1, 4, 4) * 2 - 1, new_state(config)
    torch.manual_seed(1)
    z, z_of_g = torch.randn(6, 3), torch.randn(6, 3)
    d_loss, real_logits, before = discriminator_step(other.G, other.D, other.optimizer_d, real, z, real_label=0.9)
    g_loss, after = generator_step(other.G, other.D, other.optimizer_g, z_of_g)
    torch.manual_seed(1)
    numbers = train_step(new_state(config), real)
    expected = [d_loss, g_loss, *[1 / (1 + torch.exp(-logits)) for logits in (real_logits, before, after)]]
    torch.testing.assert_close(numbers, torch.stack([one.mean() for one in expected]))


# --- one epoch --------------------------------------------------------------------------------------------------------


def test_an_epoch_shows_every_image_once_in_another_order_each_time(small, monkeypatch):
    pixels = torch.arange(25, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 4, 4).contiguous()
    batches, turns = [], train.train_step
    monkeypatch.setattr(train, "train_step", lambda state, real: batches.append(real) or turns(state, real))
    state = new_state(small)
    run = fit(state, pixels)
    orders = []
    for _ in range(2):
        batches.clear()
        next(run)
        assert [len(real) for real in batches] == [10, 10, 5]
        orders.append(torch.cat(batches)[:, 0, 0, 0])
        assert torch.equal(orders[-1].sort().values, normalize(torch.arange(25, dtype=torch.uint8)))
    assert not torch.equal(*orders)
    assert state.history[-1].images_seen == 50


def test_a_record_is_the_mean_over_batches(small, pixels, monkeypatch):
    rows = torch.tensor([[1.0, 2, 3, 4, 5], [2, 3, 4, 5, 6], [6, 7, 8, 9, 10]])
    turns = iter(rows)
    monkeypatch.setattr(train, "train_step", lambda state, real: next(turns))
    state = new_state(small)
    state.history.append(Record(7, 0, 0, 0, 0, 0, 1000, 3600.0))
    record = train.train_epoch(state, pixels)
    assert record[:7] == (8, 3, 4, 5, 6, 7, 1025)
    assert 3600 < record.seconds < 3660


def test_a_record_stays_in_its_ranges(small, pixels):
    for record in fit(new_state(small), pixels):
        assert record.d_loss > 0 and record.g_loss > 0
        assert all(0 < value < 1 for value in (record.d_real, record.d_fake_before, record.d_fake_after))
        assert all(type(value) in (int, float) for value in record)


def test_one_image_and_a_batch_as_large_as_the_data(small, changed, pixels):
    assert _run(changed(small, batch_size=1, epochs=1), pixels[:1]).history[0].images_seen == 1
    assert _run(changed(small, batch_size=25, epochs=1), pixels).history[0].images_seen == 25


# --- a run ------------------------------------------------------------------------------------------------------------


def test_the_same_config_is_the_same_run_bit_for_bit(small, pixels, everything, same_history):
    torch.manual_seed(1)
    one = _run(small, pixels)
    torch.manual_seed(2)
    other = _run(small, pixels)
    assert _all_equal(everything(one), everything(other))
    assert same_history(one.history, other.history)


def test_another_seed_is_another_run(small, changed, pixels, weights_of):
    one, other = new_state(small), new_state(changed(small, seed=1))
    assert not torch.equal(weights_of(one.G)[0], weights_of(other.G)[0])
    other.G.load_state_dict(one.G.state_dict())
    other.D.load_state_dict(one.D.state_dict())
    next(fit(one, pixels)), next(fit(other, pixels))
    assert not torch.equal(weights_of(one.G)[0], weights_of(other.G)[0]), "the seed must reach the batches too"


@pytest.mark.parametrize(
    "change",
    [{"batch_size": 5}, {"learning_rate_g": 1e-3}, {"learning_rate_d": 1e-3}, {"beta1": 0.9}, {"beta2": 0.9},
     {"real_label": 1.0}, {"dropout": 0.5}, {"ema_decay": 0.5}, {"networks": "batchnorm-mlp"},
     {"mirror": True}, {"bfloat16": True}],
)  # fmt: skip
def test_every_number_of_the_config_reaches_the_run(change, small, changed, pixels, weights_of):
    one, other = _run(small, pixels), _run(changed(small, **change), pixels)
    assert not _all_equal(weights_of(one.sampling_generator), weights_of(other.sampling_generator))


def test_what_the_caller_does_between_epochs_changes_nothing(small, pixels, everything, same_history):
    state, undisturbed = new_state(small), _run(small, pixels)
    for record in fit(state, pixels):
        torch.manual_seed(record.epoch)
        torch.randn(17), np.random.rand(3), random.random()
        sample_images(state.sampling_generator, sample_noise(4, 3))
    assert _all_equal(everything(state), everything(undisturbed))
    assert same_history(state.history, undisturbed.history)


def test_fit_leaves_the_callers_random_numbers_alone(small, pixels):
    torch.manual_seed(5)
    expected = torch.randn(3)
    torch.manual_seed(5)
    _run(small, pixels)
    assert torch.equal(torch.randn(3), expected)


def test_every_epoch_stands_in_the_history_once(small, pixels):
    state = new_state(small)
    yielded = list(fit(state, pixels))
    assert [record.epoch for record in state.history] == [1, 2, 3, 4]
    assert yielded == state.history
    assert [record.images_seen for record in yielded] == [25, 50, 75, 100]
    assert all(a.seconds < b.seconds for a, b in itertools.pairwise(yielded))
    assert list(fit(state, pixels)) == [] and len(state.history) == 4


def test_a_run_that_is_stopped_goes_on_as_if_it_had_not(small, pixels, everything, same_history):
    state = new_state(small)
    for record in fit(state, pixels):
        if record.epoch == 2:
            break
    assert len(state.history) == 2
    list(fit(state, pixels))
    undisturbed = _run(small, pixels)
    assert same_history(state.history, undisturbed.history) and len(state.history) == 4
    assert _all_equal(everything(state), everything(undisturbed))


def test_fit_trains_while_it_is_asked_and_no_further(small, pixels, weights_of):
    state = new_state(small)
    before = weights_of(state.G)
    run = fit(state, pixels)
    assert _all_equal(weights_of(state.G), before)
    next(run)
    assert not _all_equal(weights_of(state.G), before) and len(state.history) == 1


def test_new_state_starts_equal_and_apart(small, weights_of):
    torch.manual_seed(5)
    expected = torch.randn(3)
    torch.manual_seed(5)
    state = new_state(small)
    assert torch.equal(torch.randn(3), expected)
    assert state.history == [] and new_state(small).history is not state.history
    assert _all_equal(weights_of(state.G_ema), weights_of(state.G))
    with torch.no_grad():
        next(state.G.parameters()).add_(1)
    assert not torch.equal(weights_of(state.G_ema)[0], weights_of(state.G)[0])
    assert {id(p) for g in state.optimizer_g.param_groups for p in g["params"]} == {id(p) for p in state.G.parameters()}
    assert {id(p) for g in state.optimizer_d.param_groups for p in g["params"]} == {id(p) for p in state.D.parameters()}


def test_the_pixels_are_read_only(small, pixels):
    before = pixels.clone()
    _run(small, pixels)
    assert torch.equal(pixels, before)


# --- what does not fit ------------------------------------------------------------------------------------------------


def test_a_batch_larger_than_the_data(small, pixels, says):
    with says("batch_size", 10, 9):
        next(fit(new_state(small), pixels[:9]))
    with says("batch_size", 10, 0):
        next(fit(new_state(small), pixels[:0]))


@pytest.mark.parametrize("shape", [(25, 1, 4, 5), (25, 3, 4, 4), (25, 4, 4)])
def test_images_of_another_shape(small, shape, says):
    with says(shape[1:], (1, 4, 4)):
        next(fit(new_state(small), torch.zeros(shape, dtype=torch.uint8)))


# --- does it learn? ---------------------------------------------------------------------------------------------------


def test_g_learns_what_the_images_look_like():
    """Images are bright on the left and dark on the right: G has to find out."""
    pixels = torch.zeros(200, 1, 4, 4, dtype=torch.uint8)
    pixels[..., :2] = 255
    pixels ^= torch.randint(0, 30, pixels.shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    config = Config(epochs=30, batch_size=20, latent_dim=4, hidden_dim=32, image_size=4, learning_rate_g=2e-3,
                    learning_rate_d=2e-3, beta1=0.5, ema_decay=0.9)  # fmt: skip
    state = _run(config, pixels)
    mean = sample_images(state.sampling_generator, sample_noise(200, 4, seed=0)).mean(0)[0]
    assert mean[:, :2].min() > 0.5 and mean[:, 2:].max() < -0.5
    assert abs(state.history[0].d_loss - math.log(4)) < 0.5, "an untrained D knows nothing"
