// Ways back in: what PyTorch saved, and what the exporters wrote, loaded as a LeNet-5.
import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { exportSafetensors, LeNet5, safetensorsBytes } from "../../lib/index.js";
import { fixtureModel, reference } from "./fixture-model.js";

const fixtures = path.join(import.meta.dirname, "..", "fixtures", "state-dicts");

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "lenet5-load-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function worst(model: LeNet5): Promise<number> {
  const { pixels, logProbabilities } = reference();
  const { data } = await model.forward(pixels);
  return Math.max(...data.map((value, i) => Math.abs(value - logProbabilities[i]!)));
}

it.each([
  ["lenet5.torchscript.pt", 1e-5],
  ["lenet5.safetensors", 1e-5],
  ["lenet5-float16.safetensors", 1e-3],
  ["lenet5-bfloat16.safetensors", 1e-2],
])("loads %s that PyTorch saved and gives PyTorch's answers", async (name, tolerance) => {
  for (const source of [path.join(fixtures, name), readFileSync(path.join(fixtures, name))]) {
    using model = await LeNet5.load(source, { device: "cpu" });
    expect(await worst(model)).toBeLessThan(tolerance);
    expect(model.normalization).toEqual({ mean: 0.1307, std: 0.3081 });
  }
});

it("loads float64 weights", async () => {
  const state = Object.entries(fixtureModel().stateDict()).map(([name, { data, shape }]) => {
    return [name, { data: Float64Array.from(data), shape, dtype: "float64" as const }] as const;
  });
  using model = await LeNet5.load(safetensorsBytes(Object.fromEntries(state)), { device: "cpu" });
  expect(await worst(model)).toBeLessThan(1e-5);
});

it("gives back weights, class names and normalisation through TorchScript and safetensors, bit for bit", async () => {
  const classNames = [..."abcdefghijkl"];
  using model = new LeNet5({
    numClasses: 12,
    seed: 3,
    device: "cpu",
    classNames,
    normalization: { mean: 0.25, std: 0.5 },
  });
  await model.save(path.join(folder, "model.pt"));
  await exportSafetensors(model, path.join(folder, "model.safetensors"));
  for (const name of ["model.pt", "model.safetensors"]) {
    using loaded = await LeNet5.load(path.join(folder, name), { device: "cpu" });
    expect(loaded.stateDict()).toEqual(model.stateDict());
    expect(loaded.classNames).toEqual(classNames);
    expect(loaded.normalization).toEqual({ mean: 0.25, std: 0.5 });
  }
});

it.each<[string, Uint8Array, string]>([
  ["nothing", new Uint8Array(0), "MODEL_CORRUPT"],
  ["text", Buffer.from("<html>not found</html>"), "MODEL_CORRUPT"],
  ["a pickle of torch.save", readFileSync(path.join(fixtures, "torch-save.pth")), "MODEL_CORRUPT"],
  [
    "half of a TorchScript file",
    readFileSync(path.join(fixtures, "lenet5.torchscript.pt")).subarray(0, 99_999),
    "MODEL_CORRUPT",
  ],
  [
    "half of a safetensors file",
    readFileSync(path.join(fixtures, "lenet5.safetensors")).subarray(0, 99_999),
    "MODEL_CORRUPT",
  ],
  ["safetensors of something else", readFileSync(path.join(fixtures, "reference.safetensors")), "MODEL_MISMATCH"],
])("refuses %s, by contents and by path", async (_, bytes, code) => {
  const file = path.join(folder, "x.pt");
  await writeFile(file, bytes);
  await expect(LeNet5.load(bytes)).rejects.toMatchObject({ code: `LENET5_${code}` });
  await expect(LeNet5.load(file)).rejects.toMatchObject({
    code: `LENET5_${code}`,
    message: expect.stringContaining(file),
  });
});
