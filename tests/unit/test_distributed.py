"""Two real processes train one run; when one dies, the run ends with a sentence, and goes on after a restart."""

import csv
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from two_ranks import BATCH, CONFIG, PIXELS, numbers_of, step

from ganlib.accelerate.distributed import (
    LOST,
    check_same,
    distribute,
    is_main,
    main_first,
    print_error,
    process_group,
    restarted,
)
from ganlib.config import pick_device
from ganlib.training import new_state, shuffled_batches

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def both(tmp_path_factory, torchrun):
    """What two processes, started by torchrun and talking through Gloo, leave: a dict for each."""
    folder = tmp_path_factory.mktemp("ranks")
    done = torchrun("tests/unit/two_ranks.py", folder)
    assert done.returncode == 0, done.stderr
    return [
        torch.load(folder / f"rank-{rank}.pt", weights_only=True) for rank in (0, 1)
    ]


def assert_close(one, other, allowed):
    assert one.keys() == other.keys()
    apart = {name: (one[name] - other[name]).abs().max().item() for name in one}
    name = max(apart, key=apart.get)
    assert apart[name] <= allowed, f"{name} differs by {apart[name]}"


# --- two machines, both of them this one --------------------------------------------------------


def test_two_torchruns_meet_at_an_endpoint_and_train_one_run(tmp_path):
    with socket.create_server(("localhost", 0)) as free:
        endpoint = f"localhost:{free.getsockname()[1]}"
    meet = ["--rdzv-id=test", "--rdzv-backend=c10d", f"--rdzv-endpoint={endpoint}"]
    train = ["-m", "ganlib", "train", "textbook", "--dataset", "digits"]
    train += ["--epochs", "1", "--batch-size", "50", "--device", "cpu"]
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2"]
    command += ["--nproc-per-node=1", *meet, *train, "--out", tmp_path / "run"]
    kept = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    kept |= {"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {}
    machines = [
        subprocess.Popen(command, env=os.environ | kept, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    try:
        errors = [machine.communicate(timeout=240)[1] for machine in machines]
    finally:
        for machine in machines:
            machine.kill()
    assert [machine.returncode for machine in machines] == [0, 0], errors
    with open(tmp_path / "run" / "history.csv", encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["images_seen"] == "1700"  # of 1,797, in batches of 2 x 50


# --- two processes train one run --------------------------------------------------------------------


def test_two_equal_shares_step_along_the_mean_gradient_of_the_whole_batch(both):
    """Weights and Adam's memory after D's steps, G's and R1's, which gives D's last bias no gradient."""
    alone = new_state(CONFIG)
    losses = step(alone, slice(None))
    assert_close(both[0]["steps"], numbers_of(alone), 1e-6)
    assert (
        torch.stack([rank["losses"] for rank in both]).mean(0) - losses
    ).abs().max() < 1e-5


def test_a_gradient_is_averaged_in_any_memory_layout(both):
    kernel, idle = both[0]["kernel"]
    assert torch.equal(kernel, -2 * torch.arange(24.0).view(2, 3, 2, 2))
    assert idle.tolist() == [1, 1]


@pytest.mark.parametrize("run", ["steps", "fit"])
def test_both_processes_hold_the_same_weights_and_memories(both, run):
    assert_close(both[0][run], both[1][run], 0)


def test_shares_are_equal_and_no_image_is_in_two(both):
    """Of 101 images 100 fill five batches of twice ten; an epoch leaves out the last."""
    assert [[len(batch) for batch in rank["batches"]] for rank in both] == [
        [10] * 5
    ] * 2
    assert torch.cat(both[0]["batches"] + both[1]["batches"]).unique().numel() == 100


def test_two_processes_see_the_batches_that_one_alone_sees(both):
    torch.manual_seed(5)
    alone = shuffled_batches(len(PIXELS), BATCH, torch.device("cpu"))
    for whole, *parts in zip(
        alone, both[0]["batches"], both[1]["batches"], strict=True
    ):
        assert torch.equal(whole.sort().values, torch.cat(parts).sort().values)


def test_each_process_draws_noise_of_its_own(both):
    assert not torch.equal(both[0]["noise"], both[1]["noise"])


def test_the_record_is_that_of_both(both):
    history = both[0]["history"]
    assert torch.equal(history, both[1]["history"])
    assert history[:, 0].tolist() == [1, 2]
    assert history[:, 6].tolist() == [100, 200]  # images seen


def test_one_process_alone_speaks_and_goes_first(both):
    assert [rank["main"] for rank in both] == [True, False]
    assert all(rank["finds what the first has downloaded"] for rank in both)


def test_what_does_not_fit_is_said_by_every_process(both, one_sentence):
    for rank in both:
        assert rank["same"] is None
        one_sentence(rank["different"], "different epoch: 7, 8;")
        one_sentence(rank["large"], "batch_size is 51", "at most 50")
        one_sentence(rank["compiled"], "compile_step")
        one_sentence(rank["controlled"], "augment_target is 0.6", "strength")
        one_sentence(rank["start"], "different weights")


# --- one process ------------------------------------------------------------------------------------


def test_alone_nothing_changes():
    state = new_state(CONFIG)
    with process_group("cpu") as device, main_first():
        assert device == torch.device("cpu")
        assert distribute(state, PIXELS) is shuffled_batches
        check_same(epoch=1)
    assert is_main() and not restarted()
    assert not state.optimizer_g._optimizer_step_pre_hooks


def test_alone_the_device_is_picked(says):
    with process_group() as device:
        assert device == pick_device()
    with says("tpu"), process_group("tpu"):
        pass


def test_alone_an_error_is_said(capsys):
    print_error("It is broken.")
    assert capsys.readouterr().err == "ganlib: It is broken.\n"


def test_torchrun_says_that_it_started_again(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "0")
    assert not restarted()
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert restarted()


@pytest.mark.skipif(
    not torch.distributed.is_nccl_available(), reason="this torch has no NCCL"
)
def test_a_process_takes_the_gpu_of_its_number(monkeypatch, says):
    """No machine of ours has two GPUs: torch says here that there are, and joins nobody."""
    joined = {}
    for name, value in {"RANK": 1, "WORLD_SIZE": 2, "LOCAL_RANK": 1}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(
        torch.cuda, "set_device", lambda device: joined.update(device=device)
    )
    monkeypatch.setattr(
        torch.distributed,
        "rendezvous",
        lambda _: iter([(torch.distributed.HashStore(), 1, 2)]),
    )
    monkeypatch.setattr(
        torch.distributed,
        "init_process_group",
        lambda kind, **_: joined.update(backend=kind),
    )
    monkeypatch.setattr(torch.distributed, "destroy_process_group", lambda: None)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with process_group("cuda") as device:
        assert device == torch.device("cuda:1")
    assert joined == {"device": device, "backend": "nccl"}
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with says("cuda:1"), process_group("cuda"):
        pass


# --- a process dies ---------------------------------------------------------------------------------

RUN = (
    "-m",
    "ganlib",
    "train",
    "textbook",
    "--dataset",
    "digits",
    "--device",
    "cpu",
    "--batch-size",
    "400",
    "--out",
)
LATE = 300  # seconds; on an idle machine a run here takes ten


def rows_of(out):
    with open(out / "history.csv", encoding="utf-8", newline="") as file:
        return [
            {name: value for name, value in row.items() if name != "seconds"}
            for row in csv.DictReader(file)
        ]


def sentences(stderr):
    return [
        line
        for line in stderr.replace("\r", "\n").splitlines()
        if line.startswith("ganlib: ")
    ]


def wait_for(path, process):
    until = time.monotonic() + LATE
    while not path.exists():
        assert process.poll() is None and time.monotonic() < until, (
            f"{path} did not come"
        )
        time.sleep(0.02)


def kill(process, rank):
    """Kill -9 the worker of torchrun's that has this rank."""
    import psutil

    (worker,) = [
        one
        for one in psutil.Process(process.pid).children()
        if one.environ().get("RANK") == str(rank)
    ]
    os.kill(worker.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, torchrun):
    """The folder of a run of two processes that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole") / "run"
    done = torchrun(*RUN, out, "--epochs", 12)
    assert done.returncode == 0, done.stderr
    assert not sentences(done.stderr)
    assert done.stdout.count(str(out)) == 1
    return out


def test_a_process_that_dies_ends_the_run_and_a_restart_resumes_it(
    whole, tmp_path, torchrun
):
    """First with one sentence; then, told to start again by itself, to the same end as if nothing had been."""
    out = tmp_path / "run"
    with torchrun.start(*RUN, out, "--epochs", 12) as process:
        wait_for(out / "checkpoints" / "epoch-0002.pt", process)
        kill(process, rank=1)
        started = time.monotonic()
        _, err = process.communicate(timeout=LATE)
    assert process.returncode != 0 and time.monotonic() - started < LATE / 2
    assert sentences(err) == [f"ganlib: {LOST}"]
    done = len(rows_of(out))
    assert 1 <= done < 12
    with torchrun.start(
        *RUN, out, "--epochs", 12, "--resume", flags=["--max-restarts=1"]
    ) as process:
        wait_for(out / "checkpoints" / f"epoch-{done + 2:04d}.pt", process)
        kill(process, rank=0)
        _, err = process.communicate(timeout=LATE)
    assert process.returncode == 0, err
    assert sentences(err) == [f"ganlib: {LOST}"]
    assert rows_of(out) == rows_of(whole)


def test_an_error_of_one_process_ends_all_with_its_sentence(tmp_path, torchrun):
    """The first alone writes, and cannot; the other is waiting for it."""
    (tmp_path / "file").touch()
    done = torchrun(*RUN, tmp_path / "file" / "run")
    (sentence,) = sentences(done.stderr)
    assert done.returncode != 0 and "Cannot write" in sentence


def test_an_error_of_all_processes_is_said_once(torchrun, tmp_path):
    done = torchrun(*RUN, tmp_path / "run", "--batch-size", "1000")
    (sentence,) = sentences(done.stderr)
    assert done.returncode != 0 and "at most 898" in sentence
    assert not (tmp_path / "run").exists()
