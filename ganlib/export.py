"""A generator as an ONNX file, for programs without PyTorch."""

import dataclasses
import json
import warnings
from pathlib import Path

import torch
from torch import nn

from ganlib.config import Config
from ganlib.errors import GanlibError
from ganlib.files import write_atomic
from ganlib.sampling import sample_inputs


def export_onnx(G: nn.Module, config: Config, path: Path | str) -> None:
    """Write G to one ONNX file, its config in the metadata.

    Its input `z` is float32 noise (N, latent_dim), its output `images` float32
    (N, C, H, W) in -1..1, for any N. A conditional G takes conditions beside the noise,
    (N, latent_dim + classes), as `with_condition` puts them together. BatchNorm uses
    its stored statistics: G must be in eval mode, as `load_generator` gives it.

    Raises GanlibError if onnx or onnxscript is missing, if G is in training mode, and
    if the file cannot be written.
    """
    if any(layer.training for layer in G.modules()):
        raise GanlibError(
            "The generator is in training mode; call its eval() before the export."
        )
    z = sample_inputs(2, config.latent_dim, seed=0, classes=config.classes)
    z = z.to(next(G.parameters()).device)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the exporter, about its own future
            program = torch.onnx.export(
                G,
                (z,),
                input_names=["z"],
                output_names=["images"],
                dynamic_shapes=({0: torch.export.Dim("N")},),
                dynamo=True,
                verbose=False,
            )
    except ImportError as error:
        raise GanlibError(
            f"The package {error.name} is missing; pip install onnx onnxscript."
        ) from None
    assert program is not None
    program.model.metadata_props["config"] = json.dumps(dataclasses.asdict(config))
    write_atomic(path, program.model_proto.SerializeToString())
