// Draws the widgets of a page that has no kernel: reads the state that the notebook stored, and hands it to each
// widget's own module, which is part of that state. Nothing is fetched, so it also works without a network and from a folder.

(() => {
  const TYPE = "application/vnd.jupyter.widget-";
  const decode = (text) => new DataView(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);

  // The part of a widget's model that needs no kernel: values, and who wants to hear of changes.
  class Model {
    #values;
    #listeners = new Map();
    constructor(stored) {
      this.#values = { ...stored.state };
      for (const { path, data } of stored.buffers ?? []) this.#values[path[0]] = decode(data);
    }
    get(name) {
      return this.#values[name];
    }
    set(name, value) {
      this.#values[name] = value;
      for (const listener of this.#listeners.get(`change:${name}`) ?? []) listener();
    }
    on(event, listener) {
      this.#listeners.set(event, [...(this.#listeners.get(event) ?? []), listener]);
    }
    off(event, listener) {
      this.#listeners.set(event, (this.#listeners.get(event) ?? []).filter((one) => one !== listener));
    }
    save_changes() {}
    send() {}
  }

  async function draw(place, stored) {
    const el = document.createElement("div");
    const style = document.createElement("style");
    place.after(style, el);
    try {
      const model = new Model(stored);
      style.textContent = model.get("_css") ?? "";
      const url = URL.createObjectURL(new Blob([model.get("_esm")], { type: "text/javascript" }));
      const { default: widget } = await import(url);
      await widget.render({ model, el });
      el.dataset.widget = "drawn";
    } catch (error) {
      el.textContent = "Here is a widget that this browser cannot draw; a newer browser, or the notebook in Jupyter, can.";
      console.error(error);
    }
  }

  function drawAll() {
    const stored = [...document.querySelectorAll(`script[type="${TYPE}state+json"]`)];
    const states = Object.assign({}, ...stored.map((script) => JSON.parse(script.textContent).state));
    for (const place of document.querySelectorAll(`script[type="${TYPE}view+json"]`)) {
      draw(place, states[JSON.parse(place.textContent).model_id]);
    }
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", drawAll);
  else drawAll();
})();
