// Libraries of operators that libtorch itself does not have, torchvision's `_C.so` for example: what
// `torch.ops.load_library` is in Python.
//
// Problem: opening a library runs its code at once, brings along whatever it needs, a second libtorch perhaps, and cannot be
// undone; one that was made for another libtorch crashes, now or in the middle of a call. Resolution: everything that can be
// known is read beforehand, from the library's tables and from its package's metadata. What it needs of libtorch comes from the
// one in use; what that lacks is refused by name. Symbols are all resolved before any of its code runs.
//
// The library is opened by its path, after the checks read it by the same: a file that is replaced in between is opened
// unchecked. Through its descriptor (/proc/self/fd/N) the dynamic linker would take $ORIGIN for /proc/self/fd and not find what
// lies beside it (torchvision's own libjpeg), which would be opened by path in any case. Whoever can replace the file could
// as well have had these checks pass: they are against mistakes, not against malice.
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, realpathSync } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { basename, delimiter, dirname, join } from "node:path";
import { isUrl, pathOfUrl } from "../byte-source.js";
import { expected, expectedButGot, type LeNet5Error } from "../errors.js";
import { isNativeError } from "../is.js";
import { fromNative } from "../native.js";
import { withRegularFile } from "../regular-file.js";
import type { Libtorch } from "./describe.js";
import { inUse, needsOf, withNeeds } from "./library-needs.js";
import { type LoadedAddon, loadedAddon } from "./load-addon.js";

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
  const needs = needsOf(real, libtorch, (received) => unusable(path, received));
  const fault = versionFault(real, libtorch);
  if (fault) throw unusable(path, fault);
  try {
    withNeeds(needs, (first) => addon.open([...first, real], contents));
  } catch (error) {
    const reason = isNativeError(error) ? error.message : String(error);
    if (/undefined symbol|version `.*' not found/.test(reason)) {
      throw unusable(path, `one that was made for another libtorch than ${inUse(libtorch)}: ${reason}`);
    }
    throw (error as { code?: unknown }).code === "LENET5_OPERATORS_UNUSABLE"
      ? unusable(path, `one that cannot be opened: ${reason}`)
      : fromNative(error);
  }
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

function unusable(path: string, received: string): LeNet5Error {
  return expectedButGot("OPERATORS_UNUSABLE", "a library of operators for this libtorch", path, received);
}
