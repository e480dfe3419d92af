// Finds a libtorch, in one order for building and for loading: `LIBTORCH` → the active Python's torch, if
// `LENET5_USE_PYTORCH=1` asks for it → what `lenet5 install` put into the cache → a system libtorch.
import { execFileSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { cacheRoot } from "../cache.js";
import { LeNet5Error } from "../errors.js";
import { describeLibtorch, faultOf, type Libtorch } from "./describe.js";
import type { Variant } from "./variants.js";

/** Version that `lenet5 install` fetches and that the package is developed on. */
export const PINNED_LIBTORCH_VERSION = "2.13.0";

/** Where a libtorch came from. */
export type LibtorchOrigin = "LIBTORCH" | "python" | "cache" | "system";

/** A place that was looked at. */
export interface LibtorchCandidate {
  origin: LibtorchOrigin;
  /** The folder, or what was looked for. */
  folder: string;
  /** What is there; `undefined` where it is no libtorch. */
  libtorch: Libtorch | undefined;
  /** Why it cannot be used, in words; `undefined` where it can. */
  fault: string | undefined;
}

/** What a libtorch is wanted for. */
export interface FindOptions {
  /** Only this version (`major.minor.patch`) and string ABI will do: those of a built addon. */
  built?: { version: string; cxx11Abi: boolean };
  /** Headers are wanted: it is to be built against. */
  headers?: boolean;
}

/**
 * Folder of `lenet5 install` for one version and variant; what is renamed into place. One for CUDA holds a wheel's layout:
 * `torch`, which is the libtorch, and `nvidia` beside it, where `torch`'s libraries look for CUDA's.
 */
export function installFolder(version: string = PINNED_LIBTORCH_VERSION, variant: Variant = "cpu"): string {
  return join(cacheRoot(), variant === "cpu" ? `libtorch-${version}` : `libtorch-${version}-${variant}`);
}

/** The libtorch in a folder of `lenet5 install`. */
export function libtorchIn(folder: string, variant: Variant): string {
  return variant === "cpu" ? folder : join(folder, "torch");
}

/** Python interpreters to ask, in order: `LENET5_PYTHON`, the active virtual environment's, the `PATH`'s. */
export function pythonCommands(): string[] {
  const active = process.env.VIRTUAL_ENV;
  const inside = process.platform === "win32" ? ["Scripts", "python.exe"] : ["bin", "python"];
  return [
    ...(process.env.LENET5_PYTHON ? [process.env.LENET5_PYTHON] : []),
    ...(active ? [join(active, ...inside)] : []),
    "python3",
    "python",
  ];
}

function pythonTorchFolder(): string | undefined {
  // find_spec does not import torch, which would take seconds.
  const script =
    "import importlib.util as u; s = u.find_spec('torch'); print(list(s.submodule_search_locations)[0] if s else '')";
  for (const python of pythonCommands()) {
    try {
      const output = execFileSync(python, ["-c", script], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
      if (output.trim()) return output.trim();
    } catch {
      // Not there, or broken: the next one.
    }
  }
  return undefined;
}

function cachedFolders(): string[] {
  const root = cacheRoot();
  let names: string[];
  try {
    names = readdirSync(root);
  } catch {
    return []; // not there yet, or not for us to read: then it has no libtorch for us either
  }
  const found = names.flatMap((name) => {
    const [, version, variant] = /^libtorch-([0-9.]+)(?:-(cu[0-9]+))?$/.exec(name) ?? [];
    return version === undefined ? [] : [{ name, version, cuda: variant !== undefined }];
  });
  const pinned = (version: string) => Number(version === PINNED_LIBTORCH_VERSION);
  return found
    .sort(
      (a, b) =>
        pinned(b.version) - pinned(a.version) ||
        b.version.localeCompare(a.version, "en", { numeric: true }) ||
        // It does all that the other does, and somebody has asked for it.
        Number(b.cuda) - Number(a.cuda),
    )
    .map(({ name, cuda }) => (cuda ? join(root, name, "torch") : join(root, name)));
}

function systemFolders(): string[] {
  if (process.platform === "win32") return [];
  if (process.platform === "darwin") return ["/opt/homebrew/opt/pytorch", "/usr/local/opt/pytorch", "/usr/local"];
  return ["/opt/libtorch", "/usr/local/libtorch", "/usr/local", "/usr"];
}

function judge(origin: LibtorchOrigin, folder: string, options: FindOptions): LibtorchCandidate {
  try {
    // What `lenet5 install` has made for CUDA holds `torch` and `nvidia`, and is meant as a whole.
    const libtorch = describeLibtorch(folder) ?? describeLibtorch(join(folder, "torch"));
    return { origin, folder, libtorch, fault: libtorch ? unfit(libtorch, options) : "holds no libtorch" };
  } catch (error) {
    return { origin, folder, libtorch: undefined, fault: `cannot be read: ${(error as Error).message}` };
  }
}

function unfit(libtorch: Libtorch, { built, headers }: FindOptions): string | undefined {
  if (headers && !libtorch.includeDirectory) return "has no headers to build against";
  if (built && (libtorch.version !== built.version || libtorch.cxx11Abi !== built.cxx11Abi)) {
    const abi = libtorch.cxx11Abi === built.cxx11Abi ? "" : " with another ABI of std::string";
    return `is ${libtorch.version}${abi}, but the addon was built for ${built.version}`;
  }
  return faultOf(libtorch);
}

/** Every place in the order in which it counts; places without a libtorch are listed only where they were asked for. */
export function libtorchCandidates(options: FindOptions = {}): LibtorchCandidate[] {
  return [...eachCandidate(options)];
}

/** Looks at one place after the other: whoever finds what he wants need not wait for the rest. */
function* eachCandidate(options: FindOptions): Generator<LibtorchCandidate> {
  const chosen = process.env.LIBTORCH;
  // A folder that was named is meant: nothing else is taken in its stead, not even where it does not fit.
  if (chosen) yield judge("LIBTORCH", chosen, options);
  else if (process.env.LENET5_USE_PYTORCH === "1") {
    const folder = pythonTorchFolder();
    const fault = "the active Python has no torch (LENET5_USE_PYTORCH=1 asks for it)";
    yield folder ? judge("python", folder, options) : { origin: "python", folder: "torch", libtorch: undefined, fault };
  } else {
    for (const folder of cachedFolders()) yield judge("cache", folder, options);
    for (const folder of systemFolders()) {
      const candidate = judge("system", folder, options);
      if (candidate.libtorch) yield candidate;
    }
  }
}

/**
 * The libtorch to use.
 *
 * @throws LeNet5Error `LENET5_LIBTORCH_NOT_FOUND` where there is none, `LENET5_LIBTORCH_INCOMPATIBLE` where there is
 * one that does not fit; the message names the fix.
 */
export function findLibtorch(options: FindOptions = {}): LibtorchCandidate & { libtorch: Libtorch } {
  const candidates: LibtorchCandidate[] = [];
  for (const candidate of eachCandidate(options)) {
    if (candidate.libtorch && candidate.fault === undefined) return { ...candidate, libtorch: candidate.libtorch };
    candidates.push(candidate);
  }
  const seen = candidates.map(({ origin, folder, fault }) => `${nameOf(origin)} ${folder} ${fault}`).join("; ");
  const version = options.built ? options.built.version : PINNED_LIBTORCH_VERSION;
  const wanted = options.built ? `libtorch ${version}, for which the addon was built` : "a libtorch";
  const fix = `Run \`npx lenet5 install\` (${PINNED_LIBTORCH_VERSION}), or set LIBTORCH to a folder with include/ and lib/`;
  const rebuild = options.built ? ", or build the addon for the one you have: `npx lenet5 install --build`" : "";
  throw new LeNet5Error(
    candidates.some(({ libtorch }) => libtorch) ? "LIBTORCH_INCOMPATIBLE" : "LIBTORCH_NOT_FOUND",
    `Expected ${wanted}, but ${seen || "none was found on this machine"}. ${fix}${rebuild}.`,
  );
}

function nameOf(origin: LibtorchOrigin): string {
  return { LIBTORCH: "LIBTORCH", python: "Python's", cache: "the cache's", system: "the system's" }[origin];
}
