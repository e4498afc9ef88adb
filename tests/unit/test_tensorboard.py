"""What is logged is read back, and an epoch stands there once whatever stopped the run."""

import signal
import sys
import time

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing import plugin_event_accumulator

from ganlib.plotting import image_grid
from ganlib.tensorboard import (
    TAGS,
    log_epoch,
    open_tensorboard,
    read_images,
    read_scalars,
)
from ganlib.training import Record


@pytest.fixture
def images():
    """Four images 6x6 in colour."""
    random = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (4, 3, 6, 6), dtype=torch.uint8, generator=random)


def record(epoch, *, offset=0.0):
    """A Record whose numbers all differ, and differ between runs of other `offset`."""
    numbers = [offset + epoch + place / 8 for place in range(1, 6)]
    return Record(epoch, *numbers, 100 * epoch, offset + epoch / 2)


@pytest.fixture
def log(tmp_path, images):
    """Log the given epochs with one writer that goes on after `epoch` -> the folder."""

    def write(epochs, *, epoch=0, offset=0.0):
        folder = tmp_path / "tensorboard"
        with open_tensorboard(folder, epoch=epoch) as writer:
            for number in epochs:
                log_epoch(writer, record(number, offset=offset), images)
        return folder

    return write


def epochs_of(folder):
    """The epochs that every tag has, for both of TensorBoard's readers."""
    seen = [[epoch for epoch, _ in points] for points in read_scalars(folder).values()]
    seen.append(list(read_images(folder)))
    shown = plugin_event_accumulator.EventAccumulator(  # what TensorBoard's pages show
        str(folder), size_guidance={plugin_event_accumulator.TENSORS: 0}
    ).Reload()
    tags = shown.Tags()["tensors"]
    assert set(tags) == {*TAGS.values(), "samples"}
    seen += [[event.step for event in shown.Tensors(tag)] for tag in tags]
    assert all(epochs == seen[0] for epochs in seen), seen
    return seen[0]


def test_what_is_logged_is_read_back(log, images):
    folder = log([1, 2, 3])
    numbers = read_scalars(folder)
    assert set(numbers) == set(TAGS.values())
    for field, tag in TAGS.items():
        wanted = [(epoch, getattr(record(epoch), field)) for epoch in (1, 2, 3)]
        assert numbers[tag] == wanted
    for picture in read_images(folder).values():
        assert (np.asarray(picture) == image_grid(images)).all()


def test_every_number_of_a_record_has_a_tag_of_its_own():
    assert set(TAGS) == set(Record._fields) - {"epoch"}
    assert len(set(TAGS.values())) == len(TAGS)


def test_more_epochs_than_tensorboard_keeps_by_default(log):
    assert epochs_of(log(range(1, 31))) == [*range(1, 31)]


def test_reading_is_silent(log, capfd):
    log([1, 2, 3])
    read_scalars(log([2, 3], epoch=1))
    assert capfd.readouterr() == ("", "")


def test_tensorboard_is_imported_only_when_it_is_used(python):
    done = python(
        "-c", "import sys, ganlib.tensorboard; print('tensorboard' in sys.modules)"
    )
    assert done.stdout == "False\n", done.stderr


# An epoch stands there once.


def test_what_an_interrupted_run_logged_later_is_gone(log):
    log([1, 2, 3, 4])
    folder = log([3, 4, 5], epoch=2, offset=0.5)
    assert epochs_of(folder) == [1, 2, 3, 4, 5]
    old, new = record(1).d_loss - 1, record(1, offset=0.5).d_loss - 1
    losses = [loss - epoch for epoch, loss in read_scalars(folder)["loss/D"]]
    assert losses == [old, old, new, new, new]


def test_from_the_start_again(log):
    log([1, 2, 3])
    assert epochs_of(log([1, 2], offset=0.5)) == [1, 2]


def test_interrupted_again_and_again_within_a_second(log):
    for epoch in range(6):
        folder = log([epoch + 1, epoch + 2], epoch=epoch)
    assert epochs_of(folder) == [*range(1, 8)]


def test_a_kill_after_log_epoch_loses_nothing_and_resuming_repeats_nothing(
    log, python, tmp_path
):
    code = (
        "import os, torch\n"
        "from ganlib.tensorboard import log_epoch, open_tensorboard\n"
        "from ganlib.training import Record\n"
        "images = torch.zeros(2, 1, 4, 4)\n"
        f"with open_tensorboard({str(tmp_path / 'tensorboard')!r}) as writer:\n"
        "    for epoch in (1, 2, 3):\n"
        "        log_epoch(writer, Record(epoch, *[0.5] * 5, 1, 1.0), images)\n"
        f"    os.kill(os.getpid(), {int(signal.SIGKILL)})  # no checkpoint of epoch 3\n"
    )
    killed = python("-c", code)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert epochs_of(tmp_path / "tensorboard") == [1, 2, 3]
    assert epochs_of(log([3, 4], epoch=2)) == [1, 2, 3, 4]


@pytest.mark.parametrize("share", [0.05, 0.6, 0.99])
def test_a_kill_within_log_epoch(log, share):
    """It leaves some of the tags, and half a record at the end of the file."""
    folder = log([1, 2])
    (file,) = folder.iterdir()
    two = file.stat().st_size
    file.unlink()
    log([1, 2, 3])
    (file,) = folder.iterdir()
    content = file.read_bytes()
    file.write_bytes(content[: two + int(share * (len(content) - two))])
    assert epochs_of(log([3, 4], epoch=2)) == [1, 2, 3, 4]


def test_log_epoch_waits_for_the_thread_that_writes(tmp_path, monkeypatch, images):
    from tensorboard.summary.writer.record_writer import RecordWriter

    write = RecordWriter.write

    def slowly(self, data):
        time.sleep(0.02)
        write(self, data)

    monkeypatch.setattr(RecordWriter, "write", slowly)
    with open_tensorboard(tmp_path) as writer:
        log_epoch(writer, record(1), images)
        (file,) = tmp_path.iterdir()
        length = file.stat().st_size
    assert file.stat().st_size == length


# What goes wrong.


def test_a_folder_that_cannot_be_written_to(tmp_path, says):
    (tmp_path / "file").write_text("no folder")
    with says("Cannot write", tmp_path / "file"):
        with open_tensorboard(tmp_path / "file" / "tensorboard"):
            pass


def test_a_full_disk(tmp_path, images, monkeypatch, says):
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    def full(self):
        raise OSError(28, "No space left on device")

    with says("Cannot write", tmp_path, "No space left"):
        with open_tensorboard(tmp_path) as writer:
            monkeypatch.setattr(EventFileWriter, "flush", full)
            log_epoch(writer, record(1), images)


def test_without_tensorboard(tmp_path, monkeypatch, says):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with says("TensorBoard is not installed", "pip install"):
        with open_tensorboard(tmp_path / "tensorboard"):
            pass
    assert not list(tmp_path.iterdir())


def test_an_error_of_the_loop_is_its_own(tmp_path):
    with pytest.raises(OSError, match="of the loop"), open_tensorboard(tmp_path):
        raise OSError("of the loop")


@pytest.mark.parametrize("read", [read_scalars, read_images])
def test_a_folder_without_tensorboard_files(tmp_path, says, read):
    for folder in (tmp_path, tmp_path / "nosuch"):
        with says(folder, "no TensorBoard files"):
            read(folder)


def test_a_file_of_another_name_among_them(log, tmp_path):
    (tmp_path / "tensorboard").mkdir()
    (tmp_path / "tensorboard" / "events.out.tfevents.copy").touch()
    assert epochs_of(log([1])) == [1]
