"""The notice board: what a training loop's caller posts of each epoch to TensorBoard, and reads back."""

import io
import logging
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from ganlib.errors import GanlibError
from ganlib.plotting import image_grid

FILES = "events.out.tfevents.*"  # a board's; then come the second in which it was opened, machine, process, a number
# Field of a Record -> its name on the board; what stands before the slash becomes a group there.
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
def open_tensorboard(folder, *, epoch=0):
    """`with open_tensorboard(folder, epoch=7) as board:` a SummaryWriter that goes on with epoch 8, in a file of its own.

    What an interrupted run posted after `epoch` is taken down. GanlibError if the folder cannot be written to.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter  # here, because importing it takes a moment
    except ImportError:
        raise GanlibError("TensorBoard is not installed; pip install tensorboard, or do without a board.") from None
    wait_for_a_later_name(folder)
    try:
        # At epoch 0 too: of all the purge steps that it meets, TensorBoard ignores the first.
        board = SummaryWriter(str(folder), purge_step=epoch + 1)
    except OSError as error:
        raise GanlibError(f"Cannot write to {folder} ({error.strerror}); subsample another folder.") from None
    try:
        yield board
    finally:
        with suppress(OSError):  # nothing is left to write; if the disk is full, post has said so
            board.close()


def wait_for_a_later_name(folder):
    """Files are read in the order of their names, in which two of the same second may change places: let it pass."""
    stamps = [path.name.split(".")[3] for path in Path(folder).glob(FILES)]
    last = max((int(stamp) for stamp in stamps if stamp.isdecimal()), default=0)
    time.sleep(min(1, max(0, last + 1 - time.time())))


def post(board, record, images):
    """Post the numbers of one Record and a grid of images (N, C, H, W), floats in -1..1 or bytes, at its epoch.

    When it returns, a kill can no longer take the epoch from the board. GanlibError if the disk is full.
    """
    try:
        for field, tag in TAGS.items():
            board.add_scalar(tag, getattr(record, field), record.epoch)
        board.add_image("samples", image_grid(images), record.epoch, dataformats="HWC")
        board.flush()
    except OSError as error:
        raise GanlibError(f"Cannot write to {board.get_logdir()} ({error.strerror}); make room, then resume.") from None


def read_scalars(folder):
    """Folder of a board -> {tag: [(epoch, number), …]}, what was taken down left out."""
    board = _load(folder)
    return {tag: [(event.step, event.value) for event in board.Scalars(tag)] for tag in sorted(board.Tags()["scalars"])}


def read_images(folder):
    """Folder of a board -> {epoch: its grid of images, a PIL picture}."""
    from PIL import Image

    return {event.step: Image.open(io.BytesIO(event.encoded_image_string)) for event in _load(folder).Images("samples")}


def _load(folder):
    """Folder of a board -> TensorBoard's own reader of it, with everything in it."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    if not any(Path(folder).glob(FILES)):
        raise GanlibError(f"{folder} holds no TensorBoard files; give the folder that open_tensorboard was given.")
    logger = logging.getLogger("tensorboard")
    before = logger.level
    logger.setLevel(logging.ERROR)  # it warns of each epoch that it takes down
    try:
        return EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0}).Reload()
    finally:
        logger.setLevel(before)
