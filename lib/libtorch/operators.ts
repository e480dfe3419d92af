// Libraries of operators that libtorch itself does not have, torchvision's `_C.so` for example: what
// `torch.ops.load_library` is in Python.
//
// Problem: opening a library runs its code at once, brings along whatever it needs, a second libtorch perhaps, and cannot be
// undone; one that was made for another libtorch crashes, now or in the middle of a call. Resolution: everything that can be
// known is read beforehand, from the library's tables and from its package's metadata. What it needs of libtorch comes from the
// one in use; what that lacks is refused by name. Symbols are all resolved before any of its code runs.
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, delimiter, dirname, join } from "node:path";
import { isUrl, pathOfUrl } from "../byte-source.js";
import { expected, expectedButGot, type LeNet5Error } from "../errors.js";
import { isNativeError } from "../is.js";
import { fromNative } from "../native.js";
import { withRegularFile } from "../regular-file.js";
import type { Libtorch } from "./describe.js";
import { elfFault, readElfDynamic } from "./elf.js";
import { type LoadedAddon, loadedAddon } from "./load-addon.js";
import { emptyLibrary } from "./stand-in.js";

/**
 * Libraries of libtorch, by the names of their files; the first group is the name without version. Not libtorchaudio and
 * libtorchvision, which operators of theirs need.
 */
const LIBTORCH_PART = /^(lib(?:c10d?|torch|caffe2|shm)(?:_\w+)?\.so)(?:\.[0-9.]+)?$/;
/** Needed by the libraries of every wheel, and used by few. */
const PYTHON_PART = "libtorch_python.so";
/** An empty library that needs libtorch_cpu; a libtorch may do without. */
const EMPTY_PART = "libtorch.so";

/** The libraries that `LENET5_OPERATORS` names. */
export function operatorsOfEnvironment(): string[] {
  return (process.env.LENET5_OPERATORS ?? "").split(delimiter).filter(Boolean);
}

/** Reads the option `operators`: paths and `file:` URLs. @throws LENET5_INVALID_OPTION, LENET5_INVALID_ARGUMENT */
export function operatorPaths(operators: unknown): string[] {
  if (!Array.isArray(operators)) throw expected("INVALID_OPTION", "an array of paths", "operators", operators);
  return Array.from(operators, (each: unknown) => {
    if (isUrl(each)) return pathOfUrl(each.href, "operators");
    if (typeof each === "string" && each !== "") return each;
    throw expected("INVALID_OPTION", "paths or file: URLs", "operators", each);
  });
}

/**
 * Opens libraries of operators, each once a process, for ever. libtorch is open already.
 * @throws LENET5_OPERATORS_NOT_FOUND, LENET5_OPERATORS_UNUSABLE, LENET5_LIBTORCH_MIXED
 */
export async function loadOperators(paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    const wanted = {
      what: "a library of operators",
      missing: "OPERATORS_NOT_FOUND",
      other: "OPERATORS_UNUSABLE",
    } as const;
    const contents = await withRegularFile(path, wanted, async (file) => digestOf(file));
    openOperators(path, contents, loadedAddon()!);
  }
}

async function digestOf(file: FileHandle): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of file.createReadStream({ start: 0, autoClose: false })) hash.update(chunk as Buffer);
  return hash.digest("hex");
}

function openOperators(path: string, contents: string, addon: LoadedAddon): void {
  const { libtorch } = addon.libtorch;
  const real = realpathSync(path);
  const needs = process.platform === "linux" ? needsOf(real, path, libtorch) : { own: [], standIns: [] };
  const fault = versionFault(real, libtorch);
  if (fault) throw unusable(path, fault);
  const folder = needs.standIns.length > 0 ? mkdtempSync(join(tmpdir(), "lenet5-operators-")) : undefined;
  try {
    const first = needs.standIns.map(({ name, bytes }) => {
      const file = join(folder!, name);
      writeFileSync(file, bytes);
      return file;
    });
    addon.open([...needs.own, ...first, real], contents);
  } catch (error) {
    const reason = isNativeError(error) ? error.message : String(error);
    if (/undefined symbol|version `.*' not found/.test(reason)) {
      throw unusable(path, `one that was made for another libtorch than ${inUse(libtorch)}: ${reason}`);
    }
    throw (error as { code?: unknown }).code === "LENET5_OPERATORS_UNUSABLE"
      ? unusable(path, `one that cannot be opened: ${reason}`)
      : fromNative(error);
  } finally {
    // Once opened, a library needs its file no more.
    if (folder) rmSync(folder, { recursive: true, force: true });
  }
}

/** What has to be opened before a library: libtorch's own, and empty ones in the place of those that are needed by name only. */
interface Needs {
  own: string[];
  standIns: { name: string; bytes: Buffer }[];
}

/** Reads what a library needs, itself and through what it brings along. @throws LENET5_OPERATORS_UNUSABLE */
function needsOf(real: string, path: string, libtorch: Libtorch): Needs {
  const fault = elfFault(real);
  if (fault) throw unusable(path, `a file that cannot be loaded: ${fault}`);
  const has = new Map(
    [...libtorch.libraries, ...libtorch.cudaLibraries].map((file) => [readElfDynamic(file)?.soname ?? "", file]),
  );
  const cpu = readElfDynamic(libtorch.libraries[1]!)!.soname;
  const like = readFileSync(libtorch.libraries[0]!).subarray(0, 64);
  const needs: Needs = { own: [], standIns: [] };
  const add = (name: string, needed: string[]): void => {
    if (needs.standIns.every((each) => each.name !== name)) {
      needs.standIns.push({ name, bytes: emptyLibrary(name, needed, like) });
    }
  };
  let linked = false;
  const seen = new Set([real]);
  for (const library of seen) {
    const elf = readElfDynamic(library);
    if (elf === undefined) {
      if (library === real) throw unusable(path, "a file that cannot be loaded: it is no ELF library of 64 bits");
      continue;
    }
    const folders = elf.searchPath.map((folder) => folder.replace(/\$ORIGIN|\$\{ORIGIN\}/g, dirname(library)));
    for (const name of elf.needed) {
      const part = LIBTORCH_PART.exec(name)?.[1];
      if (part === undefined) {
        const beside = folders.map((folder) => join(folder, name)).find((file) => existsSync(file));
        if (beside) seen.add(realpathSync(beside));
      } else if (has.has(name)) linked = true;
      else if (name === PYTHON_PART) add(name, []);
      else if (name === EMPTY_PART && /\.so$/.test(cpu)) {
        linked = true;
        const own = join(libtorch.libraryDirectory, name);
        if (existsSync(own)) needs.own.push(own);
        else add(name, [cpu]);
      } else if (/cuda|hip|xpu/.test(part)) {
        const fix = "take the package's build for the CPU, or a libtorch with CUDA (LIBTORCH)";
        throw unusable(path, `one that needs ${name}, which ${inUse(libtorch)} does not have: ${fix}`);
      } else throw unusable(path, `one of another libtorch than ${inUse(libtorch)}: it needs ${name}`);
    }
  }
  if (!linked) throw unusable(path, "one that does not use libtorch");
  return needs;
}

/** What the metadata of the wheel that a library came with say against it; wheels are made for one version of torch. */
function versionFault(real: string, libtorch: Libtorch): string | undefined {
  for (let folder = dirname(real), depth = 0; depth < 3; folder = dirname(folder), depth++) {
    const start = `${basename(folder)}-`;
    let names: string[];
    try {
      names = readdirSync(dirname(folder));
    } catch {
      return undefined;
    }
    const info = names.find((name) => name.startsWith(start) && name.endsWith(".dist-info"));
    const metadata = info && join(dirname(folder), info, "METADATA");
    if (!metadata || !existsSync(metadata)) continue;
    const wanted = /^Requires-Dist: torch *\(?== *([0-9]+\.[0-9]+\.[0-9]+)/m.exec(readFileSync(metadata, "utf8"))?.[1];
    if (wanted === undefined || wanted === libtorch.version) return undefined;
    return `one of ${info.slice(0, -".dist-info".length)}, which was made for torch ${wanted} and not for ${inUse(libtorch)}`;
  }
  return undefined;
}

function inUse(libtorch: Libtorch): string {
  return `the libtorch ${libtorch.version} in use (${libtorch.root})`;
}

function unusable(path: string, received: string): LeNet5Error {
  return expectedButGot("OPERATORS_UNUSABLE", "a library of operators for this libtorch", path, received);
}
