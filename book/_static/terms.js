/* Shows the meaning of a word of the glossary while the pointer or the keyboard is on it. Escape puts it away. */
(() => {
  "use strict";
  const box = Object.assign(document.createElement("div"), { id: "term-meaning", className: "term-meaning", hidden: true });
  box.setAttribute("role", "tooltip");
  let shown = null, tapped = null;

  function hide() {
    shown?.removeAttribute("aria-describedby");
    box.hidden = true;
    shown = null;
  }

  function show(link) {
    if (shown === link) return;
    hide();
    shown = link;
    box.innerHTML = link.dataset.meaning;
    box.hidden = false;
    link.setAttribute("aria-describedby", box.id);
    put();
  }

  /** Below the word, or above it where there is no room; never beyond the side of the page. */
  function put() {
    if (!shown) return;
    const place = shown.getClientRects()[0], edge = 8, { offsetWidth: width, offsetHeight: height } = box;
    const left = Math.max(edge, Math.min(place.left, document.documentElement.clientWidth - width - edge));
    const below = place.bottom + 4, above = place.top - height - 4;
    box.style.left = `${left}px`;
    box.style.top = `${below + height > innerHeight && above > 0 ? above : below}px`;
  }

  const linkOf = ({ target }) => target.closest?.("a.term");
  document.addEventListener("pointerover", (event) => {
    if (linkOf(event)) show(linkOf(event));
    else if (shown && !box.contains(event.target)) hide();
  });
  document.addEventListener("focusin", (event) => (linkOf(event) ? show(linkOf(event)) : hide()));
  document.addEventListener("focusout", hide);
  document.addEventListener("keydown", ({ key }) => key === "Escape" && hide());
  document.addEventListener("scroll", put, { passive: true });
  // A finger cannot rest on a word: the first tap shows its meaning, the second follows it.
  document.addEventListener("click", (event) => {
    const link = linkOf(event);
    if (link && event.pointerType === "touch" && link !== tapped) event.preventDefault();
    tapped = link;
  });
  document.body.append(box);
})();
