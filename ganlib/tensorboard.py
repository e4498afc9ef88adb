"""A run in TensorBoard: what is logged after each epoch, and how it is read back."""

import io
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ganlib.errors import GanlibError
from ganlib.plotting import image_grid

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch.utils.tensorboard import SummaryWriter

    from ganlib.training import Record

FILES = "events.out.tfevents.*"  # then second, machine, process and a number

# Field of a Record -> its tag; TensorBoard groups tags by what stands before the slash.
TAGS = {
    "d_loss": "loss/D",
    "g_loss": "loss/G",
    "d_real": "probability of real/D(x)",
    "d_fake_before": "probability of real/D(G(z)) before D's update",
    "d_fake_after": "probability of real/D(G(z)) after it",
    "seconds": "run/seconds",
    "images_seen": "run/images seen",
}


@contextmanager
def open_tensorboard(
    folder: Path | str, *, epoch: int = 0
) -> Iterator["SummaryWriter"]:
    """A writer that goes on after `epoch`, for use in a `with`.

    It opens a file of its own, and TensorBoard will not show what an interrupted run
    logged after `epoch`: so the epochs between the last checkpoint and a kill are not
    there twice. Raises GanlibError if the folder cannot be written to, or where
    TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise GanlibError(
            "TensorBoard is not installed; pip install tensorboard, or do without it."
        ) from None
    _wait_for_later_name(Path(folder))
    try:
        # Also at epoch 0: of all the purge steps TensorBoard ignores the first.
        writer = SummaryWriter(str(folder), purge_step=epoch + 1)
    except OSError as error:
        raise GanlibError(
            f"Cannot write to {folder} ({error.strerror}); choose another folder."
        ) from None
    try:
        yield writer
    finally:
        with suppress(OSError):  # a full disk, of which log_epoch has told
            writer.close()


def _wait_for_later_name(folder: Path) -> None:
    """Wait up to a second, until a new file's name comes after those in `folder`.

    TensorBoard reads files in the order of their names, which differ by the second.
    """
    stamps = [path.name.split(".")[3] for path in folder.glob(FILES)]
    newest = max((int(stamp) for stamp in stamps if stamp.isdecimal()), default=0)
    time.sleep(min(1.0, max(0.0, newest + 1 - time.time())))


def log_epoch(writer: "SummaryWriter", record: "Record", images: Tensor) -> None:
    """Log the numbers of one epoch and images (N, C, H, W), floats in -1..1 or bytes.

    When it returns they are in the file, where a kill does not reach them. Raises
    GanlibError if the disk is full.
    """
    try:
        for field, tag in TAGS.items():
            writer.add_scalar(tag, getattr(record, field), record.epoch)
        grid = image_grid(images)
        writer.add_image("samples", grid, record.epoch, dataformats="HWC")
        writer.flush()
    except OSError as error:
        raise GanlibError(
            f"Cannot write to {writer.get_logdir()} ({error.strerror}); make room, "
            "then resume."
        ) from None


def read_scalars(folder: Path | str) -> dict[str, list[tuple[int, float]]]:
    """{tag: [(epoch, number), ...]} as TensorBoard shows it.

    Raises GanlibError for a folder without TensorBoard files.
    """
    events = _read(folder)
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in sorted(events.Tags()["scalars"])
    }


def read_images(folder: Path | str) -> dict[int, "Image"]:
    """{epoch: its grid of images}; GanlibError as for `read_scalars`."""
    from PIL import Image

    return {
        event.step: Image.open(io.BytesIO(event.encoded_image_string))
        for event in _read(folder).Images("samples")
    }


def _read(folder: Path | str) -> Any:
    """TensorBoard's own EventAccumulator, with everything in `folder`."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    if not any(Path(folder).glob(FILES)):
        raise GanlibError(
            f"{folder} holds no TensorBoard files; give the folder that "
            "open_tensorboard was given."
        )
    logger = logging.getLogger("tensorboard")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it warns of every epoch that it leaves out
    try:
        everything = {"scalars": 0, "images": 0}
        return EventAccumulator(str(folder), size_guidance=everything).Reload()
    finally:
        logger.setLevel(level)
