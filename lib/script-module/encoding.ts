// A tensor in the form in which it crosses to the addon.
import type { EncodedTensor } from "../native/types.js";
import { readTensor } from "../tensor.js";

/** Checks and encodes a tensor. @throws LENET5_INVALID_SHAPE, LENET5_INVALID_DTYPE */
export function encodeTensor(tensor: unknown, where: string): EncodedTensor {
  const { data, shape, dtype } = readTensor(tensor, where);
  return { kind: "tensor", data, shape: shape as number[], dtype };
}
