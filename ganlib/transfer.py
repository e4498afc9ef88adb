"""Training that starts from the weights of another generator."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ganlib.augment import augmented
from ganlib.checkpoint import load_generator
from ganlib.data.transforms import normalize
from ganlib.losses import LOSSES
from ganlib.training import TrainState, discriminator_step, shuffled_batches

ALONE = 100  # steps of D alone, before the first with G


def start_from(state: TrainState, name: str, pixels: Tensor) -> None:
    """Give G and its average the weights of a shipped network; D learns alone, first.

    A D that knows nothing would lead G away from what it knows. Random numbers come
    from config.seed; G keeps its weights while D learns.
    """
    device = next(state.G.parameters()).device
    with torch.random.fork_rng():
        G, _ = load_generator(name)
        for network in (state.G, state.G_ema):
            if network is not None:
                network.load_state_dict(G.state_dict())
        torch.manual_seed(state.config.seed)
        discriminator_alone(state, pixels.to(device), ALONE)


def discriminator_alone(state: TrainState, pixels: Tensor, steps: int) -> None:
    """So many of D's turns, on batches of `pixels` (N, C, H, W); G is not changed."""
    config = state.config
    weights = {key: value.clone() for key, value in state.G.state_dict().items()}
    D = augmented(state.D, config, state.augment_strength)
    batches = batches_of_passes(len(pixels), config.batch_size, pixels.device, steps)
    for batch in batches[:steps]:
        z = torch.randn(len(batch), config.latent_dim, device=pixels.device)
        real = normalize(pixels[batch])
        loss = LOSSES[config.loss][0]
        discriminator_step(state.G, D, state.optimizer_d, real, z, loss=loss)
    state.G.load_state_dict(weights)  # BatchNorm's statistics have moved


def batches_of_passes(
    count: int, batch_size: int, device: torch.device, steps: int
) -> Sequence[Tensor]:
    """Batches of whole passes over `count` images, at least `steps` of them."""
    batches: list[Tensor] = []
    while len(batches) < steps:
        batches += shuffled_batches(count, batch_size, device)
    return batches
