// Every public function, given anything at all in place of each of its arguments and options: what comes back is an answer
// or an error of this package, never a raw TypeError or RangeError, and nothing hangs.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { packageRoot } from "#package-root";
import * as api from "../lib/index.js";
import { isLeNet5Error } from "../lib/index.js";

// Callers without types may hand over anything; so does this file.
// biome-ignore lint/suspicious/noExplicitAny: that is what it is about
type Any = any;

const HOSTILE: [name: string, value: unknown][] = [
  ["null", null],
  ["true", true],
  ["NaN", Number.NaN],
  ["-1", -1],
  ["0.5", 0.5],
  ["Infinity", Number.POSITIVE_INFINITY],
  ["7n", 7n],
  ["an empty text", ""],
  ['"toString"', "toString"],
  ['"__proto__"', "__proto__"],
  ["a text with a zero", "a\0b"],
  ["a symbol", Symbol("s")],
  ["[]", []],
  ["[null]", [null]],
  ["{}", {}],
  ["an object without a prototype", Object.create(null)],
  ["an array of arrays", [[1], [2]]],
  ["a function", () => 1],
  ["a Date", new Date(0)],
  ["an empty Uint8Array", new Uint8Array(0)],
  ["a Uint16Array", new Uint16Array(784)],
  ["a DataView", new DataView(new ArrayBuffer(784))],
  ["an object without a class name", Object.create({ constructor: { name: Symbol("s") } })],
  ["a tensor of nulls", { data: null, shape: null, dtype: null }],
  ["a tensor of names", { data: new Float32Array(1), shape: [1], dtype: "toString" }],
  ["a misspelt option", { toString: 1, opt: 2 }],
];

const folder = mkdtempSync(join(tmpdir(), "lenet5-hostile-"));
const model = new api.LeNet5({ seed: 1, device: "cpu" });
const pixels = new Uint8Array(784).fill(9);
const labels = Int32Array.of(3);
const names = [..."0123456789"];
const dataset = { images: pixels, labels, count: 1, height: 28, width: 28, classNames: names } as const;
const bytes = await model.toTorchScript();
const mlp = await api.ScriptModule.load(join(packageRoot, "test/fixtures/script-modules/mlp.pt"), { device: "cpu" });
const x = { data: new Float32Array(8), shape: [2, 4], dtype: "float32" } as const;
const handle = await api.TensorHandle.from(x);
afterAll(() => {
  model.dispose();
  mlp.dispose();
  handle.dispose();
  rmSync(folder, { recursive: true, force: true });
});

const path = (name: string): string => join(folder, name);
const { CompiledModule, LeNet5, ScriptModule, TensorHandle } = api as Any;
const m = model as Any;
const s = mlp as Any;
const train = async (data: Any, options?: Any): Promise<void> => {
  for await (const _ of m.fit(data, options));
};
/** One call an option, with the others left alone. */
const options = (call: (options: Any) => unknown, ...known: string[]): ((value: unknown) => unknown)[] =>
  known.map((name) => (value) => call({ [name]: value }));

/** By function: each argument in turn, then each option. */
const CALLS: Record<string, ((value: Any) => unknown)[]> = {
  "new LeNet5": [
    (v) => new LeNet5(v),
    ...options((o) => new LeNet5({ device: "cpu", ...o }), "numClasses", "seed", "classNames", "normalization"),
    ...options((o) => new LeNet5(o), "device", "engine", "instructionSet"),
    (v) => new LeNet5({ normalization: { mean: v, std: v } }),
  ],
  "LeNet5.load": [
    (v) => LeNet5.load(v),
    (v) => LeNet5.load(bytes, v),
    ...options((o) => LeNet5.load(bytes, o), "device", "engine", "instructionSet"),
  ],
  "LeNet5.fromStateDict": [
    (v) => LeNet5.fromStateDict(v),
    (v) => LeNet5.fromStateDict({ "output.weight": v }),
    (v) => LeNet5.fromStateDict({ ...model.stateDict(), "c1.bias": v }),
    (v) => LeNet5.fromStateDict({ ...model.stateDict(), "output.weight": { data: v, shape: v, dtype: v } }),
    (v) => LeNet5.fromStateDict(model.stateDict(), v),
    ...options((o) => LeNet5.fromStateDict(model.stateDict(), o), "classNames", "normalization", "seed"),
  ],
  fit: [
    (v) => train(v),
    (v) => train({ images: v, labels }),
    (v) => train({ images: pixels, labels: v }),
    (v) => train({ images: pixels, labels, height: v }),
    (v) => train({ images: pixels, labels, classNames: v }),
    (v) => train(dataset, v),
    ..."epochs batchSize learningRate betas epsilon weightDecay schedule seed validation signal resume progressInterval"
      .split(" ")
      .map((name) => (v: unknown) => train(dataset, { epochs: 1, [name]: v === Number.POSITIVE_INFINITY ? -1 : v })),
    (v) => train(dataset, { checkpointDirectory: typeof v === "string" ? "" : v }),
    (v) => train(dataset, { betas: [v, v] }),
  ],
  evaluate: [(v) => m.evaluate(v), (v) => m.evaluate(dataset, v), (v) => m.evaluate(dataset, { batchSize: v })],
  predict: [(v) => m.predict(v), (v) => m.predict([v]), (v) => m.predict({ data: v, shape: [1, 784], dtype: "uint8" })],
  predictSync: [
    (v) => m.predictSync(v),
    (v) => m.predictSync(pixels, v),
    (v) => m.predictSync(pixels, { output: v }),
    (v) => m.predictSync({ data: pixels, shape: v, dtype: "uint8" }),
    (v) => m.predictSync({ data: pixels, shape: [v, v], dtype: "uint8" }),
  ],
  forward: [(v) => m.forward(v)],
  forwardSync: [(v) => m.forwardSync(v), (v) => m.forwardSync(pixels, v), (v) => m.forwardSync(pixels, { output: v })],
  gradients: [(v) => m.gradients(v, labels), (v) => m.gradients(pixels, v)],
  loadStateDict: [(v) => m.loadStateDict(v), (v) => m.loadStateDict({ ...model.stateDict(), "f6.bias": v })],
  save: [(v) => m.save(typeof v === "string" && v !== "" && !v.includes("\0") ? path(v) : v)],
  "ScriptModule.load": [
    (v) => ScriptModule.load(v),
    (v) => ScriptModule.load(join(packageRoot, "test/fixtures/script-modules/mlp.pt"), v),
    ...options(
      (o) => ScriptModule.load(join(packageRoot, "test/fixtures/script-modules/mlp.pt"), o),
      "device",
      "maxQueue",
      "concurrency",
    ),
  ],
  "CompiledModule.load": [
    (v) => CompiledModule.load(v),
    (v) => CompiledModule.load(join(packageRoot, "test/fixtures/script-modules/mlp.pt"), v),
    ...options(
      (o) => CompiledModule.load(join(packageRoot, "test/fixtures/script-modules/mlp.pt"), o),
      "model",
      "device",
      "maxQueue",
      "concurrency",
      "operators",
      "signal",
    ),
  ],
  "CompiledModule.inspect": [
    (v) => CompiledModule.inspect(v),
    (v) => CompiledModule.inspect(join(packageRoot, "test/fixtures/script-modules/mlp.pt"), v),
  ],
  run: [
    (v) => s.run(v),
    (v) => s.run("forward", v),
    (v) => s.run("forward", [v]),
    (v) => s.run("forward", [x], v),
    ...options((o) => s.run("forward", [x], o), "keywords", "signal", "keep", "integers"),
    (v) => s.run("forward", [], { keywords: { x: v } }),
    (v) => s.forward({ ...x, shape: v }),
    (v) => s.forward({ ...x, dtype: v }),
    (v) => s.forward({ ...x, data: v }),
    (v) => s.forward(new Map([[v, v]])),
  ],
  "call and forward": [(v) => s.call(v), (v) => s.forward(v), (v) => s.call("forward", v)],
  warmUp: [
    (v) => s.warmUp(v),
    (v) => s.warmUp([x], v),
    (v) => s.warmUp([x], { method: v }),
    (v) => s.warmUp([x], { runs: v }),
  ],
  "to, parameters, buffers": [
    (v) => s.to(v),
    (v) => s.parameters(v),
    (v) => s.parameters({ keep: v }),
    (v) => s.buffers(v),
  ],
  "TensorHandle.from": [
    (v) => TensorHandle.from(v),
    (v) => TensorHandle.from(x, v),
    (v) => TensorHandle.from(x, { device: v }),
    (v) => TensorHandle.from({ ...x, data: v }),
  ],
  "float, emitTypes, formatInspection": [
    (v) => (api.float as Any)(v),
    (v) => (api.emitTypes as Any)(v, "Name"),
    (v) => (api.emitTypes as Any)(mlp.inspect(), v),
    (v) => (api.formatInspection as Any)(v),
  ],
  "exportOnnx, exportSafetensors, exportModelArchive": [
    ...[api.exportOnnx, api.exportSafetensors, api.exportModelArchive].flatMap((call: Any, i) => [
      (v: Any) => call(v, path(`out-${i}`)),
      (v: Any) => call({ stateDict: v, toTorchScript: v, classNames: [], normalization: {} }, path(`out-${i}`)),
      (v: Any) => call(model, typeof v === "string" && v !== "" && !v.includes("\0") ? path(v) : v),
    ]),
    (v) => (api.exportModelArchive as Any)(model, path("out.mar"), v),
    (v) => (api.exportModelArchive as Any)(model, path("out.mar"), { modelName: v, version: v }),
  ],
  "readSafetensors, safetensorsBytes": [
    (v) => (api.readSafetensors as Any)(v),
    (v) => (api.safetensorsBytes as Any)(v),
    (v) => (api.safetensorsBytes as Any)({ a: v }),
    (v) => (api.safetensorsBytes as Any)({}, v),
    (v) => (api.safetensorsBytes as Any)({}, { a: v }),
  ],
  decodeDigit: [(v) => (api.decodeDigit as Any)(v)],
  decodeDigitSync: [(v) => (api.decodeDigitSync as Any)(v)],
  decodeDigits: [
    (v) => (api.decodeDigits as Any)(v),
    (v) => (api.decodeDigits as Any)([v]),
    (v) => (api.decodeDigits as Any)([], v),
    ...options((o) => (api.decodeDigits as Any)([], o), "concurrency", "onProgress", "onUnreadable", "signal"),
  ],
  contactSheet: [
    (v) => (api.contactSheet as Any)(v),
    (v) => (api.contactSheet as Any)(dataset, v),
    (v) => (api.contactSheet as Any)(dataset, { predictions: v }),
    (v) => (api.contactSheet as Any)(dataset, { columns: v }),
  ],
  "normalizationOf, splitDataset, subsetOf": [
    (v) => (api.normalizationOf as Any)(v),
    (v) => (api.splitDataset as Any)(v, 0.5),
    (v) => (api.splitDataset as Any)(dataset, v),
    (v) => (api.splitDataset as Any)(dataset, 0.5, v),
    (v) => (api.subsetOf as Any)(v, [0]),
    (v) => (api.subsetOf as Any)(dataset, v),
    (v) => (api.subsetOf as Any)(dataset, [v]),
  ],
  setNumThreads: [(v) => (api.setNumThreads as Any)(v === 0.5 ? 0.5 : v)],
};

describe.each(Object.entries(CALLS))("%s", (_, calls) => {
  test("answers or refuses whatever it is given", async () => {
    const raw: string[] = [];
    for (const [i, call] of calls.entries()) {
      for (const [name, value] of HOSTILE) {
        const error = await (async () => call(value))().then(
          () => undefined,
          (thrown: unknown) => thrown,
        );
        if (error === undefined) continue;
        if (!isLeNet5Error(error)) raw.push(`call ${i} with ${name}: ${(error as Error)?.stack?.slice(0, 300)}`);
        else if (!/^(Expected .+ (for|in) .+ but received .+|The (call|training) was aborted.*)/s.test(error.message)) {
          raw.push(`call ${i} with ${name}: ${error.message}`);
        }
      }
    }
    expect(raw, raw.join("\n")).toEqual([]);
  });
});
