"""A folder or a zip of images, of any size and mode, becomes bytes of one size."""

import hashlib
import json
import os
import shutil
import time
import warnings
from contextlib import nullcontext, suppress
from functools import cache
from io import BytesIO
from multiprocessing.pool import ThreadPool
from pathlib import Path, PureWindowsPath
from tempfile import TemporaryDirectory
from typing import BinaryIO, NamedTuple
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import numpy as np
import torch
from numpy.lib.format import open_memmap, write_array_header_1_0
from PIL import Image, ImageColor, ImageOps, UnidentifiedImageError, features
from torch import Tensor
from tqdm.auto import tqdm

from ganlib.errors import GanlibError
from ganlib.files import cache_folder

FORMATS = "JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"  # others make Pillow run programs
ENDINGS = ".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"
PHONES = ".avif", ".heic", ".heif"  # Pillow reads them only where its parts are there
SQUARES = "crop", "pad"  # what makes an image square
READER = 2  # a cache of another reader is made anew
MAX_BYTES = 300_000_000  # of one file
DAY = 86_400  # seconds

Files = dict[str, tuple[int, int]]  # name -> length, and a number that marks a change


class Form(NamedTuple):
    """What images become; GanlibError from `check` for a value that cannot be."""

    size: int  # height and width
    channels: int = 3  # 1: grey
    square: str = "crop"  # the centre, or "pad": all of it, on the ground
    ground: str = "white"  # a colour that Pillow knows, behind what is transparent

    def check(self) -> None:
        if type(self.size) is not int or not 4 <= self.size <= 1_024:
            raise GanlibError(
                f"The size of images is {self.size!r}; it must be a whole number from "
                "4 to 1024."
            )
        if type(self.channels) is not int or self.channels not in (1, 3):
            raise GanlibError(
                f"channels is {self.channels!r}; pictures are read with 1 channel, "
                "grey, or with 3."
            )
        if self.square not in SQUARES:
            raise GanlibError(
                f"square is {self.square!r}; it must be one of {', '.join(SQUARES)}."
            )
        try:
            opaque = len(ImageColor.getrgb(self.ground)) == 3
        except (ValueError, AttributeError):
            opaque = False
        if not opaque:
            raise GanlibError(
                f"ground is {self.ground!r}; it must be a colour such as white, black "
                "or #8090a0."
            )


class Decoded(NamedTuple):
    """Images in their form, and what was noticed."""

    pixels: Tensor  # uint8 (N, C, size, size)
    skipped: dict[str, str]  # {name: reason} of those that cannot be read
    animated: list[str]  # names of those with several images, of which the first counts
    grey: bool  # whether in all of them all channels are equal


def read_image_folder(
    source: Path | str,
    size: int,
    *,
    channels: int | None = 3,
    square: str = "crop",
    ground: str = "white",
    train: bool = True,
) -> tuple[Tensor, Tensor, tuple[str, ...], bool]:
    """A folder or a zip of images -> pixels, labels, names of the classes, divided.

    The first call decodes all images into an .npy file in the cache. Later ones map
    it into memory, as long as no image has changed. Images that cannot be read are
    left out, with one warning that counts them; another counts the animations.

    Args:
        source: a folder, in which each folder is a class, as in torchvision's
            ImageFolder; or a zip of one, of which nothing is unpacked to the disk. If
            it holds the folders train and test, and no images beside them, it is
            divided, and the classes are the folders in those.
        size: height and width to give to the images, 4 to 1024.
        channels: 3, or 1 for grey; None: 1 if all images are grey, else 3.
        square: "crop" keeps the centre of an image, "pad" all of it on the ground.
        ground: the colour behind transparent pixels and around padded images.
        train: of a divided source the images in train, or those in test.

    Returns pixels, uint8 (N, C, size, size), in the order of the names; labels, int64
    (N,); the names of the classes; and whether the source is divided.

    Raises GanlibError if no image can be read, for a zip that is broken or leads out
    of its folder, and if the cache cannot be written.
    """
    form = Form(size, 3 if channels is None else channels, square, ground)
    form.check()
    place = Path(os.path.expanduser(source))
    if not os.path.isdir(place) and not os.path.isfile(place):
        raise GanlibError(
            f"There is no folder or zip {str(source)!r}; give the place of your images."
        )
    place = place.resolve()
    with nullcontext() if place.is_dir() else _open_zip(place) as archive:
        files = _list_images(place, archive)
        divided = {name.split("/")[0] for name in files} == {"train", "test"}
        class_of = {
            name: _class_of(name.partition("/")[2] if divided else name, place)
            for name in files
        }
        part = ("train" if train else "test") if divided else ""
        files = {name: files[name] for name in files if name.startswith(part)}
        decoded = _map_or_decode(place, archive, files, part, form)
    pixels, skipped = decoded.pixels, decoded.skipped
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
    if decoded.animated:
        warnings.warn(
            f"{len(decoded.animated):,} of {len(files):,} images in {place} are "
            f"animated or have several pages, the first: {decoded.animated[0]!r}; of "
            "each the first image is taken.",
            stacklevel=3,
        )
    if channels is None and decoded.grey:
        pixels = pixels[:, :1]
    names = [name for name in files if name not in skipped]
    classes = sorted({class_of[name] for name in class_of if name not in skipped})
    labels = torch.tensor([classes.index(class_of[name]) for name in names])
    return pixels, labels, tuple(classes), divided


def _class_of(name: str, place: Path) -> str:
    """The class of an image: its first folder, or else the source's own name."""
    return name.split("/")[0] if "/" in name else place.name.removesuffix(".zip")


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
    endings = ENDINGS + PHONES
    names = [name for name in sorted(files) if name.lower().endswith(endings)]
    hidden = ("/.", "/__MACOSX")
    names = [name for name in names if not any(part in f"/{name}" for part in hidden)]
    if not names:
        raise GanlibError(
            f"{place} holds no images; their names should end in {', '.join(endings)}."
        )
    return {name: files[name] for name in names}


def _map_or_decode(
    place: Path, archive: ZipFile | None, files: Files, part: str, form: Form
) -> Decoded:
    """The images in a part of `place`, mapped from a cache.

    It is an .npy file with JSON behind the array. If that is not there, broken, of
    other files or of another reader, all images are decoded into a new one, which takes
    its place when it is whole.
    """
    folder = cache_folder()
    way = json.dumps([os.fsdecode(place), part, form])
    key = hashlib.sha256(os.fsencode(way)).hexdigest()[:16]
    cache = folder / f"images-{form.size}-{key}.npy"
    facts = [READER, formats(), form, files]
    stamp = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
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
                shape = len(files), form.channels, form.size, form.size
                header = {"descr": "|u1", "fortran_order": False, "shape": shape}
                write_array_header_1_0(file, header)
                for _ in files:  # a full disk shows now, not after the work
                    file.write(bytes(form.channels * form.size**2))
            array = open_memmap(new, mode="r+")
            noticed = _decode_all(place, archive, files, form, array)
            with open(new, "a", encoding="utf-8") as text:
                json.dump([stamp, *noticed], text)
            os.replace(new, cache)
    except OSError as error:
        raise GanlibError(
            f"The images of {place} cannot be kept in {folder} ({error.strerror}); "
            "make room there, or name another folder in XDG_CACHE_HOME."
        ) from None
    return _map(cache, stamp)


def _map(cache: Path, stamp: str) -> Decoded:
    """What `_map_or_decode` returns; some kind of error if the cache is broken."""
    pixels = open_memmap(cache, mode="c")
    with open(cache, "rb") as file:
        file.seek(pixels.offset + pixels.nbytes)
        stamp_of_cache, skipped, animated, grey = json.load(file)
    if stamp_of_cache != stamp:
        raise GanlibError("An image changed while all were read; try again.")
    return Decoded(torch.from_numpy(pixels), skipped, animated, grey)


def _decode_all(
    place: Path,
    archive: ZipFile | None,
    files: Files,
    form: Form,
    pixels: np.ndarray,
) -> tuple[dict[str, str], list[str], bool]:
    """Decode each image into its place in `pixels`, (N, C, size, size).

    Returns what `Decoded` has beside them. The pixels of an image that cannot be read
    stay as they were.
    """

    def decode(numbered: tuple[int, str]) -> tuple[str, bool, bool]:
        """(why it cannot be read, whether it is animated, whether it is grey)"""
        index, name = numbered
        length, _ = files[name]
        if length > MAX_BYTES:
            return f"is larger than {MAX_BYTES:,} bytes", False, True
        try:
            with archive.open(name) if archive else open(place / name, "rb") as file:
                content = file.read(length + 1)  # a zip may hold more than it says
            pixels[index] = image = decode_image(BytesIO(content), *form)
        except UnidentifiedImageError:
            return f"is none of {', '.join(formats())}{_advice(name)}", False, True
        except Exception as error:  # which one depends on format and fault
            reason = " ".join(str(error).split()).replace(". ", "; ").rstrip(".")
            return f"cannot be read ({reason})", False, True
        return "", _is_animated(content), bool((image == image[:1]).all())

    formats()  # before the threads: it may register one
    with ThreadPool(min(8, os.cpu_count() or 1)) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow, about what is mended here
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        results = pool.imap(decode, enumerate(files), chunksize=8)
        progress = tqdm(results, total=len(files), disable=len(files) < 1_000)
        noticed = dict(zip(files, progress, strict=True))
    skipped = {name: reason for name, (reason, _, _) in noticed.items() if reason}
    animated = [name for name, (_, is_animated, _) in noticed.items() if is_animated]
    return skipped, animated, all(is_grey for _, _, is_grey in noticed.values())


@cache
def formats() -> tuple[str, ...]:
    """The formats that are read here: FORMATS, AVIF and HEIF if Pillow can."""
    found = list(FORMATS)
    if features.check("avif"):
        found.append("AVIF")
    with suppress(ImportError):
        from pillow_heif import register_heif_opener

        register_heif_opener()
        found.append("HEIF")
    return tuple(found)


def _advice(name: str) -> str:
    """How to read a file of a phone, if its format is not read here."""
    ending, missing = Path(name).suffix.lower(), "HEIF" not in formats()
    if ending in (".heic", ".heif") and missing:
        return ", and HEIF needs pip install pillow-heif"
    if ending == ".avif" and "AVIF" not in formats():
        return ", and AVIF needs Pillow 11.3 or later"
    return ""


def _is_animated(content: bytes) -> bool:
    """Whether a file that can be read holds several images to look at."""
    with suppress(Exception), Image.open(BytesIO(content), formats=formats()) as opened:
        # Of an MPO, the JPEG of many phones, the second image is the camera's own.
        return getattr(opened, "is_animated", False) and opened.format != "MPO"
    return False


def decode_image(
    file: BinaryIO,
    size: int,
    channels: int = 3,
    square: str = "crop",
    ground: str = "white",
) -> np.ndarray:
    """An open image file -> bytes (channels, size, size): upright, on the ground.

    Arguments as in `read_image_folder`. Of an animation, the first image. Of more than
    8 bits, the brightest is white. Raises many kinds of errors for a broken file, and
    Pillow's for a huge image.
    """
    with Image.open(file, formats=formats()) as opened:
        opened.draft(None, (2 * size, 2 * size))  # a large JPEG is decoded in part
        image = ImageOps.exif_transpose(opened)
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image, dtype=np.float32)
        values = np.nan_to_num(values, posinf=0, neginf=0).clip(0)
        values = values * (255 / max(values.max(), 1e-9))
        image = Image.fromarray(values.astype(np.uint8))
    image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    if square == "pad":
        image = ImageOps.pad(image, (size, size), Image.Resampling.BICUBIC, ground)
    else:
        image = ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
    if image.mode == "RGBA":
        behind = Image.new("RGBA", image.size, ground)
        image = Image.alpha_composite(behind, image).convert("RGB")
    if channels == 1:
        image = image.convert("L")
    return np.asarray(image).reshape(size, size, channels).transpose(2, 0, 1)
