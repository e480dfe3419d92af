import { readFileSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { exportSafetensors } from "../../lib/export/safetensors.js";
import { stateDictFromSafetensors } from "../../lib/lenet5/safetensors.js";
import { readSafetensors, safetensorsBytes } from "../../lib/safetensors/format.js";
import { describeWithPython, python } from "../python.js";
import { fixtureModel } from "./fixture-model.js";

const fixtures = path.join(import.meta.dirname, "..", "fixtures", "state-dicts");
const fixture = (name: string): Buffer => readFileSync(path.join(fixtures, name));

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "lenet5-safetensors-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

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
      half: { data: Uint16Array.of(0x3c00), shape: [1], dtype: "float16" as const },
      brain: { data: Uint16Array.of(0x3f80), shape: [1], dtype: "bfloat16" as const },
      flags: { data: Uint8Array.of(1, 0), shape: [2], dtype: "bool" as const },
      bytes: { data: Uint8Array.of(255), shape: [1], dtype: "uint8" as const },
      shorts: { data: Int16Array.of(-300), shape: [1], dtype: "int16" as const },
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

  it("reads what Python's package wrote: float32 exactly, float16 and bfloat16 converted", () => {
    const exact = stateDictFromSafetensors(fixture("lenet5.safetensors"));
    expect(exact.metadata.normalization).toEqual({ mean: 0.1307, std: 0.3081 });
    expect(exact.metadata.classNames).toEqual(["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    for (const [name, tolerance] of [
      ["lenet5-float16.safetensors", 2 ** -11],
      ["lenet5-bfloat16.safetensors", 2 ** -8],
    ] as const) {
      const { stateDict } = stateDictFromSafetensors(fixture(name));
      for (const [key, { data }] of Object.entries(exact.stateDict)) {
        const worst = Math.max(
          ...data.map((value, i) => Math.abs(stateDict[key]!.data[i]! - value) / (Math.abs(value) + 1e-4)),
        );
        expect(worst, `${name} ${key}`).toBeLessThan(tolerance);
        expect(worst, `${name} ${key}`).toBeGreaterThan(0);
      }
    }
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

  it("refuses a safetensors file of something else as a LeNet-5", () => {
    expect(() => stateDictFromSafetensors(fixture("reference.safetensors"))).toThrow(
      expect.objectContaining({ code: "LENET5_MODEL_MISMATCH" }),
    );
  });

  it("takes no memory for classes that have no weights", () => {
    const { tensors } = readSafetensors(fixture("lenet5.safetensors"));
    tensors["output.weight"] = { data: new Float32Array(0), shape: [2 ** 40, 0], dtype: "float32" };
    expect(() => stateDictFromSafetensors(safetensorsBytes(tensors))).toThrow(
      expect.objectContaining({ code: "LENET5_MODEL_MISMATCH" }),
    );
  });

  it("exports atomically and keeps the previous file when the write fails", async () => {
    const target = path.join(folder, "model.safetensors");
    await exportSafetensors(fixtureModel({ classNames: [..."abcdefghij"] }), target);
    const { stateDict, metadata } = stateDictFromSafetensors(await readFile(target));
    expect(stateDict).toEqual(fixtureModel().stateDict());
    expect(metadata.classNames.join("")).toBe("abcdefghij");
    expect(await readdir(folder)).toEqual(["model.safetensors"]);
    await writeFile(path.join(folder, "wall"), "");
    await expect(exportSafetensors(fixtureModel(), path.join(folder, "wall", "x"))).rejects.toMatchObject({
      code: "LENET5_FILE_WRITE_FAILED",
    });
  });
});

describeWithPython("safetensors and Python", () => {
  it("is read by Python's package with the same values and metadata", async () => {
    const target = path.join(folder, "model.safetensors");
    await exportSafetensors(fixtureModel(), target);
    const answer = await python<{ metadata: Record<string, string>; sums: Record<string, number>; order: string[] }>(
      `
import json, sys
from safetensors import safe_open
with safe_open(sys.argv[1], framework="pt") as file:
    names = sorted(file.keys())
    reference = safe_open(sys.argv[2], framework="pt")
    equal = all(file.get_tensor(name).equal(reference.get_tensor(name)) for name in names)
    print(json.dumps({"metadata": file.metadata(), "names": names, "equal": equal}))
`,
      [target, path.join(fixtures, "lenet5.safetensors")],
    );
    expect(answer).toMatchObject({ equal: true, names: Object.keys(fixtureModel().stateDict()).sort() });
    expect(answer.metadata.format).toBe("pt");
    expect(JSON.parse(answer.metadata["lenet5.json"]!)).toMatchObject({ normalization: { mean: 0.1307, std: 0.3081 } });
  });
});
