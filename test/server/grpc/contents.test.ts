import { expect, it } from "vitest";
import { readContents, writeContents } from "../../../lib/server/grpc/contents.js";
import type { DType, Tensor } from "../../../lib/tensor.js";

it.each([
  ["int64", BigInt64Array.of(-(2n ** 63n), -1n, 0n, 1n, 2n ** 63n - 1n)],
  ["uint32", Uint32Array.of(0, 2 ** 31, 2 ** 32 - 1)],
  ["int8", Int8Array.of(-128, -1, 127)],
  ["float32", Float32Array.of(-0, Number.POSITIVE_INFINITY, 1e-45, 0.1)],
  ["float64", Float64Array.of(-0, Number.NaN, 5e-324, 0.1)],
  ["bool", Uint8Array.of(0, 1, 1)],
] as const)("%s, to its ends, goes out and comes back", (dtype, data) => {
  const message = writeContents({ dtype, shape: [data.length], data } as Tensor);
  expect(readContents(dtype, data.length, [message], "input")).toEqual(data);
  // In two messages, which protobuf takes for one.
  const twice = readContents(dtype, 2 * data.length, [message, message], "input");
  expect([...twice]).toEqual([...data, ...data]);
});

it.each(["float32", "int32", "bool"] as DType[])("%s never takes more memory than its bytes can fill", (dtype) => {
  expect(() => readContents(dtype, 2 ** 40, [new Uint8Array(100)], "input")).toThrow(/1099511627776 elements.*fewer/);
});

it("passes over what a newer protocol adds", () => {
  const message = writeContents({ dtype: "int32", shape: [1], data: Int32Array.of(5) });
  const added = Buffer.concat([Buffer.from([0x4a, 2, 1, 2]), message]); // field 9
  expect(readContents("int32", 1, [added], "input")).toEqual(Int32Array.of(5));
});

it("refuses numbers that are cut off", () => {
  const message = Buffer.from([0x32, 3, 0, 0, 0]);
  expect(() => readContents("float32", 1, [message], "input")).toThrow(/cut off/);
});
