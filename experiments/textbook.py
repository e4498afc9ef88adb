"""The textbook loop: what GAN tutorials do, written out, to be measured beside ganlib's and never imported by it."""

import time

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from ganlib.data import open_torchvision
from ganlib.models import ConvDiscriminator, ConvGenerator, init_weights
from ganlib.training import frozen
from ganlib.data.transforms import normalize

MLP = {"batch_size": 100, "latent_dim": 64, "hidden_dim": 256, "learning_rate": 2e-4, "betas": (0.9, 0.999)}
DCGAN = {"batch_size": 64, "latent_dim": 100, "hidden_dim": 64, "learning_rate": 2e-4, "betas": (0.5, 0.999)}
SWITCHES = "one tensor", "no waiting", "fused Adam", "frozen D"  # what page 17 adds to the loop, one after the other


class Mlps:
    """The seeds' two networks, 64-256-256-784 and back; D ends in a sigmoid."""

    def __init__(self, settings=MLP):
        hidden, latent = settings["hidden_dim"], settings["latent_dim"]
        self.G = nn.Sequential(
            nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(),
            nn.Linear(hidden, 784), nn.Tanh(), nn.Unflatten(1, (1, 28, 28)),
        )  # fmt: skip
        self.D = nn.Sequential(
            nn.Flatten(), nn.Linear(784, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, hidden), nn.LeakyReLU(0.2),
            nn.Linear(hidden, 1), nn.Sigmoid(), nn.Flatten(0),
        )  # fmt: skip


class Dcgans:
    """The two networks of Radford 2015 for images of 64x64; D ends in a sigmoid."""

    def __init__(self, settings=DCGAN):
        self.G = ConvGenerator(settings["latent_dim"], settings["hidden_dim"])
        discriminator = ConvDiscriminator(settings["hidden_dim"])
        init_weights(self.G)
        init_weights(discriminator)
        self.D = nn.Sequential(discriminator, nn.Sigmoid())


class Loop:
    """Two networks, their optimisers, and a turn of each on a batch; `on` names the switches that are on."""

    def __init__(self, networks, settings, on=()):
        self.G, self.D, self.on, self.latent_dim = networks.G, networks.D, on, settings["latent_dim"]
        adam = {"lr": settings["learning_rate"], "betas": settings["betas"], "fused": "fused Adam" in on}
        self.optimizers = [torch.optim.Adam(network.parameters(), **adam) for network in (self.G, self.D)]
        self.criterion, self.losses = nn.BCELoss(), torch.zeros(2)

    def epoch(self, batches, most_batches=None):
        """An epoch, or its first `most_batches`: a D step and a G step per batch of images -> images/s."""
        images_seen, started = 0, time.perf_counter()
        for place, real in enumerate(batches):
            if place == most_batches:
                break
            self.turn(real)
            images_seen += len(real)
        return images_seen / (time.perf_counter() - started)

    def turn(self, real):
        """D's step and G's step on images (N, C, H, W) in -1..1; without "no waiting" both losses are read at once."""
        ones, zeros = torch.ones(len(real)), torch.zeros(len(real))
        fake = self.G(torch.randn(len(real), self.latent_dim)).detach()
        d_loss = self.criterion(self.D(real), ones) + self.criterion(self.D(fake), zeros)
        self.learn(d_loss, self.optimizers[1])
        if "frozen D" in self.on:
            with frozen(self.D):
                g_loss = self.criterion(self.D(self.G(torch.randn(len(real), self.latent_dim))), ones)
                self.learn(g_loss, self.optimizers[0])
        else:
            g_loss = self.criterion(self.D(self.G(torch.randn(len(real), self.latent_dim))), ones)
            self.learn(g_loss, self.optimizers[0])
        if "no waiting" in self.on:
            self.losses += torch.stack([d_loss.detach(), g_loss.detach()])
        else:
            _ = d_loss.item(), g_loss.item()

    def learn(self, loss, optimizer):
        for each in self.optimizers:
            each.zero_grad()
        loss.backward()
        optimizer.step()


class Mnist:
    """MNIST, one PIL image at a time through a DataLoader; with `pixels`, all its bytes, indexed out of those."""

    def __init__(self, pixels=None):
        transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))])
        self.pixels, dataset = pixels, open_torchvision("mnist", transform=transform)
        self.loader = DataLoader(dataset, MLP["batch_size"], shuffle=True)

    def __iter__(self):
        if self.pixels is None:
            return (images for images, _ in self.loader)
        order = torch.randperm(len(self.pixels)).split(MLP["batch_size"])
        return (normalize(self.pixels[index]) for index in order)


class Pictures:
    """The pictures in a folder of folders, opened, resized and cropped anew in every epoch by two worker processes."""

    def __init__(self, folder):
        steps = transforms.Resize(64), transforms.CenterCrop(64), transforms.ToTensor(), transforms.Normalize(0.5, 0.5)
        dataset = datasets.ImageFolder(folder, transforms.Compose(steps))
        workers = {"num_workers": 2, "persistent_workers": True}  # they start once, not in each short round
        self.loader = DataLoader(dataset, DCGAN["batch_size"], shuffle=True, **workers)

    def __iter__(self):
        return (images for images, _ in self.loader)
