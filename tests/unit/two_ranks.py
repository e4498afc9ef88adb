"""Run by torchrun for test_distributed.py: each process leaves what it found in a file."""

import sys
from pathlib import Path

import torch
from torch import nn

from ganlib import accelerate
from ganlib.accelerate.distributed import (
    average_gradients,
    check_same,
    distribute,
    is_main,
    main_first,
    process_group,
)
from ganlib.config import Config
from ganlib.errors import GanlibError
from ganlib.training import discriminator_step, generator_step, new_state, r1_step

BATCH, ROUNDS = 20, 3  # images of both processes together
CONFIG = Config(
    latent_dim=3,
    hidden_dim=8,
    image_size=4,
    batch_size=BATCH // 2,
    epochs=2,
    r1_weight=1.0,
    ema_decay=0.9,
)
PIXELS = torch.randint(
    0, 256, (101, 1, 4, 4), generator=torch.Generator().manual_seed(1)
).byte()


def step(state, rows):
    """Every kind of step, ROUNDS times, on these rows of the same batch of images and noise -> losses."""
    generator = torch.Generator().manual_seed(2)
    losses = []
    for _ in range(ROUNDS):
        real = torch.rand(BATCH, 1, 4, 4, generator=generator)[rows]
        z = torch.randn(BATCH, CONFIG.latent_dim, generator=generator)[rows]
        d_loss, _, _ = discriminator_step(state.G, state.D, state.optimizer_d, real, z)
        g_loss, _ = generator_step(state.G, state.D, state.optimizer_g, z)
        r1_step(state.D, state.optimizer_d, real, weight=1.0)
        losses.append(torch.stack([d_loss, g_loss]))
    return torch.stack(losses)


def numbers_of(state):
    """All weights, and both optimizers' memories of them, by name."""
    numbers = {}
    for name, network in (("G", state.G), ("D", state.D), ("G_ema", state.G_ema)):
        numbers |= {
            f"{name}.{key}": value.detach() for key, value in network.named_parameters()
        }
    for name, optimizer in (
        ("Adam of G", state.optimizer_g),
        ("Adam of D", state.optimizer_d),
    ):
        for index, memory in optimizer.state_dict()["state"].items():
            numbers |= {f"{name}.{index}.{key}": value for key, value in memory.items()}
    return numbers


def refusal(action, *arguments, **facts):
    """The sentence of the GanlibError that `action` raises, or None."""
    try:
        action(*arguments, **facts)
    except GanlibError as error:
        return str(error)
    return None


def kernel_after_a_step(rank):
    """A weight that lies channels last, after a step along the mean of two gradients; and one without a gradient."""
    kernel = nn.Parameter(torch.zeros(2, 3, 2, 2).to(memory_format=torch.channels_last))
    idle = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([kernel, idle], lr=1.0)
    optimizer.register_step_pre_hook(average_gradients)
    gradient = torch.arange(24.0).view(2, 3, 2, 2) * (1 if rank == 0 else 3)
    kernel.grad = gradient.to(memory_format=torch.channels_last)
    optimizer.step()
    return kernel.detach().contiguous(), idle.detach()


def main(folder):
    torch.set_num_threads(1)
    with process_group("cpu"):
        rank = torch.distributed.get_rank()
        found = {"main": is_main()}

        with main_first():
            if rank == 0:
                (folder / "downloaded").touch()
            found["finds what the first has downloaded"] = (
                folder / "downloaded"
            ).exists()

        state = new_state(CONFIG)
        distribute(state, PIXELS)
        found["losses"] = step(state, slice(rank, None, 2))
        found["steps"] = numbers_of(state)
        found["kernel"] = kernel_after_a_step(rank)

        state = new_state(CONFIG)
        sampler = distribute(state, PIXELS)
        torch.manual_seed(5)
        found["batches"] = list(
            sampler(len(PIXELS), CONFIG.batch_size, torch.device("cpu"))
        )
        found["noise"] = torch.randn(4)
        list(accelerate.fit(state, PIXELS, sampler=sampler))
        found["fit"] = numbers_of(state)
        found["history"] = torch.tensor(
            [record[:7] for record in state.history], dtype=torch.float64
        )

        found["same"] = refusal(check_same, epoch=7)
        found["different"] = refusal(check_same, epoch=7 + rank, images=1)
        config = Config(batch_size=51, latent_dim=3, hidden_dim=8, image_size=4)
        found["large"] = refusal(distribute, new_state(config), PIXELS)
        config = Config(compile_step=True, latent_dim=3, hidden_dim=8, image_size=4)
        found["compiled"] = refusal(
            distribute, new_state(config), PIXELS[:200].repeat(2, 1, 1, 1)
        )
        control = {"augment_target": 0.6, "random_flip": True, "batch_size": 10}
        config = Config(latent_dim=3, hidden_dim=8, image_size=4, **control)
        found["controlled"] = refusal(distribute, new_state(config), PIXELS)
        config = Config(
            seed=rank, batch_size=10, latent_dim=3, hidden_dim=8, image_size=4
        )
        found["start"] = refusal(distribute, new_state(config), PIXELS)
        torch.save(found, folder / f"rank-{rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
