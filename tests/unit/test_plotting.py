"""The pixels of a grid, the numbers behind a figure, and how it looks on a page."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from PIL import Image

from ganlib.data.transforms import normalize
from ganlib.plotting import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    image_grid,
    save_image_grid,
    show_comparison,
    show_epochs,
    show_history,
    show_images,
    use_book_style,
)
from ganlib.training import Record


@pytest.fixture
def shown(monkeypatch):
    """The figures that plt.show() was called for."""
    figures = []
    monkeypatch.setattr(plt, "show", lambda: figures.append(plt.gcf()))
    with matplotlib.rc_context():
        yield figures
    plt.close("all")


def flat(*values, shape=(1, 2, 3)):
    """One even image for each value, bytes."""
    return torch.tensor(values, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, *shape)


def test_a_grid_goes_row_by_row():
    grid = image_grid(flat(10, 20, 30), columns=2, gap=1)
    assert grid.shape == (2 * 3 + 1, 2 * 4 + 1, 4)
    assert grid.dtype == np.uint8
    assert grid[1, 1:4].tolist() == [[10, 10, 10, 255]] * 3
    assert grid[1, 5:8].tolist() == [[20, 20, 20, 255]] * 3
    assert grid[4, 1:4].tolist() == [[30, 30, 30, 255]] * 3


def test_what_is_not_an_image_is_transparent():
    opaque = image_grid(flat(10, 20, 30), columns=2, gap=1)[..., 3] == 255
    assert opaque.sum() == 3 * 2 * 3
    assert not opaque[[0, 3, 6]].any() and not opaque[:, [0, 4, 8]].any()
    assert not opaque[4, 5:].any(), "the rest of the last row"


def test_a_single_image_has_its_gap_too():
    assert image_grid(flat(10)).shape == (2 + 4, 3 + 4, 4)


def test_floats_and_bytes_make_the_same_grid():
    pixels = torch.randint(0, 256, (5, 1, 4, 4), dtype=torch.uint8)
    assert (image_grid(pixels) == image_grid(normalize(pixels))).all()


def test_colours_stay_in_their_order():
    pixels = torch.tensor([1, 2, 3], dtype=torch.uint8).view(1, 3, 1, 1)
    assert image_grid(pixels.expand(4, 3, 2, 2), gap=0)[0, 0, :3].tolist() == [1, 2, 3]


@pytest.mark.parametrize("shape", [(28, 28), (5, 2, 4, 4), (0, 1, 4, 4)])
def test_what_is_no_batch_of_images(says, shape):
    with says(str(shape), "(N, 1, H, W)"):
        image_grid(torch.zeros(shape))


def test_a_saved_grid_is_the_grid(tmp_path):
    pixels = torch.randint(0, 256, (5, 1, 4, 4), dtype=torch.uint8)
    path = tmp_path / "new" / "samples" / "epoch-0001.png"
    save_image_grid(pixels, path, columns=3)
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert (np.asarray(picture) == image_grid(pixels, columns=3)).all()
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_folder_that_cannot_be_written_to(tmp_path, says):
    (tmp_path / "file").write_text("in the way")
    with says("Cannot write", tmp_path / "file" / "a.png"):
        save_image_grid(flat(1), tmp_path / "file" / "a.png")


def test_show_images(shown):
    images = torch.zeros(5, 1, 4, 4)
    show_images(images, columns=2, title="Five")
    (axes,) = shown[0].axes
    assert axes.get_title() == "Five"
    assert (axes.get_images()[0].get_array() == image_grid(images, columns=2)).all()


@pytest.mark.parametrize(
    ("side", "scale", "pixels"), [(28, 1, 56), (64, 1, 128), (64, 1.5, 192)]
)
def test_each_pixel_of_an_image_is_large_enough_to_see(shown, side, scale, pixels):
    show_images(torch.zeros(12, 1, side, side), scale=scale)
    figure = shown[0]
    window = figure.axes[0].get_window_extent()
    shape = figure.axes[0].get_images()[0].get_array().shape
    assert window.width / shape[1] * side == pytest.approx(pixels)
    assert window.height / shape[0] * side == pytest.approx(pixels)


@pytest.mark.parametrize(("side", "columns"), [(28, 8), (64, 6), (128, 3), (512, 1)])
def test_a_row_fits_into_the_page_by_default(shown, side, columns):
    show_images(torch.zeros(9, 1, side, side))
    picture = shown[0].axes[0].get_images()[0].get_array()
    assert picture.shape[1] == columns * (side + 2) + 2


def test_a_comparison_has_a_labelled_row_for_each_name(shown):
    rows = {"healthy": flat(10, 20, 30), "broken": normalize(flat(100, 110, 120))}
    show_comparison(rows, title="One fault")
    (axes,) = shown[0].axes
    picture = axes.get_images()[0].get_array()
    assert [label.get_text() for label in axes.get_yticklabels()] == [*rows]
    middles = [int(place) for place in axes.get_yticks()]
    assert [int(picture[row, 3, 0]) for row in middles] == [10, 100]
    assert [int(picture[row, -3, 0]) for row in middles] == [30, 120]
    assert axes.get_title() == "One fault"


def test_the_labels_of_a_comparison_lie_inside_the_figure(shown):
    rows = {"the recipe as it is": flat(10), "without BatchNorm": flat(20)}
    show_comparison(rows)
    for label in shown[0].axes[0].get_yticklabels():
        assert label.get_window_extent().x0 >= 0


def test_rows_of_different_lengths(says):
    with says("(1, 1, 2, 3)", "(2, 1, 2, 3)", "one shape"):
        show_comparison({"one": flat(1), "two": flat(1, 2)})


def test_epochs_are_rows_in_time(shown):
    show_epochs({0: flat(1), 5: flat(2), 15: flat(3)})
    labels = [label.get_text() for label in shown[0].axes[0].get_yticklabels()]
    assert labels == ["epoch 0", "epoch 5", "epoch 15"]


def test_a_history_shows_every_number_under_its_name(shown):
    history = [
        Record(epoch, 1 / epoch, 2 * epoch, 0.5, 0.4, 0.3, 100 * epoch, 1.0)
        for epoch in (1, 2, 3, 4)
    ]
    show_history(history)
    lines = {line.get_label(): line for ax in shown[0].axes for line in ax.get_lines()}
    for label, field in {
        "Loss_D": "d_loss",
        "Loss_G": "g_loss",
        "D(x)": "d_real",
        "D(G(z)) before D's update": "d_fake_before",
        "D(G(z)) after it": "d_fake_after",
    }.items():
        assert list(lines[label].get_xdata()) == [1, 2, 3, 4]
        wanted = [getattr(record, field) for record in history]
        assert list(lines[label].get_ydata()) == wanted, label


def test_the_lines_of_a_history_differ_in_more_than_colour(shown):
    history = [Record(epoch, 1, 1, 0.5, 0.4, 0.3, 1, 1.0) for epoch in (1, 2, 3)]
    show_history(history)
    for axes in shown[0].axes:
        drawn = [line for line in axes.get_lines() if line.get_label()[0] != "_"]
        assert len({line.get_linestyle() for line in drawn}) == len(drawn)
        assert len({line.get_color() for line in drawn}) == len(drawn)
        assert axes.get_legend() is not None and axes.get_ylabel()


def test_a_history_of_one_epoch_is_visible(shown):
    show_history([Record(1, 1.0, 1.0, 0.5, 0.5, 0.5, 100, 1.0)])
    assert all(line.get_marker() == "o" for line in shown[0].axes[0].get_lines())


def luminance(color):
    """Relative luminance as WCAG 2 defines it."""
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in to_rgb(color)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    dark, light = sorted(map(luminance, (one, other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("paper", ["#ffffff", "#fffdf9", "#14181d"])
def test_every_colour_can_be_seen_on_the_light_page_and_on_the_dark_one(paper):
    assert min(contrast(color, paper) for color in (BLUE, ORANGE, GREEN, PURPLE)) >= 3
    assert contrast(GREY, paper) >= 4


def test_in_the_style_of_the_book_a_figure_has_no_background_and_grey_words(
    shown, tmp_path
):
    use_book_style()
    plt.plot([1, 2], label="line")
    plt.title("title")
    plt.legend()
    plt.savefig(tmp_path / "figure.png")
    picture = np.asarray(Image.open(tmp_path / "figure.png"))
    assert (picture[0] == [255, 255, 255, 0]).all()
    words = plt.gca().findobj(matplotlib.text.Text)
    assert {word.get_color() for word in words} == {GREY}


def test_in_a_notebook_figures_have_twice_the_pixels(python):
    code = (
        "from matplotlib_inline.config import InlineBackend\n"
        "from ganlib.plotting import use_book_style\n"
        "use_book_style()\n"
        "print(InlineBackend.instance().figure_formats)"
    )
    done = python("-m", "IPython", "--quick", "-c", code)
    assert "{'retina'}" in done.stdout, done.stderr
