// The files below a folder in a stable order, for folders of millions.
//
// Problem: the order in which a system names files is no order, the same folder must give the same one at every reading, and a
// list of all files with what is known of each takes gigabytes. Resolution: one folder is read and sorted at a time, as bare
// names; a folder's name sorts with a separator behind it, by which the whole is in the order of the sorted paths.
import { opendir, stat } from "node:fs/promises";
import { join, sep } from "node:path";
import { throwIfAborted } from "../abort.js";
import { isLeNet5Error } from "../errors.js";
import { readFailure } from "../files.js";
import { sharp } from "./sharp.js";

/** Most paths that are handed out together. */
const RUN = 4096;

/** How {@link filesBelow} reads. */
export interface FilesBelowOptions {
  /** Passes over what begins with a dot. @defaultValue false */
  skipHidden?: boolean;
  /** Aborts the reading. */
  signal?: AbortSignal | undefined;
}

/**
 * Paths of the files below a folder, relative to it, sorted by UTF-16 code units; some thousand at a time. A link to a file
 * counts as the file. One to a folder does not: it might lead back here.
 * @throws LENET5_DATA_NOT_FOUND, LENET5_FILE_READ_FAILED, LENET5_ABORTED
 */
export async function* filesBelow(root: string, options: FilesBelowOptions = {}): AsyncGenerator<string[]> {
  yield* below(root, "", options);
}

async function* below(root: string, prefix: string, options: FilesBelowOptions): AsyncGenerator<string[]> {
  let run: string[] = [];
  for (const name of await namesIn(join(root, prefix), options)) {
    const isFolder = name.endsWith(sep);
    if (!isFolder) run.push(prefix + name);
    if (run.length > 0 && (isFolder || run.length === RUN)) {
      yield run;
      run = [];
    }
    if (isFolder) yield* below(root, prefix + name, options);
  }
  if (run.length > 0) yield run;
}

/** Names of a folder's files and folders, sorted; folders with a separator behind. */
async function namesIn(folder: string, { skipHidden = false, signal }: FilesBelowOptions): Promise<string[]> {
  throwIfAborted(signal);
  const names: string[] = [];
  try {
    for await (const entry of await opendir(folder, { bufferSize: 1024 })) {
      const { name } = entry;
      if (skipHidden && name.startsWith(".")) continue;
      if (entry.isDirectory()) names.push(name + sep);
      else if (entry.isFile() || (entry.isSymbolicLink() && !(await leadsToFolder(join(folder, name)))))
        names.push(name);
      if (names.length % RUN === 0) throwIfAborted(signal);
    }
  } catch (error) {
    throw isLeNet5Error(error) ? error : readFailure(error, "DATA_NOT_FOUND", "a folder of images", folder);
  }
  return names.sort();
}

/** What keeps one link from being looked behind, and says nothing of the folder that it is in. */
const OF_THE_LINK = ["EACCES", "EPERM", "ENAMETOOLONG"];

/** Whether a link leads to a folder. Where nobody can tell it counts as a file: reading it as an image will name it. */
async function leadsToFolder(path: string): Promise<boolean> {
  return await isFolder(path).catch((error: unknown) => {
    const cause = isLeNet5Error(error) ? (error.cause as NodeJS.ErrnoException | undefined) : undefined;
    if (OF_THE_LINK.includes(String(cause?.code))) return false;
    throw error;
  });
}

/** Whether a path leads to a folder. @throws LENET5_FILE_READ_FAILED */
export async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // A link that leads nowhere or in a circle: reading it as an image will name it.
    if (code === "ENOENT" || code === "ELOOP" || code === "ENOTDIR") return false;
    throw readFailure(error, "DATA_NOT_FOUND", "a folder of images", path);
  }
}

/** Endings of the names of all formats that this build of sharp decodes. */
export function imageSuffixes(): Set<string> {
  return new Set(Object.values(sharp().format).flatMap(({ input }) => (input.buffer ? (input.fileSuffix ?? []) : [])));
}
