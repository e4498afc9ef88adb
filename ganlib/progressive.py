"""Networks that begin with small images and grow (Karras 2018, progressive growing)."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from ganlib.errors import GanlibError
from ganlib.models import ResizeConvDiscriminator, ResizeConvGenerator, layer_widths


class ProgressiveGenerator(nn.Module):
    """Noise (N, latent_dim) -> images (N, C, S, S) in -1..1, S as `grow` says.

    The layers are those of `ResizeConvGenerator`, but each doubling has a convolution
    of its own from its maps to colours. At stage k there are k doublings; while `fade`
    is below 1, the image is a mixture of the last two doublings'.

    Args:
        image_shape: (C, H, W) of the last stage.
    """

    def __init__(
        self,
        latent_dim: int = 100,
        base_channels: int = 32,
        image_shape: tuple[int, int, int] = (3, 64, 64),
    ) -> None:
        super().__init__()
        widths = layer_widths(base_channels, image_shape)[::-1]
        layers = ResizeConvGenerator(latent_dim, base_channels, image_shape).layers
        self.first = layers[:4]
        self.doublings = nn.ModuleList(
            layers[start : start + 4] for start in range(4, len(layers) - 2, 4)
        )
        self.to_image = nn.ModuleList(
            nn.Conv2d(width, image_shape[0], 3, padding=1)
            for width in [*widths[1:], widths[-1]]
        )
        self.stages = self.stage = len(widths)
        self.fade = 1.0

    def forward(self, z: Tensor) -> Tensor:
        maps = [self.first(z)]
        for doubling in self.doublings[: self.stage]:
            maps.append(doubling(maps[-1]))
        image = self.to_image[self.stage - 1](maps[-1])
        if self.fade < 1:
            before = self.to_image[self.stage - 2](maps[-2])
            image = interpolate(before, scale_factor=2).lerp(image, self.fade)
        return torch.tanh(image)


class ProgressiveDiscriminator(nn.Module):
    """Images (N, C, S, S) in -1..1 -> logits (N,), S as `grow` says.

    The layers are those of `ResizeConvDiscriminator`, but each size has a convolution
    of its own from colours to maps.

    Args:
        image_shape: (C, H, W) of the last stage.
        minibatch_stddev: whether D is told how much the images of a batch differ.
    """

    def __init__(
        self,
        base_channels: int = 32,
        image_shape: tuple[int, int, int] = (3, 64, 64),
        *,
        minibatch_stddev: bool = True,
    ) -> None:
        super().__init__()
        widths = layer_widths(base_channels, image_shape)
        layers = ResizeConvDiscriminator(
            base_channels, image_shape, minibatch_stddev=minibatch_stddev
        ).layers
        behind = 2 * len(widths)
        self.from_image = nn.ModuleList(
            nn.Sequential(nn.Conv2d(image_shape[0], width, 4, 2, 1), nn.LeakyReLU(0.2))
            for width in widths
        )
        self.halvings = nn.ModuleList(
            layers[start:end] for start, end in pairwise(range(2, behind + 1, 2))
        )
        self.last = layers[behind:]
        self.stages = self.stage = len(widths)
        self.fade = 1.0

    def forward(self, images: Tensor) -> Tensor:
        place = len(self.from_image) - self.stage
        maps = self.from_image[place](images)
        if self.fade < 1:
            before = self.from_image[place + 1](avg_pool2d(images, 2))
            maps = before.lerp(self.halvings[place](maps), self.fade)
            place += 1
        for halving in self.halvings[place:]:
            maps = halving(maps)
        return self.last(maps).squeeze(1)


def grow(
    network: ProgressiveGenerator | ProgressiveDiscriminator, stage: int, fade: float
) -> None:
    """Set how far a network has grown, in place.

    Args:
        stage: 1 to the number of sizes; of 64x64 images 1 is 8x8, and 4 is 64x64.
        fade: 0..1, the share of the newest size; the first has nothing to fade from.

    Raises GanlibError for another stage or fade.
    """
    if not isinstance(network, ProgressiveGenerator | ProgressiveDiscriminator):
        raise GanlibError(
            f"A {type(network).__name__} does not grow; take a ProgressiveGenerator or "
            "a ProgressiveDiscriminator."
        )
    if not 1 <= stage <= network.stages:
        raise GanlibError(f"stage is {stage}; it must be from 1 to {network.stages}.")
    if not 0 <= fade <= 1 or (stage == 1 and fade < 1):
        raise GanlibError(
            f"fade is {fade} at stage {stage}; it must be from 0 to 1, and at stage 1 "
            "it is 1, since there is no smaller size to fade from."
        )
    network.stage, network.fade = stage, fade
