// MNIST as every system reads it: the four IDX files unpacked, so that nobody's gunzip is measured.
import { mkdir, readFile, rename, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import { mnistDirectory, peers } from "./paths.mjs";

const sizes = {
  "train-images-idx3-ubyte": 47_040_016,
  "train-labels-idx1-ubyte": 60_008,
  "t10k-images-idx3-ubyte": 7_840_016,
  "t10k-labels-idx1-ubyte": 10_008,
};

/** Unpacks MNIST once and returns the folder; throws when there is none to unpack. */
export async function unpackedMnist() {
  const folder = join(peers, "data");
  await mkdir(folder, { recursive: true });
  for (const [name, size] of Object.entries(sizes)) {
    const path = join(folder, name);
    if ((await stat(path).catch(() => undefined))?.size === size) continue;
    const from = mnistDirectory();
    if (from === undefined) throw new Error("MNIST was not found: set LENET5_DATA_DIR to the folder that holds mnist/");
    const bytes = await promisify(gunzip)(await readFile(join(from, `${name}.gz`)));
    if (bytes.length !== size) throw new Error(`${name}.gz holds ${bytes.length} bytes, not ${size}`);
    await writeFile(`${path}.part`, bytes);
    await rename(`${path}.part`, path);
  }
  return folder;
}

/** The first test image as pixels in 0..1, and the true labels of the test set. */
export async function testSet(folder) {
  const images = await readFile(join(folder, "t10k-images-idx3-ubyte"));
  const labels = await readFile(join(folder, "t10k-labels-idx1-ubyte"));
  return {
    firstImage: Array.from(images.subarray(16, 16 + 784), (v) => v / 255),
    labels: Array.from(labels.subarray(8)),
  };
}
