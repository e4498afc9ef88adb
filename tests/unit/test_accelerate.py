"""accelerate.fit trains what the plain loop trains, faster; and less exactly only where the config allows it."""

import shutil
from copy import deepcopy

import pytest
import torch
from torch import nn

from ganlib import accelerate, training
from ganlib.accelerate import compile_step, matmul_precision, multiplies_bfloat16
from ganlib.checkpoint import load_checkpoint, save_checkpoint
from ganlib.config import Config
from ganlib.data.transforms import normalize
from ganlib.training import new_state, shuffled_batches

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
compiler = pytest.mark.skipif(
    not shutil.which("g++"), reason="torch.compile needs a C++ compiler here"
)


def config_of(architecture="mlp", **changes):
    size = (
        {"image_size": 8}
        if "mlp" in architecture
        else {"image_size": 16, "base_channels": 8}
    )
    rest = {"latent_dim": 8, "batch_size": 16, "epochs": 3, "ema_decay": 0.9}
    rates = {"learning_rate_g": 1e-3, "learning_rate_d": 1e-3, "beta1": 0.5}
    return Config(architecture=architecture, **size | rest | rates | changes)


def pixels_for(config):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(
        0, 256, (160, *config.image_shape), dtype=torch.uint8, generator=generator
    )


def train(config, fit=accelerate.fit, device="cpu"):
    """A trained state, the numbers of its history (epochs, 5), and all its weights (n,)."""
    state = new_state(config, device)
    list(fit(state, pixels_for(config)))
    return state, losses_of(state), weights_of(state)


def losses_of(state):
    return torch.tensor([record[1:6] for record in state.history])


def weights_of(state):
    """All weights of G, D and the average, one vector (n,)."""
    networks = nn.ModuleList([state.G, state.D, state.G_ema])
    return torch.cat(
        [weight.detach().cpu().flatten() for weight in networks.parameters()]
    )


def assert_close(one, other, allowed=1e-4):
    assert (one[1] - other[1]).abs().max() <= allowed, "losses"
    assert (one[2] - other[2]).abs().max() <= allowed, "weights"


# --- the same numbers -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "architecture", ["mlp", "batchnorm-mlp", "dcgan", "resize-conv", "pixel-shuffle"]
)
def test_without_switches_it_is_the_plain_loop_to_the_last_bit(architecture):
    config = config_of(architecture)
    assert_close(train(config), train(config, training.fit), 0)


def test_channels_last_changes_numbers_by_rounding_alone():
    assert_close(
        train(config_of("dcgan")), train(config_of("dcgan", channels_last=True))
    )


@compiler
@pytest.mark.parametrize("device", DEVICES)
def test_a_compiled_step_is_the_plain_one(device):
    """With dropout, smoothing, and penalties between; compiled once; and it goes on bit for bit."""
    switches = {"dropout": 0.3, "real_label": 0.9, "r1_weight": 0.1}
    config = config_of(compile_step=True, **switches)
    state, pixels = new_state(config, device), pixels_for(config)
    epochs = accelerate.fit(state, pixels)
    next(epochs)
    halfway = deepcopy(state)
    with torch.compiler.set_stance("fail_on_recompile"):
        list(epochs)
    fast = state, losses_of(state), weights_of(state)
    assert_close(train(config_of(**switches), training.fit, device), fast)
    list(accelerate.fit(halfway, pixels))
    assert torch.equal(weights_of(halfway), fast[2])


@compiler
def test_a_controlled_strength_does_not_compile_the_step_anew():
    control = {"augment_shift": 1, "augment_target": 0.01, "augment_ramp": 400}
    config = config_of(compile_step=True, **control)
    state, pixels = new_state(config), pixels_for(config)
    epochs = accelerate.fit(state, pixels)
    next(epochs)
    with torch.compiler.set_stance("fail_on_recompile"):
        list(epochs)
    plain = train(config_of(**control), training.fit)
    assert state.augment_strength.item() == plain[0].augment_strength.item() > 0
    assert_close(plain, (state, losses_of(state), weights_of(state)))


def test_many_runs_of_a_process_are_compiled():
    """torch gives up compiling a function anew after eight optimizers."""

    def turn(state, real):
        return real * state.optimizer_d.param_groups[0]["lr"]

    state = new_state(config_of())
    counters = torch._dynamo.utils.counters
    for _ in range(10):
        counters.clear()
        compile_step(turn)(new_state(state.config), torch.ones(3))
        assert counters["stats"]["unique_graphs"] == 1


def test_the_loop_gives_the_losses_of_the_tutorials_loop():
    """Theirs: BCELoss after a sigmoid, D collects gradients in G's turn, and Adam one tensor at a time."""
    config = config_of("dcgan", epochs=1)
    state, ours, pixels = new_state(config), new_state(config), pixels_for(config)
    G, D = state.G, nn.Sequential(state.D, nn.Sigmoid())
    settings = {
        "lr": config.learning_rate_g,
        "betas": (config.beta1, config.beta2),
        "foreach": False,
    }
    optimizer_g, optimizer_d = (
        torch.optim.Adam(network.parameters(), **settings) for network in (G, D)
    )
    criterion, ones, zeros = (
        nn.BCELoss(),
        torch.ones(config.batch_size),
        torch.zeros(config.batch_size),
    )
    losses = []
    with torch.random.fork_rng():
        torch.manual_seed(config.seed * 1_000_003 + 1)
        for batch in torch.randperm(len(pixels)).split(config.batch_size):
            fake = G(torch.randn(len(batch), config.latent_dim)).detach()
            d_loss = criterion(D(normalize(pixels[batch])), ones) + criterion(
                D(fake), zeros
            )
            D.zero_grad()
            d_loss.backward()
            optimizer_d.step()
            g_loss = criterion(D(G(torch.randn(len(batch), config.latent_dim))), ones)
            G.zero_grad()
            g_loss.backward()
            optimizer_g.step()
            losses.append([d_loss.item(), g_loss.item()])
    (record,) = accelerate.fit(ours, pixels)
    assert record[1:3] == pytest.approx(torch.tensor(losses).mean(0).tolist(), abs=1e-4)


# --- shorter numbers ------------------------------------------------------------------------------


@pytest.fixture
def with_bfloat16(monkeypatch):
    """A device that multiplies in bfloat16, or is taken for one."""
    monkeypatch.setattr(accelerate, "multiplies_bfloat16", lambda device: True)


@pytest.mark.usefixtures("with_bfloat16")
@pytest.mark.parametrize("architecture", ["mlp", "dcgan"])
@pytest.mark.parametrize("switch", [{"bfloat16": True}, {"matmul_precision": "medium"}])
def test_shorter_numbers_follow_float32(architecture, switch):
    """With weights that were cast once and kept, a network would see none of its steps."""
    full, short = (
        train(config_of(architecture)),
        train(config_of(architecture, **switch)),
    )
    assert (
        (full[1] - short[1]).abs().max() <= 0.1 < (full[1][0] - full[1][-1]).abs().max()
    )


def test_half_precision_is_used(with_bfloat16):
    config = config_of(r1_weight=0.1)
    assert not torch.equal(
        train(config)[2], train(config_of(r1_weight=0.1, bfloat16=True))[2]
    )


def test_a_device_that_only_imitates_bfloat16_takes_float32_and_says_so(monkeypatch):
    monkeypatch.setattr(accelerate, "multiplies_bfloat16", lambda device: False)
    with pytest.warns(UserWarning, match="no arithmetic for bfloat16"):
        state, _, weights = train(config_of(bfloat16=True))
    assert torch.equal(weights, train(config_of())[2])
    assert state.config.bfloat16  # the run may go on where there is such arithmetic


@pytest.mark.parametrize("name", ["avx512_bf16", "amx_bf16", "bf16"])
def test_a_processor_says_whether_it_multiplies_bfloat16(name, monkeypatch):
    cpu = torch.device("cpu")
    for there in (True, False):
        can = {"avx2": True, name: there}
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda can=can: can)
        assert multiplies_bfloat16(cpu) == there


def test_precision_holds_for_an_epoch_and_not_while_the_caller_has_its_record(
    with_bfloat16,
):
    inside = []

    def noted(count, batch_size, device):
        inside.append(
            (torch.get_float32_matmul_precision(), torch.is_autocast_enabled("cpu"))
        )
        return shuffled_batches(count, batch_size, device)

    config = config_of(matmul_precision="medium", bfloat16=True)
    for _ in accelerate.fit(new_state(config), pixels_for(config), sampler=noted):
        assert torch.get_float32_matmul_precision() == "highest"
        assert not torch.is_autocast_enabled("cpu")
    assert inside == [("medium", True)] * config.epochs


def test_precision_does_not_outlive_an_epoch_that_fails():
    config = config_of(matmul_precision="medium")
    with pytest.raises(ZeroDivisionError):
        next(
            accelerate.fit(
                new_state(config), pixels_for(config), sampler=lambda *_: 1 / 0
            )
        )
    assert torch.get_float32_matmul_precision() == "highest"


def test_matmul_precision_is_restored_to_what_it_was():
    with matmul_precision("high"):
        with matmul_precision("medium"):
            assert torch.get_float32_matmul_precision() == "medium"
        assert torch.get_float32_matmul_precision() == "high"
    assert torch.get_float32_matmul_precision() == "highest"


# --- memory layout --------------------------------------------------------------------------------


def test_channels_last_is_used():
    state, _, _ = train(config_of("dcgan", epochs=1, channels_last=True))
    kernels = [
        weight
        for weight in state.D.parameters()
        if weight.dim() == 4 and weight.shape[1] > 1
    ]
    assert kernels
    assert all(
        weight.is_contiguous(memory_format=torch.channels_last) for weight in kernels
    )
    assert not any(weight.is_contiguous() for weight in kernels[:-1])


def test_a_channels_last_run_that_was_resumed_is_the_run_that_was_not(tmp_path):
    """The fused Adam pairs weights and memory by their place: with two layouts it would mix up its memory."""
    config = config_of("resize-conv", channels_last=True)
    whole, _, wanted = train(config)
    state = new_state(config)
    next(accelerate.fit(state, pixels_for(config)))
    save_checkpoint(state, tmp_path / "state.pt")
    again = load_checkpoint(tmp_path / "state.pt")
    list(accelerate.fit(again, pixels_for(config)))
    assert torch.equal(weights_of(again), wanted)
    assert len(again.history) == len(whole.history)


def test_a_run_goes_on_in_the_other_layout():
    plain, other = (
        config_of("dcgan", epochs=2),
        config_of("dcgan", epochs=2, channels_last=True),
    )
    state, pixels = new_state(other), pixels_for(other)
    next(accelerate.fit(state, pixels))
    state.config = plain
    list(accelerate.fit(state, pixels))
    assert_close(train(plain), (state, losses_of(state), weights_of(state)), 1e-3)
