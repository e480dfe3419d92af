import { expect, it } from "vitest";
import { bytesOfTensor, datatypeOf, dtypeOf, elementSize, tensorFromBytes } from "../../lib/server/datatypes.js";
import { ARRAY_OF, type DType } from "../../lib/tensor.js";

const all = (Object.keys(ARRAY_OF) as DType[]).filter((dtype) => !dtype.startsWith("complex"));

it.each(all)("%s goes out as bytes and comes back", (dtype) => {
  const size = elementSize(dtype);
  const bytes = Uint8Array.from({ length: 6 * size }, (_, i) => (dtype === "bool" ? i % 2 : (i * 37) % 251));
  const tensor = tensorFromBytes(dtype, [2, 3], bytes, "input");
  expect(tensor).toMatchObject({ dtype, shape: [2, 3] });
  expect(tensor.data).toHaveLength(6);
  expect(bytesOfTensor(tensor)).toEqual(bytes);
  expect(dtypeOf(datatypeOf(dtype), "input")).toBe(dtype);
});

it("reads bytes that begin anywhere", () => {
  const memory = new Uint8Array(13);
  memory.set(new Uint8Array(Float32Array.of(1.5, -2, 3.25).buffer), 1);
  const { data } = tensorFromBytes("float32", [3], memory.subarray(1), "input");
  expect([...data]).toEqual([1.5, -2, 3.25]);
});

it.each([
  ["too few bytes", () => tensorFromBytes("float32", [2], new Uint8Array(7), "input"), "LENET5_INVALID_SHAPE"],
  ["too many bytes", () => tensorFromBytes("int64", [1], new Uint8Array(16), "input"), "LENET5_INVALID_SHAPE"],
  ["a negative size", () => tensorFromBytes("uint8", [-1], new Uint8Array(1), "input"), "LENET5_INVALID_SHAPE"],
  [
    "more than there can be",
    () => tensorFromBytes("uint8", [2 ** 40, 2 ** 40], new Uint8Array(1), "x"),
    "LENET5_INVALID_SHAPE",
  ],
  ["a bool of 2", () => tensorFromBytes("bool", [1], Uint8Array.of(2), "input"), "LENET5_REQUEST_INVALID"],
  ["UINT64", () => dtypeOf("UINT64", "input"), "LENET5_PROTOCOL_UNSUPPORTED"],
  ["BYTES", () => dtypeOf("BYTES", "input"), "LENET5_PROTOCOL_UNSUPPORTED"],
  ["no datatype", () => dtypeOf("toString", "input"), "LENET5_INVALID_DTYPE"],
  ["complex numbers", () => datatypeOf("complex64"), "LENET5_PROTOCOL_UNSUPPORTED"],
])("refuses %s", (_, call, code) => {
  expect(call).toThrow(expect.objectContaining({ code, message: expect.any(String) }));
});
