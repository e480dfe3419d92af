import { expect, it } from "vitest";
import { bfloat16ToFloat32, float16ToFloat32, float32ToBfloat16, float32ToFloat16 } from "../../lib/index.js";
import { ARRAY_OF } from "../../lib/tensor.js";
import { describeWithPython, python } from "../python.js";

it("converts every kind of float16 exactly", () => {
  const patterns = [0x0000, 0x8000, 0x0001, 0x03ff, 0x0400, 0x3c00, 0xc000, 0x3555, 0x7bff, 0x7c00, 0xfc00, 0x7e00];
  const { POSITIVE_INFINITY, NEGATIVE_INFINITY, NaN: nan } = Number;
  const values = [0, -0, 2 ** -24, 1023 * 2 ** -24, 2 ** -14, 1, -2, 1365 * 2 ** -12, 65504];
  expect([...float16ToFloat32(Uint16Array.from(patterns))]).toEqual([
    ...values,
    POSITIVE_INFINITY,
    NEGATIVE_INFINITY,
    nan,
  ]);
});

it("takes a Float16Array where there is one, and needs none", () => {
  const bits = Uint16Array.of(0x3c00, 0xc100, 0x0001);
  const data = new ARRAY_OF.float16(bits.buffer);
  expect(data.constructor.name).toBe("Float16Array" in globalThis ? "Float16Array" : "Uint16Array");
  expect([...float16ToFloat32(data)]).toEqual([1, -2.5, 2 ** -24]);
  expect([...float16ToFloat32(bits)]).toEqual([1, -2.5, 2 ** -24]);
});

it("converts bfloat16 exactly", () => {
  const patterns = Uint16Array.of(0x3f80, 0xc000, 0x0001, 0x7f80, 0xff80, 0x7fc0, 0x8000);
  const { POSITIVE_INFINITY, NEGATIVE_INFINITY, NaN: nan } = Number;
  expect([...bfloat16ToFloat32(patterns)]).toEqual([1, -2, 2 ** -133, POSITIVE_INFINITY, NEGATIVE_INFINITY, nan, -0]);
});

it("gives every pattern back, a NaN as a NaN", () => {
  const all = Uint16Array.from({ length: 65536 }, (_, i) => i);
  const halves = float16ToFloat32(all);
  const brains = bfloat16ToFloat32(all);
  const isNumber = (values: Float32Array) => (_: number, i: number) => !Number.isNaN(values[i]);
  expect(float32ToFloat16(halves).filter(isNumber(halves))).toEqual(all.filter(isNumber(halves)));
  expect(float32ToBfloat16(brains).filter(isNumber(brains))).toEqual(all.filter(isNumber(brains)));
  expect(float16ToFloat32(float32ToFloat16(halves))).toEqual(halves);
  expect(bfloat16ToFloat32(float32ToBfloat16(brains))).toEqual(brains);
});

it("refuses other arrays", () => {
  for (const convert of [float16ToFloat32, bfloat16ToFloat32] as ((values: never) => unknown)[]) {
    expect(() => convert(Float32Array.of(1) as never)).toThrow("Expected a Uint16Array for");
  }
  for (const convert of [float32ToFloat16, float32ToBfloat16] as ((values: never) => unknown)[]) {
    expect(() => convert([1] as never)).toThrow("Expected a Float32Array for");
  }
});

describeWithPython("beside PyTorch", () => {
  it("rounds as it does, ties, subnormal numbers and overflow among them", async () => {
    // Every float16 and the numbers half way to its neighbours, one step beside those, and the ends of the range.
    const program = `
import json, torch
halves = torch.arange(0, 0x7c00, dtype=torch.int32).to(torch.int16).view(torch.float16).float()
middles = (halves[:-1].double() + halves[1:].double()).div(2).float()
steps = middles.view(torch.int32)
near = torch.cat([middles, (steps + 1).view(torch.float32), (steps - 1).view(torch.float32)])
ends = torch.tensor([65519.99, 65520.0, 65536.0, 1e38, 3.4e38, 1e-45, 2**-25, 2**-25 * 1.001, float("inf")])
values = torch.cat([halves, near, ends])
values = torch.cat([values, -values])
pattern = lambda dtype: (values.to(dtype).view(torch.int16).int() & 0xFFFF).tolist()
print(json.dumps([values.view(torch.int32).tolist(), pattern(torch.float16), pattern(torch.bfloat16)]))`;
    const [bits, halves, brains] = await python<[number[], number[], number[]]>(program);
    const values = new Float32Array(Int32Array.from(bits).buffer);
    expect(float32ToFloat16(values)).toEqual(Uint16Array.from(halves));
    expect(float32ToBfloat16(values)).toEqual(Uint16Array.from(brains));
  });
});
