"""The playground in a real browser: its numbers against PyTorch, its presets, its controls."""

import itertools
import math
import re
import subprocess
from pathlib import Path

import pytest
import torch
from torch.nn.functional import leaky_relu, linear

from ganlib.losses import discriminator_loss, generator_loss

BOOK = Path(__file__).parents[2] / "book"
STATIC = BOOK / "_static"
PAGE = """<!doctype html><html lang="en" data-theme="light"><head><meta charset="utf-8"><title>Playground</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="{static}/book.css"><link rel="stylesheet" href="{static}/playground.css">
<script defer src="{static}/playground.js"></script></head>
<body style="margin: 8px"><main><h1>Playground</h1><div class="gan-playground"></div>
<div style="height: 5000px"></div></main></body></html>"""
MOST_STEPS = 700


@pytest.fixture
def page(chromium, tmp_path):
    """A page with nothing on it but the playground; it must stay silent and fetch nothing from outside."""
    file = tmp_path / "playground.html"
    file.write_text(PAGE.format(static=STATIC.as_uri()))
    page = chromium.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(30_000)
    wrong = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "console",
        lambda message: wrong.append(message.text) if message.type == "error" else None,
    )
    page.on(
        "request",
        lambda request: (
            None if request.url.startswith("file:") else wrong.append(request.url)
        ),
    )
    page.goto(file.as_uri())
    page.wait_for_function("window.ganPlayground")
    yield page
    page.close()
    assert not wrong


def run(page, preset, steps):
    return page.evaluate(
        "([name, steps]) => (ganPlayground.preset(name), ganPlayground.run(steps))",
        [preset, steps],
    )


def picture(page):
    return page.evaluate("document.querySelector('.gp-field').toDataURL()")


def steps(page):
    return page.evaluate("ganPlayground.state().steps")


def parameters(flat, sizes):
    """The playground's flat array -> [(W, b)] that share one leaf tensor."""
    leaf, pairs, start = (
        torch.tensor(flat, dtype=torch.float64, requires_grad=True),
        [],
        0,
    )
    for inputs, outputs in itertools.pairwise(sizes):
        bias = start + inputs * outputs
        pairs.append(
            (leaf[start:bias].view(outputs, inputs), leaf[bias : bias + outputs])
        )
        start = bias + outputs
    assert start == len(flat)
    return leaf, pairs


def forward(pairs, x):
    for layer, (weight, bias) in enumerate(pairs):
        x = linear(x, weight, bias)
        x = leaky_relu(x, 0.2) if layer < len(pairs) - 1 else x
    return x


@pytest.mark.parametrize("preset", ["healthy", "one dimension"])
def test_both_turns_agree_with_pytorch(page, preset):
    run(page, preset, 3)
    found = page.evaluate(
        """() => {
          const game = ganPlayground.game, list = (network) => ({sizes: network.sizes, weights: [...network.weights]});
          const before = {D: list(game.D), G: list(game.G)}, rate = 0;
          const dLoss = game.turnD(rate), images = [...game.D.values[0]], dGradient = [...game.D.gradient];
          const gLoss = game.turnG(rate), z = [...game.G.values[0]], gGradient = [...game.G.gradient];
          const fakes = [...game.G.values.at(-1)];
          const {gradient} = game.doubt(Float64Array.from(fakes), fakes.length / game.shape.size);
          return {before, dLoss, images, dGradient, gLoss, z, gGradient, fakes, arrows: [...gradient]};
        }"""
    )
    d_leaf, D = parameters(
        found["before"]["D"]["weights"], found["before"]["D"]["sizes"]
    )
    g_leaf, G = parameters(
        found["before"]["G"]["weights"], found["before"]["G"]["sizes"]
    )
    images = torch.tensor(found["images"], dtype=torch.float64).view(
        -1, found["before"]["D"]["sizes"][0]
    )
    real_logits, fake_logits = forward(D, images).flatten().chunk(2)
    d_loss = discriminator_loss(real_logits, fake_logits)
    (d_gradient,) = torch.autograd.grad(d_loss, d_leaf)
    assert d_loss.item() == pytest.approx(found["dLoss"], abs=1e-6)
    assert (
        d_gradient - torch.tensor(found["dGradient"], dtype=torch.float64)
    ).abs().max() < 1e-6

    z = torch.tensor(found["z"], dtype=torch.float64).view(
        -1, found["before"]["G"]["sizes"][0]
    )
    fake = forward(G, z)
    g_loss = generator_loss(forward(D, fake).flatten())
    g_gradient, arrows = torch.autograd.grad(g_loss, [g_leaf, fake])
    assert (
        fake.flatten() - torch.tensor(found["fakes"], dtype=torch.float64)
    ).abs().max() < 1e-6
    assert g_loss.item() == pytest.approx(found["gLoss"], abs=1e-6)
    assert (
        g_gradient - torch.tensor(found["gGradient"], dtype=torch.float64)
    ).abs().max() < 1e-6
    assert (
        arrows.flatten() - torch.tensor(found["arrows"], dtype=torch.float64)
    ).abs().max() < 1e-6
    assert g_gradient.abs().max() > 1e-4 and d_gradient.abs().max() > 1e-4


def test_adam_agrees_with_pytorch(page):
    found = page.evaluate(
        """() => {
          const game = ganPlayground.game, D = game.D, start = [...D.weights], gradients = [];
          for (let k = 0; k < 3; k++) { game.turnD(0.01); gradients.push([...D.gradient]); }
          return {start, gradients, end: [...D.weights]};
        }"""
    )
    weights = torch.tensor(found["start"], dtype=torch.float64)
    adam = torch.optim.Adam([weights], lr=0.01, betas=(0.5, 0.999), eps=1e-8)
    for gradient in found["gradients"]:
        weights.grad = torch.tensor(gradient, dtype=torch.float64)
        adam.step()
    assert (
        weights - torch.tensor(found["end"], dtype=torch.float64)
    ).abs().max() < 1e-6


def test_the_healthy_preset_reaches_all_modes_and_the_collapsing_one_does_not(page):
    history = {}
    for preset in ("healthy", "collapse"):
        page.evaluate("name => ganPlayground.preset(name)", preset)
        history[preset] = [
            page.evaluate("ganPlayground.run(50)") for _ in range(MOST_STEPS // 50)
        ]
    best = max(history["healthy"], key=lambda state: state["reached"])
    assert (best["reached"], best["of"]) == (8, 8) and best["steps"] <= MOST_STEPS
    assert all(count >= best["needed"] == 16 for count in best["counts"])
    assert min(state["reached"] for state in history["healthy"][-4:]) >= 6, (
        "and it stays"
    )
    assert max(state["reached"] for state in history["collapse"]) <= 4, (
        "half of the ring at any time"
    )


def test_the_page_says_what_the_playground_shows_before_the_first_step(page):
    words = (BOOK / "playground.md").read_text()
    (begins,) = re.findall(r"the count begins at (\d) of 8", words)
    assert page.locator(".gp-now").inner_text().split()[:5] == [
        "step",
        "0",
        "modes",
        begins,
        "of",
    ]
    state = page.evaluate("ganPlayground.state()")
    assert (state["reached"], state["steps"]) == (int(begins), 0)


def test_the_numbers_follow_the_run_at_least_five_times_a_second(page):
    page.evaluate(
        """() => {
            window.seen = [];
            const node = document.querySelector("[data-now=steps]");
            new MutationObserver(() => seen.push([performance.now(), Number(node.textContent)]))
                .observe(node, {childList: true, characterData: true, subtree: true});
        }"""
    )
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_function("ganPlayground.state().steps >= 60")
    page.get_by_role("button", name="Pause").click()
    seen = page.evaluate("seen")
    gaps = sorted(later[0] - earlier[0] for earlier, later in itertools.pairwise(seen))
    assert gaps[len(gaps) // 2] <= 200, "half of the gaps: a busy machine may stall"
    assert [steps for _, steps in seen] == sorted(steps for _, steps in seen)
    assert seen[-1][1] == steps(page)


def test_it_takes_about_twenty_steps_a_second(page):
    assert "20 steps a second" in page.get_by_label("Speed").evaluate(
        "input => input.parentNode.innerText"
    )
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_timeout(3000)
    assert 0 < steps(page) <= 70


def test_out_of_sight_it_pauses(page):
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_function("ganPlayground.state().steps > 1")
    page.evaluate("scrollTo(0, 4000)")
    page.wait_for_timeout(300)
    stopped = steps(page)
    page.wait_for_timeout(700)
    assert steps(page) == stopped and page.evaluate("ganPlayground.state().running")
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_function(f"ganPlayground.state().steps > {stopped}")


def test_a_seed_fixes_the_run(page):
    first, second = run(page, "healthy", 20), run(page, "healthy", 20)
    assert first == second
    page.get_by_label("Seed").fill("7")
    assert page.evaluate("ganPlayground.run(20)")["lossD"] != first["lossD"]


def test_each_turn_moves_only_its_player(page):
    weights = "[...ganPlayground.game.D.weights].join() + '|' + [...ganPlayground.game.G.weights].join()"
    before = page.evaluate(weights).split("|")
    page.get_by_role("button", name="D's turn").click()
    after_d = page.evaluate(weights).split("|")
    assert after_d[0] != before[0] and after_d[1] == before[1]
    page.get_by_role("button", name="G's turn").click()
    after_g = page.evaluate(weights).split("|")
    assert after_g[0] == after_d[0] and after_g[1] != after_d[1]
    page.get_by_label("only D").check()
    page.get_by_role("button", name="One step").click()
    after_step = page.evaluate(weights).split("|")
    assert after_step[0] != after_g[0] and after_step[1] == after_g[1]


def test_the_keyboard_alone_starts_pauses_steps_and_turns(page):
    start = page.get_by_role("button", name="Start", exact=True)
    for _ in range(10):
        page.keyboard.press("Tab")
        if start.evaluate("button => button === document.activeElement"):
            break
    first = picture(page)
    page.keyboard.press("Space")
    page.wait_for_function("ganPlayground.state().steps > 1")
    page.keyboard.press("Space")
    stopped = steps(page)
    assert not page.evaluate("ganPlayground.state().running")
    assert f"Paused at step {stopped}" in page.get_by_role("status").inner_text()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert steps(page) == stopped + 1 and picture(page) != first
    rate = page.get_by_label("Learning rate of D")
    rate.focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("ganPlayground.state().rateD") == pytest.approx(-2.2)


def test_the_tab_key_reaches_every_control_and_each_answers_to_a_key(page):
    focused = "document.activeElement.checked, document.activeElement.value"
    state = f"JSON.stringify([ganPlayground.state(), {focused}, ganPlayground.game.D.weights[0]])"
    keys = {
        "range": "ArrowLeft",
        "number": "ArrowUp",
        "select-one": "Home",
        "checkbox": "Space",
        "radio": "ArrowRight",
    }
    wanted = (
        page.locator(
            ".gan-playground :is(button, select, input:not([type=radio]))"
        ).count()
        + 1
    )
    silent = []
    run(page, "one dimension", 1)
    for place in range(wanted):
        page.keyboard.press("Tab")
        kind = page.evaluate("document.activeElement.type")
        name = page.evaluate(
            "document.activeElement.innerText || document.activeElement.labels[0].innerText"
        )
        assert page.evaluate(
            "document.activeElement.closest('.gan-playground') !== null"
        ), (place, name)
        before = page.evaluate(state) + picture(page)
        page.keyboard.press(keys.get(kind, "Enter"))
        page.wait_for_timeout(150)
        if name == "Start":
            page.keyboard.press(
                "Enter"
            )  # and pause, or everything would change by itself
            assert not page.evaluate("ganPlayground.state().running")
        if page.evaluate(state) + picture(page) == before:
            silent.append(name.strip())
    assert silent == [], "nothing happened"


@pytest.mark.parametrize(
    ("shape", "modes"), [("hills", 2), ("grid", 25), ("moons", 2), ("ring", 8)]
)
def test_every_shape_is_drawn_and_trains(page, shape, modes):
    page.get_by_label("Shape of the real data").select_option(shape)
    before = picture(page)
    state = page.evaluate("ganPlayground.run(5)")
    assert state["of"] == modes and state["steps"] == 5
    assert math.isfinite(state["lossD"]) and math.isfinite(state["lossG"])
    assert picture(page) != before


@pytest.mark.parametrize(("shape", "first", "most"), [("ring", 8, 12), ("hills", 2, 5)])
def test_the_number_of_modes_can_be_set_in_two_dimensions_and_in_one(
    page, shape, first, most
):
    page.get_by_label("Shape of the real data").select_option(shape)
    slider, of = page.get_by_label("Number of modes"), "ganPlayground.state().of"
    assert page.evaluate(of) == first and slider.input_value() == str(first)
    for key, wanted in {"End": most, "ArrowLeft": most - 1, "Home": 1}.items():
        before = picture(page)
        slider.press(key)
        assert page.evaluate(of) == wanted and str(wanted) in slider.evaluate(
            "input => input.parentNode.innerText"
        )
        assert picture(page) != before


def test_modes_of_a_line_keep_apart(page):
    for modes in range(1, 6):
        page.get_by_label("Shape of the real data").select_option("hills")
        page.get_by_label("Number of modes").fill(str(modes))
        shape = page.evaluate("ganPlayground.game.shape")
        centres = sorted(mode[0][0] for mode in shape["modes"])
        assert len(centres) == modes and all(abs(centre) < 3.2 for centre in centres)
        assert all(
            right - left >= 2 * shape["near"]
            for left, right in itertools.pairwise(centres)
        )


def test_one_dimension_fills_both_hills_by_their_shares(page):
    shares = [
        [count / 512 for count in run(page, "one dimension", steps)["counts"]]
        for steps in (1, 600)
    ]
    away = [max(abs(left - 0.6), abs(right - 0.4)) for left, right in shares]
    assert away[1] < 0.1 < away[0], shares


CONTROLS = "button, select, input:is([type=range], [type=number]), label:has([type=radio], [type=checkbox])"


def test_on_a_telephone_every_control_is_wide_enough_for_a_finger(page):
    page.set_viewport_size({"width": 390, "height": 844})
    boxes = page.locator(f".gan-playground :is({CONTROLS})").evaluate_all(
        "nodes => nodes.map(node => [node.outerHTML, node.clientWidth, node.getBoundingClientRect().height])"
    )
    assert boxes and [box for box in boxes if min(box[1:]) < 44] == []


@pytest.mark.parametrize(
    ("width", "height"), [(390, 844), (390, 667), (844, 390), (1440, 900)]
)
def test_the_picture_is_in_sight_of_every_control(page, width, height):
    page.set_viewport_size({"width": width, "height": height})
    for control in page.locator(f".gan-playground .gp-controls :is({CONTROLS})").all():
        control.evaluate(
            """node => {
                const field = document.querySelector(".gp-field");
                const ends = [node, field].map(one => one.getBoundingClientRect().bottom);
                scrollBy(0, Math.max(...ends) - innerHeight + 8);
            }"""
        )
        knob, field = control.bounding_box(), page.locator(".gp-field").bounding_box()
        assert knob["y"] >= 0 and knob["y"] + knob["height"] <= height
        assert field["y"] >= -1 and field["y"] + field["height"] <= height, (
            control.inner_text()
        )
        below = field["y"] + field["height"] <= knob["y"]
        assert below or field["x"] + field["width"] <= knob["x"], (
            "and is not in its way"
        )


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_fits_and_follows_the_theme(page, width, theme):
    page.set_viewport_size({"width": width, "height": 900})
    page.wait_for_timeout(200)
    before = picture(page)
    page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
    page.wait_for_timeout(200)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert (picture(page) != before) == (theme == "dark")


def test_it_needs_no_browser_to_be_read():
    script = (STATIC / "playground.js").read_text()
    assert "http" not in script and "import " not in script and "fetch(" not in script
    try:
        checked = subprocess.run(
            ["node", "--check", STATIC / "playground.js"],
            capture_output=True,
            timeout=60,
        )
    except FileNotFoundError:
        pytest.skip("node is not installed")
    assert checked.returncode == 0, checked.stderr
