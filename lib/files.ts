// The one way a file of ours comes into being: whole or not at all.
//
// Problem: a full disk, a killed process or a second writer must leave the previous file intact and nothing half-written
// in its place. Resolution: a lock beside the target, a temporary file in the same folder, fsync, an optional check of
// what really lies on the disk, then rename, which is atomic.
import { randomBytes } from "node:crypto";
import { mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import lockfile from "proper-lockfile";
import { expectedButGot, isLeNet5Error, LeNet5Error } from "./errors.js";

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
  let release: (() => Promise<void>) | undefined;
  try {
    await mkdir(folder, { recursive: true });
    release = await lock(target);
    await sweep(folder, prefix);
    const file = await open(temporary, "wx");
    try {
      await file.writeFile(contents);
      await file.sync();
    } finally {
      await file.close();
    }
    await options.verify?.(temporary);
    await rename(temporary, target);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    if (isLeNet5Error(error)) throw error;
    throw new LeNet5Error(
      "FILE_WRITE_FAILED",
      `Expected a whole file for ${path} but received ${(error as Error).message}`,
      {
        cause: error,
      },
    );
  } finally {
    await release?.().catch(() => {});
  }
}

/** Removes what a killed writer left behind: whoever holds the lock is the only living one. */
async function sweep(folder: string, prefix: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (!name.startsWith(prefix) || !/^\d+-[0-9a-f]{8}\.tmp$/.test(name.slice(prefix.length))) continue;
    await rm(join(folder, name), { force: true });
  }
}

async function lock(target: string): Promise<() => Promise<void>> {
  try {
    // A writer that died leaves a lock that nobody refreshes; after `stale` milliseconds it no longer counts.
    return await lockfile.lock(target, { realpath: false, stale: 10_000, retries: 0 });
  } catch (error) {
    if ((error as { code?: string }).code === "ELOCKED") {
      throw expectedButGot(
        "FILE_BUSY",
        "a file that nobody else is writing",
        target,
        "one that another writer has locked",
      );
    }
    throw error;
  }
}
