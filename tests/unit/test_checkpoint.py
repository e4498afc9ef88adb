"""The vault: what comes out is what went in, and nothing that a file contains is ever executed."""

import copy
import io
import json
import os
import pickle
import random
import shutil
import warnings

import pytest
import torch

from ganlib import checkpoint, weights
from ganlib.checkpoint import load_checkpoint, load_generator, read_about, save_checkpoint, save_generator, shipped
from ganlib.config import Config
from ganlib.models import Generator
from ganlib.sampling import sample_noise, sample_images
from ganlib.training import fit, new_state


@pytest.fixture
def saved(tmp_path, small):
    """An untrained G, its config and the file that holds it."""
    torch.manual_seed(0)
    G = Generator(small.latent_dim, small.hidden_dim, small.image_shape)
    save_generator(G, small, tmp_path / "g.pt", epoch=3)
    return G, small, tmp_path / "g.pt"


def _describe(path, **changes):
    """Rewrite the json beside `path`, so that it describes the file as it is now."""
    about = json.loads(path.with_suffix(".json").read_text())
    about |= {"sha256": weights.sha256_of(path.read_bytes())} | changes
    path.with_suffix(".json").write_text(json.dumps(about))


def _bytes(content, **how):
    buffer = io.BytesIO()
    torch.save(content, buffer, **how)
    return buffer.getvalue()


# --- generators -------------------------------------------------------------------------------------------------------


def test_a_loaded_g_draws_the_same_images_bit_for_bit(saved):
    G, config, path = saved
    loaded, its_config = load_generator(path)
    z = sample_noise(9, config.latent_dim, seed=4)
    assert torch.equal(sample_images(loaded, z), sample_images(G, z))
    assert its_config == config and not loaded.training
    assert torch.equal(sample_images(load_generator(str(path))[0], z), sample_images(G, z))


def test_the_json_beside_it(saved):
    _, config, path = saved
    about = read_about(path)
    assert about["config"] == vars(config) and about["epoch"] == 3
    assert about["versions"]["torch"] == torch.__version__
    assert sorted(os.listdir(path.parent)) == ["g.json", "g.pt"], "nothing else may be left"


def test_two_loads_are_equal_whatever_the_random_state_is(saved):
    _, _, path = saved
    torch.manual_seed(1)
    one = load_generator(path)[0]
    torch.manual_seed(2)
    other = load_generator(path)[0]
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_a_fact_that_is_no_json_costs_nothing(saved):
    _, config, path = saved
    before = path.read_bytes(), path.with_suffix(".json").read_bytes()
    with pytest.raises(TypeError):
        save_generator(Generator(3, 8, (1, 4, 4)), config, path, score=torch.tensor(1.0))
    assert (path.read_bytes(), path.with_suffix(".json").read_bytes()) == before


def test_no_such_file(tmp_path, says):
    with says("nosuch", "shipped"):
        load_generator("nosuch")
    with says(tmp_path):
        load_generator(tmp_path)


def test_shipped_networks_are_known_by_name(saved, monkeypatch, says):
    G, config, path = saved
    monkeypatch.setattr(checkpoint, "ASSETS", path.parent)
    (path.parent / "other.pt").write_bytes(b"")
    assert shipped() == ["g", "other"]
    z = sample_noise(3, config.latent_dim, seed=0)
    assert torch.equal(sample_images(load_generator("g")[0], z), sample_images(G, z))
    with says("nosuch", "g, other"):
        load_generator("nosuch")


def test_every_shipped_network_loads_and_is_small():
    for name in shipped():
        G, config = load_generator(name)
        images = sample_images(G, sample_noise(64, config.latent_dim, seed=0))
        assert images.shape == (64, *config.image_shape) and torch.isfinite(images).all() and images.std() > 0.1
        size = sum((checkpoint.ASSETS / f"{name}.{ending}").stat().st_size for ending in ("pt", "json"))
        assert size <= (1.5 if config.channels == 1 else 5) * 2**20


@pytest.mark.parametrize("described", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_weights_file(saved, share, described, says):
    _, _, path = saved
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    if described:
        _describe(path)
    with says(path):
        load_generator(path)


def test_one_flipped_bit_is_noticed(saved, says):
    _, _, path = saved
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with says(path, "json"):
        load_generator(path)


@pytest.mark.parametrize("change", [{"hidden_dim": 9}, {"latent_dim": 4}, {"image_size": 5}, {"channels": 3}])
def test_weights_of_another_architecture(saved, change, changed, says):
    _, config, path = saved
    _describe(path, config=vars(changed(config, **change)))
    with says(path, "another architecture"):
        load_generator(path)


@pytest.mark.parametrize("content", [{}, {"layers.0.weight": torch.zeros(2)}, {"layers.0.weight": 5}, {1: 2}])
def test_a_dict_of_something_else(saved, content, says):
    _, _, path = saved
    path.write_bytes(_bytes(content))
    _describe(path)
    with says(path, "another architecture"):
        load_generator(path)


@pytest.mark.parametrize("content", [[1, 2], torch.zeros(3), "text", 5])
def test_weights_that_are_no_dict(saved, content, says):
    _, _, path = saved
    path.write_bytes(_bytes(content))
    _describe(path)
    with says(path, type(content).__name__):
        load_generator(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, ["cannot be read"]), ("{", ["cannot be read"]), ("\udcff", ["cannot be read"]), ("[1]", ["list"]),
        ("{}", ["g.pt"]), ('{"config": 5}', ["g.pt"]),
    ],
)  # fmt: skip
def test_a_json_that_is_missing_or_foreign(saved, text, words, says):
    _, _, path = saved
    beside = path.with_suffix(".json")
    beside.unlink()
    if text is not None:
        beside.write_bytes(text.encode(errors="surrogateescape"))
    with says(*words):
        load_generator(path)


@pytest.mark.parametrize(
    ("config", "word"), [(None, "config"), ([1], "config"), ({"nz": 3}, "'nz'"), ({"latent_dim": 0}, "latent_dim")]
)
def test_a_json_without_a_proper_config(saved, config, word, says):
    _, _, path = saved
    _describe(path, config=config)
    with says(word):
        load_generator(path)


# --- nothing is executed ----------------------------------------------------------------------------------------------


class Trap:
    """Unpickled the careless way, it makes a file."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return open, (self.mark, "w")


@pytest.mark.parametrize(
    "pack",
    [
        lambda trap: pickle.dumps(trap),
        lambda trap: pickle.dumps({"layers.0.weight": trap}, protocol=4),
        lambda trap: _bytes(trap),
        lambda trap: _bytes({"layers.0.weight": trap}),
        lambda trap: _bytes({"layers.0.weight": trap}, _use_new_zipfile_serialization=False),
    ],
)
def test_a_pickle_that_would_run_code_runs_none(saved, pack, says, tmp_path):
    _, _, path = saved
    mark = tmp_path / "it ran"
    path.write_bytes(pack(Trap(mark)))
    _describe(path)
    with warnings.catch_warnings(record=True) as heard, says(path, "nothing in it was run"):
        warnings.simplefilter("always")
        load_generator(path)
    assert not heard, "one sentence, not two"
    with says(path, "nothing in it was run"):
        load_checkpoint(path)
    assert not mark.exists()
    with io.BytesIO(pickle.dumps(Trap(mark))) as careless:
        pickle.load(careless).close()
    assert mark.exists(), "the trap itself must work, or this test shows nothing"


def test_whatever_is_broken_is_one_sentence(saved, says):
    """Noise over real files: torch's loader fails in a dozen ways, all of which must end in the same sentence."""
    G, _, path = saved
    whole = [_bytes(G.state_dict()), _bytes(G.state_dict(), _use_new_zipfile_serialization=False)]
    rng = random.Random(0)
    broken = [bytes(rng.randrange(256) for _ in range(rng.randint(0, 200))) for _ in range(150)]
    broken += [pickle.dumps([1]), pickle.dumps(5), b"hello world\n", b"PK\x03\x04", b"\x80\x04.", b"{}"]
    for content in whole:
        broken += [content[:length] for length in range(0, len(content), 397)]
        for _ in range(150):
            changed = bytearray(content)
            for _ in range(rng.randint(1, 8)):
                changed[rng.randrange(min(3000, len(changed)))] = rng.randrange(256)
            broken.append(bytes(changed))
    refused = 0
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        for content in broken:
            try:
                assert isinstance(weights.unpack(content, path), dict)
            except checkpoint.GanlibError as error:
                assert str(path) in str(error) and "\n" not in str(error)
                refused += 1
    assert refused > 300 and not heard


# --- checkpoints ------------------------------------------------------------------------------------------------------


compiler = pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler here")
DCGAN = {"networks": "dcgan", "image_size": 16, "channels": 3, "hidden_dim": 4, "mirror": True, "shift": 2}


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
@pytest.mark.parametrize(
    "change",
    [{"dropout": 0.0}, {"dropout": 0.3}, {"bfloat16": True}, {"networks": "batchnorm-mlp", "penalty": 1.0},
     DCGAN, DCGAN | {"channels_last": True, "dropout": 0.3, "penalty": 0.1}, DCGAN | {"bfloat16": True},
     {"matmul_precision": "medium"}, pytest.param({"compiled": True, "dropout": 0.3}, marks=compiler)],
)  # fmt: skip
def test_n_and_n_epochs_are_2n_bit_for_bit(tmp_path, small, changed, pixels, ema_decay, change, same_history):
    config = changed(small, ema_decay=ema_decay, **change)
    if config.networks == "dcgan":
        pixels = torch.randint(256, (50, *config.image_shape), dtype=torch.uint8)
    torch.compiler.reset()  # after some networks torch stops compiling, and then rounds otherwise
    straight = new_state(config)
    list(fit(straight, pixels))
    half = new_state(changed(config, epochs=2))
    list(fit(half, pixels))
    save_checkpoint(half, tmp_path / "c.pt")
    torch.manual_seed(77)
    resumed = load_checkpoint(tmp_path / "c.pt", epochs=4)
    assert resumed.config == config and len(resumed.history) == 2 and resumed.history == half.history
    list(fit(resumed, pixels))
    assert same_history(resumed.history, straight.history)
    assert (resumed.G_ema is None) == (ema_decay == 0)
    for name in ("G", "D", "optimizer_g", "optimizer_d", *["G_ema"] * bool(ema_decay)):
        one, other = getattr(straight, name).state_dict(), getattr(resumed, name).state_dict()
        torch.testing.assert_close(one, other, rtol=0, atol=0, msg=name)


def test_a_checkpoint_holds_all_of_a_state(tmp_path, small, pixels):
    state = new_state(small)
    next(fit(state, pixels))
    save_checkpoint(state, tmp_path / "c.pt")
    loaded = load_checkpoint(tmp_path / "c.pt")
    assert loaded.config == small and loaded.history == state.history
    for name in ("G", "D", "G_ema", "optimizer_g", "optimizer_d"):
        one, other = getattr(state, name).state_dict(), getattr(loaded, name).state_dict()
        assert one.keys() == other.keys()
        torch.testing.assert_close(one, other, rtol=0, atol=0, msg=name)


def test_saving_changes_nothing_in_the_state(tmp_path, small, pixels):
    state = new_state(small)
    next(fit(state, pixels))
    before = copy.deepcopy(state.G.state_dict())
    rng = torch.get_rng_state()
    save_checkpoint(state, tmp_path / "c.pt")
    load_checkpoint(tmp_path / "c.pt")
    assert torch.equal(torch.get_rng_state(), rng)
    assert all(torch.equal(before[name], value) for name, value in state.G.state_dict().items())


def test_of_the_config_only_the_epochs_may_change(tmp_path, small, says):
    save_checkpoint(new_state(small), tmp_path / "c.pt")
    assert load_checkpoint(tmp_path / "c.pt", epochs=9).config.epochs == 9
    with says("learning_rate_g", "epochs"):
        load_checkpoint(tmp_path / "c.pt", learning_rate_g=0.5)
    with says("epochs", 0):
        load_checkpoint(tmp_path / "c.pt", epochs=0)


def test_files_that_are_no_checkpoint(tmp_path, saved, says):
    with says("nosuch.pt"):
        load_checkpoint(tmp_path / "nosuch.pt")
    with says("g.pt", "no checkpoint"):
        load_checkpoint(saved[2])
    (tmp_path / "text.pt").write_text("not weights at all\n")
    with says("text.pt"):
        load_checkpoint(tmp_path / "text.pt")


def test_checkpoints_that_do_not_fit(tmp_path, small, pixels, says):
    path, state = tmp_path / "c.pt", new_state(small)
    next(fit(state, pixels))
    save_checkpoint(state, path)
    good = torch.load(path, weights_only=True)

    def with_this(**changes):
        path.write_bytes(_bytes({name: value for name, value in (good | changes).items() if value is not None}))

    other_g = Generator(3, 9, (1, 4, 4)).state_dict()
    for misfit in ({"G": other_g}, {"D": None}, {"G_ema": None}, {"optimizer_g": None}, {"optimizer_d": {"a": 1}}):
        with_this(**misfit)
        with says(path, "another architecture"):
            load_checkpoint(path)
    misfits = [{"config": wrong} for wrong in (5, "{", None)]
    misfits += [{"history": wrong} for wrong in ("[[1, 2, 3]]", "5", None)]
    for misfit in misfits:
        with_this(**misfit)
        with says(path, "no checkpoint"):
            load_checkpoint(path)
    with_this(config=json.dumps(vars(Config()) | {"nz": 3}))
    with says("'nz'"):
        load_checkpoint(path)
    with_this()
    assert len(load_checkpoint(path).history) == 1


@pytest.mark.parametrize("save", [lambda G, config, path: save_generator(G, config, path),
                                  lambda G, config, path: save_checkpoint(new_state(config), path)])  # fmt: skip
def test_a_folder_that_cannot_be_written(saved, save, says):
    G, config, path = saved
    before = path.read_bytes()
    with says("Cannot write", path / "below"):
        save(G, config, path / "below" / "g.pt")
    assert path.read_bytes() == before
