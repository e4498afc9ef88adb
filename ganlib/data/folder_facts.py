"""What a folder or a zip of pictures holds, before any of them is decoded."""

import os
from contextlib import nullcontext, suppress
from pathlib import Path

from PIL import Image

from ganlib.data.image_folder import _list_images, _open_zip, formats
from ganlib.errors import GanlibError


def image_sizes(source: Path | str) -> tuple[list[tuple[int, int]], int]:
    """(width, height) of each image in a folder or a zip, from its first bytes.

    Those of which it cannot be read are left out.

    Returns the sizes, and how many files there are that are no images, by their names,
    and not hidden. Raises GanlibError as `read_image_folder` does.
    """
    place = Path(os.path.expanduser(source))
    if not place.exists():
        raise GanlibError(
            f"There is no folder or zip {str(source)!r}; give the place of your images."
        )
    place, sizes = place.resolve(), []
    with nullcontext() if place.is_dir() else _open_zip(place) as archive:
        names = _list_images(place, archive)
        for name in names:
            # Which error it is depends on format and fault.
            with (
                suppress(Exception),
                archive.open(name) if archive else open(place / name, "rb") as file,
                Image.open(file, formats=formats()) as opened,
            ):
                sizes.append(opened.size)
        if archive:
            files = [entry.filename for entry in archive.infolist()]
        else:
            paths = (path for path in place.rglob("*") if path.is_file())
            files = [path.relative_to(place).as_posix() for path in paths]
    hidden = ("/.", "/__MACOSX")
    others = [
        name
        for name in files
        if name not in names
        and not name.endswith("/")
        and not any(part in f"/{name}" for part in hidden)
    ]
    return sizes, len(others)
