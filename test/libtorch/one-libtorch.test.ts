// A machine may have several libtorches; a process, and a build, must only ever see one. What happens otherwise was seen:
// the build succeeds without a warning, and the process aborts inside libtorch.
import { execFile } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { packageRoot } from "#package-root";
import { findLibtorch } from "../../lib/libtorch/find.js";
import { findBuiltAddon } from "../../lib/libtorch/load-addon.js";
import { writeFakeLibtorch } from "./fake-libtorch.js";

const run = promisify(execFile);
const built = findBuiltAddon();
const { libtorch } = findLibtorch({ built: { version: built.libtorchVersion, cxx11Abi: built.cxx11Abi } });

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "lenet5-one-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** Runs a script in a Node process of its own, with `load(libraries)` and `report(value)`; gives back what it reports. */
async function inProcess(script: string, env: NodeJS.ProcessEnv = {}): Promise<unknown> {
  const prelude = `
    const loader = require(${JSON.stringify(built.loader)});
    const libraries = ${JSON.stringify(libtorch.libraries)};
    const core = ${JSON.stringify(built.core)};
    const report = (value) => process.stdout.write(JSON.stringify(value));
    const attempt = (body) => { try { body(); return "done"; } catch (error) { return { code: error.code, message: error.message }; } };`;
  const { stdout } = await run(process.execPath, ["--eval", prelude + script], {
    env: { ...process.env, ...env },
    timeout: 60_000,
  });
  return JSON.parse(stdout);
}

describe("the loader", () => {
  test("maps one libc10 and one libtorch_cpu, from the folder that was chosen", async () => {
    const mapped = (await inProcess(`
      loader.load(core, libraries);
      const maps = require("node:fs").readFileSync("/proc/self/maps", "utf8");
      report([...new Set(maps.match(/\\/.*(c10|torch_cpu)\\.so.*$/gm))]);`)) as string[];
    const expected = libtorch.libraries.map((path) => realpathSync(path));
    expect(mapped.map((path) => realpathSync(path)).sort()).toEqual(expected.sort());
  });

  test("refuses where another libc10 is in the process already", async () => {
    const other = join(folder, basename(realpathSync(libtorch.libraries[0]!)));
    copyFileSync(libtorch.libraries[0]!, other);
    const outcome = await inProcess("report(attempt(() => loader.load(core, libraries)));", { LD_PRELOAD: other });
    expect(outcome).toEqual({
      code: "LENET5_LIBTORCH_MIXED",
      message: expect.stringContaining(`has ${other} loaded`),
    });
  });

  test("refuses libraries that lie in two folders", async () => {
    const [c10, cpu] = libtorch.libraries.map((path) => join(folder, basename(realpathSync(path))));
    copyFileSync(libtorch.libraries[0]!, c10!);
    symlinkSync(realpathSync(libtorch.libraries[1]!), cpu!);
    const outcome = await inProcess(`report(attempt(() => loader.load(core, ${JSON.stringify([c10, cpu])})));`);
    expect(outcome).toMatchObject({ code: "LENET5_LIBTORCH_MIXED" });
  });

  test("gives a second caller of the same thread the same exports, and refuses a second core", async () => {
    const other = join(folder, basename(built.core));
    copyFileSync(built.core, other);
    const outcome = await inProcess(`
      const first = loader.load(core, libraries);
      const same = loader.load(core, libraries) === first;
      report({ same, other: attempt(() => loader.load(${JSON.stringify(other)}, libraries)) });`);
    expect(outcome).toMatchObject({ same: true, other: { code: "LENET5_LIBTORCH_MIXED" } });
  });

  test("loads in four worker threads at once, each with exports of its own", async () => {
    const outcome = await inProcess(`
      const { Worker } = require("node:worker_threads");
      const body = "const { parentPort, workerData: [loader, core, libraries] } = require('node:worker_threads');" +
        "parentPort.postMessage(Object.getOwnPropertyNames(require(loader).load(core, libraries).exports).length)";
      const data = [${JSON.stringify(built.loader)}, core, libraries];
      Promise.all([1, 2, 3, 4].map(() => new Promise((settle, fail) => {
        const worker = new Worker(body, { eval: true, workerData: data });
        let names = 0;
        worker.on("message", (count) => { names = count; }).on("error", fail).on("exit", (code) => settle([code, names > 0]));
      }))).then(report);`);
    expect(outcome).toEqual([1, 2, 3, 4].map(() => [0, true]));
  });

  test.each([
    ["no arguments", "loader.load()", "LENET5_INVALID_ARGUMENT"],
    ["no libraries", "loader.load(core, [])", "LENET5_INVALID_ARGUMENT"],
    ["numbers for paths", "loader.load(core, [1])", "LENET5_INVALID_ARGUMENT"],
    ["a library that is not there", `loader.load(core, ["/nowhere/libc10.so"])`, "LENET5_LIBTORCH_INCOMPATIBLE"],
    ["a core that is not there", `loader.load("/nowhere/core.so", libraries)`, "LENET5_LIBTORCH_INCOMPATIBLE"],
    ["a core that is none", "loader.load(libraries[0], libraries)", "LENET5_ADDON_NOT_BUILT"],
  ])("refuses %s", async (_title, call, code) => {
    expect(await inProcess(`report(attempt(() => ${call}));`)).toMatchObject({ code });
  });
});

describe("the build", () => {
  const configure = (root: string) =>
    run("cmake", ["-S", packageRoot, "-B", join(folder, "build"), `-DLENET5_LIBTORCH=${root}`], { timeout: 60_000 });
  const refusal = (text: string) =>
    expect.objectContaining({ stderr: expect.stringMatching(new RegExp(text.replaceAll(" ", "\\s+"))) });

  test("refuses a library that leads out of the chosen folder", async () => {
    const root = writeFakeLibtorch(join(folder, "libtorch"), "2.13.0");
    const elsewhere = join(folder, "elsewhere");
    mkdirSync(elsewhere);
    writeFileSync(join(elsewhere, "libc10.so"), "");
    rmSync(join(root, "lib", "libc10.so"));
    symlinkSync(join(elsewhere, "libc10.so"), join(root, "lib", "libc10.so"));
    await expect(configure(root)).rejects.toEqual(refusal("two libtorches must not be mixed"));
  });

  test("refuses headers without libraries, whatever the system has", async () => {
    const root = writeFakeLibtorch(join(folder, "libtorch"), "2.13.0");
    rmSync(join(root, "lib"), { recursive: true });
    await expect(configure(root)).rejects.toEqual(refusal("Expected libc10 in a library folder"));
  });

  test("refuses libraries without headers, whatever the system has", async () => {
    const root = writeFakeLibtorch(join(folder, "libtorch"), "2.13.0");
    rmSync(join(root, "include"), { recursive: true });
    await expect(configure(root)).rejects.toEqual(refusal("Expected libtorch's headers in"));
  });

  test("refuses libraries whose file names tell another version than the headers", async () => {
    const root = writeFakeLibtorch(join(folder, "libtorch"), "2.13.0");
    for (const name of ["libc10.so", "libtorch_cpu.so"]) {
      const path = join(root, "lib", name);
      copyFileSync(path, `${path}.1.13.0`);
      rmSync(path);
      symlinkSync(`${name}.1.13.0`, path);
    }
    await expect(configure(root)).rejects.toEqual(refusal("as the headers say"));
  });
});

test("the built core carries no path to a libtorch, and needs nothing of it but what the loader opens", async () => {
  const { readElfDynamic } = await import("../../lib/libtorch/elf.js");
  const core = readElfDynamic(built.core)!;
  expect(core.searchPath).toEqual([]);
  const names = libtorch.libraries.map((path) => readElfDynamic(path)!.soname);
  const ofLibtorch = core.needed.filter((name) => /c10|torch/.test(name));
  expect(ofLibtorch.length).toBeGreaterThan(0);
  expect(ofLibtorch.filter((name) => !names.includes(name))).toEqual([]);
});
