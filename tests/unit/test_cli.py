"""The corridor: both commands end to end on digits, each bad input in one sentence, imports without side effects."""

import csv
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ganlib
from ganlib import __main__ as corridor
from ganlib import checkpoint
from ganlib.cli import main
from ganlib.data.avatars import draw
from ganlib.checkpoint import load_checkpoint, load_generator, read_about, shipped
from ganlib.recipes import RECIPES, recipe
from ganlib.data import NAMES, Images, load
from ganlib.metrics import Scores
from ganlib.sampling import sample_noise, sample_images
from ganlib.data.transforms import denormalize
from ganlib.training import Record, fit, new_state

WHOLE = {"generator.pt", "generator.json", "history.csv", "checkpoints", "samples"}


@pytest.fixture(autouse=True)
def elsewhere(offline, monkeypatch):
    """An empty working folder, so that runs/ cannot end up in the repository."""
    (offline / "work").mkdir()
    monkeypatch.chdir(offline / "work")


@pytest.fixture
def few(monkeypatch):
    """The first 250 digits in place of all of them."""
    digits = load("digits")
    few = Images("digits", digits.pixels[:250], digits.labels[:250], digits.classes)
    monkeypatch.setattr(corridor, "load", lambda name, **how: few if name == "digits" else load(name, **how))
    return few


@pytest.fixture
def refused(capsys, one_sentence):
    """`refused("train", "nosuch", names=[...])`: ends with status 2 and one sentence on stderr, and prints nothing."""

    def run(*arguments, names=()):
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert end.value.code == 2 and out == ""
        assert err.startswith("ganlib: ") and err.count("\n") == 1
        one_sentence(err, *names)

    return run


def _train(out, *more):
    main(["train", "mnist", "--dataset", "digits", "--device", "cpu", "--out", str(out), *map(str, more)])


def _rows(out):
    with open(Path(out) / "history.csv", newline="") as file:
        return list(csv.DictReader(file))


# --- train ------------------------------------------------------------------------------------------------------------


def test_train_writes_what_it_promises(few, capsys):
    _train("run", "--epochs", 2, "--seed", 3, "--batch-size", 60)
    assert {path.name for path in Path("run").iterdir()} == WHOLE
    assert sorted(path.name for path in Path("run/samples").iterdir()) == [f"epoch-000{n}.png" for n in range(3)]
    out, err = capsys.readouterr()
    assert out == "2 epochs of mnist on digits are in run\n"
    assert "2/2" in err and "Loss_D" in err and "Loss_G" in err
    assert [row["epoch"] for row in _rows("run")] == ["1", "2"] and tuple(_rows("run")[0]) == Record._fields
    about = read_about("run/generator.pt")
    config = recipe("mnist", dataset="digits", epochs=2, seed=3, batch_size=60)
    assert about["config"] == vars(config) and about["epoch"] == 2

    state = new_state(config)  # the same run on the page: the command must add nothing of its own
    for record, row in zip(fit(state, few.pixels), _rows("run"), strict=True):
        for name in Record._fields[:-1]:
            assert float(row[name]) == getattr(record, name), name
    G, _ = load_generator("run/generator.pt")
    z = sample_noise(64, config.latent_dim, seed=config.seed)
    assert torch.equal(sample_images(G, z), sample_images(state.sampling_generator, z))
    with Image.open("run/samples/epoch-0002.png") as picture:
        from ganlib.plotting import image_grid

        assert (np.asarray(picture) == image_grid(sample_images(G, z))).all()
    pictures = [Path(f"run/samples/epoch-000{n}.png").read_bytes() for n in range(3)]
    assert len(set(pictures)) == 3
    assert load_checkpoint("run/checkpoints/epoch-0002.pt").config == config


def test_without_out_it_goes_to_runs(few):
    main(["train", "textbook", "--dataset", "digits", "--epochs", "1"])
    assert {path.name for path in Path("runs/textbook").iterdir()} == WHOLE


def test_resumed_is_the_same_as_never_stopped(few):
    _train("straight", "--epochs", 4)
    _train("halves", "--epochs", 2)
    _train("halves", "--epochs", 4, "--resume")
    drop = [{name: row[name] for name in row if name != "seconds"} for row in _rows("straight")]
    assert [{name: row[name] for name in row if name != "seconds"} for row in _rows("halves")] == drop
    assert [row["epoch"] for row in _rows("halves")] == ["1", "2", "3", "4"]
    one, other = (load_generator(f"{out}/generator.pt")[0].state_dict() for out in ("straight", "halves"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    for number in range(5):
        name = f"samples/epoch-{number:04d}.png"
        assert Path("straight", name).read_bytes() == Path("halves", name).read_bytes()


def test_stopped_by_hand_it_goes_on_with_its_own_numbers(few, monkeypatch, capsys, one_sentence):
    def stopped(state, pixels):
        yield next(fit(state, pixels))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(corridor, "fit", stopped)
        with pytest.raises(SystemExit) as end:
            _train("run", "--epochs", 3, "--seed", 5, "--batch-size", 70)
    assert end.value.code == 130
    one_sentence(capsys.readouterr().err.splitlines()[-1], "--resume")
    assert len(_rows("run")) == 1 and load_generator("run/generator.pt")
    main(["train", "mnist", "--out", "run", "--resume"])
    assert [row["epoch"] for row in _rows("run")] == ["1", "2", "3"]
    config = load_checkpoint("run/checkpoints/epoch-0003.pt").config
    assert (config.dataset, config.epochs, config.seed, config.batch_size) == ("digits", 3, 5, 70)


def test_resuming_a_finished_run_changes_nothing(few):
    _train("run", "--epochs", 1)
    before = {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()}
    _train("run", "--epochs", 1, "--resume")
    assert {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()} == before


def test_a_run_is_never_written_over(few, refused):
    _train("run", "--epochs", 1)
    before = {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()}
    again = "train", "mnist", "--dataset", "digits", "--out", "run"
    refused(*again, names=["run", "--resume", "--out"])
    refused(*again, "--resume", "--seed", 9, names=["run", "seed 0 (not 9)", "--force"])
    refused(*again, "--resume", "--batch-size", 9, names=["run", "batch_size 100 (not 9)"])
    refused("train", "textbook", "--out", "run", "--resume", names=["run", "recipe mnist (not textbook)"])
    refused("train", "mnist", "--dataset", "mnist", "--out", "run", "--resume", names=["dataset digits (not mnist)"])
    assert {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()} == before
    for left in ("generator.pt", "history.csv", "checkpoints/epoch-0001.pt"):
        folder = Path(f"only-{Path(left).name}")
        (folder / left).parent.mkdir(parents=True)
        (folder / left).write_bytes(before[Path("run", left)])
        refused(*again[:-1], folder, names=[folder])
        assert [path for path in folder.rglob("*") if path.is_file()] == [folder / left]


def test_train_does_not_fall_back_without_being_told(refused, offline):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        refused("train", "mnist", "--data", offline / "none", "--out", "run", names=["mnist", offline / "none"])
    assert not Path("run").exists()


def test_data_takes_a_root(tiny_mnist, few):
    root = tiny_mnist.root(zipped=True)
    main(["train", "mnist", "--data", str(root), "--epochs", "1", "--batch-size", "5", "--out", "run"])
    assert read_about("run/generator.pt")["config"]["dataset"] == "mnist" and _rows("run")[0]["images_seen"] == "12"


def test_a_dcgan_on_ones_own_pictures(capsys):
    rng = np.random.default_rng(0)
    for number, side in enumerate((20, 33, 64)):
        Path("pics").mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (side, 2 * side, 3), dtype=np.uint8)).save(f"pics/{number}.png")
    fields = ["--set", "hidden_dim=4", "--set", "image_size=16", "--set", "shift=2"]
    main(["train", "faces", "--dataset", "folder:pics", "--epochs", "2", "--batch-size", "2", *fields, "--out", "run"])
    assert "2 epochs of faces on folder:pics are in run" in capsys.readouterr().out
    main(["sample", "run/generator.pt", "--count", "3", "--out", "three.npz"])
    assert np.load("three.npz")["images"].shape == (3, 3, 16, 16)


def test_every_kth_model_is_kept(few):
    _train("run", "--epochs", 5, "--models-every", 2)
    assert sorted(path.name for path in Path("run/models").glob("*.pt")) == ["epoch-0002.pt", "epoch-0004.pt"]
    assert read_about("run/models/epoch-0004.pt")["epoch"] == 4


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["train", "mnits"], ["'mnits'", *RECIPES]),
        (["train", "mnist", "--dataset", "minst"], ["'minst'", *NAMES]),
        (["train", "mnist", "--dataset", "folder:nosuch"], ["nosuch", "folder or zip"]),
        (["train", "faces", "--dataset", "digits"], ["digits", "(1, 28, 28)", "faces", "(3, 64, 64)"]),
        (["train", "mnist", "--models-every", "-2"], ["--models-every", "-2"]),
        (["train", "mnist", "--set", "hidden_dim"], ["'hidden_dim'", "FIELD=VALUE"]),
        (["train", "mnist", "--set", "hidden_dim=wide"], ["hidden_dim", "'wide'"]),
        (["train", "faces", "--set", "image_size=28", "--dataset", "digits"], ["28"]),
        (["train", "mnist", "--epochs", "0"], ["epochs", "0"]),
        (["train", "mnist", "--epochs", "many"], ["--epochs", "many"]),
        (["train", "mnist", "--dataset", "digits", "--batch-size", "0"], ["batch_size", "0"]),
        (["train", "mnist", "--dataset", "digits", "--batch-size", "1798"], ["batch_size", "1798", "1797"]),
        (["train", "mnist", "--seed", "-1"], ["seed", "-1"]),
        (["train", "mnist", "--device", "abacus"], ["'abacus'", "cpu"]),
        (["train", "mnist", "--device", "cpu:x"], ["'cpu:x'", "cpu"]),
        (["train", "mnist", "--resume", "--out", "nosuch"], ["nosuch"]),
        (["train", "mnist", "--bogus"], ["--bogus"]),
        (["train"], ["recipe"]),
        (["fly"], ["fly", "train", "sample"]),
        ([], ["train | sample"]),
        (["sample", "nosuch", "--out", "a.npz"], ["nosuch"]),
        (["sample", "mnist"], ["--out"]),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_no_trace(arguments, names, refused):
    refused(*arguments, names=names)
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("out", ["file", "file/deeper"])
def test_an_out_folder_that_cannot_be_written(few, refused, out):
    Path("file").write_text("in the way")
    refused("train", "mnist", "--dataset", "digits", "--out", out, names=["Cannot write", out])
    assert Path("file").read_text() == "in the way" and len(list(Path().iterdir())) == 1


def test_a_broken_checkpoint_is_not_resumed_and_not_lost(few, refused):
    _train("run", "--epochs", 1)
    for path in Path("run/checkpoints").iterdir():
        path.write_bytes(path.read_bytes()[:1000])
    refused("train", "mnist", "--dataset", "digits", "--out", "run", "--resume", names=["epoch-0001.pt"])
    assert {path.stat().st_size for path in Path("run/checkpoints").iterdir()} == {1000}


# --- sample -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def weights(small, changed):
    """A generator file of 28x28 images, untrained."""
    config = changed(small, image_size=28, latent_dim=6)
    checkpoint.save_generator(new_state(config).G, config, "weights/g.pt")
    return Path("weights/g.pt")


def test_sample_writes_the_images_of_that_seed(weights, capsys):
    main(["sample", str(weights), "--count", "5", "--seed", "3", "--out", "new/images.npz"])
    G, config = load_generator(weights)
    with np.load("new/images.npz") as file:
        assert file.files == ["images"]
        images = file["images"]
    assert images.dtype == np.uint8 and images.shape == (5, 1, 28, 28)
    assert (images == denormalize(sample_images(G, sample_noise(5, config.latent_dim, seed=3))).numpy()).all()
    assert capsys.readouterr().out == "5 images (1, 28, 28) are in new/images.npz\n"
    main(["sample", str(weights), "--count", "5", "--seed", "4", "--out", "new/others.npz"])
    with np.load("new/others.npz") as file:
        assert (file["images"] != images).any()


def test_many_samples_are_those_of_one_draw(weights):
    main(["sample", str(weights), "--count", "2100", "--out", "images.npz"])
    G, config = load_generator(weights)
    at_once = denormalize(sample_images(G, sample_noise(2100, config.latent_dim, seed=0))).numpy()
    with np.load("images.npz") as file:
        assert file["images"].shape == at_once.shape
        assert np.abs(file["images"].astype(int) - at_once).max() <= 1


def test_sample_knows_the_shipped_names(weights, monkeypatch):
    monkeypatch.setattr(checkpoint, "ASSETS", weights.parent)
    main(["sample", "g", "--count", "1", "--out", "a.npz"])
    assert Path("a.npz").exists()


@pytest.mark.skipif("mnist" not in shipped(), reason="the mnist network is not here yet")
def test_sample_of_the_shipped_mnist():
    main(["sample", "mnist", "--count", "3", "--out", "a.npz"])
    with np.load("a.npz") as file:
        assert file["images"].shape == (3, 1, 28, 28) and 10 < file["images"].mean() < 80


@pytest.mark.parametrize(
    ("more", "names"),
    [
        (["--count", "0"], ["--count", "0"]), (["--count", "-3"], ["-3"]), (["--count", "10000000000"], ["--count"]),
        (["--count", "a few"], ["--count", "a few"]), (["--seed", "-1"], ["seed", "-1"]),
        (["--seed", str(2**70)], ["seed", 2**70]), (["--out", "weights/g.pt/a.npz"], ["weights/g.pt/a.npz"]),
        (["--out", "weights"], ["weights"]),
    ],
)  # fmt: skip
def test_bad_wishes_for_a_sample(weights, more, names, refused):
    refused("sample", weights, "--out", "a.npz", *more, names=names)
    assert not Path("a.npz").exists() and load_generator(weights)


def test_bad_weights_for_a_sample(weights, refused):
    whole = weights.read_bytes()
    weights.write_bytes(whole[:500])
    refused("sample", weights, "--out", "a.npz", names=[weights])
    weights.write_bytes(whole)
    beside = weights.with_suffix(".json")
    about = json.loads(beside.read_text())
    about["config"]["hidden_dim"] += 1
    beside.write_text(json.dumps(about))
    refused("sample", weights, "--out", "a.npz", names=[weights, "another architecture"])
    beside.unlink()
    refused("sample", weights, "--out", "a.npz", names=[beside])
    assert not Path("a.npz").exists()


# --- score ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drawings():
    return draw(2200, seed=1)[0]


@pytest.fixture
def instead(monkeypatch):
    """`instead(pixels)`: every data set consists of these bytes."""

    def put(pixels):
        images = Images("stand-in", pixels, torch.zeros(len(pixels), dtype=torch.int64), ("one",))
        monkeypatch.setattr(corridor, "load", lambda *name, **how: images)

    return put


def _scored(capsys):
    """What `score` has printed: its first line, {name: text} of the table, and the json."""
    first, *table, last = capsys.readouterr().out.splitlines()
    return first, dict(line.split() for line in table), json.loads(last)


def test_score_of_drawings_prints_a_table_and_json(drawings, instead, capsys):
    instead(drawings[:1200])
    np.savez_compressed("a.npz", images=drawings[1200:].numpy())
    main(["score", "a.npz", "--against", "avatars"])
    first, table, scores = _scored(capsys)
    assert first == "a.npz against test images of avatars"
    assert (scores["real"], scores["generated"], scores["split"]) == (1200, 1000, "test")
    assert scores["frechet"] < 20 and scores["precision"] > 0.85 and 200 < scores["classes"] <= 280
    assert set(table) == set(Scores._fields) == set(scores) - {"source", "against", "split"}
    assert table["real"] == "1,200" and table["frechet"] == f"{scores['frechet']:.3f}"

    main(["score", "a.npz", "--against", "avatars", "--count", "1000"])
    assert _scored(capsys)[2]["real"] == 1000


def test_score_against_photographs_has_no_kinds_and_says_that_they_are_not_divided(drawings, instead, capsys):
    instead(drawings[:1100])
    np.savez_compressed("a.npz", images=drawings[1100:].numpy())
    for against in "celeba", "folder:pictures":
        main(["score", "a.npz", "--against", against])
        first, table, scores = _scored(capsys)
        assert first == f"a.npz against all images of {against}, undivided" and scores["split"] == "all"
        assert scores["classes"] is scores["kl"] is None and table["classes"] == table["kl"] == "-"


def test_score_of_a_generator_is_that_of_its_images(weights, instead, capsys):
    instead(load("digits").pixels)
    main(["score", str(weights), "--count", "1000"])
    drawn = _scored(capsys)[2]
    main(["sample", str(weights), "--count", "1000", "--out", "a.npz"])
    capsys.readouterr()
    main(["score", "a.npz", "--count", "1000"])
    filed = _scored(capsys)[2]
    assert {name: drawn[name] for name in Scores._fields} == {name: filed[name] for name in Scores._fields}
    assert drawn["frechet"] > 500 and drawn["classes"] <= 10 and drawn["real"] == 1000


def test_bad_wishes_for_a_score(weights, drawings, instead, refused):
    np.savez_compressed("few.npz", images=drawings[:999].numpy())
    np.savez_compressed("small.npz", images=drawings[:1000, :, :32, :32].numpy())
    np.savez_compressed("floats.npz", images=drawings[:10].numpy() / 255)
    Path("no.npz").write_bytes(b"PK")
    refused("score", weights, "--against", "mnist", names=["mnist"])  # which is not here
    refused("score", "few.npz", "--against", "celeba", names=["CelebA"])
    refused("score", "few.npz", "--against", "cats", names=["cats", "avatars, celeba"])
    refused("score", "few.npz", "--count", 999, names=["--count is 999", 1000])
    instead(drawings[:1000])
    refused("score", "few.npz", "--against", "celeba", names=["999 generated images", "1,000"])
    refused("score", "small.npz", "--against", "celeba", names=["small.npz", "(3, 32, 32)", "(3, 64, 64)"])
    refused("score", weights, "--against", "avatars", "--count", 1000, names=[weights, "(1, 28, 28)", "(3, 64, 64)"])
    refused("score", "floats.npz", "--against", "avatars", names=["floats.npz", "float64", "uint8"])
    refused("score", "no.npz", "--against", "avatars", names=["no.npz", "`images`"])
    instead(drawings[:10])
    refused("score", weights, "--against", "folder:x", names=["(3, 64, 64)"])


# --- as a program -----------------------------------------------------------------------------------------------------


def test_the_program_from_training_to_samples(python):
    done = python("-m", "ganlib", "train", "mnist", "--dataset", "digits", "--epochs", 1, "--out", "run")
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert {path.name for path in (done.home / "run").iterdir()} == WHOLE
    done = python("-m", "ganlib", "sample", "run/generator.pt", "--count", 2, "--out", "a.npz")
    assert (done.returncode, done.stderr) == (0, "")
    with np.load(done.home / "a.npz") as file:
        assert file["images"].shape == (2, 1, 28, 28)


def test_the_program_says_one_sentence_where_there_is_no_mnist(python, one_sentence):
    done = python("-m", "ganlib", "train", "mnist")
    assert (done.returncode, done.stdout) == (2, "")
    one_sentence(done.stderr, "ganlib: ", "mnist", "--data", "GANLIB_DATA")
    assert not (done.home / "runs").exists()


def test_more_threads_than_pay_are_not_used(python):
    program = "import runpy, sys, torch; torch.set_num_threads(12); sys.argv = ['ganlib', 'train', 'nosuch']\n" \
        "try: runpy.run_module('ganlib', run_name='__main__')\n" \
        "except SystemExit: print(torch.get_num_threads())\n"  # fmt: skip
    assert python("-c", program).stdout == "8\n"


# --- importing --------------------------------------------------------------------------------------------------------

PROGRAM = """
import importlib, os, random, socket, sys
import numpy, torch

def refuse(*_):
    raise AssertionError("a room reached for the network")

socket.socket.connect = socket.getaddrinfo = refuse
def state():
    return (torch.get_rng_state().tolist(), torch.initial_seed(), torch.get_num_threads(), torch.get_default_dtype(),
            torch.is_grad_enabled(), str(numpy.random.get_state()), random.getstate(), socket.getdefaulttimeout(),
            dict(os.environ), os.getcwd(), sorted(sys.path))
before = state()
for room in sys.argv[1:]:
    importlib.import_module(room)
    assert state() == before, room
    for heavy in ("matplotlib.pyplot", "jovian", "IPython"):
        drawn_by_it = (room, heavy) == ("ganlib.widgets", "IPython")  # the last of the rooms; a widget needs it
        assert heavy not in sys.modules or drawn_by_it, f"{room} imports {heavy}"
"""


def test_importing_any_room_has_no_side_effect(python):
    rooms = sorted({f"ganlib.{path.stem}" for path in Path(ganlib.__file__).parent.glob("*.py")} - {"ganlib.__init__"})
    done = python("-c", PROGRAM, "ganlib", *rooms)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(done.home.rglob("*")) == [], "a room made a file or a folder"
    assert "ganlib.train" in rooms and "ganlib.cli" in rooms
