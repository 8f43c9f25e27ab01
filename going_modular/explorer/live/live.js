// One image, four equations: a Vision Transformer that runs in the page.
//
// The reader changes the state of a session, the model computes what follows from it,
// and `draw` shows both. Nothing is fetched, and nothing leaves the page.

import {
  choices,
  element,
  format,
  makeBar,
  readColours,
  strongest,
} from "../drawing.js";
import { button, fileButton } from "./controls.js";
import { makeGuide } from "./guide.js";
import { makeImage } from "./image.js";
import { sumPanel } from "./numbers.js";
import { fitBytes, hasLightEdge, invert, pixelsOf, readPhoto } from "./pictures.js";
import { startRunner } from "./runner.js";
import { makeSections } from "./sections.js";
import { Session } from "./session.js";
import { explain } from "./sums.js";
import { UNCHANGED } from "./vit.js";

const MODES = [
  ["guided", "guided, ten steps"],
  ["free", "free"],
];
const INVERTED =
  "The photo has a light ground and the model knows dark ones, so light and dark were " +
  "exchanged; \u201cSwap light and dark\u201d undoes it.";

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
  const session = new Session(ask, await ask("read", { buffer: parts.weights }));
  const { state } = session;
  const colours = readColours(parts.colours);

  const message = element("p", { className: "message", role: "status" });
  const live = element("p", { className: "hidden", "aria-live": "polite" });
  const say = (words) => (message.textContent = words);
  const mode = choices("live-mode", "Way through", MODES, (chosen) =>
    session.update({ mode: chosen }),
  );
  const sums = makeSums(session, (what) => {
    guide.opened(what);
    draw();
  });
  const guide = makeGuide(session, sums.clear);
  const image = makeImage(session, colours, (words) => (live.textContent = words));
  const guesses = makeGuesses(session);
  const sections = makeSections(session, colours, sums.open);
  const edits = makeEdits(session);
  const examples = makeExamples(session, parts.examples, take);

  const left = element(
    "div",
    { className: "left" },
    ...image.picture,
    guesses.box,
    ...image.tools,
    edits.box,
    element("h3", {}, "Another image"),
    examples.box,
    element(
      "p",
      { className: "line" },
      fileButton("Your photo", "image/*", takeFile),
      fileButton("Your model.safetensors", ".safetensors", takeFile),
    ),
  );
  const boxes = Object.values(sections).map(({ box }) => box);
  const right = element("form", { className: "right" }, ...boxes);
  right.addEventListener("submit", (event) => event.preventDefault());
  const explorer = element(
    "div",
    { className: "explorer ae-live" },
    element("h2", {}, parts.title || "One image, four equations"),
    element("form", {}, mode.group),
    guide.box,
    message,
    element("div", { className: "columns" }, left, right, sums.box),
    live,
  );
  explorer.setAttribute("data-lm-suppress-shortcuts", "true");
  root.replaceChildren(explorer);

  function draw() {
    mode.show(state.mode);
    guide.draw();
    edits.draw();
    const coloured = ["equation2", "equation3", "lens"].some(guide.shows);
    image.draw(coloured);
    for (const [name, part] of Object.entries(sections)) {
      part.box.hidden = !guide.shows(name);
      if (session.seen && !part.box.hidden) part.draw();
    }
    if (!session.seen) return;
    guesses.draw();
    sums.draw();
  }

  /** What depends on the model's sizes. */
  function fit() {
    sums.clear();
    image.fit();
    for (const part of Object.values(sections)) part.fit?.();
  }

  let speaking;
  function speak() {
    clearTimeout(speaking);
    speaking = setTimeout(() => {
      const { seen, classNames, sizes } = session;
      const numbers = session.shares();
      const places = strongest(numbers, 3).map((j) => {
        const [row, column] = [
          Math.floor((j - 1) / sizes.columns),
          (j - 1) % sizes.columns,
        ];
        return `row ${row + 1}, column ${column + 1} (${format(numbers[j])})`;
      });
      const [guess] = seen.best;
      const who = state.token ? `Patch ${state.token}` : "The class token";
      live.textContent =
        `The guess: ${classNames[guess]}, ${format(seen.probabilities[guess])}. ` +
        `${who} looks most at ${places.join(", ")}.`;
    }, 500);
  }

  function take(bytes, source) {
    say("");
    return session.takeImage(bytes, source);
  }

  async function takePhoto(file) {
    const bytes = await readPhoto(file, session.sizes);
    const inverted = session.sizes.channels === 1 && hasLightEdge(bytes, session.sizes);
    await take(inverted ? invert(bytes) : bytes, file.name);
    say(inverted ? INVERTED : "");
  }

  async function takeModel(file) {
    await session.takeModel(await file.arrayBuffer(), fit);
    const { depth, D, rows, columns, patchSize, K } = session.sizes;
    say(
      `${file.name}: ${depth} blocks, width ${D}, ${rows} x ${columns} patches of ` +
        `${patchSize} pixels, ${K} classes.`,
    );
  }

  async function takeFile(file) {
    try {
      await (/\.safetensors$/i.test(file.name) ? takeModel(file) : takePhoto(file));
    } catch (error) {
      say(error.message);
    }
  }

  for (const name of ["dragover", "drop"]) {
    explorer.addEventListener(name, (event) => {
      event.preventDefault();
      const [file] = event.dataTransfer.files;
      if (name === "drop" && file) takeFile(file);
    });
  }
  explorer.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key === "z") {
      session.undo();
      event.preventDefault();
    }
  });

  fit();
  guide.begin();
  session.onChange = draw;
  session.onFailure = (error) => say(error.message);
  session.onPass = () => {
    guide.guessed(session.seen.best[0]);
    draw();
    speak();
  };
  if (parts.image) await take(parts.image, parts.source);
  else await examples.takeLast();
  guide.begin(); // the first image is no step
  draw();
  explorer.handle = {
    state,
    update: (changes) => session.update(changes),
    settled: () => session.settled(),
    explain: sums.explained,
    take,
    takeFile,
    seen: () => session.seen,
    sizes: () => session.sizes,
  };
  return explorer.handle;
}

/** The sums that were opened, one above the other, and where the last one is shown. */
function makeSums(session, onOpen) {
  let opened = []; // addresses
  const panel = sumPanel(open, () => {
    opened = opened.slice(0, -1);
    draw();
  });

  function explained(address) {
    const { sizes, weights, seen } = session;
    return explain({ sizes, weights }, seen, seen.changes, seen.bytes, address);
  }
  function open(address) {
    opened = [...opened, address].slice(-50);
    onOpen(address.what);
    const below = panel.box.offsetTop > panel.box.previousSibling.offsetTop;
    if (below) panel.box.scrollIntoView({ block: "nearest" }); // there is little room
  }
  function draw() {
    if (!opened.length) return panel.clear();
    const found = explained(opened.at(-1));
    const named = (_, k) => session.classNames[k - 1];
    const title = found.title.replace(/class (\d+)/, named);
    return panel.show({ ...found, title }, opened.length);
  }
  function clear() {
    opened = [];
    panel.clear();
  }
  return { box: panel.box, open, draw, clear, explained };
}

/** The three likeliest classes, and the guess before the changes. */
function makeGuesses(session) {
  const list = element("ol");
  const before = element("p", { className: "note" });
  const box = element(
    "section",
    { className: "predictions" },
    element("h3", {}, "The guess"),
    list,
    before,
  );
  function draw() {
    const { seen, first, classNames } = session;
    const lines = seen.best.slice(0, 3).map((k) => {
      const share = seen.probabilities[k];
      return element(
        "li",
        {},
        element("span", { className: "name" }, classNames[k]),
        element("span", { className: "number" }, format(share)),
        makeBar(share),
      );
    });
    list.replaceChildren(...lines);
    const was = first && `Before your changes: ${first.name}, ${format(first.share)}`;
    before.textContent = was && session.changed() ? was : "";
  }
  return { box, draw };
}

/** Buttons that undo, and that change the whole image. */
function makeEdits(session) {
  const { state } = session;
  const undo = button("Undo", () => session.undo());
  const restart = button("Start again", () =>
    session.update({ ...session.untouched(), changes: UNCHANGED }),
  );
  const swap = button("Swap light and dark", () =>
    session.update({ bytes: invert(state.bytes) }),
  );
  const empty = button("Empty image", () => {
    const { channels, height, width } = session.sizes;
    const bytes = new Uint8Array(channels * height * width);
    session.update({ tool: "draw" });
    session.takeImage(bytes, "your drawing");
  });
  const box = element("p", { className: "line" }, undo, restart, swap, empty);
  function draw() {
    undo.disabled = !session.canUndo();
    restart.disabled = !session.changed();
  }
  return { box, draw };
}

/** Images to choose from. */
function makeExamples(session, { height, width, channels, names, bytes }, take) {
  const from = { height, width, channels };
  const size = channels * height * width;
  const takeExample = (i) => {
    const image = bytes.slice(i * size, (i + 1) * size);
    return take(fitBytes(image, from, session.sizes), names[i]);
  };
  const buttons = names.map((name, i) => {
    const picture = element("canvas", { width, height, "aria-hidden": "true" });
    const pixels = pixelsOf(bytes.subarray(i * size, (i + 1) * size), from);
    picture.getContext("2d").putImageData(pixels, 0, 0);
    const made = button("", () => takeExample(i), {
      className: "example",
      "aria-label": name,
      title: name,
    });
    made.append(picture);
    return made;
  });
  const box = element("div", { className: "examples" }, ...buttons);
  return { box, takeLast: () => takeExample(names.length - 1) };
}
