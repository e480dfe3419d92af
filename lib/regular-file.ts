// The one way a file of somebody else's is read: opened once, looked at, and read through that same handle.
//
// Problem: what a path names may change between a look and a read, a pipe would hold one of the few threads for files until
// somebody writes to it, and the system's errors say nothing to the caller of an API. Resolution: the file is opened without
// waiting, the open handle is asked what it is, and whatever fails has a code of this package.
import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { throwIfAborted } from "./abort.js";
import { type ErrorName, expectedButGot, isLeNet5Error } from "./errors.js";
import { readFailure } from "./files.js";

/** A single read of Linux transfers at most 2 GiB. */
const LARGEST_READ = 2 ** 30;

/** What is looked for, for messages and codes. */
export interface Wanted {
  /** For example "an IDX file". */
  what: string;
  /** The error where there is no such file. */
  missing: ErrorName;
  /** The error where there is something else in its place. @defaultValue `missing` */
  other?: ErrorName;
}

/**
 * Opens a regular file, and closes it when `read` has ended.
 * @throws the error that `wanted` names; LENET5_FILE_READ_FAILED where the file is there and cannot be read; what `read`
 *   throws
 */
export async function withRegularFile<T>(
  path: string,
  wanted: Wanted,
  read: (file: FileHandle, size: number) => Promise<T>,
): Promise<T> {
  const { file, size } = await openRegularFile(path, wanted);
  try {
    return await read(file, size);
  } catch (error) {
    throw isLeNet5Error(error) ? error : readFailure(error, wanted.missing, wanted.what, path);
  } finally {
    await file.close();
  }
}

/**
 * Opens a regular file, for whoever reads it bit by bit and closes it.
 * @throws the error that `wanted` names; LENET5_FILE_READ_FAILED where the file is there and cannot be opened
 */
export async function openRegularFile(path: string, wanted: Wanted): Promise<{ file: FileHandle; size: number }> {
  let file: FileHandle | undefined;
  try {
    file = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    const found = await file.stat();
    if (!found.isFile()) {
      const received = found.isDirectory() ? "a folder" : "something that is not a file";
      throw expectedButGot(wanted.other ?? wanted.missing, wanted.what, path, received);
    }
    return { file, size: found.size };
  } catch (error) {
    await file?.close();
    throw isLeNet5Error(error) ? error : readFailure(error, wanted.missing, wanted.what, path);
  }
}

/** The first `size` bytes of a file; fewer where it has become shorter. @throws LENET5_ABORTED */
export async function readBytes(
  file: FileHandle,
  size: number,
  signal?: AbortSignal,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(size);
  let position = 0;
  while (position < size) {
    throwIfAborted(signal);
    const { bytesRead } = await file.read(bytes, position, Math.min(LARGEST_READ, size - position), position);
    if (bytesRead === 0) break;
    position += bytesRead;
  }
  return bytes.subarray(0, position);
}
