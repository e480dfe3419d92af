// A model file's bytes, from its path or from whoever has them already.
import { constants } from "node:buffer";
import { abortable, throwIfAborted } from "../abort.js";
import { type BlobLike, type Bytes, bytesOf, isBlob, isUrl, pathOfUrl } from "../byte-source.js";
import { expected, expectedButGot, isLeNet5Error, LeNet5Error } from "../errors.js";
import { readBytes, withRegularFile } from "../regular-file.js";

/** A model file: a path, a `file:` URL, the file's contents, or a `Blob`. */
export type ModelSource = string | URL | Bytes | BlobLike;

/**
 * Reads a model file whole. What comes back is the caller's own: an array that was given is copied.
 * @param source - a path, a `file:` URL, the file's contents, or a `Blob`
 * @param api - who asks, for messages
 * @param largest - most bytes that a file may have
 * @throws LENET5_ABORTED, LENET5_MODEL_NOT_FOUND, LENET5_FILE_READ_FAILED, LENET5_MODEL_TOO_LARGE, LENET5_INVALID_ARGUMENT
 */
export async function readModelBytes(
  source: ModelSource,
  api: string,
  { largest = constants.MAX_LENGTH, signal }: { largest?: number; signal?: AbortSignal | undefined } = {},
): Promise<Uint8Array> {
  throwIfAborted(signal);
  const given = bytesOf(source);
  if (given !== undefined) {
    if (given.length > largest) throw tooLarge("the model", given.length, largest);
    return given.slice();
  }
  if (isBlob(source)) {
    if (!(source.size <= largest)) throw tooLarge("the model", source.size, largest);
    return await bytesOfBlob(source, signal);
  }
  const path = modelPath(source, api);
  return await withRegularFile(path, { what: "a model file", missing: "MODEL_NOT_FOUND" }, async (file, size) => {
    if (size > largest) throw tooLarge(path, size, largest);
    return await readBytes(file, size, signal);
  });
}

/** The path of a model that is neither bytes nor a `Blob`. @throws LENET5_INVALID_ARGUMENT */
export function modelPath(source: ModelSource, api: string): string {
  const path = isUrl(source) ? pathOfUrl(source.href, api) : source;
  if (typeof path === "string" && path !== "") return path;
  throw expected("INVALID_ARGUMENT", "a path, a file: URL, bytes or a Blob", api, path);
}

/** What messages call a model: by its path, where there is one. */
export function modelName(source: ModelSource): string {
  if (typeof source === "string") return source;
  return isUrl(source) ? source.href.slice(0, 200) : "the model";
}

async function bytesOfBlob(blob: BlobLike, signal: AbortSignal | undefined): Promise<Uint8Array> {
  try {
    return bytesOf(await abortable(blob.arrayBuffer(), signal))!.slice();
  } catch (cause) {
    if (isLeNet5Error(cause)) throw cause;
    throw new LeNet5Error("MODEL_NOT_FOUND", `Expected a Blob that can be read for the model but received ${cause}`, {
      cause,
    });
  }
}

function tooLarge(where: string, size: number, largest: number): LeNet5Error {
  return expectedButGot("MODEL_TOO_LARGE", `at most ${largest} bytes`, where, String(size));
}
