"""Store starts in ganlib/assets/starts: G and D of a run on faces, for runs on others.

    python -m experiments.starts faces-32 runs/faces-32
    python -m experiments.starts faces-64 faces --seconds 500

The first takes both networks of the run in that folder, of G the average. The second
takes G of a shipped network, of whose run no D was kept, and trains a new D against it
for so many seconds of the processor, while G stands still.
"""

import time
from pathlib import Path

import torch
from torch import Tensor

from experiments.common import machine, parser, provenance
from ganlib.augment import augmented
from ganlib.checkpoint import load_checkpoint, load_generator
from ganlib.config import replace
from ganlib.data import load
from ganlib.errors import GanlibError
from ganlib.losses import LOSSES
from ganlib.training import TrainState, discriminator_step, fit, new_state
from ganlib.transfer import STARTS, batches_of_passes, save_start

EPOCH_STEPS = 50


def discriminator_turn(state: TrainState, real: Tensor) -> Tensor:
    """D's half of `train_step`, and five numbers as there; G's are 0."""
    config = state.config
    D = augmented(state.D, config)
    z = torch.randn(len(real), config.latent_dim, device=real.device)
    d_loss, real_logits, fake_logits = discriminator_step(
        state.G, D, state.optimizer_d, real, z, loss=LOSSES[config.loss][0]
    )
    nothing = torch.zeros(())
    probabilities = real_logits.sigmoid().mean(), fake_logits.sigmoid().mean()
    return torch.stack([d_loss, nothing, *probabilities, nothing])


def against_shipped(source: str, seconds: float) -> TrainState:
    """A run whose G is a shipped network, and whose D alone has learned."""
    G, config = load_generator(source)
    state = new_state(replace(config, epochs=100_000, bfloat16=False, ema_decay=0.0))
    state.G.load_state_dict(G.state_dict())
    pixels = load(config.dataset, fallback=False, size=config.image_size).pixels
    spent = 0.0
    epochs = fit(
        state,
        pixels,
        turn=discriminator_turn,
        sampler=lambda *about: batches_of_passes(*about, EPOCH_STEPS)[:EPOCH_STEPS],
    )
    while spent < seconds:
        began = time.process_time()
        print(next(epochs), flush=True)
        spent += time.process_time() - began
    state.G.load_state_dict(G.state_dict())  # BatchNorm's statistics have moved
    state.config = config
    return state


def main() -> None:
    made = parser(__doc__)
    made.set_defaults(out=STARTS)
    made.add_argument("name")
    made.add_argument("source", metavar="FOLDER|NETWORK")
    made.add_argument("--seconds", type=float, default=500.0)
    options = made.parse_args()
    torch.set_num_threads(1)
    if Path(options.source).is_dir():
        checkpoints = sorted(Path(options.source, "checkpoints").glob("epoch-*.pt"))
        if not checkpoints:
            raise GanlibError(
                f"There is no checkpoint in {options.source}; train first."
            )
        state = load_checkpoint(checkpoints[-1])
    else:
        state = against_shipped(options.source, options.seconds)
    facts = {
        "history": state.history,
        **machine(),
        **provenance(f"start {options.name}"),
    }
    path = options.out / f"{options.name}.safetensors"
    save_start(state.sampling_generator, state.D, state.config, path, **facts)


if __name__ == "__main__":
    main()
