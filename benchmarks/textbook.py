"""The textbook loop: what GAN tutorials do, written out, to be measured beside ganlib's and never imported by it."""

import time

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms

from ganlib.data import open_torchvision

SETTINGS = {"batch_size": 100, "latent_dim": 64, "hidden_dim": 256, "learning_rate": 2e-4}


def networks():
    """The seeds' two networks, 64-256-256-784 and back; D ends in a sigmoid."""
    hidden, latent = SETTINGS["hidden_dim"], SETTINGS["latent_dim"]
    G = nn.Sequential(
        nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 784), nn.Tanh()
    )
    D = nn.Sequential(
        nn.Linear(784, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, hidden), nn.LeakyReLU(0.2),
        nn.Linear(hidden, 1), nn.Sigmoid(),
    )  # fmt: skip
    return G, D


def epoch(G, D, optimizer_g, optimizer_d, loader, most_batches=None):
    """One epoch, or its first `most_batches`: PIL image by PIL image, BCELoss, a host sync each step -> images/s."""
    criterion, images_seen, started = nn.BCELoss(), 0, time.perf_counter()
    for batch, (images, _) in enumerate(loader):
        if batch == most_batches:
            break
        real = images.reshape(len(images), -1)
        ones, zeros = torch.ones(len(real), 1), torch.zeros(len(real), 1)
        d_loss = criterion(D(real), ones) + criterion(D(G(torch.randn(len(real), SETTINGS["latent_dim"]))), zeros)
        optimizer_d.zero_grad()
        optimizer_g.zero_grad()
        d_loss.backward()
        optimizer_d.step()
        g_loss = criterion(D(G(torch.randn(len(real), SETTINGS["latent_dim"]))), ones)
        optimizer_d.zero_grad()
        optimizer_g.zero_grad()
        g_loss.backward()
        optimizer_g.step()
        _ = d_loss.item(), g_loss.item()
        images_seen += len(real)
    return images_seen / (time.perf_counter() - started)


def prepare():
    """Networks, optimisers and a DataLoader over MNIST, ready for `epoch`."""
    G, D = networks()
    optimizers = [torch.optim.Adam(network.parameters(), lr=SETTINGS["learning_rate"]) for network in (G, D)]
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))])
    loader = DataLoader(open_torchvision("mnist", transform=transform), SETTINGS["batch_size"], shuffle=True)
    return G, D, *optimizers, loader
