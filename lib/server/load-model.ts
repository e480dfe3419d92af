// From a file to a model that answers: LeNet-5 on the fused engine where the weights are one's, else a TorchScript module.
import { extname } from "node:path";
import { isLeNet5Error } from "../errors.js";
import { LeNet5, readModelArchive, ScriptModule } from "../index.js";
import type { BatchObserver, QueueLimits } from "./batcher.js";
import { LeNet5Model } from "./lenet5-model.js";
import type { LoadedModel } from "./loaded-model.js";
import type { ModelConfig } from "./model-config.js";
import { ScriptModel } from "./script-model.js";

/** What {@link loadModel} needs beside the file. */
export interface LoadModelOptions {
  readonly config: ModelConfig;
  /** The server's limits, for what config.json leaves out. */
  readonly limits: QueueLimits;
  readonly device: string;
  readonly observer: BatchObserver;
}

/**
 * Loads a model and warms it up.
 * @throws the errors of `LeNet5.load`, `ScriptModule.load` and `readModelArchive`
 */
export async function loadModel(path: string, options: LoadModelOptions): Promise<LoadedModel> {
  const model = await open(path, options);
  try {
    await model.warmUp();
    return model;
  } catch (error) {
    model.dispose();
    throw error;
  }
}

async function open(path: string, { config, limits, device, observer }: LoadModelOptions): Promise<LoadedModel> {
  const isArchive = extname(path).toLowerCase() === ".mar";
  const archive = isArchive ? await readModelArchive(path) : undefined;
  const source = archive?.model ?? path;
  const classNames = archive?.classNames;
  if (config.kind !== "torchscript") {
    try {
      const computeOn = device as "auto" | "cpu" | "cuda" | `cuda:${number}`;
      const model = await LeNet5.load(source, { device: computeOn, ...(classNames && { classNames }) });
      return new LeNet5Model(model, { limits: { ...limits, ...config }, observer });
    } catch (error) {
      // Of another network, or larger than a LeNet-5 can be.
      const isOther = isLeNet5Error(error) && ["LENET5_MODEL_MISMATCH", "LENET5_MODEL_TOO_LARGE"].includes(error.code);
      if (config.kind === "lenet5" || !isOther || path.endsWith(".safetensors")) throw error;
    }
  }
  const module = await ScriptModule.load(source, { device });
  try {
    // Whether the module minds company in a batch nobody knows but whoever wrote config.json.
    return new ScriptModel(module, { ...config, limits: { ...limits, maxBatchSize: 1, ...config }, observer });
  } catch (error) {
    module.dispose();
    throw error;
  }
}
