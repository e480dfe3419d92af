// Builds the native addon with cmake-js against one libtorch, if its sources, the libtorch or the compiler changed.
//
//   node scripts/build-native.mjs [--output DIR] [--libtorch DIR] [--separately] [--force]
//
// --output    build folder, "build" by default; load from another one with LENET5_BUILD_DIR
// --libtorch  the libtorch to build against; otherwise LIBTORCH, the cache of `lenet5 install`, the system's
// --separately  compile each file by itself: slower at first, faster after a change in one file
// LENET5_BUILD_JOBS limits how many files are compiled at once.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, rmSync, statSync } from "node:fs";
import { availableParallelism, totalmem } from "node:os";
import { join, relative, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { buildTools } from "./build-tools.mjs";
import {
  filesBelow,
  hashOf,
  main,
  root,
  runLogged,
  StepFailed,
  secondsSince,
  stampIs,
  withLock,
  writeStamp,
} from "./shared.mjs";
import { compileTypeScript } from "./typescript.mjs";

// A file that includes libtorch's headers takes 1.5 GB of memory to compile.
const MEMORY_PER_JOB = 1.5 * 2 ** 30;

function firstLine(command, args) {
  const { stdout, status } = spawnSync(command, args, { encoding: "utf8" });
  return status === 0 ? stdout.split("\n")[0] : undefined;
}

function compiler() {
  const command = process.env.CXX || (process.platform === "win32" ? "cl" : "c++");
  const version = process.platform === "win32" ? command : firstLine(command, ["--version"]);
  if (!version)
    throw new StepFailed(`Expected a C++ compiler (${command}): install g++ or clang (Debian: apt-get install g++)`);
  return version;
}

/**
 * @param {{ output?: string, libtorch?: string, force?: boolean, separately?: boolean, jobs?: number, definitions?: Record<string, string>,
 *   env?: NodeJS.ProcessEnv }} options - `definitions`: for CMake; `env`: what loading this build takes
 * @returns {Promise<boolean>} whether anything had to be built
 */
export async function buildNative({
  output = join(root, "build"),
  libtorch,
  force = false,
  separately = false,
  jobs,
  definitions = {},
  env = {},
} = {}) {
  if (!existsSync(join(root, "dist/esm/scripts.js"))) await compileTypeScript({ tolerant: true });
  const { findLibtorch } = await import(pathToFileURL(join(root, "dist/esm/scripts.js")).href);
  const { origin, libtorch: found } = withLibtorch(libtorch, () => findLibtorch({ headers: true }));
  if (!firstLine("cmake", ["--version"]))
    throw new StepFailed("Expected CMake 3.22 or later (Debian: apt-get install cmake)");

  const sources = filesBelow(join(root, "native"), (file) => /\.(cpp|h|hpp|c|cmake)$/.test(file));
  const build = [join(root, "CMakeLists.txt"), ...filesBelow(join(root, "cmake"))];
  const c10 = statSync(found.libraries[0]);
  const parallel = jobs ?? Number(process.env.LENET5_BUILD_JOBS || jobsThatFit());
  // As many units as are compiled at once; more than four are small enough.
  const units = separately ? 0 : Math.min(parallel, 4);
  const defined = Object.entries({ LENET5_UNITS: units, ...definitions }).map(
    ([name, value]) => `--CD${name}=${value}`,
  );
  const toolchain = [compiler(), found.root, found.version, c10.size, c10.mtimeMs, ...defined];
  const hash = hashOf([...build, ...sources], toolchain);
  const stamp = join(output, "native.stamp");
  const core = join(output, "Release", "lenet5_core.json");
  if (!force && stampIs(stamp, hash) && existsSync(core)) return false;

  return withLock(join(output, "native.lock"), async () => {
    if (!force && stampIs(stamp, hash) && existsSync(core)) return false;
    const start = performance.now();
    console.error(`Building the native addon against libtorch ${found.version} (${origin}, ${found.root})`);
    rmSync(stamp, { force: true });
    forgetOtherToolchain(output, hashOf([], toolchain));
    const tools = await buildTools();
    const cmakeJs = join(tools, "cmake-js", "bin", "cmake-js");
    const common = ["--directory", root, "--out", output, `--CDLENET5_LIBTORCH=${found.root}`, ...defined];
    await runLogged(process.execPath, [cmakeJs, "build", ...common, "--parallel", String(parallel)], {
      log: join(output, "native.log"),
      // cmake-js looks for node-addon-api from the package's folder, and then here.
      env: { ...process.env, NODE_PATH: tools },
    });
    // A symbol that is missing shows only when the addon is loaded: in a process of its own, which may die of it.
    const load = "import(process.argv[1]).then(({ native, libtorch }) => (native(), libtorch('The build')))";
    const module = pathToFileURL(join(root, "dist/esm/scripts.js")).href;
    await runLogged(process.execPath, ["--input-type=module", "--eval", load, module], {
      log: join(output, "load.log"),
      env: { ...process.env, ...env, LENET5_BUILD_DIR: output, LIBTORCH: found.root },
    });
    writeStamp(stamp, hash);
    console.error(`Built ${relative(root, join(output, "Release")) || output} in ${secondsSince(start)}`);
    return true;
  });
}

/** Runs `body` with LIBTORCH set to a folder, if one is given. */
function withLibtorch(folder, body) {
  if (!folder) return body();
  const before = process.env.LIBTORCH;
  process.env.LIBTORCH = resolve(folder);
  try {
    return body();
  } finally {
    if (before === undefined) delete process.env.LIBTORCH;
    else process.env.LIBTORCH = before;
  }
}

/** CMake keeps what it found: with another libtorch or compiler, it has to begin afresh. */
function forgetOtherToolchain(output, hash) {
  const stamp = join(output, "toolchain.stamp");
  if (stampIs(stamp, hash)) return;
  for (const name of ["CMakeCache.txt", "CMakeFiles", "Release"])
    rmSync(join(output, name), { recursive: true, force: true });
  writeStamp(stamp, hash);
}

function jobsThatFit() {
  return Math.max(1, Math.min(availableParallelism(), Math.floor(memoryLimit() / MEMORY_PER_JOB)));
}

function memoryLimit() {
  const limit = "/sys/fs/cgroup/memory.max";
  const container = existsSync(limit) ? Number(readFileSync(limit, "utf8")) : Number.NaN;
  return Math.min(totalmem(), container || Number.POSITIVE_INFINITY);
}

if (process.argv[1] && resolve(process.argv[1]) === resolve(root, "scripts/build-native.mjs")) {
  await main(async () => {
    const { values } = parseArgs({
      options: {
        output: { type: "string" },
        libtorch: { type: "string" },
        force: { type: "boolean" },
        separately: { type: "boolean" },
      },
    });
    const output = values.output ? resolve(values.output) : undefined;
    await compileTypeScript({ tolerant: true });
    if (!(await buildNative({ ...values, ...(output && { output }) })))
      console.error("The native addon is up to date.");
  });
}
