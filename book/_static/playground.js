/* A GAN small enough to train in this page: the playground of the book.
 *
 * Part 1, the numbers: random draws, a small network with its backward pass and Adam, the shapes, the game.
 * Part 2, the picture: canvases. Part 3, the page: controls, clock and words.
 * No library and no network. Everything that is drawn at random comes from one seed. */
(() => {
  "use strict";

  /* ---------- 1. The numbers ---------- */

  const BATCH = 128; // real samples, and fakes, in one turn
  const SHOWN = 512; // noise vectors that are kept and drawn again after every turn: they count the modes
  const SLOPE = 0.2; // of leaky ReLU for negative inputs
  const NOISE_SIZE = 4; // numbers in one noise vector
  const HIDDEN = 32; // units in each of the two hidden layers of G and of D
  const BETA1 = 0.5, BETA2 = 0.999, EPSILON = 1e-8;

  const sigmoid = (x) => 1 / (1 + Math.exp(-x));
  const softplus = (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));

  /** Random numbers from a seed (mulberry32): uniform() in 0..1, normal() from the bell curve, below(n) whole. */
  function randomFrom(seed) {
    let state = seed >>> 0;
    const uniform = () => {
      state = (state + 0x6d2b79f5) >>> 0;
      let t = Math.imul(state ^ (state >>> 15), 1 | state);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
    const normal = () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
    return { uniform, normal, below: (n) => Math.floor(uniform() * n) };
  }

  /** Linear layers with leaky ReLU between them. Parameters lie in one array: W (out x in), b (out), layer by layer. */
  class Network {
    constructor(sizes, random) {
      this.sizes = sizes;
      this.starts = [0];
      for (let i = 1; i < sizes.length; i++) this.starts.push(this.starts[i - 1] + sizes[i] * (sizes[i - 1] + 1));
      const total = this.starts[sizes.length - 1];
      for (const name of ["weights", "gradient", "mean", "square"]) this[name] = new Float64Array(total);
      this.steps = 0;
      this.values = []; // of every layer for the last batch
      for (let i = 1; i < sizes.length; i++) {
        const scale = Math.sqrt(2 / sizes[i - 1]);
        const end = this.starts[i - 1] + sizes[i] * sizes[i - 1];
        for (let k = this.starts[i - 1]; k < end; k++) this.weights[k] = random.normal() * scale;
      }
    }

    /** Batch (count x first size) -> batch (count x last size); what each layer gave is kept for backward. */
    forward(input, count) {
      this.values = [input];
      for (let layer = 1; layer < this.sizes.length; layer++) {
        const inputs = this.sizes[layer - 1], outputs = this.sizes[layer], w = this.weights;
        const start = this.starts[layer - 1], bias = start + inputs * outputs;
        const x = this.values[layer - 1], y = new Float64Array(count * outputs);
        const hidden = layer < this.sizes.length - 1;
        for (let n = 0; n < count; n++) {
          for (let o = 0; o < outputs; o++) {
            let sum = w[bias + o];
            for (let i = 0, at = start + o * inputs, from = n * inputs; i < inputs; i++) sum += w[at + i] * x[from + i];
            y[n * outputs + o] = hidden && sum < 0 ? SLOPE * sum : sum;
          }
        }
        this.values.push(y);
      }
      return this.values[this.sizes.length - 1];
    }

    /** Gradient of a loss by the output of the last forward -> its gradient by the input; `gradient` gets that by the weights. */
    backward(outputGradient, count, wantWeights = true) {
      this.gradient.fill(0);
      let dy = outputGradient;
      for (let layer = this.sizes.length - 1; layer > 0; layer--) {
        const inputs = this.sizes[layer - 1], outputs = this.sizes[layer], w = this.weights, g = this.gradient;
        const start = this.starts[layer - 1], bias = start + inputs * outputs;
        const x = this.values[layer - 1], dx = new Float64Array(count * inputs);
        for (let n = 0; n < count; n++) {
          const from = n * inputs;
          for (let o = 0; o < outputs; o++) {
            const d = dy[n * outputs + o], at = start + o * inputs;
            for (let i = 0; i < inputs; i++) dx[from + i] += d * w[at + i];
            if (!wantWeights) continue;
            g[bias + o] += d;
            for (let i = 0; i < inputs; i++) g[at + i] += d * x[from + i];
          }
        }
        if (layer > 1) for (let k = 0; k < dx.length; k++) if (x[k] < 0) dx[k] *= SLOPE;
        dy = dx;
      }
      return dy;
    }

    /** One step of Adam along `gradient`. */
    learn(rate) {
      this.steps += 1;
      const byMean = 1 - BETA1 ** this.steps, bySquare = 1 - BETA2 ** this.steps;
      for (let k = 0; k < this.weights.length; k++) {
        const g = this.gradient[k];
        this.mean[k] += (1 - BETA1) * (g - this.mean[k]);
        this.square[k] += (1 - BETA2) * (g * g - this.square[k]);
        this.weights[k] -= (rate * this.mean[k]) / byMean / (Math.sqrt(this.square[k] / bySquare) + EPSILON);
      }
    }
  }

  /** A shape is a list of modes, a mode a list of points; a sample is a point of some mode plus noise of width `spread`. */
  const onCircle = (x, y, radius, angle) => [x + radius * Math.cos(angle), y + radius * Math.sin(angle)];
  const span = (count, make) => Array.from({ length: count }, (_, k) => make(k));
  const TWO_HILLS = { size: 1, modes: [[[-1]], [[1.5]]], share: [0.6, 0.4], spread: 0.4, near: 0.8 }; // of page 1
  const SHAPES = {
    hills: (count) => (count === 2 ? TWO_HILLS : {
      size: 1, spread: 1 / Math.max(count, 2.5), near: 2 / Math.max(count, 2.5),
      modes: span(count, (k) => [[count === 1 ? 0 : (4.4 * k) / (count - 1) - 2.2]]),
    }),
    ring: (count) => ({ size: 2, modes: span(count, (k) => [onCircle(0, 0, 2, (2 * Math.PI * k) / count)]), spread: 0.2, near: 0.45 }),
    grid: () => ({ size: 2, modes: span(25, (k) => [[(k % 5) - 2, Math.floor(k / 5) - 2]]), spread: 0.08, near: 0.24 }),
    moons: () => ({
      size: 2, spread: 0.1, near: 0.3,
      modes: [1, -1].map((side) => span(60, (k) => onCircle(-0.75 * side, -0.35 * side, 1.5, (side * Math.PI * k) / 59))),
    }),
  };

  const MODES = { ring: [1, 12, 8], hills: [1, 5, 2] }; // fewest, most, and how many to begin with; other shapes are fixed

  /** The game: one shape, two networks, and a turn for each of them. */
  class Game {
    constructor({ shape, modes, seed }) {
      this.shape = SHAPES[shape](modes);
      this.random = randomFrom(seed);
      this.G = new Network([NOISE_SIZE, HIDDEN, HIDDEN, this.shape.size], this.random);
      this.D = new Network([this.shape.size, HIDDEN, HIDDEN, 1], this.random);
      this.keptNoise = this.noise(SHOWN);
      this.steps = 0;
    }

    noise(count) {
      return Float64Array.from({ length: count * NOISE_SIZE }, this.random.normal);
    }

    real(count) {
      const { size, modes, share, spread } = this.shape, x = new Float64Array(count * size);
      for (let n = 0; n < count; n++) {
        const mode = share ? modes[this.random.uniform() < share[0] ? 0 : 1] : modes[this.random.below(modes.length)];
        const point = mode[this.random.below(mode.length)];
        for (let i = 0; i < size; i++) x[n * size + i] = point[i] + spread * this.random.normal();
      }
      return x;
    }

    /** D's turn: one step down the gradient of -log D(x) - log(1 - D(G(z))). Returns that loss. */
    turnD(rate) {
      const half = BATCH * this.shape.size, both = new Float64Array(2 * half);
      both.set(this.real(BATCH));
      both.set(this.G.forward(this.noise(BATCH), BATCH), half);
      const logits = this.D.forward(both, 2 * BATCH), slope = new Float64Array(2 * BATCH);
      let loss = 0;
      for (let n = 0; n < 2 * BATCH; n++) {
        const real = n < BATCH;
        loss += softplus(real ? -logits[n] : logits[n]) / BATCH;
        slope[n] = (sigmoid(logits[n]) - (real ? 1 : 0)) / BATCH;
      }
      this.D.backward(slope, 2 * BATCH);
      this.D.learn(rate);
      return loss;
    }

    /** G's turn: one step down the gradient of -log D(G(z)), which reaches G through D; D stays as it is. */
    turnG(rate) {
      const fake = this.G.forward(this.noise(BATCH), BATCH);
      const { loss, gradient } = this.doubt(fake, BATCH);
      this.G.backward(gradient, BATCH);
      this.G.learn(rate);
      return loss;
    }

    /** Fakes -> G's loss on them, and its gradient by each of their coordinates: the way to less of it is minus that. */
    doubt(fake, count) {
      const logits = this.D.forward(fake, count), slope = new Float64Array(count);
      let loss = 0;
      for (let n = 0; n < count; n++) {
        loss += softplus(-logits[n]) / count;
        slope[n] = (sigmoid(logits[n]) - 1) / count;
      }
      return { loss, logits, gradient: this.D.backward(slope, count, false) };
    }

    /** How many of the kept fakes lie near each mode; a mode is reached when a quarter of its fair share does. */
    census(fakes = this.G.forward(this.keptNoise, SHOWN)) {
      const { size, modes, near } = this.shape;
      const away = (n, point) => Math.hypot(...point.map((value, i) => fakes[n * size + i] - value));
      const counts = modes.map((mode) => {
        let count = 0;
        for (let n = 0; n < SHOWN; n++) if (mode.some((point) => away(n, point) <= near)) count += 1;
        return count;
      });
      const needed = Math.floor(SHOWN / modes.length / 4);
      return { counts, needed, near, modes: modes.length, reached: counts.filter((count) => count >= needed).length };
    }
  }

  /* ---------- 2. The picture ---------- */

  const REACH = 3.2; // the picture shows -REACH..REACH
  const CELLS = 44; // of the heat map, along each side
  const ARROWS = 48;
  const INK = {
    light: { real: [0, 95, 148], fake: [190, 74, 0], ink: "#24292f", soft: "#7d8590", paper: "#ffffff" },
    dark: { real: [108, 193, 242], fake: [255, 154, 82], ink: "#e6e9ed", soft: "#8b96a2", paper: "#14181d" },
  };
  const ink = () => INK[document.documentElement.dataset.theme === "dark" ? "dark" : "light"];
  const css = (colour, alpha = 1) => `rgba(${colour.join(",")},${alpha})`;

  /** A canvas -> its context, cleared, in which one unit is one CSS pixel. */
  function clear(canvas) {
    const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth || 300, height = canvas.clientHeight || 150;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.fillStyle = ink().paper;
    pen.fillRect(0, 0, width, height);
    return { pen, width, height };
  }

  function line(pen, points, colour, { width = 2, dash = [] } = {}) {
    pen.strokeStyle = colour;
    pen.lineWidth = width;
    pen.setLineDash(dash);
    pen.beginPath();
    points.forEach(([x, y], k) => (k ? pen.lineTo(x, y) : pen.moveTo(x, y)));
    pen.stroke();
    pen.setLineDash([]);
  }

  /** An arrow whose length grows with the gradient but stays on the page. */
  function arrow(pen, x, y, dx, dy) {
    const size = Math.hypot(dx, dy);
    if (size < 1e-9) return;
    const length = 6 + 26 * Math.min(1, size), ux = dx / size, uy = dy / size;
    const tipX = x + ux * length, tipY = y + uy * length;
    line(pen, [[x, y], [tipX, tipY]], ink().ink, { width: 1.3 });
    const wing = (side) => [tipX - 5 * ux + side * 3 * uy, tipY - 5 * uy - side * 3 * ux];
    line(pen, [wing(1), [tipX, tipY], wing(-1)], ink().ink, { width: 1.3 });
  }

  /** D's opinion on a grid of points, as an image of CELLS x rows: blue for real, orange for fake, bare where D is unsure. */
  function heat(game) {
    const rows = game.shape.size === 1 ? 1 : CELLS, points = new Float64Array(CELLS * rows * game.shape.size);
    const at = (k) => REACH * ((2 * (k + 0.5)) / CELLS - 1);
    for (let k = 0; k < CELLS * rows; k++) {
      points[k * game.shape.size] = at(k % CELLS);
      if (rows > 1) points[k * 2 + 1] = -at(Math.floor(k / CELLS));
    }
    const logits = game.D.forward(points, CELLS * rows), image = new ImageData(CELLS, rows);
    logits.forEach((logit, k) => {
      const real = sigmoid(logit);
      image.data.set([...(real > 0.5 ? ink().real : ink().fake), Math.round(165 * Math.abs(2 * real - 1))], 4 * k);
    });
    const small = Object.assign(document.createElement("canvas"), { width: CELLS, height: rows });
    small.getContext("2d").putImageData(image, 0, 0);
    return { small, logits };
  }

  function drawField(canvas, game, real, showArrows) {
    const { pen, width, height } = clear(canvas), { small, logits } = heat(game);
    pen.drawImage(small, 0, 0, width, height);
    const fakes = game.G.forward(game.keptNoise, SHOWN), { gradient } = game.doubt(fakes, SHOWN);
    const across = (x) => ((x / REACH + 1) / 2) * width;
    (game.shape.size === 1 ? drawLine : drawPlane)({ pen, width, height, across, game, real, fakes, logits });
    if (!showArrows) return;
    for (let n = 0; n < ARROWS; n++) {
      if (game.shape.size === 1) arrow(pen, across(fakes[n]), height * (0.8 + 0.16 * ((n % 8) / 8)), -SHOWN * gradient[n], 0);
      else {
        const y = ((1 - fakes[2 * n + 1] / REACH) / 2) * height;
        arrow(pen, across(fakes[2 * n]), y, -SHOWN * gradient[2 * n], SHOWN * gradient[2 * n + 1]);
      }
    }
  }

  function drawPlane({ pen, height, across, game, real, fakes }) {
    const down = (y) => ((1 - y / REACH) / 2) * height, { counts, needed } = game.census(fakes);
    pen.fillStyle = css(ink().real);
    for (let n = 0; n < real.length; n += 2) {
      pen.beginPath();
      pen.arc(across(real[n]), down(real[n + 1]), 1.9, 0, 7);
      pen.fill();
    }
    for (let n = 0; n < SHOWN; n += 2) {
      const x = across(fakes[2 * n]), y = down(fakes[2 * n + 1]);
      for (const [colour, width] of [[ink().paper, 3.5], [css(ink().fake), 1.5]]) { // a margin: it also lies on orange
        line(pen, [[x - 3, y - 3], [x + 3, y + 3]], colour, { width });
        line(pen, [[x - 3, y + 3], [x + 3, y - 3]], colour, { width });
      }
    }
    game.shape.modes.forEach((mode, k) => {
      if (mode.length > 1) return;
      const reached = counts[k] >= needed;
      pen.strokeStyle = ink().ink;
      pen.lineWidth = reached ? 2.5 : 1;
      pen.setLineDash(reached ? [] : [3, 4]);
      pen.beginPath();
      pen.arc(across(mode[0][0]), down(mode[0][1]), across(game.shape.near) - across(0), 0, 7);
      pen.stroke();
      pen.setLineDash([]);
    });
  }

  /** In one dimension: how often real and fake numbers fall into each bin, and D's probability of real as a curve. */
  function drawLine({ pen, width, height, across, real, fakes, logits }) {
    const bins = 40, floor = height * 0.74, rise = height * 0.62;
    const bars = (values) => {
      const counts = new Array(bins).fill(0);
      values.forEach((x) => {
        const bin = Math.floor(((x / REACH + 1) / 2) * bins);
        if (bin >= 0 && bin < bins) counts[bin] += 1 / values.length;
      });
      return counts.flatMap((share, k) => [k, k + 1].map((edge) => [(edge / bins) * width, floor - Math.min(1, share * 6) * rise]));
    };
    const shown = bars(fakes);
    pen.fillStyle = css(ink().fake, 0.35);
    pen.beginPath();
    [[0, floor], ...shown, [width, floor]].forEach(([x, y]) => pen.lineTo(x, y));
    pen.fill();
    line(pen, shown, css(ink().fake), { dash: [5, 3] });
    line(pen, bars(real), css(ink().real));
    line(pen, [[0, floor], [width, floor]], ink().soft, { width: 1 });
    line(pen, [...logits].map((logit, k) => [((k + 0.5) / CELLS) * width, floor - sigmoid(logit) * rise]), ink().ink, { width: 2.5, dash: [1, 3] });
    for (let n = 0; n < ARROWS; n++) {
      pen.fillStyle = css(ink().fake);
      pen.fillRect(across(fakes[n]) - 2, height * (0.8 + 0.16 * ((n % 8) / 8)) - 2, 4, 4);
    }
  }

  /** Both losses of the last steps, drawn from 0 to 4; the thin line is log 4, D's loss when it can only guess. */
  function drawLosses(canvas, history) {
    const { pen, width, height } = clear(canvas), top = 4, shown = history.slice(-600);
    const place = (value, k) => [(k / Math.max(shown.length - 1, 60)) * width, height - 4 - (Math.min(value, top) / top) * (height - 8)];
    line(pen, [[0, place(Math.log(4), 0)[1]], [width, place(Math.log(4), 0)[1]]], ink().soft, { width: 1 });
    line(pen, shown.map(({ d }, k) => place(d, k)), css(ink().real));
    line(pen, shown.map(({ g }, k) => place(g, k)), css(ink().fake), { dash: [6, 3] });
  }

  /* ---------- 3. The page ---------- */

  const PRESETS = {
    healthy: { shape: "ring", modes: 8, rateD: -2.3, rateG: -2.5, seed: 1 },
    collapse: { shape: "ring", modes: 8, rateD: -3.3, rateG: -2, seed: 1 },
    "one dimension": { shape: "hills", modes: 2, rateD: -2.3, rateG: -2.5, seed: 1 },
  };
  const SPEEDS = [
    { words: "slow motion, one turn a second", turns: 1 },
    { words: "5 steps a second", turns: 10 },
    { words: "20 steps a second", turns: 40 },
    { words: "as fast as it goes", turns: Infinity },
  ];
  const USUAL_SPEED = 2; // place in SPEEDS
  const BUDGET = 22; // milliseconds of training between two pictures
  const NUMBERS_EVERY = 100; // milliseconds from one refresh of the numbers to the next
  const SPEAK_EVERY = 5000; // milliseconds from one sentence for screen readers to the next
  let mounted = 0;

  const template = (id) => `
    <div class="gp-bar" role="group" aria-label="Presets">
      ${Object.keys(PRESETS).map((name) => `<button type="button" data-preset="${name}" aria-pressed="false">${name[0].toUpperCase() + name.slice(1)}</button>`).join("")}
    </div>
    <div class="gp-stage">
      <div class="gp-picture">
        <canvas class="gp-field" role="img" aria-label="Samples and D's opinion"></canvas>
        <p class="gp-now"><span>step <b data-now="steps"></b></span> <span>modes <b data-now="modes"></b></span> <span class="gp-real">Loss_D <b data-now="lossD"></b></span> <span class="gp-fake">Loss_G <b data-now="lossG"></b></span></p>
      </div>
      <div class="gp-controls">
        <div class="gp-bar" role="group" aria-label="Training">
          <button type="button" class="gp-main" data-do="toggle">Start</button>
          <button type="button" data-do="step">One step</button>
          <button type="button" data-do="turnD">D's turn</button>
          <button type="button" data-do="turnG">G's turn</button>
          <button type="button" data-do="reset">Start over</button>
        </div>
        <p class="gp-note"></p>
        <p class="gp-status" role="status" aria-live="polite"></p>
        <label>Learning rate of D <span class="gp-value" data-for="rateD"></span><input type="range" data-set="rateD" min="-4" max="-1.5" step="0.1"></label>
        <label>Learning rate of G <span class="gp-value" data-for="rateG"></span><input type="range" data-set="rateG" min="-4" max="-1.5" step="0.1"></label>
        <label>Speed <span class="gp-value" data-for="speed"></span><input type="range" data-set="speed" min="0" max="${SPEEDS.length - 1}" step="1" value="${USUAL_SPEED}"></label>
        <fieldset><legend>Who learns while it runs</legend>
          ${[["both", "both in turn"], ["D", "only D"], ["G", "only G"]].map(([value, words]) => `<label><input type="radio" name="${id}-who" value="${value}"${value === "both" ? " checked" : ""}> ${words}</label>`).join("")}
        </fieldset>
        <label>Shape of the real data <select data-set="shape"><option value="ring">a ring</option><option value="grid">a grid of 25</option><option value="moons">two moons</option><option value="hills">hills, one dimension</option></select></label>
        <label>Number of modes <span class="gp-value" data-for="modes"></span><input type="range" data-set="modes" min="1" max="12" step="1"></label>
        <div class="gp-last">
          <label class="gp-check">Seed <input type="number" data-set="seed" min="0" max="999999" step="1"></label>
          <label class="gp-check"><input type="checkbox" data-set="arrows" checked> show arrows</label>
        </div>
      </div>
      <div class="gp-below">
        <p class="gp-key"><span class="gp-real">● real</span> <span class="gp-fake">× fake, from G</span> <span>→ where D's gradient would move a fake</span> <span class="gp-line-key">┄ D's probability of real</span></p>
        <canvas class="gp-losses" role="img" aria-label="Losses"></canvas>
        <p class="gp-key"><span class="gp-real">━ Loss_D</span> <span class="gp-fake">╍ Loss_G</span> <span>from 0 to 4; thin line: log 4 ≈ 1.39; last 600 steps</span></p>
      </div>
    </div>`;

  /** Fill `root` with a playground; what comes back is its handle for tests and for the console. */
  function mount(root) {
    root.innerHTML = template(`gp${mounted++}`);
    const find = (selector) => root.querySelector(selector), input = (name) => find(`[data-set="${name}"]`);
    const settings = { speed: USUAL_SPEED, arrows: true };
    const calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    let game, real, history, running = false, inSight = true, next = "D", losses = {};
    let lastTime = 0, lastNumbers = 0, lastWords = 0, lastDrawn = 0, owed = 0, frame = null;

    const who = () => find("input[type=radio]:checked").value;
    const number = (value, unknown = "not yet known") => (value === undefined ? unknown : value.toFixed(2));

    function reset() {
      game = new Game(settings);
      real = new Game({ ...settings, seed: settings.seed + 1 }).real(300);
      history = [];
      losses = {};
      next = "D";
      show(true);
    }

    function turn(player) {
      losses[player] = player === "D" ? game.turnD(10 ** settings.rateD) : game.turnG(10 ** settings.rateG);
      next = player === "D" ? "G" : "D";
    }

    /** What is due while it runs: a turn of whoever's turn it is; a step ends when the last of those who learn had theirs. */
    function advance() {
      const player = who() === "both" ? next : who();
      turn(player);
      if (player === "G" || who() === "D") endStep();
    }

    function endStep() {
      game.steps += 1;
      history.push({ d: losses.D ?? NaN, g: losses.G ?? NaN });
      if (history.length > 1200) history.splice(0, 600);
    }

    function step() {
      do advance(); while (who() === "both" && next === "G");
    }

    function state() {
      const { counts, reached, needed, near, modes } = game.census();
      return { ...settings, steps: game.steps, running, next, lossD: losses.D, lossG: losses.G, counts, reached, needed, near, of: modes };
    }

    /** What a screen reader says. */
    function words() {
      const { steps, reached, of, needed, near, lossD, lossG } = state();
      return `${running ? "Running" : "Paused"} at step ${steps}. G reaches ${reached} of ${of} modes (at least ${needed} of ${SHOWN} fakes within ${near} of it). Loss_D ${number(lossD)}, Loss_G ${number(lossG)}.`;
    }

    function showNumbers() {
      const { steps, reached, of, needed, near, lossD, lossG } = state();
      const now = { steps, modes: `${reached} of ${of}`, lossD: number(lossD, "–"), lossG: number(lossG, "–") };
      for (const name in now) find(`[data-now=${name}]`).textContent = now[name];
      const turns = `Next: ${next === "D" ? "D learns to tell real from fake" : "G follows the arrows"}.`;
      const rule = `A mode counts as reached when at least ${needed} of ${SHOWN} fakes lie within ${near} of it.`;
      find(".gp-note").textContent = running && settings.speed === 0 ? turns : rule;
    }

    function show(speak) {
      root.dataset.size = game.shape.size;
      root.classList.toggle("gp-new", !history.length);
      drawField(find(".gp-field"), game, real, settings.arrows);
      drawLosses(find(".gp-losses"), history);
      find("[data-do=toggle]").textContent = running ? "Pause" : "Start";
      for (const name of ["rateD", "rateG"]) find(`[data-for=${name}]`).textContent = (10 ** settings[name]).toPrecision(2);
      find("[data-for=speed]").textContent = SPEEDS[settings.speed].words;
      find("[data-for=modes]").textContent = game.shape.modes.length;
      for (const name of ["rateD", "rateG", "speed"]) input(name).setAttribute("aria-valuetext", find(`[data-for=${name}]`).textContent);
      const [fewest, most] = MODES[settings.shape] ?? [settings.modes, settings.modes];
      Object.assign(input("modes"), { min: fewest, max: most, value: settings.modes, disabled: fewest === most });
      if (!speak) return;
      showNumbers();
      find(".gp-status").textContent = words();
      find(".gp-field").setAttribute("aria-label", `Real samples, G's samples and D's opinion. ${words()}`);
      find(".gp-losses").setAttribute("aria-label", `Losses over the last steps. Loss_D ${number(losses.D)}, Loss_G ${number(losses.G)}.`);
      root.querySelectorAll("[data-preset]").forEach((button) => {
        const preset = PRESETS[button.dataset.preset];
        button.setAttribute("aria-pressed", String(Object.keys(preset).every((key) => preset[key] === settings[key])));
      });
    }

    function preset(name) {
      Object.assign(settings, PRESETS[name]);
      for (const key of Object.keys(PRESETS[name])) input(key).value = settings[key];
      find("input[value=both]").checked = true;
      reset();
    }

    function tick(time) {
      frame = null;
      if (!running || !inSight) return;
      const { turns } = SPEEDS[settings.speed], started = performance.now();
      owed = turns === Infinity ? Infinity : Math.min(owed + (turns * (time - lastTime)) / 1000, turns);
      lastTime = time;
      const all = owed;
      for (; owed >= 1 && performance.now() - started < BUDGET; owed -= 1) advance();
      const speak = time - lastWords > (settings.speed === 0 ? 900 : SPEAK_EVERY);
      if (speak) lastWords = time;
      if (time - lastNumbers > NUMBERS_EVERY) {
        lastNumbers = time;
        showNumbers();
      }
      if (all >= 1 && (!calm || time - lastDrawn > 1000)) {
        lastDrawn = time;
        show(speak);
      }
      frame = requestAnimationFrame(tick);
    }

    /** Go on while it runs and is in sight. */
    function goOn() {
      owed = 0;
      lastTime = lastWords = performance.now();
      frame ??= requestAnimationFrame(tick);
    }

    const actions = {
      toggle() {
        running = !running;
        goOn();
      },
      step,
      turnD: () => turn("D"),
      turnG: () => { turn("G"); endStep(); },
      reset,
    };
    root.addEventListener("click", ({ target }) => {
      if (target.dataset.preset) preset(target.dataset.preset);
      if (target.dataset.do) actions[target.dataset.do]();
      if (target.matches("button")) show(true);
    });
    root.addEventListener("input", ({ target }) => {
      const name = target.dataset.set;
      if (!name) return;
      settings[name] = name === "shape" ? target.value : target.type === "checkbox" ? target.checked : Number(target.value);
      if (name === "shape") settings.modes = (MODES[settings.shape] ?? [])[2] ?? settings.modes;
      if (["shape", "modes", "seed"].includes(name)) reset();
      else show(!running);
    });
    new IntersectionObserver(([entry]) => {
      inSight = entry.isIntersecting;
      goOn();
    }).observe(root);
    new ResizeObserver(() => show(false)).observe(find(".gp-field"));
    new MutationObserver(() => show(false)).observe(document.documentElement, { attributeFilter: ["data-theme"] });
    preset(root.dataset.start || "healthy");
    return {
      preset, state,
      run(steps) {
        for (let k = 0; k < steps; k++) step();
        show(true);
        return state();
      },
      get game() { return game; },
    };
  }

  if (typeof document === "object") {
    const start = () => document.querySelectorAll(".gan-playground").forEach((root) => {
      window.ganPlayground = mount(root);
    });
    if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
    else start();
  }
  if (typeof module === "object") module.exports = { Game, Network, randomFrom, SHAPES };
})();
