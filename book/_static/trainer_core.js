/* The numbers of the GAN that trains in a page of the book: matrix products, two networks with their backward
 * passes, Adam, the turns, and the file of a generator. One function without a page around it: trainer.js puts its
 * text into a worker, the tests call it in the page. Parameters lie in PyTorch's order and shapes. */
function ganTrainerCore(kernel) {
  "use strict";

  /* ---------- Matrix products ---------- */

  // From scripts/trainer_kernel.wat by scripts/assemble.py, which writes the three lines below.
  const SOURCE = "df89f92229406e27f798355ede7f23a27f00dfd44e249486ab5b61ff55a491c0";
  const SIMD = "AGFzbQEAAAABHQJgDH9/f39/f39/f39/fwBgCn9/f39/fX19fX0AAhABBHBhZ2UGbWVtb3J5AgABAwMCAAEHEwIIbXVsdGlwbHkAAARhZGFtAAEKywYChQUCCX8LewNAQQAhDiADIAwgBWxqIQ8gCyEQA0AgECAPKgIAOAIAIBAgDyAFQQFsaioCADgCBCAQIA8gBUECbGoqAgA4AgggECAPIAVBA2xqKgIAOAIMIBAgDyAFQQRsaioCADgCECAQIA8gBUEFbGoqAgA4AhQgECAPIAVBBmxqKgIAOAIYIBAgDyAFQQdsaioCADgCHCAPIARqIQ8gEEEgaiEQIA5BAWohDiAOIAlJDQALQQAhDQNAIAAgDSABbGohESARIAFqIRIgEiABaiETIBMgAWohFCAGIAxBAnRqIRAgEP0ABAAhGCAQ/QAEECEZIBD9AAQAIRogEP0ABBAhGyAQ/QAEACEcIBD9AAQQIR0gEP0ABAAhHiAQ/QAEECEfIAshDyAJIQ4DQCAP/QAEACEWIA/9AAQQIRcgEf0JAgAhFSAVIBb95gEgGP3kASEYIBUgF/3mASAZ/eQBIRkgEv0JAgAhFSAVIBb95gEgGv3kASEaIBUgF/3mASAb/eQBIRsgE/0JAgAhFSAVIBb95gEgHP3kASEcIBUgF/3mASAd/eQBIR0gFP0JAgAhFSAVIBb95gEgHv3kASEeIBUgF/3mASAf/eQBIR8gESACaiERIBIgAmohEiATIAJqIRMgFCACaiEUIA9BIGohDyAOQQFrIg4NAAsgByANIApsIAxqQQJ0aiEQIBAgGP0LBAAgECAZ/QsEECAQIApBAnRqIRAgECAa/QsEACAQIBv9CwQQIBAgCkECdGohECAQIBz9CwQAIBAgHf0LBBAgECAKQQJ0aiEQIBAgHv0LBAAgECAf/QsEECANQQRqIQ0gDSAISQ0ACyAMQQhqIQwgDCAKSQ0ACwvBAQICewF/IAAgBEECdGohDANAIAH9AAQAIQogAiAF/RMgAv0ABAD95gFDAACAPyAFk/0TIAr95gH95AH9CwQAIAMgBv0TIAP9AAQA/eYBQwAAgD8gBpP9EyAKIAr95gH95gH95AEiC/0LBAAgACAA/QAEACAH/RMgAv0ABAD95gEgC/3jASAI/RP95gEgCf0T/eQB/ecB/eUB/QsEACABQRBqIQEgAkEQaiECIANBEGohAyAAQRBqIQAgACAMSQ0ACwsAsgIEbmFtZQL/AQIAIAABYQEGYV9kb3duAgdhX3JpZ2h0AwFiBAZiX2Rvd24FB2JfcmlnaHQGBXN0YXJ0BwFjCAFtCQFrCgFuCwVwYW5lbAwGY29sdW1uDQNyb3cOAWkPBGZyb20QAnRvEQJhMBICYTETAmEyFAJhMxUBeBYEbGVmdBcFcmlnaHQYA3MwbBkDczByGgNzMWwbA3MxchwDczJsHQNzMnIeA3MzbB8DczNyAQ0ABndlaWdodAEIZ3JhZGllbnQCBG1lYW4DBnNxdWFyZQQFY291bnQFBWJldGExBgViZXRhMgcEcmF0ZQgFc2NhbGUJB2Vwc2lsb24KAWcLAXYMA2VuZAMpAgAEAAdjb2x1bW5zAQRjb3B5AgRyb3dzAwRzdW1zAQEAB3dlaWdodHM=";
  const RELAXED = "AGFzbQEAAAABHQJgDH9/f39/f39/f39/fwBgCn9/f39/fX19fX0AAhABBHBhZ2UGbWVtb3J5AgABAwMCAAEHEwIIbXVsdGlwbHkAAARhZGFtAAEKswYC7QQCCX8LewNAQQAhDiADIAwgBWxqIQ8gCyEQA0AgECAPKgIAOAIAIBAgDyAFQQFsaioCADgCBCAQIA8gBUECbGoqAgA4AgggECAPIAVBA2xqKgIAOAIMIBAgDyAFQQRsaioCADgCECAQIA8gBUEFbGoqAgA4AhQgECAPIAVBBmxqKgIAOAIYIBAgDyAFQQdsaioCADgCHCAPIARqIQ8gEEEgaiEQIA5BAWohDiAOIAlJDQALQQAhDQNAIAAgDSABbGohESARIAFqIRIgEiABaiETIBMgAWohFCAGIAxBAnRqIRAgEP0ABAAhGCAQ/QAEECEZIBD9AAQAIRogEP0ABBAhGyAQ/QAEACEcIBD9AAQQIR0gEP0ABAAhHiAQ/QAEECEfIAshDyAJIQ4DQCAP/QAEACEWIA/9AAQQIRcgEf0JAgAhFSAVIBYgGP2FAiEYIBUgFyAZ/YUCIRkgEv0JAgAhFSAVIBYgGv2FAiEaIBUgFyAb/YUCIRsgE/0JAgAhFSAVIBYgHP2FAiEcIBUgFyAd/YUCIR0gFP0JAgAhFSAVIBYgHv2FAiEeIBUgFyAf/YUCIR8gESACaiERIBIgAmohEiATIAJqIRMgFCACaiEUIA9BIGohDyAOQQFrIg4NAAsgByANIApsIAxqQQJ0aiEQIBAgGP0LBAAgECAZ/QsEECAQIApBAnRqIRAgECAa/QsEACAQIBv9CwQQIBAgCkECdGohECAQIBz9CwQAIBAgHf0LBBAgECAKQQJ0aiEQIBAgHv0LBAAgECAf/QsEECANQQRqIQ0gDSAISQ0ACyAMQQhqIQwgDCAKSQ0ACwvBAQICewF/IAAgBEECdGohDANAIAH9AAQAIQogAiAF/RMgAv0ABAD95gFDAACAPyAFk/0TIAr95gH95AH9CwQAIAMgBv0TIAP9AAQA/eYBQwAAgD8gBpP9EyAKIAr95gH95gH95AEiC/0LBAAgACAA/QAEACAH/RMgAv0ABAD95gEgC/3jASAI/RP95gEgCf0T/eQB/ecB/eUB/QsEACABQRBqIQEgAkEQaiECIANBEGohAyAAQRBqIQAgACAMSQ0ACwsAsgIEbmFtZQL/AQIAIAABYQEGYV9kb3duAgdhX3JpZ2h0AwFiBAZiX2Rvd24FB2JfcmlnaHQGBXN0YXJ0BwFjCAFtCQFrCgFuCwVwYW5lbAwGY29sdW1uDQNyb3cOAWkPBGZyb20QAnRvEQJhMBICYTETAmEyFAJhMxUBeBYEbGVmdBcFcmlnaHQYA3MwbBkDczByGgNzMWwbA3MxchwDczJsHQNzMnIeA3MzbB8DczNyAQ0ABndlaWdodAEIZ3JhZGllbnQCBG1lYW4DBnNxdWFyZQQFY291bnQFBWJldGExBgViZXRhMgcEcmF0ZQgFc2NhbGUJB2Vwc2lsb24KAWcLAXYMA2VuZAMpAgAEAAdjb2x1bW5zAQRjb3B5AgRyb3dzAwRzdW1zAQEAB3dlaWdodHM=";

  const PAGES = 400; // of 64 KiB: twice what the networks of this book need
  const EXACT_ROWS = 4, EXACT_COLUMNS = 8; // the kernel makes 4 x 8 sums at once
  const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

  /** The best kernel that this browser runs, or the one asked for: "relaxed", "simd" or "plain". */
  function load(wanted) {
    for (const [name, text] of [["relaxed", RELAXED], ["simd", SIMD]]) {
      if ((wanted ?? name) !== name) continue;
      if (typeof WebAssembly === "undefined" || !WebAssembly.validate(bytesOf(text))) continue;
      const memory = new WebAssembly.Memory({ initial: PAGES });
      const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytesOf(text)), { page: { memory } });
      return { name, buffer: memory.buffer, ...exports };
    }
    return { name: "plain", buffer: new ArrayBuffer(PAGES * 65536) };
  }

  const machine = load(kernel);
  let taken = 0; // bytes

  /** Room for `count` numbers, zero at first. */
  function room(count) {
    const at = taken;
    taken += Math.ceil(count / 4) * 16;
    if (taken > machine.buffer.byteLength) throw new Error("The networks do not fit into the memory that was reserved.");
    return new Float32Array(machine.buffer, at, count);
  }

  const panel = room(8 * 1024), zeros = room(1024); // for the kernel: up to 1024 rows of b, and columns

  /** A matrix (rows, columns) that lies row by row in `data`; `turned` is the same numbers, transposed. */
  const matrix = (data, rows, columns) => ({ data, rows, columns, down: columns, right: 1 });
  const turned = ({ data, rows, columns, down, right }) => ({ data, rows: columns, columns: rows, down: right, right: down });

  /** c = start + a @ b; c lies row by row, and `start` is a row. */
  function multiply(a, b, c, start = zeros) {
    if (machine.multiply && a.rows % EXACT_ROWS === 0 && b.columns % EXACT_COLUMNS === 0) {
      machine.multiply(
        a.data.byteOffset, 4 * a.down, 4 * a.right, b.data.byteOffset, 4 * b.down, 4 * b.right,
        start.byteOffset, c.data.byteOffset, a.rows, a.columns, b.columns, panel.byteOffset);
    } else multiplyPlainly(a, b, c, start);
  }

  function multiplyPlainly(a, b, c, start = zeros) {
    const x = a.data, y = b.data, sums = c.data, columns = b.columns, length = a.columns;
    for (let row = 0; row < a.rows; row++) {
      const to = row * columns, from = row * a.down;
      if (b.down === 1) { // columns of b lie in order: one sum after the other
        for (let column = 0; column < columns; column++) {
          let sum = start[column];
          for (let i = 0, at = column * b.right; i < length; i++) sum += x[from + i * a.right] * y[at + i];
          sums[to + column] = sum;
        }
        continue;
      }
      for (let column = 0; column < columns; column++) sums[to + column] = start[column];
      for (let i = 0; i < length; i++) { // rows of b lie in order: a whole row of sums at once
        const factor = x[from + i * a.right];
        for (let column = 0, at = i * b.down; column < columns; column++) sums[to + column] += factor * y[at + column];
      }
    }
  }

  /* ---------- Networks ---------- */

  const SLOPES = { relu: 0, leaky: 0.2 };

  /** Layers ["linear", inputs, outputs], ["relu"], ["leaky"] and ["tanh"], for up to `most` rows. */
  class Network {
    constructor(layers, most) {
      this.parameters = []; // {name, shape, start, count} as in PyTorch's state_dict
      this.layers = [];
      let size = layers[0][1], count = 0;
      const add = (name, shape) => {
        const parameter = { name, shape, start: count, count: shape.reduce((product, side) => product * side, 1) };
        count += parameter.count;
        this.parameters.push(parameter);
        return parameter;
      };
      layers.forEach(([kind, inputs, outputs], place) => {
        const layer = { kind, place, inputs: size };
        if (kind === "linear") {
          layer.weight = add(`${place}.weight`, [outputs, inputs]);
          layer.bias = add(`${place}.bias`, [outputs]);
          size = outputs;
        }
        layer.outputs = size;
        // Activations overwrite what they are given; other layers have values and gradients of their own.
        const own = kind === "linear", before = this.layers[place - 1];
        layer.values = own ? room(most * size) : before.values;
        layer.gradients = own ? room(most * size) : before.gradients;
        this.layers.push(layer);
      });
      this.inputGradients = room(most * layers[0][1]);
      this.inputs = layers[0][1];
      this.outputs = size;
      this.count = count;
      for (const name of ["weights", "gradient", "mean", "square"]) this[name] = room(count);
      this.steps = 0;
    }

    part(parameter, of = this.weights) {
      return of.subarray(parameter.start, parameter.start + parameter.count);
    }

    /** PyTorch's own start: weights and biases uniform in ±1 / sqrt(inputs). */
    initialise(uniform) {
      for (const layer of this.layers) {
        if (layer.kind !== "linear") continue;
        const bound = 1 / Math.sqrt(layer.inputs);
        for (const parameter of [layer.weight, layer.bias]) {
          const values = this.part(parameter);
          for (let i = 0; i < values.length; i++) values[i] = (2 * uniform() - 1) * bound;
        }
      }
    }

    /** Rows (count, inputs) -> (count, outputs), with other weights where they are given. */
    forward(input, count, weights = this.weights) {
      let values = input;
      this.input = input;
      for (const layer of this.layers) {
        if (layer.kind === "linear") {
          const weight = matrix(this.part(layer.weight, weights), layer.outputs, layer.inputs);
          multiply(matrix(values, count, layer.inputs), turned(weight), matrix(layer.values, count, layer.outputs), this.part(layer.bias, weights));
        } else activate(layer, count);
        values = layer.values;
      }
      return values;
    }

    /** Gradient of a loss by the last forward's output (count, outputs) -> that by its input; `gradient` gets that by
     * the parameters. Both cost time, so each can be left out. */
    backward(outputGradient, count, { ofWeights = true, ofInput = false } = {}) {
      let gradients = outputGradient;
      this.layers[this.layers.length - 1].gradients.set(gradients.subarray(0, count * this.outputs));
      for (let place = this.layers.length - 1; place >= 0; place--) {
        const layer = this.layers[place], before = this.layers[place - 1];
        const input = before ? before.values : this.input, down = before ? before.gradients : this.inputGradients;
        gradients = layer.gradients;
        if (layer.kind === "linear") {
          const outputs = matrix(gradients, count, layer.outputs);
          if (ofWeights) {
            multiply(turned(outputs), matrix(input, count, layer.inputs), matrix(this.part(layer.weight, this.gradient), layer.outputs, layer.inputs));
            sumRows(gradients, this.part(layer.bias, this.gradient), count);
          }
          if (before || ofInput) {
            multiply(outputs, matrix(this.part(layer.weight), layer.outputs, layer.inputs), matrix(down, count, layer.inputs));
          }
        } else deactivate(layer, count);
      }
      return this.inputGradients;
    }

    /** Half the squared length of the output's gradient by each input row, averaged (R1); `gradient` gets weight times
     * its gradient. It holds for linear layers and leaky ReLU, whose slopes do not change with small steps: the input's
     * gradient then runs forward through the same slopes, and meets the gradients of each layer. */
    penalise(input, count, weight) {
      const ones = new Float32Array(count).fill(1);
      this.forward(input, count);
      let values = this.backward(ones, count, { ofWeights: false, ofInput: true }), penalty = 0;
      for (let i = 0; i < count * this.inputs; i++) {
        penalty += values[i] ** 2 / 2 / count;
        values[i] *= weight / count;
      }
      for (const layer of this.layers) {
        if (layer.kind !== "linear") continue;
        const { inputs, outputs, gradients } = layer, weights = matrix(this.part(layer.weight), outputs, inputs);
        multiply(turned(matrix(gradients, count, outputs)), matrix(values, count, inputs), matrix(this.part(layer.weight, this.gradient), outputs, inputs));
        this.part(layer.bias, this.gradient).fill(0);
        if (outputs === 1) break;
        layer.tangents ??= room(layer.values.length);
        multiply(matrix(values, count, inputs), turned(weights), matrix(layer.tangents, count, outputs));
        values = layer.tangents;
        for (let i = 0; i < count * outputs; i++) if (layer.values[i] < 0) values[i] *= SLOPES.leaky;
      }
      return penalty;
    }

    /** One step of Adam along `gradient`. */
    learn(rate, beta1, beta2) {
      this.steps += 1;
      const step = rate / (1 - beta1 ** this.steps), scale = 1 / Math.sqrt(1 - beta2 ** this.steps), small = 1e-8;
      const { weights, gradient, mean, square, count } = this;
      if (machine.adam) {
        const padded = Math.ceil(count / 4) * 4; // room() keeps what lies behind the last number free
        machine.adam(weights.byteOffset, gradient.byteOffset, mean.byteOffset, square.byteOffset, padded, beta1, beta2, step, scale, small);
        return;
      }
      for (let i = 0; i < count; i++) {
        mean[i] += (1 - beta1) * (gradient[i] - mean[i]);
        square[i] += (1 - beta2) * (gradient[i] ** 2 - square[i]);
        weights[i] -= (step * mean[i]) / (Math.sqrt(square[i]) * scale + small);
      }
    }
  }

  function activate({ kind, values, outputs }, count) {
    const end = count * outputs, slope = SLOPES[kind];
    if (kind === "tanh") for (let i = 0; i < end; i++) values[i] = 1 - 2 / (Math.exp(2 * values[i]) + 1);
    else for (let i = 0; i < end; i++) values[i] = Math.max(values[i], slope * values[i]); // a branch would be slower
  }

  function deactivate({ kind, values, gradients, outputs }, count) {
    const end = count * outputs, slope = SLOPES[kind];
    if (kind === "tanh") for (let i = 0; i < end; i++) gradients[i] *= 1 - values[i] ** 2;
    else for (let i = 0; i < end; i++) if (values[i] <= 0) gradients[i] *= slope;
  }

  function sumRows(values, sums, count) {
    sums.fill(0);
    for (let at = 0, row = 0; row < count; row++) for (let i = 0; i < sums.length; i++) sums[i] += values[at++];
  }

  /* ---------- The game ---------- */

  const BATCH = 100, LATENT = 64, HIDDEN = 256, SIDE = 28, PIXELS = SIDE * SIDE;
  const SHOWN = 64; // noise vectors that stay the same and are drawn again and again
  const DECAY = 0.99; // of the average of G
  const BETA2 = 0.999;
  const R1_INTERVAL = 4; // steps from one penalty to the next, which weighs so many times more
  const LAYERS = {
    G: [["linear", LATENT, HIDDEN], ["relu"], ["linear", HIDDEN, HIDDEN], ["relu"], ["linear", HIDDEN, PIXELS], ["tanh"]],
    D: [["linear", PIXELS, HIDDEN], ["leaky"], ["linear", HIDDEN, HIDDEN], ["leaky"], ["linear", HIDDEN, 1]],
  };

  const sigmoid = (x) => 1 / (1 + Math.exp(-x));
  const softplus = (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));

  /** Move the average a share of the way to the weights. */
  function follow(average, weights, share) {
    for (let i = 0; i < average.length; i++) average[i] += share * (weights[i] - average[i]);
  }

  /** Random numbers from a seed (mulberry32): uniform() in 0..1, fill(array) with normal ones (Box and Muller). */
  function randomFrom(seed) {
    let state = seed >>> 0;
    const uniform = () => {
      state = (state + 0x6d2b79f5) >>> 0;
      let t = Math.imul(state ^ (state >>> 15), 1 | state);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
    const fill = (values) => {
      for (let i = 0; i < values.length; i += 2) {
        const length = Math.sqrt(-2 * Math.log(1 - uniform())), angle = 2 * Math.PI * uniform();
        values[i] = length * Math.cos(angle);
        if (i + 1 < values.length) values[i + 1] = length * Math.sin(angle);
      }
      return values;
    };
    return { uniform, fill };
  }

  /** Two networks, their optimizers and the digits.
   * settings: seed, and what may change while it trains: rateD, rateG, beta1, realLabel, r1. */
  class Game {
    /** pixels: bytes (N, 28, 28) */
    constructor(settings, pixels) {
      this.settings = settings;
      this.pixels = pixels;
      this.random = randomFrom(settings.seed);
      this.G = new Network(LAYERS.G, BATCH);
      this.D = new Network(LAYERS.D, 2 * BATCH);
      this.both = room(2 * BATCH * PIXELS); // real images, then fakes
      this.z = room(BATCH * LATENT);
      this.slopes = new Float32Array(2 * BATCH);
      this.kept = room(SHOWN * LATENT);
      this.average = room(this.G.count);
      this.restart();
    }

    restart() {
      this.random = randomFrom(this.settings.seed);
      for (const network of [this.G, this.D]) {
        for (const part of [network.weights, network.mean, network.square]) part.fill(0);
        network.steps = 0;
        network.initialise(this.random.uniform);
      }
      this.average.set(this.G.weights);
      this.random.fill(this.kept);
      this.steps = 0;
      this.order = null;
    }

    /** The next BATCH images in random order, -1..1, into `both`. */
    drawReal() {
      const count = this.pixels.length / PIXELS;
      if (this.order === null || this.next + BATCH > count) {
        this.order ??= Uint32Array.from({ length: count }, (_, i) => i);
        for (let i = count - 1; i > 0; i--) {
          const j = Math.floor(this.random.uniform() * (i + 1));
          [this.order[i], this.order[j]] = [this.order[j], this.order[i]];
        }
        this.next = 0;
      }
      for (let row = 0, at = 0; row < BATCH; row++) {
        const from = this.order[this.next++] * PIXELS;
        for (let i = 0; i < PIXELS; i++) this.both[at++] = this.pixels[from + i] / 127.5 - 1;
      }
    }

    /** Gradient of D's loss on `both`, in D.gradient; the loss and both probabilities. */
    gradientD() {
      const { realLabel } = this.settings;
      this.both.set(this.G.forward(this.z, BATCH).subarray(0, BATCH * PIXELS), BATCH * PIXELS);
      const logits = this.D.forward(this.both, 2 * BATCH), said = { lossD: 0, real: 0, fake: 0 };
      for (let n = 0; n < 2 * BATCH; n++) {
        const label = n < BATCH ? realLabel : 0, probability = sigmoid(logits[n]);
        said.lossD += (softplus(logits[n]) - label * logits[n]) / BATCH;
        said[n < BATCH ? "real" : "fake"] += probability / BATCH;
        this.slopes[n] = (probability - label) / BATCH;
      }
      this.D.backward(this.slopes, 2 * BATCH);
      return said;
    }

    /** Gradient of G's loss on the noise `z`, in G.gradient; the loss and D's probability. */
    gradientG() {
      const logits = this.D.forward(this.G.forward(this.z, BATCH), BATCH), said = { lossG: 0, fake: 0 };
      for (let n = 0; n < BATCH; n++) {
        const probability = sigmoid(logits[n]);
        said.lossG += softplus(-logits[n]) / BATCH;
        said.fake += probability / BATCH;
        this.slopes[n] = (probability - 1) / BATCH;
      }
      this.G.backward(this.D.backward(this.slopes, BATCH, { ofWeights: false, ofInput: true }), BATCH);
      return said;
    }

    /** D's turn, then G's, or one of them: `who` is "both", "D" or "G". */
    step(who = "both") {
      const { rateD, rateG, beta1, r1 } = this.settings, said = {};
      if (who !== "G") {
        this.drawReal();
        this.random.fill(this.z);
        Object.assign(said, this.gradientD());
        this.D.learn(rateD, beta1, BETA2);
      }
      if (who !== "D") {
        this.random.fill(this.z);
        Object.assign(said, this.gradientG());
        this.G.learn(rateG, beta1, BETA2);
        follow(this.average, this.G.weights, 1 - Math.min(DECAY, (1 + this.steps) / (10 + this.steps)));
      }
      this.steps += 1;
      if (r1 && who !== "G" && this.steps % R1_INTERVAL === 0) {
        this.D.penalise(this.both, BATCH, R1_INTERVAL * r1);
        this.D.learn(rateD, beta1, BETA2);
      }
      return said;
    }

    /** What the average of G makes of the kept noise: bytes (SHOWN, 28, 28). */
    picture() {
      const images = this.G.forward(this.kept, SHOWN, this.average);
      return Uint8ClampedArray.from(images.subarray(0, SHOWN * PIXELS), (value) => Math.round((value + 1) * 127.5));
    }

    /** The average of G as a file that `python -m ganlib sample` reads. */
    file() {
      const { rateD, rateG, beta1, realLabel, r1, seed } = this.settings, epochs = (this.steps * BATCH * PIXELS) / this.pixels.length;
      const config = {
        recipe: "browser", dataset: "mnist", seed, architecture: "mlp", latent_dim: LATENT, hidden_dim: HIDDEN, image_size: SIDE,
        real_label: realLabel, r1_weight: r1, ema_decay: DECAY, epochs: Math.max(1, Math.round(epochs)), batch_size: BATCH,
        learning_rate_g: rateG, learning_rate_d: rateD, beta1, beta2: BETA2,
      };
      const tensors = this.G.parameters.map((parameter) => ({ ...parameter, values: this.G.part(parameter, this.average) }));
      return safetensors(tensors, { config, steps: this.steps, training_images: this.pixels.length / PIXELS });
    }

    /** The average of G as the explorer of ganlib/widgets takes it, its weights rounded to 16 bits. */
    explorable() {
      const { parameters } = this.G, numbers = parameters.flatMap((parameter) => [...this.G.part(parameter, this.average)]);
      const planes = new Uint8Array(2 * numbers.length); // low bytes, then high
      numbers.forEach((number, i) => {
        const bits = half(number);
        planes[i] = bits & 255;
        planes[numbers.length + i] = bits >> 8;
      });
      const directions = stretched(this.G.part(parameters[0], this.average), HIDDEN, LATENT);
      return { about: { layers: LAYERS.G.filter(([kind]) => kind === "linear"), shape: [1, SIDE, SIDE], directions }, planes };
    }

    get finite() {
      return Number.isFinite(this.G.weights[0] + this.average[0] + this.D.weights[0]);
    }
  }

  /* ---------- Files ---------- */

  /** Tensors [{name, shape, values}] and facts, each of which is kept as json, -> the bytes of a safetensors file. */
  function safetensors(tensors, facts) {
    const header = { __metadata__: {} };
    for (const name in facts) header.__metadata__[name] = JSON.stringify(facts[name]);
    let end = 0;
    for (const { name, shape, values } of tensors) {
      header[`layers.${name}`] = { dtype: "F32", shape, data_offsets: [end, end + 4 * values.length] };
      end += 4 * values.length;
    }
    let text = JSON.stringify(header); // of letters that take one byte each
    text += " ".repeat((8 - (text.length % 8)) % 8);
    const bytes = new Uint8Array(8 + text.length + end), view = new DataView(bytes.buffer);
    view.setUint32(0, text.length, true);
    bytes.set(new TextEncoder().encode(text), 8);
    let at = 8 + text.length;
    for (const { values } of tensors) for (const value of values) view.setFloat32((at += 4) - 4, value, true);
    return bytes;
  }

  /** A number -> the bits of the nearest float16. */
  const single = new Float32Array(1), bitsOfSingle = new Uint32Array(single.buffer);
  function half(number) {
    single[0] = number;
    const [bits] = bitsOfSingle, sign = (bits >>> 16) & 0x8000, exponent = ((bits >>> 23) & 255) - 112, fraction = bits & 0x7fffff;
    if (exponent >= 31) return sign | 0x7c00;
    if (exponent <= 0) return sign | Math.round((fraction | 0x800000) / 2 ** (14 - exponent));
    return sign | ((exponent << 10) + Math.round(fraction / 8192));
  }

  /** The two unit vectors that a weight (outputs, inputs) stretches most, by power iteration. */
  function stretched(weight, outputs, inputs) {
    const found = [];
    while (found.length < 2) {
      let vector = randomFrom(found.length).fill(new Float64Array(inputs));
      for (let turn = 0; turn < 300; turn++) {
        for (const other of found) {
          const along = vector.reduce((sum, value, i) => sum + value * other[i], 0);
          vector = vector.map((value, i) => value - along * other[i]);
        }
        const next = new Float64Array(inputs);
        for (let row = 0; row < outputs; row++) {
          let sum = 0;
          for (let i = 0; i < inputs; i++) sum += weight[row * inputs + i] * vector[i];
          for (let i = 0; i < inputs; i++) next[i] += weight[row * inputs + i] * sum;
        }
        const length = Math.hypot(...next);
        vector = next.map((value) => value / length);
      }
      const sign = Math.sign(vector.reduce((sum, value) => sum + value)); // a singular vector has none of its own
      found.push(vector.map((value) => sign * value));
    }
    return found.map((vector) => Array.from(vector, (value) => Number(value.toFixed(5))));
  }

  return { Game, machine, multiply, multiplyPlainly, matrix, turned, room, randomFrom, source: SOURCE };
}
if (typeof module === "object") module.exports = ganTrainerCore;
