"""The vault: networks and whole runs to files and back, never half-written and never executing what a file contains."""

import dataclasses
import hashlib
import io
import json
import warnings
import zipfile
from pathlib import Path

import numpy as np
import torch

from ganlib.config import Config, GanlibError, replace, to_json
from ganlib.files import read_whole, write_whole
from ganlib.models import Generator, build, parameter_count
from ganlib.train import Record, new_state

ASSETS = Path(__file__).parent / "assets"
FORMAT = 1  # of a checkpoint; to be raised when an old ganlib could not go on from a new one


def shipped():
    """Names of the networks that come with ganlib."""
    return sorted(path.stem for path in ASSETS.glob("*.pt"))


def save_generator(G, config, path, **facts):
    """Write the weights of G to `path`, and its config and `facts` as json beside it."""
    save_weights(G, path, config=dataclasses.asdict(config), **facts)


def load_generator(weights):
    """File, or name of a shipped network -> (G in eval mode, its Config). GanlibError if they do not fit together."""
    path = ASSETS / f"{weights}.pt" if weights in shipped() else Path(weights)
    if not path.is_file():
        known = ", ".join(shipped()) or "none"
        raise GanlibError(f"There is no weights file {path}; the shipped networks are: {known}.")
    values, about = read_weights(path)
    config = config_from(about.get("config"), path.with_suffix(".json"))
    _refuse_a_giant(config, path)
    G = Generator(config.latent_dim, config.hidden_dim, config.image_shape)
    return fill(G, values, path).eval(), config


def save_weights(network, path, **facts):
    """Write the weights of a network to `path`, and `facts`, versions and the file's checksum as json beside it."""
    path, packed = Path(path), _pack(network.state_dict())
    about = {"versions": {"torch": torch.__version__}, "sha256": _sha256(packed), **facts}
    text = json.dumps(about, indent=2) + "\n"  # before anything is written: a fact may be no json
    write_whole(path, packed)
    write_whole(path.with_suffix(".json"), text.encode())


def read_weights(path):
    """Weights file -> its state_dict and the dict beside it. GanlibError unless they belong together."""
    about, packed = read_about(path), read_whole(path)
    if about.get("sha256") != _sha256(packed):
        raise GanlibError(f"{path} is not the file that the json beside it describes; save or fetch both again.")
    return _unpack(packed, path), about


def fill(part, values, path):
    """Load the state_dict `values` into a network or optimiser -> the same; a misfit raises GanlibError."""
    try:
        for name, value in part.state_dict().items():
            if torch.is_tensor(value) and values.get(name, value).dtype != value.dtype:
                raise TypeError(f"{name} is {values[name].dtype}, not {value.dtype}")
        part.load_state_dict(values)
    except Exception as error:  # a dozen kinds again: it depends on what stands in place of a tensor
        reason = (str(error).splitlines() or [type(error).__name__])[-1].strip().rstrip(".")
        raise GanlibError(f"{path} holds weights of another architecture than its config says ({reason}).") from None
    return part


def load_run(name):
    """Name of a shipped network -> its history, a list of Records, and {epoch: bytes (16, C, H, W)} of fixed noise."""
    if name not in shipped():
        raise GanlibError(f"There is no shipped run {name!r}; the known ones are {', '.join(shipped())}.")
    history = [Record(*row) for row in read_about(ASSETS / f"{name}.pt")["history"]]
    with np.load(ASSETS / f"{name}-epochs.npz") as file:
        return history, dict(enumerate(torch.from_numpy(file["images"])))


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


def config_from(fields, source):
    """A dict of config fields, read from `source` -> Config; fields that an older ganlib did not write get defaults."""
    if not isinstance(fields, dict):
        raise GanlibError(f"{source} holds no config; a ganlib json has the key 'config'.")
    try:
        return replace(Config(), **fields)
    except GanlibError as error:
        reason = str(error).removesuffix(".")
        raise GanlibError(f"{source} holds a config that this version of ganlib does not know ({reason}).") from None


def _refuse_a_giant(config, path):
    """Before memory is taken for the networks of a config: the weights of its G must fit into the file `path`."""
    with torch.device("meta"):
        G, _ = build(config)
    if 4 * parameter_count(G) > path.stat().st_size:
        raise GanlibError(f"{path} holds weights of another architecture than its config says (it is too small).")


def save_checkpoint(state, path):
    """Write everything that `fit` needs to go on from here: networks, optimisers, average, config and history."""
    content = {name: part.state_dict() for name, part in _parts(state).items()}
    content["config"] = to_json(state.config)
    content["history"] = json.dumps(state.history)
    content |= {"format": FORMAT, "versions": json.dumps({"torch": torch.__version__})}
    write_whole(Path(path), _pack(content | {"sha256": _digest(content)}))


def load_checkpoint(path, device="cpu", *, force=False, **changes):
    """Checkpoint file -> State on `device`, to be trained on with `fit`.

    Of its config only `epochs` may change, or with `force` any field that leaves the networks' shapes as they are.
    """
    path = Path(path)
    if not force and not changes.keys() <= {"epochs"}:
        raise GanlibError(f"A run keeps its config; only epochs may change on loading, not {', '.join(changes)}.")
    if not path.is_file():
        raise GanlibError(f"There is no checkpoint {path}; train first, or give the checkpoint of a run.")
    content = _unpack(read_whole(path), path)
    if str(content.get("format", FORMAT)) != str(FORMAT):
        raise GanlibError(f"{path} comes from another version of ganlib; this one reads format {FORMAT} alone.")
    try:
        fields, history = json.loads(content["config"]), _history(json.loads(content["history"]))
    except (KeyError, TypeError, ValueError, RecursionError):
        raise GanlibError(f"{path} is no checkpoint of this ganlib; give the checkpoint of a run.") from None
    config = replace(config_from(fields, path), **changes)
    _refuse_a_giant(config, path)
    state = new_state(config, device)
    for name, part in _parts(state).items():
        (_fill_adam if name.startswith("optimizer") else fill)(part, content.get(name), path)
    if not _is_whole(content):
        raise GanlibError(f"{path} is broken, its checksum is not that of its contents; use an older checkpoint.")
    return dataclasses.replace(state, history=history)


def _history(rows):
    """Rows of numbers -> list of Records; ValueError or TypeError unless each epoch from the first is there once."""
    history = [Record(*row) for row in rows]
    numbers = all(isinstance(value, int | float) for record in history for value in record)
    if not numbers or [record.epoch for record in history] != list(range(1, len(history) + 1)):
        raise ValueError
    return history


def _fill_adam(optimizer, values, path):
    """Load the memory of an Adam; its settings are those of the config, not those in the file."""
    settings, parameters = dict(optimizer.param_groups[0]), optimizer.param_groups[0]["params"]
    fill(optimizer, values, path)
    optimizer.param_groups[0].update(settings)
    shapes = [{"step": torch.Size(), "exp_avg": one.shape, "exp_avg_sq": one.shape} for one in parameters]
    try:
        found = [{name: value.shape for name, value in optimizer.state[one].items()} for one in optimizer.state]
    except AttributeError:
        found = None
    if found is None or (found and found != shapes):
        raise GanlibError(f"{path} holds weights of another architecture than its config says (Adam's memory).")


def _parts(state):
    """Every part of a State that has a state_dict, by name."""
    names = "G", "D", "optimizer_g", "optimizer_d", "average_g"
    return {name: getattr(state, name) for name in names if getattr(state, name) is not None}


def _pack(content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def _unpack(packed, path):
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
    except Exception:  # a dozen kinds, from struct.error to IndexError: it depends on where the file is broken
        raise GanlibError(f"{path} is broken, or holds something else than weights; nothing in it was run.") from None
    if not isinstance(content, dict):
        raise GanlibError(f"{path} holds a {type(content).__name__}; a weights file holds a dict of tensors.")
    return content


def _sha256(packed):
    return hashlib.sha256(packed).hexdigest()


def _is_whole(content):
    """Does a checkpoint hold what was put into it?"""
    try:
        return content.pop("sha256") == _digest(content)
    except Exception:  # as in fill
        return False


def _digest(value):
    """The sha256 of a tensor, a number or a text, or of a dict of them however deep."""
    if torch.is_tensor(value):
        if value.numel() * value.itemsize > value.untyped_storage().nbytes():
            raise ValueError("a tensor that would take more memory than the file")
        return _sha256(value.cpu().reshape(-1).view(torch.uint8).numpy())
    if isinstance(value, dict):
        value = [(key, _digest(value[key])) for key in value]
    return _sha256(repr(value).encode())
