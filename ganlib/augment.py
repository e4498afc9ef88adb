"""Random changes of everything D sees, real and generated, in both turns.

They make few images go a longer way; as generated images are changed alike, G does not
learn the changes. Source: Zhao 2020 (DiffAugment); Karras 2020 (ADA).
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from ganlib.config import Config


def random_flip(images: Tensor) -> Tensor:
    """Images (N, C, H, W), each flipped left to right with probability 1/2."""
    flipped = torch.rand(len(images), 1, 1, 1, device=images.device) < 0.5
    return torch.where(flipped, images.flip(3), images)


def random_shift(images: Tensor, most: int) -> Tensor:
    """Images (N, C, H, W), each moved by up to `most` pixels both ways; -1 moves in."""
    count, channels, height, width = images.shape
    device = images.device
    top, left = torch.randint(2 * most + 1, (2, count, 1), device=device)
    rows = top + torch.arange(height, device=device)  # (N, H)
    columns = left + torch.arange(width, device=device)  # (N, W)
    padded = pad(images, [most] * 4, value=-1.0)
    image = torch.arange(count, device=device).view(-1, 1, 1, 1)
    channel = torch.arange(channels, device=device).view(1, -1, 1, 1)
    return padded[image, channel, rows[:, None, :, None], columns[:, None, None, :]]


def random_color(images: Tensor) -> Tensor:
    """Images (N, C, H, W) with brightness, saturation and contrast changed.

    Brightness moves by up to 0.5, saturation is multiplied by 0..2, contrast by
    0.5..1.5, for each image apart.
    """
    brightness, saturation, contrast = torch.rand(
        3, len(images), 1, 1, 1, device=images.device
    )
    images = images + brightness - 0.5
    grey = images.mean(dim=1, keepdim=True)
    images = grey + (images - grey) * saturation * 2
    middle = images.mean(dim=(1, 2, 3), keepdim=True)
    return middle + (images - middle) * (contrast + 0.5)


def random_cutout(images: Tensor, share: float) -> Tensor:
    """Images (N, C, H, W), each with a square of `share` of its side set to 0.

    The square may lie partly outside the image.
    """
    count, _, height, width = images.shape
    side = round(share * height)
    device = images.device
    odd = side % 2  # an odd square is centred on a pixel, an even one between two
    top = torch.randint(height + 1 - odd, (count, 1, 1, 1), device=device) - side // 2
    left = torch.randint(width + 1 - odd, (count, 1, 1, 1), device=device) - side // 2
    rows = torch.arange(height, device=device).view(1, 1, -1, 1)
    columns = torch.arange(width, device=device).view(1, 1, 1, -1)
    inside_rows = (rows >= top) & (rows < top + side)
    inside_columns = (columns >= left) & (columns < left + side)
    return images.masked_fill(inside_rows & inside_columns, 0.0)


def augment(images: Tensor, config: Config) -> Tensor:
    """Images (N, C, H, W) in -1..1 -> images changed as `config` says, same shape.

    Changed colours may leave the range.
    """
    if config.random_flip:
        images = random_flip(images)
    if config.augment_color:
        images = random_color(images)
    if config.augment_shift:
        images = random_shift(images, config.augment_shift)
    if config.augment_cutout:
        images = random_cutout(images, config.augment_cutout)
    return images


class AugmentedDiscriminator(nn.Module):
    """D, looking at changed images. It has no weights of its own.

    Images (N, C, H, W) in -1..1 -> logits (N,).
    """

    def __init__(self, D: nn.Module, config: Config) -> None:
        super().__init__()
        self.D = D
        self.config = config

    def forward(self, images: Tensor) -> Tensor:
        return self.D(augment(images, self.config))


def augmented(D: nn.Module, config: Config) -> nn.Module:
    """D itself where `config` asks for no changes, else D looking at changed images."""
    if (
        config.random_flip
        or config.augment_color
        or config.augment_shift
        or config.augment_cutout
    ):
        return AugmentedDiscriminator(D, config)
    return D
