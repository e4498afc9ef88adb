/* The Dirac-GAN (Mescheder 2018): D(x) = psi x, G gives the number theta, the only real number is 0. The reader drags
 * the start; the path is that of alternating gradient steps, D's first, as on the page. */
(() => {
  "use strict";
  const STEPS = 600, SIZE = 0.05, RANGE = 2.4, SIDE = 420, NS = "http://www.w3.org/2000/svg";
  const sigmoid = (x) => 1 / (1 + Math.exp(-x));

  /* For each loss: the derivative of D's loss by D(theta), that of G's, and the weights of the penalties on psi. */
  const GAMES = {
    "saturating": { d: sigmoid, g: (x) => -sigmoid(x) },
    "non-saturating": { d: sigmoid, g: (x) => sigmoid(x) - 1 },
    "hinge": { d: (x) => (x > -1 ? 1 : 0), g: () => -1 },
    "Wasserstein": { d: () => 1, g: () => -1 },
    "Wasserstein, gradient penalty": { d: () => 1, g: () => -1, gp: 1 },
    "relativistic, R1 + R2": { d: sigmoid, g: (x) => sigmoid(x) - 1, r: 1 },
    "non-saturating, R1": { d: sigmoid, g: (x) => sigmoid(x) - 1, r: 0.5 },
  };

  /** Where the gradients pull (theta, psi): their negatives. */
  function pull({ d, g, r = 0, gp = 0 }, theta, psi) {
    const steeper = r * psi + 2 * gp * (Math.abs(psi) - 1) * Math.sign(psi);
    return [-g(psi * theta) * psi, -d(psi * theta) * theta - steeper];
  }

  function path(game, [theta, psi]) {
    const places = [[theta, psi]];
    for (let step = 0; step < STEPS; step++) {
      psi += SIZE * pull(game, theta, psi)[1];
      theta += SIZE * pull(game, theta, psi)[0];
      places.push([theta, psi]);
    }
    return places;
  }
  window.diracPath = (name, start) => path(GAMES[name], start); // for tests

  const make = (name, attributes, ...children) => {
    const element = name[0] === "<" ? document.createElement(name.slice(1)) : document.createElementNS(NS, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  };
  const across = (theta) => SIDE / 2 + (theta / RANGE) * (SIDE / 2), down = (psi) => SIDE / 2 - (psi / RANGE) * (SIDE / 2);

  document.querySelectorAll(".dirac-figure").forEach((figure) => {
    let chosen = "non-saturating";
    const field = make("path", { class: "dirac-field" }), line = make("path", { class: "dirac-path" });
    const start = make("circle", { class: "dirac-start", r: 10 }), end = make("circle", { class: "dirac-end", r: 6 });
    const svg = make("svg", { viewBox: `0 0 ${SIDE} ${SIDE}`, role: "img", "aria-label": "Path of the two numbers; theta to the right, psi upwards" },
      make("path", { class: "slider-rule", d: `M0 ${SIDE / 2}H${SIDE}M${SIDE / 2} 0V${SIDE}` }), field, line, end, start,
      make("text", { x: SIDE - 8, y: SIDE / 2 + 20, "text-anchor": "end" }, "θ, what G gives"), make("text", { x: SIDE / 2 + 8, y: 18, "text-anchor": "start" }, "ψ, D's slope"));
    const slider = (label, value) => {
      const input = make("<input", { type: "range", min: -2, max: 2, step: 0.1, value, "aria-label": label });
      input.addEventListener("input", draw);
      return input;
    };
    const theta = slider("θ at the start", 1), psi = slider("ψ at the start", 1);
    const words = make("<p", { class: "dirac-words", "aria-live": "polite" });
    const choices = make("<fieldset", {}, make("<legend", {}, "Loss"), ...Object.keys(GAMES).map((name) => {
      const input = make("<input", { type: "radio", name: "dirac", value: name });
      input.checked = name === chosen;
      input.addEventListener("change", () => { chosen = name; draw(); });
      return make("<label", {}, input, name);
    }));

    function draw() {
      const game = GAMES[chosen], from = [Number(theta.value), Number(psi.value)], places = path(game, from);
      line.setAttribute("d", `M${places.map(([x, y]) => `${across(x).toFixed(1)} ${down(y).toFixed(1)}`).join("L")}`);
      let arrows = "";
      for (let x = -2; x <= 2; x += 0.5) for (let y = -2; y <= 2; y += 0.5) {
        const [a, b] = pull(game, x, y), length = Math.hypot(a, b) || 1, most = Math.min(0.22, length * 0.2);
        const [u, v] = [(a / length) * most, (b / length) * most], at = (p, q) => `${across(p).toFixed(1)} ${down(q).toFixed(1)}`;
        arrows += `M${at(x, y)}L${at(x + u, y + v)}`;
        arrows += `M${at(x + 0.6 * u - 0.2 * v, y + 0.6 * v + 0.2 * u)}L${at(x + u, y + v)}L${at(x + 0.6 * u + 0.2 * v, y + 0.6 * v - 0.2 * u)}`;
      }
      field.setAttribute("d", arrows);
      start.setAttribute("cx", across(from[0])); start.setAttribute("cy", down(from[1]));
      const last = places[STEPS], far = Math.hypot(...last), before = Math.hypot(...from);
      end.setAttribute("cx", across(last[0])); end.setAttribute("cy", down(last[1]));
      const what = far < before / 4 ? "It spirals in." : far > 2 * before ? "It moves away." : "It does not settle at 0.";
      words.textContent = `${STEPS} steps from θ = ${from[0].toFixed(1)}, ψ = ${from[1].toFixed(1)} end at θ = ${last[0].toFixed(2)}, ψ = ${last[1].toFixed(2)}. ${what}`;
    }
    function drag(event) {
      const box = svg.getBoundingClientRect();
      theta.value = ((event.clientX - box.left) / box.width - 0.5) * 2 * RANGE;
      psi.value = (0.5 - (event.clientY - box.top) / box.height) * 2 * RANGE;
      draw();
    }
    svg.addEventListener("pointerdown", (event) => { svg.setPointerCapture(event.pointerId); drag(event); });
    svg.addEventListener("pointermove", (event) => { if (svg.hasPointerCapture(event.pointerId)) drag(event); });
    const places = make("<div", { class: "dirac-places" }, make("<label", {}, "θ at the start", theta), make("<label", {}, "ψ at the start", psi));
    figure.prepend(make("<div", { class: "dirac-body" }, svg, make("<div", {}, choices, places, words)));
    draw();
  });
})();
