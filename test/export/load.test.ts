// Ways back in: what PyTorch saved, and what the exporters wrote, loaded as a LeNet-5.
import { readFileSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { exportSafetensors, LeNet5, readSafetensors, safetensorsBytes } from "../../lib/index.js";
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

describe("class names and normalisation", () => {
  const file = (name: string): string => path.join(import.meta.dirname, "..", "fixtures", "state-dicts", name);
  const normalization = { mean: 0.25, std: 0.5 };
  const classNames = [..."abcdefghij"];

  it.each(["lenet5.torchscript.pt", "lenet5.safetensors"])(
    "of %s, which Python wrote, are the caller's",
    async (name) => {
      using silent = await LeNet5.load(file(name), { device: "cpu" });
      expect(silent.normalization).toEqual({ mean: 0.1307, std: 0.3081 });
      expect(silent.classNames).toEqual([..."0123456789"]);
      using told = await LeNet5.load(file(name), { device: "cpu", normalization, classNames });
      expect([told.normalization, told.classNames]).toEqual([normalization, classNames]);
      // It is not a label only: other pixels reach the first layer.
      const pixels = new Uint8Array(784).fill(100);
      expect(told.predictSync(pixels).probabilities).not.toEqual(silent.predictSync(pixels).probabilities);
    },
  );

  it("of a file that has its own are the file's, unless the caller gives others", async () => {
    using model = new LeNet5({ seed: 1, device: "cpu", normalization, classNames });
    const bytes = await model.toTorchScript();
    using same = await LeNet5.load(bytes, { device: "cpu" });
    expect([same.normalization, same.classNames]).toEqual([normalization, classNames]);
    const others = { normalization: { mean: 0.1, std: 0.2 }, classNames: [..."klmnopqrst"] };
    using other = await LeNet5.load(bytes, { device: "cpu", ...others });
    expect([other.normalization, other.classNames]).toEqual([others.normalization, others.classNames]);
    using half = await LeNet5.load(bytes, { device: "cpu", classNames: others.classNames });
    expect([half.normalization, half.classNames]).toEqual([normalization, others.classNames]);
  });

  it.each([
    { mean: 0, std: 1e-50 },
    { mean: 1e39, std: 1 },
    { mean: 1e30, std: 1e-30 },
  ])("that float32 cannot divide by are refused, by the options and in a file: %o", async (impossible) => {
    const refused = expect.objectContaining({ code: "LENET5_INVALID_OPTION" });
    expect(() => new LeNet5({ normalization: impossible })).toThrow(refused);
    await expect(LeNet5.load(file("lenet5.safetensors"), { normalization: impossible })).rejects.toEqual(refused);
    using model = new LeNet5({ seed: 1, device: "cpu" });
    const { tensors, metadata } = readSafetensors(await exportSafetensors(model));
    const [name, text] = Object.entries(metadata).find(([, value]) => value.includes("normalization"))!;
    const forged = JSON.stringify({ ...JSON.parse(text), normalization: impossible });
    const bytes = safetensorsBytes(tensors, { ...metadata, [name]: forged });
    await expect(LeNet5.load(bytes)).rejects.toMatchObject({ code: "LENET5_MODEL_CORRUPT" });
  });

  it("of a state dict are the caller's", () => {
    using model = new LeNet5({ seed: 1, device: "cpu" });
    using silent = LeNet5.fromStateDict(model.stateDict(), { device: "cpu" });
    expect([silent.normalization, silent.classNames]).toEqual([{ mean: 0.1307, std: 0.3081 }, [..."0123456789"]]);
    using told = LeNet5.fromStateDict(model.stateDict(), { device: "cpu", normalization, classNames });
    expect([told.normalization, told.classNames]).toEqual([normalization, classNames]);
    const pixels = new Uint8Array(784).fill(100);
    expect(told.predictSync(pixels).probabilities).not.toEqual(silent.predictSync(pixels).probabilities);
  });

  it("are those of the moment of the call", async () => {
    const given = { device: "cpu" as const, normalization: { ...normalization }, classNames: [...classNames] };
    const loading = LeNet5.load(file("lenet5.safetensors"), given);
    given.normalization.mean = 0.9;
    given.classNames.length = 0;
    using model = await loading;
    expect([model.normalization, model.classNames]).toEqual([normalization, classNames]);
  });
});

describe("LeNet5.load", () => {
  const safetensors = path.join(import.meta.dirname, "..", "fixtures", "state-dicts", "lenet5.safetensors");

  it("takes a file: URL, bytes of any kind and a Blob", async () => {
    const bytes = Uint8Array.from(await readFile(safetensors));
    using known = await LeNet5.load(safetensors, { device: "cpu" });
    for (const source of [pathToFileURL(safetensors), bytes, Buffer.from(bytes), bytes.buffer, new Blob([bytes])]) {
      using model = await LeNet5.load(source, { device: "cpu" });
      expect(model.stateDict()).toEqual(known.stateDict());
    }
  });

  it("reads the bytes of the moment of the call", async () => {
    const bytes = Uint8Array.from(await readFile(safetensors));
    const loading = LeNet5.load(bytes, { device: "cpu" });
    bytes.fill(0);
    using model = await loading;
    expect(model.numClasses).toBe(10);
  });

  it("is aborted", async () => {
    const controller = new AbortController();
    const loading = LeNet5.load(safetensors, { signal: controller.signal });
    controller.abort();
    await expect(loading).rejects.toMatchObject({ code: "LENET5_ABORTED" });
    await expect(LeNet5.load(safetensors, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: "LENET5_ABORTED",
    });
  });
});
