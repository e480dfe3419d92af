// Bad calls and raising models: a clear message, a stable code, and the module goes on working.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { LeNet5Error, type ScriptInput, ScriptModule, TensorHandle } from "../../lib/index.js";
import { fixture, tensor } from "./expected.js";

const modules: Record<string, ScriptModule> = {};

beforeAll(async () => {
  for (const name of ["mlp", "raises", "values", "options", "no-forward", "odd", "sparse"]) {
    modules[name] = await ScriptModule.load(fixture(name), { device: "cpu" });
  }
});

afterAll(() => {
  for (const module of Object.values(modules)) module.dispose();
});

const four = tensor("float32", [1, 4], [1, 2, 3, 4]);

async function failure(promise: Promise<unknown>): Promise<LeNet5Error & { detail?: string }> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(LeNet5Error);
  return error as LeNet5Error;
}

describe("what the model raises", () => {
  test("its own message and source line, without traceback; the traceback in detail", async () => {
    const error = await failure(modules.raises!.forward(four));
    expect(error.code).toBe("LENET5_SCRIPT_RAISED");
    expect(error.message).toMatch(
      /^ValueError: the input has too many elements\nat most two are allowed \(script_module_sources\.py:\d+, in forward\)$/,
    );
    expect(error.detail).toContain("Traceback of TorchScript");
  });

  test("an operator's failure too, and no C++ backtrace", async () => {
    const error = await failure(modules.raises!.call("mismatch", four, four));
    expect(error.code).toBe("LENET5_SCRIPT_RAISED");
    expect(error.message).toMatch(
      /^RuntimeError: mat1 and mat2 shapes cannot be multiplied \(1x4 and 1x4\) \(script_module_sources\.py:\d+, in mismatch\)$/,
    );
    expect(error.message).not.toMatch(/frame #|\.so|\.cpp/);
  });

  test("a failed assertion", async () => {
    const error = await failure(modules.raises!.call("insist", -1));
    expect(error.message).toMatch(/^AssertionError: x must be positive \(/);
    expect(await modules.raises!.call("insist", 1)).toBe(1);
  });

  test("memory that is not there", async () => {
    expect((await failure(modules.raises!.call("too_large"))).code).toBe("LENET5_OUT_OF_MEMORY");
  });

  test("the error carries the caller's stack", async () => {
    const error = await failure(callFromHere());
    expect(error.stack).toContain("callFromHere");
  });

  async function callFromHere(): Promise<unknown> {
    return await modules.raises!.forward(four);
  }
});

describe("arguments that do not fit", () => {
  const cyclic: ScriptInput[] = [];
  cyclic.push(cyclic, cyclic);
  const cyclicObject: Record<string, ScriptInput> = {};
  cyclicObject.self = cyclicObject;
  let deep: ScriptInput = 1;
  for (let i = 0; i < 10_000; i++) deep = [deep];
  let wide: ScriptInput[] = [];
  for (let i = 0; i < 40; i++) wide = [wide, wide];

  test.each<[string, string, string, unknown[], string, string]>([
    [
      "a missing argument",
      "mlp",
      "forward",
      [],
      "SCRIPT_ARGUMENTS",
      "Expected Tensor for argument x of forward(x: Tensor) -> Tensor but received undefined",
    ],
    [
      "a wrong type",
      "mlp",
      "forward",
      ["x"],
      "SCRIPT_ARGUMENTS",
      'Expected Tensor for argument x of forward(x: Tensor) -> Tensor but received "x"',
    ],
    ["null for a tensor", "mlp", "forward", [null], "SCRIPT_ARGUMENTS", "but received null"],
    [
      "too many arguments",
      "mlp",
      "forward",
      [four, 1],
      "SCRIPT_ARGUMENTS",
      "Expected at most 1 argument for forward(x: Tensor) -> Tensor but received 2",
    ],
    [
      "arguments for none",
      "values",
      "nothing",
      [1],
      "SCRIPT_ARGUMENTS",
      "Expected no arguments for nothing() -> NoneType but received 1",
    ],
    [
      "a wrong element deep inside",
      "values",
      "nested",
      [[[1], [2, "x"]]],
      "SCRIPT_ARGUMENTS",
      'Expected int for argument xs[1][1] of nested(xs: List[List[int]]) -> List[List[int]] but received "x"',
    ],
    [
      "a tuple of another length",
      "values",
      "swap",
      [[1]],
      "SCRIPT_ARGUMENTS",
      "Expected Tuple[int, str] for argument pair of swap",
    ],
    [
      "a wrong value in a dictionary",
      "values",
      "by_name",
      [{ a: [0.5] }],
      "SCRIPT_ARGUMENTS",
      'argument xs["a"][0] of by_name',
    ],
    ["a wrong key", "values", "by_number", [{ a: 1 }], "SCRIPT_ARGUMENTS", "Expected int"],
    ["none of a union", "values", "either", [0.5], "SCRIPT_ARGUMENTS", "Expected Union[int, str] for argument x"],
    ["a bool for an int", "values", "next_int", [true], "SCRIPT_ARGUMENTS", "but received true"],
    [
      "an int beyond 64 bits",
      "values",
      "next_int",
      [2n ** 64n],
      "SCRIPT_ARGUMENTS",
      "Expected an integer of 64 bits for argument x of next_int",
    ],
    ["NaN for an int", "values", "next_int", [Number.NaN], "SCRIPT_ARGUMENTS", "but received nan"],
    [
      "a typed array without shape",
      "mlp",
      "forward",
      [new Float32Array(4)],
      "SCRIPT_ARGUMENTS",
      "a tensor { data, shape, dtype }",
    ],
    ["a Date", "values", "kind", [new Date()], "SCRIPT_ARGUMENTS", "but received a Date"],
    ["a function", "values", "kind", [() => 1], "SCRIPT_ARGUMENTS", "but received a function"],
    ["a symbol in a list", "values", "list_of_ints", [[Symbol.iterator]], "SCRIPT_ARGUMENTS", "argument xs[0]"],
    [
      "a cyclic array",
      "values",
      "kind",
      [cyclic],
      "SCRIPT_ARGUMENTS",
      "at most 64 levels of nesting for argument x of kind",
    ],
    ["a cyclic object", "values", "kind", [cyclicObject], "SCRIPT_ARGUMENTS", "at most 64 levels"],
    ["ten thousand levels", "values", "kind", [deep], "SCRIPT_ARGUMENTS", "at most 64 levels"],
    ["a trillion values", "values", "kind", [wide], "SCRIPT_ARGUMENTS", "at most 1048576 values"],
    [
      "an array of four billion holes",
      "values",
      "list_of_ints",
      [new Array(4_294_967_295)],
      "SCRIPT_ARGUMENTS",
      "at most 1048576 values",
    ],
    ["an unknown dtype", "mlp", "forward", [{ ...four, dtype: "float8" }], "INVALID_DTYPE", "float8"],
    [
      "another array than the dtype's",
      "mlp",
      "forward",
      [{ ...four, dtype: "float64" }],
      "INVALID_DTYPE",
      "Float64Array",
    ],
    ["a shape that is none", "mlp", "forward", [{ ...four, shape: [-1, 4] }], "INVALID_SHAPE", "non-negative"],
    [
      "a shape that overflows",
      "mlp",
      "forward",
      [{ dtype: "float32", data: new Float32Array(0), shape: [0, 2 ** 40, 2 ** 40] }],
      "INVALID_SHAPE",
      "2^53",
    ],
    [
      "more dimensions than libtorch likes",
      "mlp",
      "forward",
      [{ dtype: "float32", data: new Float32Array(1), shape: new Array(100).fill(1) }],
      "INVALID_SHAPE",
      "64 dimensions",
    ],
  ])("%s", async (_, name, method, args, code, message) => {
    const error = await failure(modules[name]!.run(method, args as ScriptInput[]));
    expect(error.code).toBe(`LENET5_${code}`);
    expect(error.message).toContain(message);
    expect(error.message.length).toBeLessThan(1000);
  });

  test("keywords that are unknown or given twice", async () => {
    const run = (keywords: Record<string, ScriptInput>) => modules.options!.run("forward", [{}], { keywords });
    await expect(run({ scales: 1 })).rejects.toMatchObject({ code: "LENET5_SCRIPT_ARGUMENTS" });
    await expect(run({ inputs: {} })).rejects.toThrow("received it twice");
    expect(await run({ scale: 2 })).toEqual({});
  });

  test("the module goes on working", async () => {
    expect(((await modules.mlp!.forward(four)) as { shape: number[] }).shape).toEqual([1, 3]);
  });
});

describe("methods that are not there", () => {
  test("an unknown one is answered with the known ones", async () => {
    const error = await failure(modules.options!.call("cuont"));
    expect(error.code).toBe("LENET5_SCRIPT_METHOD_NOT_FOUND");
    expect(error.message).toMatch(/forward.*count.*maybe.*"cuont"/);
  });

  test("a module without forward loads, and says so when it is called", async () => {
    expect(modules["no-forward"]!.inspect().methods.map((each) => each.name)).toEqual(["twice"]);
    expect((await failure(modules["no-forward"]!.forward(four))).code).toBe("LENET5_SCRIPT_METHOD_NOT_FOUND");
  });

  test("names from JavaScript's own objects are none of its methods", async () => {
    for (const name of ["toString", "__proto__", "constructor", ""]) {
      expect((await failure(modules.mlp!.call(name))).code).toBe("LENET5_SCRIPT_METHOD_NOT_FOUND");
    }
  });
});

describe("results that JavaScript has nothing for", () => {
  test.each(["sparse", "meta"])("%s", async (method) => {
    expect((await failure(modules.odd!.call(method, four))).code).toBe("LENET5_SCRIPT_UNSUPPORTED");
  });

  test("stay in native memory and go on from there", async () => {
    const kept = (await modules.odd!.run("forward", [four], { keep: true })) as TensorHandle;
    expect(kept).toBeInstanceOf(TensorHandle);
    expect(kept.dtype).toBe("complex64");
    expect(await kept.toTensor()).toEqual(tensor("complex64", [1, 4], [1, 1, 2, 2, 3, 3, 4, 4]));
    const magnitude = (await modules.odd!.call("magnitude", kept)) as { data: Float32Array };
    expect(magnitude.data[0]).toBeCloseTo(Math.SQRT2, 6);
  });
});

describe("sparse tensors", () => {
  test("stay in native memory and go on from there, and are refused by name elsewhere", async () => {
    const kept = (await modules.odd!.run("sparse", [four], { keep: true })) as TensorHandle;
    expect(kept).toMatchObject({ shape: four.shape, dtype: "float32", device: "cpu" });
    const refused = await failure(kept.toTensor());
    expect(refused).toMatchObject({ code: "LENET5_SCRIPT_UNSUPPORTED", message: expect.stringContaining("sparse") });
    expect(await modules.sparse!.call("dense", kept)).toEqual(four);
    kept.dispose();
  });

  test("are a module's state like any other", async () => {
    const { sparse } = modules;
    expect(sparse!.inspect().buffers).toMatchObject([{ name: "matrix", shape: [3, 2], dtype: "float32" }]);
    const { matrix } = await sparse!.buffers({ keep: true });
    const dense = { shape: [3, 2], dtype: "float32", data: Float32Array.of(0, 2, 0, 0, 3, 0) };
    expect(await sparse!.call("dense", matrix!)).toEqual(dense);
    const state = (await sparse!.run("state", [], { keep: true })) as TensorHandle;
    expect(await sparse!.call("dense", state)).toEqual(dense);
    for (const refused of [sparse!.buffers(), sparse!.call("state")]) {
      expect(await failure(refused)).toMatchObject({
        code: "LENET5_SCRIPT_UNSUPPORTED",
        message: expect.stringContaining("sparse"),
      });
    }
    expect(await sparse!.to("cpu")).toBe(sparse);
  });
});

describe("devices", () => {
  test("an input on another device than the module's", async () => {
    const meta = (await modules.odd!.run("meta", [four], { keep: true })) as TensorHandle;
    expect(meta.device).toBe("meta");
    const error = await failure(modules.mlp!.forward(meta));
    expect(error.code).toBe("LENET5_INVALID_ARGUMENT");
    expect(error.message).toContain("Expected a tensor on cpu for argument x of forward");
  });

  test("one that is not here, and one that is none", async () => {
    const absent = await failure(ScriptModule.load(fixture("mlp"), { device: "cuda:99" }));
    expect(absent.code).toBe("LENET5_DEVICE_UNAVAILABLE");
    expect((await failure(modules.mlp!.to("cuda:99"))).code).toBe("LENET5_DEVICE_UNAVAILABLE");
    expect((await failure(modules.mlp!.to("gpu"))).code).toBe("LENET5_INVALID_OPTION");
    expect((await failure(modules.mlp!.to(0 as unknown as string))).code).toBe("LENET5_INVALID_OPTION");
    expect(await modules.mlp!.to("cpu")).toBe(modules.mlp);
    expect(modules.mlp!.device).toBe("cpu");
  });
});
