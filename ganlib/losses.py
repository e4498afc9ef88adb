"""Losses: logits in, one number out. A label of 1 means real, book-wide."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, relu, softplus


def discriminator_loss(
    real_logits: Tensor, fake_logits: Tensor, *, real_label: float = 1.0
) -> Tensor:
    """-log D(x) - log(1 - D(G(z))), each averaged over its batch.

    Args:
        real_logits: (N,), what D says of real images.
        fake_logits: (M,), what D says of generated images.
        real_label: below 1 it is one-sided label smoothing (Salimans 2016, section
            3.4); generated images keep the label 0.

    Returns a scalar >= 0. Source: Goodfellow 2014, equation 1, negated.
    """
    real_labels = torch.full_like(real_logits, real_label)
    fake_labels = torch.zeros_like(fake_logits)
    real_loss = binary_cross_entropy_with_logits(real_logits, real_labels)
    fake_loss = binary_cross_entropy_with_logits(fake_logits, fake_labels)
    return real_loss + fake_loss


def generator_loss(fake_logits: Tensor) -> Tensor:
    """-log D(G(z)), the non-saturating loss: logits (N,) -> scalar >= 0.

    Source: Goodfellow 2014, end of section 3.
    """
    return binary_cross_entropy_with_logits(fake_logits, torch.ones_like(fake_logits))


def saturating_generator_loss(fake_logits: Tensor) -> Tensor:
    """log(1 - D(G(z))), G's side of the minimax game: logits (N,) -> scalar <= 0.

    Source: Goodfellow 2014, equation 1.
    """
    return -binary_cross_entropy_with_logits(fake_logits, torch.zeros_like(fake_logits))


def hinge_discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """max(0, 1 - D(x)) + max(0, 1 + D(G(z))), each averaged over its batch.

    Logits (N,) and (M,) -> scalar >= 0. Source: Lim 2017; Miyato 2018, equation 16.
    """
    return relu(1 - real_logits).mean() + relu(1 + fake_logits).mean()


def hinge_generator_loss(fake_logits: Tensor) -> Tensor:
    """-D(G(z)), averaged: logits (N,) -> scalar. Source: Miyato 2018, equation 17."""
    return -fake_logits.mean()


def least_squares_discriminator_loss(
    real_logits: Tensor, fake_logits: Tensor
) -> Tensor:
    """Half of (D(x) - 1)² + D(G(z))², each averaged over its batch.

    Logits (N,) and (M,) -> scalar >= 0. Source: Mao 2017, equation 9.
    """
    return ((real_logits - 1).square().mean() + fake_logits.square().mean()) / 2


def least_squares_generator_loss(fake_logits: Tensor) -> Tensor:
    """Half of (D(G(z)) - 1)², averaged: logits (N,) -> scalar >= 0.

    Source: Mao 2017, equation 9.
    """
    return (fake_logits - 1).square().mean() / 2


def wasserstein_discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """D(G(z)) - D(x), each averaged over its batch: logits (N,) and (M,) -> scalar.

    Its opposite estimates the Wasserstein distance only where D is 1-Lipschitz, which
    a penalty or spectral norm has to see to. G's loss is that of hinge. Source:
    Arjovsky 2017, equation 3.
    """
    return fake_logits.mean() - real_logits.mean()


def relativistic_discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """-log sigmoid(D(x) - D(G(z))), averaged over pairs.

    Both logits (N,) -> scalar >= 0. Each real image is to be more real than the
    generated one beside it. Source: Jolicoeur-Martineau 2019; Huang 2024 (R3GAN),
    equation 2.
    """
    return softplus(fake_logits - real_logits).mean()


def relativistic_generator_loss(fake_logits: Tensor, real_logits: Tensor) -> Tensor:
    """-log sigmoid(D(G(z)) - D(x)), averaged over pairs: both (N,) -> scalar >= 0."""
    return softplus(real_logits - fake_logits).mean()


# config.loss -> D's loss and G's.
LOSSES: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor]]] = {
    "nonsaturating": (discriminator_loss, generator_loss),
    "saturating": (discriminator_loss, saturating_generator_loss),
    "hinge": (hinge_discriminator_loss, hinge_generator_loss),
    "least-squares": (least_squares_discriminator_loss, least_squares_generator_loss),
    "wasserstein": (wasserstein_discriminator_loss, hinge_generator_loss),
    "relativistic": (relativistic_discriminator_loss, relativistic_generator_loss),
}


def r1_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """Half the squared length of D's gradient at each image, averaged: scalar >= 0.

    At real images this is R1, at generated ones R2 (Mescheder 2018, equation 9,
    without its weight). The gradient of the sum of all logits holds in each row the
    gradient of that image's own logit only while no logit depends on another image,
    so D must have no BatchNorm. (Minibatch standard deviation ties images together
    too, but only through one weak channel; StyleGAN2 penalises such a D as well.)

    Args:
        logits: (N,), what D says of `images`.
        images: (N, C, H, W), which required their gradient before D saw them.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.square().flatten(1).sum(dim=1).mean() / 2


def gradient_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """(length of D's gradient at each image - 1)², averaged: scalar >= 0.

    At images between real and generated ones it keeps D near 1-Lipschitz (Gulrajani
    2017, equation 3, without its weight). Arguments as in `r1_penalty`.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return (gradient.flatten(1).norm(dim=1) - 1).square().mean()
