"""Training on a folder of one's own: what is chosen, kept and said, on tiny folders."""

import csv
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from ganlib import own, stopping, transfer
from ganlib.checkpoint import GENERATOR, load_checkpoint, load_generator
from ganlib.cli import main
from ganlib.config import Config, replace
from ganlib.data.folder_facts import image_sizes
from ganlib.metrics import load_feature_extractor
from ganlib.models import build
from ganlib.own import config_for, size_for, start_for, without_duplicates
from ganlib.recipes import recipe
from ganlib.stopping import Measure, Watch, features_of, hold_out
from ganlib.training import new_state
from ganlib.transfer import load_start, save_start, start_from

TINY = ["--set", "base_channels=2", "--set", "latent_dim=3", "--batch-size", "10"]


@pytest.fixture(autouse=True)
def tiny(offline, monkeypatch):
    """An empty working folder, and measurements that take no time."""
    (offline / "work").mkdir()
    monkeypatch.chdir(offline / "work")
    monkeypatch.setattr(own, "EPOCH_STEPS", 2)
    monkeypatch.setattr(stopping, "SAMPLES", 40)
    monkeypatch.setattr(stopping, "PATIENCE", 2)
    monkeypatch.setattr(transfer, "STARTS", offline / "starts")


def draw(folder, count, *, size=(48, 40), mode="RGB", seed=0):
    """`count` pictures that all differ, in `folder`."""
    numbers = np.random.default_rng(seed)
    folder.mkdir(exist_ok=True)
    for index in range(count):
        small = numbers.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        picture = Image.fromarray(small).resize(size).convert(mode)
        picture.save(folder / f"{mode}-{seed}-{index:03d}.png")
    return folder


def bytes_of(count, channels=3, size=32, seed=0):
    source = torch.Generator().manual_seed(seed)
    shape = count, channels, size, size
    return torch.randint(256, shape, dtype=torch.uint8, generator=source)


def train(folder, *more, out="run"):
    main(["train", "own", "--dataset", f"folder:{folder}", "--out", out, *TINY, *more])


# What is chosen


@pytest.mark.parametrize(
    ("sizes", "side", "words"),
    [
        ([(200, 150)] * 3, 64, "200x150"),
        ([(64, 70), (64, 64), (20, 90)], 64, "1 of 3 are smaller"),
        ([(63, 500)] * 2, 32, "63x500"),
        ([(16, 16)], 32, "1 of 1 are smaller"),
    ],
)
def test_the_side_is_that_of_the_shorter_sides(sizes, side, words):
    found, sentence = size_for(sizes)
    assert found == side and f"{side}x{side}" in sentence and words in sentence


def test_without_a_graphics_card_the_side_is_small():
    side, sentence = size_for([(200, 150)] * 3, slow=True)
    assert side == 32 and "no graphics card" in sentence
    assert "no graphics card" not in size_for([(40, 40)], slow=True)[1]


def test_equal_pictures_count_once():
    pixels = bytes_of(5)
    assert torch.equal(without_duplicates(pixels[[0, 1, 0, 2, 1]]), pixels[:3])
    assert without_duplicates(pixels) is pixels


def test_grey_stays_grey_and_few_are_changed():
    grey, sentences = config_for(bytes_of(60, 1), "folder:x", {})
    assert (grey.channels, grey.image_size, grey.batch_size) == (1, 32, 32)
    assert grey.augment_color and grey.augment_cutout and grey.augment_shift == 4
    assert "1 channel" in sentences[0]
    colours = bytes_of(6_400, 3, 4)
    colours[:7] = colours[:7, :1]
    many, sentences = config_for(colours, "folder:x", {"image_size": 32})
    assert (many.channels, many.batch_size, many.augment_shift) == (3, 64, 0)
    assert not many.augment_color and not many.augment_cutout
    assert "7 pictures are grey" in sentences[0]
    assert "1,000 pictures are held out" in sentences[1]
    assert "D sees all images as they are" in sentences[2]


def test_larger_images_have_wider_networks():
    small, _ = config_for(bytes_of(60), "folder:x", {})
    large, _ = config_for(bytes_of(60, size=64), "folder:x", {})
    assert (small.base_channels, large.base_channels) == (16, 32)
    assert (small.augment_shift, large.augment_shift) == (4, 8)
    assert large.learning_rate_d == recipe("faces").learning_rate_d


def test_what_is_asked_for_stays():
    asked = {"batch_size": 7, "augment_color": False, "seed": 3}
    asked |= {"random_flip": True}
    config, sentences = config_for(bytes_of(60), "folder:x", asked)
    assert {name: getattr(config, name) for name in asked} == asked
    text = " ".join(sentences)
    assert "7 a step" in text and "mirrored" in text and "hole" in text
    assert "changed colours" not in text and "Nothing is mirrored" not in text


def test_too_few_pictures(says):
    with says("49 different pictures in x", "50 are the least"):
        config_for(bytes_of(49), "folder:x", {})


# Where it starts


@pytest.fixture
def start(tiny):
    """A start for runs with TINY networks, with weights that no new run has."""
    config = replace(own.OWN, base_channels=2, latent_dim=3, seed=9)
    G, D = build(config)
    for weight in [*G.parameters(), *D.parameters()]:
        torch.nn.init.normal_(weight)
    save_start(G, D, config, transfer.STARTS / "tiny.safetensors")
    return config


def test_a_start_gives_both_networks_their_weights(start):
    config = replace(start, dataset="folder:x", seed=0)
    state, numbers = new_state(config), torch.random.get_rng_state()
    start_from(state, "tiny")
    assert torch.equal(numbers, torch.random.get_rng_state())
    G, D, its = load_start("tiny")
    assert its == start
    for network, kept in ((state.G, G), (state.G_ema, G), (state.D, D)):
        for name, value in kept.state_dict().items():
            assert torch.equal(network.state_dict()[name], value), name


def test_a_start_of_another_shape_or_name(start, says):
    with says("tiny has image_shape", "(1, 32, 32)"):
        start_from(new_state(replace(start, channels=1)), "tiny")
    with says("no start 'huge'", "tiny"):
        load_start("huge")


@pytest.mark.parametrize(
    "change", [{"image_size": 64}, {"channels": 1}, {"base_channels": 4}]
)
def test_where_no_start_fits_both_networks_begin_anew(change, start):
    config, name, sentence = start_for(replace(start, **change), {})
    assert name is None and "begin anew" in sentence and not config.frozen_layers


@pytest.mark.parametrize("asked", [None, 0, 2])
def test_where_one_fits_first_layers_of_d_are_frozen(asked, start):
    changes = {} if asked is None else {"frozen_layers": asked}
    config, name, sentence = start_for(start, changes)
    assert name == "tiny" and "tiny" in sentence
    assert config.frozen_layers == (own.FROZEN if asked is None else asked)


# When it stops


def test_held_out_pictures_are_others_and_always_the_same():
    pixels = torch.arange(60).view(60, 1, 1, 1)
    training, held_out = hold_out(pixels)
    assert len(held_out) == 12
    assert sorted([*training.flatten().tolist(), *held_out.flatten().tolist()]) == [
        *range(60)
    ]
    assert torch.equal(hold_out(pixels)[1], held_out)
    assert len(hold_out(torch.zeros(9_000, 1))[1]) == stopping.MOST_HELD_OUT
    assert len(hold_out(pixels, 30)[1]) == 30


class Recall(torch.nn.Module):
    """A G that draws the pictures it was given, in turn."""

    def __init__(self, pixels):
        super().__init__()
        self.weight = torch.nn.Parameter(pixels / 127.5 - 1)

    def forward(self, z):
        return self.weight[torch.arange(len(z)) % len(self.weight)]


def test_a_generator_that_copies_is_told_from_one_that_does_not():
    """The last is as good, and has learned nothing by heart."""
    from ganlib.data.avatars import draw as draw_avatars

    pixels, _ = draw_avatars(100, seed=3)
    extractor = load_feature_extractor("avatars")
    watch = Watch(extractor, pixels[:40], pixels[40:60])
    copied = watch.measure(Recall(pixels[:40]), 3, 0)
    fresh = watch.measure(Recall(pixels[60:]), 3, 1)
    assert copied.copied == pytest.approx(1) and stopping.copies(copied)
    assert abs(fresh.copied) < 3 * fresh.copied_error and not stopping.copies(fresh)
    assert watch.best == fresh


def watched(*kids, copied=()):
    watch = Watch.__new__(Watch)
    watch.measures = [
        Measure(epoch, kid, 0.9 if epoch in copied else 0.0, 0.1)
        for epoch, kid in enumerate(kids)
    ]
    return watch


@pytest.mark.parametrize(
    ("kids", "copied", "best", "word"),
    [
        ([9, 8, 7], (), 2, None),
        ([9, 7, 8], (), 1, None),
        ([9, 7, 8, 7.5], (), 1, "has not fallen in 2"),
        ([9, 8, 2], (2,), 1, None),
        ([9, 8, 2, 1], (2, 3), 1, "copies"),
        ([3, 2], (0, 1), None, "copies"),
    ],
)
def test_two_criteria_stop_a_run_and_choose_its_best(kids, copied, best, word):
    watch = watched(*kids, copied=copied)
    assert (watch.best and watch.best.epoch) == best
    assert (
        watch.reason_to_stop is None if word is None else word in (watch.reason_to_stop)
    )


def test_features_of_grey_and_small_pictures_are_those_of_enlarged_ones():
    extractor = load_feature_extractor("folder:x")
    small = bytes_of(3, 1)
    large = small.expand(-1, 3, -1, -1).repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.allclose(features_of(extractor, small), features_of(extractor, large))


# The command


def measures(out="run"):
    with open(f"{out}/{own.MEASURES}", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_folder_of_pictures_gets_there_by_itself(capsys, tmp_path):
    folder = draw(tmp_path / "mine", 60)
    (folder / "notes.txt").write_text("not a picture")
    train(folder)
    said = capsys.readouterr().out
    expected = "32x32", "48x40", "3 channels", "12 pictures are held", "1 other files"
    for words in expected:
        assert words in said
    rows = measures()
    assert [int(row["epoch"]) for row in rows] == [*range(len(rows))]
    best = min(rows, key=lambda row: float(row["kid"]))["epoch"]
    assert "has not fallen" in said or "G copies" in said
    assert f"of epoch {best}" in said
    kept, config = load_generator("run")
    assert (config.recipe, config.dataset) == ("own", f"folder:{folder}")
    for name, value in load_generator(f"run/{own.BEST}")[0].state_dict().items():
        assert torch.equal(kept.state_dict()[name], value)


def test_resumed_is_the_same_as_never_stopped(tmp_path):
    folder = draw(tmp_path / "mine", 60)
    stopping.PATIENCE = 9  # which the fixture gives back
    train(folder, "--epochs", "3", out="straight")
    train(folder, "--epochs", "1", out="halves")
    with open(f"halves/{own.MEASURES}", "r+", encoding="utf-8") as file:
        file.readline(), file.readline()
        file.truncate(file.tell())  # as a kill before the measurement leaves it
    train(folder, "--epochs", "3", "--resume", out="halves")
    assert measures("halves") == measures("straight")
    one, other = (
        load_checkpoint(f"{out}/checkpoints/epoch-0003.pt")
        for out in ("halves", "straight")
    )
    for name, value in one.G.state_dict().items():
        assert torch.equal(other.G.state_dict()[name], value)
    assert [row[:-1] for row in one.history] == [row[:-1] for row in other.history]


def test_a_run_from_a_start_keeps_the_frozen_layers(capsys, start, tmp_path):
    """Also over a resume, which is the same as never stopped."""
    stopping.PATIENCE = 9  # which the fixture gives back
    folder = draw(tmp_path / "mine", 50)
    train(folder, "--epochs", "2", out="straight")
    assert "weights of tiny" in capsys.readouterr().out
    train(folder, "--epochs", "1", out="halves")
    train(folder, "--epochs", "2", "--resume", out="halves")
    one, other = (
        load_checkpoint(f"{out}/checkpoints/epoch-0002.pt").D.state_dict()
        for out in ("halves", "straight")
    )
    kept = load_start("tiny")[1].state_dict()
    first, *_, last = (name for name in kept if name.endswith("weight"))
    assert torch.equal(other[first], kept[first])
    assert not torch.equal(other[last], kept[last])
    for name, value in one.items():
        assert torch.equal(other[name], value), name


def test_grey_and_colour_and_a_broken_one(capsys, tmp_path):
    folder = draw(tmp_path / "mine", 40)
    draw(folder, 20, mode="L", size=(70, 33))
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nhalf")
    (folder / "twice.png").write_bytes((folder / "RGB-0-000.png").read_bytes())
    train(folder, "--epochs", "1")
    out, err = capsys.readouterr()
    assert "20 pictures are grey" in out and "1 of the pictures repeat" in out
    assert "1 of 62 images" in err and "broken.png" in err


@pytest.mark.parametrize(
    ("count", "words"),
    [(3, ["3 different pictures", "50"]), (0, ["holds no images"])],
)
def test_a_folder_that_cannot_be_learned_from(
    count, words, tmp_path, capsys, one_sentence
):
    folder = draw(tmp_path / "mine", count)
    (folder / "notes.txt").write_text("not a picture")
    before = sorted(folder.iterdir())
    with pytest.raises(SystemExit):
        train(folder)
    out, err = capsys.readouterr()
    one_sentence(err, *words)
    assert out == "" and sorted(folder.iterdir()) == before
    assert not (tmp_path / "work" / "run").exists()


@pytest.mark.parametrize("dataset", [[], ["--dataset", "mnist"]])
def test_own_wants_a_folder(dataset, capsys, one_sentence):
    with pytest.raises(SystemExit):
        main(["train", "own", *dataset])
    one_sentence(capsys.readouterr().err, "--dataset folder:PATH")


def test_a_run_is_not_written_over_and_goes_on(tmp_path, capsys, one_sentence):
    folder = draw(tmp_path / "mine", 50)
    train(folder, "--epochs", "1")
    capsys.readouterr()
    with pytest.raises(SystemExit):
        train(folder, "--epochs", "1")
    one_sentence(capsys.readouterr().err, "--resume")
    with open(f"run/{own.MEASURES}", "a", encoding="utf-8") as file:
        file.write("nonsense\n")
    with pytest.raises(SystemExit):
        train(folder, "--resume")
    one_sentence(capsys.readouterr().err, own.MEASURES, "is broken")
    assert load_generator(f"run/{GENERATOR}")[1].epochs == 1


def test_the_base_is_a_config_that_may_be_trained():
    assert isinstance(own.OWN, Config) and own.OWN.recipe == "own"


# What a folder holds


@pytest.mark.parametrize("zipped", [False, True])
def test_sizes_are_read_and_other_files_counted(tmp_path, zipped):
    folder = draw(tmp_path / "mine", 2, size=(9, 5))
    draw(folder, 1, size=(7, 8), mode="L")
    (folder / "broken.png").write_bytes(b"half")
    (folder / "notes.txt").write_text("x")
    (folder / ".hidden").write_text("x")
    if zipped:
        folder = shutil.make_archive(str(tmp_path / "packed"), "zip", folder)
    sizes, others = image_sizes(folder)
    assert sorted(sizes) == [(7, 8), (9, 5), (9, 5)] and others == 1


def test_a_place_that_is_not_there(says):
    with says("no folder or zip 'nosuch'"):
        image_sizes("nosuch")
