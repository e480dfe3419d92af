// What lies where a caller wants a file, and what writing there has to mean.
//
// Problem: a path may name a device, a pipe, a link to somewhere else, or this process's own standard output. Putting a
// new file in its place, which is right for a file, would replace the device (as root, /dev/null for the whole machine)
// or cut the link. Resolution: what is there is looked at before anything is written. Links are followed to where they
// end; what takes a stream of bytes is written to; what does not is refused by name.
import { fstatSync, type Stats } from "node:fs";
import { access, constants, lstat, mkdir, readlink, realpath, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";

/** Where a file goes. */
export type FilePlace =
  /** A regular file, or a place where there is none yet; `path` has no link in its last part. */
  | { kind: "file"; path: string; replaces: Stats | undefined }
  /** A pipe or a character device, such as /dev/null or a terminal. */
  | { kind: "stream"; path: string; isPipe: boolean }
  /** What this process's standard output or standard error goes to, be it a file. */
  | { kind: "own"; name: "stdout" | "stderr" };

const STDOUT = 1;
const STDERR = 2;
/** More links in a row than this are a circle, for Linux as well. */
const MOST_LINKS = 40;

/**
 * Looks at a path.
 * @throws an error that names what is there, where it is nothing that a file's bytes could go to; the system's errors
 */
export async function placeOf(path: string): Promise<FilePlace> {
  // A name that ends in a separator is a folder's; resolve() would drop it and make a file of that name.
  if (/[\\/]$/.test(path)) throw new Error("the name of a folder");
  const found = await stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  if (found === undefined) return { kind: "file", path: await endOfLinks(resolve(path)), replaces: undefined };
  if (isSame(found, STDOUT)) return { kind: "own", name: "stdout" };
  if (isSame(found, STDERR)) return { kind: "own", name: "stderr" };
  if (found.isFile()) return { kind: "file", path: await realpath(path), replaces: found };
  if (found.isFIFO() || found.isCharacterDevice()) return { kind: "stream", path, isPipe: found.isFIFO() };
  if (found.isDirectory()) throw new Error("a folder");
  if (found.isBlockDevice()) throw new Error("a block device");
  throw new Error(found.isSocket() ? "a socket" : "something that is not a file");
}

/** Whether what is written to a path comes out of this process's standard output. */
export async function isStandardOutput(path: string): Promise<boolean> {
  return await stat(path).then(
    (found) => isSame(found, STDOUT) && !found.isCharacterDevice(),
    () => false,
  );
}

/**
 * Refuses a place that cannot be written to, before hours are spent on what is to go there. A folder that is not there is
 * made.
 * @throws as {@link placeOf}
 */
export async function requireWritable(path: string): Promise<FilePlace> {
  const place = await placeOf(path);
  if (place.kind === "file") {
    await mkdir(dirname(place.path), { recursive: true });
    await access(dirname(place.path), constants.W_OK);
  } else if (place.kind === "stream") await access(place.path, constants.W_OK);
  return place;
}

/** The path that a chain of links comes to; its last part need not exist. */
async function endOfLinks(path: string): Promise<string> {
  let at = path;
  for (let links = 0; links < MOST_LINKS; links++) {
    const found = await lstat(at).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return undefined;
      throw error;
    });
    if (!found?.isSymbolicLink()) return at;
    // Relative to where the link really lies: a folder on the way to it may be a link, too.
    at = resolve(await realpath(dirname(at)), await readlink(at));
  }
  throw new Error("links that lead in a circle");
}

function isSame(found: Stats, descriptor: number): boolean {
  try {
    const own = fstatSync(descriptor);
    return own.dev === found.dev && own.ino === found.ino;
  } catch {
    return false; // a process may have been started without one
  }
}
