// A folder of images with one sub-folder a class, as torchvision's ImageFolder reads it.
import { readdir } from "node:fs/promises";
import { extname, join, resolve } from "node:path";
import { throwIfAborted } from "../abort.js";
import { expected, expectedButGot, type LeNet5Error } from "../errors.js";
import { readFailure } from "../files.js";
import { finiteNumber, oneOf, optionalFunction, optionalSignal, readOptions, wholeNumber } from "../options.js";
import { type Dataset, type DatasetPair, PIXELS, SIDE, splitDataset } from "./dataset.js";
import { decodeDigits } from "./image.js";
import { filesBelow, imageSuffixes, isFolder } from "./image-files.js";

/** Options of {@link load}. */
export interface ImageFolderOptions {
  /** Images decoded at the same time. @defaultValue the number of processors, at most 8 */
  concurrency?: number;
  /** What becomes of an image that cannot be decoded: an error that names it, or it is left out. @defaultValue "throw" */
  onUnreadable?: "throw" | "skip";
  /** Called after each image with the number done and the number of all. */
  onProgress?: (done: number, total: number) => void;
  /** Aborts the call. */
  signal?: AbortSignal;
}

/** Options of {@link loadPair}. */
export interface ImageFolderPairOptions extends ImageFolderOptions {
  /** Share of each class that becomes the test set where the folder has none of its own. @defaultValue 0.2 */
  testFraction?: number;
  /** Seed of that split. @defaultValue 0 */
  seed?: number;
}

/** A data set that was read from a folder, with what became of each of its files. */
export interface ImageFolderDataset extends Dataset {
  /** Path of each image, in the order of `images`. */
  files: string[];
  /** Paths left out because they could not be decoded; empty unless `onUnreadable` is "skip". */
  unreadable: string[];
  /** Number of files passed over: hidden ones, and those whose name does not end as an image's. */
  ignored: number;
}

const OPTION_NAMES = ["concurrency", "onUnreadable", "onProgress", "signal"] as const;
const PAIR_OPTION_NAMES = [...OPTION_NAMES, "testFraction", "seed"] as const;

/**
 * Reads a folder with one sub-folder a class. The sub-folders' names, sorted by their characters, are the class names;
 * images may lie at any depth below. Every image goes through the same steps as one given to `predict`
 * (`decodeDigit`), so what the network sees in training and in use is alike; images of 28×28 keep their pixels.
 *
 * @param directory - the folder
 * @returns all images in the order of classes and paths
 * @throws LENET5_DATA_NOT_FOUND when there is no such folder, LENET5_FILE_READ_FAILED when there is one that
 *   cannot be read; LENET5_DATA_EMPTY when it holds no class or no image;
 *   LENET5_IMAGE_UNREADABLE naming the first damaged image; LENET5_UNKNOWN_OPTION, LENET5_INVALID_OPTION;
 *   LENET5_ABORTED
 */
export async function load(directory: string, options: ImageFolderOptions = {}): Promise<ImageFolderDataset> {
  const known = checked(options, OPTION_NAMES, "imageFolder.load");
  const root = folderOf(directory, "imageFolder.load");
  return await loadClasses(root, await classesOf(root), known);
}

/**
 * Reads a folder as a training and a test set: its sub-folders `train` and `test` where it has both, each with one
 * sub-folder a class; else all of it, split class by class.
 *
 * @throws what {@link load} throws; LENET5_INVALID_LABELS when the two sub-folders differ in classes
 */
export async function loadPair(directory: string, options: ImageFolderPairOptions = {}): Promise<DatasetPair> {
  const { testFraction = 0.2, seed = 0, ...rest } = checked(options, PAIR_OPTION_NAMES, "imageFolder.loadPair");
  const root = folderOf(directory, "imageFolder.loadPair");
  finiteNumber(testFraction, "testFraction", "above 0 and below 1", (value) => value > 0 && value < 1);
  wholeNumber(seed, "seed", Number.MIN_SAFE_INTEGER);
  const names = await classesOf(root);
  if (!(names.includes("train") && names.includes("test"))) {
    return splitDataset(await loadClasses(root, names, rest), testFraction, seed);
  }
  const train = await load(join(root, "train"), rest);
  const test = await load(join(root, "test"), rest);
  if (train.classNames.join("\0") !== test.classNames.join("\0")) {
    const received = `${test.classNames.length} others: ${test.classNames.slice(0, 10).join(", ")}`;
    const expectedNames = `the ${train.classNames.length} classes of ${join(root, "train")}`;
    throw expectedButGot("INVALID_LABELS", expectedNames, join(root, "test"), received);
  }
  return { train, test };
}

/** Reads the options and refuses those with wrong values, before a folder is looked at. */
function checked<T extends ImageFolderOptions>(options: T, names: readonly (keyof T & string)[], where: string): T {
  const read = readOptions(options, names, where);
  if (read.onUnreadable !== undefined) oneOf(read.onUnreadable, "onUnreadable", ["throw", "skip"]);
  if (read.concurrency !== undefined) wholeNumber(read.concurrency, "concurrency", 1, 1024);
  optionalFunction(read.onProgress, "onProgress");
  optionalSignal(read.signal);
  throwIfAborted(read.signal);
  return read;
}

function folderOf(directory: unknown, where: string): string {
  if (typeof directory === "string" && directory !== "") return resolve(directory);
  throw expected("INVALID_ARGUMENT", "a folder's path", where, directory);
}

async function classesOf(root: string): Promise<string[]> {
  let entries: string[];
  try {
    entries = await readdir(root);
  } catch (error) {
    throw readFailure(error, "DATA_NOT_FOUND", "a folder with one sub-folder a class", root);
  }
  const names: string[] = [];
  for (const entry of entries) {
    if (!entry.startsWith(".") && (await isFolder(join(root, entry)))) names.push(entry);
  }
  if (names.length === 0) throw expectedButGot("DATA_EMPTY", "one sub-folder a class", root, "none");
  return names.sort(byCharacters);
}

async function loadClasses(root: string, names: string[], options: ImageFolderOptions): Promise<ImageFolderDataset> {
  const { concurrency, onUnreadable = "throw", onProgress, signal } = options;
  const suffixes = imageSuffixes();
  const found: { path: string; label: number }[] = [];
  let ignored = 0;
  for (const [label, name] of names.entries()) {
    for await (const files of filesBelow(join(root, name), { signal })) {
      for (const file of files) {
        const hidden = file.split(/[\\/]/).some((part) => part.startsWith("."));
        if (hidden || !suffixes.has(extname(file).toLowerCase())) ignored++;
        else found.push({ path: join(root, name, file), label });
      }
    }
  }
  if (found.length === 0) {
    throw expectedButGot("DATA_EMPTY", "at least one image", root, `${names.length} classes without any`);
  }
  const bad = new Set<number>();
  const decoded = await decodeDigits(
    found.map(({ path }) => path),
    {
      ...(concurrency === undefined ? {} : { concurrency }),
      ...(onProgress === undefined ? {} : { onProgress }),
      ...(signal === undefined ? {} : { signal }),
      ...(onUnreadable === "skip" ? { onUnreadable: (_: LeNet5Error, index: number) => void bad.add(index) } : {}),
    },
  );
  const kept = found.flatMap((_, index) => (bad.has(index) ? [] : [index]));
  if (kept.length === 0) throw expectedButGot("DATA_EMPTY", "at least one readable image", root, "none");
  // Closes the gaps that skipped images left; nothing moves where there are none.
  for (const [to, from] of kept.entries()) {
    if (to !== from) decoded.copyWithin(to * PIXELS, from * PIXELS, (from + 1) * PIXELS);
  }
  return {
    images: bad.size === 0 ? decoded : decoded.slice(0, kept.length * PIXELS),
    labels: Int32Array.from(kept, (index) => found[index]!.label),
    count: kept.length,
    height: SIDE,
    width: SIDE,
    classNames: names,
    files: kept.map((index) => found[index]!.path),
    unreadable: [...bad].sort((a, b) => a - b).map((index) => found[index]!.path),
    ignored,
  };
}

/** By UTF-16 code units: the same order in every locale. */
function byCharacters(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
