// The model in a thread of its own, so that the page never waits for it.

import { readModel } from "./safetensors.js";
import { vit } from "./vit.js";

let model;

const TASKS = {
  read: ({ buffer }) => (model = readModel(buffer)),
  run: ({ bytes, changes }) => vit(model, bytes, changes),
};

onmessage = ({ data: { id, task, ...rest } }) => {
  try {
    postMessage({ id, found: TASKS[task](rest) });
  } catch (error) {
    postMessage({ id, why: error.message, ours: error.name === "Error" });
  }
};
