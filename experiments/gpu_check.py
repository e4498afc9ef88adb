"""What only a GPU can show, in one script of a few minutes.

    python -m experiments.gpu_check --data FOLDER --out gpu.json
    python -m experiments.gpu_check --device cpu --tiny --out cpu.json

It checks that the loop, sampling, scores and checkpoints work on the device and agree with
the CPU, then measures images per second of the textbook loop and of ours. FOLDER is a
torchvision data root with MNIST; without it the digits of scikit-learn serve. Nothing is
downloaded.
"""

import argparse
import json
import platform
import statistics
import tempfile
import time
from pathlib import Path

import torch
from torch.nn.functional import binary_cross_entropy

from ganlib import accelerate
from ganlib.checkpoint import (
    load_checkpoint,
    load_generator,
    save_checkpoint,
    save_generator,
)
from ganlib.config import Config, replace
from ganlib.data import load
from ganlib.metrics import load_classifier, score, subsample
from ganlib.models import build
from ganlib.recipes import recipe
from ganlib.sampling import sample_images, sample_noise, sample_pixels
from ganlib.training import fit, new_state

NETWORKS = {  # what is timed: images of noise serve, since speed does not depend on them
    "MLP 28x28, batch 100": recipe("textbook"),
    "MLP 28x28, batch 1000": recipe("textbook", batch_size=1000),
    "DCGAN 64x64 (64 channels)": recipe(
        "faces-dcgan",
        base_channels=64,
        augment_shift=0,
        random_flip=False,
        ema_decay=0.0,
        channels_last=False,
    ),
    "resize-conv 64x64 (32 channels)": recipe(
        "faces", bfloat16=False, channels_last=False
    ),
    "resize-conv 64x64 (64 channels)": recipe(
        "faces", base_channels=64, bfloat16=False, channels_last=False
    ),
}
WAYS = {
    "plain": {},
    "medium": {"matmul_precision": "medium"},
    "bfloat16": {"bfloat16": True, "channels_last": True},
    "compiled": {"compile_step": True},
    "compiled, bfloat16": {
        "compile_step": True,
        "bfloat16": True,
        "channels_last": True,
    },
}


def check_device(device):
    """Small runs on `device` and on the CPU: what has to agree, {name: what was found}."""
    digits = load("digits").pixels
    found = {}
    small = recipe("mnist", dataset="digits", epochs=2)
    state = new_state(small, device)
    records = list(fit(state, digits))
    found["trains"] = [round(records[-1].d_loss, 3), round(records[-1].g_loss, 3)]
    noise = sample_noise(16, seed=0)
    here = sample_images(state.sampling_generator, noise).cpu()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "checkpoint.pt")
        save_checkpoint(state, path)
        on_cpu = load_checkpoint(path, "cpu", epochs=3)
        again = load_checkpoint(path, device, epochs=3)
        save_generator(state.sampling_generator, small, Path(folder, "G.safetensors"))
        loaded, _ = load_generator(Path(folder, "G.safetensors"))
    there = sample_images(on_cpu.sampling_generator, noise)
    found["same samples on the CPU, largest difference"] = float(
        (here - there).abs().max()
    )
    found["loaded generator, largest difference"] = float(
        (here - sample_images(loaded, noise)).abs().max()
    )
    list(fit(on_cpu, digits))
    list(fit(again, digits))
    straight = new_state(replace(small, epochs=3), device)
    list(fit(straight, digits))
    pairs = list(zip(straight.G.parameters(), again.G.parameters(), strict=True))
    found["resumed on the device, equal to the last bit"] = all(
        torch.equal(a, b) for a, b in pairs
    )
    found["resumed on the device, largest difference"] = max(
        float((a - b).abs().max()) for a, b in pairs
    )
    found["resumed on the CPU, finite"] = all(
        bool(w.isfinite().all()) for w in on_cpu.G.parameters()
    )
    classifier = load_classifier("mnist")
    samples = sample_pixels(state.sampling_generator, 64, count=1500)
    on_cpu_score = score(classifier, digits, samples).frechet
    on_device = score(classifier.to(device), digits, samples.to(device)).frechet
    found["Fréchet distance, CPU and device"] = [
        round(on_cpu_score, 3),
        round(on_device, 3),
    ]
    for architecture in ("batchnorm-mlp", "dcgan", "resize-conv"):
        convolutional = architecture in ("dcgan", "resize-conv")
        config = Config(
            architecture=architecture, image_size=32 if convolutional else 28, epochs=1, batch_size=50,
            ema_decay=0.9, augment_shift=2, random_flip=True, augment_color=True, augment_cutout=0.25,
            r1_weight=0.0 if architecture == "dcgan" else 1.0, **({"base_channels": 16} if convolutional else {}),
        )  # fmt: skip
        pixels = torch.randint(0, 256, (100, *config.image_shape), dtype=torch.uint8)
        for way, fields in WAYS.items():
            run = new_state(replace(config, **fields), device)
            (record,) = accelerate.fit(run, pixels)
            found[f"{architecture}, {way}"] = [
                round(record.d_loss, 3),
                round(record.g_loss, 3),
            ]
    plain, compiled = (
        new_state(replace(small, compile_step=on), device) for on in (False, True)
    )
    list(accelerate.fit(plain, digits))
    list(accelerate.fit(compiled, digits))
    pairs = zip(plain.history, compiled.history, strict=True)
    found["compiled and plain, largest difference of a loss"] = max(
        abs(a.d_loss - b.d_loss) for a, b in pairs
    )
    return found


class TextbookLoop:
    """The loop of most tutorials: BCELoss on a sigmoid, D collecting gradients in G's turn, losses read each step."""

    def __init__(self, config, device):
        self.G, self.D = (network.to(device) for network in build(config))
        self.config, self.device = config, device
        adam = {"lr": config.learning_rate_g, "betas": (config.beta1, config.beta2)}
        self.optimizer_g = torch.optim.Adam(self.G.parameters(), **adam)
        self.optimizer_d = torch.optim.Adam(self.D.parameters(), **adam)

    def step(self, real):
        ones, zeros = (
            torch.ones(len(real), device=self.device),
            torch.zeros(len(real), device=self.device),
        )
        fake = self.G(
            torch.randn(len(real), self.config.latent_dim, device=self.device)
        )
        d_loss = binary_cross_entropy(self.D(real).sigmoid(), ones)
        d_loss = d_loss + binary_cross_entropy(self.D(fake.detach()).sigmoid(), zeros)
        self.learn(d_loss, self.optimizer_d)
        fake = self.G(
            torch.randn(len(real), self.config.latent_dim, device=self.device)
        )
        g_loss = binary_cross_entropy(self.D(fake).sigmoid(), ones)
        self.learn(g_loss, self.optimizer_g)
        return d_loss.item(), g_loss.item()

    def learn(self, loss, optimizer):
        self.optimizer_g.zero_grad()
        self.optimizer_d.zero_grad()
        loss.backward()
        optimizer.step()


def measure_speed(device, steps, rounds, pixels_by_shape):
    """{network: {way: [median images/s, GiB of device memory at most]}}, the textbook loop first."""
    table = {}
    for name, config in NETWORKS.items():
        pixels = pixels_by_shape(config, steps)
        rows = {}
        loop = TextbookLoop(config, device)
        rates = []
        for _ in range(rounds + 1):
            started = time.perf_counter()
            for batch in pixels.split(
                config.batch_size
            ):  # one copy to the device a step, as a DataLoader gives it
                loop.step(batch.to(device).float() / 127.5 - 1)
            wait(device)
            rates.append(len(pixels) / (time.perf_counter() - started))
        rows["textbook loop"] = [statistics.median(rates[1:]), None]
        for way, fields in WAYS.items():
            try:
                rows[way] = measure_way(
                    replace(config, epochs=100_000, **fields), pixels, device, rounds
                )
            except Exception as error:  # one way that fails should not hide the others
                rows[way] = [f"{type(error).__name__}: {str(error)[:300]}", None]
            print(name, "|", way, "|", rows[way], flush=True)
        print(name, "|", "textbook loop", "|", rows["textbook loop"], flush=True)
        table[name] = rows
    return table


def measure_way(config, pixels, device, rounds):
    """Median images/s over `rounds` epochs, after two that warm up, and the most memory in GiB."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    epochs = accelerate.fit(new_state(config, device), pixels)
    rates = []
    for _ in range(rounds + 2):
        started = time.perf_counter()
        next(epochs)
        wait(device)
        rates.append(len(pixels) / (time.perf_counter() - started))
    memory = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else None
    return [statistics.median(rates[2:]), memory]


def wait(device):
    if device == "cuda":
        torch.cuda.synchronize()


def time_to_quality(device, root, goals=(226, 100, 60)):
    """Seconds of training of two recipes until their distance, of 10,000 samples, first falls below each goal."""
    train, test = (
        load("mnist", root=root, train=part, fallback=False).pixels
        for part in (True, False)
    )
    classifier = load_classifier("mnist").to(device)
    rows = {}
    for name, fields in (("mnist-speedrun", {"epochs": 12}), ("mnist", {"epochs": 20})):
        state = new_state(recipe(name, **fields), device)
        distances = []
        for record in accelerate.fit(state, train):
            samples = sample_pixels(state.sampling_generator, state.config.latent_dim)
            distances.append(
                [
                    record.seconds,
                    score(classifier, subsample(test, 10_000), samples).frechet,
                ]
            )
        reached = {
            goal: next((s for s, d in distances if d <= goal), None) for goal in goals
        }
        rows[name] = {"seconds and distance by epoch": distances, "seconds to": reached}
        print(name, reached, f"last {distances[-1]}", flush=True)
    return rows


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument(
        "--tiny", action="store_true", help="few steps, to test the script"
    )
    parser.add_argument(
        "--data",
        help="torchvision data root; without it the time to quality is left out",
    )
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    device = options.device
    steps, rounds = (2, 1) if options.tiny else (60, 3)

    def pixels_by_shape(config, count):
        generator = torch.Generator().manual_seed(0)
        shape = (count * config.batch_size, *config.image_shape)
        return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)

    found = {
        "device": torch.cuda.get_device_name()
        if device == "cuda"
        else platform.machine()
    }
    found |= {"torch": str(torch.__version__), "python": platform.python_version()}
    torch.backends.cudnn.benchmark = True

    def keep():
        options.out.write_text(json.dumps(found, indent=1), encoding="utf-8")

    found["checks"] = check_device(device)
    print(json.dumps(found["checks"], indent=1, ensure_ascii=False), flush=True)
    keep()
    found["images per second, GiB"] = measure_speed(
        device, steps, rounds, pixels_by_shape
    )
    keep()
    if options.data and not options.tiny:
        found["time to quality"] = time_to_quality(device, options.data)
    keep()


if __name__ == "__main__":
    main()
