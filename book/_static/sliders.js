/* Curves with a slider: shows the position that the slider has. All positions stand in the page. */
document.querySelectorAll(".slider-figure").forEach((figure) => {
  const { label, first, words, points, paths } = JSON.parse(figure.querySelector("script").textContent);
  const place = document.createElement("label"), input = document.createElement("input");
  Object.assign(input, { type: "range", min: 0, max: words.length - 1, value: first });
  place.append(label, input);
  figure.querySelector(".slider-key").after(place);
  const lines = figure.querySelectorAll("svg[role] .slider-line"), circles = figure.querySelectorAll("circle");
  function show() {
    const at = Number(input.value);
    figure.querySelector(".slider-words").textContent = words[at];
    input.setAttribute("aria-valuetext", words[at]);
    points[at].forEach(([x, y], k) => {
      circles[k].setAttribute("cx", x);
      circles[k].setAttribute("cy", y);
    });
    paths[at]?.forEach((path, k) => lines[k].setAttribute("d", path));
  }
  input.addEventListener("input", show);
  show();
});
