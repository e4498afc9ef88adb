"""The exponential moving average (EMA) of G's weights, and its own statistics."""

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import update_bn

from ganlib.sampling import sample_inputs


@torch.no_grad()
def update_average(G_ema: nn.Module, G: nn.Module, decay: float, step: int) -> None:
    """Move each weight of `G_ema` a share of the way to that of `G`, in place.

    The share is 1 - min(decay, (1 + step) / (10 + step)), so that early in a run the
    average forgets the untrained weights soon. BatchNorm's statistics are not
    averaged: `refresh_batchnorm` measures them.

    Args:
        decay: 0..1, the most that is kept of the average in one step.
        step: how many steps came before this one, from 0 on.

    Source: Yazici 2019; the start is that of TensorFlow's ExponentialMovingAverage.
    """
    keep = min(decay, (1 + step) / (10 + step))
    torch._foreach_lerp_(list(G_ema.parameters()), list(G.parameters()), 1 - keep)


def has_batchnorm(network: nn.Module) -> bool:
    """Whether a layer of `network` is a BatchNorm."""
    return any(isinstance(layer, _BatchNorm) for layer in network.modules())


def refresh_batchnorm(
    G: nn.Module,
    latent_dim: int,
    *,
    classes: int = 0,
    batches: int = 20,
    batch_size: int = 100,
) -> nn.Module:
    """Measure the BatchNorm statistics of G on its own activations, in place.

    Averaged weights make other activations than those that G's running statistics
    describe, so an average needs statistics of its own. The noise is seeded: the same
    weights always get the same statistics. A conditional G, with `classes`, is given
    all of them in turn. Returns G, unchanged if it has no BatchNorm.

    Source: torch.optim.swa_utils.update_bn (Izmailov 2018, section 3.2).
    """
    if not has_batchnorm(G):
        return G
    device = next(G.parameters()).device
    count = batches * batch_size
    noise = sample_inputs(count, latent_dim, seed=0, classes=classes).to(device)
    update_bn(noise.split(batch_size), G)
    return G
