"""Picture to picture: planted pictures and maps whose answers are known."""

import pytest
import torch
from torch import nn
from torch.nn.functional import avg_pool2d, interpolate

from experiments import translation
from experiments.translation import (
    FACTORS,
    drawn_twice,
    high_power,
    judge_change,
    judge_drawings,
)
from ganlib.errors import GanlibError
from ganlib.translation import (
    PatchDiscriminator,
    ResidualTranslator,
    UNet,
    cycle_loss,
    cyclegan_step,
    new_cyclegan,
    outline,
    pix2pix_step,
)

SIDE = 16


class Scaled(nn.Module):
    """Pictures times a number that can be learned."""

    def __init__(self, factor):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, images):
        return self.factor * images


def pictures(count, channels=3, seed=0):
    source = torch.Generator().manual_seed(seed)
    return torch.rand(count, channels, SIDE, SIDE, generator=source) * 2 - 1


def adam(network, rate=1e-2):
    return torch.optim.Adam(network.parameters(), rate)


def weights(network):
    return [weight.detach().clone() for weight in network.parameters()]


def moved(network, before):
    return not all(map(torch.equal, weights(network), before))


# Outlines


def test_the_outline_of_a_square_is_its_edge():
    image = torch.full((1, 3, 8, 8), -1.0)
    image[..., 2:5, 3:6] = 1.0
    lines = outline(image)[0, 0] < 0
    inside = torch.zeros(8, 8, dtype=torch.bool)
    inside[2:5, 3:6] = True
    right = inside.roll(-1, dims=1) != inside
    below = inside.roll(-1, dims=0) != inside
    assert torch.equal(lines, right | below)


def test_a_flat_picture_has_no_outline_and_noise_has_only_two_values():
    assert (outline(torch.full((2, 3, 8, 8), 0.3)) == 1).all()
    assert set(outline(pictures(2)).unique().tolist()) == {-1.0, 1.0}


def test_the_threshold_is_a_step_of_luminance():
    image = torch.zeros(1, 3, 8, 8)
    image[..., 4:] = 0.4
    assert (outline(image, threshold=0.39) < 0).any()
    assert (outline(image, threshold=0.41) > 0).all()


def test_colours_of_one_luminance_have_no_line_between_them():
    image = torch.zeros(1, 3, 8, 8)
    image[:, 0, :, 4:], image[:, 1, :, 4:] = 0.587, -0.299
    assert (outline(image) > 0).all()


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(1, 1, 8, 8),
        torch.zeros(3, 8, 8),
        torch.zeros(1, 3, 8, 8, dtype=torch.uint8),
    ],
)
def test_what_is_not_in_colour_has_no_outline(images):
    with pytest.raises(GanlibError, match="must be floats"):
        outline(images)


# Networks


def test_a_translator_that_adds_its_input_begins_as_the_identity():
    images = pictures(2)
    assert torch.equal(ResidualTranslator()(images), images)
    drawn = ResidualTranslator(adds_input=False)(images)
    assert drawn.shape == images.shape and not torch.equal(drawn, images)
    assert drawn.abs().max() <= 1


def test_a_unet_keeps_the_size_and_uses_every_path():
    network = UNet(1, 3, 8)
    drawn = network(pictures(2, channels=1))
    assert drawn.shape == (2, 3, SIDE, SIDE) and drawn.abs().max() <= 1
    drawn.sum().backward()
    assert all(weight.grad.abs().sum() > 0 for weight in network.parameters())


def reached(D, side=64):
    """The pixels that one logit in the middle depends on, as height and width."""
    images = pictures(1).new_zeros(1, 3, side, side).normal_().requires_grad_()
    logits = D(images)
    logits[0, side // 8, side // 8].backward()
    rows, columns = images.grad.abs().sum(dim=(0, 1)).nonzero().T
    return (rows.max() - rows.min() + 1).item(), (
        columns.max() - columns.min() + 1
    ).item()


def test_a_logit_judges_18_by_18_pixels():
    torch.manual_seed(0)
    D = PatchDiscriminator(3, 4)
    for at, layer in enumerate(D.layers):
        if isinstance(layer, nn.InstanceNorm2d):
            D.layers[at] = nn.Identity()
    assert reached(D) == (18, 18)


def test_through_instancenorm_a_logit_hears_of_the_whole_picture():
    torch.manual_seed(0)
    assert min(reached(PatchDiscriminator(3, 4))) > 60


def test_d_has_a_logit_for_each_four_pixels():
    assert PatchDiscriminator(4)(torch.zeros(2, 4, 32, 24)).shape == (2, 8, 6)


@pytest.mark.parametrize(
    ("network", "shape", "wanted"),
    [
        (UNet(), (1, 1, 16, 16), r"\(N, 3, H, W\)"),
        (UNet(), (1, 3, 20, 16), "8 divides"),
        (ResidualTranslator(), (1, 3, 15, 16), "2 divides"),
        (PatchDiscriminator(4), (1, 3, 16, 16), r"\(N, 4, H, W\)"),
        (PatchDiscriminator(), (1, 3, 18, 16), "4 divides"),
    ],
)
def test_pictures_that_do_not_fit_are_refused(network, shape, wanted):
    with pytest.raises(GanlibError, match=wanted):
        network(torch.zeros(shape))


# Training with pairs


def test_l1_alone_learns_the_planted_factor_and_leaves_d_alone():
    torch.manual_seed(0)
    G, D = Scaled(0.0), PatchDiscriminator(6, 4)
    before, source = weights(D), pictures(4)
    optimizers = adam(G, 0.05), adam(D)
    for _ in range(100):
        losses = pix2pix_step(G, D, *optimizers, source, source / 2, gan_weight=0)
    assert G.factor.item() == pytest.approx(0.5, abs=0.05)
    assert not moved(D, before) and losses[:2].tolist() == [0, 0]


def test_with_a_gan_d_judges_pairs_and_both_learn():
    torch.manual_seed(0)
    G, D = Scaled(0.2), PatchDiscriminator(6, 4)
    before = weights(D)
    losses = pix2pix_step(
        G, D, adam(G), adam(D), pictures(4), pictures(4, seed=1), l1_weight=0
    )
    assert moved(D, before) and G.factor.item() != pytest.approx(0.2)
    assert losses[0] > 0 and losses[1] > 0
    assert all(weight.requires_grad for weight in D.parameters())


def test_the_weights_of_pix2pix_scale_the_gradients_of_g():
    def gradient(**changes):
        torch.manual_seed(0)
        G, D = Scaled(0.2), PatchDiscriminator(6, 4)
        optimizers = adam(G), adam(D)
        pix2pix_step(G, D, *optimizers, pictures(4), pictures(4, seed=1), **changes)
        return G.factor.grad.item()

    l1, both = gradient(l1_weight=1, gan_weight=0), gradient(l1_weight=1)
    assert gradient(l1_weight=7, gan_weight=0) == pytest.approx(7 * l1, rel=1e-5)
    gan = gradient(l1_weight=0)
    assert both == pytest.approx(l1 + gan, rel=1e-4) and gan != 0


def test_what_is_no_pair_is_refused():
    G = D = Scaled(1.0)
    with pytest.raises(GanlibError, match="pairs agree"):
        pix2pix_step(G, D, adam(G), adam(D), pictures(4), pictures(3))


# Training without pairs


def test_the_cycle_loss_of_inverse_maps_is_zero():
    images = pictures(4)
    G, F = Scaled(4.0), Scaled(0.25)
    assert cycle_loss(F, G(images), images).item() == 0
    assert cycle_loss(G, G(images), images).item() == pytest.approx(
        15 * images.abs().mean().item(), rel=1e-5
    )


def cyclegan(g_factor, f_factor):
    run = new_cyclegan(
        Scaled(g_factor),
        PatchDiscriminator(3, 4),
        learning_rate_g=1e-2,
        learning_rate_d=1e-2,
    )
    run.F.factor.data.fill_(f_factor)
    return run


def test_the_terms_of_a_step_are_those_of_planted_maps():
    torch.manual_seed(0)
    x, y = pictures(4), pictures(3, seed=1)
    losses = cyclegan_step(cyclegan(2.0, 0.5), x, y, identity_weight=1.0)
    assert losses[2].item() == pytest.approx(0, abs=1e-6)
    identity = y.abs().mean() + 0.5 * x.abs().mean()
    assert losses[3].item() == pytest.approx(identity.item(), rel=1e-5)
    assert losses[0] > 0 and losses[1] > 0


def test_a_step_moves_all_four_networks():
    torch.manual_seed(0)
    run = cyclegan(2.0, 0.9)
    networks = run.G, run.F, run.D_x, run.D_y
    before = [weights(network) for network in networks]
    cyclegan_step(run, pictures(4), pictures(4, seed=1))
    assert all(map(moved, networks, before))
    assert all(weight.requires_grad for net in networks for weight in net.parameters())


@pytest.mark.parametrize("name", ["cycle_weight", "identity_weight"])
def test_a_weight_scales_the_gradient_of_its_term(name):
    def gradient(weight):
        torch.manual_seed(0)
        run = cyclegan(2.0, 0.9)
        weights = {"cycle_weight": 0, "identity_weight": 0, name: weight}
        cyclegan_step(run, pictures(4), pictures(4, seed=1), **weights)
        return run.G.factor.grad.item()

    without, once = gradient(0), gradient(1)
    assert once != pytest.approx(without, rel=1e-3)
    assert gradient(7) - without == pytest.approx(7 * (once - without), rel=1e-4)


def test_terms_without_weight_are_not_computed():
    torch.manual_seed(0)
    losses = cyclegan_step(
        cyclegan(2.0, 0.9), pictures(4), pictures(4, seed=1), cycle_weight=0
    )
    assert losses[2:].tolist() == [0, 0]


def test_the_adversarial_loss_is_that_of_the_paper():
    """(D(G(x)) - 1)² without a half, for both sides."""
    torch.manual_seed(0)
    run = cyclegan(2.0, 0.5)
    x, y = pictures(4), pictures(4, seed=1)
    with torch.no_grad():
        wanted = (run.D_y(2 * x) - 1).square().mean() + (
            run.D_x(y / 2) - 1
        ).square().mean()
    losses = cyclegan_step(run, x, y)
    assert losses[1].item() == pytest.approx(wanted.item(), rel=1e-5)


# What the experiment counts


@pytest.fixture(scope="module")
def glasses():
    """The same sixty faces without and with glasses, and their factors."""
    return drawn_twice(60, "glasses", "no", "round", seed=3)


def test_the_pair_differs_where_glasses_are_and_nowhere_else(glasses):
    before, after, values = glasses
    different = (before != after).any(dim=1)
    assert different.flatten(1).any(dim=1).all()
    assert not different[:, :8].any() and not different[:, 26:].any()
    assert (values[:, FACTORS.index("glasses")] == 0).all()


def test_the_true_picture_changes_the_factor_and_keeps_the_others(glasses):
    before, after, values = glasses
    truth = judge_change(after, after, values, "glasses", "round")
    copy = judge_change(before, after, values, "glasses", "round")
    assert truth["both"] > 0.95 and truth["l1"] == 0
    assert copy["changed"] < 0.05 and copy["kept"] > 0.95 and copy["l1"] > 0


def test_another_drawing_changes_the_factor_and_keeps_little(glasses):
    _, after, values = glasses
    row = judge_change(after.roll(1, dims=0), after, values, "glasses", "round")
    assert row["changed"] > 0.95 and row["kept"] < 0.3
    assert row["both"] <= min(row["changed"], row["kept"])
    assert row["kept"] <= min(row["each"].values())


def test_a_blur_takes_the_power_at_high_frequencies_away(glasses):
    before, _, _ = glasses
    smooth = interpolate(avg_pool2d(before.float(), 4), scale_factor=4, mode="bilinear")
    assert high_power(smooth.to(torch.uint8)) < high_power(before) / 5
    stripes = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    stripes[..., ::2] = 255
    assert high_power(stripes) > 100 * high_power(torch.full_like(stripes, 128))


def test_true_drawings_get_full_marks(glasses):
    before, _, values = glasses
    row = judge_drawings(before, before, values)
    assert row["l1"] == 0 and row["high_power"] == 1
    assert row["right"]["all"] > 0.95 and row["legible"] > 0.9
    assert sum(row["shares"]["hair"]) == len(before)


def test_the_sets_have_the_values_that_they_should(monkeypatch):
    """Planted drawings: each is painted with the number of its place."""
    values = torch.zeros(4, 7, dtype=torch.int64)
    values[2:, FACTORS.index("glasses")] = 1
    values[3, FACTORS.index("background")] = 1
    pixels = torch.arange(4, dtype=torch.uint8)[:, None, None, None]
    pixels = pixels.expand(4, 3, 32, 32)
    monkeypatch.setattr(translation, "drawings", lambda train: (pixels, values))
    first, second = translation.two_sets("glasses")
    assert first[:, 0, 0, 0].tolist() == [0, 1]
    assert second[:, 0, 0, 0].tolist() == [2, 3]
    _, second = translation.two_sets("glasses", ("background", "pink"))
    assert second[:, 0, 0, 0].tolist() == [3]
