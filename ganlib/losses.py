"""The courtroom: logits in, one number out. A label of 1 means real, book-wide."""

import torch
from torch.nn.functional import binary_cross_entropy_with_logits


def discriminator_loss(real_logits, fake_logits, *, real_label=1.0):
    """Logits (N,) and (M,) -> scalar >= 0: -log D(x) - log(1 - D(G(z))), each averaged over its batch.

    `real_label` below 1 is one-sided label smoothing (Salimans 2016, section 3.4): fakes keep the label 0.
    Source: Goodfellow 2014, equation 1, negated.
    """
    real_labels = torch.full_like(real_logits, real_label)
    fake_labels = torch.zeros_like(fake_logits)
    real_loss = binary_cross_entropy_with_logits(real_logits, real_labels)
    fake_loss = binary_cross_entropy_with_logits(fake_logits, fake_labels)
    return real_loss + fake_loss


def generator_loss(fake_logits):
    """Logits (N,) -> scalar >= 0: -log D(G(z)), the non-saturating loss (Goodfellow 2014, end of section 3)."""
    return binary_cross_entropy_with_logits(fake_logits, torch.ones_like(fake_logits))


def saturating_generator_loss(fake_logits):
    """Logits (N,) -> scalar <= 0: log(1 - D(G(z))), G's side of the minimax game (Goodfellow 2014, equation 1)."""
    return -binary_cross_entropy_with_logits(fake_logits, torch.zeros_like(fake_logits))


def gradient_penalty(real_logits, real):
    """Logits (N,) of D and the images (N, C, H, W) they came from -> scalar >= 0: ½ |∂D(x)/∂x|², averaged (R1).

    `real` must have required its gradient before D saw it. Source: Mescheder 2018, equation 9, without its weight.
    """
    (gradient,) = torch.autograd.grad(real_logits.sum(), real, create_graph=True)
    return gradient.square().flatten(1).sum(dim=1).mean() / 2
