"""The courtroom: three losses and their gradients against the formulas of Goodfellow 2014, in float64."""

import math

import pytest
import torch

from ganlib.losses import discriminator_loss, generator_loss, r1_penalty, saturating_generator_loss

REAL = torch.tensor([-3.0, -0.4, 0.0, 1.7, 6.0, 0.3], dtype=torch.float64)
FAKE = torch.tensor([2.2, -5.0, 0.9, -0.1], dtype=torch.float64)  # another number of them, on purpose


def _sigmoid(x):
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize("label", [1.0, 0.9, 0.5])
def test_discriminator_loss_by_hand(label):
    real = [-label * math.log(_sigmoid(x)) - (1 - label) * math.log(1 - _sigmoid(x)) for x in REAL.tolist()]
    fake = [-math.log(1 - _sigmoid(x)) for x in FAKE.tolist()]
    by_hand = sum(real) / len(real) + sum(fake) / len(fake)
    assert discriminator_loss(REAL, FAKE, real_label=label).item() == pytest.approx(by_hand, rel=1e-12)


def test_the_real_label_is_one_unless_told():
    assert torch.equal(discriminator_loss(REAL, FAKE), discriminator_loss(REAL, FAKE, real_label=1.0))


def test_generator_losses_by_hand():
    values = FAKE.tolist()
    non_saturating = sum(-math.log(_sigmoid(x)) for x in values) / len(values)
    saturating = sum(math.log(1 - _sigmoid(x)) for x in values) / len(values)
    assert generator_loss(FAKE).item() == pytest.approx(non_saturating, rel=1e-12)
    assert saturating_generator_loss(FAKE).item() == pytest.approx(saturating, rel=1e-12)


@pytest.mark.parametrize("label", [1.0, 0.9])
def test_gradients_of_the_discriminator_loss(label):
    real, fake = REAL.clone().requires_grad_(), FAKE.clone().requires_grad_()
    discriminator_loss(real, fake, real_label=label).backward()
    torch.testing.assert_close(real.grad, (torch.sigmoid(REAL) - label) / len(REAL))
    torch.testing.assert_close(fake.grad, torch.sigmoid(FAKE) / len(FAKE))


def test_gradients_of_the_generator_losses():
    fake = FAKE.clone().requires_grad_()
    generator_loss(fake).backward()
    torch.testing.assert_close(fake.grad, (torch.sigmoid(FAKE) - 1) / len(FAKE))
    fake.grad = None
    saturating_generator_loss(fake).backward()
    torch.testing.assert_close(fake.grad, -torch.sigmoid(FAKE) / len(FAKE))


def test_when_d_wins_only_one_of_them_still_teaches_g():
    sure = torch.tensor([-10.0], dtype=torch.float64, requires_grad=True)
    generator_loss(sure).backward()
    strong, sure.grad = sure.grad, None
    saturating_generator_loss(sure).backward()
    assert abs(strong.item()) > 0.9999 and abs(sure.grad.item()) < 1e-4


def test_equilibrium():
    zeros = torch.zeros(5)
    assert discriminator_loss(zeros, zeros).item() == pytest.approx(math.log(4))
    assert generator_loss(zeros).item() == pytest.approx(math.log(2))
    assert saturating_generator_loss(zeros).item() == pytest.approx(-math.log(2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sure_logits_do_not_overflow(dtype):
    high = torch.full((3,), 1000.0, dtype=dtype)
    assert generator_loss(-high).item() == 1000
    assert saturating_generator_loss(high).item() == -1000
    assert discriminator_loss(-high, high).item() == 2000
    assert discriminator_loss(high, -high).item() == 0
    assert generator_loss(high).dtype == dtype


def test_smoothing_is_one_sided():
    sure = torch.tensor([50.0], dtype=torch.float64)
    assert discriminator_loss(sure, -sure, real_label=0.9).item() == pytest.approx(0.1 * 50)
    assert discriminator_loss(torch.tensor([math.log(9)]), -sure, real_label=0.9).item() == pytest.approx(
        -0.9 * math.log(0.9) - 0.1 * math.log(0.1)
    )
    fake = FAKE.clone().requires_grad_()
    discriminator_loss(REAL, fake, real_label=0.9).backward()
    torch.testing.assert_close(fake.grad, torch.sigmoid(FAKE) / len(FAKE))


def test_the_gradient_penalty_of_a_linear_d_is_half_its_squared_weights():
    weights = torch.tensor([1.0, -2.0, 3.0])
    real = torch.randn(5, 3, requires_grad=True)
    assert r1_penalty(real @ weights, real).item() == pytest.approx((1 + 4 + 9) / 2)


def test_the_gradient_penalty_of_a_quadratic_d_by_hand_and_its_own_gradient():
    real = torch.tensor([[1.0], [3.0]], requires_grad=True)
    scale = torch.tensor(2.0, requires_grad=True)
    penalty = r1_penalty((scale * real.square()).sum(dim=1), real)  # D'(x) = 2 scale x
    assert penalty.item() == pytest.approx(((2 * 2 * 1) ** 2 + (2 * 2 * 3) ** 2) / 2 / 2)
    penalty.backward()
    assert scale.grad.item() == pytest.approx(2 * penalty.item() / scale.item())
