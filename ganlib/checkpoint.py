"""The vault: networks and whole runs to files and back, never half-written and never executing what a file contains."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import torch

from ganlib.config import Config, replace, to_json
from ganlib.errors import GanlibError
from ganlib.files import read_bytes, write_atomic
from ganlib.models import build, parameter_count
from ganlib.training import Record, new_state
from ganlib.weights import digest, fill, pack, read_about, read_weights, save_weights, unpack

ASSETS = Path(__file__).parent / "assets"
EXPERIMENTS = ASSETS / "experiments"
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
    G, _ = build(config)
    return fill(G, values, path).eval(), config


def load_run(name):
    """Name of a shipped network -> its history, a list of Records, and {epoch: bytes (N, C, H, W)} of fixed noise.

    N is 16, or 8 in colour. Of a long run the pictures of every n-th epoch are shipped.
    """
    if name not in shipped():
        raise GanlibError(f"There is no shipped run {name!r}; the known ones are {', '.join(shipped())}.")
    history = [Record(*row) for row in read_about(ASSETS / f"{name}.pt")["history"]]
    with np.load(ASSETS / f"{name}-epochs.npz") as file:
        return history, dict(zip(file["epochs"].tolist(), torch.from_numpy(file["images"]), strict=True))


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
    write_atomic(Path(path), pack(content | {"sha256": digest(content)}))


def load_checkpoint(path, device="cpu", *, force=False, **changes):
    """Checkpoint file -> TrainState on `device`, to be trained on with `fit`.

    Of its config only `epochs` may change, or with `force` any field that leaves the networks' shapes as they are.
    """
    path = Path(path)
    if not force and not changes.keys() <= {"epochs"}:
        raise GanlibError(f"A run keeps its config; only epochs may change on loading, not {', '.join(changes)}.")
    if not path.is_file():
        raise GanlibError(f"There is no checkpoint {path}; train first, or give the checkpoint of a run.")
    content = unpack(read_bytes(path), path)
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
    """Every part of a TrainState that has a state_dict, by name."""
    names = "G", "D", "optimizer_g", "optimizer_d", "G_ema"
    return {name: getattr(state, name) for name in names if getattr(state, name) is not None}


def _is_whole(content):
    """Does a checkpoint hold what was put into it?"""
    try:
        return content.pop("sha256") == digest(content)
    except Exception:  # as in fill
        return False


def load_result(name):
    """Name of a stored measurement -> the dict that its script in benchmarks or tools wrote. GanlibError lists all."""
    path = EXPERIMENTS / f"{name}.json"
    if not path.is_file():
        known = sorted(file.relative_to(EXPERIMENTS).with_suffix("").as_posix() for file in EXPERIMENTS.rglob("*.json"))
        raise GanlibError(f"There is no stored experiment {name!r}; the known ones are: {', '.join(known) or 'none'}.")
    return read_about(path)


def load_experiment(name):
    """Name of a stored experiment -> (dict with its "runs", {key: bytes (epochs, N, C, H, W)} of fixed noise).

    Each run is a dict: what was "on", its "seed", its "history" as a list of Records, its "scores". GanlibError lists
    the known names. Made by the script of that name in the folder tools.
    """
    about = load_result(name)
    about["runs"] = [run | {"history": [Record(*row) for row in run["history"]]} for run in about["runs"]]
    with np.load(EXPERIMENTS / f"{name}.npz") as file:
        return about, {key: torch.from_numpy(file[key]) for key in file}
