// Reading a model file: which format it is, its weights and what it says of itself.

import { abortable, throwIfAborted } from "../abort.js";
import { type ModelSource, modelName, readModelBytes } from "../formats/model-bytes.js";
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
  /** What the file says of itself; undefined where Python wrote it. */
  metadata: ModelMetadata | undefined;
}

/** Reads TorchScript or safetensors. @throws the errors of `LeNet5.load` */
export async function readModel(source: ModelSource, signal: AbortSignal | undefined): Promise<ModelFile> {
  const where = modelName(source);
  const bytes = await readModelBytes(source, "LeNet5.load", { largest: LARGEST_FILE, signal });
  // A zip begins with "PK"; a safetensors file with its header's length and "{".
  const isSafetensors = bytes.length > 9 && bytes[8] === 0x7b && !(bytes[0] === 0x50 && bytes[1] === 0x4b);
  if (isSafetensors) {
    const { stateDict, metadata } = stateDictFromSafetensors(bytes, where);
    return { ...joinParameters(stateDict, where), metadata };
  }
  await abortable(checkTorchScriptArchive(bytes, { where }), signal);
  const { tensors, metadata } = await nativeCall(() => native().readTorchScript(bytes, METADATA_NAME));
  throwIfAborted(signal);
  const stateDict: StateDict = Object.fromEntries(
    Object.entries(tensors).map(([name, { shape, data }]) => [name, { data, shape, dtype: "float32" as const }]),
  );
  const { flat, numClasses } = joinParameters(stateDict, where);
  return { flat, numClasses, metadata: readMetadata(metadata, numClasses, where) };
}
