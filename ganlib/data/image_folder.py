"""A folder or a zip of images, of any size and mode, becomes bytes of one size."""

import hashlib
import json
import os
import shutil
import time
import warnings
from contextlib import nullcontext, suppress
from io import BytesIO
from multiprocessing.pool import ThreadPool
from pathlib import Path, PureWindowsPath
from tempfile import TemporaryDirectory
from typing import BinaryIO
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import numpy as np
import torch
from numpy.lib.format import open_memmap, write_array_header_1_0
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from tqdm.auto import tqdm

from ganlib.errors import GanlibError
from ganlib.files import cache_folder

FORMATS = "JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"  # others make Pillow run programs
ENDINGS = ".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"
MAX_BYTES = 300_000_000  # of one file
DAY = 86_400  # seconds

Files = dict[str, tuple[int, int]]  # name -> length, and a number that marks a change


def read_image_folder(
    source: Path | str, size: int
) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """A folder or a zip of images -> pixels, labels, names of the classes.

    The first call decodes all images into an .npy file in the cache. Later ones map
    it into memory, as long as no image has changed. Images that cannot be read are
    left out, with one warning that counts them.

    Args:
        source: a folder, in which each folder is a class, as in torchvision's
            ImageFolder; or a zip of one, of which nothing is unpacked to the disk.
        size: height and width to give to the images, 4 to 1024.

    Returns pixels, uint8 (N, 3, size, size), in the order of the names; labels, int64
    (N,); the names of the classes.

    Raises GanlibError if no image can be read, for a zip that is broken or leads out
    of its folder, and if the cache cannot be written.
    """
    if type(size) is not int or not 4 <= size <= 1_024:
        raise GanlibError(
            f"The size of images is {size!r}; it must be a whole number from 4 to 1024."
        )
    place = Path(os.path.expanduser(source))
    if not os.path.isdir(place) and not os.path.isfile(place):
        raise GanlibError(
            f"There is no folder or zip {str(source)!r}; give the place of your images."
        )
    place = place.resolve()
    with nullcontext() if place.is_dir() else _open_zip(place) as archive:
        files = _list_images(place, archive)
        pixels, skipped = _map_or_decode(place, archive, files, size)
    if skipped:
        first = [f"{name!r} {reason}" for name, reason in list(skipped.items())[:5]]
        if len(skipped) == len(files):
            raise GanlibError(f"None of the images in {place} can be read: {first[0]}.")
        warnings.warn(
            f"{len(skipped):,} of {len(files):,} images in {place} skipped, the first: "
            f"{'; '.join(first)}.",
            stacklevel=3,
        )
        pixels = pixels[[name not in skipped for name in files]]
    names = [name for name in files if name not in skipped]
    own_class = place.name.removesuffix(".zip")  # of images that are in no folder
    folders = [name.split("/")[0] if "/" in name else own_class for name in names]
    classes = sorted(set(folders))
    labels = torch.tensor([classes.index(folder) for folder in folders])
    return pixels, labels, tuple(classes)


def _open_zip(path: Path) -> ZipFile:
    """An open zip; GanlibError if it is broken, or names a file outside of it."""
    try:
        archive = ZipFile(path)
    except Exception:  # which one depends on where the file is broken
        raise GanlibError(
            f"{path} is no whole zip file, perhaps a web page that a server sent in "
            "its place; download it again in a browser."
        ) from None
    for entry in archive.infolist():
        inside = PureWindowsPath(entry.filename)  # takes both / and \ for separators
        if inside.anchor or ".." in inside.parts:
            wrong = "leads out of its folder"
        elif entry.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
            wrong = "is compressed in a rare way that has no bounds"
        else:
            continue
        raise GanlibError(
            f"{path} holds {entry.filename!r}, which {wrong}; get another."
        )
    return archive


def _list_images(place: Path, archive: ZipFile | None) -> Files:
    """The images in a folder or an open zip, however deep, in the order of names."""
    files: Files = {}
    if archive:
        for entry in archive.infolist():
            files[entry.filename] = entry.file_size, entry.CRC
    else:
        for path in place.rglob("*"):
            if path.is_file():
                name = path.relative_to(place).as_posix()
                files[name] = path.stat().st_size, path.stat().st_mtime_ns
    names = [name for name in sorted(files) if name.lower().endswith(ENDINGS)]
    hidden = ("/.", "/__MACOSX")
    names = [name for name in names if not any(part in f"/{name}" for part in hidden)]
    if not names:
        raise GanlibError(
            f"{place} holds no images; their names should end in {', '.join(ENDINGS)}."
        )
    return {name: files[name] for name in names}


def _map_or_decode(
    place: Path, archive: ZipFile | None, files: Files, size: int
) -> tuple[Tensor, dict[str, str]]:
    """Pixels (N, 3, size, size) and {name: reason} of the images that cannot be read.

    They are mapped from a cache, an .npy file with JSON behind the array. If that is
    not there, broken or of other files, all images are decoded into a new one, which
    takes its place when it is whole.
    """
    folder = cache_folder()
    key = hashlib.sha256(os.fsencode(place)).hexdigest()[:16]
    cache = folder / f"images-{size}-{key}.npy"
    stamp = hashlib.sha256(json.dumps(files).encode()).hexdigest()
    try:
        return _map(cache, stamp)
    except Exception:  # which one depends on what is wrong with the file
        pass
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(".new-images-*"):
            with suppress(FileNotFoundError):  # another process has just finished
                if time.time() - left.stat().st_mtime > DAY:  # it was killed
                    shutil.rmtree(left, ignore_errors=True)
        with TemporaryDirectory(prefix=".new-images-", dir=folder) as work:
            new = Path(work, cache.name)
            with open(new, "wb") as file:
                shape = len(files), 3, size, size
                header = {"descr": "|u1", "fortran_order": False, "shape": shape}
                write_array_header_1_0(file, header)
                for _ in files:  # a full disk shows now, not after the work
                    file.write(bytes(3 * size * size))
            skipped = _decode_all(place, archive, files, open_memmap(new, mode="r+"))
            with open(new, "a") as text:
                json.dump([stamp, skipped], text)
            os.replace(new, cache)
    except OSError as error:
        raise GanlibError(
            f"The images of {place} cannot be kept in {folder} ({error.strerror}); "
            "make room there, or name another folder in XDG_CACHE_HOME."
        ) from None
    return _map(cache, stamp)


def _map(cache: Path, stamp: str) -> tuple[Tensor, dict[str, str]]:
    """What `_map_or_decode` returns; some kind of error if the cache is broken."""
    pixels = open_memmap(cache, mode="c")
    with open(cache, "rb") as file:
        file.seek(pixels.offset + pixels.nbytes)
        stamp_of_cache, skipped = json.load(file)
    if stamp_of_cache != stamp:
        raise GanlibError("An image changed while all were read; try again.")
    return torch.from_numpy(pixels), skipped


def _decode_all(
    place: Path, archive: ZipFile | None, files: Files, pixels: np.ndarray
) -> dict[str, str]:
    """Decode each image into its place in `pixels`, (N, 3, size, size).

    Returns {name: reason} of those that cannot be read; their pixels stay as they were.
    """

    def decode(numbered: tuple[int, str]) -> str:
        index, name = numbered
        length, _ = files[name]
        if length > MAX_BYTES:
            return f"is larger than {MAX_BYTES:,} bytes"
        try:
            with archive.open(name) if archive else open(place / name, "rb") as file:
                content = file.read(length + 1)  # a zip may hold more than it says
            pixels[index] = decode_image(BytesIO(content), pixels.shape[-1])
        except UnidentifiedImageError:
            return f"is none of {', '.join(FORMATS)}"
        except Exception as error:  # which one depends on format and fault
            reason = " ".join(str(error).split()).replace(". ", "; ").rstrip(".")
            return f"cannot be read ({reason})"
        return ""

    with ThreadPool(min(8, os.cpu_count() or 1)) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow, about what is mended here
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        reasons = pool.imap(decode, enumerate(files), chunksize=8)
        progress = tqdm(reasons, total=len(files), disable=len(files) < 1_000)
        skipped = dict(zip(files, progress, strict=True))
    return {name: reason for name, reason in skipped.items() if reason}


def decode_image(file: BinaryIO, size: int) -> np.ndarray:
    """An open image file -> bytes (3, size, size): upright, on white, centre square.

    Of an animation, the first image. Of more than 8 bits, the brightest is white.
    Raises many kinds of errors for a broken file, and Pillow's for a huge image.
    """
    with Image.open(file, formats=FORMATS) as opened:
        opened.draft(None, (2 * size, 2 * size))  # a large JPEG is decoded in part
        image = ImageOps.exif_transpose(opened)
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image, dtype=np.float32)
        values = np.nan_to_num(values, posinf=0, neginf=0).clip(0)
        values = values * (255 / max(values.max(), 1e-9))
        image = Image.fromarray(values.astype(np.uint8))
    image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    image = ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
    if image.mode == "RGBA":
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image).convert("RGB")
    return np.asarray(image).transpose(2, 0, 1)
