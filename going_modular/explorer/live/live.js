// One image, four equations: a Vision Transformer that runs in the page.
//
// The reader changes a state (`update`), the model computes what follows from it, and
// `draw` shows both. Nothing is fetched, and nothing leaves the page.

import {
  choices,
  element,
  format,
  makeBar,
  makeRamp,
  makeStage,
  paint,
  placeByKey,
  readColours,
  stepOf,
  strongest,
} from "../drawing.js";
import { STEPS } from "./guide.js";
import { digits, numberTable, sumPanel } from "./numbers.js";
import {
  arrange,
  dab,
  fitBytes,
  hasLightEdge,
  invert,
  pixelsOf,
  readPhoto,
} from "./pictures.js";
import { startRunner } from "./runner.js";
import { explain } from "./sums.js";
import { UNCHANGED, softmax } from "./vit.js";

const TOOLS = [
  ["look", "look"],
  ["grey", "grey out"],
  ["swap", "swap"],
  ["draw", "draw"],
];
const HINTS = {
  look: "Click a patch to see where it looks. Tab and the arrow keys work as well.",
  grey: "Click patches to paint them grey; click again to bring them back.",
  swap: "Click two patches to swap them.",
  draw: "Draw with the mouse or a finger; with the arrow keys and the space bar, too.",
};
const EQUATION_1 = [
  ["token", "patch times E"],
  ["position", "position"],
  ["z0", "z_0, their sum"],
];
const EQUATION_2 = [
  ["attention", "attention"],
  ["qkv", "q, k, v"],
  ["values", "values brought"],
  ["msa", "MSA"],
  ["zPrime", "z′"],
];
const EQUATION_3 = [
  ["norm2", "LN(z′)"],
  ["hidden", "inside"],
  ["mlp", "MLP"],
  ["z", "z"],
];
const UNDOABLE = ["bytes", "source", "order", "grey", "changes"];

/** A button that calls `act`. */
function button(text, act, properties = {}) {
  const made = element("button", { type: "button", ...properties }, text);
  made.addEventListener("click", act);
  return made;
}

/** A checkbox with its words. */
function toggle(text, act) {
  const input = element("input", { type: "checkbox" });
  input.addEventListener("change", () => act(input.checked));
  return { input, label: element("label", { className: "line check" }, input, text) };
}

/** A button that opens the reader's files. */
function fileButton(text, accept, take) {
  const input = element("input", { type: "file", accept, className: "file" });
  input.addEventListener("change", () => {
    if (input.files[0]) take(input.files[0]);
    input.value = ""; // so that the same file can be chosen again
  });
  return element("label", { className: "button" }, input, element("span", {}, text));
}

/**
 * Builds the page inside `root` and returns a promise of its handle: state, seen,
 * sizes, update(changes), settled() and explain(address).
 *
 * parts: worker, the source of worker.js; weights, the bytes of a model.safetensors;
 * colours; title; examples, { height, width, channels, names, bytes }; and image, the
 * bytes (C, H, W) to begin with, if it is none of the examples.
 */
export async function mountLive(root, parts) {
  const ask = startRunner(parts.worker);
  const colours = readColours(parts.colours);
  let { sizes, classNames, weights } = await ask("read", { buffer: parts.weights });
  let seen = null; // what the model gave for the state
  let first = null; // the guess before any change to the image or to the model
  let past = []; // states that undo leads back to
  let opened = []; // addresses of the sums, the one shown last
  let begun, did; // the state when the guide's step began, and what was done since

  const state = {
    bytes: null,
    source: "",
    order: [],
    grey: [],
    changes: UNCHANGED,
    token: 0,
    layer: sizes.depth,
    head: 0,
    tool: "look",
    swapping: -1,
    view: { equation1: "z0", equation2: "attention", equation3: "z" },
    mode: "guided",
    step: 0,
    lensOnImage: false,
  };

  // ---- The frame ----

  const heading = element("h2", {}, parts.title || "One image, four equations");
  const message = element("p", { className: "message", role: "status" });
  const live = element("p", { className: "hidden", "aria-live": "polite" });
  const modes = choices(
    "live-mode",
    "Way through",
    [
      ["guided", "guided, ten steps"],
      ["free", "free"],
    ],
    (mode) => update({ mode }),
  );
  const guideTitle = element("h3", { tabIndex: -1 });
  const guideSays = element("p");
  const guideAsks = element("p", { className: "asks" });
  const guideBack = button("Back", () => go(state.step - 1));
  const guideNext = button("Next", () => go(state.step + 1));
  const guide = element(
    "section",
    { className: "guide", "aria-label": "Guide" },
    guideTitle,
    guideSays,
    guideAsks,
    element("p", { className: "line" }, guideBack, guideNext),
  );

  // The image, with what acts on it.
  const left = element("div", { className: "left" });
  let stage, plain; // made anew for each model
  const classToken = button("class token", () => update({ token: 0 }), {
    className: "class",
  });
  const top = element("span");
  const legend = element(
    "div",
    { className: "legend" },
    element("span", {}, "0"),
    makeRamp(colours),
    top,
  );
  const caption = element("p", { className: "scale-name" });
  const guesses = element("ol");
  const before = element("p", { className: "note" });
  const predictions = element(
    "section",
    { className: "predictions" },
    element("h3", {}, "The guess"),
    guesses,
    before,
  );
  const tools = choices("live-tool", "A click on the image", TOOLS, (tool) =>
    update({ tool, swapping: -1 }),
  );
  const hint = element("p", { className: "hint" });
  const undo = button("Undo", goBack);
  const restart = button("Start again", () =>
    update({
      order: inOrder(),
      grey: [],
      changes: UNCHANGED,
      swapping: -1,
    }),
  );
  const invertButton = button("Swap light and dark", () =>
    update({ bytes: invert(state.bytes) }),
  );
  const clearButton = button("Empty image", () =>
    update({
      bytes: new Uint8Array(sizes.channels * sizes.height * sizes.width),
      source: "your drawing",
      order: inOrder(),
      grey: [],
      tool: "draw",
    }),
  );
  const examples = element("div", { className: "examples" });
  const files = element(
    "p",
    { className: "line" },
    fileButton("Your photo", "image/*", takeFile),
    fileButton("Your model.safetensors", ".safetensors", takeFile),
  );

  // The sections, in the order of the equations.
  const panel = sumPanel(open, () => {
    opened = opened.slice(0, -1);
    drawSum();
  });
  const rowName = (row) => (row ? `patch ${row}` : "class token");
  const say = (unit) => (row, column) => `${rowName(row)}, ${unit(row, column)}`;
  const numbered = say((row, column) => `number ${column + 1}`);

  const patchTable = numberTable(
    "Numbers of the patch",
    colours,
    (row, column) =>
      `number ${row * patchColumns() + column + 1} of patch ${state.token || 1}`,
    (row, column) =>
      open({
        what: "pixel",
        row: state.token || 1,
        column: row * patchColumns() + column,
      }),
  );
  const patchTitle = element("p");
  const table1 = numberTable("Tokens", colours, numbered, (row, column) =>
    open({
      what: !row && state.view.equation1 === "token" ? "z0" : state.view.equation1,
      row,
      column,
    }),
  );
  const positions = toggle("Positions are added", (on) =>
    update({ changes: { ...state.changes, positions: on } }),
  );
  const view1 = viewChoices("equation1", EQUATION_1);

  const layers2 = element("div");
  const view2 = viewChoices("equation2", EQUATION_2);
  const table2 = numberTable(
    "Attention block",
    colours,
    (row, column) =>
      state.view.equation2 === "attention"
        ? `${rowName(row)} looks at ${rowName(column)}`
        : numbered(row, column),
    (row, column) => {
      const what = state.view.equation2;
      if (what !== "attention") open({ what, layer: state.layer, row, column });
      else if (state.head)
        open({ what, layer: state.layer, head: state.head, row, column });
      else open({ what: "mean", layer: state.layer, row, column });
    },
  );
  const warmth = element("input", { type: "range", min: -20, max: 20, step: 1 });
  warmth.addEventListener("change", () =>
    update({ changes: { ...state.changes, temperature: 10 ** (warmth.value / 20) } }),
  );
  const warmthSays = element("span", { className: "number" });
  const residuals = {
    msa: toggle("", (on) => setResidual("msa", on)),
    mlp: toggle("", (on) => setResidual("mlp", on)),
  };

  const view3 = viewChoices("equation3", EQUATION_3);
  const table3 = numberTable("MLP block", colours, numbered, (row, column) =>
    open({ what: state.view.equation3, layer: state.layer, row, column }),
  );

  const lensTitle = element("p");
  const lensList = element("ol", { className: "lens", start: 0 });
  const lensOnImage = toggle("", (on) => update({ lensOnImage: on }));

  const tableY = numberTable(
    "y",
    colours,
    (row, column) => `y, number ${column + 1}`,
    (row, column) => open({ what: "read", layer: sizes.depth, row: 0, column }),
  );
  const logits = element("div", { className: "sums" });

  const sections = {
    patch: section("The numbers of a patch", patchTitle, patchTable.box),
    equation1: section(
      "Equation 1: patches become tokens",
      view1.group,
      table1.box,
      positions.label,
    ),
    equation2: section(
      "Equation 2: tokens look at each other",
      layers2,
      view2.group,
      table2.box,
      element("label", { className: "line" }, "Temperature", warmth, warmthSays),
      residuals.msa.label,
    ),
    equation3: section(
      "Equation 3: the MLP",
      view3.group,
      table3.box,
      residuals.mlp.label,
    ),
    lens: section(
      "What the head would say after each block",
      lensTitle,
      lensList,
      lensOnImage.label,
    ),
    equation4: section("Equation 4, and the head", tableY.box, logits),
  };
  const right = element("form", { className: "right" }, ...Object.values(sections));
  right.addEventListener("submit", (event) => event.preventDefault());
  const form = element("form", {}, tools.group);
  form.addEventListener("submit", (event) => event.preventDefault());
  const explorer = element(
    "div",
    { className: "explorer ae-live" },
    heading,
    element("form", {}, modes.group),
    guide,
    message,
    element("div", { className: "columns" }, left, right, panel.box),
    live,
  );
  explorer.setAttribute("data-lm-suppress-shortcuts", "true");
  root.replaceChildren(explorer);

  function section(title, ...children) {
    return element(
      "section",
      { className: "section" },
      element("h3", {}, title),
      ...children,
    );
  }
  function viewChoices(name, options) {
    return choices(`live-${name}`, "Shown", options, (value) =>
      update({ view: { ...state.view, [name]: value } }),
    );
  }
  function setResidual(name, on) {
    const place = `${name} ${state.layer}`;
    const others = state.changes.noResidual.filter((one) => one !== place);
    update({
      changes: { ...state.changes, noResidual: on ? others : [...others, place] },
    });
  }
  const inOrder = () => Array.from({ length: sizes.N }, (_, place) => place);
  const patchColumns = () =>
    sizes.stem ? Math.min(sizes.patchDim, 32) : sizes.patchSize * sizes.channels;

  // ---- What depends on the model's sizes ----

  let layerChoice, headChoice, layerChoice3;

  function fitToModel() {
    const { rows, columns, height, width, depth, heads } = sizes;
    stage = makeStage({ image: "", image_size: [height, width], rows, columns });
    plain = element("canvas", { width, height, "aria-hidden": "true" });
    stage.stage.querySelector("img").replaceWith(plain);
    listenToStage();
    left.replaceChildren(
      stage.stage,
      classToken,
      legend,
      caption,
      predictions,
      form,
      hint,
      element("p", { className: "line" }, undo, restart, invertButton, clearButton),
      element("h3", {}, "Another image"),
      examples,
      files,
    );
    const numbers = Array.from({ length: depth }, (_, l) => [l + 1, l + 1]);
    layerChoice = choices("live-layer", `Layer, of ${depth}`, numbers, (layer) =>
      update({ layer }),
    );
    layerChoice3 = choices("live-layer-3", `Layer, of ${depth}`, numbers, (layer) =>
      update({ layer }),
    );
    headChoice = choices(
      "live-head",
      "Head",
      [[0, "mean"], ...Array.from({ length: heads }, (_, h) => [h + 1, h + 1])],
      (head) => update({ head }),
    );
    layers2.replaceChildren(layerChoice.group, headChoice.group);
    sections.equation3.querySelector(".ae-layers")?.remove();
    sections.equation3.firstChild.after(
      element("div", { className: "layers" }, layerChoice3.group),
    );
    drawExamples();
  }

  function drawExamples() {
    const { examples: given } = parts;
    if (!given) return;
    const size = given.channels * given.height * given.width;
    examples.replaceChildren(
      ...given.names.map((name, i) => {
        const bytes = given.bytes.slice(i * size, (i + 1) * size);
        const picture = element("canvas", {
          width: given.width,
          height: given.height,
          "aria-hidden": "true",
        });
        picture.getContext("2d").putImageData(pixelsOf(bytes, given), 0, 0);
        const made = button("", () => take(fitBytes(bytes, given, sizes), name), {
          className: "example",
          "aria-label": name,
          title: name,
        });
        made.append(picture);
        return made;
      }),
    );
  }

  // ---- Changing ----

  let running = null; // the pass under way; another is made if the state has changed

  /** Changes the state; undo leads back where the image or the model has changed. */
  function update(changes) {
    const undoable = UNDOABLE.some(
      (name) => name in changes && changes[name] !== state[name],
    );
    if (undoable && state.bytes && !changes.continues) {
      past.push(Object.fromEntries(UNDOABLE.map((name) => [name, state[name]])));
      past = past.slice(-100);
    }
    delete changes.continues; // a stroke of the brush is one change, not many
    Object.assign(state, changes);
    if (undoable) run();
    draw();
    return settled();
  }

  function goBack() {
    const earlier = past.pop();
    if (!earlier) return;
    Object.assign(state, earlier);
    run();
    draw();
  }

  const changed = () => {
    const { positions: added, temperature, noResidual } = state.changes;
    return (
      !added ||
      temperature !== 1 ||
      noResidual.length > 0 ||
      state.grey.length > 0 ||
      state.order.some((source, place) => source !== place)
    );
  };

  /** What the model gives for the state, with the guesses in order. */
  async function pass() {
    const { changes } = state;
    const bytes = arrange(state.bytes, sizes, state.order, state.grey);
    const found = await ask("run", { bytes, changes });
    const probabilities = softmax(found.logits.slice());
    const best = Array.from(probabilities, (_, k) => k);
    best.sort((a, b) => probabilities[b] - probabilities[a]);
    return { ...found, bytes, changes, probabilities, best };
  }

  /** Passes, until the state has not changed during one; what is there stays meanwhile. */
  async function passes() {
    try {
      let wanted;
      do {
        wanted = UNDOABLE.map((name) => state[name]);
        seen = await pass();
      } while (UNDOABLE.some((name, i) => state[name] !== wanted[i]));
    } catch (error) {
      message.textContent = error.message;
      return;
    } finally {
      running = null;
    }
    const [guess] = seen.best;
    if (!changed()) first = { name: classNames[guess], share: seen.probabilities[guess] };
    did?.guesses.add(guess);
    draw();
    speak();
  }

  function run() {
    running ??= passes();
    return running;
  }
  const settled = () => running ?? Promise.resolve();

  /** Another image. */
  function take(bytes, source) {
    message.textContent = "";
    first = null;
    return update({ bytes, source, order: inOrder(), grey: [], swapping: -1 });
  }

  async function takeFile(file) {
    try {
      if (/\.safetensors$/i.test(file.name)) await takeModel(file);
      else {
        let bytes = await readPhoto(file, sizes);
        const inverted = sizes.channels === 1 && hasLightEdge(bytes, sizes);
        if (inverted) bytes = invert(bytes);
        await take(bytes, file.name);
        message.textContent = inverted
          ? "The photo has a light ground and the model knows " +
            "dark ones, so light and dark were exchanged; \u201cSwap light and dark\u201d undoes it."
          : "";
      }
    } catch (error) {
      message.textContent = error.message;
    }
  }

  async function takeModel(file) {
    const buffer = await file.arrayBuffer();
    await settled();
    const reading = ask("read", { buffer });
    running = reading.catch(() => {}); // no pass begins before its sizes are known
    const found = await reading.finally(() => (running = null)).catch((error) => {
      run(); // what has changed meanwhile, with the model that stays
      throw error;
    });
    const from = { height: sizes.height, width: sizes.width, channels: sizes.channels };
    ({ sizes, classNames, weights } = found);
    [seen, first, past, opened] = [null, null, [], []];
    Object.assign(state, {
      layer: sizes.depth,
      head: 0,
      token: 0,
      swapping: -1,
      grey: [],
      order: inOrder(),
      changes: UNCHANGED,
      bytes: fitBytes(state.bytes, from, sizes),
    });
    panel.clear();
    fitToModel();
    await run();
    message.textContent =
      `${file.name}: ${sizes.depth} blocks, width ${sizes.D}, ` +
      `${sizes.rows} x ${sizes.columns} patches of ${sizes.patchSize} pixels, ` +
      `${sizes.K} classes.`;
  }

  // ---- The stage: looking, greying, swapping, drawing ----

  let [brush, stroke] = [[0, 0], false];

  function listenToStage() {
    const { grid, cells } = stage;
    const placeOf = (cell) => cells.indexOf(cell);
    grid.addEventListener("click", (event) => {
      if (state.tool !== "draw" && cells.includes(event.target))
        act(placeOf(event.target));
    });
    grid.addEventListener("keydown", (event) => {
      if (event.altKey || event.metaKey || event.ctrlKey) return;
      const drawing = state.tool === "draw";
      const place = placeOf(event.target);
      const from = drawing
        ? brush
        : [Math.floor(place / sizes.columns), place % sizes.columns];
      const target = drawing
        ? placeByKey(event, ...from, sizes.height, sizes.width)
        : placeByKey(event, ...from, sizes.rows, sizes.columns);
      if (event.key === " " || event.key === "Enter") {
        if (drawing) paintAt(...brush);
        else act(place);
      } else if (!target) return;
      else if (drawing) {
        brush = target;
        const P = sizes.patchSize;
        select(
          Math.floor(brush[0] / P) * sizes.columns + Math.floor(brush[1] / P),
          true,
        );
        live.textContent = `brush at row ${brush[0] + 1}, column ${brush[1] + 1}`;
        drawImage();
      } else select(target[0] * sizes.columns + target[1], true);
      event.preventDefault();
    });
    const under = (event) => {
      const box = grid.getBoundingClientRect();
      return [
        Math.floor((sizes.height * (event.clientY - box.top)) / box.height),
        Math.floor((sizes.width * (event.clientX - box.left)) / box.width),
      ];
    };
    grid.addEventListener("pointerdown", (event) => {
      if (state.tool !== "draw") return;
      grid.setPointerCapture(event.pointerId);
      paintAt(...(brush = under(event)));
      stroke = true;
    });
    grid.addEventListener("pointermove", (event) => {
      if (!stroke) return;
      const to = under(event);
      const steps = Math.max(
        1,
        Math.ceil(Math.hypot(to[0] - brush[0], to[1] - brush[1])),
      );
      let { bytes } = state;
      for (let i = 1; i <= steps; i++) {
        bytes = dab(
          bytes,
          sizes,
          brush[0] + ((to[0] - brush[0]) * i) / steps,
          brush[1] + ((to[1] - brush[1]) * i) / steps,
        );
      }
      brush = to;
      update({ bytes, continues: true });
    });
    for (const name of ["pointerup", "pointercancel"]) {
      grid.addEventListener(name, () => (stroke = false));
    }
  }

  function paintAt(y, x) {
    first = null;
    update({
      bytes: dab(state.bytes, sizes, y, x),
      source: "your drawing",
      order: inOrder(),
      grey: [],
    });
  }

  function select(place, focus = false) {
    stage.cells.forEach((cell, i) => (cell.tabIndex = i === place ? 0 : -1));
    if (focus) stage.cells[place].focus();
  }

  /** What a click on a patch does. */
  function act(place) {
    const { tool, grey, order, swapping } = state;
    select(place);
    if (tool === "look") update({ token: place + 1 });
    else if (tool === "grey") {
      update({
        grey: grey.includes(place)
          ? grey.filter((one) => one !== place)
          : [...grey, place],
      });
    } else if (swapping < 0) update({ swapping: place });
    else {
      const swapped = order.slice();
      [swapped[place], swapped[swapping]] = [order[swapping], order[place]];
      update({ order: place === swapping ? order : swapped, swapping: -1 });
    }
  }

  // ---- The guide ----

  function go(step) {
    state.step = Math.max(0, Math.min(STEPS.length - 1, step));
    begin();
    draw();
    guideTitle.focus();
  }
  function begin() {
    const { view, ...others } = STEPS[state.step].sets ?? {};
    Object.assign(state, others, { view: { ...state.view, ...view } });
    [opened, state.swapping] = [[], -1];
    panel.clear();
    begun = { ...state };
    did = { opened: [], guesses: new Set(seen ? [seen.best[0]] : []), done: false };
  }

  // ---- Sums ----

  /** Opens the sum behind a number. */
  function open(address) {
    opened = [...opened, address].slice(-50);
    did.opened.push(address.what);
    drawSum();
    draw();
    const below = panel.box.offsetTop > right.offsetTop; // where there is little room
    if (below) panel.box.scrollIntoView({ block: "nearest" });
  }
  const explained = (address) =>
    explain({ sizes, weights }, seen, seen.changes, seen.bytes, address);

  function drawSum() {
    if (!opened.length || !seen) return panel.clear();
    const found = explained(opened.at(-1));
    found.title = found.title.replace(/class (\d+)/, (_, k) => classNames[k - 1]);
    return panel.show(found, opened.length);
  }

  // ---- Drawing ----

  function draw() {
    const { mode, step, tool, changes } = state;
    modes.show(mode);
    guide.hidden = mode !== "guided";
    const now = STEPS[step];
    for (const [name, part] of Object.entries(sections)) {
      part.hidden = mode === "guided" && !now.parts.includes(name);
    }
    guideTitle.textContent = `${step + 1} of ${STEPS.length}. ${now.title}`;
    guideSays.textContent = now.says;
    guideBack.disabled = step === 0;
    guideNext.disabled = step === STEPS.length - 1;
    tools.show(tool);
    hint.textContent = state.swapping >= 0 ? "Now click the other patch." : HINTS[tool];
    undo.disabled = !past.length;
    restart.disabled = !changed();
    positions.input.checked = changes.positions;
    warmth.value = 20 * Math.log10(changes.temperature);
    warmthSays.textContent = digits(changes.temperature);
    for (const [name, { input, label }] of Object.entries(residuals)) {
      input.checked = !changes.noResidual.includes(`${name} ${state.layer}`);
      label.lastChild.textContent = `The residual of ${name === "msa" ? "attention" : "the MLP"} in layer ${state.layer} is there`;
    }
    if (!seen) return;
    did.done ||= now.done(state, begun, did);
    guideAsks.textContent = (did.done ? "Done: " : "Try it: ") + now.asks;
    guideAsks.classList.toggle("ae-done", did.done);
    drawImage();
    drawGuess();
    drawSections();
    drawSum();
  }

  /** The shares that colour the image, the class token's first. */
  function shares() {
    const { layer, head, token } = state;
    const { T, K, heads } = sizes;
    if (state.lensOnImage) {
      const logits = seen.lens[layer];
      return Float64Array.from(
        { length: T },
        (_, t) => softmax(logits.slice(t * K, (t + 1) * K))[seen.best[0]],
      );
    }
    const { attention } = seen.layers[layer - 1];
    const numbers = new Float64Array(T);
    const [from, to] = head ? [head - 1, head] : [0, heads];
    for (let h = from; h < to; h++) {
      for (let j = 0; j < T; j++)
        numbers[j] += attention[(h * T + token) * T + j] / (to - from);
    }
    return numbers;
  }

  function drawImage() {
    const context = plain.getContext("2d");
    context.putImageData(pixelsOf(seen.bytes, sizes), 0, 0);
    plain.style.imageRendering = sizes.height < 100 ? "pixelated" : "auto";
    if (state.tool === "draw") {
      context.fillStyle = "#e69f00";
      context.fillRect(brush[1], brush[0], 1, 1);
    }
    const { canvas, cells, outline } = stage;
    const numbers = shares();
    const highest = numbers[strongest(numbers, 1)[0]];
    const heat = canvas.getContext("2d");
    const pixels = heat.createImageData(sizes.columns, sizes.rows);
    cells.forEach((cell, i) => {
      paint(pixels.data, i, colours, stepOf(numbers[i + 1], highest));
      const marks = [
        state.grey.includes(i) && "grey",
        state.swapping === i && "to be swapped",
      ];
      const row = Math.floor(i / sizes.columns);
      cell.setAttribute(
        "aria-label",
        [
          `row ${row + 1}, column ${(i % sizes.columns) + 1}`,
          ...marks.filter(Boolean),
          format(numbers[i + 1]),
        ].join(", "),
      );
      cell.setAttribute("aria-selected", state.token === i + 1);
      cell.classList.toggle("ae-swapping", state.swapping === i);
    });
    heat.putImageData(pixels, 0, 0);
    const looking =
      state.mode === "free" ||
      STEPS[state.step].parts.some((part) =>
        ["equation2", "equation3", "lens"].includes(part),
      );
    canvas.style.opacity = looking && state.tool !== "draw" ? 0.6 : 0;
    legend.hidden = canvas.style.opacity === "0";
    top.textContent = format(highest);
    outline.hidden = state.token === 0;
    if (state.token) {
      const [row, column] = [
        Math.floor((state.token - 1) / sizes.columns),
        (state.token - 1) % sizes.columns,
      ];
      outline.style.transform = `translate(${100 * column}%, ${100 * row}%)`;
    }
    classToken.setAttribute("aria-pressed", state.token === 0);
    const who = state.token ? `patch ${state.token}` : "the class token";
    const which = state.head ? `head ${state.head}` : "mean of all heads";
    caption.textContent =
      canvas.style.opacity === "0"
        ? state.source
        : state.lensOnImage
          ? `${state.source}: what each patch gives \u201c${classNames[seen.best[0]]}\u201d, read after layer ${state.layer}`
          : `${state.source}: where ${who} looks in layer ${state.layer}, ${which}`;
  }

  function drawGuess() {
    const { best, probabilities } = seen;
    guesses.replaceChildren(
      ...best
        .slice(0, 3)
        .map((k) =>
          element(
            "li",
            {},
            element("span", { className: "name" }, classNames[k]),
            element("span", { className: "number" }, format(probabilities[k])),
            makeBar(probabilities[k]),
          ),
        ),
    );
    before.textContent =
      first && changed()
        ? `Before your changes: ${first.name}, ${format(first.share)}`
        : "";
  }

  function drawSections() {
    const { token, layer, view } = state;
    const { D, T, F, K } = sizes;
    const here = seen.layers[layer - 1];
    const shown = ([name, part]) => !part.hidden && name;
    const parts = new Set(Object.entries(sections).map(shown));
    if (parts.has("patch")) {
      const patch = token || 1;
      patchTitle.textContent = token
        ? `Patch ${patch}.`
        : "Patch 1; click another one.";
      patchTable.draw(
        seen.patches.subarray((patch - 1) * sizes.patchDim, patch * sizes.patchDim),
        patchColumns(),
      );
    }
    view1.show(view.equation1);
    if (parts.has("equation1")) {
      const tokens = new Float64Array(T * D);
      tokens.set(weights["patch_embedding.class_token"]);
      tokens.set(seen.tokens, D);
      const all = {
        token: tokens,
        position: weights["patch_embedding.position_embedding"],
        z0: seen.z0,
      };
      table1.draw(all[view.equation1], D, { chosen: token });
    }
    layerChoice.show(layer);
    layerChoice3.show(layer);
    headChoice.show(state.head);
    view2.show(view.equation2);
    if (parts.has("equation2")) {
      headChoice.group.disabled = view.equation2 !== "attention";
      if (view.equation2 === "attention")
        table2.draw(attentionTable(here), T, { shares: true, chosen: token });
      else
        table2.draw(here[view.equation2], view.equation2 === "qkv" ? 3 * D : D, {
          chosen: token,
        });
    }
    view3.show(view.equation3);
    if (parts.has("equation3")) {
      table3.draw(here[view.equation3], view.equation3 === "hidden" ? F : D, {
        chosen: token,
      });
    }
    if (parts.has("lens")) drawLens(K);
    if (parts.has("equation4")) {
      tableY.draw(seen.y, D);
      drawLogits(K);
    }
  }

  function attentionTable({ attention }) {
    const { T, heads } = sizes;
    if (state.head)
      return attention.subarray((state.head - 1) * T * T, state.head * T * T);
    const mean = new Float64Array(T * T);
    for (let i = 0; i < attention.length; i++)
      mean[i % (T * T)] += attention[i] / heads;
    return mean;
  }

  function opener(text, label, address) {
    return button(text, () => open(address), {
      className: "open number",
      "aria-label": `${label}: ${text}, open`,
    });
  }

  function drawLens(K) {
    const { token } = state;
    lensTitle.textContent = token
      ? `Read at patch ${token}:`
      : "Read at the class token:";
    lensList.replaceChildren(
      ...seen.lens.map((logits, layer) => {
        const found = softmax(logits.slice(token * K, (token + 1) * K));
        const best = found.indexOf(Math.max(...found));
        const where = layer ? `after block ${layer}` : "before the first block";
        return element(
          "li",
          {},
          element("span", { className: "where" }, where),
          element("span", { className: "name" }, classNames[best]),
          opener(format(found[best]), `${where}, ${classNames[best]}`, {
            what: "probability",
            layer,
            row: token,
            column: best,
          }),
          makeBar(found[best]),
        );
      }),
    );
    lensOnImage.input.checked = state.lensOnImage;
    lensOnImage.label.lastChild.textContent = `Colour the image by what each patch gives \u201c${classNames[seen.best[0]]}\u201d after block ${state.layer}`;
  }

  function drawLogits(K) {
    const order = seen.best.slice(0, 20);
    const lines = order.map((k) =>
      element(
        "tr",
        {},
        element("th", { scope: "row" }, classNames[k]),
        element(
          "td",
          {},
          opener(digits(seen.logits[k]), `logit of ${classNames[k]}`, {
            what: "logit",
            layer: sizes.depth,
            row: 0,
            column: k,
          }),
        ),
        element(
          "td",
          {},
          opener(format(seen.probabilities[k]), `probability of ${classNames[k]}`, {
            what: "probability",
            layer: sizes.depth,
            row: 0,
            column: k,
          }),
        ),
      ),
    );
    const heads = ["class", "logit", "probability"].map((text) =>
      element("th", { scope: "col" }, text),
    );
    logits.replaceChildren(
      element(
        "table",
        {},
        element("thead", {}, element("tr", {}, ...heads)),
        element("tbody", {}, ...lines),
      ),
      K > order.length
        ? element(
            "p",
            { className: "note" },
            `and ${K - order.length} less likely classes`,
          )
        : "",
    );
  }

  let speaking;
  function speak() {
    clearTimeout(speaking);
    speaking = setTimeout(() => {
      const numbers = shares();
      const found = strongest(numbers, 3).map(
        (j) =>
          `row ${Math.floor((j - 1) / sizes.columns) + 1}, column ${((j - 1) % sizes.columns) + 1} (${format(numbers[j])})`,
      );
      live.textContent =
        `The guess: ${classNames[seen.best[0]]}, ${format(seen.probabilities[seen.best[0]])}. ` +
        `${state.token ? `Patch ${state.token}` : "The class token"} looks most at ${found.join(", ")}.`;
    }, 500);
  }

  // ---- Files dropped anywhere on the page, and undo by the keyboard ----

  for (const name of ["dragover", "drop"]) {
    explorer.addEventListener(name, (event) => {
      event.preventDefault();
      if (name === "drop" && event.dataTransfer.files[0])
        takeFile(event.dataTransfer.files[0]);
    });
  }
  explorer.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key === "z") {
      goBack();
      event.preventDefault();
    }
  });

  fitToModel();
  begin();
  const size = parts.examples.channels * parts.examples.height * parts.examples.width;
  const last = parts.examples.names.length - 1;
  if (parts.image) await take(parts.image, parts.source);
  else {
    await take(
      fitBytes(
        parts.examples.bytes.slice(last * size, (last + 1) * size),
        parts.examples,
        sizes,
      ),
      parts.examples.names[last],
    );
  }
  past = [];
  begin();
  select(0);
  draw();
  explorer.handle = {
    state,
    update,
    settled,
    explain: explained,
    take,
    takeFile,
    seen: () => seen,
    sizes: () => sizes,
  };
  return explorer.handle;
}
