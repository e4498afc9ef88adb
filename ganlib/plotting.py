"""Figures of images and of histories. Nothing in ganlib depends on how they look."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ganlib.data.transforms import denormalize
from ganlib.errors import GanlibError
from ganlib.files import write_atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ganlib.training import Record

# The colours of Okabe and Ito, which colour-blind readers tell apart too. The contrast
# of each is at least 3 on the light page and on the dark one, that of grey, the colour
# of all text, at least 4.
BLUE = "#0072B2"  # real images, and D
ORANGE = "#D55E00"  # generated images, and G
GREEN = "#009E73"
PURPLE = "#CC79A7"
GREY = "#7A7A7A"

GAP = 2  # pixels between the images of a grid
ZOOM = 2  # pixels of the page to one pixel of an image
PAGE_WIDTH = 800  # pixels
DPI = 100  # pixels of the page to an inch of a figure


def use_book_style() -> None:
    """Draw the figures of this notebook as the book does.

    They have no background, so that they stand on that of the page, light or dark, and
    twice as many pixels as they are shown with.
    """
    import matplotlib.pyplot as plt

    plt.rcParams.update(
        {
            "figure.dpi": DPI,
            "figure.figsize": (6, 3.6),
            "figure.facecolor": "none",
            "savefig.pad_inches": 0.02,
            "axes.facecolor": "none",
            "legend.framealpha": 0,
            "font.size": 12,
            "axes.titlesize": "medium",
            "text.color": GREY,
            "axes.labelcolor": GREY,
            "axes.edgecolor": GREY,
            "xtick.color": GREY,
            "ytick.color": GREY,
            "axes.prop_cycle": plt.cycler(color=[BLUE, ORANGE, GREEN, PURPLE, GREY]),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "lines.linewidth": 2,
        }
    )
    try:
        from IPython import get_ipython
        from matplotlib_inline.config import InlineBackend
    except ImportError:  # no notebook
        return
    if get_ipython() is not None:
        InlineBackend.instance(parent=get_ipython()).figure_formats = {"retina"}


def image_grid(images: Tensor, *, columns: int = 8, gap: int = GAP) -> np.ndarray:
    """Images -> one picture of them, row by row, uint8 (height, width, 4).

    Args:
        images: (N, C, H, W), floats in -1..1 or bytes, in grey or in colour.
        columns: images in a row; the last row may be shorter.
        gap: pixels around each image; they are transparent.

    Raises GanlibError for images of another shape.
    """
    from torchvision.utils import make_grid

    if images.dim() != 4 or images.shape[1] not in (1, 3) or len(images) == 0:
        raise GanlibError(
            f"Images {tuple(images.shape)} cannot be shown; they must be (N, 1, H, W) "
            "or (N, 3, H, W)."
        )
    pixels = images if images.dtype == torch.uint8 else denormalize(images)
    colours = pixels.cpu().expand(-1, 3, -1, -1)
    opaque = torch.cat([colours, torch.full_like(colours[:, :1], 255)], dim=1)
    if len(opaque) == 1:  # make_grid draws no gap around a single image
        opaque = torch.nn.functional.pad(opaque, [gap] * 4)
    grid = make_grid(opaque, nrow=columns, padding=gap)
    return grid.permute(1, 2, 0).numpy()


def save_image_grid(images: Tensor, path: Path | str, *, columns: int = 8) -> None:
    """Write the picture that `image_grid` makes to a PNG file, whole or not at all.

    Its folder is made if it is not there. Raises GanlibError if that is not possible.
    """
    from PIL import Image

    picture = io.BytesIO()
    Image.fromarray(image_grid(images, columns=columns)).save(picture, format="png")
    write_atomic(path, picture.getvalue())


def show_images(
    images: Tensor,
    *,
    columns: int | None = None,
    scale: float = 1.0,
    title: str | None = None,
) -> None:
    """Show images (N, C, H, W), floats in -1..1 or bytes, row by row.

    Args:
        columns: images in a row; by default 8, or as many as fit into the page.
        scale: at 1, each pixel of an image is 2x2 pixels of the page: 56 for the side
            of a digit.
    """
    import matplotlib.pyplot as plt

    if columns is None:
        fitting = PAGE_WIDTH / (ZOOM * scale * (images.shape[-1] + GAP))
        columns = max(1, min(8, int(fitting)))
    _draw_picture(image_grid(images, columns=columns), scale=scale, title=title)
    plt.show()


def show_comparison(
    images_by_name: Mapping[str, Tensor],
    *,
    scale: float = 1.0,
    title: str | None = None,
) -> None:
    """Show one row of images (N, C, H, W) for each name, the same number in each.

    `scale` is that of `show_images`. Raises GanlibError for rows of different shapes.
    """
    import matplotlib.pyplot as plt

    rows = list(images_by_name.values())
    shapes = {tuple(images.shape) for images in rows}
    if len(shapes) != 1:
        raise GanlibError(
            f"The rows have the shapes {sorted(shapes)}; they must all have one shape."
        )
    names = list(images_by_name)
    pixels = [row if row.dtype == torch.uint8 else denormalize(row) for row in rows]
    grid = image_grid(torch.cat(pixels), columns=len(rows[0]))
    axes = _draw_picture(grid, scale=scale, title=title, names=names)
    pitch = rows[0].shape[-2] + GAP
    middles = [pitch * (row + 0.5) + GAP / 2 for row in range(len(rows))]
    axes.set_yticks(middles, names)
    plt.show()


def show_epochs(
    images_by_epoch: Mapping[int, Tensor],
    *,
    scale: float = 1.0,
    title: str | None = None,
) -> None:
    """Show one row of images (N, C, H, W) for each epoch: time runs downwards.

    When all rows were drawn from the same noise, a column is one noise vector.
    """
    rows = {f"epoch {epoch}": images for epoch, images in images_by_epoch.items()}
    show_comparison(rows, scale=scale, title=title)


def show_history(history: Sequence["Record"]) -> None:
    """Show the losses and, below them, the probabilities that D gives, by epoch."""
    import matplotlib.pyplot as plt

    _, (losses, probabilities) = plt.subplots(
        2, 1, figsize=(6, 5.6), sharex=True, layout="constrained"
    )
    _draw_history(losses, probabilities, history)
    losses.set_ylabel("loss")
    probabilities.set(xlabel="epoch", ylabel="probability of real")
    for axes in (losses, probabilities):
        axes.legend()
    plt.show()


def show_histories(histories: Mapping[str, Sequence["Record"]]) -> None:
    """Show several runs, a row for each: losses, and the probabilities that D gives.

    The rows share their axes.
    """
    import matplotlib.pyplot as plt

    figure, rows = plt.subplots(
        len(histories),
        2,
        figsize=(6.5, 0.8 + 1.5 * len(histories)),
        sharex=True,
        sharey="col",
        squeeze=False,
        layout="constrained",
    )
    for (losses, probabilities), (name, history) in zip(
        rows, histories.items(), strict=True
    ):
        _draw_history(losses, probabilities, history)
        losses.set_ylabel(name, rotation=0, ha="right", va="center")
    rows[0, 0].set_title("loss")
    rows[0, 1].set_title("probability of real")
    corners = "outside upper left", "outside upper right"
    for axes, corner in zip(rows[-1], corners, strict=True):
        axes.set_xlabel("epoch")
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc=corner)  # type: ignore[call-overload]
    plt.show()


def _draw_history(
    losses: "Axes", probabilities: "Axes", history: Sequence["Record"]
) -> None:
    """Draw the two losses of a history, and the probabilities, into axes."""
    epochs = [record.epoch for record in history]
    marker = "o" if len(epochs) < 3 else None  # a line needs two points
    for axes, field, label, color, style in (
        (losses, "d_loss", "Loss_D", BLUE, "-"),
        (losses, "g_loss", "Loss_G", ORANGE, "--"),
        (probabilities, "d_real", "D(x)", BLUE, "-"),
        (probabilities, "d_fake_before", "D(G(z)) before D's update", ORANGE, "--"),
        (probabilities, "d_fake_after", "D(G(z)) after it", GREEN, ":"),
    ):
        values = [getattr(record, field) for record in history]
        axes.plot(epochs, values, style, label=label, color=color, marker=marker)
    probabilities.axhline(0.5, color=GREY, linewidth=1)
    probabilities.set_ylim(0, 1)
    probabilities.locator_params(axis="x", integer=True, min_n_ticks=1)


def _draw_picture(
    picture: np.ndarray,
    *,
    scale: float,
    title: str | None,
    names: Sequence[str] = (),
) -> "Axes":
    """A picture (height, width, 4) in a figure made to its measure -> its axes.

    To its left there is room for the longest of `names`, and above it for a title.
    """
    import matplotlib.pyplot as plt

    height, width = (ZOOM * scale / DPI * side for side in picture.shape[:2])  # inches
    left = 0.1 * max(map(len, names), default=0)
    top = 0.4 if title else 0.0
    figure = plt.figure(figsize=(left + width, top + height), dpi=DPI)
    axes = figure.add_axes(
        (
            left / (left + width),
            0.0,
            width / (left + width),
            height / (top + height),
        )
    )
    axes.imshow(picture, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    if title:
        axes.set_title(title)
    return axes
