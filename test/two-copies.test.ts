// A program that uses the package as an ES module may depend on one that requires it: both copies are in one process then,
// and what one of them made is handed to the other.
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { beforeAll, describe, expect, test } from "vitest";
import { packageRoot } from "#package-root";

const run = promisify(execFile);

const PROGRAM = `
  import { mkdtempSync, readFileSync, rmSync } from "node:fs";
  import { createRequire } from "node:module";
  import { tmpdir } from "node:os";
  import { join } from "node:path";
  import * as esm from "lenet5-libtorch";
  const cjs = createRequire(import.meta.url)("lenet5-libtorch");

  const folder = mkdtempSync(join(tmpdir(), "lenet5-copies-"));
  const errorOf = (call) => { try { call(); } catch (error) { return error; } };
  async function exchange(one, other) {
    const found = { different: one.LeNet5 !== other.LeNet5 };
    const handle = await one.TensorHandle.from({ data: new Float32Array(8).fill(1), shape: [2, 4], dtype: "float32" });
    const mlp = await other.ScriptModule.load("test/fixtures/script-modules/mlp.pt", { device: "cpu" });
    found.handle = (await mlp.forward(handle)).shape;
    handle.dispose();
    found.disposed = await mlp.forward(handle).catch((error) => error.code);
    const values = await other.ScriptModule.load("test/fixtures/script-modules/values.pt", { device: "cpu" });
    found.float = await values.call("kind", one.float(3));
    const error = errorOf(() => new one.LeNet5({ seed: -1 }));
    found.error = [other.isLeNet5Error(error), error instanceof other.LeNet5Error];
    const model = new one.LeNet5({ seed: 1, device: "cpu" });
    const path = join(folder, "lenet5.safetensors");
    await other.exportSafetensors(model, path);
    const again = await other.LeNet5.load(readFileSync(path), { device: "cpu" });
    const pixels = new Float32Array(784).fill(0.5);
    found.sameAnswers = String(again.predictSync(pixels).probabilities) === String(model.predictSync(pixels).probabilities);
    return found;
  }
  try {
    console.log(JSON.stringify([await exchange(esm, cjs), await exchange(cjs, esm)]));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }`;

describe.each(["made as an ES module, used as CommonJS", "made as CommonJS, used as an ES module"])("%s", (name) => {
  let found: Record<string, unknown>;
  beforeAll(async () => {
    const { stdout } = await run(process.execPath, ["--input-type=module", "--eval", PROGRAM], {
      cwd: packageRoot,
      timeout: 60_000,
    });
    found = JSON.parse(stdout)[name.startsWith("made as an ES") ? 0 : 1];
    expect(found.different).toBe(true);
  });

  test("a tensor handle is a tensor, until it is disposed of", () => {
    expect(found.handle).toEqual([2, 3]);
    expect(found.disposed).toBe("LENET5_DISPOSED");
  });

  test("float(3) stays a float", () => {
    expect(found.float).toBe("float");
  });

  test("an error is known by its code, although its class is another", () => {
    expect(found.error).toEqual([true, false]);
  });

  test("a model is exported, and gives the same answers", () => {
    expect(found.sameAnswers).toBe(true);
  });
});
