// Data sets known by name: where their four IDX files are looked for, and how they are fetched.
//
// Order: the caller's folder; `LENET5_DATA_DIR`; the user's cache; a download into that cache, from the first mirror
// that delivers bytes with the right checksum.
import { createHash } from "node:crypto";
import { access, mkdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { delay, throwIfAborted } from "../abort.js";
import { cacheRoot } from "../cache.js";
import { type DownloadProgress, downloadFile } from "../download.js";
import { expected, expectedButGot, isLeNet5Error, type LeNet5Error } from "../errors.js";
import { readFailure, writeFailure } from "../files.js";
import { withLock } from "../lock.js";
import { optionalFunction, optionalSignal, readOptions, wholeNumber } from "../options.js";
import type { DatasetPair } from "./dataset.js";
import { IDX_FILES, readDataset, readWhole } from "./idx.js";

/** Options of `mnist.load` and `fashionMnist.load`. */
export interface NamedDatasetOptions {
  /** Folder with the IDX files, plain or `.gz`, or with a sub-folder of the data set's name. Nothing else is tried. */
  directory?: string;
  /** Folder for downloads. @defaultValue `LENET5_CACHE_DIR`, else the operating system's place for caches */
  cache?: string;
  /** Whether the files may be fetched from the network. @defaultValue true */
  download?: boolean;
  /**
   * Addresses of folders that hold the `.gz` files, tried in order.
   * @defaultValue `LENET5_MNIST_MIRRORS` (`LENET5_FASHION_MNIST_MIRRORS`), comma-separated, else the known mirrors
   */
  mirrors?: readonly string[];
  /** Milliseconds within which a mirror must answer. @defaultValue 10000 */
  connectTimeout?: number;
  /** Milliseconds within which a mirror must send at least 1 KiB. @defaultValue 20000 */
  stallTimeout?: number;
  /** Called while a file is being fetched. */
  onProgress?: (progress: DownloadProgress) => void;
  /** Aborts the call; what has been fetched so far is kept and continued next time. */
  signal?: AbortSignal;
}

/** A data set that can be loaded by name. */
export interface NamedDataset {
  /** Name on the command line and of the folder. */
  readonly name: string;
  /**
   * Loads the training and the test set: from `directory`, else `LENET5_DATA_DIR`, else the user's cache, else the
   * network.
   *
   * @throws LENET5_DATA_NOT_FOUND when the files are nowhere and may not be fetched; LENET5_DATA_DOWNLOAD_FAILED when
   *   no mirror delivered; LENET5_FILE_READ_FAILED, LENET5_FILE_WRITE_FAILED; LENET5_DATA_CORRUPT, LENET5_COUNT_MISMATCH, LENET5_INVALID_LABELS for damaged files;
   *   LENET5_UNKNOWN_OPTION, LENET5_INVALID_OPTION; LENET5_ABORTED
   */
  load(options?: NamedDatasetOptions): Promise<DatasetPair>;
}

/** What there is to know about such a data set. */
export interface NamedDatasetDescriptor {
  name: string;
  /** Sub-folders it may lie in, below a folder of data sets; torchvision's layout is among them. */
  folders: readonly string[];
  classNames: readonly string[];
  mirrors: readonly string[];
  /** Environment variable that replaces `mirrors`. */
  mirrorsVariable: string;
  /** Size and MD5 of each file's unpacked bytes, by its name in MNIST. */
  files: { readonly [F in keyof typeof IDX_FILES]: { bytes: number; md5: string } };
}

type Paths = Record<keyof typeof IDX_FILES, string>;

const FILE_KEYS = Object.keys(IDX_FILES) as (keyof typeof IDX_FILES)[];
const OPTION_NAMES = [
  "directory",
  "cache",
  "download",
  "mirrors",
  "connectTimeout",
  "stallTimeout",
  "onProgress",
  "signal",
] as const satisfies readonly (keyof NamedDatasetOptions)[];
/** How often a download is begun anew whose cache was emptied meanwhile. */
const MAX_ATTEMPTS = 3;
/** What gzip adds to incompressible data is far less; no archive of ours may be longer than this beyond its contents. */
const GZIP_SLACK = 65_536;

/** MD5 of the test labels of every known data set: all of them use the same file names. */
const knownTestLabels = new Map<string, string>();

/** Makes the loader of one data set, and makes its files known by their bytes. */
export function namedDataset(descriptor: NamedDatasetDescriptor): NamedDataset {
  knownTestLabels.set(descriptor.files.testLabels.md5, descriptor.name);
  return { name: descriptor.name, load: (options) => load(descriptor, options) };
}

async function load(descriptor: NamedDatasetDescriptor, given: NamedDatasetOptions | undefined): Promise<DatasetPair> {
  const options = readOptions(given, OPTION_NAMES, `${descriptor.name}.load`);
  optionalSignal(options.signal);
  optionalFunction(options.onProgress, "onProgress");
  throwIfAborted(options.signal);
  if (options.directory !== undefined) {
    const paths = await findIn(resolve(options.directory), descriptor);
    if (paths !== undefined) return await readPair(paths, descriptor);
    throw notFound(descriptor, resolve(options.directory));
  }
  const dataDirectory = process.env.LENET5_DATA_DIR;
  if (dataDirectory) {
    const paths = await findIn(resolve(dataDirectory), descriptor);
    if (paths !== undefined) return await readPair(paths, descriptor);
  }
  const folder = join(resolve(options.cache ?? join(cacheRoot(), "datasets")), descriptor.name);
  const paths = pathsIn(folder);
  const isCached = (await Promise.all(Object.values(paths).map(exists))).every(Boolean);
  if (isCached) {
    try {
      return await readPair(paths, descriptor);
    } catch (error) {
      // Only what is damaged is fetched anew; a disk that cannot be read just now may hold a whole file.
      if (options.download === false || !isDamage(error)) throw error;
    }
  } else if (options.download === false) {
    throw notFound(descriptor, dataDirectory ? `LENET5_DATA_DIR (${dataDirectory}) or ${folder}` : folder);
  }
  return await fetchInto(folder, descriptor, options);
}

/** Whether the lock was lost with the cache that it lay in. */
function isLostLock(error: unknown): boolean {
  return isLeNet5Error(error) && error.code === "LENET5_FILE_BUSY";
}

/** Whether an error says that a file's bytes are wrong, and not that they could not be had. */
function isDamage(error: unknown): boolean {
  return isLeNet5Error(error) && /_(CORRUPT|MISMATCH|EMPTY|INVALID_SHAPE|INVALID_LABELS)$/.test(error.code);
}

function notFound(descriptor: NamedDatasetDescriptor, where: string): LeNet5Error {
  const names = Object.values(IDX_FILES).join(", ");
  return expectedButGot("DATA_NOT_FOUND", `${names} (plain or .gz)`, where, `no ${descriptor.name} there`);
}

async function readPair(paths: Paths, descriptor: NamedDatasetDescriptor): Promise<DatasetPair> {
  const { classNames } = descriptor;
  const [train, test] = await Promise.all([
    readDataset(paths.trainImages, paths.trainLabels, { classNames }),
    readDataset(paths.testImages, paths.testLabels, { classNames }),
  ]);
  return { train, test };
}

/** The four files below a folder, in one of the data set's sub-folders or in the folder itself. */
async function findIn(folder: string, descriptor: NamedDatasetDescriptor): Promise<Paths | undefined> {
  for (const below of descriptor.folders) {
    const paths = await findFiles(join(folder, below));
    if (paths !== undefined) return paths;
  }
  const paths = await findFiles(folder);
  return paths !== undefined && !(await isAnother(paths, descriptor)) ? paths : undefined;
}

async function findFiles(folder: string): Promise<Paths | undefined> {
  const paths: Partial<Paths> = {};
  for (const key of FILE_KEYS) {
    for (const name of [IDX_FILES[key], `${IDX_FILES[key]}.gz`]) {
      const path = join(folder, name);
      if (paths[key] === undefined && (await exists(path))) paths[key] = path;
    }
    if (paths[key] === undefined) return undefined;
  }
  return paths as Paths;
}

/** True when files that lie about without a folder's name are those of another known data set. */
async function isAnother(paths: Paths, descriptor: NamedDatasetDescriptor): Promise<boolean> {
  const { bytes } = await readWhole(paths.testLabels);
  const owner = knownTestLabels.get(createHash("md5").update(bytes).digest("hex"));
  return owner !== undefined && owner !== descriptor.name;
}

function pathsIn(folder: string): Paths {
  return Object.fromEntries(FILE_KEYS.map((key) => [key, join(folder, `${IDX_FILES[key]}.gz`)])) as Paths;
}

/**
 * Fetches what the folder lacks, and what in it is damaged, while no other process does; gives the data set. Where the
 * cache is emptied in the middle of it, it is begun anew.
 */
async function fetchInto(
  folder: string,
  descriptor: NamedDatasetDescriptor,
  options: NamedDatasetOptions,
): Promise<DatasetPair> {
  const plan: FetchPlan = {
    mirrors: mirrorsOf(descriptor, options),
    connectTimeout: wholeNumber(options.connectTimeout ?? 10_000, "connectTimeout", 1, 2 ** 31 - 1),
    stallTimeout: wholeNumber(options.stallTimeout ?? 20_000, "stallTimeout", 1, 2 ** 31 - 1),
    onProgress: options.onProgress,
  };
  for (let attempt = 1; ; attempt++) {
    try {
      await mkdir(folder, { recursive: true }).catch((error) => {
        throw writeFailure(error, folder);
      });
      return await withLock(folder, { wait: true, signal: options.signal }, async (signal) => {
        await fetchMissing(folder, descriptor, plan, signal);
        return await readPair(pathsIn(folder), descriptor);
      });
    } catch (error) {
      if (!isLostLock(error) || attempt === MAX_ATTEMPTS) throw error;
    }
  }
}

/** What is fetched from where and how. */
interface FetchPlan {
  mirrors: readonly string[];
  connectTimeout: number;
  stallTimeout: number;
  onProgress: ((progress: DownloadProgress) => void) | undefined;
}

async function fetchMissing(
  folder: string,
  descriptor: NamedDatasetDescriptor,
  { mirrors, ...plan }: FetchPlan,
  signal: AbortSignal,
): Promise<void> {
  let preferred = [...mirrors];
  for (const key of FILE_KEYS) {
    const name = `${IDX_FILES[key]}.gz`;
    const target = join(folder, name);
    const { bytes, md5 } = descriptor.files[key];
    // There already, or fetched by another process while this one waited for the lock.
    if ((await exists(target)) && (await isWhole(target, bytes, md5))) continue;
    const url = await downloadFile({
      ...plan,
      urls: preferred.map((mirror) => mirror + name),
      target,
      file: name,
      maxBytes: bytes + GZIP_SLACK,
      verify: (path) => verify(path, bytes, md5),
      signal,
    });
    // Whoever delivered one file is asked first for the next.
    preferred = preferred.sort((a, b) => Number(url.startsWith(b)) - Number(url.startsWith(a)));
  }
}

/** Whether a file in the cache has the published bytes. @throws where it cannot be read */
async function isWhole(path: string, bytes: number, md5: string): Promise<boolean> {
  try {
    await verify(path, bytes, md5);
    return true;
  } catch (error) {
    if (isDamage(error)) return false;
    throw error;
  }
}

function mirrorsOf(descriptor: NamedDatasetDescriptor, options: NamedDatasetOptions): string[] {
  const chosen = options.mirrors ?? process.env[descriptor.mirrorsVariable]?.split(",") ?? descriptor.mirrors;
  if (!Array.isArray(chosen)) throw expected("INVALID_OPTION", "an array of addresses", "mirrors", chosen);
  const mirrors: string[] = [];
  for (const entry of chosen) {
    const mirror = String(entry).trim();
    if (mirror === "") continue;
    if (!/^https?:\/\//.test(mirror) || !URL.canParse(mirror)) {
      throw expected("INVALID_OPTION", "addresses that begin with http:// or https://", "mirrors", mirror);
    }
    mirrors.push(mirror.endsWith("/") ? mirror : `${mirror}/`);
  }
  return mirrors;
}

/**
 * Checks a fetched file's unpacked bytes against the published size and checksum.
 * @throws LENET5_DATA_CORRUPT where they differ, and what reading throws
 */
async function verify(path: string, bytes: number, md5: string): Promise<void> {
  const contents = (await readWhole(path)).bytes;
  if (contents.length !== bytes) {
    throw expectedButGot("DATA_CORRUPT", `${bytes} bytes after unpacking`, path, `${contents.length}`);
  }
  const hash = createHash("md5");
  // In pieces, so that other work gets its turn: 47 MB in one go would hold the event loop for 80 ms.
  for (let start = 0; start < contents.length; start += 1 << 20) {
    hash.update(contents.subarray(start, start + (1 << 20)));
    await delay(0);
  }
  const digest = hash.digest("hex");
  if (digest !== md5) throw expectedButGot("DATA_CORRUPT", `bytes with the MD5 ${md5}`, path, digest);
}

/** @throws LENET5_FILE_READ_FAILED where the system does not let anybody look */
async function exists(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch (error) {
    const failure = readFailure(error, "DATA_NOT_FOUND", "a data file", path);
    if (failure.code === "LENET5_DATA_NOT_FOUND") return false;
    throw failure;
  }
}
