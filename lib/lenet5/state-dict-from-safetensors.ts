// LeNet-5's parameters out of a safetensors file, this package's own or PyTorch's.
import { expected } from "../errors.js";
import { bfloat16ToFloat32, float16ToFloat32 } from "../formats/half.js";
import { readSafetensors } from "../formats/safetensors.js";
import type { Tensor } from "../tensor.js";
import { METADATA_NAME, type ModelMetadata, readMetadata } from "./metadata.js";
import { joinParameters, type StateDict, splitParameters } from "./state-dict.js";

/**
 * Reads LeNet-5's parameters from the bytes of a safetensors file; F64, F16 and BF16 are converted to float32. A file
 * that Python wrote has none of this package's metadata.
 * @throws LENET5_MODEL_MISMATCH where it holds other tensors, and the errors of {@link readSafetensors}
 */
export function stateDictFromSafetensors(
  bytes: Uint8Array,
  where = "model",
): { stateDict: StateDict; metadata: ModelMetadata | undefined } {
  const { tensors, metadata } = readSafetensors(bytes, where);
  const floats = Object.fromEntries(
    Object.entries(tensors).map(([name, tensor]) => [name, toFloat32(tensor, `${where}: ${name}`)]),
  );
  const { flat, numClasses } = joinParameters(floats, where);
  return {
    stateDict: splitParameters(flat, numClasses),
    metadata: readMetadata(metadata[METADATA_NAME], numClasses, where),
  };
}

function toFloat32(tensor: Tensor, where: string): Tensor<"float32"> {
  const { shape, dtype, data } = tensor;
  if (dtype === "float32") return tensor as Tensor<"float32">;
  if (dtype === "float64") return { data: Float32Array.from(data as Float64Array), shape, dtype: "float32" };
  if (dtype === "float16") return { data: float16ToFloat32(data as Uint16Array), shape, dtype: "float32" };
  if (dtype === "bfloat16") return { data: bfloat16ToFloat32(data as Uint16Array), shape, dtype: "float32" };
  throw expected("INVALID_DTYPE", "float32, float64, float16 or bfloat16", where, dtype);
}
