"""Picture to picture: translators, a D of patches, training with pairs and without."""

from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss, pad

from ganlib.errors import GanlibError
from ganlib.losses import (
    discriminator_loss,
    generator_loss,
    least_squares_discriminator_loss,
    least_squares_generator_loss,
)
from ganlib.training import frozen

LUMINANCE = 0.299, 0.587, 0.114  # shares of red, green and blue (ITU-R BT.601)


def outline(images: Tensor, *, threshold: float = 0.25) -> Tensor:
    """Lines where the luminance changes: (N, 3, H, W) -> (N, 1, H, W), -1 on 1.

    The gradient is that from a pixel to its right and to its lower neighbour.

    Args:
        images: floats in -1..1.
        threshold: the least length of the gradient that makes a line, 0..2.8; a step
            from black to white has 2.

    Raises GanlibError for images that are not floats in colour.
    """
    if images.dim() != 4 or images.shape[1] != 3 or not images.is_floating_point():
        raise GanlibError(
            f"Images {tuple(images.shape)} of {images.dtype} have no outline here; "
            "they must be floats (N, 3, H, W) in -1..1."
        )
    weights = images.new_tensor(LUMINANCE)[:, None, None]
    grey = (images * weights).sum(dim=1, keepdim=True)
    right = pad(grey, (0, 1, 0, 0), mode="replicate")[..., 1:] - grey
    below = pad(grey, (0, 0, 0, 1), mode="replicate")[..., 1:, :] - grey
    return 1 - 2 * (torch.hypot(right, below) >= threshold).float()


# The networks


class UNet(nn.Module):
    """Pictures (N, in_channels, H, W) in -1..1 -> (N, out_channels, H, W) in -1..1.

    Three convolutions halve the sides, three double them, and each of the latter also
    takes what the way down had at its size. Source: Ronneberger 2015; as a generator
    Isola 2017, section 3.2.1, deeper. Four channels become four pixels (Shi 2016).

    Raises GanlibError for other channels, and for sides that 8 does not divide.
    """

    def __init__(
        self, in_channels: int = 3, out_channels: int = 3, base_channels: int = 32
    ) -> None:
        super().__init__()
        c = base_channels
        self.in_channels = in_channels
        self.down1 = nn.Conv2d(in_channels, c, 4, 2, 1)
        self.down2 = nn.Sequential(nn.LeakyReLU(0.2), nn.Conv2d(c, 2 * c, 4, 2, 1))
        self.down3 = nn.Sequential(nn.LeakyReLU(0.2), nn.Conv2d(2 * c, 4 * c, 4, 2, 1))
        self.up3 = _doubling(4 * c, 2 * c)
        self.up2 = _doubling(4 * c, c)
        self.up1 = _doubling(2 * c, out_channels)

    def forward(self, images: Tensor) -> Tensor:
        _check_pictures(images, self.in_channels, 8)
        half = self.down1(images)
        quarter = self.down2(half)
        up = self.up3(self.down3(quarter))
        up = self.up2(torch.cat([up, quarter], dim=1))
        return self.up1(torch.cat([up, half], dim=1)).tanh()


def _doubling(in_channels: int, out_channels: int) -> nn.Sequential:
    """ReLU, a 3x3 convolution, and four of its channels become four pixels."""
    convolution = nn.Conv2d(in_channels, 4 * out_channels, 3, padding=1)
    return nn.Sequential(nn.ReLU(), convolution, nn.PixelShuffle(2))


class ResidualBlock(nn.Module):
    """Values (N, C, H, W) plus what two 3x3 convolutions make of them (He 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, values: Tensor) -> Tensor:
        return values + self.layers(values)


class ResidualTranslator(nn.Module):
    """Pictures (N, 3, H, W) in -1..1 -> pictures of the same shape.

    Residual blocks at half the side, as in Zhu 2017, but fewer of them and without
    InstanceNorm. Four pixels become four times the channels on the way in, and pixels
    again on the way out (Shi 2016).

    Args:
        base_channels: of the blocks.
        blocks: how many.
        adds_input: whether the network draws what changes, to be added to its input.
            It then begins as the identity, and may leave -1..1. If not, it draws the
            whole picture, through a tanh, as published.

    Raises GanlibError for pictures that are not in colour or have an odd side.
    """

    def __init__(
        self, base_channels: int = 32, blocks: int = 2, *, adds_input: bool = True
    ) -> None:
        super().__init__()
        last = nn.Conv2d(base_channels, 12, 3, padding=1)
        self.layers = nn.Sequential(
            nn.PixelUnshuffle(2),
            nn.Conv2d(12, base_channels, 3, padding=1),
            *[ResidualBlock(base_channels) for _ in range(blocks)],
            nn.ReLU(),
            last,
            nn.PixelShuffle(2),
        )
        self.adds_input = adds_input
        if adds_input:
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        _check_pictures(images, 3, 2)
        drawn = self.layers(images)
        return images + drawn if self.adds_input else drawn.tanh()


class PatchDiscriminator(nn.Module):
    """Pictures (N, in_channels, H, W) in -1..1 -> logits (N, H / 4, W / 4).

    Each logit judges the 18x18 pixels around it; of the rest of the picture it hears
    only through InstanceNorm, which takes the mean and the deviation of a channel over
    the whole of it. Source: Isola 2017, section 3.2.2, where a patch has 70x70 of
    256x256 pixels.

    Raises GanlibError for other channels, and for sides that 4 does not divide.
    """

    def __init__(self, in_channels: int = 3, base_channels: int = 32) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, base_channels, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(base_channels, 2 * base_channels, 4, 2, 1),
            nn.InstanceNorm2d(2 * base_channels),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * base_channels, 1, 3, padding=1),
        )

    def forward(self, images: Tensor) -> Tensor:
        _check_pictures(images, self.in_channels, 4)
        return self.layers(images).squeeze(1)


def _check_pictures(images: Tensor, channels: int, divisor: int) -> None:
    shape = tuple(images.shape)
    if len(shape) != 4 or shape[1] != channels:
        raise GanlibError(
            f"The pictures are {shape}; this network takes (N, {channels}, H, W)."
        )
    if shape[2] % divisor or shape[3] % divisor:
        raise GanlibError(
            f"The pictures have {shape[2]}x{shape[3]} pixels; this network takes sides "
            f"that {divisor} divides."
        )


# With pairs


def pix2pix_step(
    G: nn.Module,
    D: nn.Module,
    optimizer_g: torch.optim.Optimizer,
    optimizer_d: torch.optim.Optimizer,
    source: Tensor,
    target: Tensor,
    *,
    l1_weight: float = 100.0,
    gan_weight: float = 1.0,
) -> Tensor:
    """D's turn and G's on pairs of pictures. Source: Isola 2017, section 3.1.

    D judges pairs, the source beside a target or beside what G made of it.

    Args:
        source: what G is given, (N, C, H, W) in -1..1.
        target: what it should make of it, (N, K, H, W) in -1..1; D takes both.
        l1_weight: of the mean absolute difference to the target.
        gan_weight: of D's opinion; 0 leaves D out, which is regression and no GAN.

    Returns three numbers (3,): D's loss, G's adversarial loss, and the difference.
    Raises GanlibError if source and target are no pairs.
    """
    if len(source) != len(target) or source.shape[2:] != target.shape[2:]:
        raise GanlibError(
            f"The sources are {tuple(source.shape)} and the targets "
            f"{tuple(target.shape)}; pairs agree in number, height and width."
        )
    fake = G(source)
    difference = l1_loss(fake, target)
    d_loss = g_loss = torch.zeros((), device=fake.device)
    if gan_weight:
        real_logits = D(torch.cat([source, target], dim=1))
        fake_logits = D(torch.cat([source, fake.detach()], dim=1))
        d_loss = discriminator_loss(real_logits, fake_logits)
        optimizer_d.zero_grad()
        d_loss.backward()
        optimizer_d.step()
        with frozen(D):
            g_loss = generator_loss(D(torch.cat([source, fake], dim=1)))
    optimizer_g.zero_grad()
    (gan_weight * g_loss + l1_weight * difference).backward()
    optimizer_g.step()
    return torch.stack([d_loss, g_loss, difference]).detach()


# Without pairs


@dataclass
class CycleGAN:
    """Two translators, G from X to Y and F back, and a discriminator for each side.

    One optimiser for both translators, one for both discriminators.
    """

    G: nn.Module
    F: nn.Module
    D_x: nn.Module
    D_y: nn.Module
    optimizer_g: torch.optim.Optimizer
    optimizer_d: torch.optim.Optimizer


def new_cyclegan(
    translator: nn.Module,
    D: nn.Module,
    *,
    learning_rate_g: float,
    learning_rate_d: float,
) -> CycleGAN:
    """A run before its first step: G and F begin as copies, and so do D_x and D_y.

    Adam's betas are those of Zhu 2017, 0.5 and 0.999.
    """
    G, F, D_x, D_y = translator, deepcopy(translator), D, deepcopy(D)
    adams = [
        torch.optim.Adam(
            [*one.parameters(), *other.parameters()], rate, (0.5, 0.999), fused=True
        )
        for one, other, rate in ((G, F, learning_rate_g), (D_x, D_y, learning_rate_d))
    ]
    return CycleGAN(G, F, D_x, D_y, *adams)


def cycle_loss(back: nn.Module, translated: Tensor, images: Tensor) -> Tensor:
    """How far pictures come back from where they went, a scalar >= 0.

    The mean absolute difference; 0 if `back` undoes the translation. Source: Zhu 2017,
    equation 2, one of its two terms.

    Args:
        back: the translator of the other direction.
        translated: what the first translator made of `images`, (N, C, H, W).
        images: (N, C, H, W) in -1..1.
    """
    return l1_loss(back(translated), images)


def cyclegan_step(
    run: CycleGAN,
    x: Tensor,
    y: Tensor,
    *,
    cycle_weight: float = 10.0,
    identity_weight: float = 0.0,
) -> Tensor:
    """The translators' turn and the discriminators' on unpaired pictures.

    Least-squares losses, cycle and identity terms: Zhu 2017, sections 3 and 4 and, for
    the identity, 5.2. As there the translators go first, and the discriminators learn
    from what they made; their memory of 50 earlier fakes is left out.

    Args:
        x: pictures of one set, (N, C, H, W) in -1..1.
        y: pictures of the other, (M, C, H, W); none belongs to a picture of x.
        cycle_weight: of |F(G(x)) - x| + |G(F(y)) - y|.
        identity_weight: of |G(y) - y| + |F(x) - x|.

    Returns four numbers (4,): the discriminators' loss, the translators' adversarial
    loss, the cycle term and the identity term before their weights; a term whose weight
    is 0 is not computed.
    """
    G, F = run.G, run.F
    fake_y, fake_x = G(x), F(y)
    cycle = identity = x.new_zeros(())
    with frozen(run.D_x), frozen(run.D_y):
        # Twice, since the paper's loss of G has no half.
        adversarial = 2 * least_squares_generator_loss(run.D_y(fake_y))
        adversarial = adversarial + 2 * least_squares_generator_loss(run.D_x(fake_x))
        if cycle_weight:
            cycle = cycle_loss(F, fake_y, x) + cycle_loss(G, fake_x, y)
        if identity_weight:
            identity = l1_loss(G(y), y) + l1_loss(F(x), x)
        run.optimizer_g.zero_grad()
        (adversarial + cycle_weight * cycle + identity_weight * identity).backward()
    run.optimizer_g.step()
    d_loss = least_squares_discriminator_loss(run.D_y(y), run.D_y(fake_y.detach()))
    d_loss = d_loss + least_squares_discriminator_loss(
        run.D_x(x), run.D_x(fake_x.detach())
    )
    run.optimizer_d.zero_grad()
    d_loss.backward()
    run.optimizer_d.step()
    return torch.stack([d_loss, adversarial, cycle, identity]).detach()
