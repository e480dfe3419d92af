import { describe, expect, it } from "vitest";
import { readSafetensors, safetensorsBytes } from "../../lib/formats/safetensors.js";
import { ARRAY_OF } from "../../lib/tensor.js";

/** A file with this header (an object, or text as it stands) and so many bytes of tensors. */
function file(header: unknown, dataBytes: number, declaredHeaderBytes?: number): Uint8Array {
  const json = Buffer.from(typeof header === "string" ? header : JSON.stringify(header));
  const bytes = Buffer.alloc(8 + json.length + dataBytes);
  bytes.writeBigUInt64LE(BigInt(declaredHeaderBytes ?? json.length));
  json.copy(bytes, 8);
  return bytes;
}

const f32 = (begin: number, end: number, shape = [(end - begin) / 4]): object => ({
  dtype: "F32",
  shape,
  data_offsets: [begin, end],
});

const outcome = (bytes: Uint8Array): unknown => {
  try {
    return readSafetensors(bytes, "x.safetensors");
  } catch (error) {
    return error;
  }
};

describe("safetensors", () => {
  it("gives back every element type, empty tensors and scalars as they were", () => {
    const tensors = {
      small: { data: Int8Array.of(-1, 2, 3), shape: [3], dtype: "int8" as const },
      wide: { data: BigInt64Array.of(-(2n ** 62n), 7n), shape: [2, 1], dtype: "int64" as const },
      scalar: { data: Float64Array.of(Math.PI), shape: [], dtype: "float64" as const },
      none: { data: new Float32Array(0), shape: [0, 4], dtype: "float32" as const },
      half: { data: new ARRAY_OF.float16(Uint16Array.of(0x3c00).buffer), shape: [1], dtype: "float16" as const },
      brain: { data: Uint16Array.of(0x3f80), shape: [1], dtype: "bfloat16" as const },
      flags: { data: Uint8Array.of(1, 0), shape: [2], dtype: "bool" as const },
      bytes: { data: Uint8Array.of(255), shape: [1], dtype: "uint8" as const },
      shorts: { data: Int16Array.of(-300), shape: [1], dtype: "int16" as const },
      words: { data: Uint16Array.of(65535), shape: [1], dtype: "uint16" as const },
      numbers: { data: Uint32Array.of(4294967295), shape: [1], dtype: "uint32" as const },
      waves: { data: Float32Array.of(1, -2, 3, 0.5), shape: [2], dtype: "complex64" as const },
      ints: { data: Int32Array.of(1 << 30), shape: [1], dtype: "int32" as const },
      ["__proto__"]: { data: Float32Array.of(1), shape: [1], dtype: "float32" as const },
    };
    const bytes = safetensorsBytes(tensors, { format: "pt", note: "é" });
    expect(Number(Buffer.from(bytes).readBigUInt64LE()) % 8).toBe(0);
    const read = readSafetensors(bytes);
    expect(read.metadata).toEqual({ format: "pt", note: "é" });
    expect(Object.entries(read.tensors).sort()).toEqual(Object.entries(tensors).sort());
    expect(readSafetensors(Buffer.from(bytes)).tensors).toEqual(read.tensors);
  });

  it.each<[string, Uint8Array, string]>([
    ["an empty file", new Uint8Array(0), "MODEL_CORRUPT"],
    ["seven bytes", new Uint8Array(7), "MODEL_CORRUPT"],
    ["a header longer than the file", file({}, 0, 1000), "MODEL_CORRUPT"],
    ["a header of 2^63 bytes", file({}, 0, 2 ** 63), "MODEL_CORRUPT"],
    ["a header above 100 MB", Buffer.alloc(100_000_100, file({}, 0, 100_000_050).subarray(0, 8)), "MODEL_TOO_LARGE"],
    ["a header that is not JSON", file("{", 0), "MODEL_CORRUPT"],
    [
      "a header that is not UTF-8",
      Buffer.concat([file("", 0, 4), Buffer.from([0x7b, 0xff, 0xfe, 0x7d])]),
      "MODEL_CORRUPT",
    ],
    ["a header that is an array", file("[]", 0), "MODEL_CORRUPT"],
    ["a header that begins with a blank", file(" {}", 0), "MODEL_CORRUPT"],
    [
      "a name twice",
      file(`{"a":${JSON.stringify(f32(0, 4))},"\\u0061":${JSON.stringify(f32(0, 4))}}`, 4),
      "MODEL_CORRUPT",
    ],
    ["a field twice", file('{"a":{"dtype":"F32","shape":[1],"shape":[1],"data_offsets":[0,4]}}', 4), "MODEL_CORRUPT"],
    ["a tensor that is null", file({ a: null }, 0), "MODEL_CORRUPT"],
    ["no dtype", file({ a: { shape: [1], data_offsets: [0, 4] } }, 4), "MODEL_CORRUPT"],
    ["an unknown dtype", file({ a: { dtype: "F8_E4M3", shape: [4], data_offsets: [0, 4] } }, 4), "INVALID_DTYPE"],
    [
      "a dtype that every object has",
      file({ a: { dtype: "toString", shape: [4], data_offsets: [0, 4] } }, 4),
      "INVALID_DTYPE",
    ],
    ["a negative length", file({ a: f32(0, 4, [-1]) }, 4), "MODEL_CORRUPT"],
    ["a shape with a fraction", file({ a: f32(0, 4, [1.5]) }, 4), "MODEL_CORRUPT"],
    ["a shape of 2^60 elements", file({ a: f32(0, 4, [2 ** 30, 2 ** 30]) }, 4), "MODEL_CORRUPT"],
    ["a shape that differs from its bytes", file({ a: f32(0, 4, [2]) }, 4), "MODEL_CORRUPT"],
    ["offsets backwards", file({ a: f32(4, 0, [1]) }, 4), "MODEL_CORRUPT"],
    ["an offset past the end", file({ a: f32(0, 400) }, 4), "MODEL_CORRUPT"],
    ["overlapping tensors", file({ a: f32(0, 8), b: f32(4, 12) }, 12), "MODEL_CORRUPT"],
    ["the same bytes for two tensors", file({ a: f32(0, 8), b: f32(0, 8) }, 8), "MODEL_CORRUPT"],
    ["a gap", file({ a: f32(0, 4), b: f32(8, 12) }, 12), "MODEL_CORRUPT"],
    ["bytes after the last tensor", file({ a: f32(0, 4) }, 8), "MODEL_CORRUPT"],
    ["metadata that is not text", file({ __metadata__: { a: 1 } }, 0), "MODEL_CORRUPT"],
    ["metadata that is a list", file({ __metadata__: ["a"] }, 0), "MODEL_CORRUPT"],
  ])("refuses %s", (_, bytes, code) => {
    expect(outcome(bytes)).toMatchObject({ code: `LENET5_${code}` });
  });
});

it("an element type that the format has no name for is not written", () => {
  const wide = { data: Float64Array.of(1, 2), shape: [1], dtype: "complex128" as const };
  expect(() => safetensorsBytes({ wide })).toThrow(
    'Expected an element type of the safetensors format for tensor "wide" but received "complex128"',
  );
});
