// What the widgets share: elements, packed bytes, images on a canvas.

const SVG = "http://www.w3.org/2000/svg";

// make("svg:line", {x1: 0}, ...children) or make("button", {...}): an element with attributes, listeners and children.
function make(tag, attributes = {}, ...children) {
  const [name, svg] = tag.startsWith("svg:") ? [tag.slice(4), true] : [tag, false];
  const element = svg ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(key, value);
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

// A labelled slider: {row, input, say}; say(words) sets what stands behind it and what a screen reader says.
function makeSlider(label, { min, max, step, value }, onInput) {
  const words = make("span", { class: "ganlib-value" });
  const input = make("input", { type: "range", min, max, step, value, "aria-label": label });
  input.addEventListener("input", () => onInput(Number(input.value)));
  const say = (text) => {
    words.textContent = text;
    input.setAttribute("aria-valuetext", text);
  };
  return { row: make("label", { class: "ganlib-slider" }, make("span", {}, label), input, words), input, say };
}

// zlib bytes, as a kernel or a stored page hands them over -> Uint8Array
async function unpack(view) {
  const bytes = new Uint8Array(view.buffer ?? view, view.byteOffset ?? 0, view.byteLength);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// A WebP of `count` images in rows, -> their bytes (count, 3, H, W)
async function unpackColours(view, [, height, width], count) {
  const sheet = await createImageBitmap(new Blob([view], { type: "image/webp" }));
  const canvas = make("canvas", { width: sheet.width, height: sheet.height }), context = canvas.getContext("2d");
  context.drawImage(sheet, 0, 0);
  const bytes = new Uint8Array(count * 3 * height * width), columns = sheet.width / width;
  for (let index = 0, at = 0; index < count; index++) {
    const { data } = context.getImageData((index % columns) * width, Math.floor(index / columns) * height, width, height);
    for (let colour = 0; colour < 3; colour++) for (let i = colour; i < data.length; i += 4) bytes[at++] = data[i];
  }
  return bytes;
}

// Bytes (C, H, W) from `start` on -> pixels of the canvas, upper left corner at (x, y)
function paint(context, bytes, start, [channels, height, width], x = 0, y = 0) {
  const image = context.createImageData(width, height);
  const size = height * width;
  for (let at = 0; at < size; at++) {
    for (let colour = 0; colour < 3; colour++) {
      image.data[4 * at + colour] = bytes[start + at + size * (channels === 3 ? colour : 0)];
    }
    image.data[4 * at + 3] = 255;
  }
  context.putImageData(image, x, y);
}
