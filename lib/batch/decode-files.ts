// Image files become the network's pixels, many in one call and as cheaply as they can be: what a decoding thread does.
//
// Problem: four promises and four trips to the threads for files cost several times what decoding a small PNG does. Resolution:
// a thread of its own may wait, so it opens and reads synchronously; what is no small plain PNG, or cannot be had like this,
// goes the way of every other image, which has the last word about it.
import { closeSync, constants, openSync, readSync } from "node:fs";
import { join } from "node:path";
import { PIXELS } from "../data/dataset.js";
import { decodeAll, decodeSmallInto } from "../data/image.js";
import type { LeNet5Error } from "../errors.js";

/** An image that could not be read, by its place in the batch. */
export type Unreadable = readonly [index: number, code: string, message: string];

/** What became of a batch of files. */
export interface DecodedFiles {
  /** 784 a file; zeroes where it could not be read. */
  readonly pixels: Uint8Array<ArrayBuffer>;
  /** In the order of their places. */
  readonly unreadable: readonly Unreadable[];
}

/** Bytes of a file that are read at once; a plain PNG of 28×28 has less. */
const ROOM = Buffer.allocUnsafeSlow(2 ** 14);
/** Images that are decoded at the same time where it takes libraries; each has threads of its own. */
const CONCURRENCY = 4;
/** Files between two looks whether to stop. */
const TURN = 32;

/** What the system may say of a file that is about this file alone. Anything else, such as a failing disk, ends the run. */
const OF_THE_FILE = ["EACCES", "EPERM", "ELOOP", "ENAMETOOLONG", "EINVAL", "ENXIO", "ENODEV", "EOPNOTSUPP"];

/**
 * Decodes files as `decodeDigit` does.
 * @param root - where the names are relative to; "" where they are paths
 * @throws LENET5_ABORTED; LENET5_FILE_READ_FAILED where what fails is not about one file
 */
export async function decodeFiles(root: string, names: readonly string[], signal?: AbortSignal): Promise<DecodedFiles> {
  const pixels = new Uint8Array(names.length * PIXELS);
  const paths = root === "" ? names : names.map((name) => join(root, name));
  const others: number[] = [];
  for (const [index, path] of paths.entries()) {
    if (index % TURN === 0 && signal?.aborted) break;
    if (!decodeSmallFile(path, pixels.subarray(index * PIXELS, (index + 1) * PIXELS))) others.push(index);
  }
  if (others.length === 0 && !signal?.aborted) return { pixels, unreadable: [] };
  const unreadable: Unreadable[] = [];
  const images = others.map((index) => ({ kind: "path", path: paths[index]!, name: paths[index]! }) as const);
  const decoded = await decodeAll(images, {
    concurrency: CONCURRENCY,
    onUnreadable: (error, at) => {
      if (!isOfTheFile(error)) throw error;
      unreadable.push([others[at]!, error.code, error.message]);
    },
    ...(signal === undefined ? {} : { signal }),
  });
  for (const [at, index] of others.entries()) {
    pixels.set(decoded.subarray(at * PIXELS, (at + 1) * PIXELS), index * PIXELS);
  }
  return { pixels, unreadable: unreadable.sort(([a], [b]) => a - b) };
}

/** Decodes a small plain PNG; false for all else, whatever is the matter with it. */
function decodeSmallFile(path: string, digit: Uint8Array): boolean {
  let file: number | undefined;
  try {
    file = openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    const length = readSync(file, ROOM, 0, ROOM.length, null);
    // A file that fills the room may go on behind it.
    return length > 0 && length < ROOM.length && decodeSmallInto(ROOM.subarray(0, length), digit);
  } catch {
    return false;
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

/** Whether what failed is about this file alone. */
export function isOfTheFile({ code, cause }: LeNet5Error): boolean {
  if (code !== "LENET5_FILE_READ_FAILED") return true;
  return OF_THE_FILE.includes(String((cause as NodeJS.ErrnoException | undefined)?.code));
}
