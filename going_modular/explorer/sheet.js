// All layers and heads at a glance, and what is shown as files to keep.

import { UNSEEN, element, paint, stepOf, strongest } from "./drawing.js";

/**
 * A table of small maps, a row for each layer and a column for each head.
 *
 * read(state): the T numbers of a state. pick(layer, head): called for the one chosen.
 * Returns box, and draw(state), which does something only while the table is open.
 */
export function makeSheet({ rows, columns, layers, heads }, read, colours, pick) {
  const maps = [];
  const heading = (text) => element("th", { scope: "col" }, text);
  const lines = layers.map((layer) => element("tr", {},
    element("th", { scope: "row" }, `${layer}`),
    ...Array.from({ length: heads }, (_, h) => {
      const canvas = element("canvas", { width: columns, height: rows, ...UNSEEN });
      const button = element("button", {
        type: "button", "aria-label": `layer ${layer}, head ${h + 1}`, "aria-pressed": "false",
      }, canvas);
      button.addEventListener("click", () => pick(layer, h + 1));
      maps.push({ layer, head: h + 1, canvas, button });
      return element("td", {}, button);
    })));
  const numbers = Array.from({ length: heads }, (_, h) => heading(`${h + 1}`));
  const table = element("table", {},
    element("thead", {}, element("tr", {}, heading("layer \\ head"), ...numbers)),
    element("tbody", {}, ...lines));
  const box = element("details", { className: "sheet" },
    element("summary", {}, "All layers and heads"),
    element("p", { className: "hint" }, "Each map has its own scale. Click one to see it large."),
    element("div", { className: "sheet-table", tabIndex: 0, role: "region",
      "aria-label": "All layers and heads" }, table));

  function draw(state) {
    if (!box.open) return;
    for (const { layer, head, canvas, button } of maps) {
      const shown = read({ ...state, layer, head });
      const highest = shown[strongest(shown, 1)[0]];
      const context = canvas.getContext("2d");
      const pixels = context.createImageData(columns, rows);
      for (let i = 0; i < rows * columns; i++) {
        paint(pixels.data, i, colours, stepOf(shown[i + 1], highest));
      }
      context.putImageData(pixels, 0, 0);
      button.setAttribute("aria-pressed", layer === state.layer && head === state.head);
    }
  }
  return { box, draw };
}

/** Hands the reader a file. */
function save(name, blob) {
  const link = element("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

const LEAST_SIDE = 512; // pixels of a picture's longer side

/** The image with its heat map and its outline, as a PNG. */
export function savePicture(name, picture, heat, { row, column, opacity }, grid) {
  const scale = Math.max(1, Math.ceil(LEAST_SIDE / Math.max(picture.width, picture.height)));
  const [width, height] = [picture.width * scale, picture.height * scale];
  const canvas = element("canvas", { width, height });
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(picture.source, 0, 0, width, height);
  context.globalAlpha = opacity;
  context.drawImage(heat, 0, 0, width, height);
  context.globalAlpha = 1;
  if (row >= 0) {
    const [w, h] = [width / grid.columns, height / grid.rows];
    context.lineWidth = Math.max(2, width / 150);
    context.strokeStyle = "#e69f00";
    context.strokeRect(column * w, row * h, w, h);
  }
  canvas.toBlob((blob) => save(name, blob), "image/png");
}

/** The numbers of a state, patches row by row, as JSON. */
export function saveNumbers(name, about, numbers, columns) {
  const patches = [];
  for (let i = 1; i < numbers.length; i += columns) {
    patches.push(Array.from(numbers.slice(i, i + columns)));
  }
  const text = JSON.stringify({ ...about, class_token: numbers[0], patches }, null, 1);
  save(name, new Blob([text], { type: "application/json" }));
}
