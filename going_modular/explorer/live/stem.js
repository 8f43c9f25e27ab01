// The small convolutional stem that `train.py` gives models for photos: an image in, a
// map with one place for each patch out (going_modular/variants/conv_stem.py).

/** A convolution of 3 x 3 with BatchNorm and ReLU: (inputs, H, W) -> (outputs, H, W). */
function convolve(map, inputs, height, width, weights, number) {
  const kernel = weights[`patch_embedding.stem.${number}.weight`]; // (outputs, inputs, 3, 3)
  const norm = (name) => weights[`patch_embedding.stem.${number + 1}.${name}`];
  const [scale, shift] = [norm("weight"), norm("bias")];
  const [mean, variance] = [norm("running_mean"), norm("running_var")];
  const [outputs, area] = [scale.length, height * width];
  const made = new Float64Array(outputs * area);
  for (let o = 0; o < outputs; o++) {
    for (let c = 0; c < inputs; c++) {
      for (let k = 0; k < 9; k++) {
        const [dy, dx] = [Math.floor(k / 3) - 1, (k % 3) - 1];
        const weight = kernel[(o * inputs + c) * 9 + k];
        const [first, last] = [Math.max(0, -dx), Math.min(width, width - dx)];
        for (let y = Math.max(0, -dy); y < Math.min(height, height - dy); y++) {
          const [to, from] = [o * area + y * width, c * area + (y + dy) * width + dx];
          for (let x = first; x < last; x++) made[to + x] += weight * map[from + x];
        }
      }
    }
    const factor = scale[o] / Math.sqrt(variance[o] + 1e-5);
    for (let i = o * area; i < (o + 1) * area; i++) {
      made[i] = Math.max(0, (made[i] - mean[o]) * factor + shift[o]);
    }
  }
  return made;
}

/** The greatest of each four neighbours: (channels, H, W) -> (channels, H/2, W/2). */
function halve(map, channels, height, width) {
  const made = new Float64Array(map.length / 4);
  let at = 0;
  for (let row = 0; row < channels * height; row += 2) {
    for (let x = 0; x < width; x += 2) {
      const [a, b] = [row * width + x, (row + 1) * width + x];
      made[at++] = Math.max(map[a], map[a + 1], map[b], map[b + 1]);
    }
  }
  return made;
}

/** (C, H, W) -> (N, features), a row for each place of the map. */
export function convStem(image, { channels, height, width, stem }, weights) {
  let [map, inputs, rows, columns] = [image, channels, height, width];
  stem.forEach((outputs, stage) => {
    map = convolve(map, inputs, rows, columns, weights, 4 * stage);
    map = halve(map, outputs, rows, columns);
    [inputs, rows, columns] = [outputs, rows / 2, columns / 2];
  });
  const places = rows * columns;
  return Float64Array.from(
    map,
    (_, i) => map[(i % inputs) * places + Math.floor(i / inputs)],
  );
}
