// The real MNIST where this machine has it (test/mnist-setup.ts finds out), and digits for everyone.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { describe, inject } from "vitest";
import { type Dataset, mnist, syntheticDigits } from "../lib/index.js";

const folder = inject("mnistFolder");

/** `describe` for what is about the real MNIST. Where it is not to be had, these tests are no part of the run. */
export function describeWithMnist(name: string, body: () => void): void {
  if (folder !== null) describe(name, body);
}

/** The bytes of one of MNIST's files, as `.gz`. */
export function mnistArchive(name: string): Buffer {
  const path = join(folder!, name);
  return existsSync(path) ? readFileSync(path) : gzipSync(readFileSync(path.replace(/\.gz$/, "")));
}

/** Digits to learn from, and to be examined on. */
export interface Digits {
  /** For the title of a test. */
  name: string;
  train: Dataset;
  test: Dataset;
}

export const digitsName = folder === null ? "synthetic digits" : "MNIST";

/** MNIST, or where it is not to be had 12,000 and 2,000 synthetic digits, which take two seconds to draw. */
export async function loadDigits(): Promise<Digits> {
  const sets =
    folder === null
      ? await syntheticDigits.load({ trainCount: 12_000, testCount: 2000, seed: 1 })
      : await mnist.load({ directory: folder });
  return { name: digitsName, ...sets };
}
