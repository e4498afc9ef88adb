// A trained generator in plain JavaScript: noise in, the bytes of an image out.

const TAPS = { linear: 1, double: 16, same: 9 }; // weights from one input to one output

// Float16 bytes, all low ones and then all high ones -> [{kind, weight, bias}] of the layers [kind, inputs, outputs]
function readNetwork(bytes, layers) {
  const count = bytes.length / 2;
  const numbers = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    const bits = bytes[i] | (bytes[count + i] << 8);
    const exponent = (bits >> 10) & 31;
    const fraction = (bits & 1023) / 1024;
    const size = exponent ? 2 ** (exponent - 15) * (1 + fraction) : 2 ** -14 * fraction;
    numbers[i] = bits & 0x8000 ? -size : size;
  }
  let taken = 0;
  const take = (length) => numbers.subarray(taken, (taken += length));
  return layers.map(([kind, inputs, outputs]) => {
    const weight = take(outputs * inputs * TAPS[kind]); // (outputs, inputs, taps)
    return { kind, weight, bias: take(outputs) };
  });
}

// Network and noise -> the bytes of its image; tanh's -1..1 becomes 0..255. ReLU stands between the layers, and
// BatchNorm is already in the weights.
function forward(network, z) {
  let values = z;
  network.forEach(({ kind, weight, bias }, layer) => {
    if (layer > 0) for (let i = 0; i < values.length; i++) if (values[i] < 0) values[i] = 0;
    const inputs = weight.length / bias.length / TAPS[kind];
    const side = Math.sqrt(values.length / inputs);
    if (kind === "linear") values = linear(weight, bias, values);
    if (kind === "same") values = sameConvolution(weight, bias, values, side);
    if (kind === "double") values = doublingConvolution(weight, bias, values, side);
  });
  return Uint8ClampedArray.from(values, (value) => Math.round((Math.tanh(value) + 1) * 127.5));
}

function linear(weight, bias, values) {
  const inputs = values.length;
  const result = Float64Array.from(bias);
  for (let output = 0; output < result.length; output++) {
    for (let input = 0; input < inputs; input++) result[output] += weight[output * inputs + input] * values[input];
  }
  return result;
}

// Transposed convolution, kernel 4, stride 2, padding 1: (inputs, side, side) -> (outputs, 2 side, 2 side).
// A pixel of the output is a sum over 2x2 pixels of the input. Which of the 16 weights they have depends on whether its
// row and its column are odd, so this is four ordinary convolutions with 2x2 weights.
function doublingConvolution(weight, bias, values, side) {
  const outputs = bias.length;
  const inputs = weight.length / outputs / 16;
  const paddedSide = side + 2;
  const padded = pad(values, inputs, side);
  const sums = new Float64Array(side * side);
  const result = new Float64Array(outputs * 4 * side * side);
  for (let output = 0; output < outputs; output++) {
    for (const [oddRow, oddColumn] of [[0, 0], [0, 1], [1, 0], [1, 1]]) {
      sums.fill(bias[output]);
      for (let input = 0; input < inputs; input++) {
        const kernel = (output * inputs + input) * 16 + 4 * (3 - oddRow) + 3 - oddColumn;
        const upperLeft = weight[kernel], upperRight = weight[kernel - 2];
        const lowerLeft = weight[kernel - 8], lowerRight = weight[kernel - 10];
        for (let row = 0; row < side; row++) {
          let upper = (input * paddedSide + row + oddRow) * paddedSide + oddColumn;
          let lower = upper + paddedSide;
          for (let i = row * side; i < (row + 1) * side; i++, upper++, lower++) {
            sums[i] += upperLeft * padded[upper] + upperRight * padded[upper + 1]
              + lowerLeft * padded[lower] + lowerRight * padded[lower + 1];
          }
        }
      }
      for (let i = 0; i < sums.length; i++) {
        const row = 2 * Math.floor(i / side) + oddRow, column = 2 * (i % side) + oddColumn;
        result[(output * 2 * side + row) * 2 * side + column] = sums[i];
      }
    }
  }
  return result;
}

// Convolution, kernel 3, padding 1: (inputs, side, side) -> (outputs, side, side)
function sameConvolution(weight, bias, values, side) {
  const outputs = bias.length;
  const inputs = weight.length / outputs / 9;
  const paddedSide = side + 2;
  const padded = pad(values, inputs, side);
  const result = Float64Array.from({ length: outputs * side * side }, (_, i) => bias[Math.floor(i / side / side)]);
  for (let plane = 0; plane < outputs * inputs; plane++) {
    const output = Math.floor(plane / inputs), input = plane % inputs;
    for (let tap = 0; tap < 9; tap++) {
      const down = Math.floor(tap / 3), right = tap % 3;
      for (let row = 0; row < side; row++) {
        const from = (input * paddedSide + row + down) * paddedSide + right;
        const to = (output * side + row) * side;
        for (let column = 0; column < side; column++) {
          result[to + column] += weight[plane * 9 + tap] * padded[from + column];
        }
      }
    }
  }
  return result;
}

// (channels, side, side) -> (channels, side + 2, side + 2) with a margin of zeros
function pad(values, channels, side) {
  const paddedSide = side + 2;
  const padded = new Float64Array(channels * paddedSide * paddedSide);
  for (let row = 0; row < channels * side; row++) {
    const channel = Math.floor(row / side);
    const paddedRow = channel * paddedSide + (row % side) + 1;
    padded.set(values.subarray(row * side, (row + 1) * side), paddedRow * paddedSide + 1);
  }
  return padded;
}

// A source of normal numbers that starts the same way on every visit (mulberry32, then Box and Muller).
function normalNumbers(seed) {
  const uniform = () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
}
