"""Run by torchrun for the tests: short trainings, whose results each rank leaves in a file."""

import sys
from pathlib import Path

import torch

from ganlib import train
from ganlib.checkpoint import save_checkpoint
from ganlib.config import Config
from ganlib.errors import GanlibError
from ganlib.accelerate.distributed import agree, joined
from ganlib.accelerate.distributed import Ranks
from ganlib.training import fit, new_state

SMALL = {"latent_dim": 3, "hidden_dim": 8, "image_size": 4, "learning_rate_g": 1e-3, "learning_rate_d": 1e-3}
CONVOLUTIONS = {"networks": "dcgan", "image_size": 16, "hidden_dim": 4, "channels": 3, "channels_last": True}
RUNS = {  # name -> (images, what is set); with `batch_size` images of each of two ranks, or twice as many of one
    "plain": (60, {}),
    "rest": (101, {}),  # one image is left of batches of 20
    "uneven": (95, {"penalty": 2.0, "ema_decay": 0.9, "real_label": 0.9}),  # a last batch of 15 images: 8 and 7
    "batchnorm": (60, {"networks": "batchnorm-mlp", "penalty": 2.0, "ema_decay": 0.9}),
    "convolutions": (60, CONVOLUTIONS | {"penalty": 2.0, "ema_decay": 0.9}),
    "apart": (60, CONVOLUTIONS | {"dropout": 0.3, "mirror": True, "shift": 2}),
}


def pixels_for(name):
    """Bytes (N, C, H, W), all different."""
    count, settings = RUNS[name]
    config = Config(**SMALL | settings)
    return torch.randint(0, 256, (count, *config.image_shape), generator=torch.Generator().manual_seed(1)).byte()


def run(name, batch_size, folder=None):
    """Train two epochs -> dict of all numbers, and the images of each batch; after one, a checkpoint."""
    state = new_state(Config(epochs=2, batch_size=batch_size, **SMALL | RUNS[name][1]))
    batches, turns = [], train.train_step
    train.train_step = lambda state, real: (batches.append(real.clone()), turns(state, real))[1]
    for record in fit(state, pixels_for(name)):
        if folder and record.epoch == 1 and state.ranks.rank == 0:
            save_checkpoint(state, folder / f"{name}.pt")
    train.train_step = turns
    return results(state) | {"batches": batches}


def results(state):
    """TrainState -> dict of its numbers: networks, memories of both optimisers, history without the seconds."""
    networks = {"G": state.G, "D": state.D, "average": state.sampling_generator}
    numbers = {f"{name}.{key}": value for name, one in networks.items() for key, value in one.state_dict().items()}
    for name, optimizer in {"Adam G": state.optimizer_g, "Adam D": state.optimizer_d}.items():
        for index, memory in optimizer.state_dict()["state"].items():
            numbers |= {f"{name}.{index}.{key}": value for key, value in memory.items()}
    return numbers | {"history": torch.tensor([record[:7] for record in state.history], dtype=torch.float64)}


def refused(action):
    """The sentence of the GanlibError that `action` raises, or None."""
    try:
        action()
    except GanlibError as error:
        return str(error)


def main(folder):
    torch.set_num_threads(1)
    with joined("cpu"):
        ranks = Ranks()
        found = {name: run(name, 10, folder) for name in RUNS}
        ranks.seed(5, "cpu")
        found["common"], found["own"] = torch.rand(4, generator=ranks.common), torch.rand(4)
        found["agree"] = refused(lambda: agree(epoch=7)), refused(lambda: agree(epoch=7 + ranks.rank, images=1))
        config = Config(batch_size=31, **SMALL)
        found["large"] = refused(lambda: list(fit(new_state(config), pixels_for("plain"))))
        config = Config(batch_size=10, compiled=True, **SMALL)
        found["compiled"] = refused(lambda: list(fit(new_state(config), pixels_for("plain"))))
        torch.save(found, folder / f"rank-{ranks.rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
