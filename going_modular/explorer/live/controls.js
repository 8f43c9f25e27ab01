// Buttons, checkboxes and files: the controls of the live page.

import { element } from "../drawing.js";

/** A button that calls `act`. */
export function button(text, act, properties = {}) {
  const made = element("button", { type: "button", ...properties }, text);
  made.addEventListener("click", act);
  return made;
}

/** A checkbox with its words: show(on, words) sets both, or only whether it is on. */
export function toggle(text, act) {
  const input = element("input", { type: "checkbox" });
  input.addEventListener("change", () => act(input.checked));
  const words = element("span", {}, text);
  const label = element("label", { className: "line ae-check" }, input, words);
  return {
    label,
    show(on, said = text) {
      input.checked = on;
      words.textContent = said;
    },
  };
}

/** A button that opens the reader's files. */
export function fileButton(text, accept, take) {
  const input = element("input", { type: "file", accept, className: "file" });
  input.addEventListener("change", () => {
    if (input.files[0]) take(input.files[0]);
    input.value = ""; // so that the same file can be chosen again
  });
  return element("label", { className: "button" }, input, element("span", {}, text));
}

/** A part of the page with its heading. */
export function section(title, ...children) {
  const heading = element("h3", {}, title);
  return element("section", { className: "section" }, heading, ...children);
}
