// Loads the addon that needs libtorch, with one that fits: picks the built files, reads for which libtorch they were built,
// finds that libtorch and lets the loader (native/loader/loader.cpp) open both.
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { LeNet5Error } from "../errors.js";
import { isNativeError } from "../is.js";
import { BUILD, checkLibrary, findBuilt, openBuilt } from "../native/built-files.js";
import type { Libtorch } from "./describe.js";
import { findLibtorch, type LibtorchCandidate } from "./find.js";

/** What a built core says about itself (`lenet5_core.json`, written by the build). */
export interface BuiltAddon {
  /** Absolute path of the loader addon. */
  loader: string;
  /** Absolute path of the core library. */
  core: string;
  /** Version of the libtorch it was built for. */
  libtorchVersion: string;
  cxx11Abi: boolean;
  /** Whether that one had CUDA; whether training steps can be recorded as CUDA graphs. */
  cuda: boolean;
  cudaGraphs?: boolean;
  napiVersion: number;
  compiler: string;
}

/** What was loaded, for whoever reports on it. */
export interface LoadedAddon {
  exports: unknown;
  built: BuiltAddon;
  libtorch: LibtorchCandidate & { libtorch: Libtorch };
  /** Optional libraries (CUDA's, and the core's extension for them) that could not be opened, each with the reason. */
  skipped: string[];
  /** Opens further libraries, in order, for the process's life; false where the same `contents` have been opened before. */
  open(libraries: string[], contents: string): boolean;
}

interface Loader {
  load(
    core: string,
    required: string[],
    optional: string[],
    extension?: string,
  ): { exports: unknown; skipped: string[] };
  open: LoadedAddon["open"];
}

const CORE_SUFFIX = process.platform === "win32" ? ".dll" : process.platform === "darwin" ? ".dylib" : ".so";

/**
 * Finds the addon that needs libtorch.
 *
 * @throws LeNet5Error `LENET5_ADDON_NOT_BUILT`
 */
export function findBuiltAddon(): BuiltAddon {
  const loader = findBuilt("lenet5_libtorch.node");
  const folder = dirname(loader);
  const core = join(folder, `lenet5_core${CORE_SUFFIX}`);
  const description = join(folder, "lenet5_core.json");
  for (const path of [core, description]) {
    if (!existsSync(path)) throw new LeNet5Error("ADDON_NOT_BUILT", `Expected ${path} beside the loader. ${BUILD}.`);
  }
  try {
    return { ...JSON.parse(readFileSync(description, "utf8")), loader, core };
  } catch (cause) {
    throw new LeNet5Error("ADDON_NOT_BUILT", `Expected JSON in ${description}. ${BUILD}.`, { cause });
  }
}

/** Like {@link loadAddon}, and tells what was loaded from where. */
export function loadAddonWithDetails(): LoadedAddon {
  const built = findBuiltAddon();
  const candidate = findLibtorch({ built: { version: built.libtorchVersion, cxx11Abi: built.cxx11Abi } });
  const { libraries, cudaLibraries } = candidate.libtorch;
  const loader = openBuilt(built.loader) as Loader;
  checkLibrary(built.core);
  const extension = join(dirname(built.core), `lenet5_cuda${CORE_SUFFIX}`);
  // A file that an earlier build has left is not of this core.
  const extended = built.cudaGraphs === true && cudaLibraries.length > 0 && existsSync(extension);
  if (extended) checkLibrary(extension);
  try {
    const { exports, skipped } = loader.load(built.core, libraries, cudaLibraries, extended ? extension : undefined);
    return { exports, built, libtorch: candidate, skipped, open: loader.open };
  } catch (cause) {
    const code = String((cause as { code?: unknown }).code);
    if (code === "LENET5_LIBTORCH_MIXED") throw new LeNet5Error("LIBTORCH_MIXED", reasonOf(cause), { cause });
    if (code === "LENET5_LIBTORCH_INCOMPATIBLE") {
      throw new LeNet5Error("LIBTORCH_INCOMPATIBLE", `${reasonOf(cause)}. See \`npx lenet5 doctor\`.`, { cause });
    }
    throw new LeNet5Error("ADDON_NOT_BUILT", `${reasonOf(cause)}. ${BUILD}.`, { cause });
  }
}

/**
 * Loads the native addon and the libtorch it was built for, once a thread.
 *
 * @returns the addon's exports
 * @throws LeNet5Error `LENET5_ADDON_NOT_BUILT`, `LENET5_LIBTORCH_NOT_FOUND`, `LENET5_LIBTORCH_INCOMPATIBLE` or
 * `LENET5_LIBTORCH_MIXED`; the message names the fix.
 */
export function loadAddon(): unknown {
  loaded = loadAddonWithDetails();
  return loaded.exports;
}

let loaded: LoadedAddon | undefined;

/** What {@link loadAddon} has loaded in this thread. */
export function loadedAddon(): LoadedAddon | undefined {
  return loaded;
}

function reasonOf(error: unknown): string {
  return isNativeError(error) ? error.message : String(error);
}
