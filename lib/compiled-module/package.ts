// A package of AOTInductor (.pt2): checked, and unpacked for libtorch.
//
// Problem: libtorch unpacks a package into a folder of its own without a look at names or checksums, compiles what has not
// been compiled, and opens the library in it; the library is native code for one kind of machine. Resolution: the archive is
// proven whole here and unpacked here, into a folder that only this user may read; libtorch is given the folder, which goes
// as soon as the library is open, or with the module where the library reads kernels from it when it first runs them. What the package says of the machine it is for is held against this one before.
import { createWriteStream, rmSync } from "node:fs";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { crc32 } from "node:zlib";
import { abortable, throwIfAborted } from "../abort.js";
import { bytesOf, isBlob } from "../byte-source.js";
import { expectedButGot, isLeNet5Error, LeNet5Error } from "../errors.js";
import { type ModelSource, modelPath, readModelBytes } from "../formats/model-bytes.js";
import { describeContents } from "../formats/torchscript-archive.js";
import { checkZip, readZipEntry, type ZipEntry } from "../formats/zip-check.js";
import { type ZipSource, zipInFile, zipInMemory } from "../formats/zip-source.js";
import { isObject } from "../is.js";
import { withRegularFile } from "../regular-file.js";

const WHAT = "a package of AOTInductor (.pt2)";
/** Where packages keep their models, a folder each. */
const MODELS = "data/aotinductor/";
/** In the library of a package whose inputs are checked where this variable is set. */
const CHECKS = Buffer.from("AOTI_RUNTIME_CHECK_INPUTS");
/** In one that compares the number of dimensions too, which compilation with `size_asserts` off leaves out. */
const DIMENSION_CHECKS = Buffer.from("expected ndim ");
const MAX_INFLATED_BYTES = 256 * 1024 * 1024;
const LARGEST_METADATA = 1024 * 1024;
/** Kernels for graphics cards, which a library reads from its folder when it first runs them. */
const KERNEL = /\.(?:cubin|fatbin|hsaco|spv|zebin)$/;
/** Larger contents are left in the file, and copied from there. */
const LEAVE_FROM = 1024 * 1024;
const CHUNK = 1024 * 1024;

/** Node's names of what PyTorch's packages call by the names of Python's `platform`. */
const MACHINES: Record<string, string> = { x86_64: "x64", AMD64: "x64", aarch64: "arm64", arm64: "arm64" };
const PLATFORMS: Record<string, string> = { linux: "linux", darwin: "darwin", win32: "win32" };

/** What was unpacked. */
export interface Unpacked {
  /** The path of its library. */
  library: string;
  /** The folder is, for as long as the library is open. */
  needed: boolean;
  /** The library compares the number of its inputs' dimensions; one without inputs has nothing to compare. */
  checksDimensions: boolean;
}

/** A package that has been proven whole. */
export interface CheckedPackage {
  /** What the package says of each of its models: the device and the machine that it was made for, and what its maker added. */
  models: ReadonlyMap<string, Record<string, string>>;
  /** Unpacks it into an empty folder. */
  unpack(folder: string, model: string, signal?: AbortSignal): Promise<Unpacked>;
}

/**
 * Opens and checks a package.
 * @param api - who asks, for messages
 * @throws LENET5_MODEL_NOT_FOUND, LENET5_MODEL_CORRUPT, LENET5_MODEL_TOO_LARGE, LENET5_ABORTED
 */
export async function withPackage<T>(
  source: ModelSource,
  api: string,
  { where, signal }: { where: string; signal: AbortSignal | undefined },
  use: (checked: CheckedPackage) => Promise<T>,
): Promise<T> {
  if (bytesOf(source) !== undefined || isBlob(source)) {
    const zip = zipInMemory(await readModelBytes(source, api, { signal }));
    return await use(await abortable(checkPackage(zip, where), signal));
  }
  throwIfAborted(signal);
  const wanted = { what: "a model file", missing: "MODEL_NOT_FOUND" } as const;
  return await withRegularFile(modelPath(source, api), wanted, async (file, size) =>
    use(await abortable(checkPackage(zipInFile(file, size), where), signal)),
  );
}

/** Folders that are in use until this process ends, or until somebody says that they are not. */
const kept = new Set<string>();

function keepFolder(folder: string): void {
  if (kept.size === 0) process.once("exit", dropAll);
  kept.add(folder);
}

function dropAll(): void {
  for (const folder of [...kept]) dropFolder(folder);
}

/** Removes a folder that {@link withFolder} left. */
export function dropFolder(folder: string): void {
  if (!kept.delete(folder)) return;
  if (kept.size === 0) process.off("exit", dropAll);
  rmSync(folder, { recursive: true, force: true });
}

/**
 * Calls `use` with a folder that is gone afterwards, unless what it gives says that it is needed: then until
 * {@link dropFolder}, or until the process ends.
 */
export async function withFolder<T extends { needed: boolean }>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), "lenet5-package-"));
  let needed = false;
  try {
    const made = await use(folder);
    needed = made.needed;
    return made;
  } finally {
    if (needed) keepFolder(folder);
    else await rm(folder, { recursive: true, force: true });
  }
}

async function checkPackage(zip: ZipSource, where: string): Promise<CheckedPackage> {
  const corrupt = (received: string): LeNet5Error => expectedButGot("MODEL_CORRUPT", WHAT, where, received);
  const head = await zip.read(0, Math.min(512, zip.size));
  if (head.length < 4 || head[0] !== 0x50 || head[1] !== 0x4b) throw corrupt(describeContents(head));
  const leaves = (_name: string, size: number): boolean => size >= LEAVE_FROM;
  const limits = { what: WHAT, where, maxInflatedBytes: MAX_INFLATED_BYTES, leaves };
  const entries = await checkZip(zip, limits).catch((error: unknown) => {
    if (isLeNet5Error(error)) throw error;
    throw corrupt(`a damaged zip file (${(error as Error).message})`);
  });
  const top = `${entries[0]?.name.split("/")[0]}/`;
  if (entries.length === 0 || !entries.every(({ name }) => name.startsWith(top))) {
    throw corrupt("a zip file without an archive folder");
  }
  const names = entries.map(({ name }) => name.slice(top.length));
  const found = entries
    .map((entry, i) => ({ entry, name: names[i]! }))
    .filter(({ name }) => name !== "" && !name.endsWith("/"));
  const models = new Map<string, Record<string, string>>();
  for (const { entry, name } of found) {
    const [, model] = /^data\/aotinductor\/([^/]+)\/[^/]+_metadata\.json$/.exec(name) ?? [];
    if (model === undefined || entry.size > LARGEST_METADATA) continue;
    const read = metadataOf(await readZipEntry(zip, entry));
    // A package has one such file for each of a model's sources, all alike.
    if (read) models.set(model, { ...read, ...models.get(model) });
  }
  if (models.size === 0) throw corrupt(otherArchive(names));
  return {
    models,
    async unpack(folder, model, signal) {
      const libraries = found.filter(({ name }) => isBelow(name, `${MODELS}${model}/`) && name.endsWith(".so"));
      if (libraries.length !== 1) {
        throw corrupt(`one with ${libraries.length} compiled libraries for the model ${JSON.stringify(model)}`);
      }
      const seen = new Set<Buffer>();
      for (const { entry, name } of found) {
        // Sources, which libtorch would hand to a compiler.
        if (/\.(?:cpp|cu|h)$/.test(name)) continue;
        const target = join(folder, name);
        await mkdir(dirname(target), { recursive: true });
        const watch = name === libraries[0]!.name ? [CHECKS, DIMENSION_CHECKS] : [];
        for (const each of await copyEntry(zip, entry, target, { corrupt, watch, signal })) seen.add(each);
      }
      if (!seen.has(CHECKS)) throw unchecked("its inputs: make it again with PyTorch 2.8 or later", where);
      return {
        library: join(folder, libraries[0]!.name),
        needed: found.some(({ name }) => KERNEL.test(name)),
        checksDimensions: seen.has(DIMENSION_CHECKS),
      };
    },
  };
}

/** The error for a package that would take inputs that do not fit. */
export function unchecked(what: string, where: string): LeNet5Error {
  const made = `one whose library does not check ${what}`;
  return expectedButGot("SCRIPT_UNSUPPORTED", `${WHAT} that can be run safely`, where, made);
}

/** Directly in a folder. */
function isBelow(name: string, folder: string): boolean {
  return name.startsWith(folder) && !name.slice(folder.length).includes("/");
}

function metadataOf(bytes: Buffer): Record<string, string> | undefined {
  try {
    const read: unknown = JSON.parse(bytes.toString("utf8"));
    if (!isObject(read) || Array.isArray(read)) return undefined;
    return Object.fromEntries(Object.entries(read).map(([key, value]) => [key, String(value)]));
  } catch {
    return undefined;
  }
}

/** What an archive is that has no compiled model. */
function otherArchive(names: readonly string[]): string {
  const has = (wanted: RegExp): boolean => names.some((name) => wanted.test(name));
  if (has(/^constants\.pkl$/) && has(/^code\//)) return "a TorchScript file; ScriptModule.load runs it";
  if (has(/^models\/.*\.json$|^serialized_exported_program\.json$/)) {
    return "an exported program that was not compiled; torch._inductor.aoti_compile_and_package makes a package of it";
  }
  if (has(/^data\.pkl$/)) return "a file of torch.save (pickled Python objects)";
  return "a zip file without a compiled model";
}

/**
 * Copies an entry's contents into a new file and holds them against their checksum: the large ones were left unread before.
 * @returns which of `watch` are in them
 */
async function copyEntry(
  zip: ZipSource,
  entry: ZipEntry,
  target: string,
  {
    corrupt,
    watch,
    signal,
  }: {
    corrupt: (received: string) => LeNet5Error;
    watch: readonly Buffer[];
    signal: AbortSignal | undefined;
  },
): Promise<Set<Buffer>> {
  let sum = 0;
  const seen = new Set<Buffer>();
  const longest = Math.max(0, ...watch.map(({ length }) => length));
  let tail = Buffer.alloc(0);
  async function* chunks(): AsyncGenerator<Buffer> {
    for (let at = 0; at < (entry.deflated ? 1 : entry.storedBytes); at += CHUNK) {
      throwIfAborted(signal);
      const length = Math.min(CHUNK, entry.storedBytes - at);
      const chunk = entry.deflated ? await readZipEntry(zip, entry) : await zip.read(entry.start + at, length);
      if (!entry.deflated && chunk.length !== length) throw corrupt("a file that changed while it was read");
      sum = crc32(chunk, sum);
      if (seen.size < watch.length) {
        const joined = Buffer.concat([tail, chunk]);
        for (const each of watch) if (joined.includes(each)) seen.add(each);
        tail = Buffer.from(joined.subarray(Math.max(0, joined.length - longest)));
      }
      yield chunk;
    }
  }
  try {
    await pipeline(Readable.from(chunks()), createWriteStream(target, { flags: "wx", mode: 0o600 }));
  } catch (cause) {
    if (isLeNet5Error(cause)) throw cause;
    const reason = (cause as Error).message;
    throw new LeNet5Error("FILE_WRITE_FAILED", `Expected room for an unpacked package in ${target}: ${reason}`, {
      cause,
    });
  }
  if (sum !== entry.crc32) {
    throw corrupt(`a damaged file: the checksum of ${JSON.stringify(entry.name.slice(0, 120))} does not match`);
  }
  return seen;
}

/** Refuses what was made for another kind of machine. @throws LENET5_SCRIPT_UNSUPPORTED */
export function checkMachine(metadata: Record<string, string>, where: string): void {
  const { AOTI_PLATFORM: platform, AOTI_MACHINE: machine } = metadata;
  const fits =
    (platform === undefined || PLATFORMS[platform] === process.platform) &&
    (machine === undefined || MACHINES[machine] === process.arch);
  if (fits) return;
  const here = `a package for ${process.platform} on ${process.arch}`;
  throw expectedButGot("SCRIPT_UNSUPPORTED", here, where, `one for ${platform} on ${machine}`);
}
