// The one way a file of ours comes into being: whole or not at all.
//
// Problem: a full disk, a killed process or a second writer must leave the previous file intact and nothing half-written
// in its place. Resolution: a lock beside the target, a temporary file in the same folder, fsync, an optional check of
// what really lies on the disk, then rename, which is atomic. Pipes and devices take the bytes as they come.
import { randomBytes } from "node:crypto";
import { constants, type Stats } from "node:fs";
import { type FileHandle, mkdir, mkdtemp, open, readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { delay, throwIfAborted } from "./abort.js";
import { type ErrorName, isLeNet5Error, LeNet5Error } from "./errors.js";
import { placeOf } from "./file-place.js";
import { isNativeError } from "./is.js";
import { withLock } from "./lock.js";

/** How {@link writeFileAtomically} behaves. */
export interface AtomicWriteOptions {
  /** Called with the temporary file's path before the rename; what it throws keeps the previous file. */
  verify?: (temporaryPath: string) => Promise<void>;
  /** Aborts the call: the previous file stays, and a pipe is waited for no longer. */
  signal?: AbortSignal | undefined;
  /** "for-the-dead" takes over what a killed process has left locked, and waits for that; without it, it is refused. */
  wait?: "for-the-dead";
}

/** Milliseconds between two looks whether somebody has opened a pipe to read from it. */
const READER_POLL = 100;
/** And whether a pipe that was full has room again. */
const ROOM_POLL = 5;

/**
 * Writes `contents` to `path`, replacing what was there only once the new file is whole. Links are followed, and a file
 * that is replaced keeps its mode and, where that is permitted, its owner. Pipes and character devices are written to
 * (a pipe once somebody reads from it); folders, sockets and block devices are refused.
 * @throws LENET5_FILE_BUSY when another process is writing the same file, LENET5_ABORTED when the
 * signal has fired, LENET5_FILE_WRITE_FAILED otherwise
 */
export async function writeFileAtomically(
  path: string,
  contents: Uint8Array | string,
  options: AtomicWriteOptions = {},
): Promise<void> {
  try {
    const place = await placeOf(path);
    if (place.kind === "file") return await replaceFile(place.path, place.replaces, contents, options);
    if (options.verify) await verifyElsewhere(contents, options.verify);
    throwIfAborted(options.signal);
    if (place.kind === "own") await endOfWrite(process[place.name], contents);
    else await writeToStream(place.path, place.isPipe, contents, options.signal);
  } catch (error) {
    if (isLeNet5Error(error)) throw error;
    throw writeFailure(error, path);
  }
}

async function replaceFile(
  target: string,
  replaces: Stats | undefined,
  contents: Uint8Array | string,
  { verify, signal, wait }: AtomicWriteOptions,
): Promise<void> {
  const folder = dirname(target);
  const prefix = `.${basename(target)}.`;
  const temporary = join(folder, `${prefix}${process.pid}-${randomBytes(4).toString("hex")}.tmp`);
  await mkdir(folder, { recursive: true });
  await withLock(target, wait === undefined ? {} : { wait }, async (held) => {
    await sweep(folder, prefix);
    try {
      // Until it has the mode of the file that it replaces, nobody else may read what perhaps only that mode protects.
      const file = await open(temporary, "wx", replaces === undefined ? 0o666 : 0o600);
      try {
        await file.writeFile(contents);
        if (replaces !== undefined) await takeOver(file, replaces);
        await file.sync();
      } finally {
        await file.close();
      }
      await verify?.(temporary);
      throwIfAborted(signal);
      // Whoever has taken the lock over is writing the same file by now.
      held.throwIfAborted();
      await rename(temporary, target);
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => {});
      throw error;
    }
  });
}

/**
 * Puts a file that was written elsewhere in the same folder, and is whole, in the place of `target`, whose owner and mode it
 * takes over; for whoever holds the lock on `target`.
 * @param file - what was written, which is closed; `path` has to be its name still
 * @throws the system's errors; where `path` is another file by now
 */
export async function putInPlace(file: FileHandle, path: string, target: string): Promise<void> {
  const replaces = await statIfThere(target);
  if (replaces !== undefined) await takeOver(file, replaces);
  await file.sync();
  const own = await file.stat();
  const named = await statIfThere(path);
  if (named?.ino !== own.ino || named.dev !== own.dev) throw new Error(`another file than was written as ${path}`);
  await file.close();
  await rename(path, target);
  await syncFolder(dirname(target));
}

/** What lies at a path; undefined where there is nothing. @throws the system's errors */
export async function statIfThere(path: string): Promise<Stats | undefined> {
  return await stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
}

/** Brings a folder's names to the disk: a file whose bytes are there may else have no name after a power failure. */
export async function syncFolder(path: string): Promise<void> {
  let folder: FileHandle | undefined;
  try {
    folder = await open(path, "r");
    await folder.sync();
  } catch (error) {
    // Windows and some network file systems know no such call, and a folder may be there to be written to alone.
    if (["EIO", "ENOSPC", "EDQUOT"].includes(String((error as NodeJS.ErrnoException).code))) throw error;
  } finally {
    await folder?.close();
  }
}

/** Gives a new file the owner and the mode of the one that it replaces. */
async function takeOver(file: FileHandle, { uid, gid, mode }: Stats): Promise<void> {
  const own = await file.stat();
  // Only root may give files away, and a group only its members: then the file is ours, with the same mode.
  if (own.uid !== uid || own.gid !== gid) {
    await file.chown(uid, gid).catch(() => file.chown(own.uid, gid).catch(() => {}));
  }
  await file.chmod(mode & 0o777);
}

/** What cannot be read back where it goes is written to a file of its own first, for the check. */
async function verifyElsewhere(contents: Uint8Array | string, verify: (path: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "lenet5-verify-"));
  try {
    const file = join(folder, "file");
    await writeFile(file, contents);
    await verify(file);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function writeToStream(
  path: string,
  isPipe: boolean,
  contents: Uint8Array | string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const file = await openStream(path, isPipe, signal);
  try {
    const found = await file.stat();
    if (isPipe ? !found.isFIFO() : !found.isCharacterDevice()) throw new Error("something else than a moment ago");
    if (isPipe) await fillPipe(file, Buffer.from(contents), signal);
    else await file.writeFile(contents);
  } finally {
    await file.close();
  }
}

/** Opens without creating or cutting anything. A pipe that nobody reads from yet is waited for. */
async function openStream(path: string, isPipe: boolean, signal: AbortSignal | undefined): Promise<FileHandle> {
  for (;;) {
    try {
      return await open(path, constants.O_WRONLY | (isPipe ? constants.O_NONBLOCK : 0));
    } catch (error) {
      if (!isPipe || (error as NodeJS.ErrnoException).code !== "ENXIO") throw error;
    }
    await delay(READER_POLL, signal);
  }
}

/**
 * Writes into a pipe as its reader makes room. A write that waits would hold one of the few threads for files; and a socket
 * over the descriptor closes it behind the back of Node, which closes it again when a worker_thread ends, whoever has the
 * number by then.
 */
async function fillPipe(pipe: FileHandle, contents: Uint8Array, signal: AbortSignal | undefined): Promise<void> {
  for (let at = 0; at < contents.length; ) {
    throwIfAborted(signal);
    try {
      at += (await pipe.write(contents, at)).bytesWritten;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
      await delay(ROOM_POLL, signal);
    }
  }
}

/** Resolves when everything has been handed to the system. */
function endOfWrite(output: NodeJS.WritableStream, contents: Uint8Array | string): Promise<void> {
  return new Promise((resolve, reject) => {
    // Stays where the write fails: the stream emits its error after the callback had it.
    output.once("error", reject);
    output.write(contents, (error) => {
      if (error) return reject(error);
      output.off("error", reject);
      resolve();
    });
  });
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
