"""The gate: files come in and go out whole or not at all, checked, or with one clear sentence."""

import gzip
import hashlib
import os
import socket
import struct
import tempfile
import zlib
from contextlib import contextmanager, suppress
from functools import cache
from http.client import HTTPException
from pathlib import Path

from ganlib.errors import GanlibError

FILES = {  # file name -> (kind, images or labels in it)
    "train-images-idx3-ubyte": ("images", 60_000),
    "train-labels-idx1-ubyte": ("labels", 60_000),
    "t10k-images-idx3-ubyte": ("images", 10_000),
    "t10k-labels-idx1-ubyte": ("labels", 10_000),
}
FOLDERS = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}
PUBLISHED = {  # data set -> MD5 of its unpacked files; of Fashion-MNIST copies in another order are about
    "mnist": {
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    }
}
TIMEOUT = 20  # seconds without a byte before a mirror is given up


class MissingDataError(GanlibError):
    """The files are not here and could not be fetched or kept."""


def cache_folder():
    """The folder for files that ganlib downloads or unpacks; it is not made here."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ganlib"


def data_root(root=None):
    """The folder in which data sets are looked for: `root`, or what GANLIB_DATA names, or the cache."""
    return Path(root or os.environ.get("GANLIB_DATA") or cache_folder()).expanduser()


def fetch(name, *, root=None):
    """Data set name -> a torchvision data root that holds all its unpacked files, whole and checked.

    Looks into `root` for unpacked or gzipped files, then downloads from torchvision's mirrors. Raises GanlibError for
    a file that is not what it should be, MissingDataError where nothing is found and no mirror answers.
    """
    root = data_root(root)
    raw = root / FOLDERS[name] / "raw"
    if _holds_all(raw):
        _check_files(name, raw)
        return root
    if _holds_all(raw, ending=".gz"):
        return _unpack(name, raw)
    return _download(name, root)


def _holds_all(raw, ending=""):
    return all((raw / f"{file}{ending}").is_file() for file in FILES)


def _unpack(name, raw):
    """Gzipped files in `raw` (which may be read-only) -> a root in the cache, named after their checksums."""
    print_of_files = hashlib.md5(b"".join(read_bytes(raw / f"{file}.gz")[-8:] for file in FILES)).hexdigest()
    target = cache_folder() / f"unpacked-{print_of_files[:12]}"
    if _holds_all(target / FOLDERS[name] / "raw"):
        return fetch(name, root=target)
    with _whole_or_absent(target, name) as new_raw:
        for file in FILES:
            try:
                with gzip.open(raw / f"{file}.gz") as packed:
                    content = packed.read(_expected(file)[1] + 1)  # no more: a forged file would fill the disk
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise GanlibError(f"{raw / file}.gz is broken ({error}); delete it and fetch it again.") from None
            (new_raw / file).write_bytes(content)
        _check_files(name, new_raw, source=raw)
    return target


def _download(name, root):
    """All files of a data set from torchvision's mirrors, each with the right MD5 -> `root`."""
    from torchvision import datasets

    dataset, patience = getattr(datasets, FOLDERS[name]), socket.getdefaulttimeout()
    with _whole_or_absent(root, name) as new_raw:
        try:
            socket.setdefaulttimeout(TIMEOUT)
            for file, md5 in dataset.resources:
                if tried := _try_mirrors(dataset.mirrors, file, md5, new_raw):
                    raise MissingDataError(
                        f"{name} is not in {root} and could not be downloaded ({tried}); put its four files into "
                        f"{root / FOLDERS[name] / 'raw'}, or point GANLIB_DATA or --data to a folder that has them."
                    )
        finally:
            socket.setdefaulttimeout(patience)
        _check_files(name, new_raw)
    return root


def _try_mirrors(mirrors, file, md5, raw):
    """Download and unpack a gzipped file into `raw` from the first mirror that has it -> "", or what went wrong."""
    from torchvision.datasets.utils import download_and_extract_archive

    tried = []
    for mirror in mirrors:
        try:
            download_and_extract_archive(f"{mirror}{file}", str(raw), filename=file, md5=md5)
            return ""
        except (RuntimeError, OSError, HTTPException) as error:
            reason = " ".join(str(error).split()).replace(". ", ", ").rstrip(".") or type(error).__name__
            tried.append(f"{mirror}{file}: {reason}")
    return "; ".join(tried)


@contextmanager
def _whole_or_absent(root, name):
    """Gives a new `raw` folder to fill with FILES; they appear in root/NAME/raw only when the block ends well."""
    target = root / FOLDERS[name] / "raw"
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=root, ignore_cleanup_errors=True) as work:
            raw = Path(work) / FOLDERS[name] / "raw"
            raw.mkdir(parents=True)
            yield raw
            target.mkdir(parents=True, exist_ok=True)
            for file in FILES:  # one by one: a faster process may have put the same files there and be reading them
                os.replace(raw / file, target / file)
    except OSError as error:
        reason = f"{name} cannot be kept in {root} ({error.strerror})"
        raise MissingDataError(f"{reason}; subsample a folder that you may write to.") from None


def _expected(file):
    """The header and the length of an unpacked file, in bytes."""
    kind, count = FILES[file]
    if kind == "labels":
        return struct.pack(">2i", 2049, count), 8 + count
    return struct.pack(">4i", 2051, count, 28, 28), 16 + 784 * count


def _check_files(name, raw, source=None):
    """Raise GanlibError unless the IDX files in `raw` (unpacked from `source`) are those of the data set."""
    for file in FILES:
        if wrong := _what_is_wrong(name, file, raw / file, unpacked=source is not None):
            what = f"{(source or raw) / file} is not the {FILES[file][0]} file of {name}"
            raise GanlibError(f"{what}: {wrong}; delete it and fetch it again.")


def _what_is_wrong(name, file, path, unpacked):
    """What the header, the length or the MD5 of an IDX file is and should be, or ""."""
    header, length = _expected(file)
    found, about = read_bytes(path, len(header)), path.stat()
    if found != header or about.st_size != length:
        more = " or more" if unpacked and about.st_size > length else ""
        wrong = "" if found == header else ", and its header is wrong"
        return f"it has {about.st_size:,} bytes{more} and should have {length:,}{wrong}"
    published = PUBLISHED.get(name, {}).get(file)
    if published and (md5 := _md5_of(path, about.st_size, about.st_mtime_ns)) != published:
        return f"its MD5 is {md5} and should be {published}"
    return ""


@cache
def _md5_of(path, size, changed):
    """The MD5 of a file: once per process, while its size and the time of its last change stay the same."""
    return hashlib.md5(read_bytes(path)).hexdigest()


def write_atomic(path, content):
    """Write bytes beside `path`, then rename: a reader sees the old file or the new one, never half of one."""
    path = Path(path)
    beside = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(beside, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        with suppress(OSError):
            beside.unlink()
        raise GanlibError(f"Cannot write {path} ({error.strerror}); make room or subsample another folder.") from None


def read_bytes(path, most=-1):
    """The bytes of a file, or the first `most` of them."""
    try:
        with open(path, "rb") as file:
            return file.read(most)
    except OSError as error:
        raise GanlibError(f"{path} cannot be read ({error.strerror}); make it readable.") from None
