import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import * as ort from "onnxruntime-node";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { exportOnnx, onnxBytes, readOnnx } from "../../lib/export/onnx.js";
import { decodeOnnx, encodeOnnx } from "../../lib/export/onnx-schema.js";
import { describeWithPython, python } from "../python.js";
import { fixtureModel, reference } from "./fixture-model.js";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "lenet5-onnx-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** Largest absolute difference. */
const difference = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  expect(a.length).toBe(b.length);
  return Math.max(...Array.from(a, (value, i) => Math.abs(value - b[i]!)));
};

const outcome = (bytes: Uint8Array): unknown => {
  try {
    return readOnnx(bytes, "x.onnx");
  } catch (error) {
    return error;
  }
};

describe("exportOnnx", () => {
  it("writes a model that onnxruntime-node runs to PyTorch's answers, at any batch size", async () => {
    const target = path.join(folder, "model.onnx");
    await exportOnnx(fixtureModel(), target);
    expect(await readdir(folder)).toEqual(["model.onnx"]);
    const session = await ort.InferenceSession.create(target);
    const { pixels, logProbabilities } = reference();
    for (const count of [4, 1, 3]) {
      const input = new ort.Tensor("float32", pixels.slice(0, count * 784), [count, 1, 28, 28]);
      const { log_probabilities: output } = await session.run({ input });
      expect(output!.dims).toEqual([count, 10]);
      expect(difference(output!.data as Float32Array, logProbabilities.slice(0, count * 10))).toBeLessThan(1e-5);
    }
    await session.release();
  });

  it("carries names, normalisation and the state dict's own numbers", () => {
    const model = fixtureModel({ classNames: [..."abcdefghij"], normalization: { mean: 0.25, std: 0.5 } });
    const bytes = onnxBytes(model.stateDict(), model);
    expect(readOnnx(bytes)).toEqual({
      stateDict: model.stateDict(),
      metadata: { classNames: [..."abcdefghij"], normalization: { mean: 0.25, std: 0.5 } },
    });
    expect(decodeOnnx(bytes)).toMatchObject({
      irVersion: 8,
      opsetImport: [{ version: 17 }],
      producerName: "lenet5-libtorch",
    });
  });

  it("refuses a state dict that is not LeNet-5's", () => {
    const { "c3.bias": _, ...rest } = fixtureModel().stateDict();
    expect(() => onnxBytes(rest, fixtureModel())).toThrow(expect.objectContaining({ code: "LENET5_MODEL_MISMATCH" }));
  });

  it("keeps the previous file when a model changes while it is written", async () => {
    const target = path.join(folder, "model.onnx");
    await writeFile(target, "previous");
    const changing = structuredClone(fixtureModel().stateDict());
    const model = fixtureModel({ stateDict: () => changing });
    const writing = exportOnnx(model, target);
    changing["c1.bias"]!.data[0] = 42;
    await expect(writing).rejects.toMatchObject({ code: "LENET5_EXPORT_UNVERIFIED" });
    expect(await readFile(target, "utf8")).toBe("previous");
    expect(await readdir(folder)).toEqual(["model.onnx"]);
  });
});

describe("readOnnx", () => {
  const bytes = onnxBytes(fixtureModel().stateDict(), fixtureModel());
  const edited = (edit: (model: ReturnType<typeof decodeOnnx>) => void): Uint8Array => {
    const model = decodeOnnx(bytes);
    edit(model);
    return encodeOnnx(model);
  };

  it.each<[string, Uint8Array, string]>([
    ["an empty file", new Uint8Array(0), "MODEL_CORRUPT"],
    ["text", Buffer.from("<html></html>"), "MODEL_CORRUPT"],
    ["half a file", bytes.subarray(0, bytes.length >> 1), "MODEL_CORRUPT"],
    ["another graph", edited((model) => model.graph.node.pop()), "MODEL_MISMATCH"],
    ["a missing tensor", edited((model) => model.graph.initializer.pop()), "MODEL_MISMATCH"],
    ["no metadata", edited((model) => model.metadataProps.pop()), "MODEL_MISMATCH"],
    [
      "2^40 classes without a weight",
      edited((model) => {
        const weight = model.graph.initializer.find(({ name }) => name === "output.weight")!;
        weight.dims = [2 ** 40, 0];
        weight.rawData = new Uint8Array(0);
      }),
      "MODEL_CORRUPT",
    ],
    [
      "a shape that differs from its bytes",
      edited((model) => {
        model.graph.initializer.at(-1)!.dims = [11];
      }),
      "MODEL_CORRUPT",
    ],
    [
      "another mean than its metadata says",
      edited((model) => {
        model.graph.initializer.find(({ name }) => name === "mean")!.rawData = new Uint8Array(4);
      }),
      "MODEL_MISMATCH",
    ],
    [
      "other padding",
      edited((model) => {
        model.graph.initializer.find(({ name }) => name === "padding")!.rawData = new Uint8Array(64);
      }),
      "MODEL_MISMATCH",
    ],
  ])("refuses %s", (_, damaged, code) => {
    expect(outcome(damaged)).toMatchObject({ code: `LENET5_${code}` });
  });
});

describeWithPython("ONNX and Python", () => {
  it("passes onnx.checker with full shape inference, and onnxruntime gives PyTorch's answers", async () => {
    const target = path.join(folder, "model.onnx");
    await exportOnnx(fixtureModel(), target);
    const answer = await python<Record<string, unknown>>(
      `
import json, sys
import onnx, onnxruntime
from safetensors.numpy import load_file
model = onnx.load(sys.argv[1])
onnx.checker.check_model(model, full_check=True)
reference = load_file(sys.argv[2])
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
[output] = session.run(None, {"input": reference["pixels"]})
[one] = session.run(None, {"input": reference["pixels"][:1]})
print(json.dumps({
    "input": [session.get_inputs()[0].name, session.get_inputs()[0].shape],
    "output": [session.get_outputs()[0].name, session.get_outputs()[0].shape],
    "worst": float(abs(output - reference["log_probabilities"]).max()),
    "worst_of_one": float(abs(one - reference["log_probabilities"][:1]).max()),
    "metadata": json.loads(session.get_modelmeta().custom_metadata_map["lenet5.json"]),
}))
`,
      [target, path.join(import.meta.dirname, "..", "fixtures", "state-dicts", "reference.safetensors")],
    );
    expect(answer).toMatchObject({
      input: ["input", ["batch", 1, 28, 28]],
      output: ["log_probabilities", ["batch", 10]],
      metadata: { normalization: { mean: 0.1307, std: 0.3081 } },
    });
    expect(answer.worst).toBeLessThan(1e-5);
    expect(answer.worst_of_one).toBeLessThan(1e-5);
  });
});
