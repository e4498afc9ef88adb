"""The GAN that trains in a page: its numbers against PyTorch's, its file, its controls."""

import base64
import itertools
import json
import re
import subprocess
import zlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from browser import SIZES, violations, watched_page
from safetensors.torch import load_file
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from ganlib.checkpoint import load_generator, read_metadata
from ganlib.cli import main
from ganlib.data import load
from ganlib.data.transforms import denormalize
from ganlib.losses import discriminator_loss, generator_loss, r1_penalty
from ganlib.models import Discriminator, Generator
from ganlib.sampling import sample_images
from ganlib.widgets import Explorer
from scripts import assemble, browser_digits

ROOT = Path(__file__).parents[2]
STATIC = ROOT / "book" / "_static"
CORE = (STATIC / "trainer_core.js").read_text()
KERNELS = ["relaxed", "simd", "plain"]
# Numbers leave the page as text of their bytes: a list of them would take seconds.
BYTES = """
const bytes = (numbers) => {
  const view = new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength);
  let text = "";
  for (let i = 0; i < view.length; i += 8192) text += String.fromCharCode(...view.subarray(i, i + 8192));
  return btoa(text);
};
"""
SETTINGS = "{seed: 3, rateD: 0.001, rateG: 0.002, beta1: 0.5, realLabel: 0.9, r1: 0.5}"
# 300 pictures of grey blots on black
GAME = f"""
const random = core.randomFrom(7), pixels = new Uint8Array(300 * 784);
for (let i = 0; i < pixels.length; i++) pixels[i] = random.uniform() > 0.8 ? 255 * random.uniform() : 0;
const settings = {SETTINGS}, game = new core.Game(settings, pixels);
"""


def numbers(text, dtype="<f4"):
    """Numbers that left the page -> an array."""
    return np.frombuffer(base64.b64decode(text), dtype)


def tensor(text):
    return torch.from_numpy(numbers(text).astype(np.float64))


@pytest.fixture(scope="module")
def blank(chromium):
    """A page with nothing but the core; `blank.run(kernel, script)` gives what it returns."""
    with watched_page(chromium) as page:
        page.add_script_tag(content=CORE)

        def run(kernel, script):
            code = f"(kernel) => {{ const core = ganTrainerCore(kernel); {BYTES} {GAME} {script} }}"
            return page.evaluate(code, kernel)

        page.run = run
        yield page
        assert page.troubles == []


# The numbers


def test_the_binaries_are_those_of_the_kernel_in_the_repository():
    kernel = assemble.KERNEL.read_text()
    stored = dict(re.findall(r'const (SOURCE|SIMD|RELAXED) = "([^"]*)"', CORE))
    assert stored["SOURCE"] == assemble.fingerprint(kernel), (
        "run python -m scripts.assemble"
    )
    assert assemble.relaxed(kernel).count("(f32x4.relaxed_madd (local") == 8
    if find_spec("wasmtime"):
        for name, text in {
            "SIMD": kernel,
            "RELAXED": assemble.relaxed(kernel),
        }.items():
            assert base64.b64decode(stored[name]) == assemble.assemble(text), name


def test_the_best_kernel_is_taken_and_a_browser_without_simd_gets_plain_javascript(
    blank,
):
    assert blank.run(None, "return core.machine.name") == "relaxed"
    without = """
    const validate = WebAssembly.validate;
    WebAssembly.validate = () => false;
    const { name } = ganTrainerCore().machine;
    WebAssembly.validate = validate;
    return name;"""
    assert blank.run(None, without) == "plain"


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(
    ("m", "k", "n"), [(8, 5, 16), (100, 64, 256), (3, 7, 5), (4, 1, 8), (100, 256, 1)]
)
def test_products_of_matrices_in_either_order_are_numpys(blank, kernel, m, k, n):
    found = blank.run(
        kernel,
        f"""
        const [m, k, n] = {[m, k, n]}, draw = (count) => random.fill(core.room(count));
        const A = draw(m * k), B = draw(k * n), start = draw(n), C = core.room(m * n), results = [];
        for (const a of [core.matrix(A, m, k), core.turned(core.matrix(A, k, m))]) {{
          for (const b of [core.matrix(B, k, n), core.turned(core.matrix(B, n, k))]) {{
            core.multiply(a, b, core.matrix(C, m, n), start);
            results.push(bytes(C));
          }}
        }}
        return {{parts: [A, B, start].map(bytes), results}};""",
    )
    A, B, start = (numbers(part).astype(float) for part in found["parts"])
    orders = itertools.product(
        [A.reshape(m, k), A.reshape(k, m).T], [B.reshape(k, n), B.reshape(n, k).T]
    )
    for result, (a, b) in zip(found["results"], orders, strict=True):
        np.testing.assert_allclose(
            numbers(result).reshape(m, n), a @ b + start, atol=2e-5
        )


TURNS = """
for (let k = 0; k < 5; k++) game.step();
game.drawReal();
game.random.fill(game.z);
const found = {D: bytes(game.D.weights), G: bytes(game.G.weights)};
found.saidD = game.gradientD();
Object.assign(found, {z: bytes(game.z), both: bytes(game.both), gradientD: bytes(game.D.gradient)});
found.saidG = game.gradientG();
found.gradientG = bytes(game.G.gradient);
found.penalty = game.D.penalise(game.both, 100, 2);
found.gradientR1 = bytes(game.D.gradient);
return found;
"""


def near(found, wanted):
    """The largest error of a gradient, as a share of its largest number."""
    return ((found - wanted).abs().max() / wanted.abs().max()).item()


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_gradients_of_both_networks_are_pytorchs(blank, kernel):
    found = blank.run(kernel, TURNS)
    G, D = Generator().double(), Discriminator().double()
    vector_to_parameters(tensor(found["G"]), G.parameters())
    vector_to_parameters(tensor(found["D"]), D.parameters())
    z, both = (
        tensor(found["z"]).view(100, 64),
        tensor(found["both"]).view(200, 1, 28, 28),
    )
    real, fake = both.chunk(2)
    assert (G(z) - fake).abs().max() < 1e-5

    real_logits, fake_logits = D(real), D(fake)
    loss = discriminator_loss(real_logits, fake_logits, real_label=0.9)
    wanted = parameters_to_vector(torch.autograd.grad(loss, list(D.parameters())))
    assert near(tensor(found["gradientD"]), wanted) < 1e-4
    assert found["saidD"] == pytest.approx(
        {
            "lossD": loss.item(),
            "real": real_logits.sigmoid().mean().item(),
            "fake": fake_logits.sigmoid().mean().item(),
        },
        abs=1e-5,
    )

    logits = D(G(z))
    loss = generator_loss(logits)
    wanted = parameters_to_vector(torch.autograd.grad(loss, list(G.parameters())))
    assert near(tensor(found["gradientG"]), wanted) < 1e-4
    said = {"lossG": loss.item(), "fake": logits.sigmoid().mean().item()}
    assert found["saidG"] == pytest.approx(said, abs=1e-5)

    images = real.clone().requires_grad_()
    penalty = r1_penalty(D(images), images)
    (2 * penalty).backward()
    gradients = [
        torch.zeros_like(weight) if weight.grad is None else weight.grad
        for weight in D.parameters()
    ]
    assert found["penalty"] == pytest.approx(penalty.item(), rel=1e-4)
    assert near(tensor(found["gradientR1"]), parameters_to_vector(gradients)) < 1e-4


@pytest.mark.parametrize("kernel", ["relaxed", "plain"])
def test_adam_is_pytorchs(blank, kernel):
    found = blank.run(
        kernel,
        """
        const D = game.D, start = bytes(D.weights), gradients = [];
        game.random.fill(game.z);
        for (let k = 0; k < 3; k++) {
          game.drawReal();
          game.gradientD();
          gradients.push(bytes(D.gradient));
          D.learn(0.01, 0.5, 0.999);
        }
        return {start, gradients, end: bytes(D.weights)};""",
    )
    weights = tensor(found["start"])
    adam = torch.optim.Adam([weights], lr=0.01, betas=(0.5, 0.999))
    for gradient in found["gradients"]:
        weights.grad = tensor(gradient)
        adam.step()
    moved = (weights - tensor(found["start"])).abs().max()
    assert (weights - tensor(found["end"])).abs().max() < 1e-4 * moved


def test_a_seed_fixes_the_run_and_starting_over_repeats_it(blank):
    script = "const run = () => { for (let k = 0; k < 4; k++) game.step(); return bytes(game.picture()); };"
    first, again, other = blank.run(
        None,
        script
        + "const first = run(); game.restart(); const again = run(); settings.seed = 4; game.restart(); return [first, again, run()];",
    )
    assert first == again != other


@pytest.mark.parametrize(("who", "moves"), [("D", "D"), ("G", "G"), ("both", "DG")])
def test_each_player_can_learn_alone(blank, who, moves):
    script = f"const all = () => ['D', 'G'].map((name) => bytes(game[name].weights)), before = all(), said = game.step('{who}'); return [before, all(), said];"
    before, after, said = blank.run(None, script)
    moved = [
        name for name, old, new in zip("DG", before, after, strict=True) if old != new
    ]
    assert "".join(moved) == moves
    assert ("lossD" in said, "lossG" in said) == ("D" in moves, "G" in moves)


def test_every_image_is_drawn_once_before_one_comes_again(blank):
    script = """
    for (let n = 0; n < 300; n++) pixels.fill(n % 250, n * 784, (n + 1) * 784);
    const first = [];
    for (let k = 0; k < 6; k++) { game.drawReal(); for (let row = 0; row < 100; row++) first.push(game.both[row * 784]); }
    return bytes(new Float32Array(first));"""
    shown = np.round((numbers(blank.run(None, script)) + 1) * 127.5).astype(int)
    wanted = sorted(n % 250 for n in range(300))
    assert sorted(shown[:300]) == sorted(shown[300:]) == wanted
    assert list(shown[:300]) != list(shown[300:])


# The digits


def test_the_digits_are_small_real_and_come_with_their_rights(real_mnist):
    text = browser_digits.FILE.read_text()
    assert browser_digits.FILE.stat().st_size <= 2_000_000
    assert "MNIST" in text[:400] and "CC BY-SA 3.0" in text[:400]
    pairs = np.frombuffer(
        zlib.decompress(base64.b64decode(re.search(r'"(.*)"', text)[1])), np.uint8
    )
    digits = np.stack([pairs >> 4, pairs & 15], axis=1).reshape(-1, 28, 28) * 17
    real = load("mnist", root=real_mnist).pixels[: len(digits), 0].numpy()
    assert len(digits) == browser_digits.COUNT
    assert np.abs(digits.astype(int) - real).max() <= 8


# The file


def test_the_file_is_read_by_ganlib_and_draws_the_same_images(blank, tmp_path):
    found = blank.run(
        None,
        """
        for (let k = 0; k < 12; k++) game.step();
        const file = bytes(game.file()), z = bytes(game.kept);
        return {file, z, average: bytes(game.average), picture: bytes(game.picture())};""",
    )
    path = tmp_path / "mine.safetensors"
    path.write_bytes(base64.b64decode(found["file"]))
    G, config = load_generator(path)
    assert torch.equal(
        parameters_to_vector(G.parameters()).double(), tensor(found["average"])
    )
    z = torch.from_numpy(numbers(found["z"]).copy()).view(64, 64)
    wanted = denormalize(sample_images(G, z))[:, 0].numpy().astype(int)
    picture = numbers(found["picture"], np.uint8).reshape(64, 28, 28)
    assert np.abs(picture - wanted).max() <= 1 and wanted.std() > 5
    assert (config.learning_rate_d, config.learning_rate_g) == (0.001, 0.002)
    assert (config.beta1, config.real_label, config.r1_weight) == (0.5, 0.9, 0.5)
    assert (config.epochs, config.ema_decay, config.seed) == (4, 0.99, 3)
    assert read_metadata(path)["steps"] == 12
    out = tmp_path / "images.npz"
    main(["sample", str(path), "--count", "5", "--out", str(out)])
    assert np.load(out)["images"].shape == (5, 1, 28, 28)


# From here on the place in the page, as a reader has it.

PAGE = """<!doctype html><html lang="en" data-theme="light"><head><meta charset="utf-8"><title>Training</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="{static}/book.css"><link rel="stylesheet" href="{static}/trainer.css">
<script defer src="{static}/trainer.js"></script></head>
<body style="margin: 8px; background: var(--pst-color-background); color: var(--pst-color-text-base)"><main><h1 style="color: inherit">Training</h1><div class="gan-trainer" {more}><p>What it looks like.</p>
<script type="application/json" data-explorer>{explorer}</script></div><div style="height: 5000px"></div></main></body></html>"""


@pytest.fixture
def opened(chromium, tmp_path):
    """`opened(attributes)` -> a page with nothing on it but the place, which must stay silent."""
    parts = {"esm": Explorer._esm, "css": Explorer._css}
    pages = []

    def start(more="", **options):
        file = tmp_path / "training.html"
        explorer = json.dumps(parts).replace("</", "<\\/")
        file.write_text(
            PAGE.format(static=STATIC.as_uri(), more=more, explorer=explorer)
        )
        manager = watched_page(chromium, **options)
        page = manager.__enter__()
        pages.append((manager, page))
        page.loaded = []
        page.on("request", lambda request: page.loaded.append(request.url))
        page.goto(file.as_uri())
        if options.get("java_script_enabled", True):
            page.wait_for_function("window.ganTrainer")
        return page

    yield start
    for manager, page in pages:
        troubles = page.troubles
        manager.__exit__(None, None, None)
        assert troubles == []


def press(page, name):
    page.get_by_role("button", name=name, exact=True).click()


def step(page):
    return page.evaluate("ganTrainer.state.step")


def reach(page, wanted):
    page.wait_for_function(f"ganTrainer.state.step >= {wanted}")


def sheet(page):
    return page.evaluate("document.querySelector('.gt-sheet').toDataURL()")


def test_digits_are_loaded_when_the_reader_asks_and_the_page_shows_what_happens(
    opened,
):
    page = opened()
    assert page.get_by_text("What it looks like.").is_visible()
    names = {Path(url).name for url in page.loaded}
    assert not names & {"trainer_digits.js", "trainer_core.js"}
    press(page, "Start")
    reach(page, 1)
    names = {Path(url).name for url in page.loaded if url.startswith("file:")}
    assert names >= {"trainer_digits.js", "trainer_core.js"}
    first = sheet(page)
    reach(page, step(page) + 20)
    press(page, "Pause")
    page.wait_for_timeout(300)
    stopped = step(page)
    assert sheet(page) != first
    assert page.locator("[data-now=step]").inner_text() == str(stopped)
    latest = page.evaluate("ganTrainer.latest")
    assert set(latest) == {"lossD", "lossG", "real", "fake"}
    for key, value in latest.items():
        assert page.locator(f"[data-now={key}]").inner_text() == f"{value:.2f}"
    assert "WebAssembly with relaxed SIMD" in page.locator(".gt-machine").inner_text()
    page.wait_for_timeout(400)
    assert step(page) == stopped
    assert f"Paused at step {stopped}" in page.get_by_role("status").inner_text()
    press(page, "Go on")
    reach(page, stopped + 1)


def test_a_browser_without_simd_is_told_so_and_trains(opened):
    page = opened('data-kernel="plain"')
    press(page, "Start")
    reach(page, 1)
    assert "plain JavaScript" in page.locator(".gt-machine").inner_text()


def test_out_of_sight_it_pauses(opened):
    page = opened()
    press(page, "Start")
    reach(page, 1)
    page.evaluate("scrollTo(0, 4000)")
    page.wait_for_timeout(500)
    stopped = step(page)
    page.wait_for_timeout(700)
    assert step(page) == stopped and page.evaluate("ganTrainer.state.running")
    page.evaluate("scrollTo(0, 0)")
    reach(page, stopped + 1)


def test_g_that_stands_still_draws_the_same_and_mending_lets_it_move(opened):
    page = opened()
    press(page, "G stands still")
    assert (
        page.get_by_label("Learning rate of G").get_attribute("aria-valuetext") == "0"
    )
    press(page, "Start")
    reach(page, 1)
    first = sheet(page)
    reach(page, 30)
    assert sheet(page) == first
    press(page, "Mend it")
    mended = step(page)
    assert page.get_by_role("button", name="Healthy").get_attribute("aria-pressed") == (
        "true"
    )
    assert not page.get_by_role("button", name="Mend it").is_visible()
    reach(page, mended + 30)
    assert mended >= 30 and sheet(page) != first


def test_a_knob_reaches_the_training_and_one_player_can_learn_alone(opened):
    page = opened()
    press(page, "Start")
    reach(page, 2)
    page.get_by_label("G only").check()
    page.wait_for_function("!('lossD' in ganTrainer.latest)")
    page.get_by_label("D only").check()
    page.wait_for_function("!('lossG' in ganTrainer.latest)")
    page.get_by_label("Label of real images").fill("0.5")
    press(page, "Pause")
    file = bytes(
        page.evaluate(
            "ganTrainer.ask('file').then(file => [...file.subarray(0, 4096)])"
        )
    )
    header = json.loads(file[8 : 8 + int.from_bytes(file[:8], "little")])
    assert json.loads(header["__metadata__"]["config"])["real_label"] == 0.5
    press(page, "Start over")
    page.wait_for_function("ganTrainer.state.step === 0")


def test_the_readers_own_generator_can_be_explored_and_downloaded(opened, tmp_path):
    page = opened()
    press(page, "Start")
    reach(page, 40)
    press(page, "Explore this generator")
    page.locator(".gt-explorer .ganlib-image").wait_for()
    page.wait_for_timeout(300)
    with page.expect_download() as waiting:
        press(page, "Download this generator")
    path = tmp_path / waiting.value.suggested_filename
    waiting.value.save_as(path)
    G, _ = load_generator(path)
    assert set(load_file(path)) == set(G.state_dict())
    seen = set()
    for turn in range(4):
        press(page, f"New sample {'AB'[turn % 2]}")
        page.get_by_role("slider", name="direction u").fill(str(turn - 1))
        z, image = page.evaluate(
            """() => {
                const canvas = document.querySelector(".gt-explorer .ganlib-image");
                const {data} = canvas.getContext("2d").getImageData(0, 0, 28, 28);
                const z = document.querySelector(".gt-explorer .ganlib-widget").z;
                return [[...z], [...data].filter((_, i) => i % 4 === 0)];
            }"""
        )
        wanted = denormalize(sample_images(G, torch.tensor([z])))[0, 0].numpy()
        image = np.array(image).reshape(28, 28)
        assert np.abs(image - wanted.astype(int)).max() <= 2
        seen.add(image.tobytes())
    assert len(seen) == 4


def test_the_keyboard_alone_reaches_and_operates_every_control(opened):
    page = opened()
    page.get_by_role("button", name="Healthy").focus()
    page.get_by_role("button", name="Start", exact=True).focus()
    page.keyboard.press("Enter")
    reach(page, 2)
    page.keyboard.press("Space")
    stopped = page.wait_for_function("!ganTrainer.state.running") and step(page)
    page.get_by_role("button", name="Healthy").focus()
    names = []
    for _ in range(30):
        names.append(
            page.evaluate(
                "document.activeElement.dataset.set ?? document.activeElement.value ?? ''"
            )
            or page.evaluate("document.activeElement.innerText")
        )
        kind = page.evaluate("document.activeElement.type")
        before = page.evaluate("JSON.stringify(ganTrainer.settings)")
        if kind == "range":
            page.keyboard.press("ArrowLeft")
            moved = page.evaluate("JSON.stringify(ganTrainer.settings)")
            if moved == before:  # it stood at its end
                page.keyboard.press("ArrowRight")
                moved = page.evaluate("JSON.stringify(ganTrainer.settings)")
            assert moved != before, names[-1]
        if names[-1] == "Download this generator":
            break
        page.keyboard.press("Tab")
    knobs = ["rateD", "rateG", "beta1", "realLabel", "r1"]
    presets = ["Healthy", "Long memory", "G stands still", "D too slow"]
    wanted = [*presets, "Go on", "Start over", *knobs, "both"]
    wanted += ["Explore this generator", "Download this generator"]
    assert [name for name in names if name != "Mend it"] == wanted
    assert step(page) >= stopped


CONTROLS = "button, input[type=range], label:has([type=radio])"


@pytest.mark.parametrize("width", SIZES)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_fits_is_wide_enough_for_a_finger_and_has_nothing_against_it(
    opened, width, theme
):
    page = opened()
    page.set_viewport_size({"width": width, "height": 844})
    page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
    press(page, "Long memory")
    press(page, "Start")
    reach(page, 10)
    press(page, "Explore this generator")
    page.locator(".gt-explorer .ganlib-image").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    boxes = page.locator(f".gan-trainer :is({CONTROLS})")
    sizes = boxes.evaluate_all(
        "nodes => nodes.filter(node => node.offsetParent).map(node => [node.outerHTML, node.clientWidth, node.offsetHeight])"
    )
    assert len(sizes) > 15 and [box for box in sizes if min(box[1:]) < 44] == []
    assert page.troubles == []
    assert violations(page) == []


@pytest.mark.parametrize("height", [844, 667])
def test_on_a_telephone_the_picture_stays_in_sight_of_every_control(opened, height):
    page = opened()
    page.set_viewport_size({"width": 390, "height": height})
    press(page, "Start")
    reach(page, 1)
    for control in page.locator(".gt-controls :is(button, input)").all():
        if not control.is_visible():
            continue
        control.evaluate(
            """node => {
                const picture = document.querySelector(".gt-sheet");
                const ends = [node, picture].map(one => one.getBoundingClientRect().bottom);
                scrollBy(0, Math.max(...ends) - innerHeight + 8);
            }"""
        )
        knob, picture = control.bounding_box(), page.locator(".gt-sheet").bounding_box()
        assert picture["y"] >= -1
        assert picture["y"] + picture["height"] <= knob["y"] <= height - knob["height"]


def test_without_javascript_a_picture_and_a_sentence_stay(opened):
    page = opened(java_script_enabled=False)
    assert page.locator(".gan-trainer").inner_text().strip() == "What it looks like."


def test_the_scripts_ask_nobody():
    for name in ("trainer.js", "trainer_core.js"):
        text = (STATIC / name).read_text()
        assert "http" not in text and "fetch(" not in text
        try:
            checked = subprocess.run(
                ["node", "--check", STATIC / name], capture_output=True, timeout=60
            )
        except FileNotFoundError:
            pytest.skip("node is not installed")
        assert checked.returncode == 0, checked.stderr
