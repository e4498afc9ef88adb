"""Broken files for every reader of ganlib, each to be refused in a sentence or read whole.

`start_fuzzing` feeds the readers in a process of its own, with little memory to take.
"""

import gzip
import hashlib
import io
import json
import os
import random
import resource
import shutil
import signal
import struct
import tempfile
import time
import traceback
import warnings
import zipfile
from collections.abc import Callable
from functools import cache
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.torch
import torch
from PIL import Image

from ganlib.checkpoint import (
    load_checkpoint,
    load_generator,
    save_checkpoint,
    save_generator,
)
from ganlib.cli import _read_npz
from ganlib.config import Config, replace
from ganlib.data import load, mnist
from ganlib.data.image_folder import decode_image
from ganlib.errors import GanlibError
from ganlib.sampling import sample_images, sample_inputs
from ganlib.training import TrainState, fit, new_state

MAX_MEMORY = 2**30  # bytes of address space that reading may take
MAX_SECONDS = 10  # for one input
SMALL = Config(
    architecture="batchnorm-mlp",
    epochs=1,
    batch_size=10,
    latent_dim=3,
    hidden_dim=8,
    image_size=4,
    dropout=0.3,
    ema_decay=0.9,
)
PIXELS = torch.arange(25 * 16).to(torch.uint8).view(25, 1, 4, 4)
JUNK = [
    *(None, True, False, 0, -1, 1, 10**400, 1e308, -0.0, float("nan"), float("inf")),
    *("", "\ud800", "9" * 300, "mnist", [], {}, [[]], {"nz": 3}, [0] * 9),
    *(1024, 8192, 2**31, 2**63, {"config": {}}, json.loads("[" * 500 + "]" * 500)),
]
TELLING = 0, 1, 127, 128, 255, 2**15, 2**31 - 1, 2**31, 2**32 - 1


class Reader(NamedTuple):
    """One reader, and how to break its input."""

    title: str
    attempt: Callable[[Path, random.Random], None]  # raises GanlibError: refused
    share: int  # of the inputs; the slower a reader, the fewer
    accepted: str  # what an input that is not refused was read as


# Ways to break something


def mutate(content: bytes, rng: random.Random) -> bytes:
    """Other bytes: cut off, blanked, doubled, left out, replaced, or a bit flipped."""
    broken = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4))):
        place = rng.randrange(len(broken) + 1)
        length = rng.choice((1, 2, 4, 8, 100))
        piece = broken[place : place + length]
        match rng.randrange(8):
            case 0:
                del broken[place:]
            case 1:
                broken[place : place + length] = bytes(len(piece))
            case 2:
                broken[place:place] = piece
            case 3:
                del broken[place : place + length]
            case 4:
                order = rng.choice("<>")
                broken[place : place + 4] = struct.pack(
                    f"{order}I", rng.choice(TELLING)
                )
            case 5:
                broken[place : place + length] = rng.randbytes(length)
            case _ if broken:
                broken[min(place, len(broken) - 1)] ^= 1 << rng.randrange(8)
    return bytes(broken)


def mutate_value(value: Any, rng: random.Random) -> Any:
    """A json value with one value in it replaced by junk, or a key renamed or gone."""
    if not isinstance(value, dict | list) or not value or rng.random() < 0.2:
        return rng.choice(JUNK)
    keys = list(value) if isinstance(value, dict) else range(len(value))
    key = rng.choice(keys)
    changed = value.copy()
    if rng.random() < 0.1:
        del changed[key]
    elif isinstance(value, dict) and rng.random() < 0.1:
        changed[f"{key}_"] = changed.pop(key)
    else:
        changed[key] = mutate_value(value[key], rng)
    return changed


def mutate_json(value: Any, rng: random.Random) -> bytes:
    """A json value as text, broken in its values or in its letters."""
    if rng.random() < 0.02:
        return b"[" * 100_000
    if rng.random() < 0.5:
        return mutate(json.dumps(value).encode(), rng)
    return json.dumps(mutate_value(value, rng)).encode()


def repack(content: bytes, rng: random.Random) -> bytes:
    """A file of torch.save with a broken entry and right checksums."""
    made = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as old,
        zipfile.ZipFile(made, "w") as new,
    ):
        names = old.namelist()
        broken = rng.choice(names)
        if rng.random() < 0.8:
            broken = next(name for name in names if name.endswith("data.pkl"))
        for name in names:
            entry = old.read(name)
            new.writestr(name, mutate(entry, rng) if name == broken else entry)
    return made.getvalue()


# MNIST


@cache
def idx_files() -> dict[str, bytes]:
    """The four files of MNIST with 12 and 5 images."""
    rng = np.random.default_rng(0)
    contents = {}
    for name, (shape, _) in mnist.FILES.items():
        shape = (12 if "train" in name else 5, *shape[1:])
        header = struct.pack(f">{1 + len(shape)}i", 0x800 + len(shape), *shape)
        numbers = rng.integers(0, 10, prod(shape), dtype=np.uint8)
        contents[name] = header + numbers.tobytes()
    return contents


def expect_idx_files() -> None:
    """Have ganlib expect these files in the place of those of 60,000 images."""
    for name, content in idx_files().items():
        (_, *rest), _ = mnist.FILES[name]
        shape = (12 if "train" in name else 5, *rest)
        mnist.FILES[name] = shape, hashlib.md5(content).hexdigest()


def read_idx(folder: Path, rng: random.Random, ending: str = "") -> None:
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    contents, dataset = idx_files(), rng.choice(list(mnist.FOLDERS))
    broken = rng.choice(list(contents))
    raw = folder / mnist.FOLDERS[dataset] / "raw"
    raw.mkdir(parents=True)
    for name, content in contents.items():
        if ending:
            content = gzip.compress(content, 1, mtime=0)
        if name == broken:
            content = mutate(content, rng)
        (raw / f"{name}{ending}").write_bytes(content)
    train = "train" in broken
    images = load(dataset, root=folder, train=train, fallback=False)
    count = 12 if train else 5
    assert images.pixels.shape == (count, 1, 28, 28)
    assert images.labels.shape == (count,)
    if ending or dataset == "mnist":  # where there is a checksum
        part = "train" if train else "t10k"
        pixels = contents[f"{part}-images-idx3-ubyte"][16:]
        labels = contents[f"{part}-labels-idx1-ubyte"][8:]
        rows = [pixels[784 * row :][:784] for row in range(count)]
        found = [row.numpy().tobytes() for row in images.pixels]
        expected = sorted(zip(rows, labels, strict=True))
        assert sorted(zip(found, images.labels.tolist(), strict=True)) == expected


def read_gz(folder: Path, rng: random.Random) -> None:
    read_idx(folder, rng, ending=".gz")


# Images that `ganlib sample` wrote


@cache
def npz_file() -> tuple[np.ndarray, bytes]:
    """Five images, and the file that holds them."""
    pixels = np.arange(5 * 784).astype(np.uint8).reshape(5, 1, 28, 28)
    packed = io.BytesIO()
    np.savez_compressed(packed, images=pixels)
    return pixels, packed.getvalue()


def read_npz(folder: Path, rng: random.Random) -> None:
    pixels, content = npz_file()
    path = folder / "images.npz"
    path.write_bytes(mutate(content, rng))
    assert np.array_equal(_read_npz(str(path)).numpy(), pixels)


# Checkpoints and generators


class Trained(NamedTuple):
    """A small run after one epoch, and the files that hold it."""

    state: TrainState
    checkpoint: bytes
    generator: bytes
    metadata: dict[str, str]


@cache
def trained() -> Trained:
    state = new_state(SMALL)
    list(fit(state, PIXELS))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "file")
        save_checkpoint(state, path)
        checkpoint = path.read_bytes()
        save_generator(state.G, SMALL, path, epoch=1, history=state.history)
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata()
        return Trained(state, checkpoint, path.read_bytes(), metadata)


def tensors_of(state: TrainState) -> list[torch.Tensor]:
    """All numbers of a run."""
    networks = state.G, state.D, state.G_ema
    tensors = [value for one in networks for value in one.state_dict().values()]
    for optimizer in (state.optimizer_g, state.optimizer_d):
        for memory in optimizer.state_dict()["state"].values():
            tensors += memory.values()
    return tensors


def read_checkpoint(folder: Path, rng: random.Random) -> None:
    state, content, *_ = trained()
    path = folder / "c.pt"
    path.write_bytes(mutate(content, rng))
    loaded = load_checkpoint(path)
    assert loaded.config == state.config and loaded.step == state.step
    assert loaded.history == state.history
    pairs = zip(tensors_of(loaded), tensors_of(state), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def read_forged(folder: Path, rng: random.Random) -> None:
    content, path = trained().checkpoint, folder / "c.pt"
    if rng.random() < 0.7:
        path.write_bytes(repack(content, rng))
    else:
        parts = torch.load(io.BytesIO(content), weights_only=True)
        name = rng.choice(list(parts))
        if name in ("config", "history"):
            text = mutate_json(json.loads(parts[name]), rng)
            parts[name] = text.decode(errors="replace")
        else:
            adam = {"state": {0: 5}, "param_groups": []}
            expanded = {"layers.0.weight": torch.zeros(1, 1).expand(8, 3)}
            choices = [5, {}, [], torch.zeros(3), {"a": 1}, adam, expanded]
            parts[name] = rng.choice(choices + JUNK[:7])
        torch.save(parts, path)
    loaded = load_checkpoint(path)
    if loaded.config.image_shape == SMALL.image_shape and len(loaded.history) < 2:
        loaded.config = replace(loaded.config, epochs=len(loaded.history) + 1)
        list(fit(loaded, PIXELS))


def draw_from(path: Path) -> None:
    """Load a generator and draw two images, which must be those of its config."""
    G, config = load_generator(path)
    z = sample_inputs(2, config.latent_dim, classes=config.classes)
    images = sample_images(G, z)
    assert images.shape == (2, *config.image_shape)


def read_generator(folder: Path, rng: random.Random) -> None:
    path = folder / "g.safetensors"
    path.write_bytes(mutate(trained().generator, rng))
    draw_from(path)


def read_metadata(folder: Path, rng: random.Random) -> None:
    _, _, content, metadata = trained()
    name = rng.choice(["config", "config", "config", "versions", "history"])
    text = mutate_json(json.loads(metadata[name]), rng).decode(errors="replace")
    tensors = safetensors.torch.load(content)
    packed = safetensors.torch.save(tensors, metadata | {name: text})
    path = folder / "g.safetensors"
    path.write_bytes(packed)
    draw_from(path)


def read_old_generator(folder: Path, rng: random.Random) -> None:
    state, *_, metadata = trained()
    packed = io.BytesIO()
    torch.save(state.G.state_dict(), packed)
    weights, facts = packed.getvalue(), {"config": json.loads(metadata["config"])}
    text = json.dumps(facts).encode()
    if rng.random() < 0.5:
        weights = rng.choice((mutate, repack))(weights, rng)
    else:
        text = mutate_json(facts, rng)
    (folder / "g.pt").write_bytes(weights)
    (folder / "g.json").write_bytes(text)
    draw_from(folder / "g.pt")


# Pictures


@cache
def pictures() -> dict[str, bytes]:
    """Name -> file of a small picture, in every format and in the rare modes."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (14, 16, 4), dtype=np.uint8)
    whole = Image.fromarray(pixels).convert("RGB")
    grey = Image.fromarray(pixels[:, :, 0].astype(np.uint16) * 257)
    film = {"save_all": True, "append_images": [whole.rotate(90), whole.rotate(180)]}
    turned = Image.Exif()
    turned[0x0112] = 6
    made = {}
    for name, picture, options in (
        ("plain.jpg", whole, {}),
        ("progressive.jpg", whole, {"progressive": True, "exif": turned}),
        ("cmyk.jpg", whole.convert("CMYK"), {}),
        ("plain.png", whole, {}),
        ("alpha.png", Image.fromarray(pixels), {}),
        ("palette.png", whole.quantize(9), {"transparency": 3}),
        ("bit.png", whole.convert("1"), {}),
        ("grey.png", grey, {}),
        ("film.png", whole, film),
        ("lossy.webp", whole, {}),
        ("film.webp", whole, film | {"lossless": True}),
        ("film.gif", whole, film),
        ("plain.bmp", whole, {}),
        ("palette.bmp", whole.quantize(9), {}),
        ("plain.tif", whole, {}),
        ("film.tif", whole, film),
        ("packed.tiff", whole, {"compression": "tiff_lzw"}),
        ("grey.tiff", grey, {"compression": "tiff_deflate"}),
        ("fax.tiff", whole.convert("1"), {"compression": "group4"}),
    ):
        file = io.BytesIO()
        picture.save(file, Image.registered_extensions()[Path(name).suffix], **options)
        made[name] = file.getvalue()
    return made


@cache
def decoded(name: str) -> bytes:
    """The bytes that one of these pictures becomes."""
    return decode_image(io.BytesIO(pictures()[name]), 8).tobytes()


def load_pictures(path: Path) -> tuple[list[bytes], str | None]:
    """What `load` makes of a folder or zip: its images, and the warning if any."""
    os.environ["XDG_CACHE_HOME"] = str(path.parent / "cache")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        images = load(f"folder:{path}", size=8, channels=3)
    caught = [one for one in caught if "are animated" not in str(one.message)]
    assert images.pixels.shape[1:] == (3, 8, 8)
    assert len(images.pixels) == len(images.labels) and len(caught) < 2
    read = [pixels.numpy().tobytes() for pixels in images.pixels]
    return read, str(caught[0].message) if caught else None


def read_folder(folder: Path, rng: random.Random) -> None:
    """A broken picture between two whole ones."""
    whole, name = pictures(), rng.choice(list(pictures()))
    (folder / "pets").mkdir()
    (folder / "pets" / "a.png").write_bytes(whole["plain.png"])
    (folder / "pets" / f"b-{name}").write_bytes(mutate(whole[name], rng))
    (folder / "pets" / "c.png").write_bytes(whole["bit.png"])
    read, warning = load_pictures(folder / "pets")
    assert read[0] == decoded("plain.png") and read[-1] == decoded("bit.png")
    assert len(read) == (2 if warning else 3)
    if warning:
        assert f"b-{name}" in warning
        raise GanlibError(warning)


@cache
def zip_file() -> bytes:
    """A zip of the pictures, stored or packed."""
    packed = io.BytesIO()
    kinds = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(packed, "w") as archive:
        for number, (name, content) in enumerate(pictures().items()):
            archive.writestr(f"pets/{name}", content, kinds[number % 2])
    return packed.getvalue()


def read_zip(folder: Path, rng: random.Random) -> None:
    content = zip_file()
    spared = content.index(b"PK\1\2") if rng.random() < 0.5 else 0  # its directory not
    path = folder / "pets.zip"
    path.write_bytes(content[:spared] + mutate(content[spared:], rng))
    read, warning = load_pictures(path)
    assert set(read) <= {decoded(name) for name in pictures()}
    if warning:
        raise GanlibError(warning)


READERS = {
    "idx": Reader(
        "IDX files",
        read_idx,
        2,
        "MNIST: the same images, by MD5; Fashion-MNIST: the right number",
    ),
    "gz": Reader("gzipped IDX files", read_gz, 1, "the same images"),
    "npz": Reader("npz files of images", read_npz, 3, "the same images"),
    "checkpoint": Reader("checkpoints", read_checkpoint, 2, "the same run"),
    "forged": Reader(
        "checkpoints forged with right checksums", read_forged, 2, "a run that goes on"
    ),
    "generator": Reader("generators", read_generator, 2, "a network that draws"),
    "metadata": Reader(
        "metadata of generators", read_metadata, 2, "a network that draws"
    ),
    "old": Reader(
        "generators of ganlib 0.1", read_old_generator, 2, "a network that draws"
    ),
    "folder": Reader(
        "pictures in a folder", read_folder, 3, "an image, the others unharmed"
    ),
    "zip": Reader("zips of pictures", read_zip, 2, "pictures of the zip as they were"),
}


# Feeding the readers


class Hang(BaseException):
    """One input took longer than MAX_SECONDS."""


def _raise_hang(*_: Any) -> None:
    raise Hang


def _memory(field: str) -> int:
    """A field of /proc/self/status, in bytes."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(field):
            return 1024 * int(line.split()[1])
    raise KeyError(field)


def _try_one(name: str, number: int, seed: int) -> tuple[bool, str | None]:
    """Feed one broken input to a reader -> whether it was refused; what went wrong."""
    folder = Path(tempfile.mkdtemp())
    signal.setitimer(signal.ITIMER_REAL, MAX_SECONDS)
    try:
        READERS[name].attempt(folder, random.Random(f"{seed} {number}"))
    except GanlibError as error:
        return True, "more than a line" if "\n" in str(error) else None
    except BaseException:
        return False, traceback.format_exc()[-600:]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        shutil.rmtree(folder, ignore_errors=True)
    return False, None


def _fuzz(inputs: int, seconds: float, seed: int, report: Path) -> None:
    """Feed all readers in turn and write the figures to the file `report` as json."""
    expect_idx_files()
    signal.signal(signal.SIGALRM, _raise_hang)
    warnings.simplefilter("ignore")
    names = [name for name, reader in READERS.items() for _ in range(reader.share)]
    for number, name in enumerate(names):  # so that all is imported and cached
        _try_one(name, -1 - number, seed)
    before = _memory("VmRSS")
    limit = _memory("VmSize") + MAX_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    tried, refused = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    failures: list[str] = []
    slowest, started = 0.0, time.perf_counter()
    for number in range(inputs):
        if time.perf_counter() - started > seconds:
            break
        if number % 100 == 0:  # a crash that ends the process is known by its inputs
            crash = f"crash: one of the 100 inputs from {number} of seed {seed}"
            report.write_text(json.dumps({"failures": [crash]}), encoding="utf-8")
        name, now = names[number % len(names)], time.perf_counter()
        was_refused, wrong = _try_one(name, number, seed)
        slowest = max(slowest, time.perf_counter() - now)
        tried[name] += 1
        refused[name] += was_refused
        if wrong:
            failures.append(f"{name} {number} of seed {seed}: {wrong}")
    figures = {
        "readers": {name: (tried[name], refused[name]) for name in tried},
        "failures": failures,
        "tried": sum(tried.values()),
        "slowest": slowest,
        "fuzz_seconds": time.perf_counter() - started,
        "bound": MAX_MEMORY // 2**20,
        "growth": max(0, _memory("VmHWM") - before) / 2**20,
    }
    report.write_text(json.dumps(figures), encoding="utf-8")


def start_fuzzing(
    inputs: int, seconds: float, seed: int = 0
) -> Callable[[], dict[str, Any]]:
    """Try so many inputs, or those for which there is time, in a process of its own.

    Returns what waits for it and gives the figures.
    """
    report = Path(tempfile.mkdtemp(), "report.json")
    process = os.fork()
    if not process:
        # The library behind TIFF complains on stderr, past Python.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            _fuzz(inputs, seconds, seed, report)
        finally:
            os._exit(0)

    def figures() -> dict[str, Any]:
        os.waitpid(process, 0)
        found = json.loads(report.read_text(encoding="utf-8"))
        shutil.rmtree(report.parent)
        return found

    return figures
