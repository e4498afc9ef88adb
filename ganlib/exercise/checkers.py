"""Tries what a reader has written or trained for an exercise: true if it does the job.

`questions.toml` names these functions.
"""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganlib.config import replace
from ganlib.data import load
from ganlib.losses import hinge_discriminator_loss, relativistic_discriminator_loss
from ganlib.metrics import (
    load_classifier,
    precision_recall_density_coverage,
    score,
    subsample,
)
from ganlib.models import Discriminator
from ganlib.recipes import recipe
from ganlib.sampling import sample_images, sample_noise, sample_pixels
from ganlib.training import Record, TrainState, fit, new_state


def normalize_16_bits(answer: Callable[[Tensor], Tensor]) -> bool:
    """2.3: a function that brings 0..65535 to -1..1."""
    pixels = torch.tensor([0, 16_384, 65_535], dtype=torch.int32)
    right = torch.tensor([-1.0, 16_384 / 32_767.5 - 1, 1.0])
    return torch.allclose(answer(pixels).float(), right, rtol=0, atol=1e-5)


def leaky_relu(answer: Callable[[Tensor], Tensor]) -> bool:
    """4.3: a function with the values and slopes of leaky ReLU, but for x = 0."""

    def value_and_slope(activation: Callable[[Tensor], Tensor]) -> list[Tensor]:
        x = torch.linspace(-3, 3, 10, requires_grad=True)
        value = activation(x)
        return [value, *torch.autograd.grad(value.sum(), x)]

    mine, theirs = value_and_slope(answer), value_and_slope(nn.LeakyReLU(0.2))
    return all(map(torch.allclose, mine, theirs))


@torch.no_grad()
def one_linear_layer(answer: Callable[[nn.Module], Tensor]) -> bool:
    """6.3: a function of a D that makes one linear layer of its three."""
    D = Discriminator()
    three = nn.Sequential(D.layers[1], D.layers[4], D.layers[7])
    images = torch.linspace(-1, 1, 3 * 784).sin().view(3, 784)
    try:
        mine = images @ answer(D).T
    except RuntimeError:  # matrices that do not fit
        return False
    theirs = three(images) - three(torch.zeros(1, 784))
    return mine.shape == theirs.shape and torch.allclose(mine, theirs, atol=1e-4)


def hinge_loss(answer: Callable[[Tensor, Tensor], Tensor]) -> bool:
    """7.3: a loss of real and fake logits with the values and gradients of ganlib's."""
    return _same_loss(answer, hinge_discriminator_loss, fakes=7)


def relativistic_loss(answer: Callable[[Tensor, Tensor], Tensor]) -> bool:
    """22.2: the same, for the loss that compares pairs."""
    return _same_loss(answer, relativistic_discriminator_loss, fakes=8)


def _same_loss(
    answer: Callable[[Tensor, Tensor], Tensor],
    right: Callable[[Tensor, Tensor], Tensor],
    fakes: int,
) -> bool:
    """Whether two losses of 8 real and some fake logits have the same gradients."""

    def value_and_gradients(loss: Callable[[Tensor, Tensor], Tensor]) -> list[Tensor]:
        real = torch.linspace(-3, 3, 8, requires_grad=True)
        fake = torch.linspace(-2.5, 3, fakes, requires_grad=True)
        value = loss(real, fake)
        return [value, *torch.autograd.grad(value, (real, fake))]

    mine, theirs = map(value_and_gradients, (answer, right))
    return all(map(torch.allclose, mine, theirs))


def run_without_average(answer: TrainState) -> bool:
    """8.3: textbook-tuned on digits for two epochs without an average of G."""
    usual = recipe("textbook-tuned", dataset="digits", epochs=2)
    if answer.config != replace(usual, ema_decay=0.0) or len(answer.history) != 2:
        return False
    other = new_state(usual)
    list(fit(other, load("digits").pixels))
    return answer.history[-1][1:6] == other.history[-1][1:6]


def coverage(answer: Callable[[Tensor, Tensor], Tensor]) -> bool:
    """11.3: a function of real and generated points with the coverage of ganlib."""
    source = torch.Generator().manual_seed(0)
    real = torch.randn(60, 3, generator=source)
    fake = 0.5 * torch.randn(40, 3, generator=source) + 0.5
    right = precision_recall_density_coverage(real, fake)["coverage"]
    return abs(float(answer(real, fake)) - right) < 1e-6


@torch.no_grad()
def collapsed_run(answer: TrainState) -> bool:
    """12.2: most samples are one digit, and D's learning rate is as it was."""
    asked = recipe("textbook-tuned", ema_decay=0.0, epochs=2)
    changed = [
        name
        for name, value in vars(asked).items()
        if getattr(answer.config, name) != value
    ]
    if len(changed) != 1 or changed == ["learning_rate_d"]:
        return False
    images = sample_images(answer.G, sample_noise(2_000, asked.latent_dim, seed=1))
    digits = load_classifier("mnist")(images).argmax(dim=1)
    return len(answer.history) == 2 and digits.bincount().max() > 1_600


def twin(answer: Callable[[TrainState], TrainState]) -> bool:
    """13.2: a function that copies a run: both go on alike and apart."""
    pixels = load("digits").pixels
    config = recipe("textbook-tuned", dataset="digits", epochs=2)
    straight, first = new_state(config), new_state(replace(config, epochs=1))
    list(fit(straight, pixels))
    list(fit(first, pixels))
    first.config = config
    second = answer(first)
    list(fit(second, pixels))
    list(fit(first, pixels))
    return all(same_weights(run, straight) for run in (first, second))


def same_weights(one: TrainState, other: TrainState) -> bool:
    """Whether the networks of two runs, their averages too, have equal weights."""
    return all(
        torch.equal(mine, yours)
        for name in ("G", "D", "G_ema")
        for mine, yours in zip(
            getattr(one, name).parameters(),
            getattr(other, name).parameters(),
            strict=True,
        )
    )


def extra_files(answer: Callable[[Path, set[str]], set[str]]) -> bool:
    """14.1: a function that finds a secret in a subfolder of a copy."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        for name in ("page.ipynb", "run/history.csv", "run/secret.json", ".git/HEAD"):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).touch()
        found = answer(copy, {"page.ipynb", "run/history.csv", "run/samples.png"})
    return set(found) == {"run/secret.json"}


def flat_discriminator(answer: TrainState) -> bool:
    """15.1: fashion-mnist's recipe on digits, its penalty at 100, for ten epochs."""
    asked = recipe("fashion-mnist", dataset="digits", r1_weight=100.0, epochs=10)
    if answer.config != asked or len(answer.history) != asked.epochs:
        return False
    last = answer.history[-1]
    return last.d_real - last.d_fake_after < 0.02


def coverage_of_080(answer: TrainState) -> bool:
    """15.3: a run of at most 12 epochs of MNIST that covers 80 % of the test images."""
    if answer.config.dataset != "mnist" or not 1 <= len(answer.history) <= 12:
        return False
    test = subsample(load("mnist", train=False).pixels, 2_000)
    samples = sample_pixels(
        answer.sampling_generator, answer.config.latent_dim, count=2_000, seed=2
    )
    return score(load_classifier("mnist"), test, samples).coverage >= 0.80


def even_upsampling(answer: nn.ConvTranspose2d) -> bool:
    """17.2: a layer that doubles the side and reaches the pixels inside evenly."""
    shape: dict[str, Any] = {
        "kernel_size": answer.kernel_size,
        "stride": answer.stride,
        "padding": answer.padding,
        "output_padding": answer.output_padding,
    }
    layer = nn.ConvTranspose2d(1, 1, **shape, bias=False)
    nn.init.ones_(layer.weight)
    reached = layer(torch.ones(1, 1, 8, 8))
    inside = reached[..., 2:-2, 2:-2]
    return reached.shape[-2:] == (16, 16) and bool((inside == inside[0, 0, 0, 0]).all())


def winner(answer: Callable[[Sequence[Record]], bool]) -> bool:
    """19.3: a function of a history that is true when D has won for three epochs."""
    even = Record(1, 1.0, 1.0, 0.7, 0.3, 0.3, 100, 1.0)
    won = Record(2, 0.1, 6.0, 0.97, 0.02, 0.02, 200, 2.0)
    runs = {
        (even,) * 5: False,
        (even, won, won, won): True,
        (even, even, won): False,
        (won, won): False,
        (won, won, even): False,
    }
    return all(bool(answer(list(run))) == right for run, right in runs.items())


def mean_gradient(answer: Callable[[Tensor, Tensor], Tensor]) -> bool:
    """21.2: the gradients of 10 and of 30 images, combined into that of all 40."""
    weight = torch.ones(3, requires_grad=True)
    images = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))

    def gradient(part: Tensor) -> Tensor:
        return torch.autograd.grad((part @ weight).square().mean(), weight)[0]

    combined = answer(gradient(images[:10]), gradient(images[10:]))
    return torch.allclose(combined, gradient(images), atol=1e-6)
