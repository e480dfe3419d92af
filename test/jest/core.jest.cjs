// The package's core, from the built CommonJS copy, as somebody's own tests under Jest use it.
const { mkdtempSync, readFileSync, rmSync } = require("node:fs");
const { tmpdir } = require("node:os");
const { join } = require("node:path");
const sharp = require("sharp");
const {
  contactSheet,
  decodeDigit,
  exportOnnx,
  exportSafetensors,
  idx,
  isLeNet5Error,
  LeNet5,
  normalizationOf,
  readSafetensors,
  ScriptModule,
  splitDataset,
  syntheticDigits,
  TensorHandle,
} = require("../../dist/cjs/lenet5-libtorch.js");

const mlp = join(__dirname, "..", "fixtures", "script-modules", "mlp.pt");
/** @type {string} */
let folder;
let digits;
let model;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "lenet5-jest-"));
  digits = await syntheticDigits.generate({ count: 200, seed: 1 });
  model = new LeNet5({ seed: 1, device: "cpu" });
});
afterAll(() => {
  model.dispose();
  rmSync(folder, { recursive: true, force: true });
});

test("this realm has typed arrays of its own", () => {
  expect(new Float32Array(1) instanceof Object.getPrototypeOf(readFileSync(mlp)).constructor).toBe(false);
  expect(Float32Array).not.toBe(require("node:vm").runInThisContext("Float32Array"));
});

test("a model learns, measures and predicts", async () => {
  const { train, test: held } = splitDataset(digits, 0.2, 1);
  expect(normalizationOf(train).mean).toBeGreaterThan(0);
  const epochs = [];
  for await (const event of model.fit(train, { epochs: 2, validation: held })) {
    if (event.type === "epoch") epochs.push(event);
  }
  expect(epochs).toHaveLength(2);
  expect(epochs[1].loss).toBeLessThan(epochs[0].loss);
  expect((await model.evaluate(held)).count).toBe(held.count);
  const floats = Float32Array.from(held.images, (pixel) => pixel / 255);
  const { labels, probabilities } = await model.predict(floats);
  expect(labels).toHaveLength(held.count);
  expect(Array.from(model.predictSync(held.images).probabilities)[0]).toBeCloseTo(probabilities[0], 5);
  const tensor = { data: floats.slice(0, 784), shape: [1, 1, 28, 28], dtype: "float32" };
  expect((await model.forward(tensor)).shape).toEqual([1, 10]);
  expect((await model.gradients(floats, held.labels)).loss).toBeGreaterThan(0);
});

test("training is aborted by this realm's signal", async () => {
  const run = model.fit(digits, { epochs: 1000, signal: AbortSignal.abort() });
  await expect(run.next()).rejects.toMatchObject({ code: "LENET5_ABORTED" });
});

test("files are written, read and refused", async () => {
  const path = join(folder, "lenet5.pt");
  await model.save(path);
  const again = await LeNet5.load(path, { device: "cpu" });
  const known = Array.from(model.predictSync(digits.images).probabilities);
  expect(Array.from(again.predictSync(digits.images).probabilities)).toEqual(known);
  again.dispose();
  const fromBytes = await LeNet5.load(Uint8Array.from(readFileSync(path)), { device: "cpu" });
  fromBytes.dispose();
  await exportSafetensors(model, join(folder, "lenet5.safetensors"));
  const { tensors } = readSafetensors(readFileSync(join(folder, "lenet5.safetensors")));
  LeNet5.fromStateDict(tensors, { device: "cpu" }).dispose();
  await exportOnnx(model, join(folder, "lenet5.onnx"));
  await idx.writeDatasets(folder, { train: digits, test: digits });
  const refused = await LeNet5.load(join(folder, "absent.pt")).catch((error) => error);
  expect(isLeNet5Error(refused)).toBe(true);
});

test("image files are decoded and drawn", async () => {
  const raw = { width: 28, height: 28, channels: 1 };
  const png = await sharp(digits.images.subarray(0, 784), { raw }).png().toBuffer();
  expect(Array.from(await decodeDigit(png))).toEqual(Array.from(digits.images.subarray(0, 784)));
  expect((await model.predict([png, png])).count).toBe(2);
  expect((await contactSheet(digits)).length).toBeGreaterThan(1000);
});

test("a TorchScript module takes tensors, handles, Maps and numbers", async () => {
  const module = await ScriptModule.load(mlp, { device: "cpu" });
  const x = { data: new Float32Array(8), shape: [2, 4], dtype: "float32" };
  const y = await module.forward(x);
  const handle = await TensorHandle.from(x);
  expect(Array.from((await module.forward(handle)).data)).toEqual(Array.from(y.data));
  await expect(module.forward(new Map([["a", 1]]))).rejects.toMatchObject({ code: "LENET5_SCRIPT_ARGUMENTS" });
  handle.dispose();
  module.dispose();
});
