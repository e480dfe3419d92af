// The addon built against pip's torch with CUDA, on a machine that may have neither GPU nor driver: `npm run test:cuda -- --cpu`
// packs, unpacks where there is no Node and no network, builds, and has the CPU stand in for the GPU. What was built then is
// looked at more closely. Where Python's torch is one without CUDA it is passed over on a developer's machine.
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { packageRoot } from "#package-root";
import { nvidiaDriver } from "../../lib/libtorch/cuda.js";
import { describeLibtorch } from "../../lib/libtorch/describe.js";
import { readElfDynamic } from "../../lib/libtorch/elf.js";
import { lastJson, lenet5, line, runNode } from "../cli/lenet5.js";
import { python, pythonPath } from "../python.js";

const FOLDER =
  "import importlib.util, json; print(json.dumps(list(importlib.util.find_spec('torch').submodule_search_locations)[0]))";
const torch = pythonPath === undefined ? undefined : await python<string>(FOLDER).catch(() => undefined);
const libtorch = torch === undefined ? undefined : describeLibtorch(torch);
const possible = process.platform === "linux" && libtorch !== undefined && libtorch.cudaLibraries.length > 0;

describe.runIf(possible || process.env.CI === "true")("the addon for a libtorch with CUDA", () => {
  let folder: string;
  let work: string;
  let results: { tests: Record<string, number>; built: Record<string, unknown>; failed?: string };
  let said: string;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "lenet5-cuda-"));
    work = join(folder, "work");
    const words = line`--cpu --output ${join(folder, "kit")} -- --results ${folder} --work ${work} --no-measurements`;
    const run = await runNode([join(packageRoot, "scripts", "test-cuda.mjs"), ...words]);
    said = run.stderr;
    expect(run, said).toMatchObject({ status: 0 });
    results = JSON.parse(readFileSync(join(folder, "results.json"), "utf8"));
  }, 1_800_000);

  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test("is built and tested where there is neither Node nor a network", () => {
    expect(results.failed).toBeUndefined();
    expect(results.tests.fail).toBe(0);
    expect(results.tests.pass).toBeGreaterThan(20);
    expect(said).toContain("All passed.");
  });

  test("has its part for CUDA, linked to libtorch's, and a core that is not", () => {
    expect(results.built).toMatchObject({ cuda: true, cudaGraphs: true, libtorchVersion: libtorch!.version });
    const release = join(work, "build", "Release");
    expect(readElfDynamic(join(release, "lenet5_cuda.so"))).toMatchObject({
      needed: expect.arrayContaining(["libtorch_cuda.so"]),
      searchPath: [],
    });
    expect(readElfDynamic(join(release, "lenet5_core.so"))?.needed.filter((name) => /cuda/.test(name))).toEqual([]);
  });

  const env = () => ({ LENET5_BUILD_DIR: join(work, "build"), LIBTORCH: torch });

  test("opens CUDA's libraries without a driver, and trains and predicts", async () => {
    const module = pathToFileURL(join(packageRoot, "dist", "esm", "scripts.js")).href;
    const api = pathToFileURL(join(packageRoot, "dist", "esm", "lenet5-libtorch.js")).href;
    const script = `
      import { loadAddonWithDetails } from ${JSON.stringify(module)};
      import { LeNet5 } from ${JSON.stringify(api)};
      import { readFileSync } from "node:fs";
      const { skipped, exports } = loadAddonWithDetails();
      const maps = readFileSync("/proc/self/maps", "utf8");
      const images = Uint8Array.from({ length: 784 * 64 }, (_, i) => (i * 2654435761) >>> 24);
      const labels = Int32Array.from({ length: 64 }, (_, i) => i % 10);
      const model = new LeNet5({ seed: 1, engine: "libtorch" });
      const { epochs } = await model.fit({ images, labels }, { epochs: 2, batchSize: 16 });
      const { labels: answers } = await model.predict(images);
      console.log(JSON.stringify({ skipped, cuda: exports.cuda(), devices: exports.devices(), losses: epochs.map(({ loss }) => loss),
        answers: answers.length, device: model.device, opened: /libtorch_cuda\\.so/.test(maps) && /lenet5_cuda\\.so/.test(maps) }));`;
    const run = await runNode(["--input-type=module", "--eval", script], { env: env() });
    expect(run, run.stderr).toMatchObject({ status: 0 });
    const told = lastJson(run);
    expect(told).toMatchObject({ skipped: [], cuda: { graphs: true, replays: 0 }, answers: 64, opened: true });
    expect(told.losses.every(Number.isFinite)).toBe(true);
    if (nvidiaDriver() !== undefined) return;
    expect(told).toMatchObject({ devices: ["cpu"], device: "cpu", cuda: { problem: expect.any(String) } });
    // Without the environment's device, the doctor says what there is not.
    const { checks } = lastJson(await lenet5(line`doctor --json`, { env: env() }));
    expect(checks).toContainEqual({
      name: "CUDA",
      status: "ok",
      found: "not used: this machine has no driver of NVIDIA's",
      fix: expect.stringContaining("NVIDIA's driver"),
    });
    expect(checks).toContainEqual(
      expect.objectContaining({ name: "libtorch (LIBTORCH)", found: expect.stringContaining("with CUDA") }),
    );
  });

  test("leaves alone a part for CUDA that an earlier build has left", async () => {
    const release = join(folder, "stale", "Release");
    cpSync(join(work, "build", "Release"), release, { recursive: true });
    const description = join(release, "lenet5_core.json");
    writeFileSync(description, readFileSync(description, "utf8").replace('"cudaGraphs": true', '"cudaGraphs": false'));
    const module = pathToFileURL(join(packageRoot, "dist", "esm", "scripts.js")).href;
    const script = `
      import { loadAddonWithDetails } from ${JSON.stringify(module)};
      const { skipped, exports } = loadAddonWithDetails();
      console.log(JSON.stringify({ skipped, graphs: exports.cuda().graphs }));`;
    const run = await runNode(["--input-type=module", "--eval", script], {
      env: { ...env(), LENET5_BUILD_DIR: join(folder, "stale") },
    });
    expect(run, run.stderr).toMatchObject({ status: 0 });
    expect(lastJson(run)).toEqual({ skipped: [], graphs: false });
  });

  test("refuses the device by name where there is none", async () => {
    if (nvidiaDriver() !== undefined) return;
    const run = await lenet5(line`train --data synthetic --device cuda --output ${join(work, "x.pt")} --json`, {
      env: env(),
    });
    expect(lastJson(run).error).toMatchObject({ code: "LENET5_DEVICE_UNAVAILABLE" });
    expect(existsSync(join(work, "x.pt"))).toBe(false);
  });
});
