// The addons as TypeScript sees them; the registration.cpp of native/addon, native/fused_addon and native/libtorch_addon are
// their tables of contents. Whatever is handed over is
// copied and checked by the addon in the same call, and errors are plain ones with a code, which lib/native.ts converts.
import type { ModuleInspection, ScriptTensorInfo } from "../script-module/inspection.js";
import type { Tensor } from "../tensor.js";

/** Where a training run stands, whole: what a checkpoint holds. Flat arrays are in state-dict order. */
export interface NativeTrainingState {
  parameters: Float32Array;
  expAvg: Float32Array;
  expAvgSq: Float32Array;
  /** Steps of Adam so far. */
  step: number;
  /** Whole epochs so far. */
  epoch: number;
  /** State of the shuffling generator, as `torch.Generator.get_state()` has it: 5,056 bytes. */
  generator: Uint8Array;
  /** With {@link NativeFitRequest.earlyStopping}. */
  earlyStopping?: NativeEarlyStoppingRecord;
}

/** How a run with early stopping stands. */
export interface NativeEarlyStoppingRecord {
  /** 0: none yet. */
  bestEpoch: number;
  bestValue: number;
  /** Epochs since then. */
  waited: number;
  /** The weights of the best epoch; empty where there is none yet. */
  parameters: Float32Array;
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
  /** Of all ranks together. */
  batchSize: number;
  /** Batches whose gradients make one step. */
  accumulated: number;
  learningRate: number;
  beta1: number;
  beta2: number;
  epsilon: number;
  weightDecay: number;
  schedule: "constant" | "one-cycle";
  seed: number;
  progressSeconds: number;
  /** Epoch events carry the run's state. */
  snapshots: boolean;
  /** Strengths of the distortions of training images: ± pixels, ± degrees, ± a fraction, ± degrees, pixels, pixels. */
  augmentation?: {
    shift: number;
    rotation: number;
    scale: number;
    shear: number;
    elasticAlpha: number;
    elasticSigma: number;
  };
  /** One a class, as in `torch.nn.NLLLoss(weight=…)`: the mean is divided by the sum of the weights of the batch's labels. */
  classWeights?: Float32Array;
  /**
   * Ends the run after `patience` epochs in which the validation's metric was not better than the best one by more than
   * `minDelta`. A run that comes to its end, so or by its last epoch, leaves the best epoch's weights; one that is
   * stopped leaves those of that moment. Needs `validation`.
   */
  earlyStopping?: { metric: "loss" | "accuracy"; patience: number; minDelta: number };
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
      /** With other ranks. */
      communicationSeconds?: number;
      /** Without the confusion matrix. */
      validation?: NativeEvaluation;
      state?: NativeTrainingState;
    };

/** How a run ended. */
export interface NativeFitResult {
  /** By `stop`, before its end. */
  stopped: boolean;
  /** By early stopping. */
  stoppedEarly: boolean;
  /** The epoch whose weights the model has now, with early stopping; none where no epoch had a finite figure. */
  bestEpoch?: number;
}

/** What is known of a run's data before it begins. */
export interface NativeSurvey {
  /** How often each of the 256 values occurs in the training images. */
  histogram: Float64Array;
  /** CRC-32 of the training set: its labels' int32 bytes, then its images. */
  crc32: number;
  /** The same of the validation set. */
  validationCrc32?: number;
}

/** A training run from the copy of its data to its end; made by {@link NativeLeNet5.prepareFit}. */
export interface NativeFit {
  /** Off the event loop. */
  survey(): Promise<NativeSurvey>;
  /**
   * Begins the run, on a thread of its own; once only. A `normalization` and the weights of `resume` become the model's
   * before this returns. With `ranks` it trains with them: `resume` is rank 0's to give.
   */
  start(
    options: { normalization?: { mean: number; std: number }; resume?: NativeTrainingState; ranks?: NativeRanks },
    onEvent: (event: NativeFitEvent) => void,
  ): Promise<NativeFitResult>;
  /** Ends the run within one batch, of its validation too; the model keeps the weights of that moment. */
  stop(): void;
  /** `stop`, and waits for it. */
  halt(): void;
  /** `stop`, and gives the data back. */
  dispose(): void;
}

/** The ranks of a training; of either addon's training. */
export type NativeRanks = object;
/** An attempt to meet them. */
export type NativeJoining = object;

/** Where and as whom a rank joins, see lib/distributed/rendezvous.ts. */
export interface NativeRanksRequest {
  rank: number;
  size: number;
  host: string;
  port: number;
  serves: boolean;
  attempt: string;
  /** What this rank says of itself. */
  card: string;
  timeoutSeconds: number;
}

export interface NativeEvaluation {
  /** Mean negative log-likelihood. */
  loss: number;
  /** Images of each class. */
  actual: Uint32Array;
  /** Images that were taken for each class. */
  predicted: Uint32Array;
  /** Images of each class that were taken for it. */
  right: Uint32Array;
  /** classes × classes, row-major: [actual][predicted], numbers of images; up to 1,000 classes. */
  confusion?: Uint32Array;
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
  /** Writes probabilities (or log-probabilities) and labels into the arrays given, which must not share memory. */
  predictSync(
    pixels: Uint8Array | Float32Array,
    size: number,
    output: Float32Array,
    labels: Int32Array | undefined,
    log: boolean,
  ): void;
  /**
   * All parts have one element type; they are copied and run as one batch, with the weights of the moment of the call. Of
   * several parts, `refused` names those whose pixels are not all finite; the rows of the others are right. One such part
   * alone fails. With `counts` one array holds several parts: the images of each.
   */
  predict(
    parts: readonly (Uint8Array | Float32Array)[],
    size: number,
    log: boolean,
    cancellation?: NativeCancellation,
    counts?: Int32Array,
  ): Promise<{ output: Float32Array; labels: Int32Array; refused?: Uint32Array }>;
  /** `onProgress` is told now and then how many images are done; it must not throw. */
  evaluate(
    data: NativeImageSet,
    batchSize: number,
    cancellation?: NativeCancellation,
    onProgress?: (done: number) => void,
  ): Promise<NativeEvaluation>;
  gradients(
    pixels: Uint8Array | Float32Array,
    size: number,
    labels: Int32Array,
  ): Promise<{ loss: number; gradients: Float32Array }>;
  /** Copies and checks the data. */
  prepareFit(request: NativeFitRequest): NativeFit;
  parameters(): Float32Array;
  setParameters(parameters: Float32Array): void;
  /** Ends the model's trainings; work under way keeps what it needs. */
  dispose(): void;
}

/** A model's weights at one moment. */
export type NativeWeights = object;

/** Takes back the calls it was given to: they reject with LENET5_ABORTED at the next batch. */
export interface NativeCancellation {
  cancel(): void;
}

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

/** A call's arguments, copied; made by `prepareCall`, used up by `run` or `dropCall`. */
export type NativeCallArguments = object;
/** A tensor in native memory. */
export type NativeTensor = object;
/** Makes the object that stands for a tensor in native memory. */
export type WrapTensor = (tensor: NativeTensor, shape: number[], dtype: string, device: string) => unknown;

/** An archive of which only a part is in memory. */
export interface NativeArchive {
  size: number;
  /** offset, bytes, offset, bytes, …: what was checked, in order; copied. */
  parts: readonly (number | Uint8Array)[];
  /** The file in which the records lie; empty where there are none. */
  path: string;
  /** offset, size, CRC-32, offset, …: what is read from the file, and checked then. */
  records: readonly number[];
  /** Leaves the records unread, for a module that is only looked into. */
  withoutRecords: boolean;
}

export interface NativeScriptModule {
  run(
    method: string,
    call: NativeCallArguments,
    keep: boolean,
    bigIntegers: boolean,
    wrap: WrapTensor,
  ): Promise<unknown>;
  /** On the calling thread. */
  runSync(
    method: string,
    positional: readonly EncodedValue[],
    names: readonly string[],
    values: readonly EncodedValue[],
    keep: boolean,
    bigIntegers: boolean,
    wrap: WrapTensor,
  ): unknown;
  /** As `runSync` where such calls have been short; else the call as `prepareCall` makes it, an external value. */
  runIfShort(
    method: string,
    positional: readonly EncodedValue[],
    names: readonly string[],
    values: readonly EncodedValue[],
    keep: boolean,
    bigIntegers: boolean,
    wrap: WrapTensor,
  ): unknown;
  /** The same for a prepared call, which is what it gives back where it did not run. */
  runPreparedIfShort(
    method: string,
    call: NativeCallArguments,
    keep: boolean,
    bigIntegers: boolean,
    wrap: WrapTensor,
  ): unknown;
  to(device: string): Promise<ModuleInspection>;
  tensors(which: "parameters" | "buffers", keep: boolean, wrap: WrapTensor): Promise<unknown>;
  /** Only while nothing runs. */
  inspect(): ModuleInspection;
  extraFiles(): [name: string, contents: Uint8Array][];
  dispose(): void;
}

/** An unpacked package of AOTInductor, see lib/compiled-module/package.ts. */
export interface NativePackage {
  /** May go once the package is loaded. */
  folder: string;
  model: string;
  device: string;
  /** The device that the package was made for, and the sets of instructions it uses, as PyTorch names them. */
  madeFor: string;
  instructions: string;
  /** Calls that may run at once. */
  runners: number;
  where: string;
}

/** Tensors go in each under the name that messages call it by; an array of tensors and nulls comes out. */
export interface NativeCompiledModule {
  run(call: NativeCallArguments, keep: boolean, wrap: WrapTensor): Promise<unknown[]>;
  /** On the calling thread. */
  runSync(names: readonly string[], values: readonly EncodedValue[], keep: boolean, wrap: WrapTensor): unknown[];
  /** `inputs` and `outputs` are PyTorch's trees, as JSON. */
  inspect(): { device: string; constants: ScriptTensorInfo[]; inputs: string; outputs: string };
  dispose(): void;
}

/** What both addons have, each for the engines it brings. */
export interface LeNet5Addon {
  LeNet5: new (options: NativeLeNet5Options) => NativeLeNet5;
  /** For calls into the same addon. */
  Cancellation: new () => NativeCancellation;
  getNumThreads(): number;
  instructionSets(): string[];
}

/** `lenet5_fused.node`: LeNet-5 on the fused engine. */
export interface FusedAddon extends LeNet5Addon {
  /** Of the process. */
  setNumThreads(threads: number): void;
  /** Where the other addon finds that number. */
  readonly threadsCell: object;
}

/** `lenet5_libtorch.node`: LeNet-5 on libtorch's engine, TorchScript files, anyone's modules. */
export interface LibtorchAddon extends LeNet5Addon {
  ScriptModule: {
    /** The archive has been proven whole, but for its records. */
    load(archive: NativeArchive, device: string, where: string): Promise<NativeScriptModule>;
  };
  /** Absent where libtorch is older than 2.13. */
  CompiledModule?: { load(unpacked: NativePackage): Promise<NativeCompiledModule> };
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
  /** The archive's bytes, and the weights to compare it with. */
  exportTorchScript(
    model: { numClasses: number; mean: number; std: number; parameters: Float32Array },
    extraFiles: Record<string, string>,
  ): Promise<{ archive: Uint8Array; weights: NativeWeights }>;
  /** Largest difference between the archive's log-probabilities and those of the weights, on a fixed batch. */
  verifyTorchScript(archive: Uint8Array, weights: NativeWeights): Promise<number>;
  devices(): string[];
  /** Begins to meet the other ranks. */
  joinRanks(request: NativeRanksRequest): NativeJoining;
  /**
   * The ranks with their cards, by rank, once all have met; undefined after a moment in which they have not, for a thread's
   * end waits for such calls. Rejected with ABORTED after `stopJoining`, once the others had a chance to hear of it.
   */
  awaitRanks(joining: NativeJoining): Promise<{ ranks: NativeRanks; cards: string[] } | undefined>;
  stopJoining(joining: NativeJoining): void;
  /**
   * Tells the others why this rank ends, and settles once they had a chance to read it; nothing once the training's end has
   * been told.
   */
  leaveRanks(ranks: NativeRanks, reason: string): Promise<void>;
  /** Ends the connections, once a training that has them has ended. */
  freeRanks(ranks: NativeRanks): void;
  /**
   * Why there is no CUDA, in libtorch's words; whether training steps can be recorded as graphs, how many have been launched,
   * and why the last one that failed could not be recorded. Initialises CUDA.
   */
  cuda(): { problem?: string; graphs: boolean; replays: number; graphProblem?: string };
  /** libtorch computes on as many threads as this says, from now on. */
  followThreads(threadsCell: object): void;
}
