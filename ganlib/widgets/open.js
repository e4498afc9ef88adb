// A generator's file, as ganlib writes it: safetensors, whose header holds the config -> what the explorer draws from.
// The file is read here in the page and goes nowhere. What does not fit is an Error of one sentence.

const MOST_PRODUCTS = 110_000_000; // of one image, as in Python
const MOST_BYTES = 5 * MOST_PRODUCTS; // each weight is in a product at least
const ARCHITECTURES = ["mlp", "batchnorm-mlp", "dcgan", "resize-conv"];
const ROUNDS = 200; // of the search for directions

// File -> {network, shape, directions, config}
async function openGenerator(file) {
  if (file.size > MOST_BYTES) throw new Error(`${file.name} has more than ${inWords(MOST_BYTES)} bytes, which is too large for this page.`);
  const { tensors, config } = readSafetensors(await file.arrayBuffer(), file.name);
  if (!ARCHITECTURES.includes(config.architecture)) {
    throw new Error(`${file.name} is a generator of the architecture ${config.architecture}; this page draws ${ARCHITECTURES.join(", ")}.`);
  }
  if (config.classes) throw new Error(`${file.name} is a conditional generator, which takes a class beside its noise; ganlib sample --label draws from it.`);
  const network = plainLayers(tensors, config.architecture);
  const [products, fits] = network ? measured(network, config) : [0, false];
  if (!fits) throw new Error(`${file.name} holds weights of another architecture than its config says.`);
  if (products > MOST_PRODUCTS) {
    throw new Error(`One image of ${file.name} takes ${inWords(products)} products, which keeps a browser busy for more than 100 ms; `
      + `this page takes up to ${inWords(MOST_PRODUCTS)}: smaller images, or fewer base_channels.`);
  }
  const { channels, image_size: side } = config;
  return { network, config, shape: [channels, side, side], directions: directionsOf(network[0], config.latent_dim) };
}

const inWords = (number) => number.toLocaleString("en");

// The bytes of a file -> {tensors: {name: {shape, numbers}}, config}
function readSafetensors(buffer, name) {
  let header, start;
  try {
    start = 8 + Number(new DataView(buffer).getBigUint64(0, true));
    header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(new Uint8Array(buffer, 8, start - 8)));
    if (header === null || typeof header !== "object") throw new TypeError();
  } catch {
    throw new Error(`${name} is no safetensors file; choose one that ganlib wrote, such as generator.safetensors.`);
  }
  let config = null;
  try {
    config = JSON.parse(header.__metadata__.config);
  } catch {} // what is missing is said below
  if (!config?.architecture) throw new Error(`${name} holds no config of a generator; choose a file that ganlib wrote, such as generator.safetensors.`);
  const tensors = {};
  for (const [key, entry] of Object.entries(header)) {
    if (key === "__metadata__" || entry.dtype === "I64") continue; // how many batches BatchNorm has seen
    const [from, to] = entry.data_offsets ?? [];
    const length = entry.shape?.reduce((product, side) => product * side, 4);
    if (entry.dtype !== "F32" || to - from !== length || start + to > buffer.byteLength) {
      throw new Error(`${name} is broken, or holds numbers of another kind than ganlib writes; save it again.`);
    }
    tensors[key] = { shape: entry.shape, numbers: new Float32Array(buffer.slice(start + from, start + to)) };
  }
  return { tensors, config };
}

// Tensors by name -> the layers that `forward` runs, as _plain_layers makes them in Python; null if they do not fit
function plainLayers(tensors, architecture) {
  const numbered = new Map();
  for (const [key, tensor] of Object.entries(tensors)) {
    const [, number, part] = key.match(/^layers\.(\d+)\.(\w+)$/) ?? [];
    if (part === undefined) return null;
    numbered.set(+number, { ...numbered.get(+number), [part]: tensor });
  }
  const layers = [];
  for (const [, parts] of [...numbered].sort(([one], [other]) => one - other)) {
    if (!parts.weight) return null;
    if (parts.running_mean) {
      if (!withBatchnorm(layers.at(-1), parts)) return null;
    } else layers.push(plainLayer(parts, architecture, layers.length === 0));
    if (!layers.at(-1)) return null;
  }
  return layers;
}

// One layer {kind, inputs, weight, bias}: its weight is (outputs, inputs, taps), as `forward` wants it
function plainLayer({ weight: { shape, numbers }, bias }, architecture, isFirst) {
  let [outputs, inputs] = shape, kind = "linear", weight = numbers;
  const [, , size] = shape;
  if (shape.length === 4 && architecture === "dcgan") {
    [inputs, outputs] = shape;
    if (isFirst) outputs *= size ** 2;
    else if (size === 4) kind = "double";
    else return null;
    weight = swapped(numbers, inputs, outputs, isFirst ? 1 : 16);
  } else if (shape.length === 4) {
    if (size !== 3) return null;
    kind = bias ? "same" : "double"; // after repeated pixels there is BatchNorm, and so no bias
    if (!bias) weight = doubled(numbers);
  } else if (shape.length !== 2) return null;
  if (bias && bias.numbers.length !== outputs) return null;
  return { kind, inputs, weight, bias: bias ? bias.numbers : new Float32Array(outputs) };
}

// (inputs, outputs, taps) -> (outputs, inputs, taps)
function swapped(numbers, inputs, outputs, taps) {
  const result = new Float32Array(numbers.length);
  for (let from = 0, input = 0; input < inputs; input++) {
    for (let output = 0; output < outputs; output++, from += taps) {
      result.set(numbers.subarray(from, from + taps), (output * inputs + input) * taps);
    }
  }
  return result;
}

// Repeated pixels and then 3x3 kernels are a transposed convolution, whose 4x4 kernels are sums of them.
function doubled(numbers) {
  const sums = [[2], [1, 2], [0, 1], [0]]; // rows and columns that fall on the same pixel
  const result = new Float32Array((numbers.length / 9) * 16);
  for (let plane = 0; plane < numbers.length / 9; plane++) {
    for (let tap = 0; tap < 16; tap++) {
      for (const row of sums[tap >> 2]) for (const column of sums[tap & 3]) result[16 * plane + tap] += numbers[9 * plane + 3 * row + column];
    }
  }
  return result;
}

// BatchNorm in eval mode is a product and a sum, which go into the layer before it; whether they fit
function withBatchnorm(layer, { weight, bias, running_mean: mean, running_var: variance }) {
  const channels = weight.numbers.length;
  const alike = [bias, mean, variance].every((one) => one?.numbers.length === channels);
  const outputs = layer?.bias.length;
  if (!alike || !outputs || outputs % channels) return false;
  const row = layer.weight.length / outputs;
  for (let output = 0; output < outputs; output++) {
    const channel = Math.floor((output * channels) / outputs);
    const scale = weight.numbers[channel] / Math.sqrt(variance.numbers[channel] + 1e-5);
    for (let i = output * row; i < (output + 1) * row; i++) layer.weight[i] *= scale;
    layer.bias[output] = (layer.bias[output] - mean.numbers[channel]) * scale + bias.numbers[channel];
  }
  return true;
}

// [products of one image, whether layers fit each other and the config]
function measured(network, { latent_dim: latentDim, channels, image_size: imageSize }) {
  let values = latentDim, products = 0, fits = network.length > 0;
  for (const { kind, inputs, weight, bias } of network) {
    const side = kind === "linear" ? 1 : Math.sqrt(values / inputs);
    fits &&= inputs * side ** 2 === values && Number.isInteger(side);
    products += weight.length * side ** 2;
    values = bias.length * (kind === "double" ? 2 * side : side) ** 2;
  }
  return [products, fits && values === channels * imageSize ** 2 && [1, 3].includes(channels)];
}

// The two directions of noise, unit vectors, that the first layer stretches most: orthogonal iteration
function directionsOf({ weight, bias }, latentDim) {
  const found = [];
  for (let place = 0; place < Math.min(2, latentDim); place++) {
    let direction = Float64Array.from({ length: latentDim }, (_, i) => Math.cos(i * (place + 1)) + 0.1);
    for (let round = 0; round < ROUNDS; round++) {
      const stretched = linear(weight, new Float64Array(bias.length), direction);
      direction.fill(0);
      for (let i = 0; i < weight.length; i++) direction[i % latentDim] += weight[i] * stretched[Math.floor(i / latentDim)];
      for (const other of found) {
        const along = other.reduce((sum, value, i) => sum + value * direction[i], 0);
        direction = direction.map((value, i) => value - along * other[i]);
      }
      const length = Math.hypot(...direction) || 1;
      direction = direction.map((value) => value / length);
    }
    const sign = direction.reduce((sum, value) => sum + value, 0) < 0 ? -1 : 1; // a singular vector has none of its own
    found.push(direction.map((value) => sign * value));
  }
  return found.length > 1 ? found : [found[0], new Float64Array(latentDim)];
}
