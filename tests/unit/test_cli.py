"""The commands end to end on digits; each bad input is one sentence."""

import csv
import json
import os
import pkgutil
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ganlib
from ganlib.checkpoint import (
    load_checkpoint,
    load_generator,
    read_metadata,
    save_generator,
    shipped,
)
from ganlib.cli import _fit_to_data, main
from ganlib.config import replace
from ganlib.data import NAMES, load
from ganlib.data.transforms import denormalize
from ganlib.metrics import (
    Scores,
    extract_features,
    frechet_distance,
    load_feature_extractor,
)
from ganlib.plotting import image_grid
from ganlib.recipes import RECIPES, recipe
from ganlib.results import load_result
from ganlib.sampling import sample_images, sample_noise, sample_pixels
from ganlib.tensorboard import read_scalars
from ganlib.training import Record, fit, new_state
from ganlib.widgets import explore

ROOT = Path(ganlib.__file__).parents[1]
RUN_FILES = {"generator.safetensors", "history.csv", "checkpoints", "samples"}


@pytest.fixture(autouse=True)
def elsewhere(offline, monkeypatch):
    """An empty working folder, so that runs/ cannot end up in the repository."""
    (offline / "work").mkdir()
    monkeypatch.chdir(offline / "work")


@pytest.fixture
def refused(capsys, one_sentence):
    """`refused("train", "nosuch", names=[...])`: status 2, one sentence, no output."""

    def run(*arguments, names=()):
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert end.value.code == 2 and out == ""
        assert err.startswith("ganlib: ") and err.count("\n") == 1
        one_sentence(err, *names)

    return run


def train(out, *more):
    fixed = ["train", "mnist", "--dataset", "digits", "--device", "cpu"]
    main([*fixed, "--out", str(out), *map(str, more)])


def rows(out):
    """The rows of a run's history, without the seconds."""
    with open(Path(out) / "history.csv", encoding="utf-8", newline="") as file:
        return [
            {name: row[name] for name in row if name != "seconds"}
            for row in csv.DictReader(file)
        ]


def files_of(folder):
    paths = Path(folder).rglob("*")
    return {path: path.read_bytes() for path in paths if path.is_file()}


# train


def test_train_writes_what_it_promises(capsys):
    train("run", "--epochs", 2)
    assert {path.name for path in Path("run").iterdir()} == RUN_FILES
    samples = sorted(path.name for path in Path("run/samples").iterdir())
    assert samples == [f"epoch-000{epoch}.png" for epoch in range(3)]
    out, err = capsys.readouterr()
    assert out == "2 epochs of mnist on digits are in run\n"
    assert "2/2" in err and "Loss_D" in err and "Loss_G" in err


def test_train_adds_nothing_of_its_own_to_a_run():
    train("run", "--epochs", 2, "--seed", 3, "--batch-size", 60, "--set", "dropout=0.2")
    config = recipe(
        "mnist", dataset="digits", epochs=2, seed=3, batch_size=60, dropout=0.2
    )
    state = new_state(config)
    for record, row in zip(fit(state, load("digits").pixels), rows("run"), strict=True):
        for name in Record._fields[:-1]:
            assert float(row[name]) == getattr(record, name), name
    G, its_config = load_generator("run")
    z = sample_noise(64, config.latent_dim, seed=config.seed)
    images = sample_images(state.sampling_generator, z)
    assert its_config == config
    assert torch.equal(sample_images(G, z), images)
    with Image.open("run/samples/epoch-0002.png") as picture:
        assert (np.asarray(picture) == image_grid(images)).all()


def test_without_out_it_goes_to_runs():
    main(["train", "textbook", "--dataset", "digits", "--epochs", "1"])
    assert {path.name for path in Path("runs/textbook").iterdir()} == RUN_FILES


def test_resumed_is_the_same_as_never_stopped():
    train("straight", "--epochs", 3)
    train("halves", "--epochs", 1)
    train("halves", "--epochs", 3, "--resume")
    assert rows("halves") == rows("straight")
    names = ["generator.safetensors", *(f"samples/epoch-000{n}.png" for n in range(4))]
    for name in names:
        halves, straight = Path("halves", name), Path("straight", name)
        assert halves.read_bytes() == straight.read_bytes(), name


def test_a_run_goes_on_with_its_own_config():
    train("run", "--epochs", 1, "--seed", 5, "--batch-size", 70)
    main(["train", "mnist", "--out", "run", "--resume", "--epochs", "2"])
    config = load_checkpoint("run/checkpoints/epoch-0002.pt").config
    assert (config.dataset, config.seed, config.batch_size) == ("digits", 5, 70)


def test_resuming_a_finished_run_trains_nothing():
    train("run", "--epochs", 1)
    before = Path("run/generator.safetensors").read_bytes()
    train("run", "--epochs", 1, "--resume")
    assert [row["epoch"] for row in rows("run")] == ["1"]
    assert Path("run/generator.safetensors").read_bytes() == before


def test_fewer_epochs_than_a_run_has_are_refused(refused):
    train("run", "--epochs", 2)
    before = files_of("run")
    resumed = "train", "mnist", "--out", "run", "--resume"
    refused(*resumed, "--epochs", 1, names=["epochs is 1", "2 already"])
    assert files_of("run") == before


def test_resuming_mends_what_a_kill_left_out_of_date():
    train("run", "--epochs", 1)
    before = Path("run/history.csv").read_bytes()
    Path("run/history.csv").unlink()
    train("run", "--epochs", 1, "--resume")
    assert Path("run/history.csv").read_bytes() == before


def test_a_run_is_never_written_over(refused):
    train("run", "--epochs", 1)
    before = files_of("run")
    again = "train", "mnist", "--dataset", "digits", "--out", "run"
    refused(*again, names=["run", "--resume", "--out"])
    resumed = *again, "--resume"
    refused(*resumed, "--seed", 9, names=["run", "seed 0 (not 9)", "--force"])
    refused(*resumed, "--set", "beta1=0.4", names=["beta1 0.0 (not 0.4)"])
    refused("train", "textbook", "--out", "run", "--resume", names=["not textbook"])
    assert files_of("run") == before


def test_force_goes_on_with_a_changed_config():
    train("run", "--epochs", 1, "--batch-size", 200)
    more = "--epochs", 2, "--batch-size", 300, "--set", "ema_decay=0"
    train("run", *more, "--resume", "--force")
    state = load_checkpoint("run/checkpoints/epoch-0002.pt")
    assert state.config.batch_size == 300 and state.G_ema is None


def test_without_data_train_does_not_take_other_data(refused, offline):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        arguments = "train", "mnist", "--data", offline / "none", "--out", "run"
        refused(*arguments, names=["mnist", offline / "none"])
    assert not Path("run").exists()


def test_a_convolutional_network_on_ones_own_pictures(capsys):
    rng = np.random.default_rng(0)
    Path("pictures").mkdir()
    for number, side in enumerate((20, 33, 64, 16)):
        picture = rng.integers(0, 256, (side, 2 * side, 3), dtype=np.uint8)
        Image.fromarray(picture).save(f"pictures/{number}.png")
    arguments = ["train", "faces", "--dataset", "folder:pictures", "--epochs", "1"]
    for field in ("base_channels=4", "image_size=16", "augment_shift=2"):
        arguments += ["--set", field]
    main([*arguments, "--batch-size", "4", "--out", "run"])
    assert "1 epochs of faces on folder:pictures" in capsys.readouterr().out
    main(["sample", "run", "--count", "3", "--out", "three.npz"])
    with np.load("three.npz") as file:
        assert file["images"].shape == (3, 3, 16, 16)


def test_every_kth_generator_is_kept():
    train("run", "--epochs", 3, "--models-every", 2)
    (model,) = Path("run/models").iterdir()
    assert model.name == "epoch-0002.safetensors"
    assert read_metadata(model)["epoch"] == 2


def test_tensorboard_holds_each_epoch_once():
    train("run", "--epochs", 1, "--tensorboard")
    train("run", "--epochs", 2, "--tensorboard", "--resume")
    losses = read_scalars("run/tensorboard")["loss/D"]
    assert [epoch for epoch, _ in losses] == [1, 2]


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["train", "mnits"], ["'mnits'", *RECIPES]),
        (["train", "mnist", "--dataset", "minst"], ["'minst'", *NAMES]),
        (["train", "mnist", "--dataset", "folder:nosuch"], ["nosuch"]),
        (["train", "faces", "--dataset", "digits"], ["(1, 28, 28)", "(3, 64, 64)"]),
        (["train", "mnist", "--models-every", "-2"], ["--models-every", "-2"]),
        (["train", "mnist", "--set", "hidden_dim"], ["'hidden_dim'", "FIELD=VALUE"]),
        (["train", "mnist", "--set", "hidden_dim=wide"], ["hidden_dim", "'wide'"]),
        (["train", "faces-dcgan", "--set", "r1_weight=1"], ["BatchNorm"]),
        (["train", "mnist", "--epochs", "0"], ["epochs", "0"]),
        (["train", "mnist", "--epochs", "many"], ["--epochs", "many"]),
        (["train", "mnist", "--batch-size", "0"], ["batch_size", "0"]),
        (
            ["train", "mnist", "--dataset", "digits", "--batch-size", "1798"],
            ["batch_size", "1798", "1797"],
        ),
        (["train", "mnist", "--seed", "-1"], ["seed", "-1"]),
        (["train", "mnist", "--device", "abacus"], ["'abacus'", "cpu"]),
        (["train", "mnist", "--resume", "--out", "nosuch"], ["nosuch"]),
        (["train", "mnist", "--bogus"], ["--bogus"]),
        (["train"], ["recipe"]),
        (["fly"], ["fly", "train", "sample", "score"]),
        (["train", "mnist", "--seed", "1", "--set", "seed=2"], ["seed", "twice"]),
        (["train", "mnist", "--set", "beta1=0", "--set", "beta1=0"], ["beta1"]),
        (["train", "mnist", "--set", "recipe=faces"], ["recipe", "twice"]),
        (["sample", "nosuch", "--out", "a.npz"], ["nosuch"]),
        (["sample"], ["generator"]),
        (["sample", "mnist", "--out", ""], ["--out", "empty"]),
        (["train", "mnist", "--dataset", "digits", "--out", ""], ["--out", "empty"]),
        (["export", "mnist", "--to", "onnx", "--out", ""], ["--out", "empty"]),
        (["score", "mnist", "--against", "cats"], ["'cats'", "avatars"]),
        (["score", "mnist", "--count", "999"], ["--count is 999", "1000"]),
        (["score", "mnist"], ["mnist", "GANLIB_DATA"]),  # which is not here
    ],
)
def test_bad_input_is_one_sentence_and_leaves_no_trace(arguments, names, refused):
    refused(*arguments, names=names)
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("out", ["file", "file/deeper"])
def test_a_folder_that_cannot_be_written(refused, out):
    Path("file").write_text("in the way", encoding="utf-8")
    arguments = "train", "mnist", "--dataset", "digits", "--out", out
    refused(*arguments, names=["Cannot write", out])
    assert Path("file").read_text(encoding="utf-8") == "in the way"


def test_a_broken_checkpoint_is_not_resumed_and_not_lost(refused):
    train("run", "--epochs", 1)
    for path in Path("run/checkpoints").iterdir():
        path.write_bytes(path.read_bytes()[:1000])
    before = files_of("run")
    refused("train", "mnist", "--out", "run", "--resume", names=["epoch-0001.pt"])
    assert files_of("run") == before


def test_a_warning_is_one_line(capsys):
    train("run", "--epochs", 1)
    Path("run/checkpoints/epoch-0001.pt").write_bytes(b"")
    train("run", "--epochs", 1, "--resume")
    warning = capsys.readouterr().err.splitlines()
    warning = [line for line in warning if "going on from" in line]
    assert len(warning) == 1 and warning[0].startswith("ganlib: run/checkpoints")


# sample


@pytest.fixture
def generator(small, changed):
    """The file of an untrained generator of 28x28 images."""
    config = changed(small, image_size=28, latent_dim=6)
    path = Path("weights/g.safetensors")
    save_generator(new_state(config).G, config, path)
    return path


def images_in(path):
    with np.load(path) as file:
        assert file.files == ["images"]
        return file["images"]


def test_sample_writes_the_images_of_that_seed(generator, capsys):
    main(["sample", str(generator), "--count", "5", "--seed", "3", "--out", "a/b.npz"])
    assert capsys.readouterr().out == "5 images (1, 28, 28) are in a/b.npz\n"
    G, config = load_generator(generator)
    z = sample_noise(5, config.latent_dim, seed=3)
    images = images_in("a/b.npz")
    assert images.dtype == np.uint8
    assert (images == denormalize(sample_images(G, z)).numpy()).all()


@pytest.mark.parametrize("ending", ["png", "gif", "webp", "PNG"])
def test_a_sample_is_what_its_name_says(ending):
    main(["sample", "mnist", "--count", "5", "--out", f"a.{ending}"])
    with Image.open(f"a.{ending}") as picture:
        assert picture.format == ending.upper()
        assert getattr(picture, "n_frames", 1) == (1 if ending.lower() == "png" else 5)


def test_a_sample_in_a_folder(generator):
    main(["sample", str(generator), "--count", "3", "--out", "a/"])
    main(["sample", str(generator), "--count", "3", "--out", "a.npz"])
    for number, image in enumerate(images_in("a.npz")):
        with Image.open(f"a/{number}.png") as picture:
            assert (np.asarray(picture) == image[0]).all()


def test_grey_pictures_and_a_batch_that_fits(capsys):
    Path("greys").mkdir()
    for number in range(5):
        Image.fromarray(np.full((9, 9), 40 * number, np.uint8)).save(
            f"greys/{number}.png"
        )
    arguments = ["train", "faces", "--dataset", "folder:greys", "--epochs", "1"]
    for field in ("base_channels=2", "image_size=16", "augment_shift=2"):
        arguments += ["--set", field]
    main([*arguments, "--out", "run"])
    err = capsys.readouterr().err
    assert "channels is 1" in err and "batch_size is 5 and not 64" in err
    config = load_checkpoint("run/checkpoints/epoch-0001.pt").config
    assert (config.channels, config.batch_size) == (1, 5)


@pytest.mark.parametrize("count", [2, 63, 64, 65, 1000])
def test_a_batch_is_never_larger_than_the_folder(count, recwarn):
    config = recipe("faces", dataset="folder:pictures")
    fitting = _fit_to_data(config, {}, torch.zeros(count, 3, 64, 64))
    assert fitting == replace(config, batch_size=min(count, 64))
    assert len(recwarn) == (count < 64)
    asked = {"batch_size": 64}  # by name: `fit` refuses what does not fit
    assert _fit_to_data(config, asked, torch.zeros(count, 3, 64, 64)) == config


def test_one_channel_can_be_asked_of_colours_and_three_of_greys(capsys):
    Path("own").mkdir()
    fixed = ["train", "faces", "--dataset", "folder:own", "--epochs", "1"]
    for field in ("base_channels=2", "image_size=16", "augment_shift=2"):
        fixed += ["--set", field]
    for colour, channels in ((("red", "blue"), 1), (("#333333", "white"), 3)):
        for number in range(2):
            picture = Image.new("RGB", (9, 9), colour[number])
            picture.save(f"own/{number}.png")
        run = f"run-{channels}"
        main([*fixed, "--set", f"channels={channels}", "--out", run])
        assert "channels is" not in capsys.readouterr().err
        assert load_generator(run)[1].channels == channels


@pytest.mark.parametrize(
    ("architecture", "size"), [("resize-conv", 28), ("resize-conv", 40), ("mlp", 17)]
)
def test_pictures_of_a_size_that_is_no_power_of_two(architecture, size):
    Path("own").mkdir()
    for number in range(3):
        Image.new("RGB", (50, 30), (90 * number, 0, 0)).save(f"own/{number}.png")
    width = "hidden_dim=8" if architecture == "mlp" else "base_channels=2"
    arguments = ["train", "textbook", "--dataset", "folder:own", "--epochs", "1"]
    for field in (f"architecture={architecture}", f"image_size={size}", width):
        arguments += ["--set", field]
    main([*arguments, "--set", "channels=3", "--out", "run"])
    main(["sample", "run", "--count", "2", "--out", "two.npz"])
    assert images_in("two.npz").shape == (2, 3, size, size)


def test_alone_it_prints_help(capsys):
    main([])
    assert "export" in capsys.readouterr().out


def test_the_command_and_the_module_are_the_same(python, capsys):
    done = python("-m", "ganlib", "--version")
    assert (done.returncode, done.stdout) == (0, f"ganlib {ganlib.__version__}\n")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["scripts"] == {"ganlib": "ganlib.cli:main"}
    code = "from ganlib.cli import main; main()"
    alone = [python(*command).stdout for command in (("-m", "ganlib"), ("-c", code))]
    assert alone[0] == alone[1] and "usage: ganlib" in alone[0]


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_shell_can_complete_commands(shell, capsys):
    pytest.importorskip("shtab")
    with pytest.raises(SystemExit) as end:
        main(["--print-completion", shell])
    script = capsys.readouterr().out
    assert end.value.code == 0
    for word in ("train", "sample", "score", "export", "--against", "--resume"):
        assert word in script


def test_list_has_everything_with_its_minutes_and_scores(capsys):
    main(["list"])
    lines = capsys.readouterr().out.splitlines()
    firsts = [line.split()[0] for line in lines if line.startswith("  ")]
    assert firsts == [*RECIPES, *shipped(), *NAMES]
    head = next(line for line in lines if line.startswith("Shipped"))
    row = next(line for line in lines[lines.index(head) :] if " mnist-long " in line)
    facts = read_metadata("mnist-long")
    minutes = load_result("stopping")["runs"][0]["cpu_seconds"] / 60
    distance, error = facts["scores"]["frechet"], facts["spread"]["frechet"]
    assert f" {minutes:.1f} " in row and f" {distance:.1f} ± {error:.1f} " in row


def test_progress_shows_images_a_second_and_time_left(capsys):
    train("run", "--epochs", 2)
    last = capsys.readouterr().err.split("\r")[-1]
    assert re.search(r"epoch 2/2: 100%.*\[[\d:]+<[\d:]+, .*images/s", last), last


# Wherever a generator is asked for

SOURCES = {
    "file": "run/generator.safetensors",
    "run": "run",
    "kept epoch": "run/models/epoch-0001.safetensors",
    "run with dots": "runs/v1.2",
    "shipped": "textbook-tuned",
}


@pytest.fixture
def generators():
    """A run that kept a generator; and the same run in another folder."""
    train("run", "--epochs", 1, "--models-every", 1)
    shutil.copytree("run", "runs/v1.2")


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_every_command_takes_every_kind_of_generator(generators, source, capsys):
    main(["sample", source, "--count", "2", "--out", "two.npz"])
    assert images_in("two.npz").shape == (2, 1, 28, 28)
    G, config = load_generator(source)
    assert explore(G).about["shape"] == [1, 28, 28]
    assert read_metadata(source)["config"]["recipe"] == config.recipe


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_every_kind_of_generator_can_be_exported(generators, source, capsys):
    onnx = pytest.importorskip("onnx")
    main(["export", source, "--to", "onnx"])
    (path,) = Path().glob("*.onnx")
    names = {"run/generator.safetensors": "generator.onnx", "run": "run.onnx"}
    names |= {"run/models/epoch-0001.safetensors": "epoch-0001.onnx"}
    names |= {"runs/v1.2": "v1.2.onnx", "textbook-tuned": "textbook-tuned.onnx"}
    assert path.name == names[source]
    assert "z (N, 64) -> images" in capsys.readouterr().out
    assert onnx.load(path).graph.input[0].name == "z"


@pytest.mark.parametrize("command", ["sample", "score", "export"])
def test_a_folder_without_a_generator_is_said_by_every_command(command, refused):
    Path("empty").mkdir()
    more = {"sample": ["--out", "a.npz"], "score": [], "export": ["--to", "onnx"]}
    refused(command, "empty", *more[command], names=["empty", "generator.safetensors"])


def test_export_writes_what_the_name_says(generators, refused):
    refused("export", "run", "--to", "onnx", "--out", "a.pt", names=["a.pt", ".onnx"])
    refused("export", "run", "--to", "tflite", names=["--to", "onnx"])
    assert not Path("a.pt").exists()


def test_another_seed_gives_other_images(generator):
    for seed in ("3", "4"):
        name = f"{seed}.npz"
        main(["sample", str(generator), "--seed", seed, "--out", name])
    assert (images_in("3.npz") != images_in("4.npz")).any()


@pytest.mark.parametrize("name", shipped())
def test_sample_knows_the_shipped_networks(name):
    main(["sample", name, "--count", "2", "--out", "a.npz"])
    assert images_in("a.npz").std() > 10


@pytest.mark.parametrize(
    ("more", "names"),
    [
        (["--count", "0"], ["--count", "0"]),
        (["--count", "10000000000"], ["--count"]),
        (["--count", "10001", "--out", "a.gif"], ["--count", "walk", "10000"]),
        (["--count", "a few"], ["--count", "a few"]),
        (["--seed", "-1"], ["--seed", "-1"]),
        (["--seed", str(2**70)], ["--seed", 2**70]),
        (["--out", "weights/g.safetensors/a.npz"], ["weights/g.safetensors/a.npz"]),
        (["--out", "weights/g.safetensors"], ["weights/g.safetensors", ".npz"]),
        (["--out", "images"], ["images", ".npz"]),
        *[
            (["--out", f"a.{ending}"], [f"a.{ending}", ".png", ".gif"])
            for ending in ("jpg", "jpeg", "bmp", "zip", "pt", "png.zip", "npz.txt")
        ],
    ],
)
def test_a_sample_that_cannot_be(generator, more, names, refused):
    refused("sample", generator, "--out", "a.npz", *more, names=names)
    assert not Path("a.npz").exists() and load_generator(generator)


def test_a_broken_generator_cannot_be_sampled(generator, refused):
    generator.write_bytes(generator.read_bytes()[:500])
    refused("sample", generator, "--out", "a.npz", names=[generator, "broken"])
    assert not Path("a.npz").exists()


# score


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder of 1,000 pictures of 16x16 pixels."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for number, pixels in enumerate(rng.integers(0, 256, (1000, 4, 4, 3), np.uint8)):
        picture = Image.fromarray(pixels).resize((16, 16), Image.Resampling.NEAREST)
        picture.save(folder / f"{number:04d}.png")
    return folder


def scored(capsys):
    """What `score` has printed: its first line and {name: text}."""
    first, *table = capsys.readouterr().out.splitlines()
    return first, dict(line.split() for line in table)


def scored_json(capsys, *arguments):
    """What `score --json` prints, and nothing else does."""
    capsys.readouterr()
    main(["score", *map(str, arguments), "--json"])
    return json.loads(capsys.readouterr().out)


def test_score_prints_a_table_and_json(pictures, capsys):
    against = f"folder:{pictures}"
    real = load(against).pixels
    np.savez_compressed("a.npz", images=real.flip(3).numpy())
    main(["score", "a.npz", "--against", against])
    first, table = scored(capsys)
    scores = scored_json(capsys, "a.npz", "--against", against)
    assert first == f"a.npz against all images of {against}"
    assert (scores["source"], scores["against"]) == ("a.npz", against)
    assert (scores["real"], scores["generated"]) == (1000, 1000)
    assert (
        set(table)
        == set(Scores._fields)
        == set(scores)
        - {
            "source",
            "against",
            "split",
        }
    )
    assert table["real"] == "1,000"
    assert table["frechet"] == f"{scores['frechet']:.3f}"
    assert table["classes"] == "-" and scores["classes"] is None


def test_the_score_of_a_run_is_that_of_its_images(pictures, small, changed, capsys):
    against = f"folder:{pictures}"
    config = changed(recipe("faces"), base_channels=2, latent_dim=3)
    G = new_state(config).G
    save_generator(G, config, "run/generator.safetensors")
    feature_extractor = load_feature_extractor(against)
    distance = frechet_distance(
        extract_features(feature_extractor, load(against).pixels),
        extract_features(feature_extractor, sample_pixels(G, 3, count=1000)),
    )
    scores = scored_json(capsys, "run", "--against", against, "--count", 1000)
    assert scores["frechet"] == pytest.approx(distance)


def test_the_shipped_digits_are_scored_against_test_images(real_mnist, capsys):
    scores = scored_json(capsys, "mnist", "--count", 1000, "--data", real_mnist)
    assert scores["split"] == "test" and scores["real"] == scores["generated"] == 1000
    assert scores["classes"] == 10 and 0 < scores["frechet"] < 200


def test_what_cannot_be_scored(generator, pictures, refused):
    load(f"folder:{pictures}")  # the first time shows a bar
    against = "--against", f"folder:{pictures}"
    np.savez_compressed("few.npz", images=np.zeros((999, 3, 64, 64), np.uint8))
    np.savez_compressed("floats.npz", images=np.zeros((10, 3, 64, 64)))
    np.savez_compressed("other.npz", pictures=np.zeros(3))
    Path("broken.npz").write_bytes(b"PK")
    refused("score", "few.npz", *against, names=["999 generated images", "1,000"])
    refused("score", generator, *against, names=["(1, 28, 28)", "(3, 64, 64)"])
    refused("score", "floats.npz", *against, names=["floats.npz", "float64", "uint8"])
    for name in ("other.npz", "broken.npz"):
        refused("score", name, *against, names=[name, "`images`"])
    refused("score", "nosuch.npz", *against, names=["no file nosuch.npz"])


def test_more_images_than_memory_should_hold_are_not_drawn(refused):
    arguments = "sample", "faces", "--count", 10**6, "--out", "a.npz"
    refused(*arguments, names=["--count", "(3, 64, 64)", 2**30 // (3 * 64 * 64)])


@pytest.mark.parametrize("command", ["sample", "score", "export"])
def test_a_checkpoint_is_no_generator(command, refused):
    train("run", "--epochs", 1)
    more = {"sample": ["--out", "a.npz"], "score": [], "export": ["--to", "onnx"]}
    path = "run/checkpoints/epoch-0001.pt"
    refused(command, path, *more[command], names=["epoch-0001.pt", "folder"])


# As a program


def test_more_threads_than_pay_are_not_used(refused):
    torch.set_num_threads(12)
    try:
        refused("train", "nosuch")
        assert torch.get_num_threads() == 8
    finally:
        torch.set_num_threads(1)


@pytest.mark.skipif(os.name == "nt", reason="there are no signals")
def test_an_interrupt_leaves_one_sentence_and_a_run_that_goes_on(one_sentence):
    command = [sys.executable, "-m", "ganlib", "train", "mnist", "--dataset", "digits"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [*command, "--epochs", "100000", "--out", "run"],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        # a shell that starts jobs in the background has them ignore it
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    started = time.monotonic()
    while not Path("run/checkpoints/epoch-0002.pt").exists():
        assert process.poll() is None and time.monotonic() - started < 600
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in err
    one_sentence(err.splitlines()[-1], "ganlib: Stopped", "--resume")
    newest = max(path.stem for path in Path("run/checkpoints").glob("*.pt"))
    epochs = int(newest.removeprefix("epoch-")) + 1
    train("run", "--epochs", epochs, "--resume")
    numbers = [int(row["epoch"]) for row in rows("run")]
    assert numbers == list(range(1, epochs + 1))


# Importing

IMPORT = """
import importlib, os, random, socket, sys
import numpy, torch

def refuse(*_):
    raise AssertionError("a module reached for the network")

socket.socket.connect = socket.getaddrinfo = refuse

def state():
    return (
        torch.get_rng_state().tolist(), torch.get_num_threads(),
        torch.get_default_dtype(), torch.is_grad_enabled(), random.getstate(),
        str(numpy.random.get_state()), socket.getdefaulttimeout(), dict(os.environ),
        os.getcwd(), sorted(sys.path),
    )

before = state()
for module in sys.argv[1:]:
    importlib.import_module(module)
    assert state() == before, module
    if module != "ganlib.widgets":  # the last; a widget needs IPython
        for heavy in ("matplotlib.pyplot", "jovian", "IPython"):
            assert heavy not in sys.modules, f"{module} imports {heavy}"
"""


def test_importing_has_no_side_effect(python):
    found = pkgutil.walk_packages(ganlib.__path__, "ganlib.")
    modules = sorted(one.name for one in found if one.name != "ganlib.__main__")
    assert "ganlib.cli" in modules and modules[-1] == "ganlib.widgets"
    done = python("-c", IMPORT, "ganlib", *modules)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(done.home.rglob("*")) == [], "a module made a file or a folder"
