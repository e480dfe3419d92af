// The data sets, each a folder with four unpacked IDX files, so that nobody's gunzip is measured and no system needs to know
// where its images come from:
//
// - digits: MNIST. digits-validation: its training set's first 50,000 images and, as its test set, the last 10,000: what
//   recipes are chosen on.
// - fashion-mnist, where LENET5_DATA_DIR has it, else textures: images that fill their frame. A texture is a grating of ten
//   directions, its phase, period and contrast drawn, under noise: it can be learnt, and no pixel of it is black.
// - noise: uniform bytes with labels drawn at random: nothing to skip and nothing to learn.
import { existsSync } from "node:fs";
import { mkdir, readFile, rename, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import { seeded } from "../systems/shared/network.mjs";
import { mnistDirectory, peers } from "./paths.mjs";

const TRAIN = 60_000;
const TEST = 10_000;
const HELD_OUT = 10_000;
const NAMES = [
  "train-images-idx3-ubyte",
  "train-labels-idx1-ubyte",
  "t10k-images-idx3-ubyte",
  "t10k-labels-idx1-ubyte",
];

const isThere = async (path, size) => (await stat(path).catch(() => undefined))?.size === size;
const sizeOf = (name, count) => (name.includes("images") ? 16 + 784 * count : 8 + count);

async function write(path, bytes) {
  await writeFile(`${path}.part`, bytes);
  await rename(`${path}.part`, path);
}

/** An IDX file of images (28 × 28 bytes each) or labels. */
export function idx(bytes, images) {
  const header = Buffer.alloc(images ? 16 : 8);
  header.writeUInt32BE(images ? 0x803 : 0x801, 0);
  header.writeUInt32BE(images ? bytes.length / 784 : bytes.length, 4);
  if (images) for (const at of [8, 12]) header.writeUInt32BE(28, at);
  return Buffer.concat([header, bytes]);
}

async function unpacked(from, folder) {
  for (const name of NAMES) {
    const count = name.startsWith("train") ? TRAIN : TEST;
    const path = join(folder, name);
    if (await isThere(path, sizeOf(name, count))) continue;
    if (from === undefined) throw new Error("MNIST was not found: set LENET5_DATA_DIR to the folder that holds mnist/");
    const bytes = await promisify(gunzip)(await readFile(join(from, `${name}.gz`)));
    if (bytes.length !== sizeOf(name, count)) throw new Error(`${name}.gz holds ${bytes.length} bytes`);
    await write(path, bytes);
  }
}

async function validation(folder) {
  const digits = await dataSet("digits");
  const learnt = TRAIN - HELD_OUT;
  for (const images of [true, false]) {
    const [size, header, kind] = images ? [784, 16, "images-idx3-ubyte"] : [1, 8, "labels-idx1-ubyte"];
    const bytes = (await readFile(join(digits, `train-${kind}`))).subarray(header);
    await write(join(folder, `train-${kind}`), idx(bytes.subarray(0, learnt * size), images));
    await write(join(folder, `t10k-${kind}`), idx(bytes.subarray(learnt * size), images));
  }
}

/** One texture of the class `label` into 784 bytes, all of them above zero. */
export function texture(pixels, label, random) {
  const angle = (Math.PI * label) / 10 + 0.08 * (random() - 0.5);
  const period = 4 + 4 * random();
  const [across, down] = [Math.cos(angle), Math.sin(angle)].map((part) => (2 * Math.PI * part) / period);
  const phase = 2 * Math.PI * random();
  const contrast = 30 + 40 * random();
  for (let y = 0; y < 28; y += 1) {
    for (let x = 0; x < 28; x += 1) {
      const value = 128 + contrast * Math.sin(across * x + down * y + phase) + 100 * (random() - 0.5);
      pixels[28 * y + x] = Math.max(1, Math.min(255, Math.round(value)));
    }
  }
}

async function drawn(folder, seed, draw) {
  const random = seeded(seed);
  for (const [name, count] of [
    ["train", TRAIN],
    ["t10k", TEST],
  ]) {
    const images = Buffer.alloc(784 * count);
    const labels = Buffer.alloc(count);
    for (let i = 0; i < count; i += 1) {
      labels[i] = Math.floor(10 * random());
      draw(images.subarray(784 * i, 784 * (i + 1)), labels[i], random);
    }
    await write(join(folder, `${name}-labels-idx1-ubyte`), idx(labels, false));
    await write(join(folder, `${name}-images-idx3-ubyte`), idx(images, true));
  }
}

function noise(pixels, _label, random) {
  for (let i = 0; i < 784; i += 1) pixels[i] = Math.floor(256 * random());
}

const fashionDirectory = () => {
  const base = process.env.LENET5_DATA_DIR;
  const folder = base === undefined ? undefined : join(base, "fashion-mnist");
  return folder !== undefined && existsSync(join(folder, `${NAMES[0]}.gz`)) ? folder : undefined;
};

/** The data sets whose images fill their frame, of which the first one can be learnt. */
export const denseSets = () => [fashionDirectory() === undefined ? "textures" : "fashion-mnist", "noise"];

const sets = {
  digits: { learnt: TRAIN, make: (folder) => unpacked(mnistDirectory(), folder) },
  "digits-validation": { learnt: TRAIN - HELD_OUT, make: validation },
  "fashion-mnist": { learnt: TRAIN, make: (folder) => unpacked(fashionDirectory(), folder) },
  textures: { learnt: TRAIN, make: (folder) => drawn(folder, 1, texture) },
  noise: { learnt: TRAIN, make: (folder) => drawn(folder, 2, noise) },
};

/** The folder of a data set, which is made once; throws when there is nothing to make it from. */
export async function dataSet(name) {
  const folder = join(peers, "data", name);
  await mkdir(folder, { recursive: true });
  const { learnt, make } = sets[name];
  const whole = await Promise.all(
    NAMES.map((file) => isThere(join(folder, file), sizeOf(file, file.startsWith("train") ? learnt : TEST))),
  );
  if (!whole.every(Boolean)) await make(folder);
  return folder;
}

/** The test images' bytes and labels. */
export async function testSet(folder) {
  const images = await readFile(join(folder, "t10k-images-idx3-ubyte"));
  const labels = await readFile(join(folder, "t10k-labels-idx1-ubyte"));
  return { images: images.subarray(16), labels: Array.from(labels.subarray(8)) };
}
