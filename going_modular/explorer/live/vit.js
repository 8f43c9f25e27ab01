// Equations 1 to 4 with the names of the notebooks, on the reader's machine.
//
// A matrix is a flat Float64Array, row by row; comments give its shape, as in the
// notebooks: T tokens, N = T - 1 patches, D numbers in each, nh heads of dh numbers, F
// numbers inside the MLP, K classes. `weights` has an array for each name of a
// model.safetensors. JavaScript computes in double precision, so Float64Array is not
// only exact but also the fastest: nothing has to be converted.

import { convStem } from "./stem.js";

/** x W^T + b, a linear layer: (n, inputs) -> (n, outputs). */
export function linear(x, { weight, bias }, inputs) {
  inputs |= 0; // says that these are whole numbers, which makes the loops twice as fast
  const n = (x.length / inputs) | 0, outputs = (weight.length / inputs) | 0;
  const y = new Float64Array(n * outputs);
  // Four rows and two columns at a time, so that each number read is used several times.
  let i = 0;
  for (; i + 4 <= n; i += 4) {
    const a = i * inputs, b = a + inputs, c = b + inputs, d = c + inputs;
    let o = 0;
    for (; o + 2 <= outputs; o += 2) {
      const u = o * inputs, v = u + inputs;
      let au = 0, av = 0, bu = 0, bv = 0, cu = 0, cv = 0, du = 0, dv = 0;
      for (let j = 0; j < inputs; j++) {
        const p = weight[u + j], q = weight[v + j];
        const xa = x[a + j], xb = x[b + j], xc = x[c + j], xd = x[d + j];
        au += xa * p; bu += xb * p; cu += xc * p; du += xd * p;
        av += xa * q; bv += xb * q; cv += xc * q; dv += xd * q;
      }
      const at = i * outputs + o, next = at + outputs;
      y[at] = au; y[at + 1] = av;
      y[next] = bu; y[next + 1] = bv;
      y[next + outputs] = cu; y[next + outputs + 1] = cv;
      y[next + 2 * outputs] = du; y[next + 2 * outputs + 1] = dv;
    }
    for (; o < outputs; o++) {
      for (let r = i; r < i + 4; r++) {
        y[r * outputs + o] = dot(x, r * inputs, weight, o * inputs, inputs);
      }
    }
  }
  for (; i < n; i++) {
    for (let o = 0; o < outputs; o++) {
      y[i * outputs + o] = dot(x, i * inputs, weight, o * inputs, inputs);
    }
  }
  for (let at = 0; at < y.length; at += outputs) {
    for (let o = 0; o < outputs; o++) y[at + o] += bias[o];
  }
  return y; // (n, outputs)
}

/** The product of two lists of numbers, which begin somewhere in two arrays. */
export function dot(x, from, y, start, count) {
  let sum = 0;
  for (let j = 0; j < count; j++) sum += x[from + j] * y[start + j];
  return sum;
}

/** Each token gets mean 0 and variance 1, then a scale and a shift: (T, D) -> (T, D). */
export function layerNorm(z, { weight, bias }, D, eps) {
  const normed = new Float64Array(z.length);
  for (let from = 0; from < z.length; from += D) {
    const [mean, deviation] = moments(z, from, D, eps);
    for (let d = 0; d < D; d++) {
      normed[from + d] = ((z[from + d] - mean) / deviation) * weight[d] + bias[d];
    }
  }
  return normed; // (T, D)
}

/** Mean, and root of variance plus eps, of D numbers. */
export function moments(z, from, D, eps) {
  let [mean, variance] = [0, 0];
  for (let d = 0; d < D; d++) mean += z[from + d] / D;
  for (let d = 0; d < D; d++) variance += (z[from + d] - mean) ** 2 / D;
  return [mean, Math.sqrt(variance + eps)];
}

/** Cut an image into flattened patches: (C, H, W) -> (N, P*P*C), channel fastest. */
export function patchify(image, { height, width, channels, patchSize: P }) {
  const [rows, columns] = [height / P, width / P];
  const patches = new Float64Array(image.length);
  let at = 0;
  for (let patch = 0; patch < rows * columns; patch++) {
    const [top, left] = [Math.floor(patch / columns) * P, (patch % columns) * P];
    for (let pixel = 0; pixel < P * P; pixel++) {
      const place = (top + Math.floor(pixel / P)) * width + left + (pixel % P);
      for (let c = 0; c < channels; c++) patches[at++] = image[c * height * width + place];
    }
  }
  return patches; // (N, P*P*C)
}

/** exp(x - max) over its sum, in place, for `count` numbers. */
export function softmax(x, from = 0, count = x.length) {
  let [highest, sum] = [-Infinity, 0];
  for (let j = from; j < from + count; j++) highest = Math.max(highest, x[j]);
  for (let j = from; j < from + count; j++) sum += x[j] = Math.exp(x[j] - highest);
  for (let j = from; j < from + count; j++) x[j] /= sum;
  return x;
}

/** Equations 5 to 8: MSA of (T, D) normalised tokens, and all that it computes. */
export function attention(normed, part, { D, T, heads: nh, temperature }) {
  const dh = (D / nh) | 0;
  const qkv = linear(normed, part("qkv"), D); // (T, 3 D), each row [q; k; v]
  const A = new Float64Array(nh * T * T); // (nh, T, T)
  const values = new Float64Array(T * D); // (T, D), the heads side by side
  const root = Math.sqrt(dh) * temperature;
  for (let h = 0; h < nh; h++) {
    for (let i = 0; i < T; i++) {
      const row = (h * T + i) * T, to = i * D + h * dh;
      const q = h * dh + 3 * D * i;
      let k = h * dh + D, v = k + D;
      for (let j = 0; j < T; j++, k += 3 * D) {
        A[row + j] = dot(qkv, q, qkv, k, dh) / root; // q and k of this head, j's k next
      }
      softmax(A, row, T);
      for (let j = 0; j < T; j++, v += 3 * D) {
        const weight = A[row + j];
        for (let d = 0; d < dh; d++) values[to + d] += weight * qkv[v + d];
      }
    }
  }
  return { qkv, attention: A, values, msa: linear(values, part("out"), D) };
}

/** GELU of a number: x Phi(x), or its approximation by tanh. */
export function gelu(x, kind) {
  if (kind === "tanh") {
    return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
  }
  return 0.5 * x * (1 + erf(x / Math.SQRT2));
}

/** The error function, off by at most 1.5e-7 (Abramowitz and Stegun, 7.1.26). */
function erf(x) {
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const series = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t
    - 0.284496736) * t + 0.254829592) * t;
  const value = 1 - series * Math.exp(-x * x);
  return x < 0 ? -value : value;
}

/** Two linear layers with a GELU between them: (T, D) -> (T, D). */
export function mlp(normed, part, { D, F, gelu: kind }) {
  const hidden = linear(normed, part("linear_1"), D); // (T, F)
  const active = hidden.map((x) => gelu(x, kind)); // (T, F)
  return { hidden, mlp: linear(active, part("linear_2"), F) };
}

const add = (x, y) => x.map((number, i) => number + y[i]);

/** Equations 2 and 3: (T, D) -> (T, D); a residual can be left out. */
export function block(z, part, sizes, residuals) {
  const inside = (name) => (child) => part(`${name}.${child}`);
  const norm1 = layerNorm(z, part("msa_block.layer_norm"), sizes.D, sizes.eps);
  const msa = attention(norm1, inside("msa_block.msa"), sizes);
  const zPrime = residuals.msa ? add(msa.msa, z) : msa.msa; // Equation 2
  const norm2 = layerNorm(zPrime, part("mlp_block.layer_norm"), sizes.D, sizes.eps);
  const both = mlp(norm2, inside("mlp_block.mlp"), sizes);
  const out = residuals.mlp ? add(both.mlp, zPrime) : both.mlp; // Equation 3
  return { norm1, ...msa, zPrime, norm2, ...both, z: out };
}

/** What the head makes of (n, D) normalised tokens: (n, K) logits. */
export function head(y, part, { D, representation }) {
  if (!representation) return linear(y, part("head"), D);
  const hidden = linear(y, part("head.0"), D).map(Math.tanh); // (n, representation)
  return linear(hidden, part("head.2"), representation);
}

/** As a whole model, or without residuals, positions, at another temperature. */
export const UNCHANGED = { positions: true, temperature: 1, noResidual: [] };

/**
 * The model: an image's bytes (C, H, W) in, logits and every intermediate out.
 *
 * changes: as `UNCHANGED`; noResidual lists such as "msa 2", counted from 1.
 */
export function vit({ sizes, weights }, bytes, changes = UNCHANGED) {
  const part = (name) => ({
    weight: weights[`${name}.weight`], bias: weights[`${name}.bias`],
  });
  const { D, T, depth, mean, std, height, width } = sizes;
  const image = Float64Array.from(bytes, (byte, i) => {
    const c = Math.floor(i / (height * width));
    return (byte / 255 - mean[c]) / std[c];
  }); // (C, H, W)
  const patches = sizes.stem ? convStem(image, sizes, weights) : patchify(image, sizes);
  const tokens = linear(patches, part("patch_embedding.projection"), sizes.patchDim);
  const z0 = new Float64Array(T * D); // (T, D)
  z0.set(weights["patch_embedding.class_token"]);
  z0.set(tokens, D);
  const positions = weights["patch_embedding.position_embedding"]; // (T, D)
  if (changes.positions) for (let i = 0; i < T * D; i++) z0[i] += positions[i];
  const layers = []; // Equation 1 is done
  const inEncoder = { ...sizes, temperature: changes.temperature };
  for (let l = 1; l <= depth; l++) {
    const residuals = {
      msa: !changes.noResidual.includes(`msa ${l}`),
      mlp: !changes.noResidual.includes(`mlp ${l}`),
    };
    const inside = (name) => part(`encoder.blocks.${l - 1}.${name}`);
    layers.push(block(layers.at(-1)?.z ?? z0, inside, inEncoder, residuals));
  }
  // The logit lens: each token of each layer, read as if the head were there.
  const lens = [z0, ...layers.map((layer) => layer.z)].map((z) =>
    head(layerNorm(z, part("layer_norm"), D, sizes.eps), part, sizes)); // (T, K) each
  const last = layers.at(-1).z.subarray(0, D); // the class token
  const y = layerNorm(last, part("layer_norm"), D, sizes.eps); // (D,), Equation 4
  return { image, patches, tokens, z0, layers, y, logits: head(y, part, sizes), lens };
}
