"""Files are written whole or not at all, and unreadable ones are one sentence."""

import os
from contextlib import suppress
from pathlib import Path

from ganlib.errors import GanlibError


def cache_folder() -> Path:
    """The folder for files that ganlib downloads or unpacks; it is not made here."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ganlib"


def write_atomic(path: Path | str, content: bytes) -> None:
    """Write bytes beside `path`, then rename: nobody ever sees half of a file.

    Raises GanlibError if the disk is full or the folder cannot be written to; what
    stood at `path` before is then still there.
    """
    path = Path(path)
    beside = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(beside, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        with suppress(OSError):
            beside.unlink()
        raise GanlibError(
            f"Cannot write {path} ({error.strerror}); make room or choose another "
            "folder."
        ) from None


def read_bytes(path: Path | str, most: int = -1) -> bytes:
    """The bytes of a file, or the first `most`; GanlibError if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(most)
    except OSError as error:
        raise GanlibError(
            f"{path} cannot be read ({error.strerror}); make it readable."
        ) from None
