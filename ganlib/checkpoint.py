"""Networks and runs to files and back: files are whole, and nothing in them is run.

Generators are safetensors files, which hold numbers and text and nothing else.
Checkpoints are torch's own, read with weights_only=True; that reader has had holes
twice (CVE-2025-32434 below torch 2.6, CVE-2026-24747 below 2.10), so keep torch current
and resume only runs of your own. No checksum in or beside a file proves where it comes
from.
"""

import csv
import dataclasses
import io
import json
import math
import warnings
import zipfile
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from ganlib.config import Config, replace, to_json
from ganlib.errors import GanlibError
from ganlib.files import read_bytes, write_atomic
from ganlib.models import build, parameter_count
from ganlib.plotting import save_image_grid
from ganlib.sampling import sample_images, sample_inputs
from ganlib.training import Record, TrainState, new_state

ASSETS = Path(__file__).parent / "assets"
GENERATOR = "generator.safetensors"  # its name in the folder of a run
FORMAT = 2  # of a checkpoint; another number is refused
DOS_FOLDER = 0x10  # in the attributes of a zip's entry: it is a folder
KEPT = 3  # checkpoints that stay: the newest may break, and then the one before serves
GRID = 64  # images in each samples/epoch-0001.png

# Config fields that files of ganlib 0.1 call otherwise.
OLD_NAMES = {
    "networks": "architecture",
    "penalty": "r1_weight",
    "mirror": "random_flip",
    "shift": "augment_shift",
    "compiled": "compile_step",
}


# Weights and generators


def shipped() -> list[str]:
    """Names of the networks that come with ganlib."""
    return sorted(path.stem for path in ASSETS.glob("*.safetensors"))


def save_weights(network: nn.Module, path: Path | str, **facts: Any) -> None:
    """Write the weights of a network to one safetensors file.

    Args:
        facts: anything that json can hold; kept in the file's metadata beside the
            version of torch, and given back by `read_metadata`.

    Raises GanlibError if a weight is not finite or the file cannot be written.
    """
    tensors = {}
    for name, value in network.state_dict().items():
        tensors[name] = value.detach().cpu().contiguous()
    _check_finite(tensors)
    facts = {"versions": {"torch": str(torch.__version__)}} | facts
    metadata = {name: json.dumps(value) for name, value in facts.items()}
    write_atomic(path, _sort_header(safetensors.torch.save(tensors, metadata)))


def load_weights(network: nn.Module, path: Path | str) -> dict[str, Any]:
    """Fill `network`, in place, with the weights of a file -> the file's metadata.

    Raises GanlibError if the file is broken or of another architecture.
    """
    _fill(network, _read_tensors(Path(path)), Path(path))
    return read_metadata(path)


def read_metadata(source: Path | str) -> dict[str, Any]:
    """What is written beside the weights: config, versions, and facts of the run.

    Args:
        source: a safetensors file, an old .pt file with its .json, the folder of a
            run, or the name of a shipped network.

    Raises GanlibError if there is no such file or it cannot be read.
    """
    path = _find_weights(source)
    if path.suffix == ".pt":
        beside = path.with_suffix(".json")
        if not beside.exists():
            raise GanlibError(
                f"{path} is no generator: an old one has {beside.name} beside it, and "
                f"a checkpoint belongs to a run, whose folder has a {GENERATOR}."
            )
        text = {"": read_bytes(beside).decode(errors="replace")}
    else:
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                text = file.metadata() or {}
        except (safetensors.SafetensorError, OSError):
            raise GanlibError(_broken(path)) from None
    try:
        facts = {name: json.loads(value) for name, value in sorted(text.items())}
        if path.suffix == ".pt":
            facts = dict(facts[""])
    except (ValueError, TypeError, RecursionError):
        raise GanlibError(
            f"{path} should say in json what its weights are; it does not."
        ) from None
    return facts


def save_generator(
    G: nn.Module, config: Config, path: Path | str, **facts: Any
) -> None:
    """Write G, its config and `facts` to one safetensors file; see `save_weights`."""
    save_weights(G, path, config=dataclasses.asdict(config), **facts)


def load_generator(source: Path | str) -> tuple[nn.Module, Config]:
    """The generator in a file, in the folder of a run, or shipped -> (G, its Config).

    G is on the CPU in eval mode. Old .pt files with a .json beside them load too.

    Raises GanlibError if there is none, or if file and config do not fit together.
    """
    path = _find_weights(source)
    config = _config_from(read_metadata(path).get("config"), path)
    tensors = _read_torch(path) if path.suffix == ".pt" else _read_tensors(path)
    _check_size(config, path)
    G, _ = build(config)
    _fill(G, tensors, path)
    return G.eval(), config


def load_run(name: str) -> tuple[list[Record], dict[int, Tensor]]:
    """History and pictures of a shipped network.

    Returns a list of Records, and {epoch: bytes (N, C, H, W)} of fixed noise; N is 16,
    or fewer in colour, and of a long run some epochs are left out.

    Raises GanlibError that lists the known names.
    """
    if name not in shipped():
        raise GanlibError(
            f"There is no shipped run {name!r}; the known ones are "
            f"{', '.join(shipped())}."
        )
    history = [Record(*row) for row in read_metadata(name)["history"]]
    with np.load(ASSETS / f"{name}-epochs.npz") as file:
        images = torch.from_numpy(file["images"])
        return history, dict(zip(file["epochs"].tolist(), images, strict=True))


def _sort_header(content: bytes) -> bytes:
    """A safetensors file with sorted metadata: what is equal is to be equal bytes.

    safetensors itself writes its metadata in random order.
    """
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the numbers begin at a multiple of 8
    return len(text).to_bytes(8, "little") + text + content[start:]


def _find_weights(source: Path | str) -> Path:
    """The weights file that `source` means; GanlibError if there is none."""
    if str(source) in shipped():
        return ASSETS / f"{source}.safetensors"
    path = Path(source)
    if path.is_dir():
        path = path / GENERATOR
    if not path.is_file():
        raise GanlibError(
            f"There is no weights file {path}; the shipped networks are: "
            f"{', '.join(shipped()) or 'none'}."
        )
    return path


def _read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file."""
    try:
        return safetensors.torch.load(read_bytes(path))
    except (safetensors.SafetensorError, KeyError, ValueError, RuntimeError):
        raise GanlibError(_broken(path)) from None


def _read_torch(path: Path) -> dict[str, Any]:
    """The dict of tensors and plain values that torch.save wrote.

    A file that is damaged (its zip has checksums) or that would unpack to more bytes
    than it has is refused before torch.load takes the memory.
    """
    packed = read_bytes(path)
    try:
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            entries = archive.infolist()
            unpacked = sum(entry.file_size for entry in entries)
            if unpacked > len(packed) or archive.testzip() is not None:
                raise zipfile.BadZipFile
            # No checksum covers this bit, and torch reads no numbers where it is set.
            if any(entry.external_attr & DOS_FOLDER for entry in entries):
                raise zipfile.BadZipFile
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the sentence below says it all
            content = torch.load(
                io.BytesIO(packed), weights_only=True, map_location="cpu"
            )
        if not isinstance(content, dict):
            raise TypeError
    except Exception:  # a dozen kinds: it depends on where the file is broken
        raise GanlibError(_broken(path)) from None
    return content


def _broken(path: Path) -> str:
    return (
        f"{path} is broken, or holds something else than weights; nothing in it was "
        "run."
    )


def _config_from(fields: Any, path: Path) -> Config:
    """Config fields read from `path` -> Config; fields of older versions are mapped."""
    if not isinstance(fields, dict):
        raise GanlibError(f"{path} holds no config; save it again with ganlib.")
    fields = {OLD_NAMES.get(name, name): value for name, value in fields.items()}
    if fields.get("architecture") == "dcgan":
        if "base_channels" not in fields and "hidden_dim" in fields:
            fields["base_channels"] = fields.pop("hidden_dim")
        fields["r1_weight"] = 0.0  # 0.1 took a penalty through BatchNorm for R1
    try:
        return replace(Config(), **fields)
    except (GanlibError, TypeError) as error:
        reason = str(error).removesuffix(".")
        raise GanlibError(
            f"{path} holds a config that this version of ganlib does not know "
            f"({reason})."
        ) from None


def _check_size(config: Config, path: Path) -> None:
    """Before memory is taken: the weights of the config's G must fit into the file."""
    with torch.device("meta"):
        G, _ = build(config)
    if 4 * parameter_count(G) > path.stat().st_size:
        raise GanlibError(f"{_misfit(path)} (it is too small).")


def _misfit(path: Path) -> str:
    return f"{path} holds weights of another architecture than its config says"


def _fill(network: nn.Module, tensors: Any, path: Path) -> None:
    """Load a state_dict into a network; GanlibError unless names and kinds agree."""
    try:
        expected = network.state_dict()
        if tensors.keys() != expected.keys():
            raise ValueError("other names")
        for name, value in expected.items():
            found = tensors[name]
            if found.shape != value.shape or found.dtype != value.dtype:
                raise ValueError(name)
        network.load_state_dict(tensors)
    except (AttributeError, ValueError, TypeError, RuntimeError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise GanlibError(f"{_misfit(path)} ({reason}).") from None


def _check_finite(value: Any) -> None:
    """GanlibError if a tensor, in dicts however deep, holds infinity or NaN."""
    if isinstance(value, dict):
        for inner in value.values():
            _check_finite(inner)
    elif torch.is_tensor(value) and not value.isfinite().all():
        raise GanlibError(
            "The weights are no longer finite and are not saved; most likely the "
            "learning rate is too high."
        )


# Checkpoints


def save_checkpoint(state: TrainState, path: Path | str) -> None:
    """Write everything that `fit` needs to go on from here to one file."""
    _ = state.sampling_generator  # measures the statistics of the average
    content: dict[str, Any] = {
        name: part.state_dict() for name, part in _parts(state).items()
    }
    _check_finite(content)
    content["config"] = to_json(state.config)
    content["history"] = json.dumps(state.history)
    content["step"] = state.step
    if state.augment_strength is not None:
        content["augment_strength"] = state.augment_strength.item()
    content["format"] = FORMAT
    content["versions"] = json.dumps({"torch": str(torch.__version__)})
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomic(path, buffer.getvalue())


def load_checkpoint(
    path: Path | str,
    device: torch.device | str = "cpu",
    *,
    force: bool = False,
    **changes: Any,
) -> TrainState:
    """The run in a checkpoint file, on `device`, to go on with by `fit`.

    Args:
        force: without it, of the config only `epochs` may change; with it, any field
            that leaves the shapes of the networks as they are. An average that was
            not there before starts from G, a controller of the changes from 0.
        changes: config fields with their new values.

    Raises GanlibError if the file cannot be read or does not fit the config.
    """
    path = Path(path)
    if not force and not changes.keys() <= {"epochs"}:
        raise GanlibError(
            "A run keeps its config; only epochs may change on loading, not "
            f"{', '.join(changes)}."
        )
    if not path.is_file():
        raise GanlibError(
            f"There is no checkpoint {path}; train first, or give the checkpoint of a "
            "run."
        )
    content = _read_torch(path)
    if str(content.get("format")) != str(FORMAT):
        raise GanlibError(
            f"{path} comes from another version of ganlib; this one reads checkpoints "
            f"of format {FORMAT} alone."
        )
    try:
        fields = json.loads(content["config"])
        history = _history_from(json.loads(content["history"]))
        step = content["step"]
        if type(step) is not int or step < 0:
            raise ValueError
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError):
        raise GanlibError(
            f"{path} is no checkpoint of this ganlib; give the checkpoint of a run."
        ) from None
    config = replace(_config_from(fields, path), **changes)
    _check_size(config, path)
    state = new_state(config, device)
    _fill(state.G, content.get("G"), path)
    _fill(state.D, content.get("D"), path)
    _fill_adam(state.optimizer_g, content.get("optimizer_g"), path)
    _fill_adam(state.optimizer_d, content.get("optimizer_d"), path)
    if state.G_ema is not None:
        if force and "G_ema" not in content:
            state.G_ema = deepcopy(state.G)
        else:
            _fill(state.G_ema, content.get("G_ema"), path)
    if state.augment_strength is not None:
        strength = content.get("augment_strength", 0.0 if force else None)
        if type(strength) is not float or not 0 <= strength <= 1:
            raise GanlibError(
                f"{path} holds {strength!r} as the strength of the changes; it must be "
                "a number from 0 to 1."
            )
        state.augment_strength.fill_(strength)
    state.step = step
    state.history = history
    return state


def _parts(state: TrainState) -> dict[str, Any]:
    """Every part of a state that has a state_dict, by name."""
    parts = {
        "G": state.G,
        "D": state.D,
        "optimizer_g": state.optimizer_g,
        "optimizer_d": state.optimizer_d,
    }
    if state.G_ema is not None:
        parts["G_ema"] = state.G_ema
    return parts


def _history_from(rows: Any) -> list[Record]:
    """Rows of numbers -> Records.

    ValueError, TypeError or OverflowError unless each epoch is there once.
    """
    history = [Record(*row) for row in rows]
    for record in history:
        if not all(math.isfinite(number) for number in record):
            raise ValueError
    if [record.epoch for record in history] != list(range(1, len(history) + 1)):
        raise ValueError
    return history


def _fill_adam(optimizer: torch.optim.Optimizer, saved: Any, path: Path) -> None:
    """Load the memory of an Adam; its settings stay those of the config."""
    group = optimizer.param_groups[0]
    settings = {name: value for name, value in group.items() if name != "params"}
    try:
        memory = saved["state"]
        for index, weight in enumerate(group["params"]):
            if memory and weight.requires_grad:
                moments = memory[index]["exp_avg"], memory[index]["exp_avg_sq"]
                if any(moment.shape != weight.shape for moment in moments):
                    raise ValueError
                if memory[index]["step"].numel() != 1 or len(memory[index]) != 3:
                    raise ValueError
        optimizer.load_state_dict(saved)
        for weight, state in optimizer.state.items():
            for name, value in state.items():
                if value.shape == weight.shape:
                    # The fused Adam reads it in the order in which the weight lies.
                    state[name] = torch.empty_like(weight).copy_(value)
    except (AttributeError, KeyError, TypeError, ValueError, IndexError, RuntimeError):
        raise GanlibError(f"{_misfit(path)} (Adam's memory).") from None
    group = optimizer.param_groups[0]
    group.update(settings)


# The folder of a run


def new_run(config: Config, out: Path, device: torch.device | str) -> TrainState:
    """A run before its first step; GanlibError if `out` holds one already."""
    left = [out / GENERATOR, out / "history.csv", *_checkpoints(out)]
    if any(path.exists() for path in left):
        raise GanlibError(
            f"{out} holds a run already; go on with --resume, or choose another --out."
        )
    return new_state(config, device)


def resume_run(
    config: Config,
    changes: dict[str, Any],
    out: Path,
    device: torch.device | str,
    *,
    force: bool = False,
) -> TrainState:
    """The run in the folder `out`, with the config that it was started with.

    Args:
        config: what is asked for now; another recipe counts as a change of all fields.
        changes: the fields that are asked for by name. They must agree with the run's
            own, but for `epochs`; with `force` the run goes on with them.

    Raises GanlibError that names what differs, or if no checkpoint can be read.
    """
    epochs = {"epochs": changes["epochs"]} if "epochs" in changes else {}
    state = _load_newest(out, device, **epochs)
    wanted = changes
    if config.recipe != state.config.recipe:
        wanted = vars(config)
    changed = {}
    for name, value in wanted.items():
        if value != getattr(state.config, name):
            changed[name] = value
    if not changed:
        return state
    if not force:
        what = ", ".join(
            f"{name} {getattr(state.config, name)} (not {value})"
            for name, value in changed.items()
        )
        raise GanlibError(
            f"{out} was trained with {what}; leave that out, choose another --out, or "
            "add --force."
        )
    epochs = {"epochs": state.config.epochs}
    return _load_newest(out, device, force=True, **epochs | changed)


def save_run(state: TrainState, out: Path, *, models_every: int = 0) -> None:
    """Write a run into the folder `out`: first what resuming needs, then the rest.

    The last KEPT checkpoints stay. With `models_every` K, the generator of each K-th
    epoch stays too, in models/.
    """
    epoch = len(state.history)
    if models_every and epoch % models_every == 0:
        path = out / "models" / f"epoch-{epoch:04d}.safetensors"
        save_generator(state.sampling_generator, state.config, path, epoch=epoch)
    save_checkpoint(state, out / "checkpoints" / f"epoch-{epoch:04d}.pt")
    for path in _checkpoints(out)[KEPT:]:
        path.unlink(missing_ok=True)
    save_results(state, out)


def save_results(state: TrainState, out: Path) -> None:
    """Write the generator, the history and a picture of fixed noise into `out`."""
    epoch = len(state.history)
    G = state.sampling_generator
    save_image_grid(sample_grid(state), out / "samples" / f"epoch-{epoch:04d}.png")
    save_generator(G, state.config, out / GENERATOR, epoch=epoch)
    write_atomic(out / "history.csv", history_csv(state.history))


def sample_grid(state: TrainState) -> Tensor:
    """GRID images (N, C, H, W) in -1..1 of noise that is the same in every epoch.

    Of a conditional run they are of all classes in turn.
    """
    config = state.config
    z = sample_inputs(GRID, config.latent_dim, seed=config.seed, classes=config.classes)
    return sample_images(state.sampling_generator, z)


def history_csv(history: list[Record]) -> bytes:
    """A CSV file with one line an epoch below the names of the columns."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows([Record._fields, *history])
    return text.getvalue().encode()


def _checkpoints(out: Path) -> list[Path]:
    """The checkpoint files in the folder of a run, newest first."""
    paths = (out / "checkpoints").glob("epoch-*.pt")
    return sorted(paths, key=lambda path: (len(path.name), path.name), reverse=True)


def _load_newest(
    out: Path, device: torch.device | str, *, force: bool = False, **changes: Any
) -> TrainState:
    """The run in the newest checkpoint that can be read; a warning if not the last."""
    paths = _checkpoints(out) or [out / "checkpoints"]
    first_error = None
    for path in paths:
        try:
            state = load_checkpoint(path, device, force=force, **changes)
        except GanlibError as error:
            first_error = first_error or error
            continue
        if first_error is not None:
            reason = str(first_error).removesuffix(".")
            warnings.warn(f"{reason}; going on from {path}.", stacklevel=3)
        return state
    assert first_error is not None
    raise first_error
