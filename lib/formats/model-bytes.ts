// A model file's bytes, from its path or from whoever has them already.
import { constants } from "node:buffer";
import { open } from "node:fs/promises";
import { expected, expectedButGot, isLeNet5Error, LeNet5Error } from "../errors.js";
import { isUint8Array } from "../is.js";

/** A single read of Linux transfers at most 2 GiB. */
const LARGEST_READ = 1024 * 1024 * 1024;

/**
 * Reads a model file whole. What comes back is the caller's own: an array that was given is copied.
 * @param source - a path, or the file's contents
 * @param api - who asks, for messages
 * @param largest - most bytes that a file may have
 * @throws LENET5_MODEL_NOT_FOUND, LENET5_MODEL_TOO_LARGE, LENET5_INVALID_ARGUMENT
 */
export async function readModelBytes(
  source: string | Uint8Array,
  api: string,
  largest: number = constants.MAX_LENGTH,
): Promise<Uint8Array> {
  if (isUint8Array(source)) {
    if (source.length > largest) throw tooLarge("the model", source.length, largest);
    return Uint8Array.from(source);
  }
  if (typeof source !== "string") throw expected("INVALID_ARGUMENT", "a path or a Uint8Array", api, source);
  try {
    const file = await open(source, "r");
    try {
      const status = await file.stat();
      if (!status.isFile()) throw new Error("something that is not a file");
      if (status.size > largest) throw tooLarge(source, status.size, largest);
      const bytes = new Uint8Array(status.size);
      let position = 0;
      while (position < bytes.length) {
        const wanted = Math.min(LARGEST_READ, bytes.length - position);
        const { bytesRead } = await file.read(bytes, position, wanted, position);
        if (bytesRead === 0) break; // the file has become shorter
        position += bytesRead;
      }
      return bytes.subarray(0, position);
    } finally {
      await file.close();
    }
  } catch (cause) {
    if (isLeNet5Error(cause)) throw cause;
    throw new LeNet5Error(
      "MODEL_NOT_FOUND",
      `Expected a model file for ${source} but received ${(cause as Error).message}`,
      { cause },
    );
  }
}

function tooLarge(where: string, size: number, largest: number): LeNet5Error {
  return expectedButGot("MODEL_TOO_LARGE", `at most ${largest} bytes`, where, String(size));
}
