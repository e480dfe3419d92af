// What a module of any size costs: its weights once where it is loaded, next to nothing where it is looked into.
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import { packageRoot } from "#package-root";
import { runNode } from "../cli/lenet5.js";
import { python } from "../python.js";
import { fixture } from "./expected.js";

/** What a process of its own had in memory at most, in MiB, and what `action` gave. */
async function peakOf(action: string, file: string): Promise<{ peak: number; result: unknown }> {
  const script = `
    const { ScriptModule } = require(process.argv[1]);
    const file = process.argv[2];
    (async () => {
      const result = await (${action});
      console.log(JSON.stringify({ peak: process.resourceUsage().maxRSS / 1024, result }));
    })();`;
  const run = await runNode(["--eval", script, join(packageRoot, "dist", "cjs", "lenet5-libtorch.js"), file]);
  expect(run).toMatchObject({ status: 0 });
  return JSON.parse(run.stdout);
}

/** Makes a module with a tensor of so many mebibytes, loads it and looks into it. */
export async function largeModule(mebibytes: number): Promise<{ base: number; inspected: number; loaded: number }> {
  const folder = mkdtempSync(join(tmpdir(), "lenet5-large-"));
  try {
    const file = join(folder, "large.pt");
    const generator = join(packageRoot, "test", "fixtures", "generate_large_module.py");
    // By its path: TorchScript looks for the source of what it compiles.
    const program = 'import runpy, sys; del sys.argv[0]; runpy.run_path(sys.argv[0], run_name="__main__")';
    await python(program, [generator, String(mebibytes), file], { timeout: 600_000 });
    expect(statSync(file).size).toBeGreaterThan(mebibytes * 2 ** 20);
    const inspect = "ScriptModule.inspect(file).then((found) => found.parameters.map(({ shape }) => shape))";
    const base = await peakOf(inspect, fixture("mlp"));
    const inspected = await peakOf(inspect, file);
    expect(inspected.result).toEqual([[mebibytes * 256, 1024], [4]]);
    const last = mebibytes * 256 - 1;
    const forward = `ScriptModule.load(file, { device: "cpu" }).then((module) => module.forward(${last})).then(({ data }) => data[0])`;
    const loaded = await peakOf(forward, file);
    expect(loaded.result).toBe(4);
    return { base: base.peak, inspected: inspected.peak, loaded: loaded.peak };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
