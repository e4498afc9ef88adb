"""What the widgets hand to the browser, and what a reader then sees and can move."""

import base64
import json
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from browser import SIZES, open_page, violations, watched_page
from ipywidgets.embed import dependency_state, embed_data
from torch import nn

from ganlib.checkpoint import (
    ASSETS,
    load_generator,
    load_run,
    save_generator,
    save_weights,
)
from ganlib.config import Config, replace
from ganlib.data.transforms import denormalize
from ganlib.models import (
    BatchNormGenerator,
    DCGANGenerator,
    Generator,
    ResizeConvGenerator,
    build,
)
from ganlib.sampling import sample_images
from ganlib.training import Record
from ganlib.widgets import MOST_PRODUCTS, _plain_layers, edit, explore, timelapse, write

ROOT = Path(__file__).parents[2]
HISTORY = [
    Record(epoch, 1 / epoch, 2 * epoch, 0.6, 0.4, 0.3, 100 * epoch, 1.0)
    for epoch in (1, 2)
]
EPOCHS = {
    epoch: torch.full((3, 1, 2, 2), 100 * epoch, dtype=torch.uint8)
    for epoch in (2, 0, 1)
}


def stored(*widgets):
    """What a notebook stores of widgets: their whole state, and a view of each."""
    return embed_data(
        views=widgets, state=dependency_state(widgets, drop_defaults=False)
    )


def test_a_timelapse_holds_the_pictures_in_order_and_the_numbers_under_their_names():
    widget = timelapse(HISTORY, EPOCHS, scores={"FID": {2: 30.0, 1: 60.0}})
    assert (
        widget.about["epochs"] == [0, 1, 2]
        and widget.about["shape"] == [1, 2, 2]
        and widget.about["count"] == 3
    )
    assert list(zlib.decompress(widget.packed)) == [0] * 12 + [100] * 12 + [200] * 12
    lines = {
        line["label"]: line["points"]
        for panel in widget.about["panels"]
        for line in panel["lines"]
    }
    assert lines == {
        "Loss_D": [[1, 1.0], [2, 0.5]],
        "Loss_G": [[1, 2.0], [2, 4.0]],
        "D(x)": [[1, 0.6], [2, 0.6]],
        "D(G(z))": [[1, 0.3], [2, 0.3]],
        "FID": [[1, 60.0], [2, 30.0]],
    }
    assert widget.at == 2 and repr(widget) == "Time-lapse of 3 epochs"


@pytest.mark.parametrize(
    "epochs", [{}, {0: torch.zeros(1, 1, 2, 2)}, {**EPOCHS, 3: EPOCHS[0][:2]}]
)
def test_a_timelapse_asks_for_bytes_of_one_shape(epochs, says):
    with says("epochs must be", "uint8"):
        timelapse(HISTORY, epochs)


def test_an_explorer_holds_every_weight_as_float16():
    G = Generator(latent_dim=5, hidden_dim=4, image_shape=(1, 3, 3))
    widget = explore(G)
    planes = np.frombuffer(zlib.decompress(widget.packed), np.uint8).reshape(2, -1)
    numbers = planes.T.copy().view("<f2").ravel()
    assert torch.equal(
        torch.from_numpy(numbers),
        torch.cat([p.flatten() for p in G.parameters()]).half(),
    )
    assert widget.about["shape"] == [1, 3, 3]
    assert repr(widget) == "Explorer of a generator 5-4-4-9" and G.training


def test_its_directions_are_the_two_that_the_first_layer_stretches_most():
    G = Generator(latent_dim=3, hidden_dim=4)
    with torch.no_grad():
        G.layers[0].weight[:] = torch.tensor(
            [[0.0, 0, 1], [0, -3, 0], [2, 0, 0], [0, 0, 0]]
        )
    assert explore(G).about["directions"] == [[0, 1, 0], [1, 0, 0]]


def generators():
    """One of each kind, small, with BatchNorm statistics that are not 0 and 1."""
    torch.manual_seed(0)
    for G in (
        Generator(3, 5, (1, 4, 4)),
        BatchNormGenerator(3, 5, (1, 4, 4)),
        DCGANGenerator(3, 2, (3, 16, 16)),
        ResizeConvGenerator(3, 2, (3, 16, 16)),
        ResizeConvGenerator(3, 2, (1, 28, 28)),
    ):
        G(torch.randn(40, 3) + 1)
        yield G


@pytest.mark.parametrize("G", list(generators()), ids=lambda G: type(G).__name__)
def test_the_layers_of_an_explorer_do_what_the_generator_does(G):
    z = torch.randn(6, 3)
    values = z
    for place, (kind, weight, bias) in enumerate(_plain_layers(G)):
        if place > 0:
            values = values.relu()
        if kind == "linear":
            values = nn.functional.linear(values, weight, bias)
            continue
        if values.dim() == 2:
            inputs = weight.shape[1]
            side = round((values.shape[1] / inputs) ** 0.5)
            values = values.view(6, inputs, side, side)
        if kind == "double":
            weight = weight.transpose(0, 1)
            values = nn.functional.conv_transpose2d(values, weight, bias, 2, 1)
        else:
            values = nn.functional.conv2d(values, weight, bias, padding=1)
    images = values.tanh().view(6, *explore(G).about["shape"])
    torch.testing.assert_close(images, sample_images(G, z))
    assert G.training


@pytest.mark.parametrize("kind", [DCGANGenerator, ResizeConvGenerator])
def test_explore_takes_convolutions_until_a_browser_needs_too_long(kind, says):
    assert explore(kind(100, 32, (3, 64, 64))).about["shape"] == [3, 64, 64]
    with says("busy for more than 100 ms", "fewer base_channels"):
        explore(kind(100, 128, (3, 64, 64)))


def test_explore_says_what_it_takes(says):
    without_relu = Generator()
    without_relu.layers[1] = nn.BatchNorm1d(256)
    for network in (nn.Linear(64, 784), without_relu):
        with says("explore takes Generator,", type(network).__name__):
            explore(network)


@pytest.mark.parametrize("channels", [2, 4])
def test_a_timelapse_shows_grey_or_colour(channels, says):
    with says("cannot be shown", f"({channels}, 2, 2)"):
        timelapse(HISTORY, {0: torch.zeros(1, channels, 2, 2, dtype=torch.uint8)})


def test_importing_the_rest_of_ganlib_imports_no_widget_package():
    code = "import sys, ganlib, ganlib.plotting, ganlib.checkpoint; sys.exit('anywidget' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_the_state_of_the_shipped_widgets_is_small():
    G, _ = load_generator("mnist")
    sizes = {
        repr(widget): len(json.dumps(stored(widget)))
        for widget in (explore(G), timelapse(*load_run("mnist")))
    }
    assert sum(sizes.values()) < 850_000, sizes


# From here on in a real browser, on a page that has a kernel's widgets and no kernel.


def static_page(folder, *widgets):
    """A page with widgets and without a kernel -> its file."""
    data = stored(*widgets)
    kind = "application/vnd.jupyter.widget"
    views = "".join(
        f'<script type="{kind}-view+json">{json.dumps(view)}</script>'
        for view in data["view_specs"]
    )
    state = json.dumps(data["manager_state"]).replace("</", "<\\/")
    host = (ROOT / "book" / "_static" / "widgets.js").read_text()
    text = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Widgets</title><body><main><h1>Widgets</h1>'
        f'{views}</main><script type="{kind}-state+json">{state}</script><script>{host}</script></body></html>'
    )
    path = folder / "widgets.html"
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def page(chromium, tmp_path_factory):
    """A page with both widgets of the shipped run, opened as a file."""
    G, _ = load_generator("mnist")
    path = static_page(
        tmp_path_factory.mktemp("page"), timelapse(*load_run("mnist")), explore(G)
    )
    with watched_page(chromium) as page:
        open_page(page, path)
        yield page
        assert page.troubles == []


def grid(page):
    """The pixels of the time-lapse's canvas, red channel, (height, width)."""
    return pixels(page, ".ganlib-grid")


def pixels(page, selector):
    return colours(page, selector)[0]


def colours(page, selector):
    """The pixels of a canvas, (3, height, width)."""
    width, height, values = page.eval_on_selector(
        selector,
        """canvas => {
            const {width, height} = canvas, image = canvas.getContext("2d").getImageData(0, 0, width, height);
            return [width, height, Array.from(image.data)];
        }""",
    )
    return (
        np.array(values, dtype=np.uint8)
        .reshape(height, width, 4)[:, :, :3]
        .transpose(2, 0, 1)
    )


def test_every_place_of_the_slider_shows_its_own_epoch(page):
    history, epochs = load_run("mnist")
    slider = page.get_by_role("slider", name="Epoch")
    for epoch in (0, 7, 17):
        slider.fill(str(epoch))
        shown = grid(page)
        for index in (0, 5, 15):
            y, x = 30 * (index // 4), 30 * (index % 4)
            assert (
                shown[y : y + 28, x : x + 28] == epochs[epoch][index, 0].numpy()
            ).all(), (epoch, index)
        words = f"epoch {epoch} of 17" if epoch else "before training"
        numbers = f": Loss_D {history[epoch - 1].d_loss:.2f}, Loss_G" if epoch else ""
        assert slider.get_attribute("aria-valuetext").startswith(words + numbers)
        assert (
            page.get_by_role(
                "img", name=f"16 images from the same noise, {words}"
            ).count()
            == 1
        )


def test_the_markers_of_both_plots_stand_at_the_epoch(page):
    page.get_by_role("slider", name="Epoch").fill("10")
    places = page.eval_on_selector_all(
        ".ganlib-marker", "lines => lines.map(line => Number(line.getAttribute('x1')))"
    )
    assert len(places) == 2 and len(set(places)) == 1
    assert places[0] == pytest.approx(34 + (360 - 34 - 8) * 10 / 17)
    history, _ = load_run("mnist")
    record = history[9]
    wanted = [
        f"{value:.2f}"
        for value in (record.d_loss, record.g_loss, record.d_real, record.d_fake_after)
    ]
    assert page.locator(".ganlib-legend b").all_inner_texts() == wanted


def test_a_press_on_a_plot_goes_to_that_epoch(page):
    plot = page.locator(".ganlib-plot").nth(1)
    box = plot.bounding_box()
    plot.click(
        position={"x": box["width"] * (34 + 318 * 5 / 17) / 360, "y": box["height"] / 2}
    )
    assert page.get_by_role("slider", name="Epoch").input_value() == "5"


def test_play_advances_from_the_start_and_pauses(page):
    slider = page.get_by_role("slider", name="Epoch")
    slider.fill("17")
    page.get_by_role("button", name="Play").click()
    assert int(slider.input_value()) < 3, "from the end it starts again"
    page.wait_for_function("document.querySelector('.ganlib-widget input').value >= 3")
    page.get_by_role("button", name="Pause").click()
    stopped = slider.input_value()
    page.wait_for_timeout(700)
    assert slider.input_value() == stopped
    slider.fill("15")
    page.get_by_role("button", name="Play").click()
    page.wait_for_function(
        "document.querySelector('.ganlib-widget button').textContent.includes('Play')"
    )
    assert slider.input_value() == "17", "at the end it stops"


def explorer_pair(page):
    """The image in the page, and PyTorch's for the same noise; bytes (28, 28)."""
    z = page.evaluate("Array.from(document.querySelectorAll('.ganlib-widget')[1].z)")
    G, _ = load_generator("mnist")
    return pixels(page, ".ganlib-image"), denormalize(
        sample_images(G, torch.tensor([z]))
    )[0, 0].numpy()


def test_the_explorer_draws_what_pytorch_draws(page):
    largest, seen = 0, set()
    for turn in range(12):
        page.get_by_role("button", name=f"New sample {'AB'[turn % 2]}").click()
        places = {
            "truncation": 0.5 + turn / 12,
            "direction u": turn % 9 - 4,
            "direction v": 4 - turn % 7,
        }
        for name, value in places.items():
            page.get_by_role("slider", name=name).fill(f"{value:.1f}")
        page.get_by_role("slider", name="from A to B").fill(f"{turn % 5 / 4}")
        ours, wanted = explorer_pair(page)
        largest = max(largest, np.abs(ours.astype(int) - wanted).max())
        seen.add(ours.tobytes())
    assert len(seen) == 12
    assert largest <= 2, largest


def test_the_sliders_do_what_the_formula_says(page):
    page.get_by_role("button", name="Reset").click()

    def noise():
        z = "Array.from(document.querySelectorAll('.ganlib-widget')[1].z)"
        return np.array(page.evaluate(z))

    def slide(name, value):
        page.get_by_role("slider", name=name).fill(str(value))

    a = noise()
    slide("from A to B", 1)
    b = noise()
    assert np.abs(a - b).max() > 1
    slide("from A to B", 0.25)
    slide("truncation", 0.5)
    slide("direction u", 2)
    slide("direction v", -1)
    u, v = np.array(explore(load_generator("mnist")[0]).about["directions"])
    assert np.allclose(noise(), 0.5 * (0.75 * a + 0.25 * b) + 2 * u - v, atol=1e-5)


def test_the_pad_follows_the_pointer(page):
    page.get_by_role("button", name="Reset").click()
    before = pixels(page, ".ganlib-image")
    box = page.locator(".ganlib-pad").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(
        box["x"] + 0.9 * box["width"], box["y"] + 0.25 * box["height"], steps=4
    )
    page.mouse.up()
    values = [
        float(page.get_by_role("slider", name=name).input_value())
        for name in ("direction u", "direction v")
    ]
    assert values == pytest.approx([3.2, 2.0], abs=0.15)
    after, wanted = explorer_pair(page)
    assert (before != after).any() and np.abs(after.astype(int) - wanted).max() <= 2


def test_the_map_in_the_pad_is_drawn_again_when_the_sample_changes(page):
    page.get_by_role("button", name="New sample A").click()
    page.wait_for_timeout(600)
    before = pixels(page, ".ganlib-map")
    ours, _ = explorer_pair(page)
    middle = before[3 * 28 : 4 * 28, 3 * 28 : 4 * 28]
    assert (middle == ours).all(), "its middle is the sample itself"
    page.get_by_role("button", name="New sample A").click()
    page.wait_for_timeout(600)
    assert (pixels(page, ".ganlib-map") != before).any()


def test_the_keyboard_alone_operates_everything(page):
    page.get_by_role("slider", name="Epoch").fill("5")
    page.get_by_role("heading", name="Widgets").click()  # the next Tab starts from here
    reached = {}
    for _ in range(9):
        page.keyboard.press("Tab")
        focused = page.locator(":focus")
        name = focused.get_attribute("aria-label") or focused.inner_text()
        before = shown(page)
        page.keyboard.press(
            "ArrowRight" if focused.get_attribute("type") == "range" else "Enter"
        )
        reached[name] = shown(page) != before
        if "Play" in name:
            page.keyboard.press("Space")
            assert "Play" in focused.inner_text(), "the same key pauses"
    names = [
        "▶ Play",
        "Epoch",
        "New sample A",
        "New sample B",
        "Reset",
        "from A to B (t)",
        "truncation",
    ]
    assert list(reached) == [*names, "direction u", "direction v"]
    assert all(reached.values()), reached


def shown(page):
    """What a reader sees of both widgets, as text: the button, the places of all sliders, the image."""
    buttons = page.locator(".ganlib-button").all_inner_texts()
    places = page.eval_on_selector_all(
        ".ganlib-slider input", "inputs => inputs.map(input => input.value)"
    )
    return str((buttons, places, pixels(page, ".ganlib-image").tolist()))


@pytest.mark.parametrize(
    ("theme", "paper", "ink"),
    [("light", "#fffdf9", "#24292f"), ("dark", "#14181d", "#d9dee4")],
)
def test_a_checker_of_accessibility_has_nothing_against_the_widgets(
    page, theme, paper, ink
):
    page.evaluate(
        """([theme, paper, ink]) => {
            document.documentElement.dataset.theme = theme;
            Object.assign(document.body.style, {background: paper, color: ink});
        }""",
        [theme, paper, ink],
    )
    assert violations(page) == []
    line = page.locator(".ganlib-plot .ganlib-line.ganlib-d").first
    colour = line.evaluate("line => getComputedStyle(line).stroke")
    assert colour == {"light": "rgb(0, 114, 178)", "dark": "rgb(108, 193, 242)"}[theme]


@pytest.mark.parametrize("width", SIZES)
def test_the_widgets_fit_the_screen(page, width):
    page.set_viewport_size({"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.set_viewport_size({"width": 1440, "height": 900})


# A file of the reader's own.


def trained(config):
    """A small generator of `config` whose BatchNorm has met some noise."""
    torch.manual_seed(0)
    G, _ = build(config)
    for _ in range(20):
        G(2 * torch.randn(50, config.latent_dim))
    with torch.no_grad():
        G.layers[-2].weight *= 3 / G.layers[-2].weight.std()  # away from even grey
    return G.eval()


OWN = {
    "mlp": {"hidden_dim": 6, "image_size": 9, "channels": 3},
    "batchnorm-mlp": {"hidden_dim": 6, "image_size": 12},
    "dcgan": {"base_channels": 2, "image_size": 28},
    "resize-conv": {"base_channels": 2, "image_size": 40, "channels": 3},
}


@pytest.fixture
def opener(chromium, tmp_path):
    """A page with an explorer -> (the page, a function that opens a file in it)."""
    with watched_page(chromium) as page:
        open_page(page, static_page(tmp_path, explore(Generator(3, 5, (1, 4, 4)))))

        def open_file(path):
            before = page.get_by_role("status").inner_text()
            with page.expect_file_chooser() as waiting:
                page.get_by_role("button", name="Open a generator").click()
            waiting.value.set_files(path)
            page.wait_for_function(
                """before => {
                    const words = document.querySelector("[role=status]").textContent;
                    return words !== before && !words.startsWith("Reading");
                }""",
                arg=before,
            )
            return page.get_by_role("status").inner_text()

        yield page, open_file
        assert page.troubles == []


def drawn(page):
    """The noise of the image shown, and the image, (3, H, W)."""
    z = page.evaluate("Array.from(document.querySelector('.ganlib-widget').z)")
    return torch.tensor([z]), colours(page, ".ganlib-image").astype(int)


@pytest.mark.parametrize("architecture", OWN)
def test_a_file_of_ganlib_is_drawn_as_pytorch_draws_it(opener, architecture, tmp_path):
    page, open_file = opener
    config = Config(architecture=architecture, latent_dim=7, **OWN[architecture])
    G = trained(config)
    save_generator(G, config, tmp_path / "own.safetensors")
    words = open_file(tmp_path / "own.safetensors")
    assert f"own.safetensors: {architecture}, images {config.channels}x" in words
    seen = set()
    for turn in range(4):
        page.get_by_role("button", name=f"New sample {'AB'[turn % 2]}").click()
        page.get_by_role("slider", name="direction u").fill(str(turn - 1))
        z, image = drawn(page)
        wanted = denormalize(sample_images(G, z))[0].numpy()
        assert z.shape == (1, 7) and np.abs(image[: len(wanted)] - wanted).max() <= 2
        assert wanted.std() > 10
        seen.add(image.tobytes())
    assert len(seen) == 4


def test_a_file_gives_the_directions_that_python_gives(opener, tmp_path):
    page, open_file = opener
    config = Config(latent_dim=5, hidden_dim=6, image_size=4)
    G = build(config)[0]
    with torch.no_grad():
        frame = torch.linalg.qr(torch.randn(6, 5)).Q
        G.layers[0].weight[:] = frame @ torch.diag(torch.tensor([5.0, 3, 2, 1, 1]))
        G.layers[0].weight[:] @= torch.linalg.qr(torch.randn(5, 5)).Q
    save_generator(G, config, tmp_path / "own.safetensors")
    open_file(tmp_path / "own.safetensors")
    start, _ = drawn(page)
    for name, wanted in zip("uv", explore(G).about["directions"], strict=True):
        page.get_by_role("slider", name=f"direction {name}").fill("1")
        moved, _ = drawn(page)
        assert (moved - start - torch.tensor(wanted)).abs().max() < 1e-3
        page.get_by_role("slider", name=f"direction {name}").fill("0")


def test_a_dropped_file_is_opened_and_the_shipped_ones_are_too(opener):
    page, open_file = opener
    for name in ("mnist", "avatars"):
        assert f"{name}.safetensors" in open_file(ASSETS / f"{name}.safetensors")
        z, image = drawn(page)
        G, _ = load_generator(name)
        wanted = denormalize(sample_images(G, z))[0].numpy()
        assert np.abs(image[: len(wanted)] - wanted).max() <= 2
    content = base64.b64encode((ASSETS / "mnist.safetensors").read_bytes()).decode()
    page.evaluate(
        """content => {
            const bytes = Uint8Array.from(atob(content), letter => letter.charCodeAt(0));
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File([bytes], "dropped.safetensors"));
            const drop = new DragEvent("drop", {dataTransfer, bubbles: true, cancelable: true});
            document.querySelector(".ganlib-image").dispatchEvent(drop);
        }""",
        content,
    )
    page.get_by_text("This is dropped.safetensors").wait_for()
    assert drawn(page)[1].shape == (3, 28, 28)


def misfits(folder):
    """{name of a file that cannot be drawn: words of the sentence about it}"""
    small = Config(latent_dim=3, hidden_dim=4, image_size=4)
    G = build(small)[0]
    save_weights(G, folder / "bare.safetensors")
    save_generator(G, small, folder / "wide.safetensors")
    save_generator(G, replace(small, image_size=5), folder / "other.safetensors")
    save_generator(
        G, replace(small, channels=4, image_size=2 * 2), folder / "four.safetensors"
    )
    whole = (folder / "wide.safetensors").read_bytes()
    (folder / "half.safetensors").write_bytes(whole[:-4])
    (folder / "empty.safetensors").write_bytes(b"")
    (folder / "picture.safetensors").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(99))
    header = whole.replace(
        b'\\"architecture\\": \\"mlp\\"', b'\\"architecture\\": \\"xyz\\"'
    )
    (folder / "new.safetensors").write_bytes(header)
    large = Config(
        architecture="resize-conv", image_size=64, channels=3, base_channels=128
    )
    save_generator(build(large)[0], large, folder / "large.safetensors")
    asked = replace(small, classes=2)
    save_generator(build(asked)[0], asked, folder / "asked.safetensors")
    return {
        "bare": "holds no config of a generator",
        "other": "holds weights of another architecture than its config says",
        "four": "holds weights of another architecture than its config says",
        "half": "is broken",
        "empty": "is no safetensors file",
        "picture": "is no safetensors file",
        "new": "of the architecture xyz; this page draws mlp",
        "asked": "is a conditional generator, which takes a class beside its noise",
        "large": "keeps a browser busy for more than 100 ms",
    }


def test_a_file_that_does_not_fit_is_one_sentence(opener, tmp_path, one_sentence):
    page, open_file = opener
    before = drawn(page)
    for name, words in misfits(tmp_path).items():
        sentence = open_file(tmp_path / f"{name}.safetensors")
        one_sentence(sentence.replace(f"{name}.safetensors", "FILE"), "FILE", words)
    assert f"{MOST_PRODUCTS:,}" in sentence  # of the last, which is too large
    after = drawn(page)
    assert torch.equal(before[0], after[0]) and (before[1] == after[1]).all()


# Convolutions and colour.


@pytest.mark.parametrize("kind", [DCGANGenerator, ResizeConvGenerator])
@pytest.mark.parametrize(
    ("base_channels", "shape"), [(32, (3, 64, 64)), (1, (1, 28, 28))]
)
def test_the_explorer_draws_what_pytorch_draws_with_convolutions(
    chromium, tmp_path, kind, base_channels, shape
):
    torch.manual_seed(0)
    G = kind(5, base_channels, shape)
    for _ in range(20):
        G(2 * torch.randn(50, 5))  # so that the running statistics are not 0 and 1
    with torch.no_grad():
        G.layers[-2].weight *= 4  # away from even grey
    G.eval()
    largest, seen = 0, set()
    with watched_page(chromium) as page:
        open_page(page, static_page(tmp_path, explore(G)))
        for turn in range(4):
            page.get_by_role("button", name=f"New sample {'AB'[turn % 2]}").click()
            page.get_by_role("slider", name="truncation").fill(f"{0.5 + turn / 4:.1f}")
            page.get_by_role("slider", name="direction u").fill(str(turn % 5 - 2))
            z = page.evaluate("Array.from(document.querySelector('.ganlib-widget').z)")
            wanted = denormalize(sample_images(G, torch.tensor([z])))[0].numpy()
            ours = colours(page, ".ganlib-image")[: len(wanted)].astype(int)
            largest = max(largest, np.abs(ours - wanted).max())
            seen.add(ours.tobytes())
            assert wanted.std() > 10
        assert page.troubles == []
    assert len(seen) == 4 and largest <= 2


def test_a_timelapse_in_colour_is_close_to_its_pictures(chromium, tmp_path):
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(3 * 8, 3, 4, 4, generator=generator) * 255
    smooth = nn.functional.interpolate(coarse, size=64, mode="bilinear").to(torch.uint8)
    epochs = dict(zip((0, 1, 5), smooth.split(8), strict=True))
    every = smooth.view(3, 8, 3, 64, 64).numpy()
    with watched_page(chromium) as page:
        open_page(page, static_page(tmp_path, timelapse(HISTORY, epochs)))
        for place in range(3):
            page.get_by_role("slider", name="Epoch").fill(str(place))
            shown = colours(page, ".ganlib-grid").astype(int)
            assert shown.shape == (3, 2 * 66 - 2, 4 * 66 - 2)
            for index in range(8):
                y, x = 66 * (index // 4), 66 * (index % 4)
                image = shown[:, y : y + 64, x : x + 64]
                away = np.abs(image - every).mean(axis=(2, 3, 4))
                assert away[place, index] < 5 < np.delete(away, place * 8 + index).min()
        assert page.troubles == []


# A generator whose sliders mean something.


def small_editor():
    """An untrained generator of colours, three directions, and the widget of both."""
    torch.manual_seed(0)
    G = DCGANGenerator(6, 4, (3, 16, 16))
    for _ in range(20):
        G(2 * torch.randn(50, 6))
    with torch.no_grad():
        G.layers[-2].weight *= 4  # away from even grey
    directions = {
        name: vector
        for name, vector in zip(
            ("glasses", "smile", "hair"), torch.randn(3, 6), strict=True
        )
    }
    start = torch.randn(6)
    return G.eval(), directions, start, edit(G, directions, start)


def test_an_editor_holds_its_directions_and_the_first_noise():
    G, directions, start, widget = small_editor()
    assert repr(widget) == "Editor of glasses, smile, hair"
    assert widget.packed == explore(G).packed
    assert widget.about["shape"] == [3, 16, 16]
    torch.testing.assert_close(torch.tensor(widget.z), start, atol=1e-5, rtol=0)
    for name, vector in directions.items():
        stored = torch.tensor(widget.about["directions"][name])
        torch.testing.assert_close(stored, vector, atol=1e-5, rtol=0)


def test_an_editor_says_what_it_takes(says):
    G, directions, start, _ = small_editor()
    with says("'smile' has the shape (5,)", "has (6,)"):
        edit(G, {**directions, "smile": torch.zeros(5)}, start)
    with says("'z' has the shape (1, 6)"):
        edit(G, directions, start[None])
    with says("busy for more than 100 ms"):
        edit(DCGANGenerator(100, 128, (3, 64, 64)), {}, torch.zeros(100))


def test_the_sliders_of_an_editor_move_the_noise_and_the_picture(chromium, tmp_path):
    G, directions, start, widget = small_editor()
    largest, seen = 0, set()
    with watched_page(chromium) as page:
        open_page(page, static_page(tmp_path, widget))
        first = colours(page, ".ganlib-before")

        def noise():
            script = "Array.from(document.querySelector('.ganlib-widget').z)"
            return torch.tensor(page.evaluate(script))

        torch.testing.assert_close(noise(), start, atol=1e-5, rtol=0)
        assert (colours(page, ".ganlib-image") == first).all()
        for values in ((1.5, 0, 0), (1.5, -2, 0), (-4, -2, 3.1)):
            wanted = start.clone()
            for (name, vector), value in zip(directions.items(), values, strict=True):
                page.get_by_role("slider", name=name).fill(str(value))
                wanted += value * vector
            torch.testing.assert_close(noise(), wanted, atol=1e-4, rtol=0)
            image = denormalize(sample_images(G, wanted[None]))[0].numpy()
            ours = colours(page, ".ganlib-image").astype(int)
            largest = max(largest, np.abs(ours - image).max())
            seen.add(ours.tobytes())
            assert image.std() > 10
        slider = page.get_by_role("slider", name="hair")
        assert slider.get_attribute("aria-valuetext") == "+3.1"
        changed = page.get_by_role("img", name="glasses -4.0, smile -2.0, hair +3.1")
        assert changed.count() == 1
        assert (colours(page, ".ganlib-before") == first).all()
        page.get_by_role("button", name="Reset").click()
        assert (colours(page, ".ganlib-image") == first).all()
        page.get_by_role("button", name="Another image").click()
        assert (colours(page, ".ganlib-before") != first).any()
        assert page.troubles == []
    assert len(seen) == 3 and largest <= 2


@pytest.mark.parametrize("width", SIZES)
def test_an_editor_is_for_every_hand_and_screen(chromium, tmp_path, width):
    _, directions, _, widget = small_editor()
    with watched_page(chromium) as page:
        page.set_viewport_size({"width": width, "height": 800})
        open_page(page, static_page(tmp_path, widget))
        for place in page.locator(".ganlib-widget button, .ganlib-widget input").all():
            box = place.bounding_box()
            assert box["height"] >= 44 and box["width"] >= 44
        beyond = "document.documentElement.scrollWidth - window.innerWidth"
        assert page.evaluate(beyond) <= 0
        page.get_by_role("heading", name="Widgets").click()
        reached = []
        for _ in range(5):
            page.keyboard.press("Tab")
            focused = page.locator(":focus")
            name = focused.get_attribute("aria-label") or focused.inner_text()
            before = page.locator(".ganlib-image").get_attribute("aria-label")
            if focused.get_attribute("type") == "range":
                page.keyboard.press("ArrowRight")
                after = page.locator(".ganlib-image").get_attribute("aria-label")
                assert after != before and f"{name} +0.1" in after
            reached.append(name)
        assert reached == ["Another image", "Reset", *directions]
        assert violations(page, ".ganlib-widget") == []
        assert page.troubles == []


# A generator that is asked for what is typed.


def by_heart():
    """A generator of 2x2 images: class c is c + 1 tenths bright, noise moves one pixel."""
    G = Generator(13, 23, (1, 2, 2))
    with torch.no_grad():
        for weight in G.parameters():
            weight.zero_()
        shades = torch.linspace(-0.9, 0.9, 10)
        G.layers[0].weight[:13] = torch.eye(13)
        G.layers[2].weight[:13, :13] = torch.eye(13)
        G.layers[4].weight[:, 3:13] = torch.atanh(shades)
        G.layers[4].weight[0, 0] = 0.1
    return G, ((shades + 1) * 127.5).round().int().tolist()


@pytest.fixture
def writer(chromium, tmp_path):
    """A page with a widget that draws the text 20, and the shade of each class."""
    G, shades = by_heart()
    with watched_page(chromium) as page:
        open_page(page, static_page(tmp_path, write(G, "20")))
        page.get_by_label("Type a number").wait_for()
        yield page, shades
        assert page.troubles == []


def shades_of(page):
    """The shade of each image drawn, by a pixel that noise leaves alone: rows of them."""
    return pixels(page, ".ganlib-widget canvas")[1::2, 1::2].astype(int).tolist()


def test_what_is_typed_is_drawn_class_by_class(writer):
    page, shades = writer
    for typed in ("20", "7310", "5"):
        page.get_by_label("Type a number").fill(typed)
        wanted = [shades[int(character)] for character in typed]
        found = shades_of(page)
        assert len(found) == 3
        for row in found:
            assert np.abs(np.subtract(row, wanted)).max() <= 1
        assert page.locator(f"canvas[aria-label='{typed}, drawn 3 times']").count() == 1


def test_each_drawing_has_noise_of_its_own(writer):
    page, _ = writer
    seen = set()
    for _ in range(3):
        page.get_by_role("button", name="Draw again").click()
        corner = pixels(page, ".ganlib-widget canvas")[0::2, 0::2]
        seen |= {row.tobytes() for row in corner}
    assert len(seen) > 5, "rows of one press, and presses, differ"


@pytest.mark.parametrize(("typed", "drawn_"), [("1a2", 2), ("", 0), ("seven", 0)])
def test_what_is_no_class_is_said_and_left_out(writer, typed, drawn_):
    page, _ = writer
    assert page.get_by_role("status").inner_text() == ""
    page.get_by_label("Type a number").fill(typed)
    words = page.get_by_role("status").inner_text()
    assert words == "G has learned 0 1 2 3 4 5 6 7 8 9, and draws nothing else."
    width = page.eval_on_selector(".ganlib-widget canvas", "canvas => canvas.width")
    assert width == 2 * drawn_


def test_a_long_number_fits_a_phone_and_a_reader_without_eyes_can_use_it(writer):
    page, _ = writer
    page.set_viewport_size({"width": 360, "height": 800})
    page.get_by_label("Type a number").fill("123456789012345")
    assert page.get_by_label("Type a number").input_value() == "123456789012"
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert violations(page) == []


def test_write_says_what_it_takes(says):
    with says("write takes a Generator", "10 classes", "ResizeConvGenerator"):
        write(ResizeConvGenerator(74, 2, (1, 28, 28)), "1")
    with says("write takes a Generator", "this is a Generator with 10 inputs"):
        write(Generator(latent_dim=10), "1")


def test_without_javascript_the_text_is_drawn(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "book" / "_ext")
    import fallback

    G, shades = by_heart()
    widget = write(G, "2026")
    found = fallback.written(widget.about, widget.packed, "2026")
    assert found[:, 0, 1, 1].tolist() == [shades[int(one)] for one in "2026"]
