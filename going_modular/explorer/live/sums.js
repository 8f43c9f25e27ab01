// The sum behind each number that the page shows, term by term.
//
// An address names a number, such as { what: "attention", layer: 2, head: 1, row: 0,
// column: 7 }; rows are tokens, the class token first, unless said otherwise. `explain`
// gives what it is made of, and the addresses of the parts, so that every number leads
// on to others, down to the bytes of the image and the weights of the file.

import { gelu, layerNorm, linear, moments, softmax } from "./vit.js";

const nameOf = (row) => (row ? `patch ${row}` : "the class token");
const dimension = (column) => `number ${column + 1}`;

/** Numbers that a file holds: where they come from is training. */
function learned(name, value) {
  return { label: name, value };
}

/** A row of `x` times a row of a weight, plus a bias: the sum of a linear layer. */
function product(x, from, of, { weight, bias }, output, inputs, unit = "number") {
  const terms = Array.from({ length: inputs }, (_, j) => ({
    a: { label: `${unit} ${j + 1}`, value: x[from + j], address: of(j) },
    b: learned("weight", weight[output * inputs + j]),
    value: x[from + j] * weight[output * inputs + j],
  }));
  const columns = [unit, "× weight", "product"];
  return { terms, columns, added: [learned("bias, learned", bias[output])] };
}

/** How a byte of the image became what the model sees of it. */
function pixelSteps(
  { width, height, columns, channels, patchSize: P, mean, std },
  bytes,
  patch,
  number,
) {
  const [pixel, c] = [Math.floor(number / channels), number % channels];
  const y = Math.floor(patch / columns) * P + Math.floor(pixel / P);
  const x = (patch % columns) * P + (pixel % P);
  const byte = bytes[c * height * width + y * width + x];
  const colour = channels === 1 ? "brightness" : ["red", "green", "blue"][c];
  return {
    formula: "(byte / 255 - mean) / std",
    steps: [
      {
        label: `${colour} at row ${y + 1}, column ${x + 1} of the image, 0 to 255`,
        value: byte,
      },
      { label: "mean", value: mean[c] },
      { label: "std", value: std[c] },
    ],
    total: (byte / 255 - mean[c]) / std[c],
  };
}

/** A token as the head reads it: LN of z after a layer, (D,). */
function readToken({ sizes: { D, eps }, weights }, seen, layer, row) {
  const z = layer ? seen.layers[layer - 1].z : seen.z0;
  const part = {
    weight: weights["layer_norm.weight"],
    bias: weights["layer_norm.bias"],
  };
  return layerNorm(z.slice(row * D, (row + 1) * D), part, D, eps);
}

/** What LayerNorm did to one number. */
function normalised(z, from, column, of, { weight, bias }, D, eps) {
  const [mean, deviation] = moments(z, from, D, eps);
  const scaled = (z[from + column] - mean) / deviation;
  return {
    formula: "(number - mean) / deviation x scale + shift",
    steps: [
      { label: dimension(column), value: z[from + column], address: of(column) },
      { label: `mean of the token's ${D} numbers`, value: mean },
      { label: "their deviation", value: deviation },
      { label: "so, normalised", value: scaled },
      learned("scale, learned", weight[column]),
      learned("shift, learned", bias[column]),
    ],
    total: scaled * weight[column] + bias[column],
  };
}

/**
 * What a number is made of.
 *
 * model: of `readModel`. seen: what `vit` gave. changes: what `vit` was given.
 * Returns title, equation, formula, terms (products that are added up), columns (what
 * their numbers are), added (other summands), steps (numbers that lead to it in another
 * way) and total, the number.
 */
export function explain({ sizes, weights }, seen, changes, bytes, address) {
  const { D, T, F, K, heads, depth, eps, patchDim, representation } = sizes;
  const { what, layer, head, row, column } = address;
  const dh = D / heads;
  const part = (name) => ({
    weight: weights[`${name}.weight`],
    bias: weights[`${name}.bias`],
  });
  const inBlock = (name) => part(`encoder.blocks.${layer - 1}.${name}`);
  const here = seen.layers[layer - 1];
  const at = (kind, more) => (column) => ({ what: kind, layer, row, column, ...more });
  const tokenTimes = (kind, name) =>
    product(here[kind], row * D, at(kind), inBlock(name), column, D);
  const below =
    layer > 1
      ? { z: seen.layers[layer - 2].z, of: at("z", { layer: layer - 1 }) }
      : { z: seen.z0, of: at("z0") };
  const whole = (made) => ({
    terms: [],
    added: [],
    steps: [],
    formula: "",
    ...made,
    total:
      made.total ??
      [...(made.terms ?? []), ...(made.added ?? [])].reduce(
        (sum, { value }) => sum + value,
        0,
      ),
  });

  const kinds = {
    pixel: () =>
      whole({
        title: `Patch ${row}, ${sizes.stem ? "feature" : "pixel number"} ${column + 1}`,
        ...(sizes.stem
          ? {
              formula: "what the convolutions of the stem found there",
              steps: [
                {
                  label: "feature",
                  value: seen.patches[(row - 1) * patchDim + column],
                },
              ],
              total: seen.patches[(row - 1) * patchDim + column],
            }
          : pixelSteps(sizes, bytes, row - 1, column)),
      }),
    classToken: () =>
      whole({
        title: `Class token, ${dimension(column)}`,
        formula: "a weight of the model: training has found it",
        added: [learned("learned", weights["patch_embedding.class_token"][column])],
      }),
    token: () =>
      whole({
        title: `Token of ${nameOf(row)}, ${dimension(column)}`,
        equation: "Equation 1: the patch times a column of E",
        ...product(
          seen.patches,
          (row - 1) * patchDim,
          at("pixel"),
          part("patch_embedding.projection"),
          column,
          patchDim,
          sizes.stem ? "feature" : "pixel",
        ),
      }),
    position: () =>
      whole({
        title: `Position of ${nameOf(row)}, ${dimension(column)}`,
        formula: "a weight of the model: training has found it",
        added: [
          learned(
            "learned",
            weights["patch_embedding.position_embedding"][row * D + column],
          ),
        ],
      }),
    z0: () =>
      whole({
        title: `z_0 of ${nameOf(row)}, ${dimension(column)}`,
        equation: "Equation 1: token plus position",
        added: [
          row
            ? {
                label: "token",
                value: seen.tokens[(row - 1) * D + column],
                address: at("token")(column),
              }
            : {
                label: "class token",
                value: weights["patch_embedding.class_token"][column],
                address: at("classToken")(column),
              },
          changes.positions
            ? {
                label: "position",
                value: weights["patch_embedding.position_embedding"][row * D + column],
                address: at("position")(column),
              }
            : { label: "position, taken away", value: 0 },
        ],
      }),
    norm1: () =>
      whole({
        title: `LN before attention, layer ${layer}, ${nameOf(row)}, ${dimension(column)}`,
        equation: "Equation 2: LN(z)",
        ...normalised(
          below.z,
          row * D,
          column,
          below.of,
          inBlock("msa_block.layer_norm"),
          D,
          eps,
        ),
      }),
    qkv: () => {
      const [kind, place] = [Math.floor(column / D), column % D];
      return whole({
        title:
          `${["Query", "Key", "Value"][kind]} of ${nameOf(row)}, layer ${layer}, ` +
          `head ${Math.floor(place / dh) + 1}, ${dimension(place % dh)}`,
        equation: "Equation 5: LN(z) times a column of U_qkv",
        ...tokenTimes("norm1", "msa_block.msa.qkv"),
      });
    },
    score: () => {
      const [q, k] = [(head - 1) * dh, D + (head - 1) * dh];
      const terms = Array.from({ length: dh }, (_, d) => {
        const [a, b] = [
          here.qkv[row * 3 * D + q + d],
          here.qkv[column * 3 * D + k + d],
        ];
        return {
          a: {
            label: `q ${d + 1}`,
            value: a,
            address: { what: "qkv", layer, row, column: q + d },
          },
          b: {
            label: `k ${d + 1}`,
            value: b,
            address: { what: "qkv", layer, row: column, column: k + d },
          },
          value: a * b,
        };
      });
      const sum = terms.reduce((total, { value }) => total + value, 0);
      return whole({
        title: `Score of ${nameOf(row)} for ${nameOf(column)}, layer ${layer}, head ${head}`,
        equation: "Equation 6: q · k / √d_h",
        formula: "the sum of the products, divided",
        columns: ["q", "× k", "product"],
        terms,
        steps: [
          { label: "q · k", value: sum },
          { label: `√d_h, the root of ${dh}`, value: Math.sqrt(dh) },
          ...(changes.temperature === 1
            ? []
            : [{ label: "temperature", value: changes.temperature }]),
        ],
        total: sum / Math.sqrt(dh) / changes.temperature,
      });
    },
    attention: () => {
      const scores = Array.from(
        { length: T },
        (_, j) =>
          explain({ sizes, weights }, seen, changes, bytes, {
            what: "score",
            layer,
            head,
            row,
            column: j,
          }).total,
      );
      const highest = Math.max(...scores);
      const powers = scores.map((score) => Math.exp(score - highest));
      const sum = powers.reduce((a, b) => a + b);
      return whole({
        title: `How much ${nameOf(row)} looks at ${nameOf(column)}, layer ${layer}, head ${head}`,
        equation: "Equation 6: softmax of q · k / √d_h",
        formula: "e to the score, over the sum of that for all tokens",
        steps: [
          {
            label: "score",
            value: scores[column],
            address: { ...address, what: "score" },
          },
          { label: "highest score of the row, taken off all of them", value: highest },
          { label: "e to the difference", value: powers[column] },
          { label: `sum of it over all ${T} tokens`, value: sum },
        ],
        total: powers[column] / sum,
      });
    },
    mean: () =>
      whole({
        title: `How much ${nameOf(row)} looks at ${nameOf(column)}, layer ${layer}, mean of the heads`,
        formula: `the heads' shares, each divided by ${heads}`,
        added: Array.from({ length: heads }, (_, h) => ({
          label: `head ${h + 1}, over ${heads}`,
          value: here.attention[(h * T + row) * T + column] / heads,
          address: { what: "attention", layer, head: h + 1, row, column },
        })),
      }),
    values: () => {
      const [h, d] = [Math.floor(column / dh), column % dh];
      return whole({
        title: `What head ${h + 1} brings ${nameOf(row)}, layer ${layer}, ${dimension(d)}`,
        equation: "Equation 7: the values of all tokens, each times its share",
        columns: ["share", "× value", "product"],
        terms: Array.from({ length: T }, (_, j) => {
          const [a, v] = [
            here.attention[(h * T + row) * T + j],
            j * 3 * D + 2 * D + column,
          ];
          return {
            a: {
              label: `share of ${nameOf(j)}`,
              value: a,
              address: { what: "attention", layer, head: h + 1, row, column: j },
            },
            b: {
              label: "its value",
              value: here.qkv[v],
              address: { what: "qkv", layer, row: j, column: 2 * D + column },
            },
            value: a * here.qkv[v],
          };
        }),
      });
    },
    msa: () =>
      whole({
        title: `MSA, layer ${layer}, ${nameOf(row)}, ${dimension(column)}`,
        equation: "Equation 8: all heads times a column of U_msa",
        ...tokenTimes("values", "msa_block.msa.out"),
      }),
    zPrime: () =>
      whole({
        title: `z′ of layer ${layer}, ${nameOf(row)}, ${dimension(column)}`,
        equation: "Equation 2: MSA(LN(z)) + z",
        added: [
          {
            label: "MSA",
            value: here.msa[row * D + column],
            address: at("msa")(column),
          },
          changes.noResidual.includes(`msa ${layer}`)
            ? { label: "residual, taken away", value: 0 }
            : {
                label: "z, the residual",
                value: below.z[row * D + column],
                address: below.of(column),
              },
        ],
      }),
    norm2: () =>
      whole({
        title: `LN before the MLP, layer ${layer}, ${nameOf(row)}, ${dimension(column)}`,
        equation: "Equation 3: LN(z′)",
        ...normalised(
          here.zPrime,
          row * D,
          column,
          at("zPrime"),
          inBlock("mlp_block.layer_norm"),
          D,
          eps,
        ),
      }),
    hidden: () =>
      whole({
        title: `Inside the MLP, layer ${layer}, ${nameOf(row)}, ${dimension(column)} of ${F}`,
        equation: "the first linear layer, before GELU",
        ...tokenTimes("norm2", "mlp_block.mlp.linear_1"),
      }),
    active: () => {
      const x = here.hidden[row * F + column];
      return whole({
        title: `GELU, layer ${layer}, ${nameOf(row)}, ${dimension(column)} of ${F}`,
        formula:
          "GELU: hardly anything of a negative number, nearly all of a positive one",
        steps: [{ label: "before", value: x, address: at("hidden")(column) }],
        total: gelu(x, sizes.gelu),
      });
    },
    mlp: () => {
      const active = here.hidden
        .subarray(row * F, (row + 1) * F)
        .map((x) => gelu(x, sizes.gelu));
      return whole({
        title: `MLP, layer ${layer}, ${nameOf(row)}, ${dimension(column)}`,
        equation: "the second linear layer, after GELU",
        ...product(
          active,
          0,
          at("active"),
          inBlock("mlp_block.mlp.linear_2"),
          column,
          F,
        ),
      });
    },
    z: () =>
      whole({
        title: `z of layer ${layer}, ${nameOf(row)}, ${dimension(column)}`,
        equation: "Equation 3: MLP(LN(z′)) + z′",
        added: [
          {
            label: "MLP",
            value: here.mlp[row * D + column],
            address: at("mlp")(column),
          },
          changes.noResidual.includes(`mlp ${layer}`)
            ? { label: "residual, taken away", value: 0 }
            : {
                label: "z′, the residual",
                value: here.zPrime[row * D + column],
                address: at("zPrime")(column),
              },
        ],
      }),
    read: () => {
      const z = layer ? here.z : seen.z0;
      return whole({
        title: `LN before the classifier, after layer ${layer}, ${nameOf(row)}, ${dimension(column)}`,
        equation:
          row || layer < depth
            ? "the logit lens: as in Equation 4"
            : "Equation 4: y = LN(z_L of the class token)",
        ...normalised(
          z,
          row * D,
          column,
          at(layer ? "z" : "z0"),
          part("layer_norm"),
          D,
          eps,
        ),
      });
    },
    headHidden: () => {
      const y = readToken({ sizes, weights }, seen, layer, row);
      const { terms, columns, added } = product(
        y,
        0,
        at("read"),
        part("head.0"),
        column,
        D,
      );
      const sum = [...terms, ...added].reduce((total, { value }) => total + value, 0);
      return whole({
        title: `Inside the classifier, ${dimension(column)}`,
        formula: "tanh of the sum",
        terms,
        columns,
        added,
        steps: [{ label: "the sum", value: sum }],
        total: Math.tanh(sum),
      });
    },
    logit: () => {
      const title = `Logit of class ${column + 1}, read after layer ${layer} at ${nameOf(row)}`;
      const y = readToken({ sizes, weights }, seen, layer, row);
      if (!representation) {
        return whole({
          title,
          equation: "the classifier: y times a row of its weights",
          ...product(y, 0, at("read"), part("head"), column, D),
        });
      }
      const inner = linear(y, part("head.0"), D).map(Math.tanh); // (representation,)
      return whole({
        title,
        equation: "the classifier's second linear layer",
        ...product(inner, 0, at("headHidden"), part("head.2"), column, representation),
      });
    },
    probability: () => {
      const logits = seen.lens[layer].slice(row * K, (row + 1) * K);
      const highest = Math.max(...logits);
      const powers = logits.map((logit) => Math.exp(logit - highest));
      return whole({
        title: `Probability of class ${column + 1}, read after layer ${layer} at ${nameOf(row)}`,
        formula: "e to the logit, over the sum of that for all classes",
        steps: [
          {
            label: "logit",
            value: logits[column],
            address: { ...address, what: "logit" },
          },
          { label: "highest logit, taken off all of them", value: highest },
          { label: "e to the difference", value: powers[column] },
          {
            label: `sum of it over all ${K} classes`,
            value: powers.reduce((a, b) => a + b),
          },
        ],
        total: softmax(logits)[column],
      });
    },
  };
  return kinds[what]();
}
