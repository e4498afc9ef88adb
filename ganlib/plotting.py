"""A window: figures of images and of histories. Nothing in ganlib depends on it."""

import io

import torch

from ganlib.files import write_atomic
from ganlib.data.transforms import denormalize

# Okabe and Ito's colours, told apart by colour-blind readers too; used book-wide for the same things.
BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#6E6E6E"


def image_grid(images, *, columns=8, gap=2):
    """Images (N, C, H, W), floats in -1..1 or bytes -> one picture, uint8 (height, width, 3), row by row."""
    from torchvision.utils import make_grid

    pixels = images if images.dtype == torch.uint8 else denormalize(images)
    return make_grid(pixels, nrow=columns, padding=gap, pad_value=128).permute(1, 2, 0).cpu().numpy()


def save_image_grid(images, path, *, columns=8):
    """Images (N, C, H, W) -> a PNG file at `path`, whole or absent; its folder is made if it is not there."""
    from PIL import Image

    picture = io.BytesIO()
    Image.fromarray(image_grid(images, columns=columns)).save(picture, format="png")
    write_atomic(path, picture.getvalue())


def show_images(images, *, columns=8, title=None, scale=1.0):
    """Images (N, C, H, W), floats in -1..1 or bytes -> a figure of them, row by row."""
    import matplotlib.pyplot as plt

    rows = -(-len(images) // columns)
    _, axes = plt.subplots(figsize=(0.8 * columns * scale, 0.8 * rows * scale + 0.3 * bool(title)))
    axes.imshow(image_grid(images, columns=columns), interpolation="nearest")
    axes.set_axis_off()
    if title:
        axes.set_title(title)
    plt.show()


def show_epochs(images_by_epoch, *, title=None):
    """{epoch: images (N, C, H, W)} -> one row per epoch: time runs downwards, a column is one noise vector."""
    import matplotlib.pyplot as plt

    epochs, columns = list(images_by_epoch), len(next(iter(images_by_epoch.values())))
    _, axes = plt.subplots(figsize=(0.7 * columns, 0.7 * len(epochs)))
    axes.imshow(image_grid(torch.cat(list(images_by_epoch.values())), columns=columns), interpolation="nearest")
    step = axes.get_images()[0].get_array().shape[0] / len(epochs)
    axes.set_yticks([step * (row + 0.5) for row in range(len(epochs))], [f"epoch {epoch}" for epoch in epochs])
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    if title:
        axes.set_title(title)
    plt.show()


def show_history(history):
    """List of Records -> two figures side by side: losses, and the probabilities that D gives, against epochs."""
    import matplotlib.pyplot as plt

    epochs = [record.epoch for record in history]
    _, (losses, scores) = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
    _line(losses, epochs, [record.d_loss for record in history], "Loss_D", BLUE, "-")
    _line(losses, epochs, [record.g_loss for record in history], "Loss_G", ORANGE, "--")
    losses.set(xlabel="epoch", ylabel="loss", title="Losses")
    _line(scores, epochs, [record.d_real for record in history], "D(x)", BLUE, "-")
    _line(scores, epochs, [record.d_fake_before for record in history], "D(G(z)) before D's update", ORANGE, "--")
    _line(scores, epochs, [record.d_fake_after for record in history], "D(G(z)) after it", GREEN, ":")
    scores.set(xlabel="epoch", ylabel="probability of real", title="What D says", ylim=(0, 1))
    scores.axhline(0.5, color=GREY, linewidth=1)
    for axes in (losses, scores):
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend()
    plt.show()


def _line(axes, x, y, label, color, style):
    axes.plot(x, y, label=label, color=color, linestyle=style, linewidth=2, marker="o" if len(x) < 3 else None)
