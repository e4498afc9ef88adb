// A conditional generator that draws what is typed: a character is a class, and each drawing has noise of its own.

const ROWS = 3; // drawings of the same text, one below the other
const MOST = 12; // characters in a row
const SCALE = 2; // screen pixels for one of G's

export default { render };

async function render({ model, el }) {
  const { layers, shape, characters } = model.get("about"), [, height, width] = shape;
  const network = readNetwork(await unpack(model.get("packed")), layers);
  const normal = normalNumbers(1);
  const latentDim = layers[0][1] - characters.length;

  const canvas = make("canvas", { role: "img" });
  const said = make("p", { class: "ganlib-facts", role: "status" });
  const input = make("input", { type: "text", inputmode: "numeric", maxlength: MOST, autocomplete: "off", class: "ganlib-text" });

  // What G takes: noise, and 1 at the place of the character.
  function imagine(character) {
    const z = Float32Array.from({ length: layers[0][1] }, (_, i) => (i < latentDim ? normal() : 0));
    z[latentDim + characters.indexOf(character)] = 1;
    return forward(network, z);
  }

  function write() {
    const typed = [...input.value].slice(0, MOST), asked = typed.filter((character) => characters.includes(character));
    Object.assign(canvas, { width: asked.length * width, height: asked.length ? ROWS * height : 0 });
    canvas.style.width = `${SCALE * canvas.width}px`;
    const context = canvas.getContext("2d");
    for (let row = 0; row < ROWS; row++) {
      asked.forEach((character, column) => paint(context, imagine(character), 0, shape, column * width, row * height));
    }
    canvas.setAttribute("aria-label", `${asked.join("")}, drawn ${ROWS} times`);
    said.textContent = asked.length < typed.length || !asked.length ? `G has learned ${[...characters].join(" ")}, and draws nothing else.` : "";
    if (model.get("text") === input.value) return;
    model.set("text", input.value);
    model.save_changes();
  }

  function listen() {
    if (input.value === model.get("text")) return;
    input.value = model.get("text");
    write();
  }

  input.value = model.get("text");
  input.addEventListener("input", write);
  model.on("change:text", listen);
  const label = make("label", { class: "ganlib-typed" }, make("span", {}, "Type a number"), input);
  const again = make("button", { type: "button", class: "ganlib-button", click: write }, "Draw again");
  el.append(make("div", { class: "ganlib-widget", role: "group", "aria-label": "Ask a generator for digits" },
    make("div", { class: "ganlib-controls" }, label, again), canvas, said));
  write();
  return () => model.off("change:text", listen);
}
