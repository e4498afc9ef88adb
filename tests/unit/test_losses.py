"""Losses and penalties against the formulas of their papers, by hand and in float64."""

import math

import pytest
import torch

from ganlib.losses import (
    LOSSES,
    discriminator_loss,
    generator_loss,
    gradient_penalty,
    hinge_discriminator_loss,
    hinge_generator_loss,
    least_squares_discriminator_loss,
    least_squares_generator_loss,
    r1_penalty,
    relativistic_discriminator_loss,
    relativistic_generator_loss,
    saturating_generator_loss,
    wasserstein_discriminator_loss,
)

REAL = torch.tensor([-3.0, -0.4, 0.0, 1.7, 6.0, 0.3], dtype=torch.float64)
FAKE = torch.tensor([2.2, -5.0, 0.9, -0.1], dtype=torch.float64)  # fewer, on purpose


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def mean(values):
    return sum(values) / len(values)


# --- values ---------------------------------------------------------------------------


@pytest.mark.parametrize("label", [1.0, 0.9, 0.5])
def test_discriminator_loss_by_hand(label):
    real = [
        -label * math.log(sigmoid(x)) - (1 - label) * math.log(1 - sigmoid(x))
        for x in REAL.tolist()
    ]
    fake = [-math.log(1 - sigmoid(x)) for x in FAKE.tolist()]
    loss = discriminator_loss(REAL, FAKE, real_label=label)
    assert loss.item() == pytest.approx(mean(real) + mean(fake), rel=1e-12)


def test_the_real_label_is_one_unless_told():
    expected = discriminator_loss(REAL, FAKE, real_label=1.0)
    assert torch.equal(discriminator_loss(REAL, FAKE), expected)


def test_nonsaturating_generator_loss_by_hand():
    by_hand = mean([-math.log(sigmoid(x)) for x in FAKE.tolist()])
    assert generator_loss(FAKE).item() == pytest.approx(by_hand, rel=1e-12)


def test_saturating_generator_loss_by_hand():
    by_hand = mean([math.log(1 - sigmoid(x)) for x in FAKE.tolist()])
    loss = saturating_generator_loss(FAKE)
    assert loss.item() == pytest.approx(by_hand, rel=1e-12)


def test_hinge_losses_by_hand():
    # 1 - x for x below 1: 4, 1.4, 1, 0.7; 1 + x for x above -1: 3.2, 1.9, 0.9.
    by_hand = (4 + 1.4 + 1 + 0.7) / 6 + (3.2 + 1.9 + 0.9) / 4
    loss = hinge_discriminator_loss(REAL, FAKE)
    assert loss.item() == pytest.approx(by_hand, rel=1e-12)
    by_hand = -(2.2 - 5.0 + 0.9 - 0.1) / 4
    assert hinge_generator_loss(FAKE).item() == pytest.approx(by_hand, rel=1e-12)


def test_least_squares_losses_by_hand():
    # (x - 1)²: 16, 1.96, 1, 0.49, 25, 0.49; x² of the generated: 4.84, 25, 0.81, 0.01.
    by_hand = 44.94 / 6 / 2 + 30.66 / 4 / 2
    loss = least_squares_discriminator_loss(REAL, FAKE)
    assert loss.item() == pytest.approx(by_hand, rel=1e-12)
    by_hand = (1.2**2 + 6**2 + 0.1**2 + 1.1**2) / 4 / 2
    loss = least_squares_generator_loss(FAKE)
    assert loss.item() == pytest.approx(by_hand, rel=1e-12)


def test_wasserstein_loss_by_hand():
    by_hand = (2.2 - 5.0 + 0.9 - 0.1) / 4 - (-3.0 - 0.4 + 1.7 + 6.0 + 0.3) / 6
    loss = wasserstein_discriminator_loss(REAL, FAKE)
    assert loss.item() == pytest.approx(by_hand, rel=1e-12)


def test_relativistic_losses_compare_pairs():
    """Adding a number to all logits changes nothing: only differences count."""
    real, fake = REAL[:4], FAKE
    pairs = list(zip(real.tolist(), fake.tolist(), strict=True))
    by_hand = mean([-math.log(sigmoid(x - y)) for x, y in pairs])
    for shift in (0, 7):
        loss = relativistic_discriminator_loss(real + shift, fake + shift)
        assert loss.item() == pytest.approx(by_hand, rel=1e-12)
    by_hand = mean([-math.log(sigmoid(y - x)) for x, y in pairs])
    loss = relativistic_generator_loss(fake, real)
    assert loss.item() == pytest.approx(by_hand, rel=1e-12)


def test_an_undecided_discriminator():
    zeros = torch.zeros(5)
    assert discriminator_loss(zeros, zeros).item() == pytest.approx(math.log(4))
    assert generator_loss(zeros).item() == pytest.approx(math.log(2))
    assert saturating_generator_loss(zeros).item() == pytest.approx(-math.log(2))
    assert hinge_discriminator_loss(zeros, zeros).item() == 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_confident_logits_do_not_overflow(dtype):
    high = torch.full((3,), 1000.0, dtype=dtype)
    assert generator_loss(-high).item() == 1000
    assert saturating_generator_loss(high).item() == -1000
    assert discriminator_loss(-high, high).item() == 2000
    assert discriminator_loss(high, -high).item() == 0


# --- gradients ------------------------------------------------------------------------


@pytest.mark.parametrize("label", [1.0, 0.9])
def test_gradients_of_the_discriminator_loss(label):
    """Smoothing is one-sided: the label of generated images stays 0."""
    real, fake = REAL.clone().requires_grad_(), FAKE.clone().requires_grad_()
    discriminator_loss(real, fake, real_label=label).backward()
    torch.testing.assert_close(real.grad, (torch.sigmoid(REAL) - label) / len(REAL))
    torch.testing.assert_close(fake.grad, torch.sigmoid(FAKE) / len(FAKE))


def test_gradients_of_the_generator_losses():
    expected = {
        generator_loss: (torch.sigmoid(FAKE) - 1) / len(FAKE),
        saturating_generator_loss: -torch.sigmoid(FAKE) / len(FAKE),
        hinge_generator_loss: torch.full_like(FAKE, -1 / len(FAKE)),
        least_squares_generator_loss: (FAKE - 1) / len(FAKE),
    }
    for loss, gradient in expected.items():
        fake = FAKE.clone().requires_grad_()
        loss(fake).backward()
        torch.testing.assert_close(fake.grad, gradient)


def test_hinge_loss_teaches_nothing_beyond_the_margin():
    real, fake = REAL.clone().requires_grad_(), FAKE.clone().requires_grad_()
    hinge_discriminator_loss(real, fake).backward()
    torch.testing.assert_close(real.grad, -(REAL < 1).double() / len(REAL))
    torch.testing.assert_close(fake.grad, (FAKE > -1).double() / len(FAKE))


def test_smoothing_punishes_overconfidence():
    sure = torch.tensor([50.0], dtype=torch.float64)
    loss = discriminator_loss(sure, -sure, real_label=0.9)
    assert loss.item() == pytest.approx(0.1 * 50)
    best = torch.tensor([math.log(9)], dtype=torch.float64)  # sigmoid(log 9) is 0.9
    loss = discriminator_loss(best, -sure, real_label=0.9)
    assert loss.item() == pytest.approx(-0.9 * math.log(0.9) - 0.1 * math.log(0.1))


# --- the choice -----------------------------------------------------------------------


def test_the_names_mean_what_the_papers_call_so():
    assert LOSSES["nonsaturating"] == (discriminator_loss, generator_loss)
    assert LOSSES["saturating"] == (discriminator_loss, saturating_generator_loss)
    assert LOSSES["hinge"] == (hinge_discriminator_loss, hinge_generator_loss)
    assert LOSSES["least-squares"] == (
        least_squares_discriminator_loss,
        least_squares_generator_loss,
    )
    # Gulrajani 2017: G's loss is -D(G(z)), as hinge's is.
    assert LOSSES["wasserstein"] == (
        wasserstein_discriminator_loss,
        hinge_generator_loss,
    )
    assert LOSSES["relativistic"] == (
        relativistic_discriminator_loss,
        relativistic_generator_loss,
    )


# --- R1 -------------------------------------------------------------------------------


def test_r1_of_a_linear_discriminator_is_half_its_squared_weights():
    weights = torch.tensor([1.0, -2.0, 3.0])
    images = torch.randn(5, 3, requires_grad=True)
    penalty = r1_penalty(images @ weights, images)
    assert penalty.item() == pytest.approx((1 + 4 + 9) / 2)


def test_r1_of_a_quadratic_discriminator_and_its_own_gradient():
    images = torch.tensor([[1.0], [3.0]], requires_grad=True)
    scale = torch.tensor(2.0, requires_grad=True)
    logits = (scale * images.square()).sum(dim=1)  # D'(x) = 2 scale x: 4 and 12
    penalty = r1_penalty(logits, images)
    assert penalty.item() == pytest.approx((4**2 + 12**2) / 2 / 2)
    penalty.backward()
    assert scale.grad.item() == pytest.approx(2 * penalty.item() / scale.item())


def test_r1_of_pictures_adds_up_all_channels_and_pixels():
    weights = torch.randn(2, 3, 3, dtype=torch.float64)
    images = torch.randn(7, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    logits = (images * weights).sum(dim=(1, 2, 3))
    by_hand = sum(value**2 for value in weights.flatten().tolist()) / 2
    assert r1_penalty(logits, images).item() == pytest.approx(by_hand)


# --- the gradient penalty -------------------------------------------------------------


def test_gradient_penalty_of_a_linear_discriminator():
    """Its slope is the length of its weights everywhere, here 5: (5 - 1)²."""
    images = torch.randn(6, 2, requires_grad=True)
    penalty = gradient_penalty(images @ torch.tensor([3.0, 4.0]), images)
    assert penalty.item() == pytest.approx(16)


def test_gradient_penalty_is_of_each_image_and_grows_on_both_sides_of_one():
    images = torch.tensor([[0.25], [1.5]], requires_grad=True)
    logits = images.square().sum(dim=1)  # slopes 0.5 and 3
    by_hand = (0.5**2 + 2**2) / 2
    assert gradient_penalty(logits, images).item() == pytest.approx(by_hand)
