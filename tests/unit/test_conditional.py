"""Conditional networks: what reaches G and D, that G learns to listen, what is refused."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from ganlib import accelerate
from ganlib.checkpoint import (
    load_checkpoint,
    load_generator,
    save_checkpoint,
    save_generator,
)
from ganlib.cli import main
from ganlib.config import Config
from ganlib.data.transforms import denormalize, normalize
from ganlib.ema import refresh_batchnorm
from ganlib.export import export_onnx
from ganlib.metrics import class_accuracy, load_classifier, load_feature_extractor
from ganlib.models import (
    ConcatenationDiscriminator,
    ProjectionDiscriminator,
    build,
    conditioned,
)
from ganlib.sampling import (
    conditions_of,
    labels_in_turn,
    noise_circle,
    pixels_of,
    sample_images,
    sample_inputs,
    sample_noise,
    sample_pixels,
    with_condition,
)
from ganlib.training import fit, new_state, penalty_step, train_step

ARCHITECTURES = "mlp", "batchnorm-mlp", "dcgan", "resize-conv", "pixel-shuffle"
INPUTS = "concatenation", "projection"


def config_of(architecture="mlp", **changes):
    size = {"image_size": 4, "hidden_dim": 16}
    if architecture not in ("mlp", "batchnorm-mlp"):
        size = {"image_size": 16, "base_channels": 4}
    rest = {"latent_dim": 4, "batch_size": 20, "epochs": 2, "classes": 2}
    return Config(architecture=architecture, **size | rest | changes)


def shades(count=100, side=4):
    """Dark images and light ones, bytes (count, 1, side, side), and labels 0 and 1."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (count,), generator=generator)
    noise = torch.randint(60, (count, 1, side, side), generator=generator)
    return (noise + 180 * labels.view(-1, 1, 1, 1)).byte(), labels


# Noise and conditions


def test_conditions_are_one_at_the_label():
    wanted = [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    assert conditions_of(torch.tensor([2, 0]), 3).tolist() == wanted


def test_noise_of_classes_has_all_of_them_in_turn_beside_the_same_noise():
    z = sample_inputs(5, 4, seed=7, classes=3)
    assert torch.equal(z[:, :4], sample_noise(5, 4, seed=7))
    assert z[:, 4:].argmax(dim=1).tolist() == [0, 1, 2, 0, 1]
    assert (z[:, 4:].sum(dim=1) == 1).all()


def test_pixels_of_classes_are_those_of_that_noise():
    G, _ = build(config_of())
    wanted = pixels_of(G, sample_inputs(7, 4, seed=3, classes=2))
    assert torch.equal(sample_pixels(G, 4, count=7, seed=3, classes=2), wanted)


# The networks


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_without_a_condition_a_discriminator_by_concatenation_is_the_plain_one(
    architecture,
):
    _, D = build(config_of(architecture, classes=0))
    plain, side = copy.deepcopy(D).eval(), 4 if "mlp" in architecture else 16
    conditional = ConcatenationDiscriminator(D, 3).eval()
    images, zeros = torch.rand(6, 1, side, side) * 2 - 1, torch.zeros(6, 3)
    found = conditional(images, zeros)
    assert found.shape == (6,)
    torch.testing.assert_close(found, plain(images))
    asked = conditional(images, conditions_of(labels_in_turn(6, 3), 3))
    assert (asked - found).abs().min() > 0, "every logit depends on its condition"


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_projection_adds_the_product_of_features_and_the_vector_of_the_class(
    architecture,
):
    _, D = build(config_of(architecture, classes=0))
    plain, side = copy.deepcopy(D).eval(), 4 if "mlp" in architecture else 16
    conditional = ProjectionDiscriminator(D, 3).eval()
    images = torch.rand(6, 1, side, side) * 2 - 1
    labels = labels_in_turn(6, 3)
    condition = conditions_of(labels, 3)
    logits = plain(images)
    torch.testing.assert_close(conditional(images, condition), logits)  # V starts at 0
    vectors = torch.randn_like(conditional.embedding.weight)  # (features, classes)
    conditional.embedding.weight.data = vectors
    features = plain.layers[:-1](images).flatten(1)
    wanted = torch.stack(
        [logits[i] + features[i] @ vectors[:, labels[i]] for i in range(6)]
    )
    torch.testing.assert_close(conditional(images, condition), wanted)


def test_bound_conditions_reach_the_discriminator_and_none_leaves_it():
    _, D = build(config_of())
    images, condition = (
        torch.rand(3, 1, 4, 4),
        conditions_of(torch.tensor([0, 1, 0]), 2),
    )
    assert torch.equal(conditioned(D, condition)(images), D(images, condition))
    assert conditioned(D, None) is D


# Training


def seen_by_turns(train, config, pixels, conditions, **how):
    seen = []

    def note(state, real, condition):
        seen.append((real, condition))
        return torch.ones(5)

    list(train(new_state(config), pixels, conditions, turn=note, **how))
    return seen


def half_of_each(count, batch_size, device):
    return torch.arange(count, device=device)[::2].split(batch_size)


@pytest.mark.parametrize("how", [{}, {"sampler": half_of_each}], ids=["all", "a share"])
def test_every_image_comes_with_its_own_condition(how):
    pixels, labels = shades()
    batches = seen_by_turns(fit, config_of(), pixels, conditions_of(labels, 2), **how)
    assert len(batches) == (10 if not how else 6)
    for real, condition in batches:
        is_light = real.mean(dim=(1, 2, 3)) > 0
        assert torch.equal(condition.argmax(dim=1) == 1, is_light)


@pytest.mark.parametrize("label_input", INPUTS)
def test_g_learns_to_draw_what_it_is_asked_for(label_input):
    """Dark or light: by chance both requests would give the same mixture."""
    pixels, labels = shades(400)
    rates = {"learning_rate_g": 5e-3, "learning_rate_d": 5e-3, "beta1": 0.5}
    config = config_of(
        epochs=15, label_input=label_input, r1_weight=0.1, ema_decay=0.9, **rates
    )
    state = new_state(config)
    list(accelerate.fit(state, pixels, conditions_of(labels, 2)))
    images = sample_pixels(state.sampling_generator, 4, count=200, classes=2).float()
    dark, light = images[0::2].mean().item(), images[1::2].mean().item()
    assert dark < 90 and light > 150, (dark, light)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("label_input", INPUTS)
def test_every_architecture_trains_with_all_that_surrounds_it(
    architecture, label_input
):
    more = {"random_flip": True, "ema_decay": 0.9, "label_input": label_input}
    if architecture != "dcgan":
        more |= {"r1_weight": 0.3, "r2_weight": 0.3}
    config = config_of(architecture, **more)
    pixels, labels = shades(side=config.image_size)
    state = new_state(config)
    before = [weight.clone() for weight in state.D.parameters()]
    list(fit(state, pixels, conditions_of(labels, 2)))
    for weight, old in zip(state.D.parameters(), before, strict=True):
        assert weight.isfinite().all() and not torch.equal(weight, old)


def test_penalties_are_taken_at_the_conditions_of_the_images():
    """A D that is steep for one class alone: R1 is felt by that class alone."""
    config = config_of(r1_weight=1.0)
    slopes = []
    for label in (0, 1):
        state = new_state(config)

        class Steep(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.slope = torch.nn.Parameter(torch.ones(1))

            def forward(self, images, condition):
                return images.flatten(1).sum(dim=1) * self.slope * condition[:, 1]

        state.D = Steep()
        state.optimizer_d = torch.optim.SGD(state.D.parameters(), lr=0.01)
        condition = conditions_of(torch.full((20,), label), 2)
        penalty_step(state, torch.zeros(20, 1, 4, 4), condition)
        slopes.append(state.D.slope.item())
    assert slopes[0] == 1 and slopes[1] < 0.9


def test_the_average_has_the_statistics_of_all_classes():
    """A first layer that is deaf to noise: its mean is that of its two classes."""
    G, _ = build(config_of("batchnorm-mlp"))
    with torch.no_grad():
        G.layers[0].weight.zero_()
        G.layers[0].bias.zero_()
        G.layers[0].weight[:, -1] = 6.0  # class 1 alone
    refresh_batchnorm(G, 4, classes=2)
    torch.testing.assert_close(G.layers[1].running_mean, torch.full((16,), 3.0))


def test_a_conditional_run_goes_on_as_if_never_stopped(tmp_path):
    pixels, labels = shades()
    conditions = conditions_of(labels, 2)
    config = config_of(epochs=4, ema_decay=0.9, label_input="projection")
    straight, half = new_state(config), new_state(config)
    list(fit(straight, pixels, conditions))
    run = fit(half, pixels, conditions)
    next(run), next(run)
    save_checkpoint(half, tmp_path / "c.pt")
    resumed = load_checkpoint(tmp_path / "c.pt")
    list(fit(resumed, pixels, conditions))
    for one, other in ((resumed.D, straight.D), (resumed.G_ema, straight.G_ema)):
        pairs = zip(one.parameters(), other.parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


def test_a_compiled_turn_gets_the_conditions(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda turn, **options: turn)
    pixels, labels = shades()
    plain, compiled = (
        new_state(config_of(compile_step=compiled)) for compiled in (False, True)
    )
    list(fit(plain, pixels, conditions_of(labels, 2)))
    list(accelerate.fit(compiled, pixels, conditions_of(labels, 2)))
    pairs = zip(plain.G.parameters(), compiled.G.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_a_step_without_conditions_is_that_of_old():
    config = config_of(classes=0)
    torch.manual_seed(0)
    one = train_step(new_state(config), torch.zeros(5, 1, 4, 4))
    torch.manual_seed(0)
    other = train_step(new_state(config), torch.zeros(5, 1, 4, 4), None)
    assert torch.equal(one, other)


# What does not fit


def test_conditions_are_needed(says):
    with says("classes is 2", "(100, 2)", "conditions_of"):
        next(fit(new_state(config_of()), shades()[0]))


def test_conditions_without_classes(says):
    pixels, labels = shades()
    with says("classes is 0", "set classes to 2"):
        next(fit(new_state(config_of(classes=0)), pixels, conditions_of(labels, 2)))


@pytest.mark.parametrize(
    "conditions", [torch.zeros(100, 3), torch.zeros(99, 2), torch.zeros(100, 2).long()]
)
def test_conditions_of_another_kind(conditions, says):
    with says(tuple(conditions.shape), "must be floats (100, 2)"):
        next(fit(new_state(config_of()), shades()[0], conditions))


def test_a_way_for_labels_without_classes(says):
    with says("label_input is projection", "classes is 0", "leave it at concatenation"):
        Config(label_input="projection")


# Measuring


def test_class_accuracy_counts_what_the_classifier_confirms():
    classifier = load_classifier("mnist")
    images = torch.rand(300, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    images = denormalize(images * 2 - 1)
    features = classifier.features(normalize(images))
    found = classifier.classes_of(features)
    (common,) = found.unique()[:1].tolist()
    labels = found.clone()
    right = (found == common).nonzero().flatten()
    labels[right[0]] = (common + 1) % 10  # one request that is not confirmed
    shares = class_accuracy(classifier, images, labels)
    assert shares[common] == 1
    asked = (labels == (common + 1) % 10).sum().item()
    assert shares[(common + 1) % 10].item() == pytest.approx((asked - 1) / asked)
    assert shares[~torch.isin(torch.arange(10), labels)].isnan().all()


def test_class_accuracy_needs_classes(says):
    extractor = load_feature_extractor("celeba")
    with says("has no classes"):
        class_accuracy(extractor, torch.zeros(2, 3, 64, 64), torch.zeros(2).long())


# Files and commands


@pytest.fixture
def conditional(tmp_path, monkeypatch):
    """The file of an untrained generator of two classes."""
    monkeypatch.chdir(tmp_path)
    config = config_of()
    save_generator(new_state(config).G, config, "g.safetensors")
    return "g.safetensors"


def images_in(path):
    with np.load(path) as file:
        return torch.from_numpy(file["images"])


def test_a_generator_is_saved_with_its_classes(conditional):
    G, config = load_generator(conditional)
    assert config.classes == 2 and G.layers[0].in_features == 6


def test_sample_draws_one_label_or_all_in_turn(conditional):
    G, _ = load_generator(conditional)
    main(["sample", conditional, "--count", "6", "--out", "all.npz"])
    wanted = pixels_of(G, sample_inputs(6, 4, seed=0, classes=2))
    assert torch.equal(images_in("all.npz"), wanted)
    main(["sample", conditional, "--count", "6", "--label", "1", "--out", "one.npz"])
    z, ones = sample_noise(6, 4, seed=0), conditions_of(torch.ones(6).long(), 2)
    wanted = denormalize(sample_images(G, with_condition(z, ones)))
    assert torch.equal(images_in("one.npz"), wanted)


def test_a_walk_visits_the_classes_one_after_another(conditional, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "ganlib.cli.pixels_of", lambda G, z: seen.append(z) or pixels_of(G, z)
    )
    main(["sample", conditional, "--count", "6", "--out", "walk.gif"])
    (z,) = seen
    assert torch.equal(z[:, :4], noise_circle(6, 4, seed=0))
    assert z[:, 4:].argmax(dim=1).tolist() == [0, 0, 0, 1, 1, 1]


def test_without_out_a_sample_is_called_as_its_generator(conditional):
    main(["sample", conditional, "--label", "0"])
    assert Path("g.png").is_file()


@pytest.mark.parametrize(
    ("source", "label", "words"),
    [
        ("g.safetensors", "2", ["'2'", "0 to 1"]),
        ("g.safetensors", "-1", ["'-1'", "0 to 1"]),
        ("g.safetensors", "seven", ["'seven'", "0 to 1"]),
        ("mnist", "7", ["--label is 7", "mnist has no classes", "leave --label out"]),
    ],
)
def test_a_label_that_does_not_exist(
    source, label, words, conditional, capsys, one_sentence
):
    with pytest.raises(SystemExit) as end:
        main(["sample", source, f"--label={label}", "--out", "a.png"])
    assert end.value.code == 2 and not Path("a.png").exists()
    one_sentence(capsys.readouterr().err, *words)


def test_a_label_by_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = Config(dataset="fashion-mnist", classes=10, hidden_dim=4)
    save_generator(new_state(config).G, config, "g.safetensors")
    for label in ("8", "Bag"):
        main(["sample", "g.safetensors", "--label", label, "--out", f"{label}.npz"])
    assert torch.equal(images_in("8.npz"), images_in("Bag.npz"))


def test_train_gives_the_labels_of_the_data_to_a_conditional_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = ["--dataset", "digits", "--epochs", "1", "--device", "cpu"]
    main(["train", "mnist-conditional", *asked, "--out", "run"])
    main(["train", "mnist-conditional", "--epochs", "2", "--resume", "--out", "run"])
    _, config = load_generator("run")
    assert config.classes == 10 and config.epochs == 2
    main(["sample", "run", "--label", "7", "--count", "3", "--out", "a.npz"])
    assert images_in("a.npz").shape == (3, 1, 28, 28)


def test_train_on_data_with_other_classes(tmp_path, monkeypatch, capsys, one_sentence):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(
            ["train", "mnist-conditional", "--dataset", "digits", "--set", "classes=3"]
        )
    one_sentence(capsys.readouterr().err, "classes is 3", "digits has 10", "classes=10")


def test_onnx_takes_noise_and_condition(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    config = config_of("batchnorm-mlp")
    G, _ = build(config)
    export_onnx(G.eval(), config, tmp_path / "g.onnx")
    z = sample_inputs(5, 4, seed=0, classes=2)
    session = onnxruntime.InferenceSession(tmp_path / "g.onnx")
    (images,) = session.run(["images"], {"z": z.numpy()})
    assert np.abs(images - sample_images(G, z).numpy()).max() <= 1e-4
