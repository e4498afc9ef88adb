"""Nothing lost: killed, interrupted, diverged or out of disk, a run goes on bit for bit; broken files are refused."""

import dataclasses
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
from jupyter_client.manager import start_new_kernel

from ganlib import __main__ as corridor
from ganlib import checkpoint, runs, train, weights
from ganlib.checkpoint import load_checkpoint, load_generator, save_checkpoint, save_generator
from ganlib.config import Config
from ganlib.recipes import recipe
from ganlib.data import Images, load
from ganlib.sampling import sample_noise, sample_images
from ganlib.data.transforms import denormalize
from ganlib.runs import KEPT, new_run, resume_run, save_run
from ganlib.training import fit, new_state

HOUSE = Path(__file__).parents[1]


@pytest.fixture
def finish(pixels):
    """Train a TrainState to its end and save it in a folder after each epoch -> the TrainState."""

    def go_on(state, out):
        for _ in fit(state, pixels):
            save_run(state, out)
        return state

    return go_on


@pytest.fixture
def numbers():
    """A TrainState -> all its tensors and its history, but for the seconds."""

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


# --- the notebooks' safety --------------------------------------------------------------------------------------------

PRIVATE = {
    "a key": r"\b(gh[opsu]|github_pat|glpat|hf|sk|pk|pypi|xox[abp])[-_][\w-]{16,}|\bAKIA[0-9A-Z]{16}\b",
    "a signed token": r"\bey[\w-]{16,}\.[\w-]{16,}\.[\w-]+",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY",
    "a named secret": r"(?i)(api[-_ ]?key|token|secret|passw(or)?d|bearer)\W{1,5}[\w+/-]{16,}",
    "a path of somebody's machine": r"/(root|home|Users|work|tmp|content|mnt|var/folders)/|\b[A-Z]:\\+Users",
}
EXAMPLES = [
    ("a key", "login: ghp_0123456789abcdefABCDEF"), ("a key", "AKIAIOSFODNN7EXAMPLE"), ("a key", "sk-0123456789abcdef"),
    ("a signed token", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJl"),
    ("a private key", "-----BEGIN RSA PRIVATE KEY-----"), ("a named secret", '{"API_KEY": "0123456789abcdef0123"}'),
    ("a named secret", "Authorization: Bearer 0123456789abcdef"), ("a path of somebody's machine", "/home/reader/x.pt"),
    ("a path of somebody's machine", "saved to /tmp/tmpabc/x.pt"), ("a path of somebody's machine", "C:\\Users\\me"),
]  # fmt: skip


def _private(text):
    return {what for what, pattern in PRIVATE.items() if re.search(pattern, text)}


@pytest.mark.parametrize(("what", "text"), EXAMPLES)
def test_what_is_private_is_recognised(what, text):
    assert _private(text) == {what} and not _private("sha256 of generator.pt, 1,797 digits: token by token")


@pytest.mark.parametrize("page", sorted((HOUSE / "notebooks").glob("*.ipynb")), ids=lambda page: page.stem)
def test_no_key_token_or_path_is_stored_in_a_notebook(page):
    """In everything but pictures, whose letters say nothing; in what was typed, paths are allowed."""
    notebook = json.loads(page.read_text())
    for cell in notebook["cells"]:
        outputs = cell.pop("outputs", [])
        for output in outputs:
            output["data"] = {kind: text for kind, text in output.get("data", {}).items() if kind[:6] != "image/"}
        assert not _private(json.dumps(outputs, ensure_ascii=False))
    assert _private(json.dumps(notebook, ensure_ascii=False)) <= {"a path of somebody's machine"}


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
    turns, seen = train.train_step, []
    monkeypatch.setattr(train, "train_step", lambda state, real: seen.append(1) or turns(state, real))
    with says("at step 1 of epoch 1"):
        next(fit(new_state(changed(small, batch_size=1)), torch.full((250, 1, 4, 4), float("nan"))))
    assert len(seen) == 100


@pytest.mark.parametrize("network", ["G", "D"])
def test_weights_that_break_in_the_last_step_end_the_run(network, small, pixels, monkeypatch, says):
    """The losses of that step were taken before it, and are finite."""
    turns, steps = train.train_step, []

    def break_last(state, real):
        five = turns(state, real)
        steps.append(five)
        if len(steps) == 2 * -(-len(pixels) // small.batch_size):
            with torch.no_grad():
                next(getattr(state, network).parameters()).view(-1)[0] = float("inf")
        return five

    monkeypatch.setattr(train, "train_step", break_last)
    state = new_state(small)
    run = fit(state, pixels)
    next(run)
    with says(f"weights are no longer finite at step {len(steps)} of epoch 2", "learning rate"):
        next(run)
    assert len(state.history) == 1 and torch.stack(steps).isfinite().all()


@pytest.mark.parametrize("part", ["G", "D", "G_ema", "optimizer_g", "optimizer_d"])
def test_weights_that_broke_in_the_last_step_of_an_epoch_are_not_kept(part, small, changed, pixels, tmp_path, says):
    """The losses of an epoch are taken before its last step: they may be finite where the weights no longer are."""
    state = new_state(changed(small, networks="batchnorm-mlp"))
    run = fit(state, pixels)
    next(run)
    save_run(state, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    next(run)
    numbers = [value for value in _tensors(getattr(state, part).state_dict()) if value.dtype == torch.float32]
    numbers[-1].view(-1)[0] = float("nan")
    with says("no longer finite", "learning rate"):
        save_run(state, tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def _tensors(value):
    if isinstance(value, dict):
        return [tensor for inner in value.values() for tensor in _tensors(inner)]
    return [value] if torch.is_tensor(value) else []


# --- threads: what page 10 promises -----------------------------------------------------------------------------------


@pytest.fixture
def with_threads():
    """`with_threads(2, make)` -> what `make` gives where PyTorch may use two threads."""

    def call(count, make):
        torch.set_num_threads(count)
        assert torch.get_num_threads() == count
        return make()

    yield call
    torch.set_num_threads(1)


def test_noise_first_weights_and_order_are_the_same_with_any_number_of_threads(with_threads):
    def all_three():
        torch.manual_seed(5)
        start = [new_state(recipe(name)) for name in ("mnist", "fashion-mnist", "avatars")]
        parts = [weights.digest(network.state_dict()) for state in start for network in (state.G, state.D)]
        return parts, weights.digest(sample_noise(10_000, 100, seed=3)), torch.randperm(60_000).tolist()

    one, *others = [with_threads(count, all_three) for count in (1, 2, 3)]
    assert all(other == one for other in others)


@pytest.mark.parametrize("name", checkpoint.shipped())
def test_samples_of_a_network_hardly_depend_on_the_number_of_threads(name, with_threads):
    G, config = load_generator(name)
    z = sample_noise(16, config.latent_dim, seed=1)
    one, two = (with_threads(count, lambda: sample_images(G, z)) for count in (1, 2))
    torch.testing.assert_close(one, two, rtol=0, atol=1e-5)
    assert (denormalize(one).int() - denormalize(two).int()).abs().max() <= 1
    assert torch.equal(with_threads(2, lambda: sample_images(G, z)), two), "and not at all with the same number"


TWO_THREADS = """
import torch
from ganlib.checkpoint import _parts, load_checkpoint, save_checkpoint
from ganlib.recipes import recipe
from ganlib.training import fit, new_state
from ganlib.weights import digest
assert torch.get_num_threads() == 2

def finished(state):
    list(fit(state, pixels))
    return [digest(part.state_dict()) for part in _parts(state).values()]

for networks, size in ("mlp", 28), ("batchnorm-mlp", 28), ("dcgan", 16):
    config = recipe("mnist", networks=networks, epochs=2, batch_size=40, image_size=size, hidden_dim=64)
    pixels = torch.randint(256, (120, *config.image_shape), dtype=torch.uint8)
    once, again, halted = finished(new_state(config)), finished(new_state(config)), new_state(config)
    next(fit(halted, pixels))
    save_checkpoint(halted, "c.pt")
    print(networks, once == again, once == finished(load_checkpoint("c.pt")))
"""


def test_with_two_threads_too_a_run_is_the_same_twice_and_after_a_break(python):
    """In a process whose threads sleep while they wait: on a busy machine they would keep each other from working."""
    done = python("-c", TWO_THREADS, OMP_NUM_THREADS="2", OMP_WAIT_POLICY="passive")
    right = ["mlp True True", "batchnorm-mlp True True", "dcgan True True"]
    assert done.stdout.splitlines() == right, done.stderr[-2000:]


# --- interrupted, out of disk -----------------------------------------------------------------------------------------


def test_an_interrupt_from_the_keyboard(small, pixels, tmp_path, monkeypatch, one_sentence, finish, numbers, straight):
    turns, seen = train.train_step, []

    def interrupted(state, real):
        seen.append(1)
        if len(seen) == 5:  # in epoch 2
            signal.raise_signal(signal.SIGINT)
        return turns(state, real)

    state, before = new_state(small), signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's & ignores it
    try:
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt) as stopped:
            patch.setattr(train, "train_step", interrupted)
            finish(state, tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)
    one_sentence(str(stopped.value), "Stopped within epoch 2", "checkpoint")
    assert [record.epoch for record in state.history] == [1], "the history so far is the caller's"
    assert numbers(finish(resume_run(small, {}, tmp_path, "cpu"), tmp_path)) == straight


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """A real Jupyter kernel: `kernel(cell)` -> its printed lines and its error; `stop_at` interrupts it there."""
    for name, value in (("PYTHONPATH", HOUSE), ("IPYTHONDIR", tmp_path / "ipython"), ("OMP_NUM_THREADS", 1)):
        monkeypatch.setenv(name, str(value))
    manager, client = start_new_kernel(kernel_name="python3", cwd=str(tmp_path), stderr=subprocess.DEVNULL)

    def run(cell, stop_at=None):
        lines = []

        def hear(message):
            if message["msg_type"] == "stream":
                lines.extend(message["content"]["text"].splitlines())
                if stop_at in lines:
                    manager.interrupt_kernel()

        reply = client.execute_interactive(cell, output_hook=hear, timeout=120)["content"]
        return lines, reply if reply["status"] == "error" else None

    yield run
    client.stop_channels()
    manager.shutdown_kernel(now=True)


IN_THE_NOTEBOOK = """
import torch
from pathlib import Path
from ganlib import train
from ganlib.config import Config
from ganlib.runs import new_run, resume_run, save_run
from ganlib.training import fit
torch.set_num_threads(1)
pixels = torch.randint(0, 256, (25, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
out, turns, steps = Path("run"), train.train_step, []

def without_end(state, real):
    steps.append(1)
    while len(steps) == 8:  # in epoch 3: stay within it until the interrupt comes
        turns(state, real)
        if len(steps) == 8 and not stop.exists():
            stop.touch()
            print("within epoch 3", flush=True)
    return turns(state, real)

stop, train.train_step = Path("stop"), without_end
"""


def test_the_stop_button_of_a_notebook(kernel, small, numbers, straight, tmp_path, one_sentence):
    _, error = kernel(IN_THE_NOTEBOOK + f"state = new_run({small!r}, out, 'cpu')")
    assert error is None, error
    lines, error = kernel("for record in fit(state, pixels):\n    save_run(state, out)", stop_at="within epoch 3")
    assert error["ename"] == "KeyboardInterrupt" and lines == ["within epoch 3"]
    one_sentence(error["evalue"], "Stopped within epoch 3", "checkpoint")
    assert error["traceback"][-1].endswith(error["evalue"]) and "handling" not in "".join(error["traceback"])
    history = "print([record.epoch for record in state.history], len(load_checkpoint(newest(out)).history))"
    find = "from ganlib.checkpoint import load_checkpoint\nnewest = lambda out: max((out / 'checkpoints').iterdir())\n"
    assert kernel(find + history) == (["[1, 2] 2"], None), "the kernel lives, the history is there"
    resume = f"train.train_step = turns\nstate = resume_run({small!r}, {{}}, out, 'cpu')\n"
    _, error = kernel(resume + "for record in fit(state, pixels):\n    save_run(state, out)")
    assert error is None, error
    assert numbers(load_checkpoint(tmp_path / "run" / "checkpoints" / "epoch-0004.pt")) == straight


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


FIRST = (
    "recipe dataset seed epochs batch_size latent_dim hidden_dim channels image_size learning_rate_g learning_rate_d "
    "beta1 beta2 real_label dropout ema_decay"
).split()  # the fields of the first ganlib
LATER = [entry.name for entry in dataclasses.fields(Config) if entry.name not in FIRST]


def test_a_field_that_came_later_is_off_unless_it_is_asked_for():
    """Or an old json without it would now mean another network or another run."""
    on = {name: getattr(Config(), name) for name in LATER if getattr(Config(), name)}
    assert on == {"networks": "mlp", "matmul_precision": "highest"}  # what torch does by itself


@pytest.mark.parametrize("without", [*[[name] for name in LATER], LATER], ids=lambda names: "+".join(names[:2]))
def test_a_run_of_an_older_version_goes_on_bit_for_bit(started, without, small, finish, numbers, straight):
    newest = started / "checkpoints" / "epoch-0003.pt"
    content = torch.load(newest, weights_only=True)
    fields = json.loads(content.pop("config"))
    content = {name: value for name, value in content.items() if name != "sha256"}
    content |= {"config": json.dumps({name: value for name, value in fields.items() if name not in without})}
    torch.save(content | {"sha256": weights.digest(content)}, newest)
    assert numbers(finish(resume_run(small, {"epochs": 4}, started, "cpu"), started)) == straight


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
