// Numbers on the screen: tables of them as colours, and the sum behind one.

import { UNSEEN, element, format, paint, placeByKey, stepOf } from "../drawing.js";
import { button } from "./controls.js";

/** A number with three digits and a real minus sign. */
export function digits(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  const text =
    size >= 1e5 || size < 1e-4
      ? value.toExponential(1)
      : String(Number(value.toPrecision(3)));
  return text.replace("-", "\u2212");
}

const BLUE = [33, 102, 172];
const RED = [178, 24, 43];
const PALE = [247, 247, 247];

/** Blue for negative numbers, red for positive ones, pale in between. */
function paintSigned(data, at, share) {
  const end = share < 0 ? BLUE : RED;
  for (let c = 0; c < 3; c++) {
    data[4 * at + c] = PALE[c] + Math.min(1, Math.abs(share)) * (end[c] - PALE[c]);
  }
  data[4 * at + 3] = 255;
}

const STEPS_BY_BUTTON = [
  ["◀", "left", "ArrowLeft"],
  ["▲", "up", "ArrowUp"],
  ["▼", "down", "ArrowDown"],
  ["▶", "right", "ArrowRight"],
];

/**
 * A table of numbers, each a coloured field that opens.
 *
 * name: what a screen reader calls it. say(row, column): the words for one number.
 * open(row, column): called when one is chosen, by click or by Enter; a finger, which
 * covers many fields, only points, and buttons move from there. point(row): called when
 * the pointer comes to another row, and with -1 when it leaves.
 */
export function numberTable(name, colours, say, open, point = () => {}) {
  const canvas = element("canvas", UNSEEN);
  const mark = element("div", { className: "mark" });
  const line = element("div", { className: "mark-row" });
  const figures = element("div", { className: "figures", ...UNSEEN });
  const field = element(
    "div",
    {
      className: "field",
      tabIndex: 0,
      role: "application",
      "aria-roledescription": "table of numbers",
    },
    canvas,
    line,
    mark,
    figures,
  );
  const readout = element("p", { className: "readout", "aria-live": "polite" });
  const ends = element("p", { className: "ends" });
  const arrows = STEPS_BY_BUTTON.map(([text, words, key]) =>
    button(text, () => place(...placeByKey({ key }, row, column, rows, columns)), {
      className: "arrow",
      "aria-label": words,
    }),
  );
  const opens = button("Open this number", () => open(row, column));
  const opening = element("p", { className: "line" }, opens, ...arrows);
  const box = element("div", { className: "table" }, field, ends, readout, opening);
  let [rows, columns, row, column, numbers] = [0, 0, 0, 0, []];
  let write = digits;

  function place(newRow, newColumn) {
    [row, column] = [newRow, newColumn];
    mark.style.left = `${(100 * column) / columns}%`;
    mark.style.top = `${(100 * row) / rows}%`;
    readout.textContent = `${say(row, column)}: ${write(numbers[row * columns + column])}`;
  }
  function under(event) {
    const box = canvas.getBoundingClientRect();
    const inside = (share, count) =>
      Math.max(0, Math.min(count - 1, Math.floor(share * count)));
    return [
      inside((event.clientY - box.top) / box.height, rows),
      inside((event.clientX - box.left) / box.width, columns),
    ];
  }
  field.addEventListener("pointermove", (event) => {
    place(...under(event));
    point(row);
  });
  field.addEventListener("pointerleave", () => point(-1));
  field.addEventListener("click", (event) => {
    place(...under(event));
    if (event.pointerType !== "touch") open(row, column);
  });
  field.addEventListener("keydown", (event) => {
    if (event.altKey || event.metaKey) return;
    const target = placeByKey(event, row, column, rows, columns);
    if (target) place(...target);
    else if (event.key === "Enter" || event.key === " ") open(row, column);
    else return;
    event.preventDefault();
  });

  /**
   * Shows (rows, columns) numbers; `shares` are coloured from 0 up, others by sign.
   * chosen: a row to mark. parts: how many parts the columns have, with lines between.
   */
  function draw(values, count, { shares = false, chosen = -1, parts = 1 } = {}) {
    numbers = values;
    write = shares ? format : digits;
    [columns, rows] = [count, values.length / count];
    [canvas.width, canvas.height] = [columns, rows];
    field.style.maxWidth = `${columns * 3.6}rem`;
    field.style.aspectRatio = `${columns} / ${Math.max(rows, columns / 24)}`;
    let highest = 0;
    for (const value of values) highest = Math.max(highest, Math.abs(value));
    const context = canvas.getContext("2d");
    const pixels = context.createImageData(columns, rows);
    for (let i = 0; i < values.length; i++) {
      if (shares) paint(pixels.data, i, colours, stepOf(values[i], highest));
      else paintSigned(pixels.data, i, values[i] / (highest || 1));
    }
    context.putImageData(pixels, 0, 0);
    const few = values.length <= 64 && columns <= 8;
    figures.replaceChildren(
      ...(few
        ? Array.from(values, (value, i) => {
            const dark =
              pixels.data[4 * i] + pixels.data[4 * i + 1] + pixels.data[4 * i + 2] <
              380;
            return element("span", { className: dark ? "on-dark" : "" }, write(value));
          })
        : []),
    );
    figures.style.gridTemplateColumns = `repeat(${columns}, 1fr)`;
    field.setAttribute(
      "aria-label",
      `${name}: ${rows} rows, ${columns} columns. Arrows move, Enter opens a number.`,
    );
    mark.style.width = `${100 / columns}%`;
    mark.style.height = `${100 / rows}%`;
    line.hidden = chosen < 0 || rows === 1;
    line.style.top = `${(100 * chosen) / rows}%`;
    line.style.height = `${100 / rows}%`;
    field.style.setProperty("--parts", parts);
    field.classList.toggle("ae-parted", parts > 1);
    ends.textContent = shares
      ? `violet is 0, yellow the most here, ${write(highest)}`
      : `blue is ${digits(-highest)}, red is ${digits(highest)}`;
    place(Math.min(row, rows - 1), Math.min(column, columns - 1));
  }
  return { box, draw };
}

const SHOWN = 8; // terms of a long sum, the largest

/**
 * Where the sum behind a number is shown.
 *
 * open: called with an address. back, close: called when the reader wants that.
 */
export function sumPanel(open, back, close) {
  const backButton = button("Back", back);
  const closeButton = button("Close", close);
  const title = element("h3", { id: "live-sum", tabIndex: -1 });
  const words = element("p", { className: "equation" });
  const total = element("p", { className: "total" });
  const tables = element("div", { className: "sums" });
  const empty = element("p", {}, "Choose any number to see what it is made of.");
  const line = element("p", { className: "line" }, backButton, closeButton);
  const filled = element("div", { hidden: true }, words, total, tables, line);
  title.textContent = "The sum behind it";
  const box = element(
    "aside",
    { className: "sum", "aria-labelledby": "live-sum" },
    title,
    empty,
    filled,
  );

  /** A value that leads on, if it has an address. */
  function link({ label, value, address }) {
    const text = digits(value);
    if (!address) return element("span", { className: "number" }, text);
    return button(
      text,
      () => {
        open(address);
        title.focus(); // the button is gone
      },
      { className: "open number", "aria-label": `${label}: ${text}, open` },
    );
  }

  const cell = (...children) => element("td", {}, ...children);
  const heading = (text) => element("th", { scope: "col" }, text);
  const rowOf = (label, ...cells) =>
    element("tr", {}, element("th", { scope: "row" }, label), ...cells);

  function products({ terms, columns }, all) {
    const order = [...terms].sort((a, b) => Math.abs(b.value) - Math.abs(a.value));
    const shown = all ? terms : order.slice(0, SHOWN);
    const rest = all ? 0 : terms.length - shown.length;
    const lines = shown.map(({ a, b, value }) =>
      rowOf(a.label, cell(link(a)), cell(link(b)), cell(digits(value))),
    );
    if (rest > 0) {
      const others = order.slice(SHOWN).reduce((sum, { value }) => sum + value, 0);
      lines.push(rowOf(`${rest} smaller ones`, cell(), cell(), cell(digits(others))));
    }
    return element(
      "table",
      {},
      element(
        "thead",
        {},
        element(
          "tr",
          {},
          heading(rest > 0 ? "largest terms" : "terms"),
          ...columns.map(heading),
        ),
      ),
      element("tbody", {}, ...lines),
    );
  }

  function show(found, depth) {
    empty.hidden = true;
    filled.hidden = false;
    box.classList.add("ae-opened");
    title.textContent = found.title;
    words.textContent = [found.equation, found.formula].filter(Boolean).join(": ");
    total.textContent = `= ${digits(found.total)}`;
    backButton.hidden = depth < 2;
    const parts = [];
    if (found.terms.length) {
      parts.push(products(found, found.terms.length <= SHOWN));
      if (found.terms.length > SHOWN) {
        const more = button(`All ${found.terms.length} terms`, () => {
          parts[0].replaceWith(products(found, true));
          more.remove();
        });
        parts.push(more);
      }
    }
    const lines = [...found.added, ...found.steps];
    if (lines.length) {
      parts.push(
        element(
          "table",
          {},
          element(
            "tbody",
            {},
            ...lines.map((line) => rowOf(line.label, cell(link(line)))),
          ),
        ),
      );
    }
    tables.replaceChildren(...parts);
  }

  function clear() {
    empty.hidden = false;
    filled.hidden = true;
    box.classList.remove("ae-opened");
    title.textContent = "The sum behind it";
  }
  return { box, title, show, clear };
}
