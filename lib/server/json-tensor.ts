// Tensors as nested arrays of numbers, and back.

import { expected } from "../errors.js";
import type { DType, Tensor } from "../tensor.js";
import { ARRAY_OF } from "../tensor.js";
import { numbersOf } from "./raw-body.js";

/** Most numbers that are read from one body; its size is limited before. */
const MOST = 2 ** 26;

/**
 * A tensor of nested arrays of numbers.
 * @throws LENET5_REQUEST_INVALID, LENET5_INVALID_SHAPE, LENET5_INVALID_DTYPE for types that JSON has no numbers for
 */
export function tensorFromJson(nested: unknown, dtype: DType, where: string): Tensor {
  const { values, shape } = numbersOf(nested, MOST, where);
  switch (dtype) {
    case "float16":
    case "bfloat16":
    case "complex64":
    case "complex128":
      throw expected("INVALID_DTYPE", "a type that JSON has numbers for", where, dtype);
    case "int64":
      return { data: BigInt64Array.from(values, (value) => wholeOf(value, where)), shape, dtype };
    default: {
      const From = ARRAY_OF[dtype] as unknown as { from(values: number[]): Tensor["data"] };
      return { data: From.from(values), shape, dtype } as Tensor;
    }
  }
}

function wholeOf(value: number, where: string): bigint {
  if (!Number.isSafeInteger(value)) throw expected("REQUEST_INVALID", "whole numbers", where, value);
  return BigInt(value);
}

/** A tensor as nested arrays, for JSON; numbers that JSON does not have become null there. */
export function nestedOf({ data, shape, dtype }: Tensor): unknown {
  let at = 0;
  const next = (): unknown => {
    const value = data[at++]!;
    if (dtype === "bool") return value !== 0;
    return typeof value === "bigint" ? Number(value) : value;
  };
  const level = (depth: number): unknown =>
    depth === shape.length ? next() : Array.from({ length: shape[depth]! }, () => level(depth + 1));
  return level(0);
}
