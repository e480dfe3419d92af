// Resident memory over many lives of a model, and of a training run. In processes of their own, on the built package.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LeNet5 } from "../../lib/index.js";
import { describeWithMnist } from "../mnist.js";

const entry = pathToFileURL(join(import.meta.dirname, "..", "..", "dist", "esm", "lenet5-libtorch.js")).href;
const folder = mkdtempSync(join(tmpdir(), "lenet5-memory-"));
const model = join(folder, "model.pt");
beforeAll(async () => {
  using fresh = new LeNet5({ seed: 1 });
  await fresh.save(model);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Runs a module's source, whose last line of output is JSON. */
function run<T>(source: string): T {
  const prelude = `import { LeNet5, ScriptModule, mnist, libtorchVersion } from ${JSON.stringify(entry)};
    const model = ${JSON.stringify(model)};
    const images = Uint8Array.from({ length: 784 * 64 }, (_, i) => (i * 2654435761) >>> 24);
    const resident = () => { gc(); return process.memoryUsage.rss() / 2 ** 20; };
    const settle = () => new Promise((resolve) => setTimeout(resolve, 20));`;
  const child = spawnSync(process.execPath, ["--expose-gc", "--input-type=module", "-e", prelude + source], {
    encoding: "utf8",
    timeout: 900_000,
  });
  expect(child.stderr).toBe("");
  expect(child.status).toBe(0);
  return JSON.parse(child.stdout.trim().split("\n").at(-1)!) as T;
}

describe("resident memory in MiB", () => {
  it.each(["fused", "libtorch"])("is flat over 1,000 cycles of load, predict, dispose (%s)", (engine) => {
    const seen = run<number[]>(`
      const seen = [];
      for (let i = 0; i <= 1000; i++) {
        const one = await LeNet5.load(model, { engine: "${engine}" });
        await one.predict(images);
        one.predictSync(images);
        one.dispose();
        if (i % 200 === 0) seen.push(resident());
      }
      console.log(JSON.stringify(seen));`);
    console.log(`${engine}: ${seen.map((mib) => mib.toFixed(1)).join(", ")} MiB`);
    // The first 200 cycles fill caches and pools.
    expect(seen.at(-1)! - seen[1]!).toBeLessThan(12);
  });

  it("is flat over 2,000 cycles of any TorchScript module", () => {
    const seen = run<number[]>(`
      const pixels = { data: Float32Array.from(images, (p) => p / 255), shape: [64, 1, 28, 28], dtype: "float32" };
      const seen = [];
      for (let i = 0; i <= 2000; i++) {
        const one = await ScriptModule.load(model);
        await one.forward(pixels);
        one.dispose();
        if (i % 200 === 0) seen.push(resident());
      }
      console.log(JSON.stringify(seen));`);
    console.log(`ScriptModule: ${seen.map((mib) => mib.toFixed(1)).join(", ")} MiB`);
    // libtorch and the allocator take longer to fill theirs, the most in the first thousand.
    expect(seen.at(-1)! - seen[5]!).toBeLessThan(12);
  });

  it("comes back from models that nobody disposed of", () => {
    const seen = run<number[]>(`
      const seen = [];
      for (let i = 0; i <= 1000; i++) {
        new LeNet5({ seed: i }).predictSync(images);
        if (i % 50 === 0) { gc(); await settle(); }
        if (i % 200 === 0) seen.push(resident());
      }
      console.log(JSON.stringify(seen));`);
    console.log(`without dispose: ${seen.map((mib) => mib.toFixed(1)).join(", ")} MiB`);
    expect(seen.at(-1)! - seen[1]!).toBeLessThan(50);
  });
});

describeWithMnist("training on MNIST", () => {
  it("stays under 400 MiB above an idle process that has loaded the addon", () => {
    const { idle, peak } = run<{ idle: number; peak: number }>(`
      libtorchVersion();
      const idle = resident();
      const { train, test } = await mnist.load();
      const one = new LeNet5({ seed: 1 });
      for await (const event of one.fit(train, { epochs: 1, validation: test }));
      console.log(JSON.stringify({ idle, peak: process.resourceUsage().maxRSS / 1024 }));`);
    console.log(`idle ${idle.toFixed(0)} MiB, at most ${peak.toFixed(0)} MiB`);
    expect(peak - idle).toBeLessThan(400);
  });
});
