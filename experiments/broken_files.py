"""Mutated files for every reader of ganlib: each must be refused with a GanlibError or read whole, soon and small."""

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
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from ganlib import checkpoint, files, pictures, weights
from ganlib.cli import _read_images
from ganlib.config import Config
from ganlib.errors import GanlibError
from ganlib.data import load
from ganlib.sampling import sample_noise, sample_images
from ganlib.training import fit, new_state

MOST_MEMORY = 2**30  # bytes of address space that reading may take beyond what the process had
MOST_SECONDS = 10  # for one input
SMALL = Config(
    epochs=1, batch_size=10, latent_dim=3, hidden_dim=8, image_size=4, dropout=0.3, ema_decay=0.9, learning_rate_g=1e-3
)  # fmt: skip
JUNK = [
    None, True, False, 0, -1, 1, 10**400, 1e308, -0.0, float("nan"), float("inf"), "", "\ud800", "9" * 300, [], {},
    [[]], {"nz": 3}, [0] * 9, "mnist", 8192, 1024, 2**31, 2**63, {"config": {}},
]  # fmt: skip


class AttributeClassifier(NamedTuple):
    """How to make broken inputs for one reader, and what an input that is not refused must be."""

    title: str
    attempt: object  # (folder, rng) -> None, or GanlibError, or AssertionError where something else is read
    share: int  # of the inputs; the slower a reader, the fewer
    accepted: str


def mutate(content, rng):
    """Bytes -> other bytes: bits flipped, pieces cut, doubled, blanked or replaced by telling numbers."""
    content = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4))):
        place, length = rng.randrange(len(content) + 1), rng.choice((1, 2, 4, 8, 100))
        piece = content[place : place + length]
        how = rng.randrange(8)
        if how == 0:
            del content[place:]
        elif how == 1:
            content[place : place + length] = bytes(len(piece))
        elif how == 2:
            content[place:place] = piece
        elif how == 3:
            del content[place : place + length]
        elif how == 4:
            number = rng.choice((0, 1, 127, 128, 255, 2**15, 2**31 - 1, 2**31, 2**32 - 1))
            content[place : place + 4] = struct.pack(rng.choice("<>") + "I", number)
        elif how == 5:
            content[place : place + length] = rng.randbytes(length)
        elif content:
            content[min(place, len(content) - 1)] ^= 1 << rng.randrange(8)
    return bytes(content)


def mutate_json(value, rng):
    """A json value with one value in it replaced by junk, a key renamed, doubled in depth, or left out."""
    if isinstance(value, dict | list) and value and rng.random() < 0.8:
        key = rng.choice(list(value) if isinstance(value, dict) else range(len(value)))
        changed = value.copy()
        if rng.random() < 0.1:
            del changed[key]
        elif isinstance(value, dict) and rng.random() < 0.1:
            changed[f"{key}_"] = changed.pop(key)
        else:
            changed[key] = mutate_json(value[key], rng)
        return changed
    return rng.choice([*JUNK, json.loads("[" * 500 + "]" * 500)])


def mutate_text(value, rng):
    """A json value -> bytes of json text, broken in its values or in its letters."""
    if rng.random() < 0.02:
        return b"[" * 100_000
    if rng.random() < 0.5:
        return mutate(json.dumps(value).encode(), rng)
    return json.dumps(mutate_json(value, rng)).encode()


def repack(packed, rng):
    """A file of torch.save with a broken entry but a right checksum, as an attacker would make it."""
    made, chosen = io.BytesIO(), rng.random() < 0.8
    with zipfile.ZipFile(io.BytesIO(packed)) as old, zipfile.ZipFile(made, "w") as new:
        names = old.namelist()
        broken = next(name for name in names if name.endswith("data.pkl")) if chosen else rng.choice(names)
        for name in names:
            content = old.read(name)
            new.writestr(name, mutate(content, rng) if name == broken else content)
    return made.getvalue()


@cache
def idx_files():
    """The four files of MNIST with 12 and 5 images."""
    rng, plain = np.random.default_rng(0), {}
    for name, (kind, count) in files.FILES.items():
        shape = (count, 28, 28) if kind == "images" else (count,)
        header = struct.pack(f">{len(shape) + 1}i", 2051 if kind == "images" else 2049, *shape)
        plain[name] = header + rng.integers(0, 10, shape, dtype=np.uint8).tobytes()
    return plain


def read_idx(folder, rng, ending=""):
    plain, broken, dataset = idx_files(), rng.choice(list(files.FILES)), rng.choice(list(files.FOLDERS))
    raw = folder / files.FOLDERS[dataset] / "raw"
    raw.mkdir(parents=True)
    for name, content in plain.items():
        content = gzip.compress(content, 1, mtime=0) if ending else content
        (raw / f"{name}{ending}").write_bytes(mutate(content, rng) if name == broken else content)
    images = load(dataset, root=folder, train="train" in broken, fallback=False)
    count = files.FILES[broken][1]
    assert images.pixels.shape == (count, 1, 28, 28) and images.labels.shape == (count,)
    if ending or dataset == "mnist":  # where there is a checksum
        assert images.pixels.numpy().tobytes() == plain[broken.replace("labels-idx1", "images-idx3")][16:]
        assert images.labels.byte().numpy().tobytes() == plain[broken.replace("images-idx3", "labels-idx1")][8:]


def read_gz(folder, rng):
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    read_idx(folder, rng, ending=".gz")


@cache
def npz_file():
    """Five images and the file that holds them."""
    pixels, packed = np.arange(5 * 784, dtype=np.int64).astype(np.uint8).reshape(5, 1, 28, 28), io.BytesIO()
    np.savez_compressed(packed, images=pixels)
    return pixels, packed.getvalue()


def read_npz(folder, rng):
    pixels, packed = npz_file()
    (folder / "images.npz").write_bytes(mutate(packed, rng))
    assert np.array_equal(_read_images(folder / "images.npz"), pixels)


def _numbers(state):
    return [value for part in checkpoint._parts(state).values() for value in _tensors(part.state_dict())]


def _tensors(value):
    if torch.is_tensor(value):
        return [value]
    return [tensor for inner in value.values() for tensor in _tensors(inner)] if isinstance(value, dict) else []


@cache
def trained():
    """A small state after one epoch, the images it saw, its checkpoint, its weights and the json of these."""
    state, pixels = new_state(SMALL), torch.arange(25 * 16).to(torch.uint8).view(25, 1, 4, 4)
    list(fit(state, pixels))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.pt")
        checkpoint.save_checkpoint(state, path)
        packed = path.read_bytes()
        checkpoint.save_generator(state.G, SMALL, path)
        return state, pixels, packed, path.read_bytes(), json.loads(path.with_suffix(".json").read_text())


def read_checkpoint(folder, rng):
    state, _, packed, *_ = trained()
    (folder / "c.pt").write_bytes(mutate(packed, rng))
    loaded = checkpoint.load_checkpoint(folder / "c.pt")
    assert loaded.history == state.history and loaded.config == state.config
    assert all(torch.equal(one, other) for one, other in zip(_numbers(loaded), _numbers(state), strict=True))


def read_repacked(folder, rng):
    state, pixels, packed, *_ = trained()
    if rng.random() < 0.3:
        content = {name: part.state_dict() for name, part in checkpoint._parts(state).items()}
        content |= {"config": json.loads(checkpoint.to_json(SMALL)), "history": state.history}
        name = rng.choice(list(content))
        if name in ("config", "history"):
            content = content | {name: mutate_text(content[name], rng).decode(errors="replace")}
        else:
            content[name] = rng.choice(
                [None, 5, {}, [], torch.zeros(3), {"a": 1}, {"state": {0: 5}, "param_groups": []}]
            )
        content = {key: json.dumps(value) if key in ("config", "history") and key != name else value
                   for key, value in content.items()}  # fmt: skip
        (folder / "c.pt").write_bytes(weights.pack(content | {"sha256": weights.digest(content)}))
    else:
        (folder / "c.pt").write_bytes(repack(packed, rng))
    loaded = checkpoint.load_checkpoint(folder / "c.pt")
    if loaded.config.image_shape == SMALL.image_shape and len(loaded.history) < 2:
        loaded.config = Config(**vars(loaded.config) | {"epochs": len(loaded.history) + 1})
        list(fit(loaded, pixels))


def read_weights(folder, rng):
    *_, packed, about = trained()
    path, broken = folder / "g.pt", (repack if rng.random() < 0.5 else mutate)(packed, rng)
    path.write_bytes(broken)
    about = about | {"sha256": weights.sha256_of(broken)}
    path.with_suffix(".json").write_text(json.dumps(about))
    G, _ = checkpoint.load_generator(path)
    assert sample_images(G, sample_noise(2, 3)).shape == (2, 1, 4, 4)


def read_json(folder, rng):
    *_, packed, about = trained()
    (folder / "g.pt").write_bytes(packed)
    (folder / "g.json").write_bytes(mutate_text(about, rng))
    G, config = checkpoint.load_generator(folder / "g.pt")
    assert sample_images(G, sample_noise(2, config.latent_dim)).shape == (2, *config.image_shape)


@cache
def picture_files():
    """Name -> the file of a small picture, in every format and in the modes that are rare."""
    rng, made = np.random.default_rng(0), {}
    pixels = rng.integers(0, 256, (14, 16, 4), dtype=np.uint8)
    whole, exif = Image.fromarray(pixels).convert("RGB"), Image.Exif()
    frames, exif[0x0112] = [whole.rotate(90), whole.rotate(180)], 6
    film = {"save_all": True, "append_images": frames}
    grey16 = Image.fromarray(pixels[:, :, 0].astype(np.uint16) * 257)
    for name, picture, options in (
        ("plain.jpg", whole, {}), ("progressive.jpg", whole, {"progressive": True, "exif": exif}),
        ("cmyk.jpg", whole.convert("CMYK"), {}), ("plain.png", whole, {}), ("alpha.png", Image.fromarray(pixels), {}),
        ("palette.png", whole.quantize(9), {"transparency": 3}), ("bit.png", whole.convert("1"), {}),
        ("grey.png", grey16, {}), ("film.png", whole, film), ("lossy.webp", whole, {}),
        ("film.webp", whole, film | {"lossless": True}), ("film.gif", whole, film), ("plain.bmp", whole, {}),
        ("palette.bmp", whole.quantize(9), {}), ("plain.tif", whole, {}), ("film.tif", whole, film),
        ("packed.tiff", whole, {"compression": "tiff_lzw"}), ("grey.tiff", grey16, {"compression": "tiff_deflate"}),
        ("fax.tiff", whole.convert("1"), {"compression": "group4"}),
    ):  # fmt: skip
        file = io.BytesIO()
        picture.save(file, Image.registered_extensions()[Path(name).suffix], **options)
        made[name] = file.getvalue()
    return made


@cache
def developed(name):
    """The bytes that one of these pictures becomes."""
    return pictures.develop(io.BytesIO(picture_files()[name]), 8).tobytes()


def read_folder(folder, rng):
    """A broken picture between two whole ones: it is skipped, or read as something of the right size."""
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    whole, name = picture_files(), rng.choice(list(picture_files()))
    pets = {"a.png": whole["plain.png"], f"b-{name}": mutate(whole[name], rng), "c.png": whole["bit.png"]}
    (folder / "pets").mkdir()
    for given, content in pets.items():
        (folder / "pets" / given).write_bytes(content)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        images = load(f"folder:{folder / 'pets'}", size=8)
    read = [pixels.numpy().tobytes() for pixels in images.pixels]
    assert (read[0], read[-1]) == (developed("plain.png"), developed("bit.png")), "the whole ones"
    assert len(read) == len(images.labels) == 3 - len(caught) and images.pixels.shape[1:] == (3, 8, 8)
    if caught:
        raise GanlibError(str(caught[0].message))


@cache
def zip_file():
    """A zip of the pictures, stored or packed."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as made:
        for number, (name, content) in enumerate(picture_files().items()):
            made.writestr(f"pets/{name}", content, (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)[number % 2])
    return packed.getvalue()


def read_zip(folder, rng):
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    whole, names = zip_file(), list(picture_files())
    directory = whole.index(b"PK\1\2") if rng.random() < 0.5 else 0  # half of them where it hurts
    (folder / "a.zip").write_bytes(whole[:directory] + mutate(whole[directory:], rng))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        images = load(f"folder:{folder / 'a.zip'}", size=8)
    read = [pixels.numpy().tobytes() for pixels in images.pixels]
    assert len(read) == len(images.labels) and set(read) <= set(map(developed, names)), "a picture of another content"
    if caught:
        raise GanlibError(str(caught[0].message))


READERS = {
    "idx": AttributeClassifier("IDX files", read_idx, 2, "MNIST: the same images, by MD5; Fashion-MNIST: the right number"),
    "gz": AttributeClassifier("gzipped IDX files", read_gz, 1, "the same images: what was changed means nothing"),
    "npz": AttributeClassifier("npz of images", read_npz, 3, "the same images: what was changed means nothing"),
    "checkpoint": AttributeClassifier("checkpoints", read_checkpoint, 2, "the same run, bit for bit"),
    "repacked": AttributeClassifier("checkpoints forged with a right checksum", read_repacked, 1, "a run that goes on"),
    "weights": AttributeClassifier("weights with a right sha256", read_weights, 2, "a network that draws"),
    "json": AttributeClassifier("json beside weights", read_json, 2, "a network that draws"),
    "folder": AttributeClassifier("pictures in a folder", read_folder, 3, "three channels of the size asked, the others unharmed"),
    "zip": AttributeClassifier("zips of pictures", read_zip, 2, "pictures of the zip as they were; each has a checksum"),
}


class Hang(BaseException):
    """One input took longer than MOST_SECONDS."""


def _alarm(*_):
    raise Hang


def _memory(field):
    """A field of /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))


def _try_all(inputs, seconds, seed, report):
    """In a process of its own: feed all readers in turn, and write the figures to the file `report` as json."""
    files.FILES = {name: (kind, 12 if "train" in name else 5) for name, (kind, _) in files.FILES.items()}
    files.PUBLISHED = {"mnist": {name: hashlib.md5(content).hexdigest() for name, content in idx_files().items()}}
    signal.signal(signal.SIGALRM, _alarm)
    warnings.simplefilter("ignore")
    names = [name for name, reader in READERS.items() for _ in range(reader.share)]
    failures, slowest, started = [], 0.0, time.perf_counter()
    counts = {name: [0, 0] for name in names}
    for number in range(-len(names), inputs):  # the first of each warm up
        if number == 0:
            before, limit = _memory("VmRSS"), _memory("VmSize") + MOST_MEMORY
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        if time.perf_counter() - started > seconds:
            break
        name = names[number % len(names)]
        if number % 100 == 0:  # so that a crash that ends the process is known by its inputs
            report.write_text(json.dumps({"failures": [f"one of the 100 inputs from {number}, seed {seed}: crash"]}))
        folder, now = Path(tempfile.mkdtemp()), time.perf_counter()
        counts[name][0] += number >= 0
        signal.setitimer(signal.ITIMER_REAL, MOST_SECONDS)
        try:
            READERS[name].attempt(folder, random.Random(f"{seed} {number}"))
        except GanlibError as error:
            counts[name][1] += number >= 0
            if "\n" in str(error):
                failures.append(f"{name} {number}: more than a line")
        except BaseException:
            failures.append(f"{name} {number} of seed {seed}: {traceback.format_exc()[-600:]}")
        signal.setitimer(signal.ITIMER_REAL, 0)
        slowest = max(slowest, (time.perf_counter() - now) * (number >= 0))
        shutil.rmtree(folder, ignore_errors=True)
    figures = {"readers": counts, "failures": failures, "slowest": slowest, "bound": MOST_MEMORY // 2**20}
    figures |= {"tried": sum(tried for tried, _ in counts.values()), "fuzz_seconds": time.perf_counter() - started}
    report.write_text(json.dumps(figures | {"growth": max(0, _memory("VmHWM") - before) / 2**20}))


def start_fuzzing(inputs, seconds, seed=0):
    """Try that many inputs, or as many as the seconds allow, in a process of its own -> what gives the figures."""
    report = Path(tempfile.mkdtemp(), "report.json")
    process = os.fork()
    if not process:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # the library behind TIFF complains there, past Python
        try:
            _try_all(inputs, seconds, seed, report)
        finally:
            os._exit(0)

    def figures():
        os.waitpid(process, 0)
        found = json.loads(report.read_text())
        shutil.rmtree(report.parent)
        return found

    return figures
