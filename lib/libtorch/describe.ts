// Looks at a folder and tells whether it holds a libtorch, which one, and what it lacks. Nothing is loaded.
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, realpathSync } from "node:fs";
import { basename, join } from "node:path";
import { readElfDynamic } from "./elf.js";

/** A libtorch on this machine. */
export interface Libtorch {
  /** The folder that was looked at, symbolic links resolved. */
  root: string;
  /** Folder of its headers; `undefined` where it has libraries only, which is enough to run a built addon. */
  includeDirectory: string | undefined;
  /** Folder of its libraries. */
  libraryDirectory: string;
  /** Version as `major.minor.patch`. */
  version: string;
  /** Version of the headers, where they are. */
  headerVersion: string | undefined;
  /** True where `std::string` has the ABI of GCC 5 and later; wheels before 2.7 have the older one. */
  cxx11Abi: boolean;
  /** The libraries a program needs, absolute, in the order in which they are opened. */
  libraries: string[];
  /** Absolute paths of its CUDA part, in the order in which it is opened; empty where it has none that can be opened. */
  cudaLibraries: string[];
  /** Whether it has a CUDA part at all. */
  builtForCuda: boolean;
  /** File names that its CUDA part needs and that are not on this machine; empty where it has none. */
  cudaMissing: string[];
  /** File names that its libraries need and that are not on this machine. */
  missing: string[];
}

const prefix = process.platform === "win32" ? "" : "lib";
const suffix = process.platform === "win32" ? ".dll" : process.platform === "darwin" ? ".dylib" : ".so";

/** The multi-architecture folder of Debian and its kin, for example `x86_64-linux-gnu`. */
export function multiarchFolder(): string {
  const machine = ({ x64: "x86_64", arm64: "aarch64" } as Record<string, string>)[process.arch] ?? process.arch;
  return `${machine}-linux-gnu`;
}

/** Absolute path of a library in a folder, with or without a version behind its suffix (`libc10.so.1.13`). */
export function libraryIn(folder: string, name: string): string | undefined {
  const plain = join(folder, `${prefix}${name}${suffix}`);
  if (existsSync(plain)) return plain;
  if (process.platform !== "linux" || !existsSync(folder)) return undefined;
  const start = `${prefix}${name}${suffix}.`;
  const versioned = readdirSync(folder)
    .filter((file) => file.startsWith(start) && /^[0-9.]+$/.test(file.slice(start.length)))
    .sort((a, b) => a.length - b.length);
  return versioned[0] && join(folder, versioned[0]);
}

function libraryDirectoryOf(root: string): string | undefined {
  return ["lib", join("lib", multiarchFolder()), "lib64"]
    .map((folder) => join(root, folder))
    .find((folder) => libraryIn(folder, "c10") && libraryIn(folder, "torch_cpu"));
}

/** `major.minor.patch` as libtorch's headers in this folder say, or `undefined`. */
export function headerVersionOf(includeDirectory: string): string | undefined {
  for (const header of ["torch/headeronly/version.h", "torch/csrc/api/include/torch/version.h"]) {
    const path = join(includeDirectory, header);
    if (!existsSync(path)) continue;
    const text = readFileSync(path, "utf8");
    const parts = ["MAJOR", "MINOR", "PATCH"].map(
      (part) => new RegExp(`define TORCH_VERSION_${part} +([0-9]+)`).exec(text)?.[1],
    );
    if (parts.every((part) => part !== undefined)) return parts.join(".");
  }
  return undefined;
}

/** What the libraries' surroundings say about their version: file names, a wheel's or an archive's metadata. */
function libraryVersionOf(root: string, library: string): string | undefined {
  const versioned = /\.so\.([0-9]+\.[0-9]+\.[0-9]+)$/.exec(realpathSync(library))?.[1];
  if (versioned) return versioned;
  const metadata: [string, RegExp][] = [
    ["version.py", /__version__ *= *['"]([0-9]+\.[0-9]+\.[0-9]+)/],
    ["build-version", /^([0-9]+\.[0-9]+\.[0-9]+)/],
    ["lenet5-libtorch.json", /"version": *"([0-9]+\.[0-9]+\.[0-9]+)/],
  ];
  for (const [file, pattern] of metadata) {
    const path = join(root, file);
    const version = existsSync(path) ? pattern.exec(readFileSync(path, "utf8"))?.[1] : undefined;
    if (version) return version;
  }
  return undefined;
}

function hasNewStringAbi(c10: string): boolean {
  if (process.platform !== "linux") return true;
  // Mangled names tell: a function of namespace c10 that takes a std::string of the newer ABI.
  return /_ZN3c10\w*NSt7__cxx1112basic_string/.test(readFileSync(c10, "latin1"));
}

let linkerCache: Set<string> | undefined;

/** Whether the dynamic linker finds a library by its name alone. */
export function isKnownToTheSystem(name: string): boolean {
  const multiarch = multiarchFolder();
  const chosen = (process.env.LD_LIBRARY_PATH ?? "").split(":").filter(Boolean);
  const usual = [`/lib/${multiarch}`, `/usr/lib/${multiarch}`, "/lib64", "/usr/lib64", "/lib", "/usr/lib"];
  if ([...chosen, ...usual].some((folder) => existsSync(join(folder, name)))) return true;
  linkerCache ??= new Set(readLinkerCache());
  return linkerCache.has(name);
}

/** What the dynamic linker knows besides, folders of /etc/ld.so.conf for example. */
function readLinkerCache(): string[] {
  for (const command of ["/sbin/ldconfig", "ldconfig"]) {
    try {
      const output = execFileSync(command, ["-p"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
      return [...output.matchAll(/^\s+(\S+) \(/gm)].map((match) => match[1]!);
    } catch {
      // The next name; there is none on musl.
    }
  }
  return [];
}

/** File names that `libraries` need, themselves or through one another, and that the dynamic linker would not find. */
export function missingDependencies(libraries: readonly string[]): string[] {
  if (process.platform !== "linux") return [];
  const missing = new Set<string>();
  const seen = new Set<string>();
  const pending = [...libraries];
  const opened = new Set(libraries.flatMap((library) => [basename(library), readElfDynamic(library)?.soname ?? ""]));
  for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
    if (seen.has(path)) continue;
    seen.add(path);
    const elf = readElfDynamic(path);
    const origin = join(realpathSync(path), "..");
    const folders = (elf?.searchPath ?? []).map((folder) => folder.replace(/\$ORIGIN|\$\{ORIGIN\}/g, origin));
    for (const name of elf?.needed ?? []) {
      const beside = folders.map((folder) => join(folder, name)).find((candidate) => existsSync(candidate));
      if (beside) pending.push(beside);
      else if (!opened.has(name) && !isKnownToTheSystem(name)) missing.add(name);
    }
  }
  return [...missing].sort();
}

/**
 * Describes the libtorch in a folder.
 *
 * @param folder - has `include/` and `lib/` (a wheel's `torch` folder, the official archive's `libtorch`, or `/usr`)
 * @returns `undefined` where the folder holds no libtorch at all
 */
export function describeLibtorch(folder: string): Libtorch | undefined {
  if (!existsSync(folder)) return undefined;
  const root = realpathSync(folder);
  const found = libraryDirectoryOf(root);
  if (!found) return undefined;
  const libraryDirectory = realpathSync(found);
  const libraries = ["c10", "torch_cpu"].map((name) => libraryIn(libraryDirectory, name)!);
  const include = join(root, "include");
  const headers = existsSync(join(include, "torch/csrc/api/include/torch/torch.h"));
  const headerVersion = headers ? headerVersionOf(include) : undefined;
  const version = libraryVersionOf(root, libraries[0]!) ?? headerVersion;
  if (!version) return undefined;

  const cuda = ["c10_cuda", "torch_cuda"].map((name) => libraryIn(libraryDirectory, name));
  const builtForCuda = cuda.every((path) => path !== undefined);
  const cudaMissing = builtForCuda ? missingDependencies(cuda as string[]) : [];
  return {
    root,
    includeDirectory: headers ? include : undefined,
    libraryDirectory,
    version,
    headerVersion,
    cxx11Abi: hasNewStringAbi(libraries[0]!),
    libraries,
    cudaLibraries: builtForCuda && cudaMissing.length === 0 ? (cuda as string[]) : [],
    builtForCuda,
    cudaMissing,
    missing: missingDependencies(libraries),
  };
}

/** What makes a libtorch unfit to build with or to run with, in words; `undefined` where nothing does. */
export function faultOf(libtorch: Libtorch): string | undefined {
  if (libtorch.missing.length > 0) return `needs ${libtorch.missing.join(", ")}, which this machine does not have`;
  if (libtorch.headerVersion && libtorch.headerVersion !== libtorch.version) {
    return `has headers of ${libtorch.headerVersion} but libraries of ${libtorch.version}`;
  }
  const [major = 0, minor = 0] = libtorch.version.split(".").map(Number);
  if (major < 1 || (major === 1 && minor < 13)) return `is ${libtorch.version}; 1.13 is the oldest that works`;
  return undefined;
}
