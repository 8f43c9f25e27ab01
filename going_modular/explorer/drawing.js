// What the pages of this folder draw with: elements, colours, the image with its grid.
//
// Text of files is only ever set as text, so nothing in it can run.

/** The places of the `count` greatest patches, greatest first. */
export function strongest(numbers, count) {
  const best = [];
  for (let j = 1; j < numbers.length; j++) {
    if (best.length === count && numbers[j] <= numbers[best[count - 1]]) continue;
    const at = best.findIndex((k) => numbers[j] > numbers[k]);
    best.splice(at < 0 ? best.length : at, 0, j);
    if (best.length > count) best.pop();
  }
  return best;
}

/** A share in percent; a plain number with three digits. */
export function format(value, plain = false) {
  if (plain) return value ? Number(value.toPrecision(3)).toString() : "0";
  const percent = 100 * value;
  if (percent > 0 && percent < 0.01) return "under 0.01\u00a0%";
  return `${percent.toFixed(percent > 0 && percent < 1 ? 2 : 1)}\u00a0%`;
}

export const UNSEEN = { "aria-hidden": "true" }; // by a screen reader, which has the words

export function element(tag, properties = {}, ...children) {
  const { className, ...rest } = properties;
  const made = document.createElement(tag);
  if (className) made.className = `ae-${className}`;
  for (const [name, value] of Object.entries(rest)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** A row of radio buttons; `pick` is called with the value chosen. */
export function choices(name, title, options, pick) {
  const legend = element("legend", {}, title);
  const inputs = new Map();
  const labels = options.map(([value, text]) => {
    const input = element("input", { type: "radio", name });
    input.addEventListener("change", () => pick(value));
    inputs.set(value, input);
    return element("label", { className: "choice" }, input, element("span", {}, text));
  });
  const chips = element("div", { className: "choices" }, ...labels);
  const group = element("fieldset", {}, legend, chips);
  return { group, legend, show: (value) => (inputs.get(value).checked = true) };
}

/** The image with its heat map, the grid of patches and the outline of the query. */
export function makeStage({ image, image_size: [height, width], rows, columns }) {
  const picture = element("img", { src: image, alt: "", draggable: false });
  const canvas = element("canvas", { width: columns, height: rows, ...UNSEEN });
  const cells = [];
  const lines = Array.from({ length: rows }, (_, row) =>
    element("div", { role: "row" }, ...Array.from({ length: columns }, (_, column) => {
      const cell = element("div", {
        role: "gridcell",
        tabIndex: -1,
        "aria-label": `row ${row + 1}, column ${column + 1}`,
        "aria-selected": "false",
      });
      cells.push(cell);
      return cell;
    })));
  const grid = element("div", {
    role: "grid",
    className: "grid",
    "aria-label": `Patches of the image, ${rows} rows and ${columns} columns`,
  }, ...lines);
  const outline = element("div", { className: "outline" });
  [outline.style.width, outline.style.height] = [`${100 / columns}%`, `${100 / rows}%`];
  const stage = element("div", { className: "stage" }, picture, canvas, grid, outline);
  stage.style.aspectRatio = `${width} / ${height}`;
  stage.style.maxWidth = `min(100%, ${Math.min(1, width / height) * 30}rem)`;
  // Few pixels are shown as the squares that they are.
  if (Math.max(width, height) < 100) picture.style.imageRendering = "pixelated";
  return { stage, canvas, cells, grid, outline };
}

/** The 256 colours that Python wrote as six hexadecimal digits each. */
export function readColours(text) {
  return text.match(/../g).map((pair) => parseInt(pair, 16));
}

/** The number of a colour, 0 to 255, for a value between 0 and the highest. */
export function stepOf(value, highest) {
  return Math.min(255, Math.floor(256 * value / (highest || 1)));
}

/** Sets a pixel of some image data to one of the colours. */
export function paint(data, at, colours, step) {
  for (let c = 0; c < 3; c++) data[4 * at + c] = colours[3 * step + c];
  data[4 * at + 3] = 255;
}

/** A canvas with all colours, from left to right. */
export function makeRamp(colours) {
  const ramp = element("canvas", { width: 256, height: 1, ...UNSEEN });
  const context = ramp.getContext("2d");
  const pixels = context.createImageData(256, 1);
  for (let i = 0; i < 256; i++) paint(pixels.data, i, colours, i);
  context.putImageData(pixels, 0, 0);
  return ramp;
}

/** The row and column to which a key leads from another one; nothing for other keys. */
export function placeByKey({ key, ctrlKey }, row, column, rows, columns) {
  const [lastRow, lastColumn] = [rows - 1, columns - 1];
  return {
    ArrowLeft: [row, Math.max(0, column - 1)],
    ArrowRight: [row, Math.min(lastColumn, column + 1)],
    ArrowUp: [Math.max(0, row - 1), column],
    ArrowDown: [Math.min(lastRow, row + 1), column],
    Home: [ctrlKey ? 0 : row, 0],
    End: [ctrlKey ? lastRow : row, lastColumn],
    PageUp: [0, column],
    PageDown: [lastRow, column],
  }[key];
}

/** A bar as long as a share of its place. */
export function makeBar(share) {
  const bar = element("div", { className: "bar" }, element("div"));
  bar.firstChild.style.width = `${100 * share}%`;
  return bar;
}

/** The classes and their bars; nothing for a backbone, which has no head. */
export function makePredictions(predictions) {
  if (!predictions.length) return "";
  const lines = predictions.map(({ name, probability }) => {
    return element("li", {}, element("span", { className: "name" }, name),
      element("span", { className: "number" }, format(probability)),
      makeBar(probability));
  });
  return element("section", { className: "predictions" },
    element("h3", {}, "What the model predicts"), element("ol", {}, ...lines));
}
