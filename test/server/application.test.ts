// One application, every protocol: the same digit, asked in each of them.
import sharp from "sharp";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { LeNet5 } from "../../lib/index.js";
import { cleanUp, emptyRepository, placeLeNet5, serve } from "./models.js";

let url: string;
let model: LeNet5;
const pixels = Uint8Array.from({ length: 784 }, (_, i) => (i % 28 > 8 && i % 28 < 12 ? 250 : 0));

beforeAll(async () => {
  const folder = await emptyRepository();
  model = await placeLeNet5(folder);
  ({ url } = await serve(folder));
});
afterAll(cleanUp);

test("Open Inference, TorchServe and TensorFlow Serving give the model's own answer", async () => {
  const { probabilities, labels } = model.predictSync(pixels);
  const logs = model.forwardSync(pixels).data;
  const png = await sharp(pixels, { raw: { width: 28, height: 28, channels: 1 } })
    .png()
    .toBuffer();

  const torchServe = await fetch(`${url}/predictions/digits`, { method: "POST", body: png });
  expect(torchServe.status).toBe(200);
  const told = (await torchServe.json()) as { label: string; probability: number; probabilities: number[] };
  expect(told.label).toBe(String(labels[0]));
  for (const [i, each] of told.probabilities.entries()) expect(each).toBeCloseTo(probabilities[i]!, 6);
  expect(told.probability).toBe(told.probabilities[labels[0]!]);

  const data = Array.from(pixels, (value) => value / 255);
  const inputs = [{ name: "input0", shape: [1, 1, 28, 28], datatype: "FP32", data }];
  const body = JSON.stringify({ inputs });
  const openInference = await fetch(`${url}/v2/models/digits/infer`, { method: "POST", body });
  const { outputs } = (await openInference.json()) as { outputs: { name: string; data: number[] }[] };
  expect(outputs.map(({ name }) => name)).toEqual(["output0", "probabilities", "label"]);
  for (const [i, each] of outputs[0]!.data.entries()) expect(each).toBeCloseTo(logs[i]!, 5);
  expect(outputs[2]!.data).toEqual([labels[0]]);

  const rows = Array.from({ length: 28 }, (_, y) => data.slice(28 * y, 28 * (y + 1)));
  const instances = JSON.stringify({ instances: [[rows]] });
  const tensorFlow = await fetch(`${url}/v1/models/digits:predict`, { method: "POST", body: instances });
  expect(tensorFlow.status).toBe(200);
  const { predictions } = (await tensorFlow.json()) as { predictions: number[][] };
  for (const [i, each] of predictions[0]!.entries()) expect(each).toBeCloseTo(logs[i]!, 5);
});
