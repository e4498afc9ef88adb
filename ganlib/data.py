"""The porch: a data set's name becomes bytes (N, C, H, W) with their labels."""

import warnings
from dataclasses import dataclass

import torch

from ganlib.config import GanlibError
from ganlib.files import FOLDERS, MissingDataError, fetch

GARMENTS = "T-shirt/top, Trouser, Pullover, Dress, Coat, Sandal, Shirt, Sneaker, Bag, Ankle boot"
CLASSES = {
    "mnist": tuple("0123456789"),
    "fashion-mnist": tuple(GARMENTS.split(", ")),
    "digits": tuple("0123456789"),
}


@dataclass(frozen=True)
class Images:
    """A data set: `pixels` uint8 (N, C, H, W), `labels` int64 (N,), `classes` the names of the labels."""

    name: str
    pixels: torch.Tensor
    labels: torch.Tensor
    classes: tuple[str, ...]


def load(name, *, root=None, train=True, fallback=True):
    """Data set name -> Images: "mnist", "fashion-mnist" (60,000 to train, 10,000 to test) or "digits" (1,797).

    `root` is a torchvision data root; left out, it is GANLIB_DATA or the cache. If MNIST can neither be found nor
    downloaded, `fallback` gives digits instead, with a warning that says so; without it, GanlibError is raised.
    """
    if name not in CLASSES:
        raise GanlibError(f"There is no data set {name!r}; the known ones are {', '.join(CLASSES)}.")
    if name == "digits":
        return _load_digits()
    try:
        dataset = open_torchvision(name, root=root, train=train)
    except MissingDataError as missing:
        if not fallback:
            raise
        why = str(missing).removesuffix(".")
        warnings.warn(f"{why}; going on with the 1,797 digits of scikit-learn.", stacklevel=2)
        return _load_digits()
    return Images(name, dataset.data.unsqueeze(1), dataset.targets.long(), CLASSES[name])


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
