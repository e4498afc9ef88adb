"""A window: which factors does a drawn face have, how many of their common combinations occur, and who judges what?"""

import torch
from torch import nn

from ganlib.data.avatars import FACTORS, VALUES, common, join
from ganlib.checkpoint import ASSETS
from ganlib.errors import GanlibError
from ganlib.metrics import CLASSIFIERS, FEWEST, load_classifier
from ganlib.data.avatars.faces import SIZE
from ganlib.weights import fill, read_weights

READERS = ASSETS / "readers"
SURE = 0.9  # a face counts as covering a combination if each of its factors is read with this probability


class AttributeClassifier(nn.Module):
    """Image (N, 3, 64, 64) in -1..1 -> logits (N, 20): one for each value of each factor, in the order of FACTORS."""

    num_features = 64
    image_shape = 3, SIZE, SIZE

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 5, stride=2, padding=2), nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(32, 48, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(48, 64, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(),
            nn.Linear(64 * 4 * 4, self.num_features), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(self.num_features, sum(VALUES))

    def forward(self, images):
        return self.head(self.features(images))

    def class_coverage(self, features):
        """Features (N, 64) -> how many of the 280 common combinations occur, and how far the factors' shares are off.

        Occur: as for `covered`. Off: KL divergence from the shares of drawings, nats, summed over the seven factors.
        """
        factors, sure = _values(self.head(features))
        kl = 0.0
        for column, values in zip(factors.T, FACTORS.values(), strict=True):
            shares, true = torch.bincount(column, minlength=len(values)) / len(column), torch.tensor([*values.values()])
            kl += float(torch.special.xlogy(shares, shares / true).sum())
        return int(_occurring(factors, sure).sum()), kl


class Stranger(AttributeClassifier):
    """The same network among photographs: what it reads in them means nothing, its features can be compared."""

    def class_coverage(self, features):
        """It knows no class_coverage: None, None."""
        return None, None


def load_reader(kind=AttributeClassifier):
    """The AttributeClassifier that is shipped, in eval mode; as a Stranger if `kind` says so."""
    path = READERS / "avatars.pt"
    values, _ = read_weights(path)
    return fill(kind(), values, path).eval()


def load_feature_extractor(name):
    """Data set name -> the network whose features tell its images apart, for `score`, in eval mode.

    The DigitClassifier of "mnist" or "fashion-mnist", the AttributeClassifier for "avatars", a Stranger for "celeba" and "folder:PATH",
    which have no labels to learn from. GanlibError lists the names.
    """
    if name == "avatars":
        return load_reader()
    if name == "celeba" or name.startswith("folder:"):
        return load_reader(Stranger)
    known = sorted(path.stem for path in CLASSIFIERS.glob("*.pt"))
    if name not in known:
        known = ", ".join([*known, "avatars", "celeba"])
        raise GanlibError(f"There is no judge of {name!r}; there is one of {known} and folder:PATH.")
    return load_classifier(name)


def read_factors(images, *, reader=None):
    """Images (N, 3, 64, 64) in -1..1 -> values of the factors (N, 7), int64 indices in the order of FACTORS.

    It always answers, even where there is no face. GanlibError if the shape is another.
    """
    return _read(images, reader)[0]


def covered(images, *, reader=None):
    """Images (N, 3, 64, 64) in -1..1 -> share, 0..1, of the common combinations that occur at least once.

    Only faces of which every factor is read with a probability of 0.9 count, so that a smear covers nothing. Use
    10,000, for which `common` is meant. GanlibError if there are fewer than 1,000.
    """
    if len(images) < FEWEST:
        raise GanlibError(f"There are {len(images)} images; coverage needs at least {FEWEST:,}, better 10,000.")
    factors, sure = _read(images, reader)
    return _occurring(factors, sure).float().mean().item()


@torch.no_grad()
def _read(images, reader):
    """Images -> values of the factors (N, 7), and the probability (N,) of the least certain one."""
    if images.dim() != 4 or images.shape[1:] != (3, SIZE, SIZE):
        raise GanlibError(f"Images of shape {tuple(images.shape)} are no avatars; theirs is (N, 3, {SIZE}, {SIZE}).")
    reader = reader or load_reader()
    return _values(torch.cat([reader(part) for part in images.float().cpu().split(1000)]))


def _values(logits):
    """Logits (N, 20) -> values of the factors (N, 7), and the probability (N,) of the least certain one."""
    best = [part.softmax(dim=1).max(dim=1) for part in logits.split(VALUES, dim=1)]
    sure = torch.stack([part.values for part in best], dim=1).amin(dim=1)
    return torch.stack([part.indices for part in best], dim=1), sure


def _occurring(factors, sure):
    """Values of the factors (N, 7) and certainty (N,) -> which of the common combinations occur, bool (280,)."""
    return torch.isin(common(), join(factors[sure >= SURE]))


def accuracy(factors, truth):
    """Values of the factors (N, 7), read and true -> {factor: share read right}, and "all" for whole faces."""
    right = factors == truth
    return dict(zip(FACTORS, right.double().mean(dim=0).tolist(), strict=True)) | {
        "all": right.all(dim=1).double().mean().item()
    }
