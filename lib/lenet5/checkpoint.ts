// Checkpoints: where a training run stands, as a safetensors file.
//
// Problem: a resumed run must end with the weights of an uninterrupted one, bit for bit, and a damaged or foreign
// checkpoint must be refused, not trained on. Resolution: weights, both of Adam's moments, its step, the shuffle
// generator's state, the epoch and the record of early stopping are kept, with the settings that the run depends on and a
// CRC-32 of all of it; a run with other settings does not resume. The number of threads and the instruction set, on which
// the last bits depend, are no such settings: a run may go on on another machine.
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { expectedButGot, LeNet5Error } from "../errors.js";
import { writeFileAtomically } from "../files.js";
import { readSafetensors, safetensorsBytes } from "../formats/safetensors.js";
import { isObject } from "../is.js";
import type { NativeEarlyStoppingRecord, NativeSurvey, NativeTrainingState } from "../native/types.js";
import { readBytes, withRegularFile } from "../regular-file.js";
import type { Tensor } from "../tensor.js";
import type { RunRequest } from "./fit-options.js";
import { joinParameters, type StateDict, splitParameters } from "./state-dict.js";

/** Name of the file in the checkpoint folder. */
export const CHECKPOINT_NAME = "checkpoint.safetensors";

/** A run of 10,000 classes keeps 16 MB; what is far above is something else. */
const LARGEST_CHECKPOINT = 256 * 1024 * 1024;

/** What a run depends on: two runs with equal settings go the same way. */
export type RunSettings = Record<string, string | number>;

/** The settings of a run that decide where it ends. What 0.1 did not know is left out where it is not used. */
export function runSettings(
  request: RunRequest,
  survey: NativeSurvey,
  model: { numClasses: number; engine: string; device: string; mean: number; std: number },
): RunSettings {
  const { augmentation, classWeights, earlyStopping } = request;
  return {
    ...model,
    images: request.train.count,
    size: request.train.size,
    // The set itself, in one number: a run does not go on with other images or labels.
    data: survey.crc32,
    batchSize: request.batchSize,
    ...(request.accumulated === 1 ? {} : { gradientAccumulation: request.accumulated }),
    learningRate: request.learningRate,
    beta1: request.beta1,
    beta2: request.beta2,
    epsilon: request.epsilon,
    weightDecay: request.weightDecay,
    schedule: request.schedule,
    seed: request.seed,
    // A one-cycle schedule is stretched over the whole run; a constant one may be prolonged.
    ...(request.schedule === "one-cycle" ? { epochs: request.epochs } : {}),
    ...(augmentation === undefined ? {} : { augmentation: JSON.stringify(augmentation) }),
    ...(classWeights === undefined ? {} : { classWeights: JSON.stringify(Array.from(classWeights)) }),
    // Here the validation set too decides where the run ends.
    ...(earlyStopping === undefined
      ? {}
      : { earlyStopping: JSON.stringify(earlyStopping), validation: survey.validationCrc32! }),
  };
}

const MOMENTS = [
  ["expAvg", "adam.exp_avg."],
  ["expAvgSq", "adam.exp_avg_sq."],
] as const;
/** Prefix of the best epoch's weights. */
const BEST = "best.";

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
  const { earlyStopping } = state;
  if (earlyStopping !== undefined && earlyStopping.bestEpoch > 0) {
    for (const [name, tensor] of Object.entries(splitParameters(earlyStopping.parameters, numClasses)))
      tensors[BEST + name] = tensor;
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
    ...(earlyStopping === undefined ? {} : { earlyStopping: JSON.stringify(standing(earlyStopping)) }),
  };
  const bytes = safetensorsBytes(tensors, { ...metadata, crc32: checksum(tensors, metadata) });
  // Whoever is started again at once, by a torchrun or a Kubernetes, may have been killed in this very write.
  await writeFileAtomically(path, bytes, { wait: "for-the-dead" });
  return path;
}

/**
 * Reads the checkpoint of a folder, for a run of so many epochs.
 * @throws LENET5_CHECKPOINT_NOT_FOUND, LENET5_FILE_READ_FAILED, LENET5_CHECKPOINT_CORRUPT, LENET5_CHECKPOINT_MISMATCH
 */
export async function readCheckpoint(
  directory: string,
  settings: RunSettings,
  epochs: number,
): Promise<NativeTrainingState> {
  const path = join(directory, CHECKPOINT_NAME);
  const bytes = await readFileOf(path);
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
  const { was, state } = decode(tensors, rest, path);
  for (const name of new Set([...Object.keys(settings), ...Object.keys(was)])) {
    if (was[name] !== settings[name]) {
      throw expectedButGot(
        "CHECKPOINT_MISMATCH",
        `${name} ${was[name] ?? "unset"}, as when the checkpoint was written,`,
        `the run resumed from ${path}`,
        `${settings[name] ?? "unset"}`,
      );
    }
  }
  if (state.epoch > epochs) {
    const wanted = `at least ${state.epoch} epochs, which the checkpoint has behind it,`;
    throw expectedButGot("CHECKPOINT_MISMATCH", wanted, `the run resumed from ${path}`, `${epochs}`);
  }
  return state;
}

async function readFileOf(path: string): Promise<Uint8Array> {
  const wanted = { what: "a checkpoint", missing: "CHECKPOINT_NOT_FOUND" } as const;
  return await withRegularFile(path, wanted, async (file, size) => {
    if (size <= LARGEST_CHECKPOINT) return await readBytes(file, size);
    throw expectedButGot("CHECKPOINT_CORRUPT", `at most ${LARGEST_CHECKPOINT} bytes`, path, `${size}`);
  });
}

/** Whole epochs that the checkpoint of a folder holds; undefined where there is no checkpoint that can be read. */
export async function checkpointEpoch(directory: string): Promise<number | undefined> {
  try {
    const { metadata } = readSafetensors(await readFileOf(join(directory, CHECKPOINT_NAME)));
    return Number.isSafeInteger(Number(metadata.epoch)) ? Number(metadata.epoch) : undefined;
  } catch {
    return undefined;
  }
}

/** @throws LENET5_CHECKPOINT_CORRUPT for contents that are no checkpoint's, though their checksum is right */
function decode(
  tensors: Record<string, Tensor>,
  metadata: Record<string, string>,
  path: string,
): { was: RunSettings; state: NativeTrainingState } {
  const part = (prefix: string): Float32Array => {
    const state: StateDict = {};
    for (const [name, tensor] of Object.entries(tensors)) {
      if (name.startsWith(prefix) && name !== "generator" && (prefix !== "" || !/^(adam|best)\./.test(name)))
        state[name.slice(prefix.length)] = tensor as Tensor<"float32">;
    }
    return joinParameters(state, path).flat;
  };
  try {
    const { generator } = tensors;
    if (generator?.dtype !== "uint8") throw new Error(`a generator of ${generator?.dtype}`);
    const was: unknown = JSON.parse(metadata.settings ?? "null");
    if (!isObject(was)) throw new Error("no settings");
    const state: NativeTrainingState = {
      parameters: part(""),
      expAvg: part("adam.exp_avg."),
      expAvgSq: part("adam.exp_avg_sq."),
      step: counted(metadata.step, "step"),
      epoch: counted(metadata.epoch, "epoch", MAX_EPOCHS),
      generator: generator.data as Uint8Array,
    };
    if (metadata.earlyStopping !== undefined) {
      const { bestEpoch, bestValue, waited } = Object(JSON.parse(metadata.earlyStopping)) as Record<string, unknown>;
      if (!Number.isFinite(bestValue)) throw new Error(`${bestValue} as the best epoch's figure`);
      state.earlyStopping = {
        bestEpoch: counted(bestEpoch, "bestEpoch", MAX_EPOCHS),
        bestValue: bestValue as number,
        waited: counted(waited, "waited", MAX_EPOCHS),
        parameters: bestEpoch === 0 ? new Float32Array(0) : part(BEST),
      };
    }
    return { was: was as RunSettings, state };
  } catch (cause) {
    throw new LeNet5Error(
      "CHECKPOINT_CORRUPT",
      `Expected a whole checkpoint for ${path} but received ${(cause as Error).message}`,
      { cause },
    );
  }
}

/** More than a run can have. */
const MAX_EPOCHS = 1_000_000;

/** A whole number of at least 0, as text or (in JSON) as a number. */
function counted(value: unknown, name: string, max = Number.MAX_SAFE_INTEGER): number {
  const count = typeof value === "string" && /^\d+$/.test(value) ? Number(value) : value;
  if (Number.isSafeInteger(count) && (count as number) >= 0 && (count as number) <= max) return count as number;
  throw new Error(`${String(value)} as ${name}`);
}

/** A record of early stopping without its weights. */
function standing({ bestEpoch, bestValue, waited }: NativeEarlyStoppingRecord) {
  return { bestEpoch, bestValue, waited };
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
