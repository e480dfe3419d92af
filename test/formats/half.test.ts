import { expect, it } from "vitest";
import { bfloat16ToFloat32, float16ToFloat32 } from "../../lib/formats/half.js";

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

it("converts bfloat16 exactly", () => {
  const patterns = Uint16Array.of(0x3f80, 0xc000, 0x0001, 0x7f80, 0xff80, 0x7fc0, 0x8000);
  const { POSITIVE_INFINITY, NEGATIVE_INFINITY, NaN: nan } = Number;
  expect([...bfloat16ToFloat32(patterns)]).toEqual([1, -2, 2 ** -133, POSITIVE_INFINITY, NEGATIVE_INFINITY, nan, -0]);
});
