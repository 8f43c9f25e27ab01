// Asks the model: in a worker where the page may have one, otherwise right here.

import { readModel } from "./safetensors.js";
import { vit } from "./vit.js";

/** Returns ask(task, parts), a promise of what worker.js gives for it. */
export function startRunner(source) {
  const waiting = new Map();
  let [worker, model, last] = [null, null, 0];

  function here(task, parts) {
    if (task === "read") return (model = readModel(parts.buffer));
    return vit(model, parts.bytes, parts.changes);
  }
  try {
    const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    worker = new Worker(url, { type: "module" });
  } catch {
    worker = null; // a page around this one forbids it
  }
  if (worker) {
    worker.onmessage = ({ data: { id, found, why } }) => {
      const { resolve, reject } = waiting.get(id);
      waiting.delete(id);
      if (why === undefined) resolve(found);
      else reject(new Error(why));
    };
    worker.onerror = (event) => {
      // it could not even start
      event.preventDefault();
      worker = null;
      for (const { resolve, reject, task, parts } of waiting.values()) {
        try {
          resolve(here(task, parts));
        } catch (error) {
          reject(error);
        }
      }
      waiting.clear();
    };
  }
  return async function ask(task, parts) {
    if (!worker) return here(task, parts);
    const id = ++last;
    return new Promise((resolve, reject) => {
      waiting.set(id, { resolve, reject, task, parts });
      worker.postMessage({ id, task, ...parts });
    });
  };
}
