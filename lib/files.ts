// The one way a file of ours comes into being: whole or not at all.
//
// Problem: a full disk, a killed process or a second writer must leave the previous file intact and nothing half-written
// in its place. Resolution: a lock beside the target, a temporary file in the same folder, fsync, an optional check of
// what really lies on the disk, then rename, which is atomic.
import { randomBytes } from "node:crypto";
import { mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { type ErrorName, isLeNet5Error, LeNet5Error } from "./errors.js";
import { isNativeError } from "./is.js";
import { withLock } from "./lock.js";

/** How {@link writeFileAtomically} behaves. */
export interface AtomicWriteOptions {
  /** Called with the temporary file's path before the rename; what it throws keeps the previous file. */
  verify?: (temporaryPath: string) => Promise<void>;
}

/**
 * Writes `contents` to `path`, replacing what was there only once the new file is whole.
 * @throws LENET5_FILE_BUSY when another process is writing the same file, LENET5_FILE_WRITE_FAILED otherwise
 */
export async function writeFileAtomically(
  path: string,
  contents: Uint8Array | string,
  options: AtomicWriteOptions = {},
): Promise<void> {
  const target = resolve(path);
  const folder = dirname(target);
  const prefix = `.${basename(target)}.`;
  const temporary = join(folder, `${prefix}${process.pid}-${randomBytes(4).toString("hex")}.tmp`);
  try {
    await mkdir(folder, { recursive: true });
    await withLock(target, {}, async (held) => {
      await sweep(folder, prefix);
      try {
        const file = await open(temporary, "wx");
        try {
          await file.writeFile(contents);
          await file.sync();
        } finally {
          await file.close();
        }
        await options.verify?.(temporary);
        // Whoever has taken the lock over is writing the same file by now.
        held.throwIfAborted();
        await rename(temporary, target);
      } catch (error) {
        await rm(temporary, { force: true }).catch(() => {});
        throw error;
      }
    });
  } catch (error) {
    if (isLeNet5Error(error)) throw error;
    throw writeFailure(error, path);
  }
}

/** Removes what a killed writer left behind: whoever holds the lock is the only living one. */
async function sweep(folder: string, prefix: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (!name.startsWith(prefix) || !/^\d+-[0-9a-f]{8}\.tmp$/.test(name.slice(prefix.length))) continue;
    await rm(join(folder, name), { force: true });
  }
}

/** Whether the operating system refused something: an error that names its call. */
export function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return isNativeError(error) && typeof (error as NodeJS.ErrnoException).syscall === "string";
}

/** The error of a file that could not be written. */
export function writeFailure(cause: unknown, path: string): LeNet5Error {
  const message = `Expected a whole file for ${path} but received ${(cause as Error).message}`;
  return new LeNet5Error("FILE_WRITE_FAILED", message, { cause });
}

/**
 * The error of a file that could not be read.
 * @param missing - the error's name where there is no such file; where there is one, it is FILE_READ_FAILED
 * @param what - what was looked for, for example "a model file"
 */
export function readFailure(cause: unknown, missing: ErrorName, what: string, path: string): LeNet5Error {
  const { code, message } = cause as NodeJS.ErrnoException;
  const isMissing = code === "ENOENT" || code === "ENOTDIR" || !isSystemError(cause);
  const text = `Expected ${what} for ${path} but received ${message}`;
  return new LeNet5Error(isMissing ? missing : "FILE_READ_FAILED", text, { cause });
}
