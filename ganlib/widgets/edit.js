// A generator with a slider for each direction that means something: z = start + the sum of value * direction.

const REACH = 4; // each slider goes from -REACH to REACH

export default { render };

async function render({ model, el }) {
  const { layers, shape, directions } = model.get("about"), names = Object.keys(directions);
  const network = readNetwork(await unpack(model.get("packed")), layers);
  const normal = normalNumbers(1);
  const values = Object.fromEntries(names.map((name) => [name, 0]));
  let start = Float32Array.from(model.get("z"));

  const canvasOf = (kind, label) => make("canvas", { class: kind, role: "img", "aria-label": label, width: shape[2], height: shape[1] });
  const before = canvasOf("ganlib-before", "image before the change");
  const canvas = canvasOf("ganlib-image", "");
  const facts = make("p", { class: "ganlib-facts" });
  const sliders = Object.fromEntries(names.map((name) => [
    name,
    makeSlider(name, { min: -REACH, max: REACH, step: 0.1, value: 0 }, (value) => ((values[name] = value), show())),
  ]));
  const signed = (value) => (value > 0 ? "+" : "") + value.toFixed(1);

  function show() {
    const z = start.map((number, i) => names.reduce((sum, name) => sum + values[name] * directions[name][i], number));
    const started = performance.now();
    const image = forward(network, z);
    root.milliseconds = performance.now() - started;
    paint(canvas.getContext("2d"), image, 0, shape);
    root.z = z;
    for (const name of names) {
      sliders[name].input.value = values[name];
      sliders[name].say(signed(values[name]));
    }
    const moved = names.filter((name) => values[name]).map((name) => `${name} ${signed(values[name])}`);
    canvas.setAttribute("aria-label", `image after the change: ${moved.join(", ") || "none"}`);
    facts.textContent = `length of z: ${Math.hypot(...z).toFixed(1)} · one image: ${root.milliseconds.toFixed(0)} ms`;
  }

  function reset() {
    for (const name of names) values[name] = 0;
    paint(before.getContext("2d"), forward(network, start), 0, shape);
    show();
  }

  // What Python sees as .z, once a gesture is over.
  function share() {
    model.set("z", Array.from(root.z));
    model.save_changes();
  }

  const button = (text, act) => make("button", { type: "button", class: "ganlib-button", click: () => (act(), reset(), share()) }, text);
  const figure = (title, one) => make("div", {}, make("div", { class: "ganlib-title" }, title), one);
  const root = make("div", { class: "ganlib-widget ganlib-edit", role: "group", "aria-label": "Change a generated image" },
    make("div", { class: "ganlib-controls" },
      button("Another image", () => (start = start.map(normal))), button("Reset", () => {})),
    make("div", { class: "ganlib-stage" },
      make("div", { class: "ganlib-pair" }, figure("G(z)", before), figure("G(z + changes)", canvas)),
      make("div", { class: "ganlib-sliders" }, ...names.map((name) => sliders[name].row), facts)));
  for (const name of names) sliders[name].input.addEventListener("change", share);
  el.append(root);
  reset();
}
