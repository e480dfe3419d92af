// Which addon is opened for what. In processes of their own, since an addon stays once it is opened; they run the built
// package, as users do.
import { execFile } from "node:child_process";
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { packageRoot } from "#package-root";
import { findBuilt } from "../../lib/native/built-files.js";
import { temporaryFolder } from "../cli/lenet5.js";

const entry = pathToFileURL(join(packageRoot, "dist", "esm", "lenet5-libtorch.js")).href;

/** Runs a module's source with the package's exports as `api`, and gives what it passes to `tell`. */
async function run(source: string, env: NodeJS.ProcessEnv = {}): Promise<unknown[]> {
  const script = `
    import * as api from ${JSON.stringify(entry)};
    import { readFileSync } from "node:fs";
    const mapped = () => /lib(torch|c10|gomp)/.test(readFileSync("/proc/self/maps", "utf8"));
    const codeOf = async (call) => { try { await call(); return "none"; } catch (error) { return [error.code, error.message]; } };
    const images = Uint8Array.from({ length: 784 * 64 }, (_, i) => (i * 2654435761) >>> 24);
    const labels = Int32Array.from({ length: 64 }, (_, i) => i % 10);
    const told = [];
    const tell = (...values) => told.push(...values);
    ${source}
    console.log(JSON.stringify(told));`;
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", script], {
    env: { ...process.env, ...env },
    timeout: 60_000,
  });
  return JSON.parse(stdout) as unknown[];
}

/** The bytes with the number at an offset of an ELF header replaced; `value` is written little-endian. */
function patched(whole: Uint8Array, ...edits: [offset: number, ...value: number[]][]): Uint8Array {
  const bytes = Buffer.from(whole);
  for (const [offset, ...value] of edits) bytes.set(value, offset);
  return bytes;
}

/** A build folder with the fused addon alone. */
function fusedAlone(contents?: Uint8Array | string): string {
  const folder = temporaryFolder();
  mkdirSync(join(folder, "Release"));
  const copy = join(folder, "Release", "lenet5_fused.node");
  if (contents === undefined) copyFileSync(findBuilt("lenet5_fused.node"), copy);
  else writeFileSync(copy, contents);
  return folder;
}

const EVERYTHING_WITHOUT = `
  const model = new api.LeNet5({ seed: 1 });
  await model.fit({ images, labels }, { epochs: 1 });
  await model.evaluate({ images, labels });
  await model.predict(images);
  await api.exportOnnx(model);
  const copy = await api.LeNet5.load(await api.exportSafetensors(model));
  copy.predictSync(images);
  api.setNumThreads(2);
`;

it.runIf(process.platform === "linux")("opens libtorch when something needs it, and not before", async () => {
  const told = await run(`
    ${EVERYTHING_WITHOUT}
    tell(mapped());
    const bytes = await model.toTorchScript();
    tell(mapped());
    tell(Buffer.compare(Buffer.from((await api.LeNet5.load(bytes)).stateDict()["c1.weight"].data.buffer),
      Buffer.from(model.stateDict()["c1.weight"].data.buffer)));
  `);
  expect(told).toEqual([false, true, 0]);
});

it("does without libtorch what does not need it; the rest says what needed it, and the model goes on", async () => {
  const told = await run(
    `
    ${EVERYTHING_WITHOUT}
    tell(await codeOf(() => model.save("model.pt")), await codeOf(() => model.toTorchScript()));
    tell(await codeOf(() => new api.LeNet5({ engine: "libtorch" })), await codeOf(() => new api.LeNet5({ device: "cuda" })));
    tell(await codeOf(() => api.libtorchVersion()), api.devices());
    tell((await model.predict(images)).count);
  `,
    { LENET5_BUILD_DIR: fusedAlone(), LIBTORCH: "" },
  );
  const needs = (what: string) => [
    "LENET5_ADDON_NOT_BUILT",
    expect.stringMatching(new RegExp(`^${what} needs libtorch\\. Expected lenet5_libtorch\\.node .*install --build`)),
  ];
  expect(told).toEqual([
    needs("Saving TorchScript"),
    needs("Saving TorchScript"),
    needs('engine: "libtorch"'),
    needs('device: "cuda"'),
    needs("libtorchVersion"),
    ["cpu"],
    64,
  ]);
});

it("names a libtorch that is not there, and the command that helps", async () => {
  const [told] = await run(`tell(await codeOf(() => new api.LeNet5({ engine: "libtorch" })));`, {
    LIBTORCH: "/nowhere",
  });
  expect(told).toEqual([
    expect.stringMatching(/^LENET5_LIBTORCH_/),
    expect.stringMatching(/^engine: "libtorch" needs libtorch\. [\s\S]*npx lenet5 install/),
  ]);
});

it.each([
  ["truncated", (whole: Uint8Array) => whole.subarray(0, 5000)],
  ["empty", () => ""],
  ["for another machine", (whole: Uint8Array) => Buffer.from(whole).fill(0xf3, 18, 19)],
  ["damaged: its table lies beyond all files", (whole: Uint8Array) => patched(whole, [32, ...Array(8).fill(0xff)])],
  ["damaged: its table has 4 GB", (whole: Uint8Array) => patched(whole, [54, 0xff, 0xff, 0xff, 0xff])],
])("refuses by name an addon that is %s", async (_, damage) => {
  const folder = fusedAlone(damage(readFileSync(findBuilt("lenet5_fused.node"))));
  const [told] = await run("tell(await codeOf(() => new api.LeNet5()));", { LENET5_BUILD_DIR: folder });
  expect(told).toEqual([
    "LENET5_ADDON_NOT_BUILT",
    expect.stringMatching(/Cannot load .*lenet5_fused\.node: .*install --build/s),
  ]);
});

it("refuses by name a folder in an addon's place", async () => {
  const build = temporaryFolder();
  mkdirSync(join(build, "Release", "lenet5_fused.node"), { recursive: true });
  const [told] = await run("tell(await codeOf(() => new api.LeNet5()));", { LENET5_BUILD_DIR: build });
  expect(told).toEqual(["LENET5_ADDON_NOT_BUILT", expect.stringMatching(/lenet5_fused\.node: it is no file/)]);
});

it("sets one number of threads for both addons", async () => {
  // The same addon as the package's: it is opened once a thread.
  const loader = pathToFileURL(join(packageRoot, "dist", "esm", "scripts.js")).href;
  const told = await run(`
    api.setNumThreads(3);
    new api.LeNet5({ engine: "libtorch" }).dispose();
    const { loadAddon } = await import(${JSON.stringify(loader)});
    const counts = () => [api.getNumThreads(), loadAddon().getNumThreads()];
    tell(counts());
    api.setNumThreads(2);
    tell(counts());
    // By somebody who has not opened libtorch: a worker_thread, and the package's other copy.
    const { createRequire } = await import("node:module");
    const { Worker } = await import("node:worker_threads");
    const other = ${JSON.stringify(join(packageRoot, "dist", "cjs", "lenet5-libtorch.js"))};
    createRequire(other)(other).setNumThreads(4);
    tell(counts());
    const worker = new Worker("require(" + JSON.stringify(other) + ").setNumThreads(1)", { eval: true, execArgv: [] });
    await new Promise((resolve) => worker.once("exit", resolve));
    tell(counts());
  `);
  expect(told).toEqual([
    [3, 3],
    [2, 2],
    [4, 4],
    [1, 1],
  ]);
});

it("stays in place when the worker_thread that opened it ends", async () => {
  const told = await run(`
    const { Worker } = await import("node:worker_threads");
    const source = "const { LeNet5, setNumThreads } = require(" +
      JSON.stringify(${JSON.stringify(join(packageRoot, "dist", "cjs", "lenet5-libtorch.js"))}) +
      "); setNumThreads(3); new LeNet5({ seed: 1 }).predictSync(new Uint8Array(784 * 512));";
    for (let i = 0; i < 3; i++) {
      const worker = new Worker(source, { eval: true, execArgv: [] });
      tell(await new Promise((resolve) => worker.once("exit", resolve)));
      // The kernels' threads have fallen asleep by then, in the addon's code.
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  `);
  expect(told).toEqual([0, 0, 0]);
});
