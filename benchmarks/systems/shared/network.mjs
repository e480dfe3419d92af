// What the Node systems share of the network itself: its weights, its data, its schedule. The Python half of
// protocol.py does the same.
import { readFile } from "node:fs/promises";
import { join } from "node:path";

/** The shared weights as `{ name: { shape, data } }`, and the normalisation, as runner/model.mjs wrote them. */
export async function readParameters(model) {
  const description = JSON.parse(await readFile(model.description, "utf8"));
  const bytes = await readFile(model.parameters);
  const flat = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
  const parameters = {};
  let offset = 0;
  for (const [name, shape] of description.parameters) {
    const size = shape.reduce((product, length) => product * length, 1);
    parameters[name] = { shape, data: flat.slice(offset, offset + size) };
    offset += size;
  }
  return { parameters, normalization: description.normalization };
}

/**
 * Weights that take pixels in 0..1: c1((x - mean) / std) with the division and the subtraction inside c1. Padding is
 * black and comes before normalisation, so zero padding of the raw pixels stays exact.
 */
export function foldNormalization({ parameters, normalization: { mean, std } }) {
  const weight = parameters["c1.weight"].data.map((value) => value / std);
  const bias = parameters["c1.bias"].data.map((value, map) => {
    const filter = weight.subarray(map * 25, (map + 1) * 25);
    return value - mean * filter.reduce((sum, factor) => sum + factor, 0);
  });
  return {
    ...parameters,
    "c1.weight": { ...parameters["c1.weight"], data: weight },
    "c1.bias": { ...parameters["c1.bias"], data: bias },
  };
}

/** One of MNIST's files, unpacked, without its header, as bytes. */
export async function readIdx(data, name) {
  const bytes = await readFile(join(data, name));
  return new Uint8Array(bytes.subarray(name.includes("images") ? 16 : 8));
}

/** Count × 32 × 32 floats: padded by 2 with black, then normalised. Made ahead of training: a peer's best case. */
export function normalized(images, mean, std) {
  const count = images.length / 784;
  const values = new Float32Array(count * 1024).fill(-mean / std);
  const table = Float32Array.from({ length: 256 }, (_, byte) => (byte / 255 - mean) / std);
  for (let image = 0; image < count; image += 1) {
    for (let y = 0; y < 28; y += 1) {
      const to = image * 1024 + (y + 2) * 32 + 2;
      const from = image * 784 + y * 28;
      for (let x = 0; x < 28; x += 1) values[to + x] = table[images[from + x]];
    }
  }
  return values;
}

/** The learning rate of a step by the recipe. */
export function rateOf({ schedule = "one-cycle", learningRate }, step, steps) {
  return schedule === "constant" ? learningRate : oneCycle(step, steps, learningRate);
}

/** Numbers in 0..1 that a seed repeats (mulberry32): what shuffles images and turns is reproducible. */
export function seeded(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A shuffled copy, Fisher and Yates's. */
export function shuffled(list, random) {
  const order = list.slice();
  for (let i = order.length - 1; i > 0; i -= 1) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

/** OneCycleLR's learning rate with PyTorch's default arguments, the momenta left alone. */
export function oneCycle(step, steps, maximum) {
  const up = 0.3 * steps - 1;
  const [begin, end, share] =
    step <= up ? [maximum / 25, maximum, step / up] : [maximum, maximum / 25e4, (step - up) / (steps - 1 - up)];
  return end + ((begin - end) / 2) * (1 + Math.cos(Math.PI * share));
}

/** The largest of each row's values, as its index. */
export function argmax(values, classes = 10) {
  const labels = [];
  for (let row = 0; row < values.length; row += classes) {
    let best = 0;
    for (let i = 1; i < classes; i += 1) if (values[row + i] > values[row + best]) best = i;
    labels.push(best);
  }
  return labels;
}
