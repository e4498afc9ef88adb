"""```{learning} NAME```: what a shipped network drew while it learned, as a short film.

The frames lie below each other in one picture, which style alone moves past a window:
once when the page opens, or with `:on: hover` while the pointer or the keyboard is
there. Readers who want no motion, and paper, get the last frame.
"""

from hashlib import sha256
from html import escape

import numpy as np
from docutils import nodes
from docutils.parsers.rst import directives
from PIL import Image
from sphinx.util.docutils import SphinxDirective
from sphinx.util.osutil import relative_uri

from ganlib.checkpoint import ASSETS, load_run
from ganlib.errors import GanlibError

GAP = 2  # pixels between images, which are transparent
FOLDER = "_images"


def setup(app):
    app.add_directive("learning", Learning)
    app.connect("doctree-resolved", show_films)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


class film(nodes.General, nodes.Element):  # noqa: N801, as docutils has it
    """A place for a film; `name` and the options of `Learning` say which."""


class Learning(SphinxDirective):
    """A film of a shipped network; `:alt:` says what there is to see.

    It has `:count:` of the stored images, from the one with the number `:first:` on.
    """

    required_arguments = 1
    option_spec = {  # noqa: RUF012, as in docutils
        "alt": directives.unchanged_required,
        "count": directives.positive_int,
        "columns": directives.positive_int,
        "first": directives.nonnegative_int,
        "on": lambda text: directives.choice(text, ("open", "hover")),
    }

    def run(self):
        name = self.arguments[0]
        self.env.note_dependency(str(ASSETS / f"{name}-epochs.npz"))
        return [film("", name=name, **self.options)]


def show_films(app, doctree, docname):
    """Draw the films of a page and put them in their places."""
    folder = app.outdir / FOLDER
    for place in list(doctree.findall(film)):
        name, count = place["name"], place.get("count", 8)
        try:
            epochs = load_run(name)[1]
        except GanlibError as error:
            raise ValueError(f"{docname}: {error}") from None
        first, columns = place.get("first", 0), place.get("columns", count)
        epochs = [images[first : first + count] for images in epochs.values()]
        picture = film_of(epochs, columns)
        file = f"film-{name}-{sha256(picture.tobytes()).hexdigest()[:12]}.webp"
        folder.mkdir(parents=True, exist_ok=True)
        picture.save(folder / file, quality=82, method=6)
        uri = relative_uri(app.builder.get_target_uri(docname), f"{FOLDER}/{file}")
        once = " moves-once" if place.get("on", "open") == "open" else ""
        height = picture.height // len(epochs)
        html = (
            f'<div class="film{once}" style="--frames: {len(epochs)}; '
            f'aspect-ratio: {picture.width} / {height}">'
            f'<img src="{uri}" width="{picture.width}" height="{picture.height}" '
            f'alt="{escape(place.get("alt", ""))}"></div>'
        )
        place.replace_self(nodes.raw("", html, format="html"))


def film_of(epochs, columns):
    """Bytes (N, C, H, W) of each moment -> RGBA, one frame below the other."""
    frames = []
    for images in epochs:
        images = images.numpy()
        shape = len(images), 3, *images.shape[2:]
        opaque = np.full((len(images), 1, *images.shape[2:]), 255, np.uint8)
        tiles = np.concatenate([np.broadcast_to(images, shape), opaque], axis=1)
        tiles = np.pad(tiles, [(0, 0), (0, 0), (0, GAP), (0, GAP)])
        rows = [
            np.concatenate(list(tiles[start : start + columns]), axis=2)
            for start in range(0, len(tiles), columns)
        ]
        frames.append(np.concatenate(rows, axis=1))
    return Image.fromarray(np.concatenate(frames, axis=1).transpose(1, 2, 0).copy())
