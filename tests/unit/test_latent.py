"""Into G and back: noise that is planted is found, and so are planted directions."""

import pytest
import torch
from torch import nn

from ganlib.latent import (
    attribute_direction,
    invert,
    principal_directions,
    project_out,
    slerp,
)
from ganlib.models import Generator
from ganlib.sampling import sample_noise


class LinearGenerator(nn.Module):
    """Noise (N, 3) -> images (N, 1, 2, 4); the last direction of noise does nothing."""

    def __init__(self):
        super().__init__()
        source = torch.Generator().manual_seed(0)
        columns = torch.linalg.qr(torch.randn(8, 3, generator=source)).Q
        self.weight = nn.Parameter(columns * torch.tensor([2.0, 1.0, 0.0]))

    def forward(self, z):
        return (z @ self.weight.T).view(-1, 1, 2, 4)


def test_the_noise_of_a_picture_is_found_where_the_generator_listens():
    G, true = LinearGenerator(), sample_noise(5, 3, seed=1)
    found = invert(G, G(true).detach(), 3, starts=2, steps=400, prior=0)
    torch.testing.assert_close(found.z[:, :2], true[:, :2], atol=1e-3, rtol=0)
    torch.testing.assert_close(found.images, G(true).detach(), atol=1e-3, rtol=0)
    assert (found.z[:, 2] - true[:, 2]).abs().min() > 0.01, "nothing tells it"


def test_the_prior_pulls_to_the_middle_as_far_as_the_formula_says():
    # Of the mean of 8 squares and 0.5 times the mean of 3: z_i is (w / (w + 0.5 * 8/3))
    # of the true one, w being the square of the i-th singular value; 0 if w is 0.
    G, true = LinearGenerator(), sample_noise(5, 3, seed=1)
    found = invert(G, G(true).detach(), 3, starts=2, steps=600, prior=0.5)
    squares = torch.tensor([4.0, 1.0, 0.0])
    wanted = true * squares / (squares + 0.5 * 8 / 3)
    torch.testing.assert_close(found.z, wanted, atol=1e-3, rtol=0)


class TwoValleys(nn.Module):
    """Noise (N, 1) -> (N, 1, 1, 1): a shallow valley at 2 and the true one at -2."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, z):
        return ((z**2 - 4) ** 2 / 16 + (z + 2) / 10).view(-1, 1, 1, 1)


def test_the_best_of_the_starts_is_taken():
    found = invert(TwoValleys(), torch.zeros(6, 1, 1, 1), 1, starts=8, prior=0)
    assert found.z_by_start.shape == (6, 8, 1) and found.losses.shape == (6, 8)
    assert found.losses.amax() > 0.01, "some starts end in the wrong valley"
    torch.testing.assert_close(found.z, torch.full((6, 1), -2.0), atol=0.1, rtol=0)


def test_pictures_do_not_change_each_other_and_the_generator_stays_as_it_was():
    G = Generator(4, 8, (1, 4, 4))
    before = {name: value.clone() for name, value in G.state_dict().items()}
    images = G(sample_noise(3, 4, seed=1)).detach()
    together = invert(G, images, 4, starts=1, steps=20)
    alone = invert(G, images[:1], 4, starts=1, steps=20)
    torch.testing.assert_close(together.z[:1], alone.z)
    assert all(torch.equal(before[name], G.state_dict()[name]) for name in before)
    assert G.training and all(one.requires_grad for one in G.parameters())
    assert not together.z.requires_grad and not together.images.requires_grad


@pytest.mark.parametrize(
    ("images", "changes", "words"),
    [
        (torch.zeros(2, 1, 5, 5), {}, ["shape (N, 1, 4, 4)", "(2, 1, 5, 5)"]),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), {}, ["floats", "torch.uint8"]),
        (torch.zeros(2, 1, 4, 4), {"starts": 0}, ["starts=0", "1 start"]),
        (torch.zeros(2, 1, 4, 4), {"prior": -1.0}, ["prior=-1.0", "from 0 on"]),
    ],
)
def test_invert_says_what_it_takes(images, changes, words, says):
    with says(*words):
        invert(Generator(4, 8, (1, 4, 4)), images, 4, **changes)


def test_the_direction_of_a_planted_attribute_is_found():
    planted = torch.tensor([0.6, 0.0, -0.8, 0.0])
    z = sample_noise(20_000, 4, seed=0)
    direction = attribute_direction(z, z @ planted > 0.7)
    assert direction.norm().item() == pytest.approx(1)
    assert (direction @ planted).item() > 0.999


@pytest.mark.parametrize(
    ("has", "words"),
    [
        (torch.zeros(5, dtype=torch.bool), ["0 of 5 images", "some without"]),
        (torch.ones(5, dtype=torch.bool), ["5 of 5 images"]),
        (torch.ones(4, dtype=torch.bool), ["(4,)", "bool of shape (5,)"]),
        (torch.ones(5), ["torch.float32", "bool"]),
    ],
)
def test_a_direction_needs_both_kinds(has, words, says):
    with says(*words):
        attribute_direction(sample_noise(5, 3, seed=0), has)


def test_what_is_left_of_a_direction_does_not_move_along_the_others(says):
    others = torch.tensor([[1.0, 0, 0, 0], [1, 1, 0, 0], [0, 2, 0, 0]])
    rest = project_out(torch.tensor([5.0, 7.0, 3.0, 4.0]), others)
    torch.testing.assert_close(rest, torch.tensor([0.0, 0.0, 0.6, 0.8]))
    with says("leave nothing", "fewer"):
        project_out(torch.tensor([2.0, -1.0, 0.0, 0.0]), others)


def test_a_walk_on_the_sphere_keeps_the_length_and_turns_evenly():
    start = torch.tensor([[3.0, 0.0, 0.0], [0.0, 0.0, 2.0]])
    end = torch.tensor([[0.0, 3.0, 0.0], [2.0, 0.0, 0.0]])
    third = slerp(start, end, 1 / 3)
    cosine, sine = 3**0.5 / 2, 0.5  # of 30 degrees
    wanted = torch.tensor([[3 * cosine, 3 * sine, 0], [2 * sine, 0, 2 * cosine]])
    torch.testing.assert_close(third, wanted)
    torch.testing.assert_close(slerp(start, end, 0.0), start)
    torch.testing.assert_close(slerp(start, end, 1.0), end)


def test_where_the_ends_differ_in_length_it_changes_evenly():
    start, end = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 4.0]])
    assert slerp(start, end, 0.25).norm().item() == pytest.approx(2.5)
    torch.testing.assert_close(slerp(start, 2 * start, 0.5), 1.5 * start)


def test_without_a_single_arc_there_is_no_walk(says):
    one = torch.tensor([[1.0, 2.0]])
    for end in (-one, 0 * one):
        with says("no single arc", "other noise"):
            slerp(one, end, 0.5)


def test_the_directions_are_in_the_order_in_which_the_generator_listens():
    rotation = torch.linalg.qr(sample_noise(3, 3, seed=2)).Q
    G = LinearGenerator()
    G.weight.data = G.weight.data @ rotation
    directions, stretches = principal_directions(G, sample_noise(4, 3, seed=3))
    torch.testing.assert_close(
        stretches, torch.tensor([2.0, 1.0, 0.0]), atol=1e-2, rtol=0
    )
    torch.testing.assert_close(
        (directions @ rotation.T).abs(), torch.eye(3), atol=1e-2, rtol=0
    )
