"""Train the classifiers whose features the scores use, and store them: classifier.py mnist fashion-mnist."""

import sys

import torch
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from ganlib.data import load
from ganlib.metrics import CLASSIFIERS, DigitClassifier
from ganlib.data.transforms import normalize
from ganlib.weights import save_weights

EPOCHS, BATCH, LEARNING_RATE, SEED = 8, 128, 4e-3, 7


def train(name):
    """Train a DigitClassifier on the data set called `name` -> (classifier in eval mode, test accuracy in 0..1)."""
    torch.manual_seed(SEED)
    images, test = load(name, fallback=False), load(name, train=False, fallback=False)
    classifier = DigitClassifier()
    optimizer = torch.optim.AdamW(classifier.parameters(), fused=True)
    steps = EPOCHS * -(-len(images.pixels) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    for _ in tqdm(range(EPOCHS), unit="epoch"):
        for index in torch.randperm(len(images.pixels)).split(BATCH):
            loss = cross_entropy(classifier(normalize(images.pixels[index])), images.labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    classifier.eval()
    with torch.no_grad():
        right = classifier(normalize(test.pixels)).argmax(dim=1) == test.labels
    return classifier, right.float().mean().item()


if __name__ == "__main__":
    for dataset in sys.argv[1:]:
        network, accuracy = train(dataset)
        save_weights(
            network, CLASSIFIERS / f"{dataset}.pt", dataset=dataset, test_accuracy=accuracy, seed=SEED, epochs=EPOCHS
        )
        print(f"{dataset}: {accuracy:.2%} of the test images right")
