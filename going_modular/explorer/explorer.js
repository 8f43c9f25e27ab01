// The attention explorer: point at a patch of an image and see where it looks.
//
// One module, two homes: a single HTML file calls `mount`, and in notebooks anywidget
// calls `render`, at the end. Nothing is fetched.

import {
  UNSEEN, choices, element, format, makePredictions, makeRamp, makeStage, paint,
  placeByKey, readColours, stepOf, strongest,
} from "./drawing.js";
import { makeSheet, saveNumbers, savePicture } from "./sheet.js";

const HINTS = {
  free: "Point at a patch, or use Tab and the arrow keys. A click pins it.",
  touch: "Tap a patch.",
  pinned: "Pinned. Click it again, or press Escape, to let it go.",
};
const VIEWS = {
  "looks-at": {
    label: "looks at",
    scale: "share of the attention of the outlined token",
    says: (who) => `${who} looks most at`,
  },
  "looked-at-by": {
    label: "is looked at by",
    scale: "share of each patch's attention",
    says: (who) => `${who} is looked at most by`,
  },
  contributes: {
    label: "what contributes to it",
    scale: "attention times the length of the value vector",
    says: (who) => `To ${who.toLowerCase()} contribute most`,
    plain: true, // a length, not a share
  },
  rollout: {
    label: "rollout up to this layer",
    scale: "share in the rollout",
    says: (who, layer) =>
      `Through layers 1 to ${layer}, ${who.toLowerCase()} rests most on`,
  },
};

const CONTROLLED = ["view", "layer", "head", "opacity", "fixed"];

// ---- The numbers -------------------------------------------------------------------

const bytes = (x) => new Uint8Array(x.buffer, x.byteOffset, x.byteLength);
const floats = (x) => new Float32Array(bytes(x).slice().buffer); // copied, so aligned

/** Returns a function from a state to its T numbers, the class token's first. */
function reader({ layers, heads, rows, columns }, arrays) {
  const T = rows * columns + 1;
  const attention = bytes(arrays.attention); // (n, nh, T, T) steps
  const worth = floats(arrays.attention_scales); // (n, nh, T) of one step, by row
  const rollout = bytes(arrays.rollout); // (n, T, T) steps
  const rolloutWorth = floats(arrays.rollout_scales); // (n, T)
  const lengths = floats(arrays.value_lengths); // (n, nh, T)

  return function read({ layer, head, view, row, column }) {
    const numbers = new Float64Array(T);
    const place = layers.indexOf(layer);
    const token = row < 0 ? 0 : 1 + row * columns + column;
    if (view === "rollout") {
      const i = place * T + token;
      for (let j = 0; j < T; j++) numbers[j] = rollout[i * T + j] * rolloutWorth[i];
      return numbers;
    }
    const [from, to] = head ? [head - 1, head] : [0, heads]; // 0: the mean of all
    for (let h = from; h < to; h++) {
      const first = (place * heads + h) * T; // this head's row of the class token
      for (let j = 0; j < T; j++) {
        const [query, key] = view === "looked-at-by" ? [j, token] : [token, j];
        const weight = attention[(first + query) * T + key] * worth[first + query];
        numbers[j] += view === "contributes" ? weight * lengths[first + key] : weight;
      }
    }
    for (let j = 0; j < T; j++) numbers[j] /= to - from;
    return numbers;
  };
}

// ---- The explorer ------------------------------------------------------------------

/**
 * Builds the explorer inside `root`.
 *
 * description, arrays: as `going_modular.explorer.data.Exploration` has them.
 * onChange: called with the state when the person at the screen has changed it.
 * Returns the state; set(changes); values(), the numbers now drawn; and draw().
 */
export function mount(root, description, arrays, onChange) {
  const { rows, columns, layers, heads, depth, error } = description;
  const state = { ...description.start, pinned: false, opacity: 0.65, fixed: null };
  const read = reader(description, arrays);
  const colours = readColours(description.colours);
  let numbers, highest; // what is drawn, and where the colours end

  // Elements, in the order in which Tab reaches them.
  const { stage, canvas, cells, grid, outline } = makeStage(description);
  const swatch = element("span", { className: "swatch" });
  const classValue = element("span", { className: "number" });
  const classToken = element("button", { type: "button", className: "class" },
    swatch, element("span", {}, "class token"), classValue);
  const hint = element("p", { className: "hint" });
  const gradient = makeRamp(colours);
  const top = element("span");
  const scaleName = element("div", { className: "scale-name" });
  const legend = element("div", { className: "legend" },
    element("span", {}, "0"), gradient, top);
  const summary = element("p", { className: "summary", ...UNSEEN });
  const live = element("p", { className: "hidden", "aria-live": "polite" });

  const views = choices("view", "The outlined token", Object.entries(VIEWS)
    .map(([value, { label }]) => [value, label]), (view) => change({ view }));
  const layerChoice = choices("layer", `Layer, of ${depth}`,
    layers.map((layer) => [layer, layer]), (layer) => change({ layer }));
  const headChoice = choices("head", "Head", [[0, "mean"],
    ...Array.from({ length: heads }, (_, h) => [h + 1, h + 1])],
  (head) => change({ head }));
  const opacity = element("input", { type: "range", min: 0, max: 100 });
  opacity.addEventListener("input", () => change({ opacity: opacity.value / 100 }));
  const keep = element("input", { type: "checkbox" });
  keep.addEventListener("change", () =>
    change({ fixed: keep.checked ? highest : null }));
  const controls = element("form", {}, views.group, layerChoice.group, headChoice.group,
    element("label", { className: "line" }, "Heat map over the image", opacity),
    element("label", { className: "line check" }, keep, "Keep the colour scale"));
  controls.addEventListener("submit", (event) => event.preventDefault());
  const sheet = makeSheet(description, read, colours, (layer, head) =>
    change({ layer, head }));
  sheet.box.addEventListener("toggle", () => sheet.draw(state));
  const saving = element("p", { className: "line" },
    saveButton("Save the picture", (name) => savePicture(`${name}.png`, {
      source: stage.querySelector("img"), height: description.image_size[0],
      width: description.image_size[1],
    }, canvas, state, description)),
    saveButton("Save the numbers", (name) => {
      const { view, layer, head, row, column } = state;
      saveNumbers(`${name}.json`, {
        title: description.title, view, layer, head: head || "mean",
        token: row < 0 ? "class token" : { row, column },
        image_size: description.image_size, patch_size: description.patch_size,
      }, numbers, columns);
    }));

  /** A button; `act` is called with the name that a file is to have. */
  function saveButton(text, act) {
    const made = element("button", { type: "button", className: "save" }, text);
    made.addEventListener("click", () => {
      const { view, layer, head } = state;
      const title = description.title.replace(/\.\w+$/, "").replace(/[^\p{L}\p{N}]+/gu, "-");
      act([title || "attention", view, `layer-${layer}`, ...(head ? [`head-${head}`] : [])]
        .join("-"));
    });
    return made;
  }

  const side = description.patch_size;
  const points = (share) => format(100 * share, true);
  const note = element("p", { className: "note" },
    `${rows} x ${columns} patches of ${side} x ${side} pixels. Weights are rounded to `
    + `bytes: off by at most ${points(error.greatest)} percentage points, by `
    + `${points(error.mean)} on average.`);
  const explorer = element("div", { className: "explorer" },
    element("h2", {}, description.title || "Where does it look?"),
    element("div", { className: "columns" },
      element("div", {}, stage, classToken, legend, scaleName,
        element("div", { className: "words" }, summary, live), hint),
      element("div", {}, controls, saving, makePredictions(description.predictions))),
    sheet.box, note);
  // JupyterLab has shortcuts of its own on arrows, Enter and Escape.
  explorer.setAttribute("data-lm-suppress-shortcuts", "true");
  root.replaceChildren(explorer);

  // ---- Drawing: a state in, pixels and a few words out ----

  const heat = canvas.getContext("2d");
  const pixels = heat.createImageData(columns, rows);
  const touched = matchMedia("(pointer: coarse)").matches;
  let selected = cells[0]; // the cell that Tab reaches
  selected.tabIndex = 0;
  let speaking;

  function draw() {
    const { view, row, column, fixed, pinned } = state;
    const { plain, scale } = VIEWS[view];
    numbers = read(state);
    highest = fixed ?? numbers[strongest(numbers, 1)[0]];
    for (let i = 0; i < cells.length; i++) {
      paint(pixels.data, i, colours, stepOf(numbers[i + 1], highest));
    }
    heat.putImageData(pixels, 0, 0);
    canvas.style.opacity = state.opacity;

    const onClass = row < 0;
    outline.hidden = onClass;
    outline.style.transform = `translate(${100 * column}%, ${100 * row}%)`;
    explorer.classList.toggle("ae-pinned", pinned);
    classToken.setAttribute("aria-pressed", onClass);
    const at = 3 * stepOf(numbers[0], highest);
    swatch.style.backgroundColor = `rgb(${colours.slice(at, at + 3).join(",")})`;
    classValue.textContent = format(numbers[0], plain);
    top.textContent = format(highest, plain) + (fixed === null ? "" : " and more");
    scaleName.textContent = scale;
    summary.textContent = describe();
    hint.textContent = HINTS[pinned ? "pinned" : touched ? "touch" : "free"];
    select(onClass ? null : cells[row * columns + column]);
    sheet.draw(state);
  }

  function select(cell) {
    selected.setAttribute("aria-selected", "false");
    if (!cell) return;
    selected.tabIndex = -1;
    cell.tabIndex = 0;
    cell.setAttribute("aria-selected", "true");
    selected = cell;
  }

  function drawControls() {
    views.show(state.view);
    layerChoice.show(state.layer);
    headChoice.show(state.head);
    headChoice.group.disabled = state.view === "rollout";
    headChoice.legend.textContent = state.view === "rollout"
      ? "Head: the rollout takes the mean of all" : "Head";
    opacity.value = 100 * state.opacity;
    keep.checked = state.fixed !== null;
  }

  /** What is drawn, in a sentence. */
  function describe() {
    const { view, layer, head, row, column } = state;
    const { says, plain } = VIEWS[view];
    const name = (r, c) => `row ${r + 1}, column ${c + 1}`;
    const who = row < 0 ? "The class token" : `Row ${row + 1}, column ${column + 1}`;
    const found = strongest(numbers, 3).map((j) => {
      const [r, c] = [Math.floor((j - 1) / columns), (j - 1) % columns];
      const own = r === row && c === column;
      return `${own ? "itself" : name(r, c)} (${format(numbers[j], plain)})`;
    });
    const one = head && view !== "rollout";
    const where = one ? `head ${head}` : `mean of ${heads} head${heads > 1 ? "s" : ""}`;
    return `${says(who, layer)} ${found.join(", ")}; class token `
      + `${format(numbers[0], plain)}. Layer ${layer}, ${where}.`;
  }

  // ---- Changing ----

  const possible = {
    layer: (x) => layers.includes(x),
    head: (x) => Number.isInteger(x) && x >= 0 && x <= heads,
    view: (x) => Object.hasOwn(VIEWS, x),
    row: (x) => Number.isInteger(x) && x >= -1 && x < rows,
    column: (x) => Number.isInteger(x) && x >= -1 && x < columns,
  };

  function set(changes) {
    for (const [name, value] of Object.entries(changes)) {
      if (!(possible[name]?.(value) ?? name in state)) {
        throw new RangeError(`the explorer has no ${name} ${value}`);
      }
    }
    const before = { ...state };
    Object.assign(state, changes);
    if (state.row < 0 || state.column < 0) state.row = state.column = -1;
    if (state.view !== before.view) state.fixed = null; // another unit
    draw();
    if (CONTROLLED.some((name) => state[name] !== before[name])) drawControls();
    clearTimeout(speaking); // say it when the pointer has come to rest
    speaking = setTimeout(() => (live.textContent = summary.textContent), 700);
  }

  function change(changes) {
    if (Object.entries(changes).every(([name, value]) => state[name] === value)) return;
    set(changes);
    onChange({ ...state });
  }

  // ---- Pointer ----

  let pointer, frame; // the latest of the moves since the last frame

  grid.addEventListener("pointermove", (event) => {
    pointer = event;
    frame ??= requestAnimationFrame(() => {
      frame = undefined;
      if (state.pinned) return;
      const box = grid.getBoundingClientRect();
      const row = Math.floor(rows * (pointer.clientY - box.top) / box.height);
      const column = Math.floor(columns * (pointer.clientX - box.left) / box.width);
      if (possible.row(row) && possible.column(column)) change({ row, column });
    });
  });

  /** Pins a token; lets it go if it is the pinned one. */
  function pin(row, column) {
    const same = state.pinned && state.row === row && state.column === column;
    change({ row, column, pinned: !same });
  }

  const patchOf = (cell) => {
    const i = cells.indexOf(cell);
    return { row: Math.floor(i / columns), column: i % columns };
  };
  grid.addEventListener("click", (event) => {
    if (!cells.includes(event.target)) return;
    const { row, column } = patchOf(event.target);
    pin(row, column);
  });
  classToken.addEventListener("click", () => pin(-1, -1));

  // ---- Keyboard ----

  grid.addEventListener("focusin", (event) => {
    if (!state.pinned) change(patchOf(event.target));
  });

  grid.addEventListener("keydown", (event) => {
    if (event.altKey || event.metaKey) return;
    const { row, column } = patchOf(event.target);
    const target = placeByKey(event, row, column, rows, columns);
    if (event.key === "Enter" || event.key === " ") pin(row, column);
    else if (!target) return;
    else {
      change({ row: target[0], column: target[1] });
      selected.focus();
    }
    event.preventDefault();
  });

  explorer.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && state.pinned) change({ pinned: false });
  });

  drawControls();
  draw();
  const values = () => ({
    patches: Array.from(numbers.subarray(1)), classToken: numbers[0], highest,
  });
  explorer.handle = { state, set, values, draw }; // also for whoever finds the element
  return explorer.handle;
}

// ---- Two images side by side ----------------------------------------------------------

const SHARED = ["view", "layer", "head", "opacity", "fixed", "pinned", "row", "column"];

/** Builds two explorers of one model; what is chosen in one is chosen in the other. */
export function mountPair(root, explorations) {
  const places = explorations.map(() => element("div"));
  root.replaceChildren(element("div", { className: "pair" }, ...places));
  const made = explorations.map(([description, arrays], i) =>
    mount(places[i], description, arrays, (state) => {
      const changes = Object.fromEntries(SHARED.map((name) => [name, state[name]]));
      const { rows, columns } = explorations[1 - i][0];
      if (state.row >= rows || state.column >= columns) { // it has no such patch
        delete changes.row;
        delete changes.column;
      }
      made[1 - i].set(changes);
    }));
  return made;
}

// ---- In notebooks ------------------------------------------------------------------

const ARRAYS = [
  "attention", "attention_scales", "rollout", "rollout_scales", "value_lengths",
];
const SYNCED = ["layer", "head", "view", "row", "column"];

/** Shows a widget's traits, follows what Python sets, tells Python what is shown. */
function render({ model, el }) {
  const traits = (names) => Object.fromEntries(names.map((n) => [n, model.get(n)]));
  let timer;
  const tell = (state) => {
    clearTimeout(timer); // not on every patch that the pointer passes
    timer = setTimeout(() => {
      for (const name of SYNCED) model.set(name, state[name]);
      model.save_changes();
    }, 100);
  };
  const description = { ...model.get("description"), start: traits(SYNCED) };
  const explorer = mount(el, description, traits(ARRAYS), tell);
  const follow = () => explorer.set(traits(SYNCED));
  const events = SYNCED.map((name) => `change:${name}`).join(" ");
  model.on(events, follow);
  return () => model.off(events, follow);
}

export default { render };
