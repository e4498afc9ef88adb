"""The name of a data set becomes bytes (N, C, H, W) with their labels."""

import hashlib
import os
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganlib.data.folder_facts import image_sizes
from ganlib.data.image_folder import read_image_folder
from ganlib.data.mnist import FOLDERS, MissingDataError, data_root, fetch
from ganlib.errors import GanlibError

CLASSES = {
    "mnist": tuple("0123456789"),
    "fashion-mnist": (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    "digits": tuple("0123456789"),
}
ABOUT = {  # the names of data sets, and what is in them
    "mnist": "handwritten digits, 60,000 to train and 10,000 to test, 1x28x28",
    "fashion-mnist": "clothes, 60,000 to train and 10,000 to test, 1x28x28",
    "digits": "digits of scikit-learn, 1,797, 1x28x28; no download",
    "celeba": "faces, 3 channels; to be downloaded in a browser",
    "avatars": "drawn faces, 20,000 to train and 10,000 to test, 3x64x64; no download",
    "folder:PATH": "a folder or zip of your own, divided if it holds train and test",
}
NAMES = tuple(ABOUT)


@dataclass(frozen=True)
class Images:
    """A data set: `pixels`, uint8 (N, C, H, W), and `labels`, int64 (N,).

    Labels are indices into `classes`; `split` says which part it is: "train", "test",
    or "all" of an undivided set.
    """

    name: str
    pixels: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    split: str = "all"


def load(
    name: str,
    *,
    root: Path | str | None = None,
    train: bool = True,
    fallback: bool = True,
    size: int = 64,
    channels: int | None = None,
) -> Images:
    """A data set by its name, found, downloaded or drawn.

    "mnist" and "fashion-mnist": 60,000 images to train, 10,000 to test, (1, 28, 28).
    "digits", of scikit-learn: 1,797, undivided, (1, 28, 28).
    "avatars", drawn by ganlib: 20,000 to train, 10,000 to test, (3, 64, 64).
    "celeba": all, undivided, (3, size, size).
    "folder:PATH", for a folder or zip: divided if it holds train and test, (3, size,
    size), or (1, size, size) if all pictures are grey. "folder:PATH,square=pad" keeps
    all of a picture, and "folder:PATH,ground=black" says what is behind transparent
    pixels and around padded pictures; see `read_image_folder`.

    Copies of Fashion-MNIST exist in several orders; here its images come in one that
    is the same for all copies. Copies of CelebA differ in size (178x218 as published;
    89x109, compressed twice, in the book's) and so in what is measured on them.

    Args:
        root: a torchvision data root, for "celeba" also the zip itself; None takes
            GANLIB_DATA or the cache.
        train: the training images, or the test images where there are any.
        fallback: whether digits may stand in for MNIST, and avatars for CelebA, if
            they can be neither found nor downloaded; a warning says so.
        size: height and width for "celeba" and folders, 4 to 1024.
        channels: for "celeba" and folders 3, or 1 for grey; None takes what they have.

    Raises GanlibError for a name that is not known, which lists those that are, and
    for broken files; MissingDataError where `fallback` is forbidden.
    """
    kind, _, path = str(name).partition(":")
    if kind == "folder" and path:
        path, options = _split_options(path)
        pixels, labels, classes, divided = read_image_folder(
            path, size, channels=channels, train=train, **options
        )
        part = "train" if train else "test"
        return Images(name, pixels, labels, classes, part if divided else "all")
    if name not in NAMES:
        raise GanlibError(
            f"There is no data set {name!r}; the known ones are {', '.join(NAMES)}."
        )
    if name == "digits":
        return _load_digits()
    if name == "avatars":
        return _draw_avatars(train)
    try:
        if name == "celeba":
            pixels, labels, classes, _ = read_image_folder(
                _find_celeba(root), size, channels=channels or 3
            )
            return Images(name, pixels, labels, classes)
        dataset = open_torchvision(name, root=root, train=train)
        pixels = dataset.data.unsqueeze(1)
        part = "train" if train else "test"
        return Images(name, pixels, dataset.targets.long(), CLASSES[name], part)
    except MissingDataError as missing:
        if not fallback:
            raise
        faces = name == "celeba"
        instead = "avatars that ganlib draws" if faces else "1,797 digits"
        warnings.warn(
            f"{str(missing).removesuffix('.')}; going on with the {instead}.",
            stacklevel=2,
        )
        return _draw_avatars(train) if faces else _load_digits()


def picture_sizes(name: str) -> tuple[list[tuple[int, int]], int]:
    """(width, height) of each picture of "folder:PATH", before it is made square.

    And how many files there are no pictures; see `image_sizes`.
    """
    path, _ = _split_options(name.partition(":")[2])
    return image_sizes(path)


def _split_options(path: str) -> tuple[str, dict[str, str]]:
    """ "pets,square=pad" -> ("pets", {"square": "pad"}), or a place of that name."""
    options: dict[str, str] = {}
    while not os.path.exists(os.path.expanduser(path)):
        found = re.fullmatch(r"(.+),(square|ground)=([^,]*)", path, re.DOTALL)
        if not found:
            break
        path, name, value = found.groups()
        options.setdefault(name, value)
    return path, options


def open_torchvision(
    name: str,
    *,
    root: Path | str | None = None,
    train: bool = True,
    transform: Callable[[Any], Any] | None = None,
) -> Any:
    """ "mnist" or "fashion-mnist" as its torchvision Dataset of (image, label) pairs.

    Arguments, errors and the order of the images are those of `load`; `transform` is
    applied to the PIL image of each pair. MissingDataError where there is no data.
    """
    from torchvision import datasets

    dataset_class = getattr(datasets, FOLDERS[name])
    dataset = dataset_class(fetch(name, root=root), train=train, transform=transform)
    if name == "fashion-mnist":
        order = _order_by_content(dataset.data, dataset.targets)
        dataset.data, dataset.targets = dataset.data[order], dataset.targets[order]
    return dataset


def _order_by_content(pixels: Tensor, labels: Tensor) -> Tensor:
    """Bytes (N, H, W) and labels (N,) -> an order (N,) that is theirs alone.

    It goes by a hash of each image, so that, as in a shuffled set, the first of them
    are no special ones.
    """
    records = np.column_stack([pixels.flatten(1).numpy(), labels.byte().numpy()])
    keys = [hashlib.sha256(record).digest() for record in records]
    return torch.from_numpy(np.argsort(np.array(keys)))


def _find_celeba(root: Path | str | None) -> Path:
    """The folder or zip of CelebA in `root`, as torchvision or a browser puts it."""
    root = data_root(root)
    if root.name.startswith("img_align_celeba") and root.exists():
        return root
    for folder in (root / "celeba", root):
        for name in ("img_align_celeba", "img_align_celeba.zip"):
            if (folder / name).exists():
                return folder / name
    raise MissingDataError(
        f"CelebA is not in {root}; its terms forbid passing it on, so download "
        "img_align_celeba.zip yourself from "
        "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html and put it there, or point "
        "--data or GANLIB_DATA to it."
    )


def _draw_avatars(train: bool) -> Images:
    from ganlib.data import avatars

    pixels, labels = avatars.draw(20_000) if train else avatars.draw(10_000, seed=1)
    part = "train" if train else "test"
    return Images("avatars", pixels, labels, avatars.CLASSES, part)


def _load_digits() -> Images:
    """The 1,797 digits of scikit-learn, 8x8 with 17 greys, enlarged to 28x28 bytes."""
    from sklearn.datasets import load_digits
    from torch.nn.functional import interpolate, pad

    bunch = load_digits()
    small = torch.from_numpy(bunch.images).float().unsqueeze(1) * (255 / 16)
    large = interpolate(small, size=(20, 20), mode="bicubic").clamp(0, 255)
    framed = pad(large, (4, 4, 4, 4))  # a margin of 4, as in MNIST
    pixels = framed.round().to(torch.uint8)
    labels = torch.from_numpy(bunch.target).long()
    return Images("digits", pixels, labels, CLASSES["digits"])
