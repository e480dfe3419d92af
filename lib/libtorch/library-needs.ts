// What a library that uses libtorch needs before the dynamic linker opens it: libtorch's own libraries from the one in use,
// and empty ones in the place of those that libraries name and hardly use.
import { existsSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { LeNet5Error } from "../errors.js";
import type { Libtorch } from "./describe.js";
import { elfFault, readElfDynamic } from "./elf.js";
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

/** What has to be opened before a library: libtorch's own, and empty ones in the place of those that are needed by name only. */
export interface Needs {
  own: string[];
  standIns: { name: string; bytes: Buffer }[];
}

/**
 * Reads what a library needs, itself and through what it brings along.
 * @param refuse - the error for one that cannot be opened, of what it is instead
 * @throws what `refuse` makes
 */
export function needsOf(real: string, libtorch: Libtorch, refuse: (received: string) => LeNet5Error): Needs {
  if (process.platform !== "linux") return { own: [], standIns: [] };
  const fault = elfFault(real);
  if (fault) throw refuse(`a file that cannot be loaded: ${fault}`);
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
      if (library === real) throw refuse("a file that cannot be loaded: it is no ELF library of 64 bits");
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
        throw refuse(`one that needs ${name}, which ${inUse(libtorch)} does not have: ${fix}`);
      } else throw refuse(`one of another libtorch than ${inUse(libtorch)}: it needs ${name}`);
    }
  }
  if (!linked) throw refuse("one that does not use libtorch");
  return needs;
}

/** Calls `open` with the paths of what a library needs; the stand-ins' files are there as long as it runs. */
export function withNeeds<T>({ own, standIns }: Needs, open: (first: string[]) => T): T {
  if (standIns.length === 0) return open(own);
  const folder = mkdtempSync(join(tmpdir(), "lenet5-libraries-"));
  try {
    const first = standIns.map(({ name, bytes }) => {
      const file = join(folder, name);
      writeFileSync(file, bytes);
      return file;
    });
    return open([...own, ...first]);
  } finally {
    // Once opened, a library needs its file no more.
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The libtorch in use, for messages. */
export function inUse(libtorch: Libtorch): string {
  return `the libtorch ${libtorch.version} in use (${libtorch.root})`;
}
