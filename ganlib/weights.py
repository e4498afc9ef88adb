"""The strongroom: weights in sealed files. A file is checked before it is read, and nothing in it is executed."""

import hashlib
import io
import json
import warnings
import zipfile
from pathlib import Path

import torch

from ganlib.errors import GanlibError
from ganlib.files import read_bytes, write_atomic


def save_weights(network, path, **facts):
    """Write the weights of a network to `path`, and `facts`, versions and the file's checksum as json beside it."""
    path, packed = Path(path), pack(network.state_dict())
    about = {"versions": {"torch": torch.__version__}, "sha256": sha256_of(packed), **facts}
    text = json.dumps(about, indent=2) + "\n"  # before anything is written: a fact may be no json
    write_atomic(path, packed)
    write_atomic(path.with_suffix(".json"), text.encode())


def read_weights(path):
    """Weights file -> its state_dict and the dict beside it. GanlibError unless they belong together."""
    about, packed = read_about(path), read_bytes(path)
    if about.get("sha256") != sha256_of(packed):
        raise GanlibError(f"{path} is not the file that the json beside it describes; save or fetch both again.")
    return unpack(packed, path), about


def read_about(path):
    """Weights file -> the dict in the json beside it: config, versions, sha256 and facts of the run."""
    path = Path(path).with_suffix(".json")
    try:
        about = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise GanlibError(f"{path} should describe the weights beside it but cannot be read ({error}).") from None
    if not isinstance(about, dict):
        raise GanlibError(f"{path} should hold a json object; it holds a {type(about).__name__}.")
    return about


def fill(part, values, path):
    """Load the state_dict `values` into a network or optimiser -> the same; a misfit raises GanlibError."""
    try:
        for name, value in part.state_dict().items():
            if torch.is_tensor(value) and values.get(name, value).dtype != value.dtype:
                raise TypeError(f"{name} is {values[name].dtype}, not {value.dtype}")
        part.load_state_dict(values)
    except Exception as error:  # a dozen class_coverage again: it depends on what stands in place of a tensor
        reason = (str(error).splitlines() or [type(error).__name__])[-1].strip().rstrip(".")
        raise GanlibError(f"{path} holds weights of another architecture than its config says ({reason}).") from None
    return part


def pack(content):
    """A dict of tensors and plain values -> the bytes of torch.save. GanlibError where a number is not finite."""
    if not _is_finite(content):
        raise GanlibError(
            "The weights are no longer finite and are not saved; most likely the learning rate is too high."
        )
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def _is_finite(value):
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    return not torch.is_tensor(value) or bool(value.isfinite().all())


def unpack(packed, path):
    """Bytes of a file that torch.save wrote -> dict. Tensors and plain values only: nothing in it is executed.

    A file that would unpack to more bytes than it has is refused before torch.load takes the memory.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(packed)) as file:
            if sum(entry.file_size for entry in file.infolist()) > len(packed):
                raise zipfile.BadZipFile
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the sentence below says it all
            content = torch.load(io.BytesIO(packed), weights_only=True, map_location="cpu")
    except Exception:  # a dozen class_coverage, from struct.error to IndexError: it depends on where the file is broken
        raise GanlibError(f"{path} is broken, or holds something else than weights; nothing in it was run.") from None
    if not isinstance(content, dict):
        raise GanlibError(f"{path} holds a {type(content).__name__}; a weights file holds a dict of tensors.")
    return content


def sha256_of(packed):
    return hashlib.sha256(packed).hexdigest()


def digest(value):
    """The sha256 of a tensor, a number or a text, or of a dict of them however deep."""
    if torch.is_tensor(value):
        if value.numel() * value.itemsize > value.untyped_storage().nbytes():
            raise ValueError("a tensor that would take more memory than the file")
        return sha256_of(value.cpu().reshape(-1).view(torch.uint8).numpy())
    if isinstance(value, dict):
        value = [(key, digest(value[key])) for key in value]
    return sha256_of(repr(value).encode())
