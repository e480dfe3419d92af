// Every fixture's methods give what PyTorch gave, and every kind of value crosses both ways.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { float, float16ToFloat32, libtorchVersion, ScriptModule, type Tensor, TensorHandle } from "../../lib/index.js";
import { ARRAY_OF } from "../../lib/tensor.js";
import { cases, fixture, input, output, settle, tensor } from "./expected.js";

const loaded = new Map<string, ScriptModule>();

async function load(name: string): Promise<ScriptModule> {
  const found = loaded.get(name) ?? (await ScriptModule.load(fixture(name), { device: "cpu" }));
  loaded.set(name, found);
  return found;
}

afterAll(() => {
  for (const module of loaded.values()) module.dispose();
});

describe.each([
  "mlp",
  "residual",
  "counter",
  "options",
  "embedding",
  "strided",
  "values",
  "no-forward",
  "traced-frozen",
  "spectrum",
])("%s.pt", (name) => {
  test("gives what PyTorch gave", async () => {
    const module = await load(name);
    const all = cases(name);
    expect(all.length).toBeGreaterThan(0);
    for (const each of all) {
      const args = each.args.map((arg) => input(arg, each.method === "kind"));
      const keywords = Object.fromEntries(Object.entries(each.keywords ?? {}).map(([key, arg]) => [key, input(arg)]));
      const wanted = output(each.result);
      const actual = await module.run(each.method, args, { keywords });
      expect(settle(actual, wanted), `${each.method}(${JSON.stringify(each.args)})`).toEqual(wanted);
    }
  });
});

describe("element types", () => {
  test("complex numbers cross both ways, as pairs", async () => {
    await expectAnswers("values-complex");
    const values = await load("values");
    const one = { data: Float32Array.of(1, 2), shape: [], dtype: "complex64" } as const;
    expect(await values.call("echo", one)).toEqual(one);
    const half = { ...one, shape: [2] };
    await expect(values.call("echo", half)).rejects.toMatchObject({
      code: "LENET5_INVALID_SHAPE",
      message: expect.stringContaining("Expected 4 elements, twice the product of [2], for"),
    });
  });

  test("half precision comes as a Float16Array where Node has one, as patterns elsewhere, and goes in either way", async () => {
    const name = "Float16Array" in globalThis ? "Float16Array" : "Uint16Array";
    // What the long tests run on Node 24 for.
    expect(name === "Float16Array").toBe(Number(process.versions.node.split(".")[0]) >= 24);
    const values = await load("values");
    const patterns = { data: Uint16Array.of(0x3c00, 0xc100, 0x7bff), shape: [3], dtype: "float16" } as const;
    const given = { ...patterns, data: new ARRAY_OF.float16(patterns.data.buffer) } as const;
    for (const half of [patterns, given]) {
      const back = (await values.call("echo", half)) as Tensor<"float16">;
      expect(Object.prototype.toString.call(back.data)).toBe(`[object ${name}]`);
      expect([...float16ToFloat32(back.data)]).toEqual([1, -2.5, 65504]);
      using kept = await TensorHandle.from(half);
      const read = (await kept.toTensor()) as Tensor<"float16">;
      expect(read).toEqual(given);
      expect(values.runSync("echo", [half])).toEqual(given);
    }
    const brain = { data: Uint16Array.of(0x3f80), shape: [1], dtype: "bfloat16" } as const;
    expect(await values.call("echo", brain)).toEqual(brain);
    const none = { data: new ARRAY_OF.float16(new ArrayBuffer(0)), shape: [0], dtype: "float16" } as const;
    expect(await values.call("echo", none)).toEqual(none);
    const large = { data: new Uint16Array(5000).fill(0x3c00), shape: [5000], dtype: "float16" } as const;
    expect(((await values.call("echo", large)) as Tensor).data.length).toBe(5000);
  });

  test("uint16 and uint32 cross both ways where libtorch has them, and are refused clearly where not", async () => {
    const [major, minor] = libtorchVersion().split(".").map(Number) as [number, number];
    if (major > 2 || (major === 2 && minor >= 3)) return await expectAnswers("values-unsigned");
    const values = await load("values");
    const input = { data: Uint16Array.of(1), shape: [1], dtype: "uint16" } as const;
    await expect(values.call("echo", input)).rejects.toMatchObject({
      code: "LENET5_INVALID_DTYPE",
      message: expect.stringContaining("libtorch 2.3 or later"),
    });
  });

  async function expectAnswers(name: string): Promise<void> {
    const values = await load("values");
    expect(cases(name).length).toBeGreaterThan(0);
    for (const each of cases(name)) {
      const actual = await values.run(
        each.method,
        each.args.map((arg) => input(arg)),
      );
      expect(actual, `${each.method}(${JSON.stringify(each.args)})`).toEqual(output(each.result));
    }
  }
});

describe("numbers", () => {
  let values: ScriptModule;
  beforeAll(async () => {
    values = await load("values");
  });

  test("a whole number fits int and float, as the signature says", async () => {
    expect(await values.call("next_int", 3)).toBe(4);
    expect(await values.call("halve", 3)).toBe(1.5);
    expect(await values.call("halve", 4)).toBe(2);
  });

  test("a bigint is an int, float() is a float, and neither becomes the other", async () => {
    expect(await values.call("next_int", 3n)).toBe(4);
    expect(await values.call("halve", float(3))).toBe(1.5);
    await expect(values.call("halve", 3n)).rejects.toMatchObject({ code: "LENET5_SCRIPT_ARGUMENTS" });
    await expect(values.call("next_int", float(3))).rejects.toMatchObject({ code: "LENET5_SCRIPT_ARGUMENTS" });
    await expect(values.call("next_int", 3.5)).rejects.toThrow(
      "Expected int for argument x of next_int(x: int) -> int but received 3.5",
    );
  });

  test("where the signature leaves it open, a whole number is an int", async () => {
    expect(await values.call("kind", 3)).toBe("int");
    expect(await values.call("kind", 3.5)).toBe("float");
    expect(await values.call("kind", float(3))).toBe("float");
    expect(await values.call("kind", [1, 2])).toBe("List[int]");
    expect(await values.call("kind", [1, 2.5])).toBe("List[float]");
  });

  test("ints come back as bigints where asked for, floats never", async () => {
    expect(await values.run("next_int", [3], { integers: "bigint" })).toBe(4n);
    expect(await values.run("halve", [4], { integers: "bigint" })).toBe(2);
    expect(await values.call("next_int", 2n ** 53n)).toBe(2n ** 53n + 1n);
  });

  test("an int64 keeps all its bits", async () => {
    const data = BigInt64Array.of(2n ** 63n - 1n, -(2n ** 63n), 0n);
    expect(await values.call("echo", { dtype: "int64", shape: [3], data })).toEqual({
      dtype: "int64",
      shape: [3],
      data,
    });
  });

  test("a bool of 2 is true", async () => {
    const result = (await values.call("echo", { dtype: "bool", shape: [3], data: Uint8Array.of(0, 2, 255) })) as Tensor;
    expect([...result.data]).toEqual([0, 1, 1]);
  });
});

// Each of these went wrong in torch-js.
describe("what others got wrong", () => {
  test("a list arrives with its first element", async () => {
    const values = await load("values");
    const xs = [1, 2, 4].map((each) => tensor("float32", [1], [each]));
    expect(await values.call("list_of_tensors", xs)).toEqual([xs, tensor("float32", [], [7])]);
    expect(await values.call("list_of_ints", [7, 8, 9])).toEqual([[7, 8, 9], 3]);
  });

  test("an array shorter than its shape is refused, not read past its end", async () => {
    const values = await load("values");
    const short = { dtype: "float32" as const, shape: [1000, 1000], data: new Float32Array(4) };
    await expect(values.call("echo", short)).rejects.toMatchObject({ code: "LENET5_INVALID_SHAPE" });
    await expect(values.call("list_of_tensors", [short])).rejects.toThrow("argument xs[0] of list_of_tensors");
  });

  test("a transposed result comes back in row-major order", async () => {
    const strided = await load("strided");
    const x = tensor("float32", [2, 3], [1, 2, 3, 4, 5, 6]);
    expect(await strided.forward(x)).toEqual(tensor("float32", [3, 2], [1, 4, 2, 5, 3, 6]));
  });
});

describe("dictionaries", () => {
  test("an object, an object without prototype and a Map are the same", async () => {
    const values = await load("values");
    const bare = Object.assign(Object.create(null) as Record<string, number[]>, { a: [1] });
    for (const each of [{ a: [1] }, bare, new Map([["a", [1]]])]) {
      expect(await values.call("by_name", each)).toEqual({ a: [1] });
    }
  });

  test('a key "__proto__" is a key like any other', async () => {
    const values = await load("values");
    const result = (await values.call("by_name", new Map([["__proto__", [1]]]))) as object;
    expect(Object.keys(result)).toEqual(["__proto__"]);
    expect(Object.getPrototypeOf(result)).toBe(Object.prototype);
  });

  test("number keys come back as a Map", async () => {
    const values = await load("values");
    expect(await values.call("by_number", new Map([[3, 0.5]]))).toEqual(new Map([[3, 0.5]]));
  });
});

describe("memory", () => {
  test("inputs are copied when the call is made", async () => {
    const values = await load("values");
    const data = new Float32Array(100_000).fill(1);
    const result = values.call("echo", { dtype: "float32", shape: [100_000], data });
    data.fill(2);
    expect(((await result) as Tensor).data[99_999]).toBe(1);
  });

  test("writing into a result changes neither the module's state nor another result", async () => {
    const counter = await ScriptModule.load(fixture("counter"), { device: "cpu" });
    const one = tensor("float32", [1], [1]);
    const [total] = (await counter.forward(one)) as [Tensor<"float32">];
    total.data.fill(100);
    const [next] = (await counter.forward(one)) as [Tensor<"float32">];
    expect(next.data[0]).toBe(2);
    counter.dispose();

    const values = await load("values");
    const large = { dtype: "float32" as const, shape: [5000], data: new Float32Array(5000) };
    const [[first, second]] = (await values.call("list_of_tensors", [large, large])) as [
      [Tensor<"float32">, Tensor<"float32">],
    ];
    first.data.fill(1);
    expect(second.data.every((each) => each === 0)).toBe(true);
  });

  test("a large result survives its module and garbage collection", async () => {
    const values = await ScriptModule.load(fixture("values"), { device: "cpu" });
    const data = new Float32Array(1_000_000).fill(3);
    const result = (await values.call("twice", { dtype: "float32", shape: [1_000_000], data })) as Tensor;
    values.dispose();
    for (let i = 0; i < 20; i++) new ArrayBuffer(8_000_000);
    expect(result.data.every((each) => each === 6)).toBe(true);
  });
});
