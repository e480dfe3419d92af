// Reading a model file: which format it is, its weights and what it says of itself. Nothing of the file is run, and
// libtorch is not asked.

import { abortable, throwIfAborted } from "../abort.js";
import { type ModelSource, modelName, readModelBytes } from "../formats/model-bytes.js";
import { checkTorchScriptArchive } from "../formats/torchscript-archive.js";
import { readTorchScriptWeights } from "../formats/torchscript-weights.js";
import { METADATA_NAME, type ModelMetadata, readMetadata } from "./metadata.js";
import { joinParameters, parameterCount } from "./state-dict.js";
import { stateDictFromSafetensors } from "./state-dict-from-safetensors.js";

/** A LeNet-5 file has a quarter of a megabyte for ten classes and 4 MB for 10,000; what is far above is something else. */
const LARGEST_FILE = 64 * 1024 * 1024;
/** Parameters of the largest LeNet-5 that can be made, of 10,000 classes. */
const LARGEST_MODEL = parameterCount(10_000);
/** 10,000 names of classes take a few hundred kilobytes. */
const LARGEST_METADATA = 16 * 1024 * 1024;

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
  const archive = await abortable(checkTorchScriptArchive(bytes, { where }), signal);
  const stateDict = await readTorchScriptWeights(archive, { where, maxElements: LARGEST_MODEL });
  const metadata = (await archive.read(`extra/${METADATA_NAME}`, LARGEST_METADATA))?.toString("utf8");
  throwIfAborted(signal);
  const { flat, numClasses } = joinParameters(stateDict, where);
  return { flat, numClasses, metadata: readMetadata(metadata, numClasses, where) };
}
