"""A window: the pixels of a image_grid, the numbers behind a figure, and no backend chosen for the reader."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image

from ganlib.data.transforms import normalize
from ganlib.plotting import BLUE, GREEN, ORANGE, save_image_grid, show_epochs, show_history, show_images, image_grid
from ganlib.training import Record


@pytest.fixture
def shown(monkeypatch):
    """The figures that plt.show() was called for."""
    figures = []
    monkeypatch.setattr(plt, "show", lambda: figures.append(plt.gcf()))
    yield figures
    plt.close("all")


def _flat(*values, dtype=torch.uint8):
    return torch.tensor(values, dtype=dtype).view(-1, 1, 1, 1).expand(-1, 1, 2, 3)


def test_a_tile_goes_row_by_row():
    picture = image_grid(_flat(10, 20, 30), columns=2, gap=1)
    assert picture.shape == (2 * 3 + 1, 2 * 4 + 1, 3) and picture.dtype == np.uint8
    grey = 128
    assert picture[1, :, 0].tolist() == picture[2, :, 0].tolist() == [grey, 10, 10, 10, grey, 20, 20, 20, grey]
    assert picture[4, :, 0].tolist() == [grey, 30, 30, 30, *[grey] * 5]
    assert (picture[[0, 3, 6]] == grey).all()
    assert (picture[..., 0] == picture[..., 1]).all() and (picture[..., 0] == picture[..., 2]).all()


def test_floats_and_bytes_make_the_same_tile():
    pixels = torch.randint(0, 256, (5, 1, 4, 4), dtype=torch.uint8)
    assert (image_grid(pixels) == image_grid(normalize(pixels))).all()


def test_colours_stay_in_their_order():
    pixels = torch.tensor([1, 2, 3], dtype=torch.uint8).view(1, 3, 1, 1).expand(4, 3, 2, 2)
    assert image_grid(pixels, gap=0)[0, 0].tolist() == [1, 2, 3]


def test_save_tile_writes_what_tile_shows(tmp_path):
    pixels = torch.randint(0, 256, (5, 1, 4, 4), dtype=torch.uint8)
    path = tmp_path / "new" / "samples" / "epoch-0001.png"
    save_image_grid(pixels, path, columns=3)
    save_image_grid(pixels, str(path), columns=3)
    with Image.open(path) as picture:
        assert picture.format == "PNG" and (np.asarray(picture) == image_grid(pixels, columns=3)).all()
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_save_tile_into_a_folder_that_cannot_be_written(tmp_path, says):
    (tmp_path / "file").write_text("in the way")
    for path in (tmp_path / "file" / "a.png", tmp_path / "file" / "deeper" / "a.png"):
        with says("Cannot write", path):
            save_image_grid(_flat(1), path)


def test_show_images(shown):
    show_images(torch.zeros(5, 1, 4, 4), columns=2, title="Five")
    (figure,) = shown
    (axes,) = figure.axes
    assert axes.get_title() == "Five" and not axes.axison
    assert (np.asarray(axes.get_images()[0].get_array()) == image_grid(torch.zeros(5, 1, 4, 4), columns=2)).all()


def test_a_filmstrip_has_a_labelled_row_per_epoch(shown):
    strips = {0: normalize(_flat(0, 0, 0)), 5: normalize(_flat(100, 100, 100)), 15: normalize(_flat(200, 200, 200))}
    show_epochs(strips, title="Time")
    (axes,) = shown[0].axes
    picture = np.asarray(axes.get_images()[0].get_array())
    assert [label.get_text() for label in axes.get_yticklabels()] == ["epoch 0", "epoch 5", "epoch 15"]
    assert [int(picture[int(y), 4, 0]) for y in axes.get_yticks()] == [0, 100, 200], "each label beside its own row"
    assert axes.get_title() == "Time"


def test_a_history_shows_every_number_under_its_name(shown):
    history = [Record(epoch, 1 / epoch, 2 * epoch, 0.5, 0.4, 0.3, 100 * epoch, 1.0) for epoch in (1, 2, 3, 4)]
    show_history(history)
    losses, scores = shown[0].axes
    lines = {line.get_label(): line for axes in (losses, scores) for line in axes.get_lines()}
    fields = {"Loss_D": "d_loss", "Loss_G": "g_loss", "D(x)": "d_real",
              "D(G(z)) before D's update": "d_fake_before", "D(G(z)) after it": "d_fake_after"}  # fmt: skip
    for label, field in fields.items():
        assert list(lines[label].get_xdata()) == [1, 2, 3, 4]
        assert list(lines[label].get_ydata()) == [getattr(record, field) for record in history], label
    for axes in (losses, scores):
        drawn = [line for line in axes.get_lines() if not line.get_label().startswith("_")]
        assert len({line.get_linestyle() for line in drawn}) == len({line.get_color() for line in drawn}) == len(drawn)
        assert axes.get_xlabel() == "epoch" and axes.get_ylabel() and axes.get_legend() is not None
    assert scores.get_ylim() == (0, 1)
    assert (lines["Loss_D"].get_color(), lines["Loss_G"].get_color()) == (BLUE, ORANGE)
    assert lines["D(G(z)) after it"].get_color() == GREEN


def test_a_history_of_one_epoch_is_visible(shown):
    show_history([Record(1, 1.0, 1.0, 0.5, 0.5, 0.5, 100, 1.0)])
    assert all(line.get_marker() == "o" for line in shown[0].axes[0].get_lines())
