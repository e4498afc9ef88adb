"""A window: how good are these samples? Distances and shares between features of real and of generated images."""

from typing import NamedTuple

import torch
from torch import nn

from ganlib.checkpoint import ASSETS
from ganlib.errors import GanlibError
from ganlib.sampling import sample_noise, sample_images
from ganlib.data.transforms import denormalize, normalize
from ganlib.weights import fill, read_weights

CLASSIFIERS = ASSETS / "classifiers"
FEWEST = 1000  # with fewer images than this, covariances of 84 features and nearest neighbours are mostly noise
NEIGHBOURS = {"precision": 3, "density": 5}  # as in Kynkäänniemi 2019 and Naeem 2020


class DigitClassifier(nn.Module):
    """Image (N, 1, 28, 28) in -1..1 -> class logits (N, 10). After LeNet-5 (LeCun 1998), with ReLU and max-pooling."""

    num_features = 84
    image_shape = 1, 28, 28

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(800, 128), nn.ReLU(), nn.Linear(128, self.num_features), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(self.num_features, 10)

    def forward(self, images):
        return self.head(self.features(images))

    def class_coverage(self, features):
        """Features (N, 84) -> how many of 10 classes at least 0.1 % belong to, and their KL from uniform, nats."""
        shares = torch.bincount(self.head(features).argmax(dim=1), minlength=10) / len(features)
        return int((shares >= 0.001).sum()), float(torch.special.xlogy(shares, shares * 10).sum())


def load_classifier(name):
    """Data set name -> its shipped DigitClassifier in eval mode. GanlibError lists the known names."""
    path = CLASSIFIERS / f"{name}.pt"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in CLASSIFIERS.glob("*.pt"))) or "none"
        raise GanlibError(f"There is no classifier for {name!r}; the shipped ones are: {known}.")
    values, _ = read_weights(path)
    return fill(DigitClassifier(), values, path).eval()


class Scores(NamedTuple):
    """How generated images compare with real ones, and how many of each were looked at."""

    frechet: float  # Fréchet distance of features (Heusel 2017, with other features): 0 is best
    kid: float  # kernel distance of features, times 1000 (Bińkowski 2018): 0 is best; it may fall below by chance
    precision: float  # share of generated images near real ones (Kynkäänniemi 2019): 1 is best
    recall: float  # share of real images near generated ones: 1 is best
    density: float  # like precision, counting neighbours (Naeem 2020): about 1 for real against real
    coverage: float  # share of real images whose neighbourhood holds a generated one: 1 is best
    classes: int | None  # class_coverage that the judge finds among the generated images; None if it knows no class_coverage
    kl: float | None  # Kullback-Leibler divergence of their shares from the right ones, nats: 0 is best
    real: int  # images looked at
    generated: int


@torch.no_grad()
def score(judge, real, generated):
    """Images (N, C, H, W) and (M, C, H, W), bytes or in -1..1 -> Scores with the features of the network `judge`.

    A judge is a DigitClassifier, or what ganlib.metrics.classifiers gives for colour. GanlibError if the images have another shape than
    it takes, or if there are fewer than 1,000 of either: the scores of fewer images say more about the count.
    """
    for name, images in (("real", real), ("generated", generated)):
        if tuple(images.shape[1:]) != judge.image_shape:
            raise GanlibError(f"The {name} images are {tuple(images.shape[1:])}; this judge takes {judge.image_shape}.")
        if len(images) < FEWEST:
            raise GanlibError(f"There are {len(images)} {name} images; a score needs at least {FEWEST:,}.")
    real_features, fake_features = (extract_features(judge, images) for images in (real, generated))
    classes, kl = judge.class_coverage(fake_features)
    return Scores(
        frechet=frechet_distance(real_features, fake_features),
        kid=kernel_distance(real_features, fake_features),
        **precision_recall_density_coverage(real_features, fake_features),
        classes=classes,
        kl=kl,
        real=len(real),
        generated=len(generated),
    )


def sample_pixels(G, latent_dim, *, count=10_000, seed=0):
    """Generator -> bytes (count, C, H, W) from noise of this seed: what every score of the book looks at."""
    return torch.cat([denormalize(sample_images(G, z)) for z in sample_noise(count, latent_dim, seed=seed).split(1000)])


def subsample(pixels, count):
    """Images (N, ...) -> all of them, or `count` that are always the same: the first of a data set may be special."""
    if len(pixels) <= count:
        return pixels
    return pixels[torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0))[:count]]


@torch.no_grad()
def extract_features(judge, images):
    """Images (N, C, H, W), bytes or in -1..1 -> features (N, F) of the judge in eval mode."""
    judge.eval()
    parts = (normalize(part) if part.dtype == torch.uint8 else part for part in images.split(1000))
    return torch.cat([judge.features(part) for part in parts])


def frechet_distance(real_features, fake_features):
    """Features (N, F) and (M, F) -> |m - m'|² + tr(C + C' - 2 (C C')^½), in double precision, by torchmetrics."""
    from torchmetrics.image.fid import FrechetInceptionDistance  # imports pyplot, so not before it is needed

    identity = nn.Identity()
    identity.num_features = real_features.shape[1]
    metric = FrechetInceptionDistance(feature=identity)
    metric.update(real_features, real=True)
    metric.update(fake_features, real=False)
    return metric.compute().item()


def kernel_distance(real_features, fake_features, *, subsets=20, size=1000):
    """Features (N, F) and (M, F) -> 1000 times the mean unbiased MMD² over fixed subsets, cubic kernel.

    Both are divided by the root mean square of the real ones, so that the kernel (x·y/F + 1)³ is at home near 1.
    """
    from torchmetrics.image.kid import poly_mmd

    generator, values = torch.Generator().manual_seed(0), []
    scale = real_features.square().mean().sqrt()
    for _ in range(subsets):
        chosen = [f[torch.randperm(len(f), generator=generator)[:size]] for f in (real_features, fake_features)]
        values.append(poly_mmd(*[(features / scale).double() for features in chosen]).item())
    return 1000 * sum(values) / subsets


def precision_recall_density_coverage(real_features, fake_features):
    """Features (N, F) and (M, F) -> dict of precision, recall (3 neighbours), density and coverage (5 neighbours).

    Kynkäänniemi 2019 and Naeem 2020. torchmetrics has none of the four; prdc 0.2 takes one number of neighbours for
    all, holds each table of distances whole, and counts a distance that is exactly the radius as outside.
    """
    k = NEIGHBOURS["precision"]
    near_real = inside(fake_features, real_features, knn_radii(real_features, k))
    near_fake = inside(real_features, fake_features, knn_radii(fake_features, k))
    k = NEIGHBOURS["density"]
    real_radii = knn_radii(real_features, k)
    counts = inside(fake_features, real_features, real_radii)
    closest = torch.cat([torch.cdist(part, fake_features).amin(dim=1) for part in real_features.split(1000)])
    return {
        "precision": (near_real > 0).float().mean().item(),
        "recall": (near_fake > 0).float().mean().item(),
        "density": (counts / k).mean().item(),
        "coverage": (closest <= real_radii).float().mean().item(),
    }


def knn_radii(features, k):
    """Features (N, F) -> distance (N,) of each to its k-th nearest other one."""
    nearest = [torch.cdist(part, features).topk(k + 1, largest=False).values[:, k] for part in features.split(1000)]
    return torch.cat(nearest)  # the nearest of all is the point itself, hence k + 1


def inside(points, centres, radius):
    """Points (N, F), balls around centres (M, F) with radius (M,) -> how many balls each point lies in, (N,)."""
    return torch.cat([(torch.cdist(part, centres) <= radius).sum(dim=1) for part in points.split(1000)])


def nearest(points, others):
    """Points (N, F) and (M, F) -> distance (N,) of each to the nearest of the others, and the index (N,) of that one.

    As points take features, or flattened images. A point that is among the others has distance 0.
    """
    centre = others.mean(dim=0)  # far from 0 cdist rounds too coarsely to find the nearest
    index = torch.cat([torch.cdist(part - centre, others - centre).argmin(dim=1) for part in points.split(500)])
    return (points - others[index]).norm(dim=1), index
