"""Nothing lost: killed, interrupted, diverged or out of disk, a run goes on bit for bit; broken files are refused."""

import io
import json
import re
import signal
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from ganlib import __main__ as corridor
from ganlib import checkpoint, runs, train, weights
from ganlib.checkpoint import load_checkpoint, load_generator, save_checkpoint, save_generator
from ganlib.config import Config
from ganlib.data import Images, load
from ganlib.runs import KEPT, new_run, resume_run, save_run
from ganlib.train import fit, new_state

HOUSE = Path(__file__).parents[1]


@pytest.fixture
def finish(pixels):
    """Train a State to its end and save it in a folder after each epoch -> the State."""

    def go_on(state, out):
        for _ in fit(state, pixels):
            save_run(state, out)
        return state

    return go_on


@pytest.fixture
def numbers():
    """A State -> all its tensors and its history, but for the seconds."""

    def collect(state):
        parts = [weights.digest(part.state_dict()) for part in checkpoint._parts(state).values()]
        return parts, [record[:-1] for record in state.history]

    return collect


@pytest.fixture
def straight(small, pixels, numbers):
    """What the undisturbed run of `small` ends with."""
    state = new_state(small)
    list(fit(state, pixels))
    return numbers(state)


@pytest.fixture
def started(small, finish, changed, tmp_path):
    """The folder of a run of `small` that stopped after epoch 3 of 4."""
    out = tmp_path / "run"
    finish(new_run(changed(small, epochs=3), out, "cpu"), out)
    return out


def _kept(out):
    return sorted(path.name for path in (out / "checkpoints").iterdir())


# --- the command behind book/reliability.md ---------------------------------------------------------------------------

PROGRAM = """
import json, sys, torch
sys.path.insert(0, sys.argv[1])
import reliability
torch.set_num_threads(1)
fuzzed = reliability.start_fuzzing(400, 120, seed=7)
figures = reliability.kill_runs(2, seed=7) | fuzzed()
print(json.dumps(figures | {"page": reliability.render(figures)}))
"""


def test_a_small_version_of_the_command(python):
    done = python("-c", PROGRAM, HOUSE / "benchmarks")
    assert done.returncode == 0, done.stderr[-2000:]
    figures = json.loads(done.stdout)
    assert figures["failures"] == [] and figures["tried"] == 400 and figures["kills"] == 2
    refused = [refused for _, refused in figures["readers"].values()]
    assert len(refused) == 9 and all(refused), "a reader that refuses nothing is not reached"
    assert "{" not in figures["page"] and str(done.home) not in figures["page"]


def test_the_page_holds_what_was_measured():
    page = (HOUSE / "book" / "reliability.md").read_text()
    assert int(re.search(r"runs killed \| (\d+)", page)[1]) >= 50
    assert int(re.search(r"([\d,]+) mutated inputs", page)[1].replace(",", "")) >= 20_000
    assert not re.search(r"/(root|home|work|tmp)\b", page)


# --- checkpoints: the last few, and the one before --------------------------------------------------------------------


def test_the_last_checkpoints_are_kept(started, finish, small):
    assert KEPT == 3 and _kept(started) == [f"epoch-000{epoch}.pt" for epoch in (1, 2, 3)]
    finish(resume_run(small, {"epochs": 4}, started, "cpu"), started)
    assert _kept(started) == [f"epoch-000{epoch}.pt" for epoch in (2, 3, 4)]


def test_the_newest_is_the_newest_beyond_epoch_9999(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    for epoch in (9998, 10000, 9999):
        (tmp_path / "checkpoints" / f"epoch-{epoch:04d}.pt").touch()
    assert [path.stem for path in runs._checkpoints(tmp_path)] == ["epoch-10000", "epoch-9999", "epoch-9998"]


def _flip(content):
    """One bit of one weight, which torch.load alone does not notice."""
    weights = torch.load(io.BytesIO(content), weights_only=True)["D"]["layers.1.weight"]
    place = content.index(weights.numpy().tobytes()) + 1
    flipped = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
    assert not torch.equal(torch.load(io.BytesIO(flipped), weights_only=True)["D"]["layers.1.weight"], weights)
    return flipped


BREAKS = {"cut": lambda content: content[: len(content) // 2], "empty": lambda content: b"", "a bit flipped": _flip}


@pytest.mark.parametrize("how", BREAKS)
def test_a_broken_newest_checkpoint_falls_back(started, how, small, finish, numbers, straight, one_sentence):
    newest = started / "checkpoints" / "epoch-0003.pt"
    newest.write_bytes(BREAKS[how](newest.read_bytes()))
    with pytest.warns(UserWarning) as heard:
        state = resume_run(small, {"epochs": 4}, started, "cpu")
    assert len(heard) == 1 and len(state.history) == 2
    one_sentence(str(heard[0].message), newest, "going on from", "epoch-0002.pt")
    assert len((started / "history.csv").read_text().splitlines()) == 3
    assert numbers(finish(state, started)) == straight
    assert len((started / "history.csv").read_text().splitlines()) == 5


def test_nothing_but_broken_checkpoints(started, small, says):
    for path in (started / "checkpoints").iterdir():
        path.write_bytes(b"PK\x03\x04")
    with says("epoch-0003.pt", "broken"):
        resume_run(small, {"epochs": 4}, started, "cpu")


def test_what_a_kill_left_out_of_date_is_mended(started, small, changed):
    """Killed right after its last checkpoint, before anything else of that epoch was written."""
    mended = ["generator.pt", "generator.json", "history.csv", "samples/epoch-0003.png"]
    before = [(started / name).read_bytes() for name in mended]
    for name in mended:
        (started / name).unlink()
    (started / "history.csv.part").write_bytes(b"half a li")
    resume_run(changed(small, epochs=3), {}, started, "cpu")
    assert [(started / name).read_bytes() for name in mended] == before and not list(started.rglob("*.part"))


# --- divergence -------------------------------------------------------------------------------------------------------


def test_a_learning_rate_that_explodes(small, pixels, tmp_path, says, numbers):
    state = new_state(small)
    run = fit(state, pixels)
    next(run)
    save_run(state, tmp_path)
    before = numbers(state)
    state.optimizer_d.param_groups[0]["lr"] = state.optimizer_g.param_groups[0]["lr"] = 1e30
    with says("no longer finite at step ", "of epoch 2", "learning rate", "NaN"):
        next(run)
    assert len(state.history) == 1 and _kept(tmp_path) == ["epoch-0001.pt"]
    assert numbers(load_checkpoint(tmp_path / "checkpoints" / "epoch-0001.pt")) == before


def test_a_batch_with_nan_is_named(small, pixels, says):
    state, pixels = new_state(small), pixels.float()
    run = fit(state, pixels)
    next(run)
    pixels[17, 0, 2, 2] = float("nan")
    torch.manual_seed(small.seed * 1_000_003 + 2)
    step = torch.randperm(25).tolist().index(17) // small.batch_size + 1
    with says(f"at step {step} of epoch 2"):
        next(run)
    assert len(state.history) == 1


def test_a_loss_that_is_not_finite_stops_within_100_steps(small, changed, monkeypatch, says):
    turns, seen = train.take_turns, []
    monkeypatch.setattr(train, "take_turns", lambda state, real: seen.append(1) or turns(state, real))
    with says("at step 1 of epoch 1"):
        next(fit(new_state(changed(small, batch_size=1)), torch.full((250, 1, 4, 4), float("nan"))))
    assert len(seen) == 100


# --- interrupted, out of disk -----------------------------------------------------------------------------------------


def test_an_interrupt_from_the_keyboard(small, pixels, tmp_path, monkeypatch, one_sentence, finish, numbers, straight):
    turns, seen = train.take_turns, []

    def interrupted(state, real):
        seen.append(1)
        if len(seen) == 5:  # in epoch 2
            signal.raise_signal(signal.SIGINT)
        return turns(state, real)

    state = new_state(small)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt) as stopped:
        patch.setattr(train, "take_turns", interrupted)
        finish(state, tmp_path)
    one_sentence(str(stopped.value), "Stopped within epoch 2", "checkpoint")
    assert [record.epoch for record in state.history] == [1], "the history so far is the caller's"
    assert numbers(finish(resume_run(small, {}, tmp_path, "cpu"), tmp_path)) == straight


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 200 kB of its own; skips where none can be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)]
    try:
        done = subprocess.run(mount, capture_output=True)
    except OSError:
        pytest.skip("there is no mount here")
    if done.returncode:
        pytest.skip("nothing can be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("how", ["No space left on device", "Read-only file system"])
def test_a_disk_that_is_full_or_read_only(small_disk, how, small, pixels, says, finish, numbers, straight):
    state, ballast = new_state(small), small_disk / "ballast"
    for record in fit(state, pixels):
        if record.epoch == 3:
            break
        save_run(state, small_disk)
    before = {path: path.read_bytes() for path in small_disk.rglob("*") if path.is_file()}
    if how.startswith("No"):
        with open(ballast, "wb", buffering=0) as file, pytest.raises(OSError, match=how):
            while file.write(bytes(4096)):
                pass
    else:
        subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with says("Cannot write", how):
        save_run(state, small_disk)
    assert {path: path.read_bytes() for path in before} == before and len(state.history) == 3
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    ballast.unlink(missing_ok=True)
    assert not list(small_disk.rglob("*.part"))
    assert numbers(finish(resume_run(small, {}, small_disk, "cpu"), small_disk)) == straight


# --- a changed config, files of other versions ------------------------------------------------------------------------


def test_a_changed_config_is_named_and_refused_unless_told(started, small, changed, says):
    wanted = changed(small, batch_size=5, learning_rate_g=0.5)
    changes = {"batch_size": 5, "learning_rate_g": 0.5}
    with says("batch_size 10 (not 5), learning_rate_g 0.01 (not 0.5)", "--force"):
        resume_run(wanted, changes, started, "cpu")
    state = resume_run(wanted, changes, started, "cpu", force=True)
    assert state.config == changed(wanted, epochs=3) and len(state.history) == 3
    assert state.optimizer_g.param_groups[0]["lr"] == 0.5 and state.optimizer_d.param_groups[0]["lr"] == 0.01


def test_force_cannot_change_the_shape_of_a_network(started, small, changed, says):
    with says("another architecture"):
        resume_run(changed(small, hidden_dim=9), {"hidden_dim": 9}, started, "cpu", force=True)


def test_force_on_the_command_line(tmp_path, monkeypatch, capsys):
    digits = load("digits")
    few = Images("digits", digits.pixels[:250], digits.labels[:250], digits.classes)
    monkeypatch.setattr(corridor, "load", lambda *_, **__: few)
    run = ["train", "mnist", "--dataset", "digits", "--device", "cpu", "--out", str(tmp_path), "--batch-size"]
    corridor.main([*run, "125", "--epochs", "1"])
    with pytest.raises(SystemExit):
        corridor.main([*run, "50", "--epochs", "2", "--resume"])
    assert "batch_size 125 (not 50)" in capsys.readouterr().err
    corridor.main([*run, "50", "--epochs", "2", "--resume", "--force"])
    assert load_checkpoint(tmp_path / "checkpoints" / "epoch-0002.pt").config.batch_size == 50


@pytest.fixture
def described(tmp_path, small):
    """A weights file whose json can be rewritten: `described(config=...)` -> its path."""
    path = tmp_path / "g.pt"
    save_generator(new_state(small).G, small, path)

    def rewrite(**changes):
        about = json.loads(path.with_suffix(".json").read_text()) | changes
        path.with_suffix(".json").write_text(json.dumps(about))
        return path

    return rewrite


def test_a_json_of_an_older_version_gets_the_defaults(described, small):
    older = {name: value for name, value in vars(small).items() if name not in ("ema_decay", "dropout", "real_label")}
    _, config = load_generator(described(config=older))
    assert config == Config(**older) and config.ema_decay == Config().ema_decay


@pytest.mark.parametrize(("name", "value"), [("nz", 3), ("config", {}), ("batch_size", 0), ("epochs", [1])])
def test_a_json_of_an_unknown_version_is_refused_with_the_reason(described, small, name, value, says):
    with says("g.json", "this version of ganlib", name):
        load_generator(described(config=vars(small) | {name: value}))


def test_a_config_larger_than_its_file_takes_no_memory(described, small, says):
    giant = {"latent_dim": 4096, "hidden_dim": 8192, "channels": 4, "image_size": 1024}  # 137 GB
    with says("another architecture"):
        load_generator(described(config=vars(small) | giant))


def test_json_that_is_nested_too_deep(described, says):
    path = described()
    path.with_suffix(".json").write_text("[" * 100_000)
    with says("g.json", "cannot be read"):
        load_generator(path)


def test_a_checkpoint_of_another_format(started, small, tmp_path, says):
    content = torch.load(started / "checkpoints" / "epoch-0003.pt", weights_only=True)
    assert content["format"] == 1 and json.loads(content["versions"])["torch"] == torch.__version__
    torch.save(content | {"format": 2}, tmp_path / "c.pt")
    with says("c.pt", "another version of ganlib"):
        load_checkpoint(tmp_path / "c.pt")


@pytest.mark.parametrize("history", ["[[1,0,0,0,0,0,0,0],[1,0,0,0,0,0,0,0]]", '["12345678"]', "[[2,0,0,0,0,0,0,0]]"])
def test_a_history_in_which_an_epoch_is_not_there_once(started, tmp_path, history, says):
    content = torch.load(started / "checkpoints" / "epoch-0003.pt", weights_only=True)
    torch.save(content | {"history": history}, tmp_path / "c.pt")
    with says("c.pt", "no checkpoint"):
        load_checkpoint(tmp_path / "c.pt")


def test_an_adam_of_another_shape(started, tmp_path, says):
    content = torch.load(started / "checkpoints" / "epoch-0003.pt", weights_only=True)
    content["optimizer_g"]["state"][0]["exp_avg"] = torch.zeros(2)
    torch.save(content, tmp_path / "c.pt")
    with says("c.pt", "Adam's memory"):
        load_checkpoint(tmp_path / "c.pt")


def test_weights_of_another_dtype(small, tmp_path, says):
    save_generator(new_state(small).G.half(), small, tmp_path / "g.pt")
    with says("g.pt", "float16"):
        load_generator(tmp_path / "g.pt")


def test_one_flipped_bit_anywhere_in_a_checkpoint(tmp_path, small, pixels, numbers):
    """Either it is refused, or it was in a byte that means nothing and the run is the same."""
    state = new_state(small)
    next(fit(state, pixels))
    save_checkpoint(state, tmp_path / "c.pt")
    whole, expected, refused = (tmp_path / "c.pt").read_bytes(), numbers(state), 0
    for place in range(0, len(whole), 97):
        (tmp_path / "c.pt").write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        try:
            assert numbers(load_checkpoint(tmp_path / "c.pt")) == expected
        except checkpoint.GanlibError:
            refused += 1
    assert refused > 20


def test_an_archive_of_something_else(tmp_path, says):
    """np.load would hand over the bytes of such an entry as they are."""
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as packed:
        packed.writestr("images.npy", b"no array at all")
    with says("a.npz", "images"):
        corridor._read_images(tmp_path / "a.npz")


def test_images_that_would_unpack_to_too_much(tmp_path, monkeypatch, says):
    np.savez_compressed(tmp_path / "a.npz", images=np.zeros((9, 1, 28, 28), dtype=np.uint8))
    assert corridor._read_images(tmp_path / "a.npz").shape == (9, 1, 28, 28)
    monkeypatch.setattr(corridor, "MOST_BYTES", 5000)
    with says("a.npz", "5,000 bytes"):
        corridor._read_images(tmp_path / "a.npz")
