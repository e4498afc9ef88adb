"""No tensor is made without a device where one is given: what a GPU would stumble over, found on the CPU.

torch's default device is made the wrong one, `meta`, whose tensors hold no numbers. Networks
and images are on the CPU. A tensor made without a device lands on meta and fails there.
"""

import pytest
import torch

from ganlib import accelerate
from ganlib.checkpoint import (
    load_checkpoint,
    load_generator,
    save_checkpoint,
    save_generator,
)
from ganlib.config import Config
from ganlib.ema import refresh_batchnorm
from ganlib.losses import LOSSES
from ganlib.metrics import load_classifier, score
from ganlib.sampling import sample_images, sample_noise, sample_pixels
from ganlib.training import fit, new_state

ARCHITECTURES = {  # image size, and what only some networks allow
    "mlp": (28, {"r1_weight": 1.0, "r2_weight": 1.0}),
    "batchnorm-mlp": (28, {"r1_weight": 1.0, "r2_weight": 1.0}),
    "dcgan": (32, {"base_channels": 8}),
    "resize-conv": (32, {"base_channels": 8, "r1_weight": 1.0, "r2_weight": 1.0}),
}
LOOPS = {"plain": fit, "accelerated": accelerate.fit}


@pytest.fixture
def wrong_default():
    """Whatever is made without a device is made on meta."""
    torch.set_default_device("meta")
    yield
    torch.set_default_device(None)


def config_of(architecture, **fields):
    size, more = ARCHITECTURES[architecture]
    return Config(
        architecture=architecture, image_size=size, epochs=1, batch_size=10,
        ema_decay=0.9, dropout=0.1 if architecture == "mlp" else 0.0,
        random_flip=True, augment_shift=2, augment_color=True, augment_cutout=0.25, **(more | fields),
    )  # fmt: skip


def pixels_of(config, count=40):
    shape = (count, *config.image_shape)
    return torch.randint(0, 256, shape, dtype=torch.uint8, device="cpu")


def on_cpu(network):
    tensors = [*network.parameters(), *network.buffers()]
    return {tensor.device.type for tensor in tensors} == {"cpu"}


def test_the_wrong_default_is_felt(wrong_default):
    with pytest.raises((RuntimeError, NotImplementedError)):
        (torch.zeros(2) + torch.ones(2, device="cpu")).tolist()


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_epoch_with_penalties_and_augmentations(wrong_default, architecture, loop):
    config = config_of(architecture)
    state = new_state(config, "cpu")
    assert on_cpu(state.G) and on_cpu(state.D) and on_cpu(state.G_ema)
    (record,) = LOOPS[loop](state, pixels_of(config))
    assert record.images_seen == 40
    assert on_cpu(state.G) and on_cpu(state.D) and on_cpu(state.G_ema)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss(wrong_default, loss):
    smooth = {"real_label": 0.9} if loss == "nonsaturating" else {}
    config = config_of("mlp", loss=loss, **smooth)
    assert len(list(fit(new_state(config, "cpu"), pixels_of(config)))) == 1


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_samples_and_statistics(wrong_default, architecture):
    config = config_of(architecture)
    G = new_state(config, "cpu").G
    refresh_batchnorm(G, config.latent_dim, batches=2)
    assert sample_images(G, sample_noise(3, seed=0)).device.type == "cpu"
    pixels = sample_pixels(G, config.latent_dim, count=3)
    assert pixels.device.type == "cpu" and pixels.shape == (3, *config.image_shape)


def test_scores(wrong_default):
    classifier = load_classifier("mnist")
    images = pixels_of(config_of("mlp"), 60)
    found = score(classifier, images, images.flip(0))
    assert found.frechet == pytest.approx(0, abs=1e-2)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_checkpoint_and_a_generator_come_back_to_the_device(
    wrong_default, architecture, tmp_path
):
    config = config_of(architecture)
    state = new_state(config, "cpu")
    list(fit(state, pixels_of(config)))
    save_checkpoint(state, tmp_path / "checkpoint.pt")
    again = load_checkpoint(tmp_path / "checkpoint.pt", "cpu", epochs=2)
    list(fit(again, pixels_of(config)))
    assert on_cpu(again.G) and on_cpu(again.D) and len(again.history) == 2
    save_generator(state.G, config, tmp_path / "G.safetensors")
    loaded, _ = load_generator(tmp_path / "G.safetensors")
    noise = sample_noise(3, seed=0)
    assert torch.equal(sample_images(loaded, noise), sample_images(state.G, noise))
