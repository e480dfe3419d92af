// Checkpoints: where a training run stands, as a safetensors file.
//
// Problem: a resumed run must end with the weights of an uninterrupted one, bit for bit, and a damaged or foreign
// checkpoint must be refused, not trained on. Resolution: weights, both of Adam's moments, its step, the shuffle
// generator's state and the epoch are kept, with the settings that the run depends on and a CRC-32 of all of it; a run
// with other settings does not resume.
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { expectedButGot, LeNet5Error } from "../errors.js";
import { writeFileAtomically } from "../files.js";
import { readSafetensors, safetensorsBytes } from "../formats/safetensors.js";
import type { NativeFitRequest, NativeTrainingState } from "../native.js";
import type { Tensor } from "../tensor.js";
import { joinParameters, type StateDict, splitParameters } from "./state-dict.js";

/** Name of the file in the checkpoint folder. */
export const CHECKPOINT_NAME = "checkpoint.safetensors";

/** What a run depends on: two runs with equal settings go the same way. */
export type RunSettings = Record<string, string | number>;

/** The settings of a run that decide where it ends. */
export function runSettings(
  request: NativeFitRequest,
  model: { numClasses: number; engine: string; device: string; mean: number; std: number },
): RunSettings {
  return {
    ...model,
    images: request.train.labels.length,
    size: request.train.size,
    // The set itself, in one number: a run does not go on with other images or labels.
    data: crc32(
      request.train.images,
      crc32(
        new Uint8Array(request.train.labels.buffer, request.train.labels.byteOffset, request.train.labels.byteLength),
      ),
    ),
    batchSize: request.batchSize,
    learningRate: request.learningRate,
    beta1: request.beta1,
    beta2: request.beta2,
    epsilon: request.epsilon,
    weightDecay: request.weightDecay,
    schedule: request.schedule,
    seed: request.seed,
    // A one-cycle schedule is stretched over the whole run; a constant one may be prolonged.
    ...(request.schedule === "one-cycle" ? { epochs: request.epochs } : {}),
  };
}

const MOMENTS = [
  ["expAvg", "adam.exp_avg."],
  ["expAvgSq", "adam.exp_avg_sq."],
] as const;

/** Writes the checkpoint and returns its path. @throws LENET5_FILE_WRITE_FAILED, LENET5_FILE_BUSY */
export async function writeCheckpoint(
  directory: string,
  state: NativeTrainingState,
  settings: RunSettings,
  numClasses: number,
): Promise<string> {
  const tensors: Record<string, Tensor> = { ...splitParameters(state.parameters, numClasses) };
  for (const [key, prefix] of MOMENTS) {
    for (const [name, tensor] of Object.entries(splitParameters(state[key], numClasses)))
      tensors[prefix + name] = tensor;
  }
  tensors.generator = { data: state.generator, shape: [state.generator.length], dtype: "uint8" };
  const path = join(directory, CHECKPOINT_NAME);
  await mkdir(directory, { recursive: true }).catch((cause) => {
    throw new LeNet5Error("FILE_WRITE_FAILED", `Expected a folder for ${directory} but received ${cause.message}`, {
      cause,
    });
  });
  const metadata = {
    format: "lenet5-libtorch checkpoint 1",
    epoch: String(state.epoch),
    step: String(state.step),
    settings: JSON.stringify(settings),
  };
  await writeFileAtomically(path, safetensorsBytes(tensors, { ...metadata, crc32: checksum(tensors, metadata) }));
  return path;
}

/**
 * Reads the checkpoint of a folder.
 * @throws LENET5_CHECKPOINT_NOT_FOUND, LENET5_CHECKPOINT_CORRUPT, LENET5_CHECKPOINT_MISMATCH
 */
export async function readCheckpoint(directory: string, settings: RunSettings): Promise<NativeTrainingState> {
  const path = join(directory, CHECKPOINT_NAME);
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch (cause) {
    throw new LeNet5Error(
      "CHECKPOINT_NOT_FOUND",
      `Expected a checkpoint for ${path} but received ${(cause as Error).message}`,
      { cause },
    );
  }
  let tensors: Record<string, Tensor>;
  let metadata: Record<string, string>;
  try {
    ({ tensors, metadata } = readSafetensors(bytes));
  } catch (cause) {
    throw new LeNet5Error(
      "CHECKPOINT_CORRUPT",
      `Expected a whole checkpoint for ${path} but received ${(cause as Error).message}`,
      { cause },
    );
  }
  const { crc32: stored, ...rest } = metadata;
  if (rest.format !== "lenet5-libtorch checkpoint 1" || stored !== checksum(tensors, rest)) {
    throw expectedButGot(
      "CHECKPOINT_CORRUPT",
      "a whole checkpoint",
      path,
      "one whose checksum does not fit its contents",
    );
  }
  const was = JSON.parse(rest.settings!) as RunSettings;
  for (const [name, value] of Object.entries(settings)) {
    if (was[name] !== value) {
      throw expectedButGot(
        "CHECKPOINT_MISMATCH",
        `${name} ${was[name]}, as when the checkpoint was written,`,
        `the run resumed from ${path}`,
        `${value}`,
      );
    }
  }
  const generator = tensors.generator!;
  const part = (prefix: string): Float32Array => {
    const state: StateDict = {};
    for (const [name, tensor] of Object.entries(tensors)) {
      if (name === "generator" || !name.startsWith(prefix) || (prefix === "" && name.startsWith("adam."))) continue;
      state[name.slice(prefix.length)] = tensor as Tensor<"float32">;
    }
    return joinParameters(state, path).flat;
  };
  return {
    parameters: part(""),
    expAvg: part("adam.exp_avg."),
    expAvgSq: part("adam.exp_avg_sq."),
    step: Number(rest.step),
    epoch: Number(rest.epoch),
    generator: generator.data as Uint8Array,
  };
}

function checksum(tensors: Record<string, Tensor>, metadata: Record<string, string>): string {
  let sum = 0;
  for (const name of Object.keys(tensors).sort()) {
    const { data } = tensors[name]!;
    sum = crc32(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), crc32(name, sum));
  }
  for (const name of Object.keys(metadata).sort()) sum = crc32(`${name}=${metadata[name]}`, sum);
  return sum.toString(16);
}
