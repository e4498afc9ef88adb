"""The front door: torchrun's processes find each other on the right devices, and end together with one sentence."""

import csv
import os
import signal
import time

import pytest
import torch

from ganlib import launch
from ganlib.errors import GanlibError

RUN = "-m", "ganlib", "train", "textbook", "--dataset", "digits", "--device", "cpu", "--batch-size", "400", "--out"
LATE = 300  # seconds; on an idle machine a run here takes ten


def _rows(out):
    with open(out / "history.csv", newline="") as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def _sentences(stderr):
    return [line for line in stderr.replace("\r", "\n").splitlines() if line.startswith("ganlib: ")]


def _wait_for(path, process):
    until = time.monotonic() + LATE
    while not path.exists():
        assert process.poll() is None and time.monotonic() < until, f"{path} did not come"
        time.sleep(0.02)


def _kill(process, rank):
    """Kill -9 the worker of torchrun's that has this rank."""
    import psutil

    (worker,) = [one for one in psutil.Process(process.pid).children() if one.environ().get("RANK") == str(rank)]
    os.kill(worker.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, torchrun):
    """A run of two ranks that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole") / "run"
    return out, torchrun(*RUN, out, "--epochs", 12, "--tensorboard")


def test_rank_0_alone_prints_and_writes(whole):
    out, done = whole
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"12 epochs of textbook on digits are in {out}\n"
    bars = [line for line in done.stderr.replace("\r", "\n").splitlines() if "epoch/s" in line or "s/epoch" in line]
    assert "12/12" in bars[-1] and sum("?epoch/s]" in line for line in bars) == 1
    assert len(_rows(out)) == 12 and len(list((out / "tensorboard").iterdir())) == 1
    assert not list(out.rglob("*.part")) and not _sentences(done.stderr)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_dies_ends_the_run_and_it_goes_on(whole, tmp_path, torchrun, rank):
    """First with one sentence; then, told to start again by itself, to the same end as if nothing had been."""
    out = tmp_path / "run"
    with torchrun.start(*RUN, out, "--epochs", 12) as process:
        _wait_for(out / "checkpoints" / "epoch-0002.pt", process)
        _kill(process, rank)
        started = time.monotonic()
        _, err = process.communicate(timeout=LATE)
    assert process.returncode != 0 and time.monotonic() - started < LATE / 2
    assert _sentences(err) == [f"ganlib: {launch.LOST}"]
    done = len(_rows(out))
    assert 1 <= done < 12
    with torchrun.start(*RUN, out, "--epochs", 12, "--resume", flags=["--max-restarts=1"]) as process:
        _wait_for(out / "checkpoints" / f"epoch-{done + 2:04d}.pt", process)
        _kill(process, 1 - rank)
        _, err = process.communicate(timeout=LATE)
    assert process.returncode == 0, err
    assert _rows(out) == _rows(whole[0])
    assert (out / "generator.pt").read_bytes() == (whole[0] / "generator.pt").read_bytes()


def test_an_error_on_one_rank_ends_all_with_one_sentence(tmp_path, torchrun):
    """Rank 0 alone writes, and cannot; rank 1 is waiting for it."""
    (tmp_path / "file").touch()
    done = torchrun(*RUN, tmp_path / "file" / "run")
    (sentence,) = _sentences(done.stderr)
    assert done.returncode != 0 and "Cannot write" in sentence
    assert "ganlib/" not in done.stderr.split(sentence)[1].partition("ChildFailedError")[0], "a traceback of ours"


def test_an_error_on_all_ranks_is_said_once(torchrun, tmp_path):
    done = torchrun(*RUN, tmp_path / "run", "--set", "batch_size=1000")
    (sentence,) = _sentences(done.stderr)
    assert done.returncode != 0 and "898 images that each of 2 ranks gets" in sentence
    assert not (tmp_path / "run").exists()


# --- what one process can test of many --------------------------------------------------------------------------------


@pytest.fixture
def ranked(monkeypatch):
    """`ranked(rank, count, gpus)`: what torchrun tells a process, on a machine that says it has so many GPUs."""

    def pretend(rank, count, gpus=0):
        told = {"RANK": rank, "WORLD_SIZE": count, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": count}
        for name, value in told.items():
            monkeypatch.setenv(name, str(value))
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)

    return pretend


@pytest.fixture
def calls(monkeypatch):
    """What `joined` asks of torch.distributed, which here does nothing."""
    made = {}
    monkeypatch.setattr(launch, "_store", lambda: "the store")
    monkeypatch.setattr(launch, "_heed_the_end", lambda: None)
    monkeypatch.setattr(launch.warnings, "simplefilter", lambda kind: made.update(warnings=kind))
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: made.update(device=device))
    monkeypatch.setattr(launch.dist, "init_process_group", lambda backend, **how: made.update(backend=backend, **how))
    monkeypatch.setattr(launch.dist, "destroy_process_group", lambda: made.update(over=True))
    return made


@pytest.mark.parametrize("name", [None, "cuda"])
def test_each_rank_has_a_gpu_of_its_own(ranked, calls, name):
    ranked(1, 2, gpus=2)
    with launch.joined(name) as device:
        assert device == torch.device("cuda", 1) == calls["device"] and "over" not in calls
    assert calls["backend"] == "nccl" and (calls["rank"], calls["world_size"]) == (1, 2)
    assert calls["over"] and calls["warnings"] == "ignore"


@pytest.mark.parametrize("name, gpus", [("cpu", 2), (None, 0)])
def test_ranks_on_cpus_talk_through_gloo(ranked, calls, name, gpus):
    ranked(0, 2, gpus)
    with launch.joined(name) as device:
        assert device == torch.device("cpu")
    assert calls["backend"] == "gloo" and "device" not in calls and "warnings" not in calls


def test_one_process_joins_nobody(ranked, calls):
    ranked(0, 1, gpus=2)
    with launch.joined("cuda:1") as device:
        assert device == torch.device("cuda", 1)
    assert calls == {}


def test_a_device_that_cannot_be_shared(ranked, calls, says):
    ranked(1, 2, gpus=1)
    with says("2 processes", "1 GPUs", "--nproc-per-node=1"), launch.joined():
        pass
    ranked(0, 2, gpus=2)
    with says("cuda:1", "one for each process"), launch.joined("cuda:1"):
        pass
    with says("tpu"), launch.joined("tpu"):
        pass
    assert "backend" not in calls


@pytest.mark.parametrize("error", [RuntimeError("[gloo/pair.cc] Connection closed"), launch.dist.DistError("NCCL")])
def test_a_lost_peer_is_an_error_of_ours(ranked, calls, error):
    ranked(0, 2)
    with pytest.raises(GanlibError) as raised, launch.joined("cpu"):
        raise error
    assert str(raised.value) == launch.LOST


def test_another_error_stays_what_it_is(ranked, calls):
    ranked(0, 2)
    with pytest.raises(RuntimeError, match="shapes"), launch.joined("cpu"):
        raise RuntimeError("the shapes differ")


def test_the_first_to_end_speaks(ranked, monkeypatch, capsys):
    class Store:
        said = 0

        def add(self, _, more):
            self.said += more
            return self.said

    store = Store()
    monkeypatch.setattr(launch, "_store", lambda: store)
    launch.say("alone")
    ranked(1, 2)
    launch.say("first")
    launch.say("second")
    assert capsys.readouterr().err == "ganlib: alone\n\nganlib: first\n"
    monkeypatch.setattr(launch, "_store", lambda: exec("raise RuntimeError"))
    launch.say("cut off")
    assert "cut off" in capsys.readouterr().err


def test_torchrun_says_that_it_started_again(monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_RESTART_COUNT", raising=False)
    assert not launch.restarted()
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "0")
    assert not launch.restarted()
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert launch.restarted()
