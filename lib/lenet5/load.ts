// Reading a model file: which format it is, its weights and what it says of itself.

import { readModelBytes } from "../formats/model-bytes.js";
import { checkTorchScriptArchive } from "../formats/torchscript-archive.js";
import { native, nativeCall } from "../native.js";
import { METADATA_NAME, type ModelMetadata, readMetadata } from "./metadata.js";
import { joinParameters, type StateDict } from "./state-dict.js";
import { stateDictFromSafetensors } from "./state-dict-from-safetensors.js";

/** A LeNet-5 file has a quarter of a megabyte for ten classes and 4 MB for 10,000; what is far above is something else. */
const LARGEST_FILE = 64 * 1024 * 1024;

/** What a model file holds. */
export interface ModelFile {
  flat: Float32Array;
  numClasses: number;
  metadata: ModelMetadata;
}

/** Reads TorchScript or safetensors from a path or from the file's contents. */
export async function readModel(source: string | Uint8Array): Promise<ModelFile> {
  const where = typeof source === "string" ? source : "the model";
  const bytes = await readModelBytes(source, "LeNet5.load", LARGEST_FILE);
  // A zip begins with "PK"; a safetensors file with its header's length and "{".
  const isSafetensors = bytes.length > 9 && bytes[8] === 0x7b && !(bytes[0] === 0x50 && bytes[1] === 0x4b);
  if (isSafetensors) {
    const { stateDict, metadata } = stateDictFromSafetensors(bytes, where);
    return { ...joinParameters(stateDict, where), metadata };
  }
  await checkTorchScriptArchive(bytes, { where });
  const { tensors, metadata } = await nativeCall(native().readTorchScript(bytes, METADATA_NAME));
  const stateDict: StateDict = Object.fromEntries(
    Object.entries(tensors).map(([name, { shape, data }]) => [name, { data, shape, dtype: "float32" as const }]),
  );
  const { flat, numClasses } = joinParameters(stateDict, where);
  return { flat, numClasses, metadata: readMetadata(metadata, numClasses, where) };
}
