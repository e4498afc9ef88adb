"""Train the classifiers whose features the scores use, and store them.

    python -m experiments.train_classifiers mnist fashion-mnist avatars

They go to ganlib/assets/classifiers, with their accuracy on test images.
"""

from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, cross_entropy, interpolate, one_hot
from tqdm import tqdm

from experiments.common import parser
from ganlib.checkpoint import save_weights
from ganlib.data import load
from ganlib.data.avatars import VALUE_COUNTS, decode_labels, draw
from ganlib.data.transforms import normalize
from ganlib.metrics import (
    CLASSIFIERS,
    AttributeClassifier,
    Classifier,
    DigitClassifier,
    read_attributes,
)
from ganlib.metrics.classifiers import attribute_accuracy

SEED = 7
BATCH_SIZE = 100
FACES = 30_000
# Of the faces to learn from, and to test with; seed 0 draws the training set of the book.
DRAWN, FRESH = 2, 1


def optimiser(
    network: Classifier, learning_rate: float, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """AdamW with one cycle of the learning rate over all steps."""
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, learning_rate, total_steps=steps
    )
    return optimizer, schedule


def train_digits(
    dataset: str, *, epochs: int = 8, batch_size: int = 128, learning_rate: float = 4e-3
) -> tuple[Classifier, dict]:
    """Train a DigitClassifier on a data set -> it in eval mode, and facts about it."""
    torch.manual_seed(SEED)
    images = load(dataset, fallback=False)
    test = load(dataset, train=False, fallback=False)
    classifier = DigitClassifier()
    steps = epochs * -(-len(images.pixels) // batch_size)
    optimizer, schedule = optimiser(classifier, learning_rate, steps)
    for _ in tqdm(range(epochs), unit="epoch"):
        for index in torch.randperm(len(images.pixels)).split(batch_size):
            logits = classifier(normalize(images.pixels[index]))
            loss = cross_entropy(logits, images.labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    classifier.eval()
    with torch.no_grad():
        right = classifier(normalize(test.pixels)).argmax(dim=1) == test.labels
    accuracy = right.float().mean().item()
    return classifier, {"test_accuracy": accuracy, "seed": SEED, "epochs": epochs}


def spoil(images: Tensor) -> Tensor:
    """Images (N, 3, 64, 64), blurred, noisy, lighter or darker, as a generator's are."""
    amount, noise, gain, offset = torch.rand(4, len(images), 1, 1, 1)
    smooth = avg_pool2d(images, 3, stride=1, padding=1, count_include_pad=False)
    if torch.rand(()) < 0.3:  # now and then much more
        smooth = interpolate(avg_pool2d(smooth, 2), scale_factor=2, mode="bilinear")
    images = torch.lerp(images, smooth, amount)
    images = images * (0.85 + 0.3 * gain) + 0.2 * (offset - 0.5)
    return images + 0.15 * noise * torch.randn_like(images)


def blend(images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Mix the first third of images (N, ...) and targets (N, 20) with the next ones.

    So the network learns to be unsure of what lies between two faces. After mixup
    (Zhang 2018).
    """
    share = torch.rand(len(images), 1) / 2
    share[len(images) // 3 :] = 0
    mixed = torch.lerp(targets, targets.roll(-1, 0), share)
    return torch.lerp(images, images.roll(-1, 0), share[..., None, None]), mixed


def attribute_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Sum over the attributes of their cross entropies: (N, 20) and (N, 20) -> scalar."""
    pairs = zip(
        logits.split(VALUE_COUNTS, dim=1),
        targets.split(VALUE_COUNTS, dim=1),
        strict=True,
    )
    return torch.stack([cross_entropy(each, target) for each, target in pairs]).sum()


def train_avatars(
    *, epochs: int = 10, learning_rate: float = 3e-3
) -> tuple[Classifier, dict]:
    """Train an AttributeClassifier on fresh drawings -> it, and facts about it."""
    torch.manual_seed(SEED)
    pixels, labels = draw(FACES, seed=DRAWN)
    attributes = decode_labels(labels)
    truth = torch.cat(
        [
            one_hot(column, values).float()
            for column, values in zip(attributes.T, VALUE_COUNTS, strict=True)
        ],
        dim=1,
    )
    classifier = AttributeClassifier()
    steps = epochs * -(-FACES // BATCH_SIZE)
    optimizer, schedule = optimiser(classifier, learning_rate, steps)
    for _ in tqdm(range(epochs), unit="epoch"):
        for index in torch.randperm(FACES).split(BATCH_SIZE):
            images, targets = blend(normalize(pixels[index]), truth[index])
            loss = attribute_loss(classifier(spoil(images)), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    classifier.eval()
    fresh, labels = draw(10_000, seed=FRESH)
    images, attributes = normalize(fresh), decode_labels(labels)
    facts = {"seed": SEED, "epochs": epochs, "faces": FACES}
    cases = {"test_accuracy": images, "test_accuracy_spoiled": spoil(images)}
    for name, case in cases.items():
        read = read_attributes(case, classifier=classifier)
        facts[name] = attribute_accuracy(read, attributes)
    return classifier, facts


def main() -> None:
    made = parser(__doc__)
    made.set_defaults(out=CLASSIFIERS)
    made.add_argument(
        "datasets", nargs="+", choices=["mnist", "fashion-mnist", "avatars"]
    )
    options = made.parse_args()
    out: Path = options.out
    for dataset in options.datasets:
        if dataset == "avatars":
            classifier, facts = train_avatars()
        else:
            classifier, facts = train_digits(dataset)
        path = out / f"{dataset}.safetensors"
        save_weights(classifier, path, dataset=dataset, **facts)
        print(dataset, facts)


if __name__ == "__main__":
    main()
