"""Train the network that reads the factors of drawn faces, and store it: python tools/avatar_reader.py."""

import torch
from torch.nn.functional import avg_pool2d, cross_entropy, interpolate, one_hot
from tqdm import tqdm

from ganlib.data.avatars import VALUES, draw, split
from ganlib.data.transforms import normalize
from ganlib.metrics.classifiers import READERS, AttributeClassifier, accuracy, read_factors
from ganlib.weights import save_weights

FACES, EPOCHS, BATCH, LEARNING_RATE, SEED = 30_000, 10, 100, 3e-3, 7
DRAWN, FRESH = 2, 1  # seeds of the faces to learn from and to be judged by; seed 0 is the training set of the book


def spoil(images):
    """Images -> the same, somewhat blurred, noisy, lighter or darker, as those of a generator are."""
    count, device = len(images), images.device
    amount, noise, gain, offset = torch.rand(4, count, 1, 1, 1, device=device)
    smooth = avg_pool2d(images, 3, stride=1, padding=1, count_include_pad=False)
    if torch.rand(()) < 0.3:  # now and then much more
        smooth = interpolate(avg_pool2d(smooth, 2), scale_factor=2, mode="bilinear")
    images = torch.lerp(images, smooth, amount) * (0.85 + 0.3 * gain) + 0.2 * (offset - 0.5)
    return images + 0.15 * noise * torch.randn_like(images)


def blend(images, targets):
    """Images (N, ...) and targets (N, 21) -> the same, the first third mixed with the next ones, targets too.

    So the reader learns to be unsure of what lies between two faces (after mixup, Zhang 2018).
    """
    share = torch.rand(len(images), 1) / 2
    share[len(images) // 3 :] = 0
    mixed = torch.lerp(targets, targets.roll(-1, 0), share)
    return torch.lerp(images, images.roll(-1, 0), share[..., None, None]), mixed


def train():
    """Train a AttributeClassifier on fresh drawings -> the same in eval mode."""
    torch.manual_seed(SEED)
    pixels, labels = draw(FACES, seed=DRAWN)
    factors, reader = split(labels), AttributeClassifier()
    truth = torch.cat(
        [one_hot(column, values).float() for column, values in zip(factors.T, VALUES, strict=True)], dim=1
    )
    optimizer = torch.optim.AdamW(reader.parameters(), fused=True)
    steps = EPOCHS * -(-FACES // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    for epoch in tqdm(range(EPOCHS), unit="epoch"):
        total = 0.0
        for index in torch.randperm(FACES).split(BATCH):
            images, targets = blend(normalize(pixels[index]), truth[index])
            pairs = zip(reader(spoil(images)).split(VALUES, dim=1), targets.split(VALUES, dim=1), strict=True)
            loss = sum(cross_entropy(logits, target) for logits, target in pairs)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(index)
        tqdm.write(f"epoch {epoch + 1}: loss {total / FACES:.4f}")
    return reader.eval()


if __name__ == "__main__":
    network = train()
    fresh, truth = draw(10_000, seed=FRESH)
    images = normalize(fresh)
    clean = accuracy(read_factors(images, reader=network), split(truth))
    spoiled = accuracy(read_factors(spoil(images), reader=network), split(truth))
    facts = {"test_accuracy": clean, "test_accuracy_spoiled": spoiled, "seed": SEED, "epochs": EPOCHS, "faces": FACES}
    save_weights(network, READERS / "avatars.pt", dataset="avatars", **facts)
    print(facts)
