// What the model computes, in the order of the equations; every number opens.

import { choices, element, format, makeBar } from "../drawing.js";
import { button, section, toggle } from "./controls.js";
import { digits, numberTable } from "./numbers.js";
import { softmax } from "./vit.js";

// Each equation as the paper writes it, and what its letters mean.
const EQUATIONS = {
  1: [
    "z₀ = [x_class; x₁E; x₂E; … ; x_N E] + E_pos",
    "Each patch x, a list of numbers, times the matrix E is a token. The class token x_class stands in front, and each place has a position in E_pos. Semicolons put tokens in a row.",
  ],
  2: [
    "z′ = MSA(LN(z)) + z",
    "LN, LayerNorm, brings the numbers of each token to one scale. MSA, multi-head self-attention, lets tokens look at each other: in each head, a token has a query q, a key k and a value v (Equations 5 to 8 of the paper). + z is the residual.",
  ],
  3: [
    "z = MLP(LN(z′)) + z′",
    "The MLP, a multilayer perceptron, is two linear layers with a GELU between them, which lets positive numbers through. + z′ is the residual.",
  ],
  4: [
    "y = LN(z of the class token, after the last layer)",
    "From y the classifier computes a logit, a score, for each class: a sum of y's numbers, each times a weight. Softmax makes the logits probabilities.",
  ],
};
const EQUATION_1 = [
  ["token", "tokens, before positions"],
  ["position", "positions"],
  ["z0", "z₀, their sum"],
];
const EQUATION_2 = [
  ["attention", "attention"],
  ["qkv", "q, k, v"],
  ["values", "values, mixed by the shares"],
  ["msa", "MSA"],
  ["zPrime", "z′"],
];
const EQUATION_3 = [
  ["norm2", "LN(z′)"],
  ["hidden", "inside the MLP"],
  ["mlp", "MLP"],
  ["z", "z"],
];
const MOST_CLASSES = 20; // that are listed with their logits

const rowName = (row) => (row ? `patch ${row}` : "class token");
const numbered = (row, column) => `${rowName(row)}, number ${column + 1}`;

/** The lines under the heading of an equation's section. */
function equation(number) {
  const [written, says] = EQUATIONS[number];
  return [
    element("p", { className: "written" }, written),
    element("p", { className: "gloss" }, says),
  ];
}

/** What the rows and the columns of a table are. */
const axes = (says) => element("p", { className: "note" }, says);
const TOKENS =
  "A row is a token, the class token first; a column is one of its numbers.";

/**
 * Builds the sections of a session. Returns, by name, each one's box, fit() for a model
 * of other sizes where there is something to fit, and draw().
 *
 * open: called with the address of a number. point: called with the token of the row
 * that the pointer is on, -1 for none.
 */
export function makeSections(session, colours, open, point) {
  return {
    patch: patchSection(session, colours, open),
    equation1: tokenSection(session, colours, open, point),
    equation2: attentionSection(session, colours, open, point),
    equation3: mlpSection(session, colours, open, point),
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
      `Add the residual of ${words} in layer ${state.layer}`,
    );
  return { label: made.label, draw };
}

function tokenSection(session, colours, open, point) {
  const { state } = session;
  const view = viewChoices(session, "equation1", EQUATION_1);
  const openShown = (row, column) => {
    const shown = state.view.equation1;
    open({ what: !row && shown === "token" ? "classToken" : shown, row, column });
  };
  const table = numberTable("Tokens", colours, numbered, openShown, point);
  const added = toggle("Add the positions", (on) =>
    session.update({ changes: { ...state.changes, positions: on } }),
  );
  const box = section(
    "Equation 1: patches become tokens",
    ...equation(1),
    added.label,
    view.group,
    axes(TOKENS),
    table.box,
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

function attentionSection(session, colours, open, point) {
  const { state } = session;
  const shown = () => state.view.equation2;
  const view = viewChoices(session, "equation2", EQUATION_2);
  const table = numberTable(
    "Attention block",
    colours,
    say,
    (row, column) => {
      const { layer, head } = state;
      if (shown() !== "attention") open({ what: shown(), layer, row, column });
      else if (head) open({ what: "attention", layer, head, row, column });
      else open({ what: "mean", layer, row, column });
    },
    point,
  );
  function say(row, column) {
    if (shown() === "attention") return `${rowName(row)} looks at ${rowName(column)}`;
    if (shown() !== "qkv") return numbered(row, column);
    const { D, heads: count } = session.sizes;
    const [kind, place] = [Math.floor(column / D), column % D];
    const head = Math.floor((place * count) / D);
    const number = place - (head * D) / count;
    return `${rowName(row)}, ${["query", "key", "value"][kind]} of head ${head + 1}, number ${number + 1}`;
  }
  const temperature = element("input", { type: "range", min: -20, max: 20, step: 1 });
  let sliding = false; // all that is done while one is at it is one change
  temperature.addEventListener("input", () => {
    const chosen = 10 ** (temperature.value / 20);
    const changes = { ...state.changes, temperature: chosen };
    session.update({ changes, continues: sliding });
    sliding = true;
  });
  temperature.addEventListener("blur", () => (sliding = false));
  const reading = element("span", { className: "number" });
  const tableSays = axes("");
  const residual = residualToggle(session, "msa", "attention");
  const places = element("div", { className: "places" });
  let layers, heads; // radio buttons, made anew for each model
  const box = section(
    "Equation 2: tokens look at each other",
    ...equation(2),
    places,
    residual.label,
    view.group,
    tableSays,
    table.box,
    element(
      "label",
      { className: "line" },
      "Temperature of every softmax",
      temperature,
      reading,
    ),
    axes("Scores are divided by it: above 1, shares become more alike; below 1, less."),
  );
  function fit() {
    const numbers = Array.from({ length: session.sizes.heads }, (_, h) => [
      h + 1,
      h + 1,
    ]);
    layers = layerChoices(session, "live-layer");
    heads = choices("live-head", "Attention head", [[0, "mean"], ...numbers], (head) =>
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
    if (shown() === "attention") {
      tableSays.textContent =
        "A row is the token that looks, a column what it looks at.";
      table.draw(attention(), T, { shares: true, chosen });
      return;
    }
    const numbers = session.seen.layers[state.layer - 1][shown()];
    const parts = shown() === "qkv" ? 3 : 1;
    tableSays.textContent =
      parts > 1 ? `${TOKENS} Queries, keys and values stand side by side.` : TOKENS;
    table.draw(numbers, parts * D, { chosen, parts });
  }
  return { box, fit, draw };
}

function mlpSection(session, colours, open, point) {
  const { state } = session;
  const shown = () => state.view.equation3;
  const view = viewChoices(session, "equation3", EQUATION_3);
  const openShown = (row, column) =>
    open({ what: shown(), layer: state.layer, row, column });
  const table = numberTable("MLP block", colours, numbered, openShown, point);
  const residual = residualToggle(session, "mlp", "the MLP");
  const places = element("div", { className: "places" });
  let layers; // radio buttons, made anew for each model
  const box = section(
    "Equation 3: the MLP",
    ...equation(3),
    places,
    residual.label,
    view.group,
    axes(TOKENS),
    table.box,
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
  const places = element("div", { className: "places" });
  let layers; // radio buttons, made anew for each model
  const box = section(
    "What the classifier would say after each layer",
    title,
    list,
    onImage.label,
    places,
  );
  function fit() {
    layers = layerChoices(session, "live-layer-lens");
    places.replaceChildren(layers.group);
  }

  /** The guess of the chosen token after a layer; 0 is before the first one. */
  function line(logits, layer) {
    const { K } = session.sizes;
    const row = state.token;
    const found = softmax(logits.slice(row * K, (row + 1) * K));
    const best = found.indexOf(Math.max(...found));
    const name = session.classNames[best];
    const where = layer ? `after layer ${layer}` : "before the first layer";
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
    title.textContent = state.token
      ? `Read at ${rowName(state.token)}:`
      : "Read at the class token. Before the first layer it has seen nothing of the image, so there it says the same of every image.";
    layers.show(state.layer);
    places.hidden = !state.lensOnImage;
    list.replaceChildren(...session.seen.lens.map(line));
    onImage.show(
      state.lensOnImage,
      `Colour the image by what each patch gives \u201c${name}\u201d after layer ${state.layer}`,
    );
  }
  return { box, fit, draw };
}

function headSection(session, colours, open) {
  const table = numberTable(
    "y",
    colours,
    (row, column) => `y, number ${column + 1}`,
    (row, column) => open({ what: "read", layer: session.sizes.depth, row: 0, column }),
  );
  const classes = element("div", { className: "sums" });
  const box = section(
    "Equation 4, and the classifier",
    ...equation(4),
    axes("The numbers of y:"),
    table.box,
    classes,
  );

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
