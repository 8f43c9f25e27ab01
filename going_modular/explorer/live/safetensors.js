// Reads a model.safetensors of this project: eight bytes with the length of a header,
// the header in JSON, then the numbers. Nothing in such a file can run.

/** What is wrong with a file, in one line for the reader. */
export class FileError extends Error {}

const MOST_BYTES = 400e6;
const MOST_WORK = 5e9; // multiplications of a pass: some ten seconds
const ADVICE = "choose the model.safetensors that train.py wrote";
const BYTES = { F32: 4, F16: 2, BF16: 2, F64: 8 };

function refuse(why) {
  throw new FileError(
    `This file is no model that this page can run: ${why}; ${ADVICE}.`,
  );
}

let table; // what each of the 65,536 patterns of half precision means

/** Half-precision numbers as doubles. */
function halves(bits) {
  table ??= Float64Array.from({ length: 65536 }, (_, i) => {
    const [exponent, fraction] = [(i >> 10) & 31, i & 1023];
    const size =
      exponent === 31
        ? fraction
          ? NaN
          : Infinity
        : exponent
          ? 2 ** (exponent - 15) * (1 + fraction / 1024)
          : 2 ** -14 * (fraction / 1024);
    return i >> 15 ? -size : size;
  });
  return Float64Array.from(bits, (pattern) => table[pattern]);
}

function decode(buffer, type) {
  if (type === "F64") return new Float64Array(buffer);
  if (type === "F32") return Float64Array.from(new Float32Array(buffer));
  if (type === "F16") return halves(new Uint16Array(buffer));
  const high = Uint32Array.from(new Uint16Array(buffer), (pattern) => pattern << 16);
  return Float64Array.from(new Float32Array(high.buffer)); // BF16
}

const isCount = (x) => Number.isInteger(x) && x > 0 && x < 1e6;

/** The sizes of a model, under the names that `vit` takes, from its configuration. */
function readSizes(config, weights) {
  for (const name of [
    "patch_size",
    "in_channels",
    "embedding_dim",
    "depth",
    "num_heads",
    "mlp_size",
    "num_classes",
  ]) {
    if (!isCount(config[name]))
      refuse(`its ${name} is ${JSON.stringify(config[name])}`);
  }
  const sides = [config.image_size].flat();
  const [height, width] = [sides[0], sides.at(-1)];
  const { patch_size: patchSize, in_channels: channels, embedding_dim: D } = config;
  if (
    sides.length > 2 ||
    ![height, width].every((side) => isCount(side) && side % patchSize === 0)
  ) {
    refuse(`patches of ${patchSize} pixels do not fill its images`);
  }
  if (D % config.num_heads)
    refuse(`${config.num_heads} heads do not share ${D} numbers`);
  if (![1, 3].includes(channels))
    refuse(`its images have ${channels} channels, not 1 or 3`);
  if (!["erf", "tanh"].includes(config.gelu)) refuse(`it has no known GELU`);
  const perChannel = (values) => {
    const list = [values].flat();
    if (![1, channels].includes(list.length) || !list.every(Number.isFinite)) {
      refuse("its mean or std fits no pixels");
    }
    return list.length === channels ? list : Array(channels).fill(list[0]);
  };
  const [mean, std] = [perChannel(config.mean), perChannel(config.std)];
  if (std.includes(0) || !(config.layer_norm_eps >= 0)) refuse("it divides by zero");
  const representation = config.representation_size ?? null;
  if (representation !== null && !isCount(representation))
    refuse("its head has no size");
  const stem = readStem(weights, patchSize);
  const rows = height / patchSize;
  const columns = width / patchSize;
  const sizes = {
    height,
    width,
    channels,
    patchSize,
    rows,
    columns,
    D,
    mean,
    std,
    representation,
    stem,
    N: rows * columns,
    T: rows * columns + 1,
    F: config.mlp_size,
    K: config.num_classes,
    depth: config.depth,
    heads: config.num_heads,
    gelu: config.gelu,
    eps: config.layer_norm_eps,
    patchDim: stem ? stem.at(-1) : patchSize ** 2 * channels,
  };
  const { T, F, depth } = sizes;
  if (!(depth * T * (4 * D * D + 2 * D * F + 2 * T * D) < MOST_WORK)) {
    refuse(
      `with ${depth} blocks of width ${D} and ${T} tokens it is too large for a page`,
    );
  }
  return sizes;
}

/** Channels of each stage of a convolutional stem; null for plain patches. */
function readStem(weights, patchSize) {
  const names = [...weights.keys()].filter((name) =>
    name.startsWith("patch_embedding.stem."),
  );
  if (!names.length) return null;
  const stages = Math.log2(patchSize);
  const widths = Array.from(
    { length: stages },
    (_, stage) => weights.get(`patch_embedding.stem.${4 * stage}.weight`)?.shape[0],
  );
  if (!Number.isInteger(stages) || !widths.every(isCount)) {
    refuse("its images pass through a ResNet first, which this page does not have");
  }
  return widths;
}

/** The shape of each array that a model of such sizes has. */
function expectedShapes({
  D,
  T,
  F,
  K,
  depth,
  channels,
  patchDim,
  representation,
  stem,
}) {
  const shapes = new Map([
    ["patch_embedding.class_token", [1, 1, D]],
    ["patch_embedding.position_embedding", [1, T, D]],
  ]);
  const linear = (name, outputs, inputs) => {
    shapes.set(`${name}.weight`, [outputs, inputs]).set(`${name}.bias`, [outputs]);
  };
  const norm = (name, count = D) => {
    shapes.set(`${name}.weight`, [count]).set(`${name}.bias`, [count]);
  };
  let inputs = channels;
  (stem ?? []).forEach((outputs, stage) => {
    const name = (place) => `patch_embedding.stem.${4 * stage + place}`;
    shapes.set(`${name(0)}.weight`, [outputs, inputs, 3, 3]);
    norm(name(1), outputs);
    shapes
      .set(`${name(1)}.running_mean`, [outputs])
      .set(`${name(1)}.running_var`, [outputs]);
    inputs = outputs;
  });
  linear("patch_embedding.projection", D, patchDim);
  for (let l = 0; l < depth; l++) {
    const inside = `encoder.blocks.${l}`;
    norm(`${inside}.msa_block.layer_norm`);
    linear(`${inside}.msa_block.msa.qkv`, 3 * D, D);
    linear(`${inside}.msa_block.msa.out`, D, D);
    norm(`${inside}.mlp_block.layer_norm`);
    linear(`${inside}.mlp_block.mlp.linear_1`, F, D);
    linear(`${inside}.mlp_block.mlp.linear_2`, D, F);
  }
  norm("layer_norm");
  if (representation) linear("head.0", representation, D);
  linear(representation ? "head.2" : "head", K, representation ?? D);
  return shapes;
}

/** The JSON header, and where the numbers begin. */
function readHeader(buffer) {
  if (buffer.byteLength > MOST_BYTES) refuse("it has more than 400 MB");
  if (buffer.byteLength < 10) refuse("it has fewer than ten bytes");
  const length = Number(new DataView(buffer).getBigUint64(0, true));
  if (length > buffer.byteLength - 8) refuse("it is no safetensors file, or cut off");
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(
      new Uint8Array(buffer, 8, length),
    );
    return { header: new Map(Object.entries(JSON.parse(text))), start: 8 + length };
  } catch {
    return refuse("it is no safetensors file");
  }
}

/** What `save_model` noted: configuration and names of the classes. */
function readNotes(header) {
  try {
    const { config, class_names: classNames } = JSON.parse(
      header.get("__metadata__").vit,
    );
    if (
      typeof config === "object" &&
      config &&
      Array.isArray(classNames) &&
      classNames.every((name) => typeof name === "string")
    )
      return { config, classNames };
  } catch {
    /* refused below */
  }
  return refuse("it does not say what model it holds");
}

/**
 * Reads a file's bytes.
 *
 * Returns sizes, classNames and weights: for each name a flat Float64Array.
 * Throws a FileError with one line about what is wrong.
 */
export function readModel(buffer) {
  const { header, start } = readHeader(buffer);
  const { config, classNames } = readNotes(header);
  header.delete("__metadata__");
  const sizes = readSizes(config, header);
  if (classNames.length !== sizes.K) {
    refuse(`it has ${classNames.length} names for ${sizes.K} classes`);
  }
  const weights = {};
  for (const [name, shape] of expectedShapes(sizes)) {
    const entry = header.get(name);
    if (!entry) refuse(`${name} is missing`);
    const { dtype, shape: found, data_offsets: offsets } = entry;
    if (!Array.isArray(found) || found.join() !== shape.join()) {
      refuse(`${name} is (${[found].flat().join(", ")}), not (${shape.join(", ")})`);
    }
    if (!Object.hasOwn(BYTES, dtype))
      refuse(`${name} holds ${dtype}, not plain numbers`);
    const bytes = shape.reduce((a, b) => a * b) * BYTES[dtype];
    const [from, to] = Array.isArray(offsets) ? offsets : [];
    if (
      !Number.isInteger(from) ||
      from < 0 ||
      to - from !== bytes ||
      start + to > buffer.byteLength
    )
      refuse(`it is cut off at ${name}`);
    const numbers = decode(buffer.slice(start + from, start + to), dtype);
    if (!numbers.every(Number.isFinite))
      refuse(`${name} holds numbers that are not finite`);
    weights[name] = numbers;
  }
  return { sizes, classNames, weights };
}
