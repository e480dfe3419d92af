// Typed arrays, signals, Maps and errors of another realm are as good as this one's.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createContext, runInContext } from "node:vm";
import { afterAll, describe, expect, test } from "vitest";
import { packageRoot } from "#package-root";
import {
  isLeNet5Error,
  LeNet5,
  readSafetensors,
  ScriptModule,
  safetensorsBytes,
  subsetOf,
  type Tensor,
  TensorHandle,
} from "../lib/index.js";

const context = createContext({});
/** Evaluates an expression in a realm of its own. */
const there = <T>(expression: string): T => runInContext(`(${expression})`, context) as T;

const model = new LeNet5({ seed: 1, device: "cpu" });
afterAll(() => model.dispose());

describe("what another realm made", () => {
  test("is really another realm's", () => {
    expect(there<unknown>("new Float32Array(1)")).not.toBeInstanceOf(Float32Array);
    expect(there<unknown>("[]")).not.toBeInstanceOf(Array);
  });

  test.each(["new Float32Array(784).fill(0.5)", "new Uint8Array(1568).fill(9)"])("pixels: %s", async (expression) => {
    const pixels = there<Float32Array>(expression);
    const { probabilities } = await model.predict(pixels);
    expect(model.predictSync(pixels).probabilities).toEqual(probabilities);
    const output = there<Float32Array>("new Float32Array(20)");
    expect([...model.forwardSync(pixels, { output }).data].length).toBe(probabilities.length);
    expect(output.some((value) => value < 0)).toBe(true);
  });

  test("a tensor, options and class names", async () => {
    const tensor = there<Tensor<"float32">>(`{ data: new Float32Array(784), shape: [1, 1, 28, 28], dtype: "float32" }`);
    expect((await model.predict(tensor)).count).toBe(1);
    using named = new LeNet5(there(`{ seed: 1, numClasses: 2, classNames: ["a", "b"], device: "cpu" }`));
    expect(named.classNames).toEqual(["a", "b"]);
  });

  test("a data set, to learn from and to measure with", async () => {
    const data = there<{ images: Uint8Array; labels: Int32Array }>(
      "{ images: new Uint8Array(64 * 784).fill(7), labels: Int32Array.from({ length: 64 }, (_, i) => i % 10) }",
    );
    const events = [];
    for await (const event of model.fit(data, there("{ epochs: 1, betas: [0.9, 0.99] }"))) events.push(event.type);
    expect(events).toContain("epoch");
    expect((await model.evaluate(data)).count).toBe(64);
    const { loss } = await model.gradients(data.images, data.labels);
    expect(loss).toBeGreaterThan(0);
    const dataset = { ...data, count: 64, height: 28, width: 28, classNames: there<string[]>('[..."0123456789"]') };
    expect(subsetOf(dataset as never, [1]).labels[0]).toBe(1);
  });

  test("an AbortSignal by its shape", async () => {
    const signal = { aborted: true, reason: "theirs", addEventListener() {}, removeEventListener() {} };
    const iterator = model.fit(
      { images: new Uint8Array(784), labels: Int32Array.of(1) },
      {
        signal: signal as unknown as AbortSignal,
      },
    );
    await expect(iterator.next()).rejects.toMatchObject({ code: "LENET5_ABORTED" });
  });

  test("a model's bytes and its parameters", async () => {
    const bytes = there<(source: Uint8Array) => Uint8Array>("(source) => Uint8Array.from(source)")(
      await model.toTorchScript(),
    );
    using again = await LeNet5.load(bytes, { device: "cpu" });
    expect(again.stateDict()).toEqual(model.stateDict());
    const tensors = there<Record<string, Tensor>>(`{ a: { data: Int8Array.of(1, -2), shape: [2], dtype: "int8" } }`);
    expect(readSafetensors(safetensorsBytes(tensors)).tensors.a!.data).toEqual(Int8Array.of(1, -2));
  });

  test("arguments of a TorchScript module", async () => {
    using mlp = await ScriptModule.load(join(packageRoot, "test/fixtures/script-modules/mlp.pt"), { device: "cpu" });
    const x = there<Tensor>(`{ data: new Float32Array(8), shape: [2, 4], dtype: "float32" }`);
    expect(((await mlp.forward(x)) as Tensor).shape).toEqual([2, 3]);
    using handle = await TensorHandle.from(x);
    expect(
      ((await mlp.run("forward", there<(x: unknown) => [TensorHandle]>("(x) => [x]")(handle))) as Tensor).shape,
    ).toEqual([2, 3]);
    using values = await ScriptModule.load(join(packageRoot, "test/fixtures/script-modules/values.pt"), {
      device: "cpu",
    });
    const dictionary = there<Map<number, number>>("new Map([[1, 0.5]])");
    expect(await values.call("by_number", dictionary)).toEqual(new Map([[1, 0.5]]));
  });

  test("an error with a code of ours", () => {
    expect(isLeNet5Error(there('Object.assign(new Error("x"), { code: "LENET5_ABORTED" })'))).toBe(true);
    expect(isLeNet5Error(there('new Error("x")'))).toBe(false);
    expect(isLeNet5Error(there('{ code: "LENET5_ABORTED" }'))).toBe(false);
  });
});

test("a forged handle is refused by native code", async () => {
  using mlp = await ScriptModule.load(join(packageRoot, "test/fixtures/script-modules/mlp.pt"), { device: "cpu" });
  for (const forged of [{}, 7, new Float32Array(8)]) {
    const handle = {
      [Symbol.for("lenet5-libtorch.TensorHandle")]: true,
      [Symbol.for("lenet5-libtorch.nativeTensor")]: forged,
    };
    await expect(mlp.forward(handle as never)).rejects.toMatchObject({ code: "LENET5_INVALID_ARGUMENT" });
  }
});

test("lib/ asks no value of a caller's for its constructor", () => {
  const kinds = "Array|ArrayBuffer|Error|Map|Set|AbortSignal|Promise|Date|LeNet5|LeNet5Error|TensorHandle|FloatValue";
  const forbidden = new RegExp(`instanceof (${kinds}|Buffer|\\w+(8|16|32|64|Clamped)Array|ArrayBuffer)\\b`);
  const found = readdirSync(join(packageRoot, "lib"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .filter((name) => forbidden.test(readFileSync(join(packageRoot, "lib", name), "utf8")));
  expect(found).toEqual([]);
});
