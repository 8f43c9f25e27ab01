// The image that one can touch: look, grey out, swap, draw.

import {
  choices,
  element,
  format,
  makeRamp,
  makeStage,
  paint,
  placeByKey,
  stepOf,
  strongest,
} from "../drawing.js";
import { button } from "./controls.js";
import { dab, pixelsOf } from "./pictures.js";

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
const BRUSH = "#e69f00";

/**
 * Builds the image of a session. Returns picture (stage, class token, legend), tools,
 * fit() for a model of other sizes, draw(coloured) and point(token).
 *
 * announce: called with what a screen reader should say.
 */
export function makeImage(session, colours, announce) {
  const { state } = session;
  let stage, plain; // made anew for each model
  let [brush, stroke] = [[0, 0], false];
  let brushShown = false; // keys need to see where it is, a pointer does not

  const frame = element("div");
  const classToken = button("class token", () => session.update({ token: 0 }), {
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
  let pointed = -1; // the patch that a table points at
  const tool = choices("live-tool", "A click on the image", TOOLS, (name) =>
    session.update({ tool: name, swapping: -1 }),
  );
  const hint = element("p", { className: "hint" });
  const form = element("form", {}, tool.group);
  form.addEventListener("submit", (event) => event.preventDefault());

  const placeAt = (row, column) => row * session.sizes.columns + column;
  const rowAndColumn = (place) => {
    const { columns } = session.sizes;
    return [Math.floor(place / columns), place % columns];
  };

  function fit() {
    const { rows, columns, height, width } = session.sizes;
    stage = makeStage({ image: "", image_size: [height, width], rows, columns });
    plain = element("canvas", { width, height, "aria-hidden": "true" });
    stage.stage.querySelector("img").replaceWith(plain);
    frame.replaceChildren(stage.stage);
    listen();
    select(0);
  }

  function select(place, focus = false) {
    stage.cells.forEach((cell, i) => (cell.tabIndex = i === place ? 0 : -1));
    if (focus) stage.cells[place].focus();
  }

  /** What a click on a patch does. */
  function act(place) {
    const { grey, order, swapping } = state;
    select(place);
    if (state.tool === "look") session.update({ token: place + 1 });
    else if (state.tool === "grey") {
      const others = grey.filter((one) => one !== place);
      session.update({ grey: grey.includes(place) ? others : [...grey, place] });
    } else if (swapping < 0) session.update({ swapping: place });
    else {
      const swapped = order.slice();
      [swapped[place], swapped[swapping]] = [order[swapping], order[place]];
      session.update({ order: place === swapping ? order : swapped, swapping: -1 });
    }
  }

  /** Marks the patch of a token; 0, the class token, has none. */
  function point(token) {
    stage.cells[pointed]?.classList.remove("ae-pointed");
    pointed = token - 1;
    stage.cells[pointed]?.classList.add("ae-pointed");
  }

  function paintAt(y, x) {
    const bytes = dab(state.bytes, session.sizes, y, x);
    session.update({ bytes, source: "your drawing", ...session.untouched() });
  }

  /** A line from the brush to another pixel. */
  function strokeTo(to) {
    const [dy, dx] = [to[0] - brush[0], to[1] - brush[1]];
    const steps = Math.max(1, Math.ceil(Math.hypot(dy, dx)));
    let { bytes } = state;
    for (let i = 1; i <= steps; i++) {
      const [y, x] = [brush[0] + (dy * i) / steps, brush[1] + (dx * i) / steps];
      bytes = dab(bytes, session.sizes, y, x);
    }
    brush = to;
    session.update({ bytes, continues: true });
  }

  function moveBrush(to) {
    [brush, brushShown] = [to, true];
    const P = session.sizes.patchSize;
    select(placeAt(Math.floor(to[0] / P), Math.floor(to[1] / P)), true);
    announce(`brush at row ${to[0] + 1}, column ${to[1] + 1}`);
    drawPicture();
  }

  function listen() {
    const { grid, cells } = stage;
    grid.addEventListener("click", ({ target }) => {
      if (state.tool !== "draw" && cells.includes(target)) act(cells.indexOf(target));
    });
    grid.addEventListener("keydown", (event) => {
      if (event.altKey || event.metaKey || event.ctrlKey) return;
      const { height, width, rows, columns } = session.sizes;
      const drawing = state.tool === "draw";
      const place = cells.indexOf(event.target);
      const target = drawing
        ? placeByKey(event, ...brush, height, width)
        : placeByKey(event, ...rowAndColumn(place), rows, columns);
      if (event.key === " " || event.key === "Enter") {
        if (drawing) paintAt(...brush);
        else act(place);
      } else if (!target) return;
      else if (drawing) moveBrush(target);
      else select(placeAt(...target), true);
      event.preventDefault();
    });
    const under = ({ clientX, clientY }) => {
      const { height, width } = session.sizes;
      const box = grid.getBoundingClientRect();
      return [
        Math.floor((height * (clientY - box.top)) / box.height),
        Math.floor((width * (clientX - box.left)) / box.width),
      ];
    };
    grid.addEventListener("pointerdown", (event) => {
      if (state.tool !== "draw") return;
      grid.setPointerCapture(event.pointerId);
      brushShown = false;
      paintAt(...(brush = under(event)));
      stroke = true;
    });
    grid.addEventListener("pointermove", (event) => stroke && strokeTo(under(event)));
    for (const name of ["pointerup", "pointercancel"]) {
      grid.addEventListener(name, () => (stroke = false));
    }
  }

  function drawTools() {
    tool.show(state.tool);
    const half = state.swapping >= 0;
    hint.textContent = half ? "Now click the other patch." : HINTS[state.tool];
    if (state.grey.length) hint.textContent += ` Grey now: ${state.grey.length}.`;
    stage.grid.style.touchAction = state.tool === "draw" ? "none" : "";
  }

  function drawPicture() {
    const { sizes, seen } = session;
    const context = plain.getContext("2d");
    context.putImageData(pixelsOf(seen.bytes, sizes), 0, 0);
    plain.style.imageRendering = sizes.height < 100 ? "pixelated" : "auto";
    if (state.tool !== "draw" || !brushShown) return;
    context.fillStyle = BRUSH;
    context.fillRect(brush[1], brush[0], 1, 1);
  }

  /** Colours the patches by their shares, if `coloured`, and says what one sees. */
  function draw(coloured) {
    drawTools();
    if (!session.seen) return;
    drawPicture();
    const { rows, columns } = session.sizes;
    const { canvas, cells, outline } = stage;
    const numbers = session.shares();
    const highest = numbers[strongest(numbers, 1)[0]];
    const context = canvas.getContext("2d");
    const pixels = context.createImageData(columns, rows);
    cells.forEach((cell, i) => {
      paint(pixels.data, i, colours, stepOf(numbers[i + 1], highest));
      const [row, column] = rowAndColumn(i);
      const words = [
        `row ${row + 1}, column ${column + 1}`,
        state.grey.includes(i) && "grey",
        state.swapping === i && "to be swapped",
        format(numbers[i + 1]),
      ];
      cell.setAttribute("aria-label", words.filter(Boolean).join(", "));
      cell.setAttribute("aria-selected", state.token === i + 1);
      cell.classList.toggle("ae-swapping", state.swapping === i);
      cell.classList.toggle("ae-grey", state.grey.includes(i));
    });
    context.putImageData(pixels, 0, 0);
    const shown = coloured && state.tool !== "draw";
    canvas.style.opacity = shown ? 0.6 : 0;
    legend.hidden = !shown;
    top.textContent = format(highest);
    outline.hidden = state.token === 0;
    if (state.token) {
      const [row, column] = rowAndColumn(state.token - 1);
      outline.style.transform = `translate(${100 * column}%, ${100 * row}%)`;
    }
    classToken.setAttribute("aria-pressed", state.token === 0);
    caption.textContent = shown ? `${state.source}: ${reading()}` : state.source;
  }

  /** What the colours mean. */
  function reading() {
    if (state.lensOnImage) {
      const name = session.classNames[session.seen.best[0]];
      return `what each patch gives \u201c${name}\u201d, read after layer ${state.layer}`;
    }
    const who = state.token ? `patch ${state.token}` : "the class token";
    const which = state.head ? `head ${state.head}` : "mean of all heads";
    return `where ${who} looks in layer ${state.layer}, ${which}`;
  }

  const picture = [frame, classToken, legend, caption];
  return { picture, tools: [form, hint], fit, draw, point };
}
