// The guided way: ten steps, each a sentence and one thing to do.
//
// `parts` are the sections that a step shows, `sets` what it sets when it begins. `done`
// is asked after each change: `now` is the state, `then` the state when the step began,
// `did` what was done since.

import { element } from "../drawing.js";
import { button } from "./controls.js";

const STEPS = [
  {
    title: "An image is a grid of patches",
    says: "The model never sees the whole image: it is cut into squares, which are put in a row like words.",
    asks: "Choose another garment below the image, or draw one.",
    parts: [],
    done: (now, then) => now.bytes !== then.bytes,
  },
  {
    title: "A patch is a list of numbers",
    says: "Each patch is nothing but the brightness of its pixels, brought to numbers around zero.",
    asks: "Click a patch of the image, and then one of its numbers.",
    parts: ["patch"],
    done: (now, then, did) => did.opened.includes("pixel"),
  },
  {
    title: "E turns a patch into a token",
    says: "Every number of a token is a sum: each pixel times a weight of E, which training has found.",
    asks: "Click a number in the table of tokens to see its sum.",
    parts: ["equation1"],
    sets: { view: { equation1: "token" } },
    done: (now, then, did) => did.opened.includes("token"),
  },
  {
    title: "Positions are added",
    says: "In a row of tokens nobody can tell what was above what, so each place adds numbers of its own.",
    asks: "Take the positions away, and watch the guess.",
    parts: ["equation1"],
    sets: { view: { equation1: "z0" } },
    done: (now) => !now.changes.positions,
  },
  {
    title: "Tokens look at each other",
    says: "In attention, each token takes a share of every token, itself included, and these shares sum to one.",
    asks: "Choose a head, then click a patch of the image: bright patches are those it looks at.",
    parts: ["equation2"],
    sets: { view: { equation2: "attention" } },
    done: (now, then) => now.head !== then.head && now.token !== then.token,
  },
  {
    title: "A share is a softmax",
    says: "The share is large where a query and a key point the same way: softmax of q · k / √d_h.",
    asks: "Choose one head and click a bright field of the table, then open its score.",
    parts: ["equation2"],
    sets: { view: { equation2: "attention" } },
    done: (now, then, did) => did.opened.includes("score"),
  },
  {
    title: "Residuals keep what was there",
    says: "What attention brings is added to the token and does not replace it.",
    asks: "Drop a residual, and see what is left of the guess. Undo brings it back.",
    parts: ["equation2", "lens"],
    sets: { view: { equation2: "zPrime" } },
    done: (now) => now.changes.noResidual.length > 0,
  },
  {
    title: "The MLP works on each token alone",
    says: "Two linear layers with a GELU between them judge what the token has collected, and that is added, too.",
    asks: "Open a number of z, and follow the MLP down to the numbers inside it.",
    parts: ["equation3"],
    sets: { view: { equation3: "z" } },
    done: (now, then, did) =>
      did.opened.includes("active") || did.opened.includes("hidden"),
  },
  {
    title: "The answer grows block by block",
    says: "The head can be asked after every block: what would it say if the model ended here?",
    asks: "Read the guesses of the class token from top to bottom, then click a patch and read its own.",
    parts: ["lens"],
    sets: { token: 0 },
    done: (now, then) => now.token !== then.token,
  },
  {
    title: "Only the class token is read",
    says: "The head turns the class token's last numbers into a logit for each class, and softmax makes them probabilities.",
    asks: "Grey out patches, the fewest you can, until the model changes its mind.",
    parts: ["equation4"],
    done: (now, then, did) => did.guesses.size > 1,
  },
];

/**
 * Builds the panel of the steps. Returns box, begin() for the step that the state names,
 * draw(), shows(part), and opened(what) and guessed(k) to be told of what was done.
 *
 * onBegin: called when a step begins.
 */
export function makeGuide(session, onBegin) {
  const { state } = session;
  let then, did; // the state when the step began, and what was done since
  const title = element("h3", { tabIndex: -1 });
  const says = element("p");
  const asks = element("p", { className: "asks" });
  const back = button("Back", () => go(state.step - 1));
  const next = button("Next", () => go(state.step + 1));
  const box = element(
    "section",
    { className: "guide", "aria-label": "Guide" },
    title,
    says,
    asks,
    element("p", { className: "line" }, back, next),
  );

  function begin() {
    const { view, ...others } = STEPS[state.step].sets ?? {};
    const all = { ...others, view: { ...state.view, ...view }, swapping: -1 };
    Object.assign(state, all);
    then = { ...state };
    did = { opened: [], guesses: new Set(session.seen?.best.slice(0, 1)), done: false };
    onBegin();
  }
  function go(step) {
    state.step = Math.max(0, Math.min(STEPS.length - 1, step));
    begin();
    session.onChange();
    title.focus();
  }
  function draw() {
    const step = STEPS[state.step];
    box.hidden = state.mode !== "guided";
    title.textContent = `${state.step + 1} of ${STEPS.length}. ${step.title}`;
    says.textContent = step.says;
    back.disabled = state.step === 0;
    next.disabled = state.step === STEPS.length - 1;
    if (!session.seen) return;
    did.done ||= step.done(state, then, did);
    asks.textContent = (did.done ? "Done: " : "Try it: ") + step.asks;
    asks.classList.toggle("ae-done", did.done);
  }
  return {
    box,
    begin,
    draw,
    shows: (part) => state.mode === "free" || STEPS[state.step].parts.includes(part),
    opened: (what) => did.opened.push(what),
    guessed: (k) => did.guesses.add(k),
  };
}
