// A trained generator in plain JavaScript: noise in, the bytes of an image out.

// Float16 bytes, all low ones and then all high ones -> [{weight, bias}], in the order in which PyTorch has them
function readNetwork(bytes, sizes, kernel) {
  const half = bytes.length / 2, numbers = new Float32Array(half);
  for (let i = 0; i < half; i++) {
    const bits = bytes[i] | (bytes[half + i] << 8), exponent = (bits >> 10) & 31, fraction = (bits & 1023) / 1024;
    const size = exponent ? 2 ** (exponent - 15) * (1 + fraction) : 2 ** -14 * fraction;
    numbers[i] = bits & 0x8000 ? -size : size;
  }
  let at = 0;
  const take = (count) => numbers.subarray(at, (at += count));
  return sizes.slice(1).map((out, layer) => ({ weight: take(out * sizes[layer] * kernel), bias: take(out) }));
}

// Network of linear layers with ReLU between them, and noise -> the bytes of its image; tanh's -1..1 becomes 0..255
function forward(network, z) {
  let values = z;
  network.forEach(({ weight, bias }, layer) => {
    const width = values.length, next = new Float32Array(bias.length), hidden = layer < network.length - 1;
    for (let row = 0; row < next.length; row++) {
      let sum = bias[row];
      for (let i = 0, at = row * width; i < width; i++, at++) sum += weight[at] * values[i];
      next[row] = hidden ? Math.max(sum, 0) : sum;
    }
    values = next;
  });
  return toBytes(values);
}

// The same for a DCGAN: 1x1 to 4x4, then every layer doubles the side. BatchNorm is already in the weights.
function forwardConvolutions(network, z) {
  let values = spread(network[0], z), side = 4;
  for (const layer of network.slice(1)) {
    for (let i = 0; i < values.length; i++) if (values[i] < 0) values[i] = 0;
    values = double(layer, values, side);
    side *= 2;
  }
  return toBytes(values);
}

const toBytes = (values) => Uint8ClampedArray.from(values, (value) => Math.round((Math.tanh(value) + 1) * 127.5));

// Transposed convolution of one pixel, kernel 4: noise -> (channels, 4, 4)
function spread({ weight, bias }, z) {
  const next = Float64Array.from({ length: bias.length * 16 }, (_, at) => bias[at >> 4]);
  for (let i = 0; i < z.length; i++) {
    for (let at = 0, from = i * next.length; at < next.length; at++) next[at] += z[i] * weight[from + at];
  }
  return next;
}

// Transposed convolution, kernel 4, stride 2, margin 1: (inputs, side, side) -> (outputs, 2 side, 2 side).
// An output pixel hears 2x2 input pixels; which weights it hears them by depends on whether its row and its column are
// odd. So there are four ordinary convolutions with 2x2 weights each, and two input channels are added at a time.
function double({ weight, bias }, values, side) {
  const outputs = bias.length, inputs = weight.length / outputs / 16, wide = side + 2, plane = wide * wide, big = 2 * side;
  const source = withMargin(values, inputs, side), sums = new Float64Array(side * side), next = new Float64Array(outputs * big * big);
  for (let out = 0; out < outputs; out++) {
    for (let odd = 0; odd < 4; odd++) {
      const down = odd >> 1, right = odd & 1, first = 4 * (3 - down) + 3 - right; // upper left one of the 2x2 weights
      sums.fill(bias[out]);
      for (let one = 0; one < inputs; one += 2) {
        const w = (one * outputs + out) * 16 + first, v = w + outputs * 16, last = one + 1 === inputs;
        const a = weight[w], b = weight[w - 2], c = weight[w - 8], d = weight[w - 10];
        const e = last ? 0 : weight[v], f = last ? 0 : weight[v - 2], g = last ? 0 : weight[v - 8], h = last ? 0 : weight[v - 10];
        for (let y = 0, at = 0; y < side; y++) {
          let up = one * plane + (y + down) * wide + right, low = up + wide;
          let p = source[up], q = source[low], r = source[up + plane], s = source[low + plane];
          for (let x = 0; x < side; x++, at++) {
            const p2 = source[++up], q2 = source[++low], r2 = source[up + plane], s2 = source[low + plane];
            sums[at] += a * p + b * p2 + c * q + d * q2 + (e * r + f * r2 + g * s + h * s2);
            p = p2, q = q2, r = r2, s = s2;
          }
        }
      }
      for (let y = 0, at = 0; y < side; y++) {
        for (let x = 0; x < side; x++, at++) next[(out * big + 2 * y + down) * big + 2 * x + right] = sums[at];
      }
    }
  }
  return next;
}

// (channels, side, side) -> (channels + 1, side + 2, side + 2) with a margin of zeros, and a last channel of zeros
function withMargin(values, channels, side) {
  const wide = side + 2, framed = new Float64Array((channels + 1) * wide * wide);
  for (let row = 0; row < channels * side; row++) {
    const channel = Math.floor(row / side), y = row - channel * side;
    framed.set(values.subarray(row * side, (row + 1) * side), (channel * wide + y + 1) * wide + 1);
  }
  return framed;
}
