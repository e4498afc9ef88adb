"""```{slider} NAME```: a curve with a slider under it, such as a point on tanh.

Every position of the slider is computed when the site is built, with torch, so that the
script in the page only shows what it is given. Without JavaScript the picture of the
first position stays, and its sentence. What stands inside the directive is shown below,
and in Jupyter, which does not know the directive.
"""

import json
from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

import torch
from docutils import nodes
from sphinx.util.docutils import SphinxDirective
from torch.nn.functional import leaky_relu, logsigmoid, softplus

WIDTH, HEIGHT = 480, 230  # of the drawing; its text is 15 high
LEFT, RIGHT, TOP, FOOT = 58, 14, 12, 40
POINTS = 121  # of a curve


class Frame(NamedTuple):
    """One position of the slider."""

    words: str
    points: list[tuple[float, float]]  # one on each curve
    curves: Sequence[torch.Tensor] = ()  # where the slider changes them, all of them


class Slider(NamedTuple):
    label: str  # of the slider
    values: torch.Tensor  # its positions
    start: float  # the one to begin with
    title: str  # for those who do not see the drawing
    x: tuple[float, float]
    y: tuple[float, float]
    ticks: tuple[list[float], list[float]]
    names: tuple[str, str]  # of the axes
    key: list[str]  # names of the curves: the first is blue, the second orange
    curves: Callable[[torch.Tensor], list[torch.Tensor]]  # of x
    frame: Callable[[float], Frame]


def pixel_range():
    def curves(b):
        return [b / 255, b / 127.5 - 1]

    def frame(b):
        unit, centred = b / 255, b / 127.5 - 1
        gradient = "no gradient" if b == 0 else f"a gradient of {unit:.2f}"
        words = (
            f"Byte {b:.0f}. Where a unit's error is 1, the weights of this pixel get "
            f"{gradient} in the range 0..1, and {centred:.2f} in the range -1..1."
        )
        return Frame(words, [(b, unit), (b, centred)])

    return Slider(
        "byte of a pixel", torch.linspace(0, 255, 52), 0,
        "Two straight lines over the bytes 0 to 255: one from 0 to 1, one from -1 to 1",
        (0, 255), (-1.1, 1.1), ([0, 64, 128, 192, 255], [-1, 0, 1]),
        ("byte", "input of the network"), ["range 0..1", "range -1..1"], curves, frame,
    )  # fmt: skip


def byte_of_value():
    def byte(x):
        return ((x + 1) * 127.5).round()

    def wrapped(x):
        return byte(x).to(torch.int64).to(torch.uint8).float()

    def curves(x):
        return [byte(x).clamp(0, 255), wrapped(x)]

    def frame(x):
        value = torch.tensor(x)
        exact, kept = (x + 1) * 127.5, byte(value).clamp(0, 255).item()
        words = f"{x:.2f} is {exact:.1f} on the scale of bytes: "
        if 0 <= byte(value) <= 255:
            cut = int(exact)
            words += f"rounded {kept:.0f}, cut off {cut}."
        else:
            words += (
                f"no byte. Clamped it is {kept:.0f}; without clamping it becomes "
                f"{wrapped(value).item():.0f}."
            )
        return Frame(words, [(x, kept), (x, wrapped(value).item())])

    return Slider(
        "value that G drew", torch.linspace(-1.2, 1.2, 49), 0.3,
        "Byte against value: a line from 0 at -1 to 255 at 1, level outside; unclamped "
        "values jump to the other end there",
        (-1.2, 1.2), (-10, 265), ([-1, 0, 1], [0, 128, 255]), ("value", "byte"),
        ["rounded and clamped", "rounded, not clamped"], curves, frame,
    )  # fmt: skip


def leaky_slope():
    def at(slope):
        return lambda x: [leaky_relu(x, slope), torch.where(x < 0, slope, 1.0)]

    def frame(slope):
        through = "no gradient" if slope == 0 else f"{slope:.2f} of a gradient of 1"
        name = " This is ReLU." if slope == 0 else ""
        words = (
            f"Slope {slope:.2f}: an input of -2 becomes {-2 * slope:.2f}, and "
            f"backwards {through} passes there.{name}"
        )
        points = [(-2, -2 * slope), (-2, slope)]
        return Frame(words, points, at(slope)(_grid((-3, 3))))

    return Slider(
        "slope for negative inputs", torch.linspace(0, 0.5, 26), 0.2,
        "Leaky ReLU and its slope against the input; for negative inputs the slope is "
        "what the slider says",
        (-3, 3), (-1.6, 3), ([-3, -2, -1, 0, 1, 2, 3], [-1, 0, 1, 2, 3]),
        ("input", ""), ["output", "slope"], at(0.2), frame,
    )  # fmt: skip


def tanh_slope():
    def curves(x):
        return [x.tanh(), 1 - x.tanh() ** 2]

    def frame(x):
        value, slope = (one.item() for one in curves(torch.tensor(x)))
        words = (
            f"tanh({x:.1f}) = {value:.3f}. Of a gradient of 1, {slope:.3f} is left "
            "behind it."
        )
        return Frame(words, [(x, value), (x, slope)])

    return Slider(
        "x", torch.linspace(-4, 4, 41), 2,
        "Tanh, an S from -1 to 1, and its slope, a hill of height 1 at 0",
        (-4, 4), (-1.1, 1.1), ([-4, -2, 0, 2, 4], [-1, 0, 1]), ("x", ""),
        ["tanh(x)", "slope"], curves, frame,
    )  # fmt: skip


def logit_to_probability():
    def curves(x):
        return [x.sigmoid(), (-x).sigmoid()]

    def frame(x):
        real, fake = (one.item() for one in curves(torch.tensor(x)))
        words = (
            f"Logit {x:.1f}: D gives the image a probability of {real:.3f} of being "
            f"real and of {fake:.3f} of being fake."
        )
        return Frame(words, [(x, real), (x, fake)])

    return Slider(
        "logit", torch.linspace(-6, 6, 49), 1,
        "Probability of real and of fake against the logit: two S that cross at 0, one "
        "half",
        (-6, 6), (-0.05, 1.05), ([-6, -4, -2, 0, 2, 4, 6], [0, 0.5, 1]),
        ("logit", "probability"), ["of real", "of fake"], curves, frame,
    )  # fmt: skip


def loss_of_g():
    def curves(x):
        return [logsigmoid(-x), -logsigmoid(x)]

    def frame(x):
        logit = torch.tensor(x)
        saturating, other = (one.item() for one in curves(logit))
        real = logit.sigmoid().item()
        words = (
            f"D gives the fake a logit of {x:.1f}, a probability of {real:.3f}. The "
            f"saturating loss has a slope of {-real:.3f} there, the non-saturating "
            f"one of {real - 1:.3f}."
        )
        return Frame(words, [(x, saturating), (x, other)])

    return Slider(
        "logit of a fake", torch.linspace(-6, 6, 49), -4,
        "Both losses of G against the logit of a fake; the saturating one is level on "
        "the left, the non-saturating one steep",
        (-6, 6), (-6.2, 6.2), ([-6, -4, -2, 0, 2, 4, 6], [-6, -3, 0, 3, 6]),
        ("logit", "loss of G"), ["saturating", "non-saturating"], curves, frame,
    )  # fmt: skip


def adam_memory():
    turn = torch.tensor([1.0] * 20 + [-1.0] * 20)  # the gradients of 40 steps

    def changes(beta1, beta2=0.999):
        m = v = torch.tensor(0.0)
        path = []
        for step, gradient in enumerate(turn, start=1):
            m = beta1 * m + (1 - beta1) * gradient
            v = beta2 * v + (1 - beta2) * gradient**2
            path.append(-m / (1 - beta1**step) / (v / (1 - beta2**step)).sqrt())
        return torch.stack(path)

    def at(beta1):
        return lambda x: [_between(-turn, x), _between(changes(beta1), x)]

    def frame(beta1):
        after = changes(beta1)[20:]
        late = int((after < -1e-6).sum())
        steps = "1 step goes" if late == 1 else f"{late or 'no'} steps go"
        words = (
            f"beta1 {beta1:.2f}: after the turn {steps} on in the old direction, and "
            f"the change of the fifth step is {after[4]:.2f} times the learning rate."
        )
        points = [(25, 1.0), (25, after[4].item())]
        return Frame(words, points, at(beta1)(_grid((1, 40))))

    return Slider(
        "beta1", torch.linspace(0, 0.98, 50), 0.9,
        "Direction against the gradient, which turns after step 20, and Adam's change "
        "of the weight, which follows the later the larger beta1 is",
        (1, 40), (-1.1, 1.1), ([1, 10, 20, 30, 40], [-1, 0, 1]),
        ("step", "change / learning rate"), ["against the gradient", "Adam's change"],
        at(0.9), frame,
    )  # fmt: skip


def real_label():
    def cost(label):
        return lambda x: label * softplus(-x) + (1 - label) * softplus(x)

    def at(label):
        return lambda x: [softplus(-x), cost(label)(x)]

    def frame(label):
        place = min(torch.logit(torch.tensor(label)).item(), 6.0)
        least = cost(label)(torch.tensor(place)).item()
        words = (
            f"Label {label:.2f}: D pays least, {least:.3f}, where it says {label:.2f}, "
            f"at a logit of {place:.2f}. Beyond it pays for being too sure."
        )
        if label == 1:
            words = "Label 1.00: the cost falls for ever; more certainty always pays."
        points = [(place, softplus(torch.tensor(-place)).item()), (place, least)]
        return Frame(words, points, at(label)(_grid((-2, 6))))

    return Slider(
        "label of real images", torch.linspace(0.6, 1, 41), 0.9,
        "Cost of a real image against its logit: with the label 1 it falls for ever, "
        "with a lower one it rises again",
        (-2, 6), (-0.1, 2.3), ([-2, 0, 2, 4, 6], [0, 1, 2]),
        ("logit of a real image", "cost"), ["label 1", "label of the slider"],
        at(0.9), frame,
    )  # fmt: skip


SLIDERS = {
    "pixel-range": pixel_range,
    "byte-of-value": byte_of_value,
    "leaky-slope": leaky_slope,
    "tanh-slope": tanh_slope,
    "logit": logit_to_probability,
    "loss-of-g": loss_of_g,
    "adam-memory": adam_memory,
    "real-label": real_label,
}


def setup(app):
    app.add_directive("slider", SliderDirective)
    app.connect("html-page-context", add_script)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def add_script(app, pagename, templatename, context, doctree):
    """The script comes to pages with a slider."""
    if 'class="slider-figure"' in context.get("body", ""):
        app.add_js_file("sliders.js", loading_method="defer")


class SliderDirective(SphinxDirective):
    required_arguments = 1
    has_content = True

    def run(self):
        name = self.arguments[0]
        if name not in SLIDERS:
            raise self.error(f"There is no slider {name}; known: {', '.join(SLIDERS)}.")
        self.env.note_dependency(__file__)
        caption = nodes.Element()
        self.state.nested_parse(self.content, self.content_offset, caption)
        start, end = figure_html(SLIDERS[name]())
        return [
            nodes.raw("", start, format="html"),
            *caption.children,
            nodes.raw("", end, format="html"),
        ]


def figure_html(slider):
    """What stands before the caption and after it."""
    values = [round(value, 6) for value in slider.values.tolist()]
    frames = [slider.frame(value) for value in values]
    first = min(range(len(values)), key=lambda k: abs(values[k] - slider.start))
    data = {
        "label": slider.label,
        "first": first,
        "words": [frame.words for frame in frames],
        "points": [[_place(slider, *point) for point in one.points] for one in frames],
        "paths": [_paths(slider, one.curves) for one in frames if one.curves],
    }
    text = json.dumps(data, separators=(",", ":")).replace("</", "<\\/")
    keys = "".join(
        f'<span class="slider-{kind}">{_sample(kind)} {escape(name)}</span>'
        for kind, name in zip("ab", slider.key, strict=True)
    )
    start = (
        '<figure class="slider-figure">'
        f"{_svg(slider, frames[first])}"
        f'<p class="slider-key">{keys}</p>'
        f'<p class="slider-words">{escape(frames[first].words)}</p>'
        f'<script type="application/json">{text}</script><figcaption>'
    )
    return start, "</figcaption></figure>"


def _grid(span):
    return torch.linspace(*span, POINTS)


def _between(values, x):
    """Values of the steps 1, 2, … at any x, along straight lines."""
    left = x.floor().clamp(1, len(values) - 1).long()
    return torch.lerp(values[left - 1], values[left], x - left)


def _place(slider, x, y):
    """A point of the plot -> where it is drawn, kept within the frame."""
    (left, right), (low, high) = slider.x, slider.y
    across = LEFT + (x - left) / (right - left) * (WIDTH - LEFT - RIGHT)
    down = TOP + (high - min(max(y, low), high)) / (high - low) * (HEIGHT - TOP - FOOT)
    return round(across, 1), round(down, 1)


def _paths(slider, curves):
    """Curves over the grid -> paths, without points on straight parts."""
    grid = _grid(slider.x)
    paths = []
    for curve in curves:
        bends = curve.diff().diff().abs() > 1e-5 * (slider.y[1] - slider.y[0])
        ends = torch.ones(1, dtype=torch.bool)
        kept = torch.cat([ends, bends, ends])
        pairs = zip(grid[kept].tolist(), curve[kept].tolist(), strict=True)
        points = (_place(slider, x, y) for x, y in pairs)
        paths.append("M" + "L".join(f"{x:g} {y:g}" for x, y in points))
    return paths


def _svg(slider, frame):
    """The drawing for one position of the slider."""
    parts = [f"<title>{escape(slider.title)}</title>"]
    left, low = slider.x[0], slider.y[0]
    for x in slider.ticks[0]:
        across, _ = _place(slider, x, low)
        parts.append(f'<text x="{across}" y="{HEIGHT - FOOT + 18}">{x:g}</text>')
    for y in slider.ticks[1]:
        _, down = _place(slider, left, y)
        parts.append(
            f'<path class="slider-rule" d="M{LEFT} {down}H{WIDTH - RIGHT}"/>'
            f'<text class="slider-side" x="{LEFT - 8}" y="{down + 5}">{y:g}</text>'
        )
    across, along = slider.names
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 4}">{escape(across)}</text>')
    if along:
        turned = f"translate(12 {(HEIGHT - FOOT) / 2}) rotate(-90)"
        parts.append(f'<text transform="{turned}">{escape(along)}</text>')
    curves = frame.curves or slider.curves(_grid(slider.x))
    for kind, path in zip("ab", _paths(slider, curves), strict=True):
        parts.append(f'<path class="slider-line slider-{kind}" d="{path}"/>')
    for kind, point in zip("ab", frame.points, strict=True):
        x, y = _place(slider, *point)
        parts.append(f'<circle class="slider-{kind}" cx="{x}" cy="{y}" r="6"/>')
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{"".join(parts)}</svg>'


def _sample(kind):
    return (
        '<svg viewBox="0 0 24 8" width="24" height="8" aria-hidden="true">'
        f'<path class="slider-line slider-{kind}" d="M1 4H23"/></svg>'
    )
