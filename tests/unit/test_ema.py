"""The average of G: its pace, and BatchNorm statistics of its own."""

import copy

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from ganlib.config import Config
from ganlib.ema import has_batchnorm, refresh_batchnorm, update_average
from ganlib.models import Generator, build
from ganlib.sampling import sample_noise
from ganlib.training import fit, new_state

WITH_BATCHNORM = "batchnorm-mlp", "dcgan", "resize-conv", "pixel-shuffle"


def tiny(architecture, **changes):
    """A config of narrow networks that learn fast on 16x16 images."""
    width = {} if architecture == "dcgan" else {"r1_weight": 0.1}
    width |= {"hidden_dim": 6} if architecture == "batchnorm-mlp" else {}
    width |= {"base_channels": 4} if architecture != "batchnorm-mlp" else {}
    fields = {"latent_dim": 4, "image_size": 16, "batch_size": 20, "epochs": 3}
    rates = {"learning_rate_g": 0.03, "learning_rate_d": 0.01, "beta1": 0.5}
    fields |= {"architecture": architecture, "ema_decay": 0.95, **width, **rates}
    return Config(**{**fields, **changes})


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (200, 1, 16, 16), generator=generator).byte()


def statistics_of(G):
    norms = [layer for layer in G.modules() if isinstance(layer, _BatchNorm)]
    return [(norm.running_mean.clone(), norm.running_var.clone()) for norm in norms]


def assert_own_statistics(G, latent_dim):
    """Each BatchNorm's statistics are those of what reaches it in eval mode."""
    reached = {}

    def note(norm, inputs):
        values = inputs[0].detach().transpose(0, 1).flatten(1)
        reached[norm] = (values.mean(dim=1), values.var(dim=1))

    norms = [layer for layer in G.modules() if isinstance(layer, _BatchNorm)]
    hooks = [norm.register_forward_pre_hook(note) for norm in norms]
    with torch.no_grad():
        G.eval()(sample_noise(4000, latent_dim, seed=12345))
    for hook in hooks:
        hook.remove()
    assert len(reached) == len(norms) > 0
    for norm, (mean, variance) in reached.items():
        off = (norm.running_mean - mean).abs() / (variance + norm.eps).sqrt()
        ratio = (norm.running_var + norm.eps) / (variance + norm.eps)
        assert off.max() < 0.1, f"{off.max():.2f} standard deviations off"
        assert 0.8 < ratio.min() and ratio.max() < 1.25, f"variance: {ratio}"


# --- the average ----------------------------------------------------------------------


def test_the_average_of_a_generator_that_stands_still():
    start, G = Generator(3, 5, (1, 4, 4)), Generator(3, 5, (1, 4, 4))
    average, before = copy.deepcopy(start), copy.deepcopy(G.state_dict())
    for _ in range(10):
        update_average(average, G, 0.8, step=1000)
    for found, first, last in zip(
        average.parameters(), start.parameters(), G.parameters(), strict=True
    ):
        torch.testing.assert_close(found, 0.8**10 * first + (1 - 0.8**10) * last)
        assert found.requires_grad and found.grad_fn is None
    for name, value in G.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize(
    ("step", "decay", "kept"),
    [(0, 0.999, 0.1), (1, 0.999, 2 / 11), (90, 0.999, 0.91), (90, 0.5, 0.5)],
)
def test_early_steps_keep_less_of_the_average(step, decay, kept):
    average, G = torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(average.weight, 1.0)
    torch.nn.init.constant_(G.weight, 0.0)
    update_average(average, G, decay, step)
    assert average.weight.item() == pytest.approx(kept)


def test_a_young_average_has_left_its_first_weights(small, changed, pixels):
    """After eight steps a decay of 0.999 alone would keep 99 % of the untrained G."""
    state = new_state(changed(small, ema_decay=0.999))
    first = copy.deepcopy(state.G_ema)
    list(fit(state, pixels))
    rest = torch.cat([weight.flatten() for weight in state.G_ema.parameters()])
    start = torch.cat([weight.flatten() for weight in first.parameters()])
    now = torch.cat([weight.flatten() for weight in state.G.parameters()])
    assert (rest - start).norm() > 0.5 * (now - start).norm()


def test_the_average_of_a_run_by_hand(small, pixels):
    """Each step's weights of G, averaged in float64."""
    state, steps = new_state(small), []
    average = [weight.detach().double() for weight in state.G.parameters()]

    def keep_weights(optimizer, *_):
        steps.append([weight.detach().double() for weight in state.G.parameters()])

    state.optimizer_g.register_step_post_hook(keep_weights)
    list(fit(state, pixels))
    assert len(steps) == 8, "two batches in each of four epochs"
    for step, weights in enumerate(steps):
        kept = min(small.ema_decay, (1 + step) / (10 + step))
        average = [
            kept * old + (1 - kept) * new
            for old, new in zip(average, weights, strict=True)
        ]
    for found, by_hand in zip(state.G_ema.parameters(), average, strict=True):
        torch.testing.assert_close(found.double(), by_hand, atol=1e-6, rtol=0)


# --- its statistics -------------------------------------------------------------------


@pytest.mark.parametrize("architecture", WITH_BATCHNORM)
def test_the_average_is_drawn_from_with_its_own_statistics(architecture, images):
    state = new_state(tiny(architecture))
    list(fit(state, images))
    G = state.sampling_generator
    assert G is state.G_ema
    assert_own_statistics(G, state.config.latent_dim)


def test_the_average_has_its_own_statistics_at_every_epoch(images):
    state = new_state(tiny("batchnorm-mlp"))
    for _ in fit(state, images):
        assert_own_statistics(state.sampling_generator, state.config.latent_dim)


def test_the_average_is_measured_once_a_step(images):
    """A convolutional G takes long; only the first draw after a step may cost that."""
    state, batches = new_state(tiny("batchnorm-mlp")), []
    state.G_ema.register_forward_hook(lambda *_: batches.append(1))
    next(fit(state, images))
    assert state.sampling_generator is state.G_ema
    measured = len(batches)
    assert state.sampling_generator is state.G_ema
    assert len(batches) == measured > 0


def test_drawing_from_the_average_changes_nothing_of_the_run(images):
    config = tiny("batchnorm-mlp")
    undisturbed, state = new_state(config), new_state(config)
    list(fit(undisturbed, images))
    for _ in fit(state, images):
        assert state.sampling_generator is state.G_ema
    for part in ("G", "D", "G_ema"):
        found = getattr(state, part).parameters()
        expected = getattr(undisturbed, part).parameters()
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_without_an_average_g_itself_is_drawn_from(small, changed):
    state = new_state(changed(small, ema_decay=0.0))
    assert state.G_ema is None and state.sampling_generator is state.G


@pytest.mark.parametrize("architecture", WITH_BATCHNORM)
def test_fresh_statistics_are_right_whatever_stood_there(architecture):
    torch.manual_seed(0)
    G, _ = build(tiny(architecture))
    for norm in G.modules():
        if isinstance(norm, _BatchNorm):
            norm.running_mean.fill_(3.0)
            norm.running_var.fill_(7.0)
    assert refresh_batchnorm(G, 4, batches=20, batch_size=100) is G
    assert_own_statistics(G, 4)


def test_the_same_weights_get_the_same_statistics():
    G, _ = build(tiny("batchnorm-mlp"))
    torch.manual_seed(1)
    one = statistics_of(refresh_batchnorm(G, 4, batches=5))
    state = torch.manual_seed(2).get_state()
    other = statistics_of(refresh_batchnorm(G, 4, batches=5))
    for (mean, variance), (same_mean, same_variance) in zip(one, other, strict=True):
        assert torch.equal(mean, same_mean) and torch.equal(variance, same_variance)
    assert torch.equal(torch.get_rng_state(), state), "the noise has its own seed"


@pytest.mark.parametrize("training", [True, False])
def test_measuring_leaves_weights_mode_and_momentum(training):
    G, _ = build(tiny("dcgan"))
    G.train(training)
    before = [weight.clone() for weight in G.parameters()]
    refresh_batchnorm(G, 4, batches=2, batch_size=10)
    for weight, old in zip(G.parameters(), before, strict=True):
        assert torch.equal(weight, old) and weight.grad is None
    assert all(layer.training is training for layer in G.modules())
    norms = [layer for layer in G.modules() if isinstance(layer, _BatchNorm)]
    assert {norm.momentum for norm in norms} == {0.1}


def test_which_networks_have_batchnorm():
    found = {}
    for architecture in ("mlp", *WITH_BATCHNORM):
        fields = {"architecture": architecture, "image_size": 16}
        found[architecture] = has_batchnorm(build(Config(**fields))[0])
    assert found == {"mlp": False, **dict.fromkeys(WITH_BATCHNORM, True)}
