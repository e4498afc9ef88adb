// A training run under a slider: the images of one epoch, and what the two networks said, on one time axis.

const WIDE = 360, HIGH = 108, LEFT = 34, RIGHT = 8, TOP = 8, BOTTOM = 22;
const PAUSE = 450; // milliseconds from one picture to the next

export default { render };

async function render({ model, el }) {
  const { epochs, count, shape, panels } = model.get("about");
  const [channels, height, width] = shape, last = epochs.length - 1;
  const bytes = channels === 1 ? await unpack(model.get("packed")) : await unpackColours(model.get("packed"), shape, count * epochs.length);
  const columns = widest(count), rows = Math.ceil(count / columns), gap = 2;
  const canvas = make("canvas", { class: "ganlib-grid", role: "img" });
  canvas.width = columns * (width + gap) - gap;
  canvas.height = rows * (height + gap) - gap;
  const scale = 384 / canvas.width;
  canvas.style.width = `${canvas.width * (scale < 2 ? Math.max(scale, 1) : Math.floor(scale))}px`;
  if (scale < 2) canvas.style.imageRendering = "auto";
  const context = canvas.getContext("2d");
  const plots = panels.map((panel) => drawPanel(panel, epochs, (epoch) => show(nearest(epochs, epoch))));
  const slider = makeSlider("Epoch", { min: 0, max: last, step: 1, value: 0 }, (place) => (stop(), show(place)));
  const play = make("button", { type: "button", class: "ganlib-button", click: () => (timer ? stop() : start()) });
  let timer = null, at = -1;

  function show(place) {
    at = Math.min(Math.max(place, 0), last);
    const epoch = epochs[at], size = shape.reduce((a, b) => a * b);
    for (let index = 0; index < count; index++) {
      const x = (index % columns) * (width + gap), y = Math.floor(index / columns) * (height + gap);
      paint(context, bytes, (at * count + index) * size, shape, x, y);
    }
    const words = epoch === 0 ? "before training" : `epoch ${epoch} of ${epochs[last]}`;
    canvas.setAttribute("aria-label", `${count} images from the same noise, ${words}`);
    slider.input.value = at;
    const told = plots.map((plot) => plot.mark(epoch)).filter(Boolean).join(", ");
    slider.say(words);
    slider.input.setAttribute("aria-valuetext", told ? `${words}: ${told}` : words);
    if (model.get("at") !== at) {
      model.set("at", at);
      model.save_changes();
    }
  }

  function start() {
    if (at === last) show(0);
    timer = setInterval(() => (at < last ? show(at + 1) : stop()), PAUSE);
    play.textContent = "❚❚ Pause";
  }

  function stop() {
    clearInterval(timer);
    timer = null;
    play.textContent = "▶ Play";
  }

  const listen = () => model.get("at") !== at && show(model.get("at"));
  model.on("change:at", listen);
  const controls = make("div", { class: "ganlib-controls" }, play, slider.row);
  const stage = make("div", { class: "ganlib-stage" }, canvas, make("div", { class: "ganlib-plots" }, ...plots.map((plot) => plot.node)));
  el.append(make("div", { class: "ganlib-widget", role: "group", "aria-label": "Time-lapse of a training run" }, controls, stage));
  stop();
  show(model.get("at"));
  return () => {
    stop();
    model.off("change:at", listen);
  };
}

// How many images stand in a row: as square as it can be without a gap in the last row, if that is nearly square.
function widest(count) {
  const square = Math.ceil(Math.sqrt(count));
  for (let columns = square; columns <= 2 * square; columns++) if (count % columns === 0) return columns;
  return square;
}

const nearest = (epochs, wanted) =>
  epochs.reduce((best, epoch, place) => (Math.abs(epoch - wanted) < Math.abs(epochs[best] - wanted) ? place : best), 0);

// One plot with its legend: {node, mark}; mark(epoch) moves the marker and returns the numbers there in words.
function drawPanel({ title, span, lines }, epochs, onPick) {
  const values = lines.flatMap((line) => line.points.map((point) => point[1]));
  const [low, high] = span ?? [Math.min(0, ...values), niceAbove(Math.max(...values, 0))];
  const first = epochs[0], length = Math.max(epochs[epochs.length - 1] - first, 1);
  const x = (epoch) => LEFT + ((epoch - first) / length) * (WIDE - LEFT - RIGHT);
  const y = (value) => TOP + ((high - value) / (high - low || 1)) * (HIGH - TOP - BOTTOM);
  const svg = make("svg:svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, class: "ganlib-plot", "aria-hidden": "true" });
  for (const value of [low, (low + high) / 2, high]) {
    svg.append(
      make("svg:line", { class: "ganlib-rule", x1: LEFT, x2: WIDE - RIGHT, y1: y(value), y2: y(value) }),
      make("svg:text", { x: LEFT - 5, y: y(value) + 3.5, "text-anchor": "end" }, String(Number(value.toFixed(2)))),
    );
  }
  for (const [epoch, anchor] of [[first, "start"], [first + length, "end"]]) {
    svg.append(make("svg:text", { x: x(epoch), y: HIGH - 8, "text-anchor": anchor }, String(epoch)));
  }
  svg.append(make("svg:text", { x: (LEFT + WIDE - RIGHT) / 2, y: HIGH - 8, "text-anchor": "middle" }, "epoch"));
  const marker = make("svg:line", { class: "ganlib-marker", y1: TOP, y2: HIGH - BOTTOM });
  const dots = lines.map((line) => make("svg:circle", { class: `ganlib-dot ganlib-${line.look}`, r: 4 }));
  const paths = lines.map(({ look, points }) =>
    make("svg:polyline", { class: `ganlib-line ganlib-${look}`, points: points.map(([e, v]) => `${x(e)},${y(v)}`).join(" ") }));
  svg.append(...paths, marker, ...dots);
  const numbers = lines.map(() => make("b"));
  const legend = make("ul", { class: "ganlib-legend" }, ...lines.map((line, place) => {
    const swatch = make("svg:svg", { viewBox: "0 0 24 8", "aria-hidden": "true" });
    swatch.append(make("svg:line", { class: `ganlib-line ganlib-${line.look}`, x1: 1, x2: 23, y1: 4, y2: 4 }));
    return make("li", {}, swatch, `${line.label} `, numbers[place]);
  }));
  pick(svg, (share) => onPick(first + ((share * WIDE - LEFT) / (WIDE - LEFT - RIGHT)) * length));
  function mark(epoch) {
    marker.setAttribute("x1", x(epoch));
    marker.setAttribute("x2", x(epoch));
    const told = lines.map(({ label, points }, place) => {
      const value = points.find((point) => point[0] === epoch)?.[1];
      dots[place].style.display = value === undefined ? "none" : "";
      dots[place].setAttribute("cx", x(epoch));
      dots[place].setAttribute("cy", y(value ?? 0));
      numbers[place].textContent = value === undefined ? "–" : value.toFixed(2);
      return value === undefined ? "" : `${label} ${value.toFixed(2)}`;
    });
    return told.filter(Boolean).join(", ");
  }
  return { node: make("div", {}, make("div", { class: "ganlib-title" }, title), svg, legend), mark };
}

// Tell onShare how far to the right, 0..1, a pointer is pressed or dragged.
function pick(node, onShare) {
  const tell = (event) => {
    const box = node.getBoundingClientRect();
    onShare((event.clientX - box.left) / box.width);
  };
  node.addEventListener("pointerdown", (event) => (node.setPointerCapture(event.pointerId), tell(event)));
  node.addEventListener("pointermove", (event) => event.buttons && tell(event));
}

// A round number at or above `value`.
function niceAbove(value) {
  const unit = 10 ** Math.floor(Math.log10(value || 1));
  return unit * [1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((factor) => factor * unit >= value * 0.999);
}
