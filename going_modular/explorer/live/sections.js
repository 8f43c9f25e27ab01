// What the model computes, in the order of the equations; every number opens.

import { choices, element, format, makeBar } from "../drawing.js";
import { button, section, toggle } from "./controls.js";
import { digits, numberTable } from "./numbers.js";
import { softmax } from "./vit.js";

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
const MOST_CLASSES = 20; // that are listed with their logits

const rowName = (row) => (row ? `patch ${row}` : "class token");
const numbered = (row, column) => `${rowName(row)}, number ${column + 1}`;

/**
 * Builds the sections of a session. Returns, by name, each one's box, fit() for a model
 * of other sizes where there is something to fit, and draw().
 *
 * open: called with the address of a number.
 */
export function makeSections(session, colours, open) {
  return {
    patch: patchSection(session, colours, open),
    equation1: tokenSection(session, colours, open),
    equation2: attentionSection(session, colours, open),
    equation3: mlpSection(session, colours, open),
    lens: lensSection(session, open),
    equation4: headSection(session, colours, open),
  };
}

function patchSection(session, colours, open) {
  const { state } = session;
  const patch = () => state.token || 1;
  const columns = () => {
    const { stem, patchDim, patchSize, channels } = session.sizes;
    return stem ? Math.min(patchDim, 32) : patchSize * channels;
  };
  const which = element("p");
  const table = numberTable(
    "Numbers of the patch",
    colours,
    (row, column) => `number ${row * columns() + column + 1} of patch ${patch()}`,
    (row, column) =>
      open({ what: "pixel", row: patch(), column: row * columns() + column }),
  );
  const box = section("The numbers of a patch", which, table.box);
  function draw() {
    const { patchDim } = session.sizes;
    const from = (patch() - 1) * patchDim;
    which.textContent = state.token
      ? `Patch ${patch()}.`
      : "Patch 1; click another one.";
    table.draw(session.seen.patches.subarray(from, from + patchDim), columns());
  }
  return { box, draw };
}

/** What the reader has chosen to see in the section of an equation. */
function viewChoices(session, name, options) {
  return choices(`live-${name}`, "Shown", options, (value) =>
    session.update({ view: { ...session.state.view, [name]: value } }),
  );
}

/** A row of radio buttons for the layer, made anew for each model. */
function layerChoices(session, name) {
  const { depth } = session.sizes;
  const numbers = Array.from({ length: depth }, (_, l) => [l + 1, l + 1]);
  return choices(name, `Layer, of ${depth}`, numbers, (layer) =>
    session.update({ layer }),
  );
}

/** The checkbox that takes a residual of the layer away: "msa" or "mlp". */
function residualToggle(session, name, words) {
  const { state } = session;
  const place = () => `${name} ${state.layer}`;
  const made = toggle("", (on) => {
    const others = state.changes.noResidual.filter((one) => one !== place());
    const noResidual = on ? others : [...others, place()];
    session.update({ changes: { ...state.changes, noResidual } });
  });
  const draw = () =>
    made.show(
      !state.changes.noResidual.includes(place()),
      `The residual of ${words} in layer ${state.layer} is there`,
    );
  return { label: made.label, draw };
}

function tokenSection(session, colours, open) {
  const { state } = session;
  const view = viewChoices(session, "equation1", EQUATION_1);
  const table = numberTable("Tokens", colours, numbered, (row, column) => {
    const shown = state.view.equation1;
    open({ what: !row && shown === "token" ? "z0" : shown, row, column });
  });
  const added = toggle("Positions are added", (on) =>
    session.update({ changes: { ...state.changes, positions: on } }),
  );
  const box = section(
    "Equation 1: patches become tokens",
    view.group,
    table.box,
    added.label,
  );
  function draw() {
    const { sizes, seen, weights } = session;
    const tokens = new Float64Array(sizes.T * sizes.D);
    tokens.set(weights["patch_embedding.class_token"]);
    tokens.set(seen.tokens, sizes.D);
    const all = {
      token: tokens,
      position: weights["patch_embedding.position_embedding"],
      z0: seen.z0,
    };
    view.show(state.view.equation1);
    added.show(state.changes.positions);
    table.draw(all[state.view.equation1], sizes.D, { chosen: state.token });
  }
  return { box, draw };
}

function attentionSection(session, colours, open) {
  const { state } = session;
  const shown = () => state.view.equation2;
  const view = viewChoices(session, "equation2", EQUATION_2);
  const table = numberTable(
    "Attention block",
    colours,
    (row, column) =>
      shown() === "attention"
        ? `${rowName(row)} looks at ${rowName(column)}`
        : numbered(row, column),
    (row, column) => {
      const { layer, head } = state;
      if (shown() !== "attention") open({ what: shown(), layer, row, column });
      else if (head) open({ what: "attention", layer, head, row, column });
      else open({ what: "mean", layer, row, column });
    },
  );
  const temperature = element("input", { type: "range", min: -20, max: 20, step: 1 });
  temperature.addEventListener("change", () => {
    const chosen = 10 ** (temperature.value / 20);
    session.update({ changes: { ...state.changes, temperature: chosen } });
  });
  const reading = element("span", { className: "number" });
  const residual = residualToggle(session, "msa", "attention");
  const places = element("div");
  let layers, heads; // radio buttons, made anew for each model
  const box = section(
    "Equation 2: tokens look at each other",
    places,
    view.group,
    table.box,
    element("label", { className: "line" }, "Temperature", temperature, reading),
    residual.label,
  );
  function fit() {
    const numbers = Array.from({ length: session.sizes.heads }, (_, h) => [
      h + 1,
      h + 1,
    ]);
    layers = layerChoices(session, "live-layer");
    heads = choices("live-head", "Head", [[0, "mean"], ...numbers], (head) =>
      session.update({ head }),
    );
    places.replaceChildren(layers.group, heads.group);
  }

  /** (T, T) shares of a head, or of the mean of all. */
  function attention() {
    const { T, heads: count } = session.sizes;
    const all = session.seen.layers[state.layer - 1].attention;
    if (state.head) return all.subarray((state.head - 1) * T * T, state.head * T * T);
    const mean = new Float64Array(T * T);
    all.forEach((share, i) => (mean[i % (T * T)] += share / count));
    return mean;
  }
  function draw() {
    const { T, D } = session.sizes;
    layers.show(state.layer);
    heads.show(state.head);
    heads.group.disabled = shown() !== "attention";
    view.show(shown());
    temperature.value = 20 * Math.log10(state.changes.temperature);
    reading.textContent = digits(state.changes.temperature);
    residual.draw();
    const chosen = state.token;
    if (shown() === "attention") table.draw(attention(), T, { shares: true, chosen });
    else {
      const numbers = session.seen.layers[state.layer - 1][shown()];
      table.draw(numbers, shown() === "qkv" ? 3 * D : D, { chosen });
    }
  }
  return { box, fit, draw };
}

function mlpSection(session, colours, open) {
  const { state } = session;
  const shown = () => state.view.equation3;
  const view = viewChoices(session, "equation3", EQUATION_3);
  const table = numberTable("MLP block", colours, numbered, (row, column) =>
    open({ what: shown(), layer: state.layer, row, column }),
  );
  const residual = residualToggle(session, "mlp", "the MLP");
  const places = element("div");
  let layers; // radio buttons, made anew for each model
  const box = section(
    "Equation 3: the MLP",
    places,
    view.group,
    table.box,
    residual.label,
  );
  function fit() {
    layers = layerChoices(session, "live-layer-3");
    places.replaceChildren(layers.group);
  }
  function draw() {
    const { D, F } = session.sizes;
    layers.show(state.layer);
    view.show(shown());
    residual.draw();
    const numbers = session.seen.layers[state.layer - 1][shown()];
    table.draw(numbers, shown() === "hidden" ? F : D, { chosen: state.token });
  }
  return { box, fit, draw };
}

/** A number that opens, with the words for it. */
function opener(text, words, open, address) {
  return button(text, () => open(address), {
    className: "open number",
    "aria-label": `${words}: ${text}, open`,
  });
}

function lensSection(session, open) {
  const { state } = session;
  const title = element("p");
  const list = element("ol", { className: "lens", start: 0 });
  const onImage = toggle("", (on) => session.update({ lensOnImage: on }));
  const box = section(
    "What the head would say after each block",
    title,
    list,
    onImage.label,
  );

  /** The guess of the chosen token after a block; 0 is before the first one. */
  function line(logits, layer) {
    const { K } = session.sizes;
    const row = state.token;
    const found = softmax(logits.slice(row * K, (row + 1) * K));
    const best = found.indexOf(Math.max(...found));
    const name = session.classNames[best];
    const where = layer ? `after block ${layer}` : "before the first block";
    const address = { what: "probability", layer, row, column: best };
    return element(
      "li",
      {},
      element("span", { className: "where" }, where),
      element("span", { className: "name" }, name),
      opener(format(found[best]), `${where}, ${name}`, open, address),
      makeBar(found[best]),
    );
  }
  function draw() {
    const name = session.classNames[session.seen.best[0]];
    title.textContent = `Read at ${state.token ? "" : "the "}${rowName(state.token)}:`;
    list.replaceChildren(...session.seen.lens.map(line));
    onImage.show(
      state.lensOnImage,
      `Colour the image by what each patch gives \u201c${name}\u201d after block ${state.layer}`,
    );
  }
  return { box, draw };
}

function headSection(session, colours, open) {
  const table = numberTable(
    "y",
    colours,
    (row, column) => `y, number ${column + 1}`,
    (row, column) => open({ what: "read", layer: session.sizes.depth, row: 0, column }),
  );
  const classes = element("div", { className: "sums" });
  const box = section("Equation 4, and the head", table.box, classes);

  function line(k) {
    const { seen, sizes, classNames } = session;
    const at = { layer: sizes.depth, row: 0, column: k };
    const cell = (what, text) => {
      const made = opener(text, `${what} of ${classNames[k]}`, open, { what, ...at });
      return element("td", {}, made);
    };
    return element(
      "tr",
      {},
      element("th", { scope: "row" }, classNames[k]),
      cell("logit", digits(seen.logits[k])),
      cell("probability", format(seen.probabilities[k])),
    );
  }
  function draw() {
    const { seen, sizes } = session;
    table.draw(seen.y, sizes.D);
    const heads = ["class", "logit", "probability"].map((text) =>
      element("th", { scope: "col" }, text),
    );
    const lines = seen.best.slice(0, MOST_CLASSES).map(line);
    const rest = sizes.K - lines.length;
    const note = `and ${rest} less likely classes`;
    classes.replaceChildren(
      element(
        "table",
        {},
        element("thead", {}, element("tr", {}, ...heads)),
        element("tbody", {}, ...lines),
      ),
      rest ? element("p", { className: "note" }, note) : "",
    );
  }
  return { box, draw };
}
