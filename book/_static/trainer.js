/* The digits GAN that trains in a page of the book: controls, pictures and curves. The numbers come from a worker, whose
 * text is trainer_core.js and `serve` below; core and digits are fetched when the reader presses Start, by script tags,
 * so that it also works from a folder. No library; nothing is asked of another server.
 * A place of the class gt-compact shows no more than a button until that is pressed. */
(() => {
  "use strict";

  const here = document.currentScript?.src ?? location.href;

  /* ---------- In the worker ---------- */

  /** Trains between messages; `core` is what ganTrainerCore gives. */
  function serve(core) {
    const SLICE = 100; // milliseconds of training before messages are looked at
    const REPORT_EVERY = 190, PICTURE_EVERY = 390; // showing costs the page time, too
    let game, who = "both", running = false, said, steps, busy, reported = 0, pictured = 0;
    const next = new MessageChannel();

    function forget() {
      said = {};
      steps = busy = 0;
    }

    /** Tell the page where training stands: means over the steps since the last time, and sometimes a picture. */
    function report(withPicture) {
      const means = {};
      for (const name in said) means[name] = said[name].sum / said[name].count;
      const message = { kind: "report", step: game.steps, means, steps, busy, finite: game.finite };
      if (withPicture) message.picture = game.picture();
      forget();
      postMessage(message, withPicture ? [message.picture.buffer] : []);
    }

    next.port1.onmessage = () => {
      if (!running) return;
      const started = performance.now();
      do {
        const numbers = game.step(who);
        for (const name in numbers) {
          said[name] ??= { sum: 0, count: 0 };
          said[name].sum += numbers[name];
          said[name].count += 1;
        }
        steps += 1;
      } while (performance.now() - started < SLICE);
      busy += performance.now() - started;
      const now = performance.now();
      if (!game.finite) running = false;
      if (now - reported > REPORT_EVERY || !running) {
        const due = now - pictured > PICTURE_EVERY || !running;
        reported = now;
        if (due) pictured = now;
        report(due);
      }
      next.port2.postMessage(null);
    };

    const actions = {
      begin({ settings, pixels }) {
        game = new core.Game(settings, pixels);
        forget();
        postMessage({ kind: "ready", machine: core.machine.name });
        report(true);
      },
      restart({ settings }) {
        Object.assign(game.settings, settings);
        game.restart();
        forget();
        report(true);
      },
      set({ settings, learns }) {
        Object.assign(game.settings, settings);
        who = learns;
      },
      run() {
        if (!running) next.port2.postMessage(null);
        running = true;
      },
      pause() {
        if (running) report(true);
        running = false;
      },
      file() {
        const bytes = game.file();
        postMessage({ kind: "file", bytes }, [bytes.buffer]);
      },
      explore() {
        postMessage({ kind: "explore", ...game.explorable() });
      },
    };
    onmessage = ({ data }) => actions[data.act](data);
  }

  /* ---------- In the page ---------- */

  const HEALTHY = { rateD: 1e-3, rateG: 1e-3, beta1: 0.5, realLabel: 0.9, r1: 0 };
  const PRESETS = {
    healthy: {
      name: "Healthy", settings: HEALTHY,
      words: "Both learn at the same rate, and Adam forgets soon. First grey blots, then strokes, then digits.",
    },
    memory: {
      name: "Long memory", settings: { ...HEALTHY, beta1: 0.9, realLabel: 1 },
      words: "Adam's usual beta1 of 0.9 with this learning rate: all noise ends in the same speckles, and Loss_G climbs to 5 and more.",
    },
    still: {
      name: "G stands still", settings: { ...HEALTHY, rateG: 0 },
      words: "G's learning rate is 0. D alone learns, soon errs no more, and the pictures stay noise.",
    },
    slow: {
      name: "D too slow", settings: { ...HEALTHY, rateD: 1e-5 },
      words: "D learns a hundred times more slowly than G. G's loss is low, and all noise ends in one pattern that D has not yet learned to refuse.",
    },
  };
  const NEVER = -5.1; // place of a rate's slider that means 0
  const rate = (label) => ({ label, min: NEVER, max: -2, step: 0.1, read: (place) => (place <= NEVER ? 0 : Number((10 ** place).toPrecision(2))), place: (value) => (value ? Math.log10(value) : NEVER), say: (value) => (value ? value.toPrecision(2) : "0") });
  const plain = (label, min, max, step) => ({ label, min, max, step, read: Number, place: Number, say: (value) => value.toFixed(2) });
  const KNOBS = {
    rateD: rate("Learning rate of D"),
    rateG: rate("Learning rate of G"),
    beta1: plain("beta1, Adam's memory of the gradient", 0, 0.95, 0.05),
    realLabel: plain("Label of real images", 0.5, 1, 0.05),
    r1: plain("Weight of the R1 penalty", 0, 2, 0.1),
  };
  const LEARNERS = { both: "both in turn", D: "D only", G: "G only" };
  const MACHINES = {
    relaxed: "Matrix products in WebAssembly with relaxed SIMD.",
    simd: "Matrix products in WebAssembly with SIMD; this browser has no relaxed SIMD, which is faster.",
    plain: "Matrix products in plain JavaScript, about 20 times slower: this browser has no WebAssembly SIMD. Digits take a quarter of an hour or more.",
  };
  const LINES = {
    lossD: { name: "Loss_D", colour: "blue", dash: [], panel: 0 },
    lossG: { name: "Loss_G", colour: "orange", dash: [7, 4], panel: 0 },
    real: { name: "D(x)", colour: "blue", dash: [], panel: 1 },
    fake: { name: "D(G(z))", colour: "orange", dash: [7, 4], panel: 1 },
  };
  const LOSS_TOP = 4; // the plot of losses goes from 0 to this
  const MOST_POINTS = 500; // of the curves; then neighbours are joined
  const SPEAK_EVERY = 5000; // milliseconds from one sentence for screen readers to the next
  const SIDE = 28, COLUMNS = 8, GAP = 2, SHEET = COLUMNS * (SIDE + GAP) - GAP;

  const template = (id) => `
    <div class="gt-bar" role="group" aria-label="Presets">
      ${Object.entries(PRESETS).map(([key, { name }]) => `<button type="button" data-preset="${key}" aria-pressed="false">${name}</button>`).join("")}
    </div>
    <p class="gt-words"></p>
    <div class="gt-stage">
      <div class="gt-picture">
        <div class="gt-frame"></div>
        <p class="gt-now"><span>step <b data-now="step">0</b></span> <span><b data-now="time">0:00</b></span> <span><b data-now="pace">–</b> ms a step</span></p>
      </div>
      <div class="gt-controls">
        <div class="gt-bar" role="group" aria-label="Training">
          <button type="button" class="gt-main" data-do="toggle">Start</button>
          <button type="button" data-do="restart" disabled>Start over</button>
          <button type="button" data-do="mend" hidden>Mend it</button>
        </div>
        <p class="gt-machine"></p>
        <p class="gt-status" role="status" aria-live="polite"></p>
        ${Object.entries(KNOBS).map(([key, { label, min, max, step }]) => `<label>${label} <span class="gt-value" data-for="${key}"></span><input type="range" data-set="${key}" min="${min}" max="${max}" step="${step}"></label>`).join("")}
        <fieldset><legend>Who learns</legend>
          ${Object.entries(LEARNERS).map(([value, words]) => `<label><input type="radio" name="${id}-learns" value="${value}"${value === "both" ? " checked" : ""}> ${words}</label>`).join("")}
        </fieldset>
      </div>
      <div class="gt-below">
        <canvas class="gt-curves" role="img" aria-label="Losses and probabilities: nothing yet"></canvas>
        <p class="gt-key">${Object.entries(LINES).map(([key, { name, colour, dash }]) => `<span class="gt-${colour}"><svg viewBox="0 0 24 8" width="24" height="8" aria-hidden="true"><line x1="1" x2="23" y1="4" y2="4" stroke="currentColor" stroke-width="2.5" stroke-dasharray="${dash.join(" ")}"/></svg> ${name} <b data-now="${key}">–</b></span>`).join(" ")}</p>
        <div class="gt-bar" role="group" aria-label="Your generator">
          <button type="button" data-do="explore" disabled>Explore this generator</button>
          <button type="button" data-do="download" disabled>Download this generator</button>
        </div>
        <div class="gt-explorer"></div>
      </div>
    </div>`;

  /** Load a script that lies beside this one. */
  function load(name) {
    return new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = new URL(name, here);
      script.onload = resolve;
      script.onerror = () => reject(new Error(`${name} could not be loaded.`));
      document.head.append(script);
    });
  }

  async function through(bytes, stream) {
    return new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(stream)).arrayBuffer());
  }

  /** The digits: four bits a pixel, two pixels a byte, packed -> bytes (N, 28, 28). */
  async function digits() {
    if (!window.ganTrainerDigits) await load("trainer_digits.js");
    const packed = Uint8Array.from(atob(window.ganTrainerDigits), (letter) => letter.charCodeAt(0));
    const pairs = await through(packed, new DecompressionStream("deflate")), pixels = new Uint8Array(2 * pairs.length);
    pairs.forEach((pair, i) => {
      pixels[2 * i] = (pair >> 4) * 17;
      pixels[2 * i + 1] = (pair & 15) * 17;
    });
    return pixels;
  }

  async function startWorker(kernel) {
    if (!window.ganTrainerCore) await load("trainer_core.js");
    const text = `(${serve})((${window.ganTrainerCore})(${JSON.stringify(kernel)}));`;
    const url = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
    return new Worker(url);
  }

  /** Images (COLUMNS², 28, 28) -> the canvas, in rows. */
  function paint(canvas, bytes) {
    const context = canvas.getContext("2d"), image = context.createImageData(SIDE, SIDE), size = SIDE * SIDE;
    const greys = new Uint32Array(image.data.buffer); // a grey is four bytes: three times itself, and no transparency
    for (let n = 0; n < COLUMNS ** 2; n++) {
      for (let i = 0; i < size; i++) greys[i] = 0xff000000 | (bytes[n * size + i] * 0x010101);
      context.putImageData(image, (n % COLUMNS) * (SIDE + GAP), Math.floor(n / COLUMNS) * (SIDE + GAP));
    }
  }

  /** Both plots on one axis of steps: losses above, probabilities below. */
  function drawCurves(canvas, history, last) {
    const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth || 300, height = canvas.clientHeight || 200;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const pen = canvas.getContext("2d"), style = getComputedStyle(canvas), left = 30, right = 8, foot = 20, between = 12;
    const colours = { blue: style.getPropertyValue("--gt-blue"), orange: style.getPropertyValue("--gt-orange"), ink: style.color };
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.font = `12px ${style.fontFamily}`;
    const end = Math.max(last, 100), across = (step) => left + (step / end) * (width - left - right);
    const high = (height - foot - between - 8) / 2;
    [LOSS_TOP, 1].forEach((top, panel) => {
      const floor = 8 + high + panel * (high + between), up = (value) => floor - (Math.min(value, top) / top) * high;
      for (const value of [0, top / 2, top]) {
        pen.globalAlpha = 0.25;
        pen.fillStyle = colours.ink;
        pen.fillRect(left, up(value), width - left - right, 1);
        pen.globalAlpha = 1;
        pen.textAlign = "right";
        pen.fillText(String(value), left - 6, up(value) + 4);
      }
      for (const [key, line] of Object.entries(LINES)) {
        if (line.panel !== panel) continue;
        pen.strokeStyle = colours[line.colour];
        pen.lineWidth = 2;
        pen.setLineDash(line.dash);
        pen.beginPath();
        let drawing = false;
        for (const point of history) {
          const known = Number.isFinite(point[key]);
          if (known) drawing ? pen.lineTo(across(point.step), up(point[key])) : pen.moveTo(across(point.step), up(point[key]));
          drawing = known;
        }
        pen.stroke();
        pen.setLineDash([]);
      }
    });
    pen.fillStyle = colours.ink;
    for (const [step, align] of [[0, "left"], [end, "right"]]) {
      pen.textAlign = align;
      pen.fillText(step.toLocaleString("en"), across(step), height - 5);
    }
    pen.textAlign = "center";
    pen.fillText("step", (left + width - right) / 2, height - 5);
  }

  let mounted = 0;

  /** Fill `root`, whose content so far is shown until training starts. */
  function mount(root) {
    const first = [...root.childNodes];
    const parts = root.querySelector("script[data-explorer]");
    const explorer = parts && JSON.parse(parts.textContent);
    root.innerHTML = template(`gt${mounted++}`);
    const find = (selector) => root.querySelector(selector), knob = (key) => find(`[data-set="${key}"]`);
    find(".gt-frame").append(...first);
    const calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    const canvas = Object.assign(document.createElement("canvas"), { className: "gt-sheet", width: SHEET, height: SHEET });
    canvas.setAttribute("role", "img");
    const settings = { ...HEALTHY }, state = { step: 0, running: false, machine: null, milliseconds: 0, pictures: 0 };
    let worker = null, loading = null, inSight = true, history = [], stride = 1, pending = [], spoken = 0, painted = 0, latest = {}, waiting = {};

    const learns = () => find("input[type=radio]:checked").value;
    const send = (act, more = {}) => worker?.postMessage({ act, ...more });
    const clock = () => `${Math.floor(state.milliseconds / 60000)}:${String(Math.floor(state.milliseconds / 1000) % 60).padStart(2, "0")}`;

    function words() {
      const numbers = Object.entries(LINES).map(([key, { name }]) => `${name} ${key in latest ? latest[key].toFixed(2) : "not yet known"}`);
      return `${state.running ? "Running" : "Paused"} at step ${state.step}. ${numbers.join(", ")}.`;
    }

    function speak(always) {
      if (!always && performance.now() - spoken < SPEAK_EVERY) return;
      spoken = performance.now();
      find(".gt-status").textContent = words();
      canvas.setAttribute("aria-label", `${COLUMNS ** 2} images from noise that stays the same, at step ${state.step}`);
      find(".gt-curves").setAttribute("aria-label", `Losses and probabilities. ${words()}`);
    }

    function showSettings() {
      for (const [key, { place, say }] of Object.entries(KNOBS)) {
        knob(key).value = place(settings[key]);
        knob(key).setAttribute("aria-valuetext", say(settings[key]));
        find(`[data-for="${key}"]`).textContent = say(settings[key]);
      }
      let chosen = null;
      for (const button of root.querySelectorAll("[data-preset]")) {
        const preset = PRESETS[button.dataset.preset], same = Object.keys(KNOBS).every((key) => preset.settings[key] === settings[key]);
        if (same) chosen = preset;
        button.setAttribute("aria-pressed", String(same));
      }
      find(".gt-words").textContent = chosen?.words ?? "Settings of your own.";
      find("[data-do=mend]").hidden = (chosen === PRESETS.healthy && learns() === "both") || !state.step;
    }

    function showState() {
      root.classList.toggle("gt-new", !history.length);
      find("[data-do=toggle]").textContent = loading ? "Loading …" : state.running ? "Pause" : state.step ? "Go on" : root.classList.contains("gt-compact") ? "Train one in this page" : "Start";
      for (const name of ["restart", "explore", "download"]) find(`[data-do=${name}]`).disabled = !worker;
      find("[data-now=step]").textContent = state.step.toLocaleString("en");
      find("[data-now=time]").textContent = clock();
      for (const key in LINES) find(`[data-now=${key}]`).textContent = key in latest ? latest[key].toFixed(2) : "–";
    }

    /** Keep means over `stride` reports, so that a long run fits. */
    function remember(point) {
      pending.push(point);
      if (pending.length < stride) return;
      history.push(merged(pending));
      pending = [];
      if (history.length < MOST_POINTS) return;
      history = Array.from({ length: history.length / 2 }, (_, i) => merged(history.slice(2 * i, 2 * i + 2)));
      stride *= 2;
    }

    function merged(points) {
      const one = { step: points[points.length - 1].step };
      for (const key in LINES) {
        const known = points.map((point) => point[key]).filter(Number.isFinite);
        one[key] = known.length ? known.reduce((a, b) => a + b) / known.length : NaN;
      }
      return one;
    }

    function forget() {
      history = [];
      pending = [];
      stride = 1;
      latest = {};
      Object.assign(state, { step: 0, milliseconds: 0 });
    }

    const hear = {
      ready({ machine }) {
        state.machine = machine;
        find(".gt-machine").textContent = MACHINES[machine];
      },
      report({ step, means, steps, busy, picture, finite }) {
        state.step = step;
        state.milliseconds += busy;
        if (steps) {
          latest = means;
          remember({ step, ...means });
          find("[data-now=pace]").textContent = (busy / steps).toFixed(0);
        }
        if (picture && (!calm || !state.running || performance.now() - painted > 1000)) {
          painted = performance.now();
          state.pictures += 1;
          paint(canvas, picture);
          drawCurves(find(".gt-curves"), history, step);
        }
        showState();
        if (!finite) {
          state.running = false;
          showState();
          find(".gt-words").textContent = "A weight is no longer a number. Start over with smaller learning rates.";
        }
        speak(!state.running);
        showMend();
      },
      file({ bytes }) {
        waiting.file?.(bytes);
      },
      explore({ about, planes }) {
        waiting.explore?.({ about, planes });
      },
    };

    function showMend() {
      const healthy = Object.keys(KNOBS).every((key) => settings[key] === HEALTHY[key]) && learns() === "both";
      find("[data-do=mend]").hidden = healthy || !state.step;
    }

    /** Ask the worker for something that it makes. */
    function ask(what) {
      return new Promise((resolve) => {
        waiting[what] = resolve;
        send(what);
      });
    }

    async function begin() {
      const [pixels, started] = await Promise.all([digits(), startWorker(root.dataset.kernel)]);
      worker = started;
      worker.onmessage = ({ data }) => hear[data.kind](data);
      worker.onerror = ({ message }) => fail(message);
      worker.postMessage({ act: "begin", settings: { ...settings, seed: Number(root.dataset.seed ?? 1) }, pixels }, [pixels.buffer]);
      tell();
      find(".gt-frame").replaceChildren(canvas);
    }

    function fail(message) {
      loading = null;
      state.running = false;
      showState();
      find(".gt-machine").textContent = `Training cannot start in this browser: ${message}`;
    }

    /** What the worker has to know, and whether it is to train. */
    function tell() {
      send("set", { settings, learns: learns() });
      send(state.running && inSight && !document.hidden ? "run" : "pause");
    }

    const actions = {
      async toggle() {
        if (loading) return;
        root.classList.remove("gt-compact");
        state.running = !state.running;
        if (!worker) {
          loading = begin();
          showState();
          try {
            await loading;
          } catch (error) {
            fail(error.message);
            return;
          }
          loading = null;
        }
        tell();
        showState();
        speak(true);
      },
      restart() {
        forget();
        send("restart", { settings });
      },
      mend() {
        Object.assign(settings, HEALTHY);
        find("input[value=both]").checked = true;
        showSettings();
        tell();
        find("[data-do=toggle]").focus(); // the button itself is gone
      },
      async explore() {
        if (state.running) await actions.toggle();
        const { about, planes } = await ask("explore");
        const packed = await through(planes, new CompressionStream("deflate"));
        const values = { about, packed: new DataView(packed.buffer) };
        const model = { get: (name) => values[name], set: (name, value) => { values[name] = value; }, on() {}, off() {}, save_changes() {} };
        const url = URL.createObjectURL(new Blob([explorer.esm], { type: "text/javascript" }));
        const { default: widget } = await import(url);
        const style = Object.assign(document.createElement("style"), { textContent: explorer.css }), el = document.createElement("div");
        find(".gt-explorer").replaceChildren(style, el);
        await widget.render({ model, el });
        el.scrollIntoView({ block: "nearest" });
      },
      async download() {
        const bytes = await ask("file"), link = document.createElement("a");
        link.href = URL.createObjectURL(new Blob([bytes], { type: "application/octet-stream" }));
        link.download = `digits-step-${state.step}.safetensors`;
        link.click();
        setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
      },
    };

    root.addEventListener("click", ({ target }) => {
      if (target.dataset.do) actions[target.dataset.do]();
      if (target.dataset.preset) {
        Object.assign(settings, PRESETS[target.dataset.preset].settings);
        find("input[value=both]").checked = true;
        showSettings();
        if (worker) {
          tell();
          actions.restart();
        }
      }
    });
    root.addEventListener("input", ({ target }) => {
      const key = target.dataset.set;
      if (key) settings[key] = KNOBS[key].read(Number(target.value));
      if (!key && target.type !== "radio") return;
      showSettings();
      tell();
    });
    new IntersectionObserver(([entry]) => {
      inSight = entry.isIntersecting;
      tell();
    }).observe(root);
    document.addEventListener("visibilitychange", tell);
    const redraw = () => drawCurves(find(".gt-curves"), history, state.step);
    new ResizeObserver(redraw).observe(find(".gt-curves"));
    new MutationObserver(redraw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
    showSettings();
    showState();
    return { state, settings, ask, get latest() { return latest; }, get history() { return history; }, get worker() { return worker; } };
  }

  const start = () => document.querySelectorAll(".gan-trainer").forEach((root) => {
    window.ganTrainer = mount(root);
  });
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
