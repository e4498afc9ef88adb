"""A tensor of ours is made where it is said to: found on a CPU, what a GPU would stumble over."""

import sys
from pathlib import Path

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._device import _device_constructors

import ganlib
from experiments import textbook_loop
from ganlib import accelerate
from ganlib.checkpoint import load_checkpoint, save_checkpoint
from ganlib.config import Config
from ganlib.losses import LOSSES
from ganlib.metrics import (
    AttributeClassifier,
    extract_features,
    load_classifier,
    read_attributes,
    score,
    subsample,
)
from ganlib.sampling import noise_circle, pixels_of, sample_pixels
from ganlib.training import fit, new_state

OURS = Path(ganlib.__file__).parent, Path(textbook_loop.__file__).parent
PENALTIES = {"r1_weight": 1.0, "r2_weight": 1.0}
ARCHITECTURES = {  # image size, and what only some networks allow
    "mlp": (28, {"hidden_dim": 8, "dropout": 0.1, **PENALTIES}),
    "batchnorm-mlp": (28, {"hidden_dim": 8, **PENALTIES}),
    "dcgan": (16, {"base_channels": 2, "channels": 3}),
    "resize-conv": (16, {"base_channels": 2, "channels": 3, **PENALTIES}),
    "pixel-shuffle": (16, {"base_channels": 4, "hidden_dim": 8, **PENALTIES}),
}


class DeviceSaid(TorchFunctionMode):
    """Inside the `with`, our code may make no tensor without saying where."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        caller = sys._getframe(1)
        place = Path(caller.f_code.co_filename)
        is_ours = any(place.is_relative_to(folder) for folder in OURS)
        if is_ours and function in _device_constructors() and "device" not in kwargs:
            raise AssertionError(f"{place}:{caller.f_lineno} says no device")
        return function(*args, **kwargs)


@pytest.fixture
def device_said():
    with DeviceSaid():
        yield


def config_of(architecture, **fields):
    size, more = ARCHITECTURES[architecture]
    augment = {"random_flip": True, "augment_shift": 2}
    augment |= {"augment_color": True, "augment_cutout": 0.25}
    shared = {"epochs": 1, "batch_size": 10, "latent_dim": 5, "ema_decay": 0.9}
    return Config(
        architecture=architecture, image_size=size, **shared, **augment | more | fields
    )


def bytes_of(shape, count=40):
    """Four batches of 10: after the fourth step come the penalties."""
    return torch.randint(0, 256, (count, *shape), dtype=torch.uint8)


@pytest.mark.parametrize("folder", OURS, ids=lambda folder: folder.name)
@pytest.mark.parametrize("code", ["zeros(3)", "tensor([1.0])", "randperm(4)"])
def test_a_planted_tensor_is_refused(device_said, folder, code):
    planted = compile(f"torch.{code}", folder / "planted.py", "eval")
    with pytest.raises(AssertionError, match=r"planted.py:1 says no device"):
        eval(planted)
    eval(compile(f"torch.{code[:-1]}, device='cpu')", folder / "right.py", "eval"))


@pytest.mark.parametrize("fit", [fit, accelerate.fit], ids=["plain", "accelerated"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_epoch_says_its_devices(device_said, architecture, fit, monkeypatch):
    monkeypatch.setattr(accelerate, "multiplies_bfloat16", lambda device: True)
    fields = {"bfloat16": True} if fit is accelerate.fit else {}
    config = config_of(architecture, **fields)
    state = new_state(config, "cpu")
    (record,) = fit(state, bytes_of(config.image_shape))
    assert record.images_seen == 40
    pixels = sample_pixels(state.sampling_generator, 5, count=3)
    assert pixels.shape == (3, *config.image_shape)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_says_its_devices(device_said, loss):
    labels = loss in ("nonsaturating", "saturating")
    fields = {"real_label": 0.9} if labels else {"gp_weight": 1.0}
    config = config_of("mlp", loss=loss, **fields)
    assert len(list(fit(new_state(config), bytes_of(config.image_shape)))) == 1


def test_samples_and_checkpoints_say_their_devices(device_said, tmp_path):
    config = config_of("resize-conv")
    state = new_state(config)
    assert pixels_of(state.G, noise_circle(3, 5, seed=0)).shape == (3, 3, 16, 16)
    save_checkpoint(state, tmp_path / "checkpoint.pt")
    again = load_checkpoint(tmp_path / "checkpoint.pt", "cpu", epochs=2)
    assert len(list(fit(again, bytes_of(config.image_shape)))) == 2


def test_scores_say_their_devices(device_said):
    images = bytes_of((1, 28, 28), 1100)
    found = score(load_classifier("mnist"), images, subsample(images, 1000))
    assert found.generated == 1000 and found.kl is not None
    assert read_attributes(bytes_of((3, 64, 64), 2)).shape == (2, 7)


def test_the_textbook_loop_says_its_devices(device_said):
    for networks, settings, side in (
        (textbook_loop.mlps, textbook_loop.MLP, (1, 28, 28)),
        (textbook_loop.dcgans, textbook_loop.DCGAN | {"base_channels": 2}, (3, 64, 64)),
    ):
        loop = textbook_loop.TextbookLoop(*networks(settings), settings, device="cpu")
        assert loop.epoch([torch.zeros(4, *side)] * 2) > 0


def test_features_are_made_on_the_device_of_the_network():
    with torch.device("meta"):
        network = AttributeClassifier()
    for images in (bytes_of((3, 64, 64)), torch.zeros(40, 3, 64, 64, device="meta")):
        features = extract_features(network, images)
        assert features.is_meta and features.shape == (40, 64)
