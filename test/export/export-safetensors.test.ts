import { readFileSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { exportSafetensors } from "../../lib/export/export-safetensors.js";
import { readSafetensors, safetensorsBytes } from "../../lib/formats/safetensors.js";
import { stateDictFromSafetensors } from "../../lib/lenet5/state-dict-from-safetensors.js";
import { describeWithPython, python } from "../python.js";
import { fixtureModel } from "./fixture-model.js";

const fixtures = path.join(import.meta.dirname, "..", "fixtures", "state-dicts");
const fixture = (name: string): Buffer => readFileSync(path.join(fixtures, name));

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "lenet5-safetensors-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe("exportSafetensors", () => {
  it("reads what Python's package wrote: float32 exactly, float16 and bfloat16 converted", () => {
    const exact = stateDictFromSafetensors(fixture("lenet5.safetensors"));
    expect(exact.metadata).toBe(undefined);
    for (const [name, tolerance] of [
      ["lenet5-float16.safetensors", 2 ** -11],
      ["lenet5-bfloat16.safetensors", 2 ** -8],
    ] as const) {
      const { stateDict } = stateDictFromSafetensors(fixture(name));
      for (const [key, { data }] of Object.entries(exact.stateDict)) {
        const worst = Math.max(
          ...data.map((value, i) => Math.abs(stateDict[key]!.data[i]! - value) / (Math.abs(value) + 1e-4)),
        );
        expect(worst, `${name} ${key}`).toBeLessThan(tolerance);
        expect(worst, `${name} ${key}`).toBeGreaterThan(0);
      }
    }
  });

  it("refuses a safetensors file of something else as a LeNet-5", () => {
    expect(() => stateDictFromSafetensors(fixture("reference.safetensors"))).toThrow(
      expect.objectContaining({ code: "LENET5_MODEL_MISMATCH" }),
    );
  });

  it("takes no memory for classes that have no weights", () => {
    const { tensors } = readSafetensors(fixture("lenet5.safetensors"));
    tensors["output.weight"] = { data: new Float32Array(0), shape: [2 ** 40, 0], dtype: "float32" };
    expect(() => stateDictFromSafetensors(safetensorsBytes(tensors))).toThrow(
      expect.objectContaining({ code: "LENET5_MODEL_MISMATCH" }),
    );
  });

  it("exports atomically and keeps the previous file when the write fails", async () => {
    const target = path.join(folder, "model.safetensors");
    await exportSafetensors(fixtureModel({ classNames: [..."abcdefghij"] }), target);
    const { stateDict, metadata } = stateDictFromSafetensors(await readFile(target));
    expect(stateDict).toEqual(fixtureModel().stateDict());
    expect(metadata!.classNames.join("")).toBe("abcdefghij");
    expect(await readdir(folder)).toEqual(["model.safetensors"]);
    await writeFile(path.join(folder, "wall"), "");
    await expect(exportSafetensors(fixtureModel(), path.join(folder, "wall", "x"))).rejects.toMatchObject({
      code: "LENET5_FILE_WRITE_FAILED",
    });
  });
});

describeWithPython("exportSafetensors and Python", () => {
  it("is read by Python's package with the same values and metadata", async () => {
    const target = path.join(folder, "model.safetensors");
    await exportSafetensors(fixtureModel(), target);
    const answer = await python<{ metadata: Record<string, string>; sums: Record<string, number>; order: string[] }>(
      `
import json, sys
from safetensors import safe_open
with safe_open(sys.argv[1], framework="pt") as file:
    names = sorted(file.keys())
    reference = safe_open(sys.argv[2], framework="pt")
    equal = all(file.get_tensor(name).equal(reference.get_tensor(name)) for name in names)
    print(json.dumps({"metadata": file.metadata(), "names": names, "equal": equal}))
`,
      [target, path.join(fixtures, "lenet5.safetensors")],
    );
    expect(answer).toMatchObject({ equal: true, names: Object.keys(fixtureModel().stateDict()).sort() });
    expect(answer.metadata.format).toBe("pt");
    expect(JSON.parse(answer.metadata["lenet5.json"]!)).toMatchObject({ normalization: { mean: 0.1307, std: 0.3081 } });
  });
});
