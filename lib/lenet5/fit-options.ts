// The options of `fit`: their defaults, their checks, and the request that goes to the native trainer.
import { checkLabels, type Dataset } from "../data/dataset.js";
import { expected, expectedButGot } from "../errors.js";
import { isAbortSignal, isInt32Array, isUint8Array } from "../is.js";
import type { NativeFitRequest, NativeImageSet } from "../native/types.js";
import { checkOptionNames, finiteNumber, oneOf, wholeNumber } from "../options.js";

/** What `fit` trains on: a {@link Dataset}, or images and labels of one's own. */
export interface LabelledImages {
  /** Grey pixels 0..255, `count` × 28 × 28 (or 32 × 32) row-major, light ink on black. */
  readonly images: Uint8Array;
  /** One class index an image. */
  readonly labels: Int32Array | Uint8Array;
  /** Edge length of an image. @defaultValue 28 */
  readonly height?: number;
  /** Names of the classes, for a model that has none yet. */
  readonly classNames?: readonly string[];
}

/** Options of `fit`. */
export interface FitOptions {
  /** Passes over the training set. @defaultValue 1 */
  epochs?: number;
  /** Images a step. @defaultValue 64 */
  batchSize?: number;
  /** Adam's learning rate; with `one-cycle` its peak. @defaultValue 0.01 */
  learningRate?: number;
  /** Adam's decay rates of the first and second moment. @defaultValue [0.9, 0.999] */
  betas?: readonly [number, number];
  /** Adam's epsilon. @defaultValue 1e-8 */
  epsilon?: number;
  /** L2 penalty, as `torch.optim.Adam` applies it. @defaultValue 0 */
  weightDecay?: number;
  /**
   * `one-cycle` is PyTorch's `OneCycleLR` with its defaults and no momentum cycling: warm-up over 30 % of the steps from
   * a 25th of the learning rate, then cosine annealing to a 250,000th. @defaultValue "constant"
   */
  schedule?: "constant" | "one-cycle";
  /** Seed of the shuffling. @defaultValue the model's seed */
  seed?: number;
  /** Evaluated after each epoch. */
  validation?: Dataset | LabelledImages;
  /** Stops the training within one batch; the iterator then throws `LENET5_ABORTED`. */
  signal?: AbortSignal;
  /** Folder that receives `checkpoint.safetensors` after each epoch. */
  checkpointDirectory?: string;
  /** Continue from `checkpointDirectory`; the run must have the same settings. @defaultValue false */
  resume?: boolean;
  /** Seconds between progress events; 0 means one a step, of which none is dropped. @defaultValue 0.1 */
  progressInterval?: number;
}

/** `fit` within an epoch. */
export interface ProgressEvent {
  /** Tells the two kinds of event apart. */
  type: "progress";
  /** The epoch under way, from 1. */
  epoch: number;
  /** Epochs of the whole run. */
  epochs: number;
  /** The step just done in this epoch, from 1. */
  step: number;
  /** Steps of this epoch. */
  steps: number;
  /** Mean negative log-likelihood of this step's batch. */
  loss: number;
  /** Images a second since the epoch began. */
  imagesPerSecond: number;
}

/** `fit` at the end of an epoch. */
export interface EpochEvent {
  /** Tells the two kinds of event apart. */
  type: "epoch";
  /** The epoch just ended, from 1. */
  epoch: number;
  /** Epochs of the whole run. */
  epochs: number;
  /** Mean negative log-likelihood over the epoch's training images, as they were met. */
  loss: number;
  /** Share of the epoch's training images that were right when they were met, 0..1. */
  accuracy: number;
  /** Training time of the epoch, evaluation excluded. */
  seconds: number;
  /** Images of the epoch divided by `seconds`. */
  imagesPerSecond: number;
  /** Learning rate of the epoch's last step. */
  learningRate: number;
  /** Loss and accuracy (0..1) on `validation`. */
  validation?: { loss: number; accuracy: number };
  /** The checkpoint just written. */
  checkpoint?: string;
}

/** What the iterator of `fit` yields. */
export type FitEvent = ProgressEvent | EpochEvent;

const FIT_OPTIONS = [
  "epochs",
  "batchSize",
  "learningRate",
  "betas",
  "epsilon",
  "weightDecay",
  "schedule",
  "seed",
  "validation",
  "signal",
  "checkpointDirectory",
  "resume",
  "progressInterval",
] as const;

/** Checks `fit`'s arguments. @throws LENET5_UNKNOWN_OPTION, LENET5_INVALID_OPTION and the errors of {@link imageSet} */
export function fitRequest(
  train: LabelledImages,
  options: FitOptions,
  model: { numClasses: number; seed: number },
): NativeFitRequest {
  checkOptionNames(options, FIT_OPTIONS, "fit");

  const {
    epochs = 1,
    batchSize = 64,
    learningRate = 0.01,
    betas = [0.9, 0.999],
    epsilon = 1e-8,
    weightDecay = 0,
    schedule = "constant",
    seed = model.seed,
    validation,
    signal,
    checkpointDirectory,
    resume = false,
    progressInterval = 0.1,
  } = options;

  const trainSet = imageSet(train, model.numClasses, "train");
  wholeNumber(epochs, "epochs", 1, 1_000_000);
  wholeNumber(batchSize, "batchSize", 1, 1_000_000);
  finiteNumber(learningRate, "learningRate", "above 0", (value) => value > 0);
  if (!Array.isArray(betas) || betas.length !== 2) throw expected("INVALID_OPTION", "two numbers", "betas", betas);
  const [beta1, beta2] = betas.map((beta, i) =>
    finiteNumber(beta, `betas[${i}]`, "in 0 ≤ beta < 1", (b) => b >= 0 && b < 1),
  );
  finiteNumber(epsilon, "epsilon", "above 0", (value) => value > 0);
  finiteNumber(weightDecay, "weightDecay", "of at least 0", (value) => value >= 0);
  oneOf(schedule, "schedule", ["constant", "one-cycle"]);
  wholeNumber(seed, "seed", 0);
  finiteNumber(progressInterval, "progressInterval", "of at least 0", (value) => value >= 0);
  if (signal !== undefined && !isAbortSignal(signal))
    throw expected("INVALID_OPTION", "an AbortSignal", "signal", signal);
  if (typeof resume !== "boolean") throw expected("INVALID_OPTION", "true or false", "resume", resume);
  if (checkpointDirectory !== undefined && (typeof checkpointDirectory !== "string" || checkpointDirectory === "")) {
    throw expected("INVALID_OPTION", "a folder's path", "checkpointDirectory", checkpointDirectory);
  }
  if (resume && checkpointDirectory === undefined) {
    throw expected(
      "INVALID_OPTION",
      "a folder's path (because resume is true)",
      "checkpointDirectory",
      checkpointDirectory,
    );
  }

  return {
    train: trainSet,
    ...(validation === undefined ? {} : { validation: imageSet(validation, model.numClasses, "validation") }),
    epochs,
    batchSize,
    learningRate,
    beta1: beta1!,
    beta2: beta2!,
    epsilon,
    weightDecay,
    schedule,
    seed,
    progressSeconds: progressInterval,
    snapshots: checkpointDirectory !== undefined,
  };
}

/**
 * Checks a labelled set against itself and the model.
 * @throws LENET5_INVALID_ARGUMENT, LENET5_INVALID_SHAPE, LENET5_DATA_EMPTY, LENET5_COUNT_MISMATCH, LENET5_INVALID_LABELS
 */
export function imageSet(data: LabelledImages, numClasses: number, where: string): NativeImageSet {
  if (typeof data !== "object" || data === null) throw expected("INVALID_ARGUMENT", "images and labels", where, data);
  const { images, labels, height = 28 } = data;
  if (!isUint8Array(images)) throw expected("INVALID_DTYPE", "a Uint8Array", `${where}.images`, images);
  if (!isInt32Array(labels) && !isUint8Array(labels)) {
    throw expected("INVALID_DTYPE", "an Int32Array or a Uint8Array", `${where}.labels`, labels);
  }
  if (height !== 28 && height !== 32) throw expected("INVALID_SHAPE", "28 or 32", `${where}.height`, height);
  if (images.length === 0) throw expectedButGot("DATA_EMPTY", "at least one image", where, "none");
  if (images.length % (height * height) !== 0) {
    throw expectedButGot(
      "INVALID_SHAPE",
      `a multiple of ${height * height} pixels`,
      `${where}.images`,
      `${images.length} pixels`,
    );
  }
  const count = images.length / (height * height);
  if (labels.length !== count) {
    throw expectedButGot(
      "COUNT_MISMATCH",
      `${count} labels, one an image,`,
      `${where}.labels`,
      `${labels.length} labels`,
    );
  }
  checkLabels(labels, numClasses, `${where}.labels`);
  return { images, labels: isInt32Array(labels) ? labels : Int32Array.from(labels), size: height };
}
