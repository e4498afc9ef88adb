"""The porch: a data set's name becomes bytes (N, C, H, W) with their labels."""

import warnings
from dataclasses import dataclass

import torch

from ganlib.errors import GanlibError
from ganlib.data.mnist import FOLDERS, MissingDataError, data_root, fetch
from ganlib.data.image_folder import read_pictures

GARMENTS = "T-shirt/top, Trouser, Pullover, Dress, Coat, Sandal, Shirt, Sneaker, Bag, Ankle boot"
CLASSES = {
    "mnist": tuple("0123456789"),
    "fashion-mnist": tuple(GARMENTS.split(", ")),
    "digits": tuple("0123456789"),
}
NAMES = (*CLASSES, "celeba", "avatars", "folder:PATH")


@dataclass(frozen=True)
class Images:
    """A data set: `pixels` uint8 (N, C, H, W), `labels` int64 (N,), `classes` the names of the labels."""

    name: str
    pixels: torch.Tensor
    labels: torch.Tensor
    classes: tuple[str, ...]


def load(name, *, root=None, train=True, fallback=True, size=64):
    """Data set name -> Images. GanlibError lists the known names.

    "mnist", "fashion-mnist" (60,000 to train, 10,000 to test), "digits" (1,797): one channel, 28x28. "celeba",
    "avatars" (20,000 to train, 10,000 to test), "folder:PATH" (a folder or zip of pictures): three channels, `size`
    pixels a side; avatars have 64. CelebA and folders are not divided: `train` changes nothing.

    `root` is a torchvision data root (for "celeba" also the zip itself); left out, it is GANLIB_DATA or the cache. If
    data can neither be found nor downloaded, `fallback` gives digits in place of MNIST and avatars in place of
    CelebA, with a warning that says so; without it, GanlibError is raised.
    """
    kind, _, path = str(name).partition(":")
    if kind == "folder" and path:
        return Images(name, *read_pictures(path, size))
    if name not in NAMES:
        raise GanlibError(f"There is no data set {name!r}; the known ones are {', '.join(NAMES)}.")
    if name == "digits":
        return _load_digits()
    if name == "avatars":
        return _draw_avatars(train)
    try:
        if name == "celeba":
            return Images(name, *read_pictures(_find_celeba(root), size))
        dataset = open_torchvision(name, root=root, train=train)
        return Images(name, dataset.data.unsqueeze(1), dataset.targets.long(), CLASSES[name])
    except MissingDataError as missing:
        if not fallback:
            raise
        instead = "avatars that ganlib draws" if name == "celeba" else "1,797 digits of scikit-learn"
        warnings.warn(f"{str(missing).removesuffix('.')}; going on with the {instead}.", stacklevel=2)
        return _draw_avatars(train) if name == "celeba" else _load_digits()


def _find_celeba(root):
    """The folder or zip of CelebA under `root`, where torchvision or a browser puts it; `root` may be it itself."""
    root = data_root(root)
    inside = "celeba/img_align_celeba", "celeba/img_align_celeba.zip", "img_align_celeba", "img_align_celeba.zip"
    for place in [root] * root.name.startswith("img_align_celeba") + [root / place for place in inside]:
        if place.exists():
            return place
    raise MissingDataError(
        f"CelebA is not in {root}; its terms forbid passing it on, so download img_align_celeba.zip yourself from "
        "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html and put it there, or point --data or GANLIB_DATA to it."
    )


def _draw_avatars(train):
    from ganlib.data.avatars import CLASSES, draw

    pixels, labels = draw(20_000, seed=0) if train else draw(10_000, seed=1)
    return Images("avatars", pixels, labels, CLASSES)


def open_torchvision(name, *, root=None, train=True, transform=None):
    """ "mnist" or "fashion-mnist" as its torchvision Dataset of (image, label) pairs; downloads it if it must."""
    from torchvision import datasets

    folder = FOLDERS[name]
    return getattr(datasets, folder)(fetch(name, root=root), train=train, transform=transform)


def _load_digits():
    """The 1,797 handwritten digits that ship inside scikit-learn, 8x8 with 17 greys, enlarged to 28x28 bytes."""
    from sklearn.datasets import load_digits
    from torch.nn.functional import interpolate, pad

    bunch = load_digits()
    small = torch.from_numpy(bunch.images).float().unsqueeze(1) * (255 / 16)
    # 20x20 inside a margin of 4, as in MNIST.
    large = pad(interpolate(small, size=(20, 20), mode="bicubic").clamp(0, 255), (4, 4, 4, 4))
    return Images("digits", large.round().to(torch.uint8), torch.from_numpy(bunch.target).long(), CLASSES["digits"])
