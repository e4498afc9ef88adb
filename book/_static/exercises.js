/* Makes a form of each question of a page: choose or type, hear at once, take a hint, see the solution.
   A prediction keeps the outputs after it closed until one of its options is chosen. Nothing is stored. */
(() => {
  "use strict";

  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };

  /* "0.25", "0,25", "1/4", "1,024" and "−3" are numbers; null is none. */
  function numberFrom(text) {
    const plain = text.trim().replace(/[−–]/g, "-").replace(/\s/g, "");
    const whole = /^-?\d{1,3}(,\d{3})+$/.test(plain);
    const parts = plain.replace(/,/g, whole ? "" : ".").split("/").map((part) => (part ? Number(part) : NaN));
    const number = parts.length === 2 ? parts[0] / parts[1] : parts[0];
    return parts.length <= 2 && Number.isFinite(number) ? number : null;
  }

  /* The items of the list become radio buttons; what stands in an item becomes its label. */
  function choice(place, list) {
    const options = make("div", { className: "options" });
    [...list.children].forEach((item, at) => {
      const letter = String.fromCharCode(97 + at);
      const text = make("span");
      for (const paragraph of [...item.children]) text.append(...paragraph.childNodes);
      const input = make("input", { type: "radio", name: place.id, value: letter });
      options.append(make("label", { className: "option" }, input, text));
    });
    list.replaceWith(options);
    return options;
  }

  function numberField(place) {
    const input = make("input", { type: "text", inputMode: "decimal", autocomplete: "off", spellcheck: false, size: 12 });
    const unit = place.dataset.unit ? ` ${place.dataset.unit}` : "";
    return make("label", { className: "number" }, make("span", { textContent: "Your number " }), input, unit);
  }

  /* What a prediction is about: the outputs of the cells that follow, and the block that reads them. */
  function results(place) {
    const found = [];
    for (let node = place.nextElementSibling; node; node = node.nextElementSibling) {
      if (node.matches("section, .exercise")) break;
      if (node.matches(".cell")) found.push(...node.querySelectorAll(":scope > .cell_output"));
      else if (found.length) return [...found, node];
    }
    return found;
  }

  function build(place) {
    const { answer, tolerance } = JSON.parse(atob(place.dataset.right));
    const key = place.dataset.key;
    const predicts = /[a-z]$/.test(key);
    const hint = place.querySelector(":scope > details.hint");
    const list = place.querySelector(":scope > ul");
    const control = list ? choice(place, list) : numberField(place);
    const legend = make("legend", { textContent: predicts ? "Your prediction" : `Your answer to exercise ${key.split(".")[1]}` });
    const feedback = make("p", { className: "feedback", role: "status", tabIndex: -1 });
    const submit = make("button", { type: "submit", textContent: predicts ? "Show the result" : "Check" });
    const buttons = make("div", { className: "buttons" }, submit);
    const form = make("form", { noValidate: true }, make("fieldset", {}, legend, control), buttons, feedback);
    if (predicts && place.firstElementChild) {
      place.firstElementChild.id ||= `${place.id}-text`;
      form.firstElementChild.setAttribute("aria-describedby", place.firstElementChild.id);
    }
    place.insertBefore(form, hint);

    const say = (state, text) => {
      place.dataset.state = state;
      feedback.textContent = text;
    };
    const given = () => (list ? (form.querySelector("input:checked") || {}).value || "" : form.querySelector("input").value.trim());
    const isRight = (value) => (list ? value === answer : Math.abs(value - answer) <= tolerance);

    if (predicts) {
      const closed = results(place);
      closed.forEach((part) => part.setAttribute("hidden", "until-found"));
      const open = (state, text) => {
        closed.forEach((part) => part.removeAttribute("hidden"));
        form.querySelectorAll("input").forEach((input) => (input.disabled = true));
        say(state, text);
        if (buttons.contains(document.activeElement)) feedback.focus();
        buttons.remove();
      };
      closed.forEach((part) => part.addEventListener("beforematch", () => open("skipped", "")));
      const skip = make("button", { type: "button", textContent: "Show it without a guess", className: "quiet" });
      skip.addEventListener("click", () => open("skipped", `It is ${answer}. The result is below.`));
      buttons.append(skip);
      form.addEventListener("submit", (event) => {
        event.preventDefault();
        const value = given();
        if (!value) say("empty", "Choose one of them first.");
        else if (isRight(value)) open("right", "Right. The result is below.");
        else open("wrong", `It is ${answer}. The result is below.`);
      });
      return;
    }

    hint.hidden = true;
    const solution = place.nextElementSibling && place.nextElementSibling.matches("details") ? place.nextElementSibling : null;
    let tries = 0;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const value = list ? given() : numberFrom(given());
      if (!given()) return say("empty", list ? "Not answered yet: choose one." : "Not answered yet: write a number.");
      if (value === null) return say("empty", "That is not a number; write one as 0.25, 1/4 or 1,024.");
      if (isRight(value)) {
        say("right", "Right.");
        if (solution) solution.open = true;
        return undefined;
      }
      tries += 1;
      hint.hidden = false;
      hint.open = true;
      if (tries > 1 && solution) solution.open = true;
      return say("wrong", tries > 1 && solution ? "Not yet. The solution is open below." : `Not yet. ${hint.querySelector(".hint-text").textContent}`);
    });
    form.addEventListener("input", () => say("", ""));
  }

  document.querySelectorAll(".exercise").forEach(build);
})();
