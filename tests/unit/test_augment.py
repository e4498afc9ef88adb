"""Augmentations on planted images, and where in training D sees them."""

import pytest
import torch
from torch import nn

from ganlib.augment import (
    CONTROL_INTERVAL,
    adjust_strength,
    augment,
    augmented,
    controlled,
    random_color,
    random_cutout,
    random_flip,
    random_shift,
)
from ganlib.config import Config
from ganlib.training import TrainState, fit, new_state, penalty_step, train_step

CHANGES = {
    "random_flip": True,
    "augment_shift": 2,
    "augment_color": True,
    "augment_cutout": 0.5,
}
FUNCTIONS = {
    "flip": random_flip,
    "shift": lambda images: random_shift(images, 2),
    "color": random_color,
    "cutout": lambda images: random_cutout(images, 0.5),
}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def numbered(count, size=8, channels=2):
    """Images whose pixels all differ, none of them -1 or 0."""
    values = torch.linspace(0.1, 0.9, count * channels * size * size)
    return values.view(count, channels, size, size)


# --- each function --------------------------------------------------------------------


def test_a_flip_mirrors_whole_images_and_half_of_them():
    images = numbered(1000, size=5)
    flipped = random_flip(images)
    same = (flipped == images).flatten(1).all(dim=1)
    mirrored = (flipped == images[..., [4, 3, 2, 1, 0]]).flatten(1).all(dim=1)
    assert (same ^ mirrored).all()
    assert 430 < mirrored.sum() < 570


def slow_shift(image, down, right):
    """`image` (C, H, W) moved on a ground of -1, pixel by pixel."""
    moved = torch.full_like(image, -1.0)
    _, height, width = image.shape
    for row in range(height):
        for column in range(width):
            if 0 <= row - down < height and 0 <= column - right < width:
                moved[:, row, column] = image[:, row - down, column - right]
    return moved


def test_a_shift_moves_the_image_on_a_ground_of_minus_one():
    """Each result is that of a slow loop, for one shift of the nine within a pixel."""
    images = numbered(150, size=4)
    shifted = random_shift(images, 1)
    ways = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    seen = set()
    for image, result in zip(images, shifted, strict=True):
        fits = [way for way in ways if torch.equal(result, slow_shift(image, *way))]
        assert len(fits) == 1
        seen.update(fits)
    assert seen == set(ways), "every shift occurs, standing still among them"


def test_a_large_shift_stays_within_its_limit():
    images = torch.full((500, 1, 8, 8), -1.0)
    images[:, :, 4, 4] = 1.0
    shifted = random_shift(images, 3)
    rows, columns = (shifted[:, 0] == 1).nonzero()[:, 1:].unbind(1)
    assert len(rows) == 500, "a pixel in the middle is never lost"
    assert sorted(set(rows.tolist())) == sorted(set(columns.tolist())) == [*range(1, 8)]


def test_a_shift_of_images_that_are_wider_than_high():
    images = numbered(20, size=6)[:, :, :4]
    ways = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    for image, result in zip(images, random_shift(images, 1), strict=True):
        assert any(torch.equal(result, slow_shift(image, *way)) for way in ways)


def test_cutout_hides_a_square_of_the_right_side():
    images = torch.ones(500, 2, 12, 12)
    hidden = random_cutout(images, 0.5) == 0
    assert torch.equal(hidden[:, 0], hidden[:, 1]), "the same square in each channel"
    rows, columns = hidden[:, 0].any(dim=2), hidden[:, 0].any(dim=1)
    assert torch.equal(hidden[:, 0], rows[:, :, None] & columns[:, None, :])
    heights, widths = rows.sum(dim=1), columns.sum(dim=1)
    assert heights.max() == widths.max() == 6, "half of 12; less only at the border"
    inside = rows[:, 1:-1].any(dim=1) & ~rows[:, 0] & ~rows[:, -1]
    assert (heights[inside] == 6).all()


def test_cutout_leaves_the_rest_as_it_was():
    images = numbered(50)
    result = random_cutout(images, 0.4)
    assert torch.equal(result[result != 0], images[result != 0])
    assert (result == 0).any() and (result != 0).any()


def test_cutout_reaches_every_pixel():
    hidden = random_cutout(torch.ones(2000, 1, 8, 8), 0.25) == 0
    assert hidden.any(dim=0).all()


def spread(images):
    """Differences of each pixel from the mean of its image."""
    return images - images.mean(dim=(1, 2, 3), keepdim=True)


def test_brightness_moves_each_image_by_up_to_a_half():
    grey = torch.zeros(400, 1, 2, 2)
    changed = random_color(grey)
    assert changed.shape == grey.shape
    assert (changed == changed[:, :, :1, :1]).all(), "a flat image stays flat"
    moves = changed[:, 0, 0, 0]
    assert -0.5 <= moves.min() < -0.4 and 0.4 < moves.max() <= 0.5
    assert len(moves.unique()) > 390, "each image has its own"


def test_contrast_multiplies_each_image_by_a_half_to_one_and_a_half():
    images = torch.randn(400, 1, 3, 3, dtype=torch.float64)
    factors = (spread(random_color(images)) / spread(images)).flatten(1)
    assert torch.allclose(factors, factors[:, :1]), "one factor for a whole image"
    assert 0.5 <= factors.min() < 0.55 and 1.45 < factors.max() <= 1.5


def test_saturation_multiplies_the_distance_from_grey_by_up_to_two():
    images = torch.randn(400, 3, 3, 3, dtype=torch.float64)
    changed = random_color(images)
    greys = images.mean(dim=1, keepdim=True)
    new_greys = changed.mean(dim=1, keepdim=True)
    contrasts = (spread(new_greys) / spread(greys)).flatten(1)[:, 0]
    colours = ((changed - new_greys) / (images - greys)).flatten(1)
    assert torch.allclose(colours, colours[:, :1])
    saturations = colours[:, 0] / contrasts
    assert -1e-9 <= saturations.min() < 0.1 and 1.9 < saturations.max() <= 2 + 1e-9


@pytest.mark.parametrize("name", FUNCTIONS)
def test_it_leaves_its_argument_and_follows_the_global_seed(name):
    images = numbered(30)
    before = images.clone()
    torch.manual_seed(5)
    one, other = FUNCTIONS[name](images), FUNCTIONS[name](images)
    torch.manual_seed(5)
    assert torch.equal(FUNCTIONS[name](images), one)
    assert not torch.equal(one, other)
    assert torch.equal(images, before)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_flow_through_it_twice(name):
    """G learns through the first derivative; R1 trains D through the second."""
    images = torch.rand(3, 1, 4, 4, dtype=torch.float64, requires_grad=True)

    def cubed(values):
        torch.manual_seed(1)  # the same change at each evaluation
        return FUNCTIONS[name](values) ** 3

    assert torch.autograd.gradcheck(cubed, images)
    assert torch.autograd.gradgradcheck(cubed, images)


# --- what the config asks for ---------------------------------------------------------


def test_nothing_is_changed_unasked():
    images, D = numbered(5), nn.Flatten()
    assert augment(images, Config()) is images
    assert augmented(D, Config()) is D


@pytest.mark.parametrize("name", CHANGES)
def test_each_field_switches_its_change_on(name):
    images = numbered(40, channels=1)
    config = Config(**{name: CHANGES[name]})
    changed = augment(images, config)
    assert changed.shape == images.shape and not torch.equal(changed, images)
    D = nn.Flatten()
    torch.manual_seed(1)
    logits = augmented(D, config)(images)
    torch.manual_seed(1)
    assert torch.equal(logits, augment(images, config).flatten(1))


# --- in training ----------------------------------------------------------------------


class ConstantGenerator(nn.Module):
    """A G that draws the same value everywhere."""

    def __init__(self, value=0.5):
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self, z):
        return self.value.expand(len(z), 1, 8, 8)


class RecordingDiscriminator(nn.Module):
    """A D that keeps what it sees."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.1))
        self.seen = []

    def forward(self, images):
        self.seen.append(images.detach().clone())
        return self.scale * images.square().sum(dim=(1, 2, 3))


def seen_by_d(**changes):
    """What D sees of images of ones and of a G that draws 0.5, in order."""
    config = Config(image_size=8, r1_weight=1.0, r2_weight=1.0, **changes)
    G, D = ConstantGenerator(), RecordingDiscriminator()
    optimizers = [torch.optim.SGD(part.parameters(), lr=0.0) for part in (G, D)]
    state = TrainState(config, G, D, *optimizers)
    train_step(state, torch.ones(40, 1, 8, 8))
    penalty_step(state, torch.ones(40, 1, 8, 8))
    return D.seen


def test_d_sees_real_and_generated_images_changed_alike():
    """In its own turn, in G's, and in both penalties."""
    seen = seen_by_d(augment_cutout=0.5)
    assert [images.max().item() for images in seen] == [1.0, 0.5, 0.5, 1.0, 0.5]
    for images in seen:
        kept = images.amax(dim=(1, 2, 3), keepdim=True)
        hidden = images == 0
        assert ((images == kept) | hidden).all(), "a square of 0, the rest as it was"
        shares = hidden.float().mean(dim=(1, 2, 3))
        assert shares.min() > 0 and shares.max() == 0.25
    assert not torch.equal(seen[0] == 0, seen[1] == 0), (
        "each call draws its own squares"
    )


def test_d_sees_images_as_they_are_unless_told():
    values = [images.unique().tolist() for images in seen_by_d()]
    assert values == [[1.0], [0.5], [0.5], [1.0], [0.5]]


def test_the_weights_of_d_show_no_trace_of_augmentation(small, changed):
    plain, other = new_state(small), new_state(changed(small, **CHANGES))
    train_step(other, torch.zeros(6, 1, 4, 4))
    assert list(other.D.state_dict()) == list(plain.D.state_dict())
    assert type(other.D) is type(plain.D)


# --- the controller of the strength ---------------------------------------------------


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
def test_the_strength_is_the_share_of_images_that_are_changed(name, strength):
    images = torch.rand(3000, 1, 8, 8) * 0.9 + 0.05
    config = Config(image_size=8, **{name: CHANGES[name]})
    changed, always = augment(images, config, torch.tensor(strength)), None
    share = (changed != images).flatten(1).any(dim=1).float().mean().item()
    always = (augment(images, config) != images).flatten(1).any(dim=1).float().mean()
    assert share == pytest.approx(strength * always.item(), abs=0.04)
    assert strength or torch.equal(changed, images)


def test_each_change_is_drawn_apart():
    images = torch.full((2000, 1, 8, 8), 0.5)
    config = Config(image_size=8, augment_color=True, augment_cutout=0.5)
    changed = augment(images, config, torch.tensor(0.5)).flatten(1)
    hole = (changed == 0).any(dim=1)
    colour = ((changed != 0) & (changed != 0.5)).any(dim=1)
    for first, second in ((hole, colour), (hole, ~colour), (~hole, colour)):
        assert (first & second).float().mean().item() == pytest.approx(0.25, abs=0.04)


class Sure(nn.Module):
    """A D that gives every image the same logit."""

    def __init__(self, logit):
        super().__init__()
        self.logit = nn.Parameter(torch.tensor(logit))

    def forward(self, images):
        return self.logit.expand(len(images))


def controlled_state(logit, *, strength=0.5, ramp=100):
    config = Config(augment_shift=1, augment_target=0.6, augment_ramp=ramp)
    D = Sure(logit)
    optimizers = [torch.optim.SGD(D.parameters(), lr=0.0)] * 2
    state = TrainState(config, ConstantGenerator(), D, *optimizers)
    state.augment_strength = torch.tensor(strength)
    return state


@pytest.mark.parametrize(
    ("logit", "after"),
    [(3.0, 0.6), (-3.0, 0.4)],
    ids=["always right", "always wrong"],
)
def test_it_goes_up_where_d_is_always_right_and_else_down(logit, after):
    """Ten images, four steps, a ramp of 400 images: a tenth of the way."""
    state = controlled_state(logit, ramp=400)
    adjust_strength(state, torch.ones(10, 1, 8, 8))
    assert state.augment_strength.item() == pytest.approx(after)


def test_it_stays_where_d_hits_the_target():
    """Eight of ten right: a mean sign of 0.6."""
    state = controlled_state(1.0)
    state.D.forward = lambda images: torch.tensor([1.0] * 8 + [-1.0] * 2)
    adjust_strength(state, torch.ones(10, 1, 8, 8))
    assert state.augment_strength.item() == 0.5


@pytest.mark.parametrize(("logit", "end"), [(3.0, 1.0), (-3.0, 0.0)])
def test_it_never_leaves_0_to_1(logit, end):
    state = controlled_state(logit, ramp=90)
    for _ in range(5):
        adjust_strength(state, torch.ones(10, 1, 8, 8))
        assert 0 <= state.augment_strength.item() <= 1
    assert state.augment_strength.item() == end


def test_it_looks_at_changed_images():
    """A D that takes only unchanged images for real lowers a strength of 1."""
    state = controlled_state(1.0, strength=1.0)
    state.D.forward = lambda images: images.amin(dim=(1, 2, 3)) - 0.5
    images = torch.ones(900, 1, 8, 8)  # of nine shifts one leaves them as they are
    adjust_strength(state, images)
    assert state.augment_strength.item() == 0, "3600 images, and a ramp of 100"
    adjust_strength(state, images)
    assert state.augment_strength.item() == 1, "now none is changed, and all are real"


def test_it_moves_after_every_fourth_turn_and_leaves_the_turn_alone():
    state, moves = controlled_state(3.0, strength=0.0, ramp=400), []
    turn = controlled(lambda state, real: real.sum())
    for _ in range(2 * CONTROL_INTERVAL):
        assert turn(state, torch.ones(10, 1, 8, 8)).item() == 640
        state.step += 1
        moves.append(round(state.augment_strength.item(), 3))
    assert moves == [0.0, 0.0, 0.0, 0.1, 0.1, 0.1, 0.1, 0.2]


def test_a_run_begins_with_no_image_changed_and_fit_moves_it(small, changed, pixels):
    control = {"augment_shift": 1, "augment_target": 0.01, "augment_ramp": 1000}
    state = new_state(changed(small, **control))
    assert state.augment_strength.item() == 0
    list(fit(state, pixels))
    moves = state.augment_strength.item() * 1000 / (CONTROL_INTERVAL * 10)
    assert moves == pytest.approx(round(moves)) and 0 <= moves <= 2
    assert new_state(small).augment_strength is None
