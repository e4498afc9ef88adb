"""Random changes of everything D sees, real and generated, in both turns.

They make few images go a longer way; as generated images are changed alike, G does not
learn the changes. All of them are changed (Zhao 2020, DiffAugment: shift, colour and
cutout), or a share that a controller sets (Karras 2020, ADA).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from ganlib.config import Config
from ganlib.models import conditioned

if TYPE_CHECKING:
    from ganlib.training import TrainState, Turn

CONTROL_INTERVAL = 4  # steps from one move of the controller to the next


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


def changes(config: Config) -> list[Callable[[Tensor], Tensor]]:
    """The changes that `config` asks for, in their order; none for most recipes."""
    asked: list[Callable[[Tensor], Tensor]] = []
    if config.random_flip:
        asked.append(random_flip)
    if config.augment_color:
        asked.append(random_color)
    if config.augment_shift:
        asked.append(partial(random_shift, most=config.augment_shift))
    if config.augment_cutout:
        asked.append(partial(random_cutout, share=config.augment_cutout))
    return asked


def augment(images: Tensor, config: Config, strength: Tensor | None = None) -> Tensor:
    """Images (N, C, H, W) in -1..1 -> images changed as `config` says, same shape.

    Changed colours may leave the range.

    Args:
        strength: probability, a scalar, with which an image undergoes a change, drawn
            for each image and each change apart; None: always.
    """
    for change in changes(config):
        changed = change(images)
        if strength is not None:
            chosen = torch.rand(len(images), 1, 1, 1, device=images.device) < strength
            changed = torch.where(chosen, changed, images)
        images = changed
    return images


class AugmentedDiscriminator(nn.Module):
    """D, looking at changed images. It has no weights of its own.

    Images (N, C, H, W) in -1..1 -> logits (N,).
    """

    def __init__(
        self, D: nn.Module, config: Config, strength: Tensor | None = None
    ) -> None:
        super().__init__()
        self.D = D
        self.config = config
        self.strength = strength

    def forward(self, images: Tensor) -> Tensor:
        return self.D(augment(images, self.config, self.strength))


def augmented(
    D: nn.Module, config: Config, strength: Tensor | None = None
) -> nn.Module:
    """D itself where `config` asks for no changes, else D looking at changed images."""
    return AugmentedDiscriminator(D, config, strength) if changes(config) else D


@torch.no_grad()
def adjust_strength(
    state: TrainState, real: Tensor, condition: Tensor | None = None
) -> None:
    """Move state.augment_strength, in place, by what D says of training images.

    Up where the mean sign of their logits, after the changes, is above
    config.augment_target, down where it is below, and never out of 0..1: D is right
    about nearly all training images once it knows them by heart, and the changes keep
    it from that. It may go from 0 to 1 while D sees config.augment_ramp images.

    Source: Karras 2020 (ADA), section 3.1, with the sign of one batch in four.

    Args:
        real: training images (N, C, H, W) in -1..1; condition: theirs, if any.
    """
    config, strength = state.config, state.augment_strength
    assert strength is not None
    D = augmented(conditioned(state.D, condition), config, strength)
    too_sure = D(real).sign().mean() - config.augment_target
    most = CONTROL_INTERVAL * len(real) / config.augment_ramp
    strength.add_(most * too_sure.sign()).clamp_(0, 1)


def controlled(turn: Turn) -> Turn:
    """`turn`, with `adjust_strength` after every CONTROL_INTERVAL-th."""

    def controlled_turn(state: TrainState, *batch: Tensor) -> Tensor:
        numbers = turn(state, *batch)
        if (state.step + 1) % CONTROL_INTERVAL == 0:
            adjust_strength(state, *batch)
        return numbers

    return controlled_turn
