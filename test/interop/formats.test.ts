// What LeNet-5 learns here, asked elsewhere: PyTorch, ONNX Runtime in Python and in Node, safetensors.
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import Table from "cli-table3";
import * as ort from "onnxruntime-node";
import { afterAll, beforeAll, expect, it } from "vitest";
import { safetensorsBytes } from "../../lib/formats/safetensors.js";
import { type Dataset, decodeDigit, exportOnnx, exportSafetensors, LeNet5 } from "../../lib/index.js";
import { digitsName } from "../mnist.js";
import { describeWithPython, python } from "../python.js";
import { tenDigits, trainedModel } from "./trained-model.js";

const DIGITS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];

describeWithPython("one trained model in every format", () => {
  let folder: string;
  let model: LeNet5;
  let test: Dataset;
  let digits: string[];
  const file = (name: string): string => path.join(folder, name);

  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), "lenet5-interop-"));
    ({ model, test } = await trainedModel());
    digits = await tenDigits(test, file("digits"));
    await model.save(file("model.pt"));
    await exportOnnx(model, file("model.onnx"));
    await exportSafetensors(model, file("model.safetensors"));
  }, 120_000);
  afterAll(async () => {
    model?.dispose();
    await rm(folder, { recursive: true, force: true });
  });

  /** Asks a Python program for the log-probabilities of all test images; it finds `pixels` [10000, 1, 28, 28]. */
  const inPython = (answer: string): Promise<{ shape: number[]; out: string }> =>
    python(
      `
import json, sys
import numpy
from safetensors.numpy import load_file
folder, out = sys.argv[1:3]
pixels = load_file(f"{folder}/test.safetensors")["pixels"].astype(numpy.float32) / 255
${answer}
assert result.dtype == numpy.float32
result.tofile(out)
print(json.dumps({"shape": list(result.shape), "out": out}))
`,
      [folder, file("answer.bin")],
    );

  /** Largest differences to what Python has just answered: of log-probabilities x, of x over max(1, |x|), of e^x. */
  async function difference(ours: Float32Array): Promise<{ absolute: number; scaled: number; probability: number }> {
    const theirs = new Float32Array(new Uint8Array(await readFile(file("answer.bin"))).buffer);
    expect(theirs.length).toBe(ours.length);
    const worst = { absolute: 0, scaled: 0, probability: 0 };
    for (let i = 0; i < theirs.length; i++) {
      const absolute = Math.abs(theirs[i]! - ours[i]!);
      worst.absolute = Math.max(worst.absolute, absolute);
      worst.scaled = Math.max(worst.scaled, absolute / Math.max(1, Math.abs(theirs[i]!)));
      worst.probability = Math.max(worst.probability, Math.abs(Math.exp(theirs[i]!) - Math.exp(ours[i]!)));
    }
    return worst;
  }

  it("gives the same log-probabilities in torch.jit.load and ONNX Runtime for every test image", async () => {
    const tensor = { data: test.images, shape: [test.count, 1, 28, 28], dtype: "uint8" as const };
    await writeFile(file("test.safetensors"), safetensorsBytes({ pixels: tensor }));
    const { data: ours } = await model.forward(test.images);
    expect((await model.evaluate(test)).accuracy).toBeGreaterThan(digitsName === "MNIST" ? 0.98 : 0.97);

    const torch = await inPython(`
import torch
module = torch.jit.load(f"{folder}/model.pt")
assert callable(module.forward)
with torch.inference_mode():
    result = module(torch.from_numpy(pixels)).numpy()`);
    expect(torch.shape).toEqual([test.count, 10]);
    const inTorch = await difference(ours);
    using reference = await LeNet5.load(file("model.pt"), { engine: "libtorch" });
    const onLibtorch = await difference((await reference.forward(test.images)).data);
    expect(onLibtorch.absolute).toBeLessThan(1e-5);

    await inPython(`
import onnx, onnxruntime
onnx.checker.check_model(onnx.load(f"{folder}/model.onnx"), full_check=True)
session = onnxruntime.InferenceSession(f"{folder}/model.onnx", providers=["CPUExecutionProvider"])
[result] = session.run(["log_probabilities"], {"input": pixels})`);
    const inOnnx = await difference(ours);

    await inPython(`
import torch
from safetensors.torch import load_file as load_torch
from torch.nn import functional
w = load_torch(f"{folder}/model.safetensors")
meta = json.loads(__import__("safetensors").safe_open(f"{folder}/model.safetensors", "pt").metadata()["lenet5.json"])
x = functional.pad(torch.from_numpy(pixels), (2, 2, 2, 2))
x = (x - meta["normalization"]["mean"]) / meta["normalization"]["std"]
x = functional.max_pool2d(functional.conv2d(x, w["c1.weight"], w["c1.bias"]).relu(), 2)
x = functional.max_pool2d(functional.conv2d(x, w["c3.weight"], w["c3.bias"]).relu(), 2)
x = functional.conv2d(x, w["c5.weight"], w["c5.bias"]).relu().flatten(1)
x = functional.linear(x, w["f6.weight"], w["f6.bias"]).relu()
result = functional.log_softmax(functional.linear(x, w["output.weight"], w["output.bias"]), 1).numpy()`);
    const onState = await difference(ours);
    const table = new Table({
      head: ["differences over 100,000 answers", "log-probability", "÷ max(1, |it|)", "probability"],
      style: { head: [], border: [] },
    });
    // Log-probabilities reach -50, where neighbouring float32 numbers lie 4e-6 apart and PyTorch's own answers are 1e-5
    // from the exact ones: there the bound of 1e-5 is one of relative error.
    for (const [who, worst] of Object.entries({
      "torch.jit.load, libtorch engine here": onLibtorch,
      "torch.jit.load": inTorch,
      onnxruntime: inOnnx,
      "PyTorch, state dict": onState,
    })) {
      table.push([who, ...Object.values(worst).map((value) => value.toExponential(1))]);
      expect(worst.scaled, who).toBeLessThan(1e-5);
      expect(worst.probability, who).toBeLessThan(1e-5);
    }
    console.log(table.toString());
  });

  it("names the ten digits alike in PyTorch, ONNX Runtime (Python and Node) and here", async () => {
    const theirs = await python<{ torch: number[]; onnx: number[] }>(
      `
import json, sys
import numpy, onnxruntime, torch
from PIL import Image
folder = sys.argv[1]
images = [numpy.asarray(Image.open(f"{folder}/digits/{digit}.png").convert("L"), numpy.float32) for digit in range(10)]
pixels = numpy.stack(images)[:, None] / numpy.float32(255)
with torch.inference_mode():
    torch_labels = torch.jit.load(f"{folder}/model.pt")(torch.from_numpy(pixels)).argmax(1).tolist()
[output] = onnxruntime.InferenceSession(f"{folder}/model.onnx", providers=["CPUExecutionProvider"]).run(None, {"input": pixels})
print(json.dumps({"torch": torch_labels, "onnx": output.argmax(1).tolist()}))
`,
      [folder],
    );
    const pixels = new Float32Array(10 * 784);
    for (const [i, png] of digits.entries()) pixels.set((await decodeDigit(png)).map(Number), i * 784);
    const session = await ort.InferenceSession.create(file("model.onnx"));
    const input = new ort.Tensor(
      "float32",
      pixels.map((value) => value / 255),
      [10, 1, 28, 28],
    );
    const scores = (await session.run({ input })).log_probabilities!.data as Float32Array;
    await session.release();
    const answers: [string, number[]][] = [
      ["Python torch.jit.load (.pt)", theirs.torch],
      ["Python onnxruntime (.onnx)", theirs.onnx],
      ["onnxruntime-node (.onnx)", DIGITS.map((i) => argmax(scores.subarray(i * 10, i * 10 + 10)))],
      ["predict, the trained model", [...(await model.predict(digits)).labels]],
    ];
    for (const name of ["model.pt", "model.safetensors"]) {
      using loaded = await LeNet5.load(file(name), { device: "cpu" });
      answers.push([`predict, LeNet5.load (${path.extname(name)})`, [...(await loaded.predict(digits)).labels]]);
    }
    const table = new Table({ head: ["the digit", ...DIGITS.map(String)], style: { head: [], border: [] } });
    for (const [who, labels] of answers) table.push([who, ...labels]);
    console.log(table.toString());
    for (const [who, labels] of answers) expect(labels, who).toEqual(DIGITS);
  });
});

function argmax(values: Float32Array): number {
  return values.indexOf(Math.max(...values));
}
