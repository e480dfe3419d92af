// The fixtures' expected values, as PyTorch computed them: see test/fixtures/generate_script_modules.py.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "#package-root";
import { float, type ScriptInput } from "../../lib/index.js";
import { ARRAY_OF, type DType, type Tensor } from "../../lib/tensor.js";

type Encoded =
  | null
  | boolean
  | string
  | Encoded[]
  | { tensor: { dtype: DType; shape: number[]; data: (number | string)[] } }
  | { int: string }
  | { float: number }
  | { dict: [Encoded, Encoded][] };

export interface Case {
  method: string;
  args: Encoded[];
  keywords?: Record<string, Encoded>;
  result: Encoded;
}

export const FOLDER = join(packageRoot, "test", "fixtures", "script-modules");

export function fixture(name: string): string {
  return join(FOLDER, `${name}.pt`);
}

const EXPECTED = JSON.parse(readFileSync(join(FOLDER, "expected.json"), "utf8")) as Record<string, unknown>;

/** One entry of expected.json that is a value. */
export function encoded(name: string): Encoded {
  if (!(name in EXPECTED)) throw new Error(`expected.json has nothing for ${name}`);
  return EXPECTED[name] as Encoded;
}

/** The calls that PyTorch made of a fixture. */
export function cases(name: string): Case[] {
  return encoded(name) as unknown as Case[];
}

export function tensor<D extends DType>(
  dtype: D,
  shape: number[],
  values: readonly (number | bigint | string)[],
): Tensor<D> {
  const make = ARRAY_OF[dtype] as unknown as { from(items: unknown[]): Tensor<D>["data"] };
  // Half precision stands there as patterns.
  if (dtype === "float16") {
    const patterns = Uint16Array.from(values, Number);
    return { dtype, shape, data: new ARRAY_OF.float16(patterns.buffer) as Tensor<D>["data"] };
  }
  const items = values.map((value) => (dtype === "int64" ? BigInt(value) : Number(value)));
  return { dtype, shape, data: make.from(items) };
}

/** A value as an argument: every number as a bigint or a `float(…)` where `exact`, so that Any is told its kind. */
export function input(encoded: Encoded, exact = false): ScriptInput {
  if (encoded === null || typeof encoded === "boolean" || typeof encoded === "string") return encoded;
  if (Array.isArray(encoded)) return encoded.map((each) => input(each, exact));
  if ("tensor" in encoded) return tensor(encoded.tensor.dtype, encoded.tensor.shape, encoded.tensor.data);
  if ("int" in encoded) return exact || !isSafe(encoded.int) ? BigInt(encoded.int) : Number(encoded.int);
  if ("float" in encoded) return exact ? float(encoded.float) : encoded.float;
  return new Map(encoded.dict.map(([key, value]) => [input(key, exact), input(value, exact)]));
}

/** A value as a result. */
export function output(encoded: Encoded): unknown {
  if (encoded === null || typeof encoded === "boolean" || typeof encoded === "string") return encoded;
  if (Array.isArray(encoded)) return encoded.map(output);
  if ("tensor" in encoded) return tensor(encoded.tensor.dtype, encoded.tensor.shape, encoded.tensor.data);
  if ("int" in encoded) return isSafe(encoded.int) ? Number(encoded.int) : BigInt(encoded.int);
  if ("float" in encoded) return encoded.float;
  const entries = encoded.dict.map(([key, value]) => [output(key), output(value)] as const);
  if (entries.some(([key]) => typeof key !== "string")) return new Map(entries);
  return Object.fromEntries(entries as [string, unknown][]);
}

/** Makes the floats of a value comparable within PyTorch's own tolerance: replaced by the expected one where close. */
export function settle(actual: unknown, wanted: unknown): unknown {
  if (
    isTensor(actual) &&
    isTensor(wanted) &&
    actual.dtype === wanted.dtype &&
    actual.data.length === wanted.data.length
  ) {
    if (!/^(float32|float64|complex)/.test(actual.dtype)) return actual;
    const close = Array.from(actual.data as Float32Array, (value, i) => {
      const target = Number(wanted.data[i]);
      return Math.abs(value - target) <= 1e-6 + 1e-5 * Math.abs(target) ? target : value;
    });
    return tensor(actual.dtype, [...actual.shape], close);
  }
  if (Array.isArray(actual) && Array.isArray(wanted)) return actual.map((each, i) => settle(each, wanted[i]));
  if (isRecord(actual) && isRecord(wanted)) {
    return Object.fromEntries(Object.entries(actual).map(([key, value]) => [key, settle(value, wanted[key])]));
  }
  return actual;
}

function isSafe(integer: string): boolean {
  return Number.isSafeInteger(Number(integer)) && BigInt(Number(integer)) === BigInt(integer);
}

function isTensor(value: unknown): value is Tensor {
  return isRecord(value) && "data" in value && "shape" in value;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}
