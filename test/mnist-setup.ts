// Before any test: is the real MNIST to be had? From LENET5_DATA_DIR, the user's cache, or a download, within a minute.
//
// Where it is not, no test is skipped: what is about the real files is no part of the run (describeWithMnist of
// test/mnist.ts), and what needs digits takes synthetic ones. A folder that was named and has no MNIST is a mistake.
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { cacheRoot } from "../lib/cache.js";
import { isLeNet5Error, mnist } from "../lib/index.js";

declare module "vitest" {
  interface ProvidedContext {
    /** The folder with MNIST's files, or null where there is none. */
    mnistFolder: string | null;
  }
}

const LONGEST = 60_000;

export default async function setup(project: TestProject): Promise<void> {
  project.provide("mnistFolder", process.env.LENET5_DATA_DIR ? named(process.env.LENET5_DATA_DIR) : await cached());
}

function named(folder: string): string {
  const places = ["mnist", "MNIST/raw", ""].map((below) => join(folder, below));
  const holding = (place: string) =>
    ["t10k-labels-idx1-ubyte", "t10k-labels-idx1-ubyte.gz"].some((file) => existsSync(join(place, file)));
  const found = places.find(holding);
  if (found === undefined)
    throw new Error(`Expected MNIST's files in LENET5_DATA_DIR but ${folder} has none: unset it`);
  return found;
}

async function cached(): Promise<string | null> {
  try {
    // Two seconds for a mirror's answer: whoever has no network does not want to wait for all of them.
    await mnist.load({ connectTimeout: 2000, stallTimeout: 5000, signal: AbortSignal.timeout(LONGEST) });
    return join(cacheRoot(), "datasets", "mnist");
  } catch (error) {
    if (!isLeNet5Error(error)) throw error;
    console.error(`No MNIST here, so the networks of the tests learn from synthetic digits. (${error.message})`);
    return null;
  }
}
