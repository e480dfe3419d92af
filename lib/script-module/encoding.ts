// The form in which values cross to the addon; native/addon/js_value.h reads it.
import { readTensor, type Tensor } from "../tensor.js";

/** A checked tensor; the addon copies its elements. */
export interface EncodedTensor {
  kind: "tensor";
  data: Tensor["data"];
  shape: number[];
  dtype: string;
}

/** What crosses to the addon. */
export type EncodedValue =
  | undefined
  | null
  | boolean
  | number
  | bigint
  | string
  | EncodedValue[]
  | { kind: "float"; value: number }
  | { kind: "dict"; keys: EncodedValue[]; values: EncodedValue[] }
  | EncodedTensor
  | { kind: "handle"; handle: object };

/** Checks and encodes a tensor. @throws LENET5_INVALID_SHAPE, LENET5_INVALID_DTYPE */
export function encodeTensor(tensor: unknown, where: string): EncodedTensor {
  const { data, shape, dtype } = readTensor(tensor, where);
  return { kind: "tensor", data, shape: shape as number[], dtype };
}
