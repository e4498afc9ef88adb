// A generator that runs in the page: z = truncation * ((1 - t) * A + t * B) + a * u + b * v, and its image at once.

const REACH = 4; // the pad goes from -REACH to REACH along both directions
const BUSY = 12; // milliseconds of drawing the map before the page may breathe
const IDLE = 60; // milliseconds of rest before the map is drawn again

export default { render };

async function render({ model, el }) {
  const { layers, shape: firstShape, directions: firstDirections } = model.get("about");
  const stored = readNetwork(await unpack(model.get("packed")), layers);
  let network, shape, directions, tiles; // the map behind the pad has tiles x tiles images
  const imagine = (z) => forward(network, z);
  const normal = normalNumbers(1);
  const draw = () => Float32Array.from({ length: directions[0].length }, normal);
  const ends = [];
  const here = { t: 0, truncation: 1, a: 0, b: 0 };
  let waiting = null, drawing = 0;

  const canvas = makeCanvas("ganlib-image", "image");
  const map = makeCanvas("ganlib-map", "presentation");
  const dot = make("div", { class: "ganlib-cursor" });
  const pad = make("div", { class: "ganlib-pad", "aria-hidden": "true" }, map, dot);
  const thumbs = ["A", "B"].map((name) => makeCanvas("ganlib-thumb", `sample ${name}`));
  const facts = make("p", { class: "ganlib-facts" });

  const moved = (key) => (value) => ((here[key] = value), show(key === "a" || key === "b"));
  const sliders = {
    t: makeSlider("from A to B (t)", { min: 0, max: 1, step: 0.01, value: 0 }, moved("t")),
    truncation: makeSlider("truncation", { min: 0, max: 1.5, step: 0.01, value: 1 }, moved("truncation")),
    a: makeSlider("direction u", { min: -REACH, max: REACH, step: 0.1, value: 0 }, moved("a")),
    b: makeSlider("direction v", { min: -REACH, max: REACH, step: 0.1, value: 0 }, moved("b")),
  };

  // Draw from another generator, with new samples.
  function use(newNetwork, newShape, newDirections) {
    [network, shape, directions] = [newNetwork, newShape, newDirections];
    tiles = network.every(({ kind }) => kind === "linear") ? 7 : 5;
    const [, height, width] = shape;
    for (const one of [canvas, map, ...thumbs]) Object.assign(one, { width, height });
    Object.assign(map, { width: tiles * width, height: tiles * height });
    ends.splice(0, 2, draw(), draw());
    here.truncation = 1;
    renew(1);
    renew(0);
  }

  const noise = (a, b) => {
    const { t, truncation } = here, [u, v] = directions;
    return ends[0].map((start, i) => truncation * ((1 - t) * start + t * ends[1][i]) + a * u[i] + b * v[i]);
  };

  function show(onlyPad = false) {
    const z = noise(here.a, here.b);
    paint(canvas.getContext("2d"), imagine(z), 0, shape);
    root.z = z;
    for (const key in sliders) {
      sliders[key].input.value = here[key];
      sliders[key].say(here[key].toFixed(key === "a" || key === "b" ? 1 : 2));
    }
    dot.style.left = `${50 + (50 * here.a) / REACH}%`;
    dot.style.top = `${50 - (50 * here.b) / REACH}%`;
    facts.textContent = `length of z: ${Math.hypot(...z).toFixed(1)}`;
    if (root.milliseconds) facts.textContent += ` · one image: ${root.milliseconds.toFixed(1)} ms`;
    if (onlyPad) return;
    drawing++;
    clearTimeout(waiting);
    waiting = setTimeout(drawMap, IDLE);
  }

  // Tile by tile, with rests in which the page can listen; a newer map takes the place of this one.
  async function drawMap() {
    const context = map.getContext("2d"), place = (tile) => ((tile + 0.5) / tiles - 0.5) * 2 * REACH, mine = ++drawing;
    let taken = 0, rested = performance.now();
    for (let tile = 0; tile < tiles ** 2; tile++) {
      const column = tile % tiles, row = (tile - column) / tiles, started = performance.now();
      const image = imagine(noise(place(column), -place(row)));
      taken += performance.now() - started;
      paint(context, image, 0, shape, column * shape[2], row * shape[1]);
      if (performance.now() - rested < BUSY) continue;
      await new Promise((resume) => setTimeout(resume));
      if (mine !== drawing) return;
      rested = performance.now();
    }
    root.milliseconds = taken / tiles ** 2;
    show(true);
  }

  function renew(end) {
    ends[end] = draw();
    paint(thumbs[end].getContext("2d"), imagine(ends[end]), 0, shape);
    Object.assign(here, { t: end, a: 0, b: 0 });
    show();
    share();
  }

  // What Python sees as .z, once a gesture is over.
  function share() {
    model.set("z", Array.from(root.z));
    model.save_changes();
  }

  // A file that was chosen or dropped.
  async function open(file) {
    if (!file) return;
    said.textContent = `Reading ${file.name} …`;
    try {
      const opened = await openGenerator(file);
      use(opened.network, opened.shape, opened.directions);
      said.textContent = `This is ${file.name}: ${opened.config.architecture}, images ${shape.join("x")}, noise of ${directions[0].length} numbers.`;
    } catch (error) {
      said.textContent = error.message;
    }
  }

  const button = (text, act) => make("button", { type: "button", class: "ganlib-button", click: act }, text);
  const controls = make("div", { class: "ganlib-controls" },
    button("New sample A", () => renew(0)), button("New sample B", () => renew(1)),
    button("Reset", () => (Object.assign(here, { t: 0, truncation: 1, a: 0, b: 0 }), show(), share())));
  const chooser = make("input", { type: "file", accept: ".safetensors" });
  chooser.addEventListener("change", () => (open(chooser.files[0]), (chooser.value = "")));
  const said = make("span", { role: "status" }, "Or drop a .safetensors file of ganlib here. It is read in this page and sent nowhere.");
  const opener = make("div", { class: "ganlib-open" }, button("Open a generator …", () => chooser.click()), said);
  const walk = make("div", { class: "ganlib-walk" }, thumbs[0], sliders.t.row, thumbs[1]);
  const root = make("div", { class: "ganlib-widget", role: "group", "aria-label": "Explore a generator" },
    controls,
    make("div", { class: "ganlib-stage" },
      make("div", { class: "ganlib-pair" },
        make("div", {}, make("div", { class: "ganlib-title" }, "G(z)"), canvas),
        make("div", {}, make("div", { class: "ganlib-title" }, "around it (u →, v ↑)"), pad)),
      make("div", { class: "ganlib-sliders" }, walk, sliders.truncation.row, sliders.a.row, sliders.b.row, facts)),
    opener);
  for (const key in sliders) sliders[key].input.addEventListener("change", share);
  drag(pad, (right, down) => {
    here.a = (right * 2 - 1) * REACH;
    here.b = (1 - down * 2) * REACH;
    show(true);
  }, share);
  for (const kind of ["dragover", "drop"]) root.addEventListener(kind, (event) => event.preventDefault());
  root.addEventListener("drop", (event) => open(event.dataTransfer.files[0]));
  el.append(root);
  use(stored, firstShape, firstDirections);
  return () => (drawing++, clearTimeout(waiting));
}

function makeCanvas(kind, label) {
  const role = label === "presentation" ? { role: label } : { role: "img", "aria-label": `generated ${label}` };
  return make("canvas", { class: kind, ...role });
}

// Tell onMove where a pressed pointer is, 0..1 to the right and down, and onEnd when it is released.
function drag(node, onMove, onEnd) {
  const inside = (value) => Math.min(Math.max(value, 0), 1);
  const tell = (event) => {
    const box = node.getBoundingClientRect();
    onMove(inside((event.clientX - box.left) / box.width), inside((event.clientY - box.top) / box.height));
  };
  node.addEventListener("pointerdown", (event) => (node.setPointerCapture(event.pointerId), tell(event)));
  node.addEventListener("pointermove", (event) => event.buttons && tell(event));
  node.addEventListener("pointerup", onEnd);
}
