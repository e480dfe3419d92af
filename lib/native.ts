// The one file that loads the addon, and the addon's TypeScript interface. Values in, values out: whatever comes here has
// been checked by the facade, and errors leave as LeNet5Error with the caller's stack.
import { ERRORS, type ErrorName, LeNet5Error } from "./errors.js";
import { isBranded } from "./is.js";
import { loadAddon } from "./libtorch/load-addon.js";
import type { EncodedTensor, EncodedValue } from "./script-module/encoding.js";
import type { ModuleInspection } from "./script-module/inspection.js";
import type { Tensor } from "./tensor.js";

/** Where a training run stands, whole: what a checkpoint holds. Flat arrays are in state-dict order. */
export interface NativeTrainingState {
  parameters: Float32Array;
  expAvg: Float32Array;
  expAvgSq: Float32Array;
  step: number;
  epoch: number;
  generator: Uint8Array;
}

/** A uint8 data set as the trainer takes it; `size` is 28 or 32. */
export interface NativeImageSet {
  images: Uint8Array;
  labels: Int32Array;
  size: number;
}

export interface NativeFitRequest {
  train: NativeImageSet;
  validation?: NativeImageSet;
  epochs: number;
  batchSize: number;
  learningRate: number;
  beta1: number;
  beta2: number;
  epsilon: number;
  weightDecay: number;
  schedule: "constant" | "one-cycle";
  seed: number;
  progressSeconds: number;
  snapshots: boolean;
  resume?: NativeTrainingState;
}

export type NativeFitEvent =
  | { type: "progress"; epoch: number; step: number; steps: number; loss: number; imagesPerSecond: number }
  | {
      type: "epoch";
      epoch: number;
      loss: number;
      accuracy: number;
      seconds: number;
      imagesPerSecond: number;
      learningRate: number;
      validation?: { loss: number; accuracy: number };
      state?: NativeTrainingState;
    };

export interface NativeEvaluation {
  loss: number;
  confusion: Float64Array;
}

export interface NativeLeNet5Options {
  numClasses: number;
  mean: number;
  std: number;
  device: string;
  engine: "auto" | "fused" | "libtorch";
  instructionSet: string;
  /** Initialise from a seed … */
  seed?: number;
  /** … or take these weights, flat, in state-dict order. */
  parameters?: Float32Array;
}

export interface NativeLeNet5 {
  readonly device: string;
  readonly engine: "fused" | "libtorch";
  readonly instructionSet: string;
  /** Writes probabilities (or log-probabilities) and labels into the arrays given. */
  predictSync(
    pixels: Uint8Array | Float32Array,
    size: number,
    output: Float32Array,
    labels: Int32Array | undefined,
    log: boolean,
  ): void;
  /** All parts have one element type; they are copied and run as one batch. */
  predict(
    parts: readonly (Uint8Array | Float32Array)[],
    size: number,
    log: boolean,
  ): Promise<{ output: Float32Array; labels: Int32Array }>;
  evaluate(data: NativeImageSet, batchSize: number): Promise<NativeEvaluation>;
  gradients(
    pixels: Uint8Array | Float32Array,
    size: number,
    labels: Int32Array,
  ): Promise<{ loss: number; gradients: Float32Array }>;
  fit(request: NativeFitRequest, onEvent: (event: NativeFitEvent) => void): Promise<void>;
  /** Ends a running fit within one batch; `halt` also waits for it. */
  stop(): void;
  halt(): void;
  parameters(): Float32Array;
  setParameters(parameters: Float32Array): void;
  setNormalization(mean: number, std: number): void;
  /** The archive's bytes. */
  exportTorchScript(extraFiles: Record<string, string>): Promise<Uint8Array>;
  /** Largest difference between the archive's log-probabilities and the model's own on a fixed batch. */
  verifyTorchScript(archive: Uint8Array): Promise<number>;
  dispose(): void;
}

/** A call's arguments, copied; made by `prepareCall`, used up by `run` or `dropCall`. */
export type NativeCallArguments = object;
/** A tensor in native memory. */
export type NativeTensor = object;
/** Makes the object that stands for a tensor in native memory. */
export type WrapTensor = (tensor: NativeTensor, shape: number[], dtype: string, device: string) => unknown;

export interface NativeScriptModule {
  run(
    method: string,
    call: NativeCallArguments,
    options: { keep: boolean; bigIntegers: boolean },
    wrap: WrapTensor,
  ): Promise<unknown>;
  to(device: string): Promise<ModuleInspection>;
  tensors(which: "parameters" | "buffers", keep: boolean, wrap: WrapTensor): Promise<unknown>;
  /** Only while nothing runs. */
  inspect(): ModuleInspection;
  extraFiles(): [name: string, contents: Uint8Array][];
  dispose(): void;
}

export interface NativeAddon {
  ScriptModule: {
    /** The archive has been proven whole, and its bytes must not change until the promise settles. */
    load(archive: Uint8Array, device: string, where: string): Promise<NativeScriptModule>;
  };
  prepareCall(
    positional: readonly EncodedValue[],
    names: readonly string[],
    values: readonly EncodedValue[],
  ): NativeCallArguments;
  dropCall(call: NativeCallArguments): void;
  createTensor(tensor: EncodedTensor, device: string, wrap: WrapTensor): Promise<unknown>;
  readTensor(tensor: NativeTensor): Promise<Tensor>;
  disposeTensor(tensor: NativeTensor): void;
  /** What the addon was compiled against and what it runs with. */
  readonly libtorchVersion: string;
  LeNet5: new (options: NativeLeNet5Options) => NativeLeNet5;
  /** Parameters, by the names of the state dict, and one of a TorchScript archive's extra files ("" if it is not there). */
  readTorchScript(
    archive: Uint8Array,
    extraFile: string,
  ): Promise<{ tensors: Record<string, { shape: number[]; data: Float32Array }>; metadata: string }>;
  devices(): string[];
  setNumThreads(threads: number): void;
  getNumThreads(): number;
  instructionSets(): string[];
}

let addon: NativeAddon | undefined;

/** The addon, loaded at its first use, so that importing the package costs nothing and `doctor` runs without it. */
export function native(): NativeAddon {
  addon ??= loadAddon() as NativeAddon;
  return addon;
}

/** Turns an error of the addon into a {@link LeNet5Error} that carries the stack of the JavaScript caller. */
export function fromNative(error: unknown): unknown {
  const { code, message, detail } = error as { code?: unknown; message?: unknown; detail?: unknown };
  if (isBranded(error, "LeNet5Error") || typeof code !== "string" || !code.startsWith("LENET5_")) return error;
  const name = code.slice("LENET5_".length);
  const known = Object.hasOwn(ERRORS, name) ? (name as ErrorName) : "NATIVE_FAILURE";
  const converted = new LeNet5Error(known, String(message), { cause: error });
  if (detail !== undefined) Object.defineProperty(converted, "detail", { value: detail, enumerable: false });
  return converted;
}

/** Awaits a promise of the addon. */
export async function nativeCall<T>(promise: Promise<T>): Promise<T> {
  try {
    return await promise;
  } catch (error) {
    throw fromNative(error);
  }
}

/** Makes a synchronous call into the addon. */
export function nativeCallSync<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw fromNative(error);
  }
}
