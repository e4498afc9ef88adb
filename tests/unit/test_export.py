"""A generator as an ONNX file: the same images, for any number of noise vectors."""

import json

import numpy as np
import pytest
import torch

from ganlib.config import Config
from ganlib.export import export_onnx
from ganlib.models import build
from ganlib.sampling import sample_images, sample_noise

SMALL = {
    "mlp": {"hidden_dim": 8},
    "batchnorm-mlp": {"hidden_dim": 8},
    "dcgan": {"base_channels": 2, "image_size": 16, "channels": 3},
    "resize-conv": {"base_channels": 2, "image_size": 28},
    "residual": {"base_channels": 2, "image_size": 28},
    "pixel-shuffle": {"base_channels": 4, "hidden_dim": 8},
}


@pytest.fixture(params=SMALL)
def generator(request):
    """A generator whose BatchNorm has met some noise, and its config."""
    config = Config(architecture=request.param, latent_dim=5, **SMALL[request.param])
    torch.manual_seed(0)
    G, _ = build(config)
    G(2 * sample_noise(50, 5, seed=1))
    return G.eval(), config


def test_onnx_draws_the_images_of_pytorch(generator, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    G, config = generator
    path = tmp_path / "generator.onnx"
    export_onnx(G, config, path)
    session = onnxruntime.InferenceSession(path)
    for count in (1, 3, 64):
        z = sample_noise(count, 5, seed=count)
        (images,) = session.run(["images"], {"z": z.numpy()})
        assert np.abs(images - sample_images(G, z).numpy()).max() <= 1e-4
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["config"])["architecture"] == config.architecture


def test_a_generator_in_training_mode_is_refused(tmp_path, says):
    config = Config(hidden_dim=8)
    G, _ = build(config)
    with says("training mode", "eval()"):
        export_onnx(G.train(), config, tmp_path / "generator.onnx")
    assert not (tmp_path / "generator.onnx").exists()


def test_a_missing_package_is_named(tmp_path, monkeypatch, says):
    def export(*args, **options):
        raise ModuleNotFoundError("No module named 'onnxscript'", name="onnxscript")

    monkeypatch.setattr(torch.onnx, "export", export)
    config = Config(hidden_dim=8)
    with says("onnxscript", "pip install"):
        export_onnx(build(config)[0].eval(), config, tmp_path / "generator.onnx")
