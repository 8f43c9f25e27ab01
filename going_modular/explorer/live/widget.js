// The live model in notebooks: anywidget calls `render`.

import { mountLive } from "./live.js";

const copied = (x) => new Uint8Array(x.buffer, x.byteOffset, x.byteLength).slice();

async function render({ model, el }) {
  const { shape: [channels, height, width], names, ...about } = model.get("about");
  const image = copied(model.get("image"));
  try {
    await mountLive(el, {
      ...about,
      weights: copied(model.get("weights")).buffer,
      examples: { channels, height, width, names, bytes: copied(model.get("examples")) },
      image: image.length ? image : null,
    });
  } catch (error) {
    el.textContent = error.message;
  }
}

export default { render };
