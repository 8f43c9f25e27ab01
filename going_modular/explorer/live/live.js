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
  const take = (bytes, source) => session.takeImage(bytes, source);
  const say = (words) => (message.textContent = words);
  const mode = choices("live-mode", "Way through", MODES, (chosen) =>
    session.update({ mode: chosen }),
  );
  const sums = makeSums(session, (what) => {
    guide.opened(what);
    draw();
  });
  const guide = makeGuide(session, () => {
    sums.clear();
    examples.box.open = state.mode === "free" || state.step === 0;
  });
  const image = makeImage(session, colours, (words) => (live.textContent = words));
  const guesses = makeGuesses(session);
  const sections = makeSections(session, colours, sums.open, (row) => image.point(row));
  const edits = makeEdits(session);
  const examples = makeExamples(session, parts.examples, take, [
    fileButton("Your photo", "image/*", takeFile),
    fileButton("Your model.safetensors", ".safetensors", takeFile),
  ]);

  const skip = button("To the numbers", () => right.focus(), { className: "skip" });
  const left = element(
    "div",
    { className: "left" },
    ...image.picture,
    skip,
    guesses.box,
    ...image.tools,
    edits.box,
  );
  const boxes = Object.values(sections).map(({ box }) => box);
  const right = element(
    "form",
    { className: "right", tabIndex: -1, "aria-label": "Numbers" },
    examples.box,
    ...boxes,
  );
  right.addEventListener("submit", (event) => event.preventDefault());
  const explorer = element(
    "div",
    { className: "explorer ae-live" },
    element("h2", {}, parts.title || "One image, four equations"),
    element("form", {}, mode.group),
    message,
    element(
      "div",
      { className: "columns" },
      guide.box,
      guesses.line,
      left,
      right,
      sums.box,
    ),
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

  /** Says, for those who do not see the colours, what has changed, once it is quiet. */
  let speaking;
  function speak() {
    clearTimeout(speaking);
    speaking = setTimeout(() => {
      if (!session.seen) return;
      const { columns } = session.sizes;
      const numbers = session.shares();
      const places = strongest(numbers, 3).map((j) => {
        const [row, column] = [Math.floor((j - 1) / columns), (j - 1) % columns];
        return `row ${row + 1}, column ${column + 1} (${format(numbers[j])})`;
      });
      const { name, share } = session.guess();
      const who = state.token ? `Patch ${state.token}` : "The class token";
      const what = state.lensOnImage
        ? `The patches that give \u201c${name}\u201d most`
        : `${who} looks most at`;
      const after = state.lensOnImage ? ":" : "";
      live.textContent =
        `The guess: ${name}, ${format(share)}. ` +
        `${what}${after} ${places.join(", ")}.`;
    }, 500);
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

  let taken = Promise.resolve(); // files are read one after the other
  function takeFile(file) {
    const takeIt = /\.safetensors$/i.test(file.name) ? takeModel : takePhoto;
    taken = taken.then(() => takeIt(file)).catch((error) => say(error.message));
    return taken;
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
  session.onChange = () => {
    say("");
    draw();
    speak();
  };
  session.onFailure = (error) => say(error.message);
  session.onPass = () => {
    guide.guessed();
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

/** The sum of a number, the sums of its parts that were opened from it, and their place. */
function makeSums(session, onOpen) {
  const { state } = session;
  let opened = []; // addresses, the last one shown
  let [layer, head] = [0, 0]; // for which the first was opened
  const panel = sumPanel(openPart, back, clear);

  function explained(address) {
    const { sizes, weights, seen } = session;
    return explain({ sizes, weights }, seen, seen.changes, seen.bytes, address);
  }
  function open(address) {
    [opened, layer, head] = [[address], state.layer, state.head];
    onOpen(address.what);
  }
  function openPart(address) {
    opened = [...opened, address];
    onOpen(address.what);
  }
  function back() {
    opened = opened.slice(0, -1);
    draw();
    panel.title.focus();
  }

  /** The number at the same place in the layer and head that are shown now. */
  function follow([address]) {
    const moved = layer !== state.layer || head !== state.head;
    if (opened.length > 1 || !moved || address.layer !== layer) return;
    const next = { ...address, layer: state.layer };
    if (["mean", "attention"].includes(address.what)) {
      next.what = state.head ? "attention" : "mean";
      next.head = state.head;
    }
    [opened, layer, head] = [[next], state.layer, state.head];
  }
  function draw() {
    if (!opened.length) return panel.clear();
    follow(opened);
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
  const line = element("p", { className: "now", "aria-hidden": "true" }); // said above
  function draw() {
    const { seen, classNames } = session;
    const { guess } = session.state.original;
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
    const was = guess && session.changed();
    before.textContent = was
      ? `Before your changes: ${guess.name}, ${format(guess.share)}`
      : "";
    const { name, share } = session.guess();
    line.textContent = `The guess: ${name}, ${format(share)}`;
    if (was) line.textContent += ` (before: ${guess.name}, ${format(guess.share)})`;
  }
  return { box, line, draw };
}

/** Buttons that undo, and that change the whole image. */
function makeEdits(session) {
  const { state } = session;
  const undo = button("Undo", () => session.undo());
  const restart = button("Start again", () => session.startAgain());
  const swap = button("Swap light and dark", () =>
    session.update({ bytes: invert(state.bytes) }),
  );
  const empty = button("Empty image", () => {
    const { channels, height, width } = session.sizes;
    const bytes = new Uint8Array(channels * height * width);
    session.update({
      bytes,
      source: "your drawing",
      ...session.untouched(),
      tool: "draw",
    });
  });
  const box = element("p", { className: "line" }, undo, restart, swap, empty);
  function draw() {
    // A button that is at work keeps the focus, so it is not switched off meanwhile.
    const off = (button, useless) =>
      (button.disabled = useless && document.activeElement !== button);
    off(undo, !session.canUndo());
    off(restart, !session.changed());
  }
  return { box, draw };
}

/** Images to choose from, and buttons for files. */
function makeExamples(session, examples, take, files) {
  const { height, width, channels, names, bytes } = examples;
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
  const box = element(
    "details",
    { className: "others" },
    element("summary", {}, "Another image, another model"),
    element("div", { className: "examples" }, ...buttons),
    element("p", { className: "line" }, ...files),
  );
  return { box, takeLast: () => takeExample(names.length - 1) };
}
