// The guided way: ten steps, each a sentence or two and one thing to do.
//
// `parts` are the sections that a step shows, `sets` what it sets when it begins, beside
// an image and a model as they were. `done` is asked after each change: `now` is the
// state, `then` the state when the step began, `did` what was done since.

import { element } from "../drawing.js";
import { button } from "./controls.js";

const STEPS = [
  {
    title: "An image is a grid of patches",
    says: "The model sees an image only as squares, which are put in a row like words.",
    asks: "Choose another garment, or draw one: for that, set what a click does to \u201cdraw\u201d.",
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
    says: "A token is the list of numbers that stands for a patch inside the model. Each of them is a sum: every pixel times a weight of the matrix E, which training has found. One more token, the class token, stands in front and belongs to no patch: it is there to collect the answer.",
    asks: "Click a number of a patch, in any row but the first, to see its sum.",
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
    says: "In attention, each token takes a share of every token, itself included, and its shares sum to 100 %. Several attention heads do this side by side, each in its own way.",
    asks: "Choose an attention head, then click a patch of the image: bright patches are those it looks at.",
    parts: ["equation2"],
    sets: { view: { equation2: "attention" } },
    done: (now, then) => now.head !== then.head && now.token !== then.token,
  },
  {
    title: "A share is a softmax",
    says: "Each token has a query q, what it looks for, and a key k, what it offers; both are lists of d_h numbers. Where q of one and k of another point the same way, their score q · k / √d_h is high, and softmax turns a row of scores into shares.",
    asks: "Choose one attention head and click a bright field of the table, then open its score.",
    parts: ["equation2"],
    sets: { view: { equation2: "attention" } },
    done: (now, then, did) => did.opened.includes("score"),
  },
  {
    title: "Residuals keep what was there",
    says: "What attention brings does not replace the token: it is added to it. The \u201c+ z\u201d of Equation 2, the token as it was, is called the residual.",
    asks: "Take the residual away in layer 1, and see what is left of the guess. Then put it back and try another layer.",
    parts: ["equation2", "lens"],
    sets: { view: { equation2: "zPrime" }, layer: 1 },
    done: (now) => now.changes.noResidual.length > 0,
  },
  {
    title: "The MLP works on each token alone",
    says: "Two linear layers, with a GELU between them, work on what the token has collected. GELU lets positive numbers through and stops nearly all of the negative ones. The result is added to the token, so there is a residual here, too.",
    asks: "Open a number of z, then its MLP, and then one of the numbers inside.",
    parts: ["equation3"],
    sets: { view: { equation3: "z" } },
    done: (now, then, did) =>
      did.opened.includes("active") || did.opened.includes("hidden"),
  },
  {
    title: "The answer grows layer by layer",
    says: "At the end a classifier reads the class token. But it can be asked after every layer: what would it say if the model ended here? This is called the logit lens.",
    asks: "Read the guesses of the class token from top to bottom, then click a patch and read its own.",
    parts: ["lens"],
    sets: { token: 0 },
    done: (now, then) => now.token !== then.token,
  },
  {
    title: "Only the class token is read",
    says: "The classifier turns the class token's last numbers into one score for each class, a logit, and softmax makes the logits probabilities.",
    asks: "Click patches to paint them grey until the model changes its mind. The empty ground counts, too. How few does it take?",
    parts: ["equation4"],
    sets: { tool: "grey" },
    done: (now, then, did) => did.changedItsMind,
  },
];

/**
 * Builds the panel of the steps. Returns box, begin() for the step that the state names,
 * draw(), shows(part), and opened(what) and guessed() to be told of what was done.
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
  const next = button("Next", () => {
    if (state.step < STEPS.length - 1) go(state.step + 1);
    else session.update({ mode: "free", tool: "look" });
  });
  const box = element(
    "section",
    { className: "guide", "aria-label": "Guide" },
    title,
    says,
    asks,
    element("p", { className: "line" }, back, next),
  );

  /** Goes to a step; what was changed for another one is put back, but for the image. */
  function go(step) {
    const { view, ...others } = STEPS[step].sets ?? {};
    session.keepImage();
    session.update({
      step,
      tool: "look",
      lensOnImage: false,
      ...others,
      view: { ...state.view, ...view },
    });
    begin();
    title.focus();
  }
  function begin() {
    then = { ...state };
    did = { opened: [], changedItsMind: false, done: false };
    onBegin();
    draw();
  }
  function draw() {
    const step = STEPS[state.step];
    const last = state.step === STEPS.length - 1;
    box.hidden = state.mode !== "guided";
    title.textContent = `${state.step + 1} of ${STEPS.length}. ${step.title}`;
    says.textContent = step.says;
    back.disabled = state.step === 0;
    next.textContent = last ? "Go on freely" : "Next";
    did.done ||= Boolean(session.seen && step.done(state, then, did));
    asks.textContent = (did.done ? "Done: " : "Try it: ") + step.asks;
    asks.classList.toggle("ae-done", did.done);
  }

  /** The model has answered; greying has worked if it says something else now. */
  function guessed() {
    const { bytes, grey, original } = state;
    did.changedItsMind ||=
      grey.length > 0 &&
      bytes === then.bytes &&
      original.guess?.name !== session.guess().name;
  }
  return {
    box,
    begin,
    draw,
    guessed,
    shows: (part) => state.mode === "free" || STEPS[state.step].parts.includes(part),
    opened: (what) => did.opened.push(what),
  };
}
