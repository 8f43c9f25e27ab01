// A model, an image, what the reader has changed, and what the model makes of it.
//
// Nothing is drawn here. `onChange` is called when the state has changed, `onPass` when
// the model has answered, `onFailure` with an error when it could not.

import { arrange, fitBytes } from "./pictures.js";
import { UNCHANGED, softmax } from "./vit.js";

const UNDOABLE = ["bytes", "source", "original", "order", "grey", "changes"];

export class Session {
  seen = null; // what the model gave for the state
  onChange = () => {};
  onPass = () => {};
  onFailure = () => {};
  #past = []; // states that undo leads back to
  #running = null; // the pass under way; another is made if the state has changed

  /** ask: of `startRunner`. model: what it gave for "read". */
  constructor(ask, model) {
    this.ask = ask;
    this.state = {
      bytes: null, // of the image, (C, H, W)
      source: "", // what the image is called
      original: {}, // bytes and source before any change, and what the model said
      view: { equation1: "z0", equation2: "attention", equation3: "z" },
      tool: "look",
      mode: "guided",
      step: 0,
      lensOnImage: false,
    };
    this.#begin(model);
  }

  #begin({ sizes, classNames, weights }) {
    Object.assign(this, { sizes, classNames, weights });
    [this.seen, this.#past] = [null, []];
    Object.assign(this.state, {
      ...this.untouched(),
      changes: UNCHANGED,
      token: 0,
      layer: sizes.depth,
      head: 0,
    });
  }

  /** An image with every patch in its place. */
  untouched() {
    const order = Array.from({ length: this.sizes.N }, (_, place) => place);
    return { order, grey: [], swapping: -1 };
  }

  /** Whether the image, or the model, is not as it was. */
  changed() {
    const { bytes, original, changes, grey, order } = this.state;
    const { positions, temperature, noResidual } = changes;
    return (
      bytes !== original.bytes ||
      !positions ||
      temperature !== 1 ||
      noResidual.length > 0 ||
      grey.length > 0 ||
      order.some((source, place) => source !== place)
    );
  }

  /** Changes the state; undo leads back where the image or the model has changed. */
  update({ continues = false, ...changes }) {
    const undoable = UNDOABLE.some(
      (name) => name in changes && changes[name] !== this.state[name],
    );
    if (undoable && this.state.bytes && !continues) {
      // a stroke of the brush is one change, not many
      const now = UNDOABLE.map((name) => [name, this.state[name]]);
      this.#past = [...this.#past, Object.fromEntries(now)].slice(-100);
    }
    Object.assign(this.state, changes);
    if (undoable) this.#run();
    this.onChange();
    return this.settled();
  }

  canUndo() {
    return this.#past.length > 0;
  }

  undo() {
    const earlier = this.#past.pop();
    if (!earlier) return;
    Object.assign(this.state, earlier);
    this.#run();
    this.onChange();
  }

  /** Another image, (C, H, W) bytes. */
  takeImage(bytes, source) {
    const original = { bytes, source };
    return this.update({ bytes, source, original, ...this.untouched() });
  }

  /** Image and model as they were before any change. */
  startAgain() {
    const { bytes, source } = this.state.original;
    return this.update({ bytes, source, ...this.untouched(), changes: UNCHANGED });
  }

  /** Another model, the bytes of a file; `fit` is called when its sizes are known. */
  async takeModel(buffer, fit) {
    await this.settled();
    const reading = this.ask("read", { buffer });
    this.#running = reading.catch(() => {}); // no pass begins before its sizes are known
    const model = await reading
      .finally(() => (this.#running = null))
      .catch((error) => {
        this.#run(); // what has changed meanwhile, with the model that stays
        throw error;
      });
    const before = this.sizes;
    this.#begin(model);
    const bytes = fitBytes(this.state.bytes, before, this.sizes);
    Object.assign(this.state, {
      bytes,
      original: { bytes, source: this.state.source },
    });
    fit();
    await this.#run();
  }

  /** The image as it is now, in a model as it was: what changes are held against. */
  keepImage() {
    if (!this.changed()) return this.update({ swapping: -1 });
    const { bytes, source } = this.state;
    const same = bytes === this.state.original.bytes;
    const original = same ? this.state.original : { bytes, source };
    return this.update({ original, ...this.untouched(), changes: UNCHANGED });
  }

  /** A promise of the end of the pass under way. */
  settled() {
    return this.#running ?? Promise.resolve();
  }

  #run() {
    this.#running ??= this.#passes();
    return this.#running;
  }

  /** Passes, until the state has not changed during one; what is there stays meanwhile. */
  async #passes() {
    try {
      let wanted;
      do {
        wanted = UNDOABLE.map((name) => this.state[name]);
        this.seen = await this.#pass();
      } while (UNDOABLE.some((name, i) => this.state[name] !== wanted[i]));
    } catch (error) {
      this.onFailure(error);
      return;
    } finally {
      this.#running = null;
    }
    if (!this.changed()) this.state.original.guess = this.guess();
    this.onPass();
  }

  /** What the model gives for the state, with the guesses in order. */
  async #pass() {
    const { changes, order, grey } = this.state;
    const bytes = arrange(this.state.bytes, this.sizes, order, grey);
    const found = await this.ask("run", { bytes, changes });
    const probabilities = softmax(found.logits.slice());
    const best = Array.from(probabilities, (_, k) => k);
    best.sort((a, b) => probabilities[b] - probabilities[a]);
    return { ...found, bytes, changes, probabilities, best };
  }

  /** The likeliest class and its probability. */
  guess() {
    const [best] = this.seen.best;
    return { name: this.classNames[best], share: this.seen.probabilities[best] };
  }

  /** The share of each token that colours the image, the class token's first. */
  shares() {
    const { layer, head, token, lensOnImage } = this.state;
    const { T, K, heads } = this.sizes;
    const numbers = new Float64Array(T);
    if (lensOnImage) {
      const logits = this.seen.lens[layer];
      const [guess] = this.seen.best;
      return numbers.map((_, t) => softmax(logits.slice(t * K, (t + 1) * K))[guess]);
    }
    const { attention } = this.seen.layers[layer - 1];
    const [from, to] = head ? [head - 1, head] : [0, heads];
    for (let h = from; h < to; h++) {
      for (let j = 0; j < T; j++)
        numbers[j] += attention[(h * T + token) * T + j] / (to - from);
    }
    return numbers;
  }
}
