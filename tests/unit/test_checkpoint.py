"""What comes out of a file is what went in; what is broken or forged is one sentence."""

import csv
import io
import json
import os
import pickle
import random
import re
import shutil
import warnings
import zipfile
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from ganlib import checkpoint
from ganlib.checkpoint import (
    history_csv,
    load_checkpoint,
    load_generator,
    load_run,
    load_weights,
    new_run,
    read_metadata,
    resume_run,
    save_checkpoint,
    save_generator,
    save_results,
    save_run,
    save_weights,
    shipped,
)
from ganlib.config import Config
from ganlib.data.transforms import denormalize
from ganlib.errors import GanlibError
from ganlib.sampling import sample_images, sample_inputs, sample_noise
from ganlib.training import Record, fit, new_state

OLD = Path(__file__).with_name("old_format") / "dcgan.pt"  # written by ganlib 0.1
TRAP_WORDS = "nothing in it was run"
PARTS = "G", "D", "G_ema", "optimizer_g", "optimizer_d"

# Changes of `small` with which a run must go on bit for bit.
LINEAR = {}  # dropout and an average, as `small` has them
BATCHNORM = {"architecture": "batchnorm-mlp", "r1_weight": 1.0}
DCGAN = {
    "architecture": "dcgan",
    "image_size": 16,
    "channels": 3,
    "hidden_dim": 256,
    "base_channels": 4,
    "random_flip": True,
    "augment_shift": 2,
    "augment_color": True,
    "augment_cutout": 0.3,
}
RESIZE = {
    "architecture": "resize-conv",
    "image_size": 16,
    "hidden_dim": 256,
    "base_channels": 4,
    "dropout": 0.0,
    "r1_weight": 0.5,
    "r2_weight": 0.5,
}
PIXEL_SHUFFLE = {
    "architecture": "pixel-shuffle",
    "base_channels": 4,
    "r1_weight": 0.5,
    "r2_weight": 0.5,
}

CONTROLLED = {"augment_shift": 1, "augment_target": 0.01, "augment_ramp": 200}


@pytest.fixture
def pixels_for():
    """`pixels_for(config)` -> 25 images of the shape that it asks for."""

    def draw(config):
        shape = (25, *config.image_shape)
        generator = torch.Generator().manual_seed(0)
        return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)

    return draw


@pytest.fixture
def saved(tmp_path, small):
    """An untrained G, its config and the file that holds them."""
    G = new_state(small).G
    save_generator(G, small, tmp_path / "g.safetensors", epoch=3)
    return G, small, tmp_path / "g.safetensors"


@pytest.fixture
def checkpoint_file(tmp_path, small, pixels):
    """A run of `small` after one epoch, and the file that holds it."""
    state = new_state(small)
    next(fit(state, pixels))
    save_checkpoint(state, tmp_path / "c.pt")
    return state, tmp_path / "c.pt"


def assert_same(one, other, names=PARTS):
    """Two runs hold the same numbers, bit for bit, but for the seconds."""
    assert one.step == other.step
    assert [row[:-1] for row in one.history] == [row[:-1] for row in other.history]
    for name in names:
        part, counterpart = getattr(one, name), getattr(other, name)
        assert (part is None) == (counterpart is None), name
        if part is not None:
            torch.testing.assert_close(
                part.state_dict(), counterpart.state_dict(), rtol=0, atol=0, msg=name
            )
    assert one.augment_strength == other.augment_strength


def rewrite(path, **changes):
    """Write a checkpoint anew with other content; None leaves a part out."""
    content = torch.load(path, weights_only=True) | changes
    content = {name: value for name, value in content.items() if value is not None}
    torch.save(content, path)


def describe(path, **facts):
    """Write a generator's file anew with other metadata."""
    tensors = safetensors.torch.load(path.read_bytes())
    facts = read_metadata(path) | facts
    metadata = {name: json.dumps(value) for name, value in facts.items()}
    path.write_bytes(safetensors.torch.save(tensors, metadata))


# Weights and their metadata


def test_weights_there_and_back(tmp_path):
    network, again = nn.Linear(3, 2), nn.Linear(3, 2)
    save_weights(network, tmp_path / "w.safetensors", purpose="a test", rows=[1, None])
    facts = load_weights(again, str(tmp_path / "w.safetensors"))
    assert torch.equal(again.weight, network.weight)
    assert torch.equal(again.bias, network.bias)
    assert facts["purpose"] == "a test" and facts["rows"] == [1, None]
    assert facts["versions"] == {"torch": str(torch.__version__)}


def test_equal_networks_give_equal_files(tmp_path):
    facts = {letter: letter for letter in "abcdefgh"}
    network = nn.Linear(3, 2)
    for name in ("one", "other"):
        save_weights(network, tmp_path / name, **facts)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


@pytest.mark.parametrize(
    "other",
    [
        nn.Linear(3, 4),
        nn.Linear(3, 2, bias=False),
        nn.Linear(3, 2).double(),
        nn.Sequential(nn.Linear(3, 2)),
    ],
)
def test_weights_of_another_network_are_refused_whole(tmp_path, other, says):
    save_weights(nn.Linear(3, 2), tmp_path / "w.safetensors")
    before = [value.clone() for value in other.state_dict().values()]
    with says("w.safetensors", "another architecture"):
        load_weights(other, tmp_path / "w.safetensors")
    after = other.state_dict().values()
    assert all(map(torch.equal, before, after))


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_not_saved(tmp_path, number, says):
    network, path = nn.Linear(3, 2), tmp_path / "w.safetensors"
    save_weights(network, path)
    before = path.read_bytes()
    with torch.no_grad():
        network.weight[1, 2] = number
    with says("no longer finite", "learning rate"):
        save_weights(network, path)
    assert path.read_bytes() == before


def test_a_fact_that_is_no_json_leaves_the_old_file(saved):
    G, config, path = saved
    before = path.read_bytes()
    with pytest.raises(TypeError):
        save_generator(G, config, path, score=torch.tensor(1.0))
    assert path.read_bytes() == before


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "9" * 5000, ""])
def test_metadata_that_is_no_json(saved, text, says):
    _, _, path = saved
    tensors = safetensors.torch.load(path.read_bytes())
    path.write_bytes(safetensors.torch.save(tensors, {"config": text}))
    with says(path, "json"):
        read_metadata(path)


# Generators


def test_a_loaded_generator_draws_the_same_images_bit_for_bit(saved):
    G, config, path = saved
    z = sample_noise(9, config.latent_dim, seed=4)
    for source in (path, str(path)):
        loaded, its_config = load_generator(source)
        assert torch.equal(sample_images(loaded, z), sample_images(G, z))
        assert its_config == config and not loaded.training


def test_one_file_holds_config_versions_and_facts(saved):
    _, config, path = saved
    facts = read_metadata(path)
    assert facts["config"] == vars(config) and facts["epoch"] == 3
    assert facts["versions"]["torch"] == str(torch.__version__)
    assert os.listdir(path.parent) == [path.name]


def test_the_folder_of_a_run_stands_for_its_generator(tmp_path, small):
    state = new_state(small)
    save_run(state, tmp_path / "run")
    z = sample_noise(3, small.latent_dim, seed=0)
    G, config = load_generator(tmp_path / "run")
    assert config == small
    expected = sample_images(state.sampling_generator, z)
    assert torch.equal(sample_images(G, z), expected)
    assert read_metadata(tmp_path / "run")["epoch"] == 0


def test_what_is_not_there_names_the_shipped_networks(tmp_path, says):
    with says("nosuch", "shipped", "mnist"):
        load_generator("nosuch")
    with says(tmp_path / "generator.safetensors", "shipped"):
        load_generator(tmp_path)


def test_weights_of_float16_are_refused(tmp_path, small, says):
    path = tmp_path / "g.safetensors"
    save_generator(new_state(small).G.half(), small, path)
    with says(path, "another architecture"):
        load_generator(path)


@pytest.mark.parametrize(
    "change",
    [{"hidden_dim": 9}, {"latent_dim": 4}, {"image_size": 5}, {"channels": 3}],
)
def test_weights_of_another_architecture(saved, change, changed, says):
    _, config, path = saved
    describe(path, config=vars(changed(config, **change)))
    with says(path, "another architecture"):
        load_generator(path)


def test_a_config_larger_than_its_file_takes_no_memory(saved, says):
    _, config, path = saved
    giant = {"latent_dim": 4096, "hidden_dim": 8192, "channels": 4, "image_size": 1024}
    describe(path, config=vars(config) | giant)  # 137 GB
    with says(path, "too small"):
        load_generator(path)


@pytest.mark.parametrize(
    ("config", "word"),
    [
        (None, "no config"),
        ([1], "no config"),
        ({"nz": 3}, "'nz'"),
        ({"latent_dim": 0}, "latent_dim"),
        ({"epochs": [1]}, "epochs"),
        ({"architecture": "dcgan", "image_size": 30}, "30x30"),
    ],
)
def test_a_config_that_this_version_does_not_know(saved, config, word, says):
    _, _, path = saved
    describe(path, config=config)
    with says(word):
        load_generator(path)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_file(saved, share, says):
    _, _, path = saved
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with says(path, "broken"):
        load_generator(path)


@pytest.mark.parametrize("save", ["generator", "checkpoint"])
def test_a_folder_that_cannot_be_written(saved, save, says):
    G, config, path = saved
    before = path.read_bytes()
    with says("Cannot write", path / "below"):
        if save == "generator":
            save_generator(G, config, path / "below" / "g.safetensors")
        else:
            save_checkpoint(new_state(config), path / "below" / "c.pt")
    assert path.read_bytes() == before


# Files of ganlib 0.1


def test_a_generator_of_the_old_format_draws_what_it_drew():
    G, config = load_generator(OLD)
    image = sample_images(G, sample_noise(1, config.latent_dim, seed=0))
    expected = torch.tensor(read_metadata(OLD)["pixels"])
    assert (denormalize(image)[0, 0].int() - expected).abs().max() <= 1


def test_old_names_of_fields_are_mapped():
    _, config = load_generator(OLD)
    assert config.architecture == "dcgan" and config.random_flip
    assert (config.augment_shift, config.base_channels) == (1, 2)
    assert config.hidden_dim == Config().hidden_dim


def test_a_penalty_through_batchnorm_is_dropped_and_stays_in_the_metadata():
    assert load_generator(OLD)[1].r1_weight == 0
    assert read_metadata(OLD)["config"]["penalty"] == 1.0


def test_fields_that_came_later_get_their_defaults(saved):
    _, config, path = saved
    later = ("loss", "r2_weight", "augment_color", "ema_decay", "dropout")
    older = {name: value for name, value in vars(config).items() if name not in later}
    describe(path, config=older)
    assert load_generator(path)[1] == Config(**older)


def test_an_old_file_without_its_json(tmp_path, says):
    shutil.copy(OLD, tmp_path)
    with says("dcgan.pt", "dcgan.json", "checkpoint", "generator.safetensors"):
        load_generator(tmp_path / "dcgan.pt")


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "[1]", "\udcff", "5"])
def test_an_old_file_with_a_broken_json(tmp_path, text, says):
    shutil.copy(OLD, tmp_path)
    broken = tmp_path / "dcgan.json"
    broken.write_bytes(text.encode(errors="surrogateescape"))
    with says("dcgan.pt", "json"):
        load_generator(tmp_path / "dcgan.pt")


# Shipped networks


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_network_draws_and_carries_its_facts(name):
    G, config = load_generator(name)
    z = sample_inputs(64, config.latent_dim, classes=config.classes, seed=0)
    images = sample_images(G, z)
    assert images.shape == (64, *config.image_shape)
    assert images.isfinite().all() and images.std() > 0.1
    facts = read_metadata(name)
    assert config.recipe == name
    assert re.fullmatch("[0-9a-f]{7,40}", facts["commit"])
    assert facts["scores"]["generated"] == 10_000


@pytest.mark.parametrize("name", shipped())
def test_the_run_of_a_shipped_network_ends_with_its_last_epoch(name):
    history, images = load_run(name)
    assert all(isinstance(record, Record) for record in history)
    assert len(history) == max(images) == load_generator(name)[1].epochs
    assert {one.dtype for one in images.values()} == {torch.uint8}


def test_an_unknown_run(says):
    with says("'nosuch'", ", ".join(shipped())):
        load_run("nosuch")


# Nothing in a file is run


class Trap:
    """Unpickled the careless way, it makes a file."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return open, (self.mark, "w")


def packed(content, **how):
    buffer = io.BytesIO()
    torch.save(content, buffer, **how)
    return buffer.getvalue()


TRAPS = {
    "pickle": pickle.dumps,
    "in a dict": lambda trap: packed({"layers.0.weight": trap}),
    "old torch": lambda trap: packed({"a": trap}, _use_new_zipfile_serialization=False),
}


@pytest.mark.parametrize("kind", TRAPS)
@pytest.mark.parametrize("read", [load_generator, load_checkpoint])
def test_code_in_a_file_is_not_run(tmp_path, kind, read, says):
    mark, path = tmp_path / "it ran", tmp_path / "g.pt"
    path.write_bytes(TRAPS[kind](Trap(mark)))
    shutil.copy(OLD.with_suffix(".json"), tmp_path / "g.json")
    with warnings.catch_warnings(record=True) as caught, says(path, TRAP_WORDS):
        warnings.simplefilter("always")
        read(path)
    assert not caught, "one sentence, not two"
    assert not mark.exists()


def test_the_trap_would_work(tmp_path):
    pickle.loads(pickle.dumps(Trap(tmp_path / "it ran"))).close()
    assert (tmp_path / "it ran").exists()


def test_a_pickle_called_safetensors_is_not_run(saved, tmp_path, says):
    _, _, path = saved
    path.write_bytes(packed({"layers.0.weight": Trap(tmp_path / "it ran")}))
    with says(path, TRAP_WORDS):
        load_generator(path)
    assert not (tmp_path / "it ran").exists()


def test_one_flipped_bit_in_a_checkpoint_is_refused_or_means_nothing(checkpoint_file):
    state, path = checkpoint_file
    whole, refused = path.read_bytes(), 0
    rng = random.Random(0)
    for _ in range(150):
        place = rng.randrange(len(whole))
        flipped = bytes([whole[place] ^ 1 << rng.randrange(8)])
        path.write_bytes(whole[:place] + flipped + whole[place + 1 :])
        try:
            assert_same(load_checkpoint(path), state)
        except GanlibError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 20


def test_numbers_that_are_called_a_folder_are_refused(checkpoint_file, says):
    """torch would give weights that are whatever lay in memory."""
    _, path = checkpoint_file
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if "/data/" in name]
    whole = path.read_bytes()
    place = whole.rindex(names[0].encode()) - 46 + 38  # its entry in the directory
    path.write_bytes(whole[:place] + b"\x10" + whole[place + 1 :])
    with says(path, TRAP_WORDS):
        load_checkpoint(path)


def test_an_archive_that_would_unpack_to_more_than_it_has(tmp_path, says):
    import zipfile

    with zipfile.ZipFile(tmp_path / "c.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10**6))
    with says("c.pt", TRAP_WORDS):
        load_checkpoint(tmp_path / "c.pt")


# Checkpoints


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
@pytest.mark.parametrize(
    "change",
    [
        LINEAR,
        BATCHNORM,
        DCGAN,
        RESIZE,
        RESIZE | {"loss": "hinge", "real_label": 1.0},
        PIXEL_SHUFFLE,
        LINEAR | CONTROLLED,
    ],
    ids=[
        "mlp",
        "batchnorm-mlp",
        "dcgan",
        "resize-conv",
        "hinge",
        "pixel-shuffle",
        "controlled",
    ],
)
def test_two_epochs_and_two_more_are_four_bit_for_bit(
    tmp_path, small, changed, pixels_for, change, ema_decay
):
    config = changed(small, ema_decay=ema_decay, **change)
    pixels = pixels_for(config)
    straight = new_state(config)
    list(fit(straight, pixels))
    half = new_state(changed(config, epochs=2))
    list(fit(half, pixels))
    save_checkpoint(half, tmp_path / "c.pt")
    torch.manual_seed(77)  # which must not matter
    resumed = load_checkpoint(tmp_path / "c.pt", epochs=4)
    assert resumed.config == config and resumed.history == half.history
    list(fit(resumed, pixels))
    for state in (straight, resumed):
        _ = state.sampling_generator  # the average measures its statistics
    assert_same(resumed, straight)


def test_the_strength_of_the_changes_is_kept(tmp_path, small, changed, says):
    state = new_state(changed(small, **CONTROLLED))
    state.augment_strength.fill_(0.7)
    path = tmp_path / "c.pt"
    save_checkpoint(state, path)
    assert torch.equal(load_checkpoint(path).augment_strength, state.augment_strength)
    for wrong in (-0.1, 1.5, float("nan"), None, "0.5", torch.tensor(0.5)):
        rewrite(path, augment_strength=wrong)
        with says("strength of the changes", "from 0 to 1"):
            load_checkpoint(path)


def test_force_begins_a_controller_with_no_change(checkpoint_file):
    _, path = checkpoint_file
    state = load_checkpoint(path, force=True, **CONTROLLED)
    assert state.augment_strength.item() == 0


def test_a_checkpoint_holds_all_of_a_run(checkpoint_file):
    state, path = checkpoint_file
    loaded = load_checkpoint(path)
    assert loaded.config == state.config and loaded.history == state.history
    assert loaded.step == state.step == 2
    assert_same(loaded, state)


def test_saving_leaves_weights_and_random_numbers_alone(checkpoint_file):
    state, path = checkpoint_file
    before = [value.clone() for value in state.G.state_dict().values()]
    random_state = torch.get_rng_state()
    save_checkpoint(state, path)
    load_checkpoint(path)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(map(torch.equal, before, state.G.state_dict().values()))


def test_the_average_is_saved_with_its_own_statistics(tmp_path, small, changed, pixels):
    state = new_state(changed(small, **BATCHNORM))
    next(fit(state, pixels))
    save_checkpoint(state, tmp_path / "c.pt")
    saved_average = load_checkpoint(tmp_path / "c.pt").G_ema
    expected = dict(state.sampling_generator.named_buffers())
    for name, value in saved_average.named_buffers():
        assert torch.equal(value, expected[name]), name


def test_adams_memory_lies_as_its_weights_do(tmp_path, small, changed, pixels_for):
    """The fused Adam reads both in order; channels_last would be another order."""
    config = changed(small, **DCGAN)
    state = new_state(config)
    for network in (state.G, state.D, state.G_ema):
        network.to(memory_format=torch.channels_last)
    next(fit(state, pixels_for(config)))
    save_checkpoint(state, tmp_path / "c.pt")
    loaded = load_checkpoint(tmp_path / "c.pt")
    for weight, memory in loaded.optimizer_g.state.items():
        assert memory["exp_avg"].stride() == weight.stride()
    assert_same(loaded, state)


def test_without_force_only_the_epochs_may_change(checkpoint_file, says):
    _, path = checkpoint_file
    assert load_checkpoint(path, epochs=9).config.epochs == 9
    with says("learning_rate_g", "epochs"):
        load_checkpoint(path, learning_rate_g=0.5)
    with says("epochs", 0):
        load_checkpoint(path, epochs=0)


def test_force_changes_augmentation(tmp_path, small, changed, pixels_for):
    config = changed(small, **DCGAN)
    state = new_state(config)
    save_checkpoint(state, tmp_path / "c.pt")
    loaded = load_checkpoint(tmp_path / "c.pt", force=True, augment_shift=0)
    assert loaded.config == changed(config, augment_shift=0)
    assert_same(loaded, state)
    next(fit(loaded, pixels_for(config)))


def test_force_begins_an_average_with_g(tmp_path, small, changed, pixels):
    state = new_state(changed(small, ema_decay=0.0))
    next(fit(state, pixels))
    save_checkpoint(state, tmp_path / "c.pt")
    loaded = load_checkpoint(tmp_path / "c.pt", force=True, ema_decay=0.9)
    for one, other in zip(loaded.G_ema.parameters(), state.G.parameters(), strict=True):
        assert torch.equal(one, other) and one is not other
    next(fit(loaded, pixels))


def test_force_ends_an_average(checkpoint_file, pixels):
    state, path = checkpoint_file
    loaded = load_checkpoint(path, force=True, ema_decay=0.0)
    assert loaded.G_ema is None
    assert_same(loaded, state, ["G", "D", "optimizer_g", "optimizer_d"])
    next(fit(loaded, pixels))


def test_force_gives_adam_the_new_settings_and_leaves_its_memory(checkpoint_file):
    state, path = checkpoint_file
    loaded = load_checkpoint(path, force=True, learning_rate_g=0.5, beta1=0.1)
    group = loaded.optimizer_g.param_groups[0]
    assert group["lr"] == 0.5 and group["betas"] == (0.1, 0.999)
    memory = loaded.optimizer_g.state_dict()["state"]
    expected = state.optimizer_g.state_dict()["state"]
    torch.testing.assert_close(memory, expected, rtol=0, atol=0)


def test_force_cannot_change_the_shape_of_a_network(checkpoint_file, says):
    with says("another architecture"):
        load_checkpoint(checkpoint_file[1], force=True, hidden_dim=9)


def test_files_that_are_no_checkpoint(tmp_path, says):
    with says("nosuch.pt", "no checkpoint"):
        load_checkpoint(tmp_path / "nosuch.pt")
    with says(OLD, "another version"):
        load_checkpoint(OLD)
    (tmp_path / "text.pt").write_text("not weights at all\n")
    with says("text.pt", TRAP_WORDS):
        load_checkpoint(tmp_path / "text.pt")


@pytest.mark.parametrize("value", [1, 3, None, torch.zeros(3)])
def test_a_checkpoint_of_another_format(checkpoint_file, value, says):
    _, path = checkpoint_file
    rewrite(path, format=value)
    with says(path, "another version of ganlib"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    "change",
    [
        {"config": 5},
        {"config": "{"},
        {"config": None},
        {"step": -1},
        {"step": 1.5},
        {"step": None},
        {"history": None},
        {"history": "5"},
        {"history": "[[1, 2, 3]]"},
        {"history": '["12345678"]'},
        {"history": "[[1,0,0,0,0,0,0,0],[1,0,0,0,0,0,0,0]]"},
        {"history": "[[2,0,0,0,0,0,0,0]]"},
        {"history": f"[[1,0,0,0,0,0,0,{10**400}]]"},
    ],
)
def test_a_checkpoint_with_something_else_in_it(checkpoint_file, change, says):
    _, path = checkpoint_file
    rewrite(path, **change)
    with says(path, "no checkpoint"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    "change",
    [
        {"G": nn.Linear(2, 2).state_dict()},
        {"G": 5},
        {"D": None},
        {"G_ema": None},
        {"optimizer_g": None},
        {"optimizer_d": {"a": 1}},
        {"optimizer_d": {"state": {0: 5}, "param_groups": []}},
    ],
)
def test_a_checkpoint_whose_parts_do_not_fit(checkpoint_file, change, says):
    _, path = checkpoint_file
    rewrite(path, **change)
    with says(path, "another architecture"):
        load_checkpoint(path)


def test_an_adam_of_another_shape(checkpoint_file, says):
    state, path = checkpoint_file
    forged = state.optimizer_g.state_dict()
    forged["state"][0]["exp_avg"] = torch.zeros(2)
    rewrite(path, optimizer_g=forged)
    with says(path, "Adam's memory"):
        load_checkpoint(path)


def test_an_adam_whose_numbers_share_one_place_in_memory(checkpoint_file, pixels):
    """The fused Adam would write beyond it."""
    state, path = checkpoint_file
    forged = state.optimizer_g.state_dict()
    shape = forged["state"][0]["exp_avg"].shape
    forged["state"][0]["exp_avg"] = torch.zeros(1, 1).expand(shape)
    rewrite(path, optimizer_g=forged)
    loaded = load_checkpoint(path)
    memory = next(iter(loaded.optimizer_g.state.values()))["exp_avg"]
    assert memory.is_contiguous()
    next(fit(loaded, pixels))


# The folder of a run


@pytest.fixture
def finish(pixels):
    """Train a run to its end and save it in a folder after each epoch; returns it."""

    def go_on(state, out):
        for _ in fit(state, pixels):
            save_run(state, out)
        return state

    return go_on


@pytest.fixture
def straight(small, pixels):
    """The undisturbed run of `small`, of four epochs."""
    state = new_state(small)
    list(fit(state, pixels))
    return state


@pytest.fixture
def started(small, finish, changed, tmp_path):
    """The folder of a run of `small` that stopped after epoch 3 of 4."""
    out = tmp_path / "run"
    finish(new_run(changed(small, epochs=3), out, "cpu"), out)
    return out


def files_of(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def kept(out):
    return sorted(path.name for path in (out / "checkpoints").iterdir())


def test_the_files_of_a_run(started, small):
    assert {path.name for path in started.iterdir()} == {
        "checkpoints",
        "samples",
        "history.csv",
        "generator.safetensors",
    }
    samples = sorted(path.name for path in (started / "samples").iterdir())
    assert samples == [f"epoch-000{epoch}.png" for epoch in (1, 2, 3)]
    with open(started / "history.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]


def test_the_generator_of_a_run_is_the_one_to_sample_from(
    tmp_path, small, changed, pixels
):
    state = new_state(changed(small, **BATCHNORM))
    next(fit(state, pixels))
    save_results(state, tmp_path)
    G, _ = load_generator(tmp_path)
    assert read_metadata(tmp_path)["epoch"] == 1
    for name, value in G.state_dict().items():
        assert torch.equal(value, state.sampling_generator.state_dict()[name]), name


def test_every_kth_generator_is_kept(tmp_path, small, pixels):
    state = new_state(small)
    for _ in fit(state, pixels):
        save_run(state, tmp_path, models_every=2)
    models = sorted(path.name for path in (tmp_path / "models").iterdir())
    assert models == ["epoch-0002.safetensors", "epoch-0004.safetensors"]
    assert read_metadata(tmp_path / "models" / models[0])["epoch"] == 2


def test_a_csv_has_one_line_per_record():
    records = [Record(1, 0.5, 1.5, 0.6, 0.4, 0.3, 100, 2.0)]
    header, row = history_csv(records).decode().splitlines()
    assert header == ",".join(Record._fields)
    assert row == "1,0.5,1.5,0.6,0.4,0.3,100,2.0"


@pytest.mark.parametrize(
    "left", ["generator.safetensors", "history.csv", "checkpoints/epoch-0001.pt"]
)
def test_a_run_is_not_written_over(tmp_path, small, left, says):
    (tmp_path / left).parent.mkdir(exist_ok=True)
    (tmp_path / left).touch()
    with says(tmp_path, "holds a run already", "--resume"):
        new_run(small, tmp_path, "cpu")


def test_the_last_three_checkpoints_are_kept(started, finish, small):
    assert kept(started) == [f"epoch-000{epoch}.pt" for epoch in (1, 2, 3)]
    finish(resume_run(small, {"epochs": 4}, started, "cpu"), started)
    assert kept(started) == [f"epoch-000{epoch}.pt" for epoch in (2, 3, 4)]


def test_beyond_epoch_9999_the_newest_is_still_the_newest(tmp_path, small):
    for epoch in (9998, 10000, 9999):
        (tmp_path / "checkpoints").mkdir(exist_ok=True)
        (tmp_path / "checkpoints" / f"epoch-{epoch:04d}.pt").write_bytes(b"")
    with pytest.raises(GanlibError, match="epoch-10000"):
        resume_run(small, {}, tmp_path, "cpu")


def cut(content):
    return content[: len(content) // 2]


def flip_a_bit_of_a_weight(content):
    """torch.load alone would not notice it."""
    weight = torch.load(io.BytesIO(content), weights_only=True)["D"]["layers.1.weight"]
    place = content.index(weight.numpy().tobytes()) + 1
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize("spoil", [cut, flip_a_bit_of_a_weight, lambda content: b""])
def test_where_the_newest_is_broken_the_one_before_serves(
    started, spoil, small, finish, straight, one_sentence
):
    newest = started / "checkpoints" / "epoch-0003.pt"
    newest.write_bytes(spoil(newest.read_bytes()))
    with pytest.warns(UserWarning) as caught:
        state = resume_run(small, {"epochs": 4}, started, "cpu")
    assert len(caught) == 1 and len(state.history) == 2
    one_sentence(str(caught[0].message), newest, "going on from", "epoch-0002.pt")
    assert_same(finish(state, started), straight)
    assert len((started / "history.csv").read_text().splitlines()) == 5


def test_nothing_but_broken_checkpoints(started, small, says):
    for path in (started / "checkpoints").iterdir():
        path.write_bytes(b"PK\x03\x04")
    with says("epoch-0003.pt", "broken"):
        resume_run(small, {}, started, "cpu")


def test_a_folder_without_a_run(tmp_path, small, says):
    with says("no checkpoint", tmp_path):
        resume_run(small, {}, tmp_path, "cpu")


def test_saving_again_mends_what_a_kill_left_out_of_date(started, small, changed):
    """Killed right after its last checkpoint, before anything else was written."""
    mended = ["generator.safetensors", "history.csv", "samples/epoch-0003.png"]
    before = [(started / name).read_bytes() for name in mended]
    for name in mended:
        (started / name).unlink()
    (started / "history.csv.part").write_bytes(b"half a li")
    save_run(resume_run(changed(small, epochs=3), {}, started, "cpu"), started)
    assert [(started / name).read_bytes() for name in mended] == before
    assert not list(started.rglob("*.part"))


def test_a_resumed_run_must_agree_but_for_the_epochs(started, small, changed, says):
    changes = {"batch_size": 5, "learning_rate_g": 0.5}
    with says("batch_size 10 (not 5), learning_rate_g 0.01 (not 0.5)", "--force"):
        resume_run(changed(small, **changes), changes, started, "cpu")
    agreeing = {"batch_size": 10, "epochs": 9}
    state = resume_run(changed(small, epochs=9), agreeing, started, "cpu")
    assert state.config == changed(small, epochs=9)


def test_another_recipe_is_a_change_of_all_its_fields(started, small, changed, says):
    other = changed(small, recipe="other", beta2=0.5)
    with says("recipe mnist (not other)", "beta2 0.999 (not 0.5)"):
        resume_run(other, {}, started, "cpu")


def test_force_goes_on_with_the_changes(started, small, changed):
    changes = {"batch_size": 5, "augment_shift": 1}
    wanted = changed(small, **changes)
    state = resume_run(wanted, changes, started, "cpu", force=True)
    assert state.config == changed(wanted, epochs=3) and len(state.history) == 3


def numbers_in(value):
    if isinstance(value, dict):
        return [one for inner in value.values() for one in numbers_in(inner)]
    return [value] if torch.is_tensor(value) and value.is_floating_point() else []


@pytest.mark.parametrize("part", PARTS)
def test_a_run_that_is_no_longer_finite_leaves_its_folder_as_it_was(
    part, small, changed, pixels, tmp_path, says
):
    """The losses of an epoch are taken before its last step."""
    state = new_state(changed(small, **BATCHNORM))
    run = fit(state, pixels)
    next(run)
    save_run(state, tmp_path)
    before = files_of(tmp_path)
    next(run)
    numbers_in(getattr(state, part).state_dict())[0].view(-1)[0] = float("nan")
    with says("no longer finite", "learning rate"):
        save_run(state, tmp_path)
    assert files_of(tmp_path) == before


def test_a_full_disk_leaves_the_folder_as_it_was(started, small, monkeypatch, says):
    before = files_of(started)
    state = resume_run(small, {}, started, "cpu")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with says("Cannot write", "No space left on device"):
        save_run(state, started)
    assert files_of(started) == before


def test_shipped_networks_are_known_by_their_names(saved, monkeypatch, says):
    G, config, path = saved
    monkeypatch.setattr(checkpoint, "ASSETS", path.parent)
    z = sample_noise(3, config.latent_dim, seed=0)
    assert shipped() == ["g"]
    assert torch.equal(sample_images(load_generator("g")[0], z), sample_images(G, z))
    with says("nosuch", "g."):
        load_generator("nosuch")
