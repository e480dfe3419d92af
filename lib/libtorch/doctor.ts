// `lenet5 doctor`: what was found where, what is missing, and how to mend it.
import { execFile } from "node:child_process";
import { constants } from "node:fs";
import { access, mkdir, statfs } from "node:fs/promises";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { packageRoot } from "#package-root";
import { cacheRoot } from "../cache.js";
import { findBuilt } from "../native/built-files.js";
import { type CudaFacts, cudaMajorOf, explainCuda, nvidiaDriver } from "./cuda.js";
import type { Libtorch } from "./describe.js";
import { libtorchCandidates, PINNED_LIBTORCH_VERSION, pythonCommands } from "./find.js";
import { type BuiltAddon, findBuiltAddon } from "./load-addon.js";
import { operatorsOfEnvironment } from "./operators.js";

const run = promisify(execFile);
const OLDEST_NODE = [20, 17] as const;
const OLDEST_CMAKE = [3, 22] as const;
/** A training run's checkpoints, a data set and a libtorch fit into this. */
const COMFORTABLE_BYTES = 2e9;

/** One thing that was looked at. */
export interface DoctorCheck {
  /** What was looked at, for example `CMake`. */
  name: string;
  /** `failed` keeps the package from working; `warning` only what the text names. */
  status: "ok" | "warning" | "failed";
  /** What was found. */
  found: string;
  /** How to mend it; absent where there is nothing to mend. */
  fix?: string;
}

/** What {@link diagnose} found. */
export interface Diagnosis {
  /** True where nothing failed: LeNet-5 trains and predicts. */
  ok: boolean;
  /** True where libtorch works too: TorchScript, its engine, CUDA. */
  libtorch: boolean;
  checks: DoctorCheck[];
}

/** Looks at everything the package needs. Never throws, whatever the machine is like. */
export async function diagnose(): Promise<Diagnosis> {
  let built: BuiltAddon | undefined;
  let buildProblem = "";
  try {
    built = findBuiltAddon();
  } catch (error) {
    buildProblem = (error as Error).message;
  }
  const fused = await checkFusedAddon();
  const { checks: candidates, taken } = checkLibtorch(built);
  const loaded = built && taken ? await checkLoading() : undefined;
  const loading = loaded?.check;
  const works = fused.status === "ok";
  const checks = [
    checkNode(),
    fused,
    ...candidates,
    checkBuiltAddon(built, buildProblem),
    ...(loading ? [loading] : []),
    ...(loaded?.cuda && taken && process.platform !== "darwin" ? [checkCuda(taken, loaded.cuda)] : []),
    ...(loading && loading.status !== "failed" ? await checkOperators() : []),
    await checkCompiler(works),
    await checkCMake(works),
    await checkPython(),
    await checkCache(),
  ];
  const libtorch = loading !== undefined && loading.status !== "failed";
  return { ok: checks.every(({ status }) => status !== "failed"), libtorch, checks };
}

function atLeast(version: string, oldest: readonly [number, number]): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major > oldest[0] || (major === oldest[0] && minor >= oldest[1]);
}

function checkNode(): DoctorCheck {
  const { node } = process.versions;
  const found = `${node} on ${process.platform}-${process.arch}`;
  if (atLeast(node, OLDEST_NODE)) return { name: "Node.js", status: "ok", found };
  return { name: "Node.js", status: "failed", found, fix: `install Node.js ${OLDEST_NODE.join(".")} or later` };
}

/** Every libtorch in the order in which it counts; the first one that fits is taken. */
function checkLibtorch(built: BuiltAddon | undefined): { checks: DoctorCheck[]; taken: Libtorch | undefined } {
  const wanted = built && { built: { version: built.libtorchVersion, cxx11Abi: built.cxx11Abi } };
  const candidates = libtorchCandidates(wanted ?? {});
  const taken = candidates.find(({ fault }) => fault === undefined);
  const checks = candidates.map((candidate): DoctorCheck => {
    const { origin, folder, libtorch, fault } = candidate;
    const name = `libtorch (${origin})`;
    if (fault || !libtorch) return { name, status: "warning", found: `${folder} ${fault ?? "holds no libtorch"}` };
    const lacking = libtorch.builtForCuda ? "CPU only (it lacks libraries for CUDA)" : "CPU only";
    const cuda = libtorch.cudaLibraries.length > 0 ? "with CUDA" : lacking;
    const headers = libtorch.includeDirectory ? "" : ", no headers (enough to run, not to build)";
    const use = candidate === taken ? "" : "; not taken: one before it fits";
    return { name, status: "ok", found: `${libtorch.version}, ${cuda}${headers}, in ${libtorch.root}${use}` };
  });
  if (taken) return { checks, taken: taken.libtorch };
  const named = process.env.LIBTORCH ? "correct or unset LIBTORCH, or " : "";
  const rebuild = built && checks.length > 0 ? ", or build for the one you have: `npx lenet5 install --build`" : "";
  const none: DoctorCheck = {
    name: "libtorch",
    // One that was named is expected to work; otherwise much works without.
    status: process.env.LIBTORCH ? "failed" : "warning",
    found: built ? `none of version ${built.libtorchVersion}, for which the addon was built` : "none that works",
    fix: `${named}run \`npx lenet5 install\` (installs ${PINNED_LIBTORCH_VERSION})${rebuild}`,
  };
  return { checks: [...checks, none], taken: undefined };
}

function checkBuiltAddon(built: BuiltAddon | undefined, problem: string): DoctorCheck {
  const name = "addon with libtorch";
  if (!built) return { name, status: "warning", found: problem, fix: "run `npx lenet5 install --build`" };
  const kind = /[\\/](prebuilds|@lenet5-libtorch)[\\/]/.test(built.loader) ? "prebuilt" : "built here";
  const what = `${kind} for libtorch ${built.libtorchVersion} with ${built.compiler}`;
  return { name, status: "ok", found: `${what}, in ${dirname(built.loader)}` };
}

/** Stands before and behind what a script in a process of its own finds. */
const RESULT = "\u0001";
const TELL = `const tell = (result) => process.stdout.write(${JSON.stringify(RESULT)} + JSON.stringify(result) + ${JSON.stringify(RESULT)});`;

/**
 * Runs a script, given this package's insides (lib/scripts.ts) and `tell`, in a process of its own: what cannot be loaded may end the
 * process.
 */
async function inProcessOfItsOwn<T>(script: string, ...args: string[]): Promise<T> {
  const address = pathToFileURL(join(packageRoot, "dist", "esm", "scripts.js")).href;
  const words = ["--input-type=module", "--eval", TELL + script, address, ...args];
  const { stdout } = await run(process.execPath, words, { timeout: 60_000 });
  // What is loaded may write too, or end the process in silence.
  const result = stdout.split(RESULT)[1];
  if (result === undefined) throw new Error("without a word");
  return JSON.parse(result) as T;
}

function ended(error: unknown): string {
  const { signal, code, message } = error as { signal?: unknown; code?: unknown; message: string };
  if (typeof signal === "string") return `the process that tried it was ended by ${signal}`;
  if (typeof code === "number") return `the process that tried it ended with status ${code}`;
  return `the process that tried it ended: ${message.split("\n")[0]}`;
}

const REBUILD = "rebuild the addon: `npx lenet5 install --build`";

async function checkFusedAddon(): Promise<DoctorCheck> {
  const name = "addon with the fused engine";
  const script = `
    const { native } = await import(process.argv[1]);
    try {
      tell({ sets: native().instructionSets() });
    } catch (error) {
      tell({ failure: error.message });
    }`;
  type Result = { sets?: string[]; failure?: string };
  try {
    const { sets = [], failure } = await inProcessOfItsOwn<Result>(script);
    if (failure) return { name, status: "failed", found: failure, fix: "the message names the fix" };
    return { name, status: "ok", found: `works with ${sets.join(", ")}, in ${findBuilt("lenet5_fused.node")}` };
  } catch (error) {
    return { name, status: "failed", found: ended(error), fix: REBUILD };
  }
}

/** What is known of CUDA once libtorch is open. */
type CudaFound = Pick<CudaFacts, "skipped" | "devices" | "problem" | "graphs">;

async function checkLoading(): Promise<{ check: DoctorCheck; cuda?: CudaFound }> {
  const name = "loading libtorch";
  const script = `
    const { loadAddonWithDetails } = await import(process.argv[1]);
    try {
      const { libtorch, skipped, exports } = loadAddonWithDetails();
      tell({ folder: libtorch.folder, skipped, devices: exports.devices(), ...exports.cuda() });
    } catch (error) {
      tell({ failure: error.message });
    }`;
  type Result = Partial<CudaFound> & { folder?: string; failure?: string };
  try {
    const { failure, folder, skipped = [], devices, problem, graphs = false } = await inProcessOfItsOwn<Result>(script);
    if (failure) return { check: { name, status: "failed", found: failure, fix: "the message names the fix" } };
    return {
      check: { name, status: "ok", found: `works with ${folder}` },
      cuda: { skipped, devices, problem, graphs },
    };
  } catch (error) {
    return { check: { name, status: "failed", found: ended(error), fix: REBUILD } };
  }
}

/** CUDA is worth a warning where there is a GPU for it. */
function checkCuda(libtorch: Libtorch, found: CudaFound): DoctorCheck {
  const driver = nvidiaDriver();
  const graphsForbidden = process.env.LENET5_CUDA_GRAPHS === "0";
  const verdict = explainCuda({ libtorch, driver, cuda: cudaMajorOf(libtorch), graphsForbidden, ...found });
  const { used, fix } = verdict;
  const complete = used && fix === undefined;
  const status = complete || (driver === undefined && !used) ? "ok" : "warning";
  return { name: "CUDA", status, found: verdict.found, ...(fix && { fix }) };
}

/** Opens each library of `LENET5_OPERATORS`, in a process of its own: one may end it. */
async function checkOperators(): Promise<DoctorCheck[]> {
  const script = `
    const { loadAddon, loadOperators } = await import(process.argv[1]);
    const report = (failure) => tell({ failure });
    try {
      loadAddon();
      loadOperators([process.argv[2]]).then(() => report(), (error) => report(error.message));
    } catch (error) {
      report(error.message);
    }`;
  const checks: DoctorCheck[] = [];
  for (const path of operatorsOfEnvironment()) {
    const name = "operators";
    const fix = "correct LENET5_OPERATORS, or install the package that fits this libtorch";
    try {
      const { failure } = await inProcessOfItsOwn<{ failure?: string }>(script, path);
      if (failure) checks.push({ name, status: "warning", found: failure, fix });
      else checks.push({ name, status: "ok", found: path });
    } catch (error) {
      checks.push({ name, status: "warning", found: `${path}: ${ended(error)}`, fix });
    }
  }
  return checks;
}

async function firstLine(command: string, args: string[]): Promise<string | undefined> {
  try {
    const { stdout, stderr } = await run(command, args, { timeout: 20_000 });
    return (stdout || stderr).split("\n")[0]?.trim();
  } catch {
    return undefined;
  }
}

async function checkCompiler(built: boolean): Promise<DoctorCheck> {
  const command = process.env.CXX || (process.platform === "win32" ? "cl" : "c++");
  const found = await firstLine(command, process.platform === "win32" ? [] : ["--version"]);
  if (found) return { name: "C++ compiler", status: "ok", found };
  return {
    name: "C++ compiler",
    status: built ? "warning" : "failed",
    found: `no ${command}${built ? " (only needed to build the addon)" : ""}`,
    fix: "install one (Debian: apt-get install g++; macOS: xcode-select --install; Windows: Visual Studio with C++)",
  };
}

async function checkCMake(built: boolean): Promise<DoctorCheck> {
  const line = await firstLine("cmake", ["--version"]);
  const version = /[0-9]+\.[0-9]+[0-9.]*/.exec(line ?? "")?.[0];
  if (version && atLeast(version, OLDEST_CMAKE)) return { name: "CMake", status: "ok", found: version };
  return {
    name: "CMake",
    status: built ? "warning" : "failed",
    found: `${version ?? "no cmake"}${built ? " (only needed to build the addon)" : ""}`,
    fix: `install CMake ${OLDEST_CMAKE.join(".")} or later (Debian: apt-get install cmake)`,
  };
}

async function checkPython(): Promise<DoctorCheck> {
  for (const python of pythonCommands()) {
    const line = await firstLine(python, ["-m", "pip", "--version"]);
    if (line) return { name: "Python with pip", status: "ok", found: `${python}: ${line}` };
  }
  return {
    name: "Python with pip",
    status: "ok",
    found: "none; `lenet5 install` then fetches from the package index itself",
  };
}

async function checkCache(): Promise<DoctorCheck> {
  const name = "cache folder";
  const root = cacheRoot();
  try {
    await mkdir(root, { recursive: true });
    await access(root, constants.W_OK);
    const { bavail, bsize } = await statfs(root);
    const free = bavail * bsize;
    const found = `${root}, ${(free / 1e9).toFixed(1)} GB free`;
    if (free >= COMFORTABLE_BYTES) return { name, status: "ok", found };
    return { name, status: "warning", found, fix: "free some space, or set LENET5_CACHE_DIR to another disk" };
  } catch (error) {
    const fix = "set LENET5_CACHE_DIR to a folder that can be written";
    return { name, status: "warning", found: `${root}: ${(error as Error).message}`, fix };
  }
}

const MARKS = { ok: "✓", warning: "!", failed: "✗" } as const;

/** The diagnosis as lines of text. */
export function formatDiagnosis({ ok, libtorch, checks }: Diagnosis): string {
  const width = Math.max(...checks.map(({ name }) => name.length));
  const lines = checks.flatMap(({ name, status, found, fix }) => [
    `${MARKS[status]} ${name.padEnd(width)}  ${found}`,
    ...(fix ? [`  ${" ".repeat(width)}  → ${fix}`] : []),
  ]);
  const failures = checks.filter(({ status }) => status === "failed").length;
  const works = libtorch
    ? "Everything that is needed is here."
    : "LeNet-5 works here. What needs libtorch does not yet: TorchScript, the libtorch engine, CUDA.";
  const verdict = ok ? works : `${failures} of ${checks.length} checks failed.`;
  return `${lines.join("\n")}\n\n${verdict}`;
}
