"""The notice board: posted is read back, an epoch stands there once whatever stopped the run, and what goes wrong."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing import plugin_event_accumulator

from ganlib import __main__ as corridor
from ganlib.data import Images, load
from ganlib.tensorboard import TAGS, open_tensorboard, post, read_scalars, read_images
from ganlib.plotting import image_grid
from ganlib.training import Record

HOUSE = Path(__file__).parents[1]


@pytest.fixture
def images():
    """Four images 6x6, three channels: colours must survive the board."""
    return torch.randint(0, 256, (4, 3, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def record(epoch, *, of=0.0):
    """A Record whose numbers all differ, and differ between the runs `of`."""
    return Record(epoch, *(of + epoch + place / 8 for place in range(1, 6)), 100 * epoch, of + epoch / 2)


@pytest.fixture
def session(tmp_path, images):
    """Post the given epochs as one writer would, going on after `epoch` -> the folder."""

    def write(epochs, *, epoch=0, of=0.0):
        with open_tensorboard(tmp_path / "board", epoch=epoch) as board:
            for number in epochs:
                post(board, record(number, of=of), images)
        return tmp_path / "board"

    return write


def epochs_of(folder):
    """Folder -> the epochs of each tag and of the grids; they must all be alike, for both of TensorBoard's readers."""
    seen = [[epoch for epoch, _ in points] for points in read_scalars(folder).values()] + [list(read_images(folder))]
    other = plugin_event_accumulator.EventAccumulator(str(folder), size_guidance={plugin_event_accumulator.TENSORS: 0})
    other.Reload()  # the one behind TensorBoard's own pages
    tags = other.Tags()["tensors"]
    assert set(tags) == {*TAGS.values(), "samples"}
    seen += [[event.step for event in other.Tensors(tag)] for tag in tags]
    assert all(epochs == seen[0] for epochs in seen), seen
    return seen[0]


# --- posted and read back ---------------------------------------------------------------------------------------------


def test_what_is_posted_is_read_back(session, images):
    folder = session([1, 2, 3])
    assert epochs_of(folder) == [1, 2, 3]
    numbers = read_scalars(folder)
    assert set(numbers) == set(TAGS.values())
    for field, tag in TAGS.items():
        assert numbers[tag] == [(epoch, getattr(record(epoch), field)) for epoch in (1, 2, 3)]
    for picture in read_images(folder).values():
        assert (np.asarray(picture) == image_grid(images)).all()


def test_every_number_of_a_record_has_a_tag():
    assert ["epoch", *TAGS] == sorted(Record._fields, key=["epoch", *TAGS].index)
    assert len(set(TAGS.values())) == len(TAGS)


def test_when_post_returns_all_is_in_the_file(tmp_path, monkeypatch):
    """Also where the thread that writes is slow; and the images may be floats."""
    from tensorboard.summary.writer.record_writer import RecordWriter

    write = RecordWriter.write
    monkeypatch.setattr(RecordWriter, "write", lambda self, data: (time.sleep(0.02), write(self, data)))
    images = torch.linspace(-1, 1, 32).view(2, 1, 4, 4)
    with open_tensorboard(tmp_path) as board:
        post(board, record(1), images)
        (file,) = tmp_path.iterdir()
        length = file.stat().st_size
    assert file.stat().st_size == length
    assert {len(points) for points in read_scalars(tmp_path).values()} == {1}
    assert (np.asarray(read_images(tmp_path)[1]) == image_grid(images)).all()


def test_more_epochs_than_tensorboard_keeps_by_default(tmp_path, images):
    with open_tensorboard(tmp_path) as board:
        for epoch in range(1, 31):
            post(board, record(epoch), images)
    assert list(read_images(tmp_path)) == [epoch for epoch, _ in read_scalars(tmp_path)["loss/D"]] == [*range(1, 31)]


def test_nothing_is_heard_while_reading(session, capfd):
    session([1, 2, 3])
    read_scalars(session([2, 3], epoch=1))
    assert capfd.readouterr() == ("", "")


def test_the_room_can_be_entered_without_tensorboard():
    asked = "import sys, ganlib.tensorboard; print(sorted({'tensorboard', 'torch.utils.tensorboard'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", asked], cwd=HOUSE, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# --- once each --------------------------------------------------------------------------------------------------------


def test_what_an_interrupted_run_posted_later_is_taken_down(session):
    session([1, 2, 3, 4])
    folder = session([3, 4, 5], epoch=2, of=0.5)
    assert epochs_of(folder) == [1, 2, 3, 4, 5]
    wanted = [record(epoch, of=0.5 * (epoch > 2)).d_loss for epoch in range(1, 6)]
    assert [number for _, number in read_scalars(folder)["loss/D"]] == wanted


def test_from_the_start_again(session):
    session([1, 2, 3])
    assert epochs_of(session([1, 2], of=0.5)) == [1, 2]


def test_interrupted_ten_times(session):
    """Within seconds: TensorBoard sorts files by name, and beyond the second a name holds only numbers of processes."""
    for epoch in range(11):
        folder = session([epoch + 1, epoch + 2], epoch=epoch, of=0.5 * (epoch % 2))
    assert epochs_of(folder) == [*range(1, 13)]
    assert [number % 1 for _, number in read_scalars(folder)["loss/D"]] == [0.125, 0.625] * 5 + [0.125] * 2


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.99])
def test_killed_within_a_post(session, share):
    """What a kill leaves of the third epoch: some of its tags, and half a line at the end of the file."""
    folder = session([1, 2])
    (file,) = folder.iterdir()
    two = file.stat().st_size
    file.unlink()
    session([1, 2, 3])
    (file,) = folder.iterdir()
    content = file.read_bytes()
    file.write_bytes(content[: two + int(share * (len(content) - two))])
    assert epochs_of(session([3, 4], epoch=2, of=0.5)) == [1, 2, 3, 4]


@pytest.fixture
def few(monkeypatch, tmp_path):
    """The corridor trains on 300 digits in an empty folder."""
    digits = load("digits")
    images = Images("digits", digits.pixels[:300], digits.labels[:300], digits.classes)
    monkeypatch.setattr(corridor, "load", lambda *_, **__: images)
    monkeypatch.chdir(tmp_path)
    small = "--set", "hidden_dim=16", "--device", "cpu", "--epochs", "4", "--out", "run"
    return ["train", "mnist-long", "--dataset", "digits", "--tensorboard", *small]


@pytest.mark.parametrize("when", ["before the checkpoint", "after it"])
def test_stopped_between_the_post_and_the_next_epoch(few, monkeypatch, when):
    save_run = corridor.save_run

    def stopped(state, out, **options):
        if len(state.history) == 3 and when == "before the checkpoint":
            raise KeyboardInterrupt
        save_run(state, out, **options)
        if len(state.history) == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(corridor, "save_run", stopped)
        corridor.main(few)
    assert epochs_of("run/tensorboard") == [1, 2, 3]
    corridor.main([*few, "--resume"])
    assert epochs_of("run/tensorboard") == [1, 2, 3, 4]
    assert [row["epoch"] for row in _rows("run")] == ["1", "2", "3", "4"]


def _rows(out):
    with open(Path(out) / "history.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_killed_in_the_middle_and_resumed(tmp_path):
    """The command of page 13 on digits, ended by SIGKILL somewhere after its eighth epoch."""
    out = tmp_path / "run"
    command = [sys.executable, "-m", "ganlib", "train", "mnist-long", "--dataset", "digits", "--device", "cpu"]
    command += ["--tensorboard", "--models-every", "5", "--epochs", "20", "--set", "hidden_dim=64", "--out", str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    killed = subprocess.Popen(command, cwd=HOUSE, env=environment, stderr=subprocess.DEVNULL)
    patience = time.monotonic() + 120
    while not (out / "checkpoints" / "epoch-0008.pt").exists():
        assert killed.poll() is None and time.monotonic() < patience
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    stood = len(_rows(out))
    assert 7 <= stood < 20
    done = subprocess.run([*command, "--resume"], cwd=HOUSE, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert [int(row["epoch"]) for row in _rows(out)] == [*range(1, 21)] == epochs_of(out / "tensorboard")
    board = [np.float32(number) for _, number in read_scalars(out / "tensorboard")["loss/D"]]
    assert board == [np.float32(row["d_loss"]) for row in _rows(out)]
    kept = sorted(path.stem for path in (out / "models").glob("*.pt"))
    assert kept == ["epoch-0005", "epoch-0010", "epoch-0015", "epoch-0020"]
    assert sorted(path.name for path in (out / "samples").iterdir()) == [f"epoch-00{k:02d}.png" for k in range(21)]
    assert len(list((out / "tensorboard").iterdir())) == 2 and not list(out.rglob("*.part"))


# --- what goes wrong --------------------------------------------------------------------------------------------------


def test_a_folder_that_cannot_be_written_to(tmp_path, says):
    (tmp_path / "file").write_text("no folder")
    with says("Cannot write", tmp_path / "file"), open_tensorboard(tmp_path / "file" / "board"):
        pass


def test_a_full_disk(tmp_path, images, monkeypatch, says):
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    def full(self):
        raise OSError(28, "No space left on device")

    with says("Cannot write", tmp_path, "No space left"), open_tensorboard(tmp_path) as board:
        post(board, record(1), images)
        monkeypatch.setattr(EventFileWriter, "flush", full)
        post(board, record(2), images)


def test_without_tensorboard(tmp_path, monkeypatch, says):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with says("TensorBoard is not installed", "pip install"), open_tensorboard(tmp_path / "board"):
        pass
    assert not list(tmp_path.iterdir())


def test_an_error_of_the_loop_is_its_own(tmp_path):
    with pytest.raises(OSError, match="of the loop"), open_tensorboard(tmp_path):
        raise OSError("of the loop")


@pytest.mark.parametrize("read", [read_scalars, read_images])
def test_a_folder_without_a_board(tmp_path, says, read):
    for folder in (tmp_path, tmp_path / "nosuch"):
        with says(folder, "no TensorBoard files"):
            read(folder)


def test_a_file_of_another_name_beside_the_board(tmp_path, images):
    (tmp_path / "events.out.tfevents.copy").touch()
    with open_tensorboard(tmp_path, epoch=0) as board:
        post(board, Record(1, *[0.5] * 5, 100, 1.0), images)
    assert read_scalars(tmp_path)["loss/D"] == [(1, 0.5)]
