"""The darkroom: a folder or a zip of pictures, of any size and mode, becomes bytes of one size, developed only once."""

import hashlib
import json
import os
import shutil
import struct
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from io import BytesIO
from itertools import chain
from pathlib import Path, PureWindowsPath
from tempfile import TemporaryDirectory
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from ganlib.errors import GanlibError
from ganlib.files import cache_folder

FORMATS = "JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"  # Pillow knows more; for one of them it starts another program
ENDINGS = ".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"
MOST_PIXELS, MOST_BYTES = 90_000_000, 300_000_000  # of one picture
THREADS = min(8, 1 + (os.cpu_count() or 1))
AHEAD = 64  # so many small pictures are in memory at most
MANY = 1_000  # from so many pictures on, a progress bar


def read_pictures(source, size):
    """Folder or zip -> pixels uint8 (N, 3, size, size) mapped from a cache file, labels (N,), names of the classes.

    A class is a folder right inside `source`, as in torchvision's ImageFolder. The first call decodes all pictures
    in parallel; later ones find them in the cache, as long as no file has changed. A picture that cannot be read is
    skipped with a warning that names and counts; GanlibError if there is none at all, or the zip cannot be trusted.
    """
    if type(size) is not int or not 4 <= size <= 1_024:
        raise GanlibError(f"The size of pictures is {size!r}; it must be a whole number from 4 to 1024.")
    place = _find(source)
    cache = cache_folder() / f"pictures-{size}-{hashlib.sha256(os.fsencode(place)).hexdigest()[:16]}"
    with (_in_folder if place.is_dir() else _in_zip)(place) as (found, read):
        if not found:
            raise GanlibError(f"{place} holds no pictures; their names should end in {', '.join(ENDINGS)}.")
        stamp = hashlib.sha256(json.dumps(["version 1", size, found]).encode()).hexdigest()
        while not (kept := _map(cache, size, stamp)):
            _develop(place, found, read, size, stamp, cache)
    pixels, about = kept
    if skipped := about["skipped"]:
        named = "; ".join(skipped[:5]) + "; and others" * (len(skipped) > 5)
        warnings.warn(f"{len(skipped):,} of {len(found):,} pictures in {place} skipped: {named}.", stacklevel=3)
    return pixels, torch.tensor(about["labels"]), tuple(about["classes"])


def _find(source):
    """The path of a folder or file as a whole; GanlibError if it is not there."""
    with suppress(OSError, RuntimeError, ValueError):  # no home, loops of links, a zero byte
        place = Path(source).expanduser().resolve()
        if (place.is_dir() or place.is_file()) and os.access(place, os.R_OK):
            return place
    raise GanlibError(f"There is no folder or zip {str(source)!r} that can be read; give the place of your pictures.")


def develop(file, size):
    """Open binary file of one picture -> bytes (3, size, size): upright, on white, its centre square, three channels.

    Of an animation, the first picture. Numbers beyond bytes (16-bit grey, float): the brightest becomes white.
    Errors of many class_coverage for a broken file; Image.DecompressionBombError for more than MOST_PIXELS.
    """
    with Image.open(file, formats=FORMATS) as picture:
        if picture.width * picture.height > MOST_PIXELS:
            raise Image.DecompressionBombError
        picture.draft(None, (2 * size, 2 * size))  # a JPEG need not be decoded in full for a small copy
        picture = ImageOps.exif_transpose(picture)
        if picture.mode.startswith(("I", "F")):
            values = np.nan_to_num(np.asarray(picture, dtype=np.float32), posinf=0, neginf=0).clip(0)
            picture = Image.fromarray((values * (255 / max(values.max(), 1e-9))).astype(np.uint8))
        picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
        picture = ImageOps.fit(picture, (size, size), Image.Resampling.BICUBIC)
        if picture.mode == "RGBA":
            picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    return np.asarray(picture).transpose(2, 0, 1)


def _is_picture(name):
    return name.lower().endswith(ENDINGS) and not any(part.startswith((".", "__MACOSX")) for part in name.split("/"))


@contextmanager
def _in_folder(folder):
    """{name: (bytes, time of change)} of the pictures in a folder, however deep, and a function to read one."""
    found = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if _is_picture(name) and path.is_file():
            found[name] = path.stat().st_size, path.stat().st_mtime_ns
    yield dict(sorted(found.items())), lambda name: (folder / name).read_bytes()


@contextmanager
def _in_zip(path):
    """{name: (bytes, checksum)} of the pictures in a zip, and a function to read one. Nothing is unpacked to disk."""
    with open(path, "rb") as file:
        page = file.read(512).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")
        try:
            packed = ZipFile(file)
        except (BadZipFile, OSError, ValueError, NotImplementedError, struct.error):
            what = "a web page, as servers send it when a download's quota is used up" if page else "no whole zip file"
            raise GanlibError(f"{path} is {what}; download it again, perhaps tomorrow, in a browser.") from None
        for name in map(PureWindowsPath, packed.namelist()):  # for it a \ separates too
            if name.anchor or ".." in name.parts:
                raise GanlibError(f"{path} holds {str(name)!r}, which leads out of its folder; get the zip elsewhere.")
        entries = {name: packed.getinfo(name) for name in sorted(packed.namelist()) if _is_picture(name)}
        yield {name: (entry.file_size, entry.CRC) for name, entry in entries.items()}, partial(_unpack, packed)


def _unpack(packed, name):
    """The bytes of a file in a zip, no more of them than the zip says, checksum compared."""
    entry = packed.getinfo(name)
    if entry.compress_type not in (ZIP_STORED, ZIP_DEFLATED):  # the others cannot be unpacked in steps
        raise NotImplementedError("it is packed in a way that is rare for pictures")
    with packed.open(entry) as file:
        return file.read(entry.file_size + 1)


def _map(cache, size, stamp):
    """A cache file -> pixels mapped from it and what is known of them; None unless it is whole and of this stamp."""
    try:
        with open(cache, "rb") as file:
            file.seek(-8, os.SEEK_END)
            length = int.from_bytes(file.read(8), "little")
            end = file.seek(-8 - length, os.SEEK_END)
            about = json.loads(file.read(length))
            shape = len(about["labels"]), 3, size, size
            if about["stamp"] == stamp and end == np.prod(shape):
                return torch.from_numpy(np.memmap(file, np.uint8, mode="c", shape=shape)), about
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return None  # not there or broken: it is made anew


def _develop(place, found, read, size, stamp, cache):
    """Decode the pictures `found` in `place` into the file `cache`, which changes only when all of them are there."""
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        for left in cache.parent.glob(f".new-{cache.name}-*"):
            with suppress(FileNotFoundError):  # it is another process's, which has just finished
                if time.time() - left.stat().st_mtime > 86_400:  # who made it was killed
                    shutil.rmtree(left, ignore_errors=True)
        with TemporaryDirectory(prefix=f".new-{cache.name}-", dir=cache.parent, ignore_cleanup_errors=True) as work:
            with open(Path(work, "pixels"), "wb") as file:
                known = json.dumps(_fill(file, place, found, read, size) | {"stamp": stamp}).encode()
                file.write(known + len(known).to_bytes(8, "little"))
            os.replace(file.name, cache)
    except OSError as error:
        reason = f"The pictures of {place} cannot be kept in {cache.parent} ({error.strerror})"
        raise GanlibError(f"{reason}; make room there, or name another folder in XDG_CACHE_HOME.") from None


def _fill(file, place, found, read, size):
    """Write the bytes of the pictures `found` in `place` to the open `file` -> what else is known of them."""
    from tqdm.auto import tqdm

    names, labels, skipped = list(found), [], []
    class_coverage = [name.split("/")[0] if "/" in name else place.name.removesuffix(".zip") for name in names]
    classes = sorted(set(class_coverage))
    with ThreadPoolExecutor(THREADS) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow worries about what is mended here
        parts = (names[start : start + AHEAD] for start in range(0, len(names), AHEAD))
        results = chain.from_iterable(pool.map(partial(_try, found, read, size), part) for part in parts)
        results = tqdm(results, total=len(names), disable=len(names) < MANY)
        for name, kind, result in zip(names, class_coverage, results, strict=True):
            if isinstance(result, str):
                skipped.append(f"{name!r} {result}")
            else:
                file.write(result.tobytes())
                labels.append(classes.index(kind))
    if not labels:
        raise GanlibError(f"None of the pictures in {place} can be read: {skipped[0]}.")
    return {"labels": labels, "classes": classes, "skipped": skipped}


def _try(found, read, size, name):
    """One picture -> its bytes (3, size, size), or a text that says why it cannot be had."""
    try:
        if found[name][0] > MOST_BYTES:
            return f"is larger than {MOST_BYTES:,} bytes"
        return develop(BytesIO(read(name)), size)
    except Image.DecompressionBombError:
        return f"has more than {MOST_PIXELS:,} pixels"
    except UnidentifiedImageError:
        return f"is none of {', '.join(FORMATS)}"
    except Exception as error:  # a dozen class_coverage: it depends on the format and on where the file is broken
        return f"cannot be read ({' '.join(str(error).split()).replace('. ', '; ').rstrip('.')})"
