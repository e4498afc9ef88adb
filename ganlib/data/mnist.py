"""MNIST and Fashion-MNIST: found, unpacked or downloaded, and checked."""

import gzip
import hashlib
import math
import os
import socket
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory

from ganlib.errors import GanlibError
from ganlib.files import cache_folder, read_bytes

FOLDERS = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}  # torchvision's names
FILES = {  # file -> shape of its content, and the MD5 of MNIST's
    "train-images-idx3-ubyte": ((60_000, 28, 28), "6bbc9ace898e44ae57da46a324031adb"),
    "train-labels-idx1-ubyte": ((60_000,), "a25bea736e30d166cdddb491f175f624"),
    "t10k-images-idx3-ubyte": ((10_000, 28, 28), "2646ac647ad5339dbf082846283269ea"),
    "t10k-labels-idx1-ubyte": ((10_000,), "27ae3e4e09519cfbb04c329615203637"),
}
TIMEOUT = 20.0  # seconds without a byte before a mirror is given up


class MissingDataError(GanlibError):
    """The files are not here and cannot be downloaded, or cannot be kept."""


def data_root(root: Path | str | None = None) -> Path:
    """The folder of data sets: `root`, or what GANLIB_DATA names, or the cache."""
    return Path(root or os.environ.get("GANLIB_DATA") or cache_folder()).expanduser()


def fetch(name: str, *, root: Path | str | None = None) -> Path:
    """ "mnist" or "fashion-mnist" -> a torchvision root with its four unpacked files.

    Gzipped files in `root`, which may be read-only, are unpacked into the cache. If
    there are none, torchvision downloads them into `root`, see `data_root`.

    Raises GanlibError for a file that is not what it should be, MissingDataError if
    there is no file and no mirror that answers, or nowhere to write.
    """
    root = data_root(root)
    raw = root / FOLDERS[name] / "raw"
    if not _has_files(raw) and _has_files(raw, ending=".gz"):
        checksums = b"".join(read_bytes(raw / f"{file}.gz")[-8:] for file in FILES)
        root = cache_folder() / f"unpacked-{hashlib.md5(checksums).hexdigest()[:12]}"
        if not _has_files(root / FOLDERS[name] / "raw"):
            with _all_or_nothing(name, root) as new_root:
                for file in FILES:
                    content = _read_idx(name, raw / f"{file}.gz")
                    (new_root / FOLDERS[name] / "raw" / file).write_bytes(content)
    elif not _has_files(raw):
        with _all_or_nothing(name, root) as new_root:
            _download(name, root, new_root)
    for file in FILES:
        path = root / FOLDERS[name] / "raw" / file
        _check_once(name, path, path.stat().st_size, path.stat().st_mtime_ns)
    return root


def _has_files(raw: Path, ending: str = "") -> bool:
    return all((raw / f"{file}{ending}").is_file() for file in FILES)


@contextmanager
def _all_or_nothing(name: str, root: Path) -> Iterator[Path]:
    """A new root, whose files move into `root` if the block ends well.

    They move one by one: another process may just have put the same files there.
    """
    raw = Path(FOLDERS[name], "raw")
    try:
        root.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".new-", dir=root) as folder:
            new_root = Path(folder)
            (new_root / raw).mkdir(parents=True)
            yield new_root
            (root / raw).mkdir(parents=True, exist_ok=True)
            for file in FILES:
                os.replace(new_root / raw / file, root / raw / file)
    except OSError as error:
        raise MissingDataError(
            f"{name} cannot be kept in {root} ({error.strerror}); choose a folder that "
            "you may write to."
        ) from None


def _download(name: str, root: Path, new_root: Path) -> None:
    """Have torchvision download into `new_root`, from its mirrors, by its checksums."""
    from torchvision import datasets

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        getattr(datasets, FOLDERS[name])(new_root, download=True)
    except (RuntimeError, OSError, HTTPException) as error:
        reason = " ".join(str(error).split()).replace(". ", ", ").rstrip(".")
        raise MissingDataError(
            f"{name} is not in {root} and could not be downloaded "
            f"({reason or type(error).__name__}); put its four files into "
            f"{root / FOLDERS[name] / 'raw'}, or point GANLIB_DATA or --data to a "
            "folder that has them."
        ) from None
    finally:
        socket.setdefaulttimeout(before)


@cache
def _check_once(name: str, path: Path, size: int, changed: int) -> None:
    """Check a file once per process, unless its size or time of change is another."""
    _read_idx(name, path)


def _read_idx(name: str, path: Path) -> bytes:
    """The content of an IDX file of a data set, gzipped or not.

    Raises GanlibError if it is not what it should be.
    """
    shape, md5 = FILES[path.name.removesuffix(".gz")]
    header = struct.pack(f">{1 + len(shape)}i", 0x800 + len(shape), *shape)
    length = len(header) + math.prod(shape)
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rb") as file:
            content = file.read(length + 1)  # no more, lest a forged file fill the disk
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise GanlibError(
            f"{path} cannot be read ({reason}); delete it and fetch it again."
        ) from None
    if len(content) != length or not content.startswith(header):
        right = f"{length:,} bytes that begin with {header.hex()}"
    elif name == "mnist" and hashlib.md5(content).hexdigest() != md5:
        right = f"the MD5 {md5}"
    else:
        return content
    raise GanlibError(
        f"{path} is not that file of {name}, which has {right}; delete it and fetch it "
        "again."
    )
