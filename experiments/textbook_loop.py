"""The loop of the tutorial behind the recipe `textbook`, to be measured beside ganlib's.

It opens one picture at a time, uses BCELoss on a sigmoid, lets D collect gradients in
G's turn and reads both losses at each step. ganlib never imports it.
"""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from ganlib.data import open_torchvision
from ganlib.data.transforms import normalize
from ganlib.models import DCGANDiscriminator, DCGANGenerator, init_weights
from ganlib.training import frozen

MLP = {
    "batch_size": 100,
    "latent_dim": 64,
    "hidden_dim": 256,
    "learning_rate": 2e-4,
    "betas": (0.9, 0.999),
}
DCGAN = {
    "batch_size": 64,
    "latent_dim": 100,
    "base_channels": 64,
    "learning_rate": 2e-4,
    "betas": (0.5, 0.999),
}
# What the page on speed adds to the loop, one after the other.
SWITCHES = "one tensor", "no waiting", "fused Adam", "frozen D"


def mlps(settings: dict = MLP) -> tuple[nn.Module, nn.Module]:
    """G and D, 64-256-256-784 and back; D ends in a sigmoid."""
    hidden_dim, latent_dim = settings["hidden_dim"], settings["latent_dim"]
    G = nn.Sequential(
        nn.Linear(latent_dim, hidden_dim),
        nn.ReLU(),
        nn.Linear(hidden_dim, hidden_dim),
        nn.ReLU(),
        nn.Linear(hidden_dim, 784),
        nn.Tanh(),
        nn.Unflatten(1, (1, 28, 28)),
    )
    D = nn.Sequential(
        nn.Flatten(),
        nn.Linear(784, hidden_dim),
        nn.LeakyReLU(0.2),
        nn.Linear(hidden_dim, hidden_dim),
        nn.LeakyReLU(0.2),
        nn.Linear(hidden_dim, 1),
        nn.Sigmoid(),
        nn.Flatten(0),
    )
    return G, D


def dcgans(settings: dict = DCGAN) -> tuple[nn.Module, nn.Module]:
    """G and D of Radford 2015 for images of 64x64; D ends in a sigmoid."""
    G = DCGANGenerator(settings["latent_dim"], settings["base_channels"])
    D = DCGANDiscriminator(settings["base_channels"])
    init_weights(G)
    init_weights(D)
    return G, nn.Sequential(D, nn.Sigmoid())


class TextbookLoop:
    """Two networks, their optimisers, and a turn of each on a batch.

    Args:
        G, D: D ends in a sigmoid.
        settings: MLP or DCGAN, or the same with other numbers.
        on: which of SWITCHES are on.
        device: where both networks go, and each batch.
    """

    def __init__(
        self,
        G: nn.Module,
        D: nn.Module,
        settings: dict,
        on: tuple[str, ...] = (),
        *,
        device: torch.device | str = "cpu",
    ) -> None:
        self.G = G.to(device)
        self.D = D.to(device)
        self.on = on
        self.device = torch.device(device)
        self.latent_dim = settings["latent_dim"]
        adam = {
            "lr": settings["learning_rate"],
            "betas": settings["betas"],
            "fused": "fused Adam" in on,
        }
        self.optimizer_g = torch.optim.Adam(G.parameters(), **adam)
        self.optimizer_d = torch.optim.Adam(D.parameters(), **adam)
        self.criterion = nn.BCELoss()
        self.losses = torch.zeros(2, device=device)
        self.last_losses = 0.0, 0.0

    def epoch(
        self, batches: Iterable[Tensor], most_batches: int | None = None
    ) -> float:
        """An epoch, or its first `most_batches`: both turns a batch -> images/s."""
        images_seen = 0
        started = time.perf_counter()
        for place, real in enumerate(batches):
            if place == most_batches:
                break
            self.turn(real.to(self.device))
            images_seen += len(real)
        self.losses.tolist()  # waits for a GPU, so before the clock
        return images_seen / (time.perf_counter() - started)

    def turn(self, real: Tensor) -> None:
        """D's step and G's step on images (N, C, H, W) in -1..1."""
        ones = torch.ones(len(real), device=self.device)
        zeros = torch.zeros(len(real), device=self.device)
        fake = self.G(self.noise(len(real))).detach()
        d_loss = self.criterion(self.D(real), ones)
        d_loss = d_loss + self.criterion(self.D(fake), zeros)
        self.learn(d_loss, self.optimizer_d)
        if "frozen D" in self.on:
            with frozen(self.D):
                g_loss = self.generator_turn(ones)
        else:
            g_loss = self.generator_turn(ones)
        if "no waiting" in self.on:
            self.losses += torch.stack([d_loss.detach(), g_loss.detach()])
        else:
            self.last_losses = d_loss.item(), g_loss.item()

    def generator_turn(self, ones: Tensor) -> Tensor:
        fake = self.G(self.noise(len(ones)))
        g_loss = self.criterion(self.D(fake), ones)
        self.learn(g_loss, self.optimizer_g)
        return g_loss

    def noise(self, count: int) -> Tensor:
        return torch.randn(count, self.latent_dim, device=self.device)

    def learn(self, loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer_g.zero_grad()
        self.optimizer_d.zero_grad()
        loss.backward()
        optimizer.step()


class Mnist:
    """MNIST in batches, one PIL image at a time through a DataLoader.

    With `pixels`, all its bytes (N, 1, 28, 28), batches are indexed out of those.
    """

    def __init__(self, pixels: Tensor | None = None) -> None:
        steps = [transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))]
        self.pixels = pixels
        dataset = open_torchvision("mnist", transform=transforms.Compose(steps))
        self.loader = DataLoader(dataset, MLP["batch_size"], shuffle=True)

    def __iter__(self) -> Iterator[Tensor]:
        if self.pixels is None:
            for images, _ in self.loader:
                yield images
            return
        order = torch.randperm(len(self.pixels))
        for index in order.split(MLP["batch_size"]):
            yield normalize(self.pixels[index])


class Pictures:
    """The pictures in a folder of folders, opened, resized and cropped in each epoch.

    Two worker processes do it; they start once, not in each short round.
    """

    def __init__(self, folder: Path | str) -> None:
        steps = [
            transforms.Resize(64),
            transforms.CenterCrop(64),
            transforms.ToTensor(),
            transforms.Normalize(0.5, 0.5),
        ]
        dataset = datasets.ImageFolder(str(folder), transforms.Compose(steps))
        self.loader = DataLoader(
            dataset,
            DCGAN["batch_size"],
            shuffle=True,
            num_workers=2,
            persistent_workers=True,
        )

    def __iter__(self) -> Iterator[Tensor]:
        for images, _ in self.loader:
            yield images
