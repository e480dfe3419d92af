// The options of `fit`: their defaults, their checks, and the request that goes to the native trainer.
import { classNamesOf, labelsByName } from "../data/class-names.js";
import { checkLabels, type Dataset } from "../data/dataset.js";
import { type DistributedOptions, type Rendezvous, rendezvousOf } from "../distributed/rendezvous.js";
import { expected, expectedButGot } from "../errors.js";
import { isFloat32Array, isInt32Array, isObject, isUint8Array, lengthOf } from "../is.js";
import type { NativeFitRequest, NativeImageSet } from "../native/types.js";
import { finiteNumber, oneOf, optionalSignal, readOptions, trueOrFalse, wholeNumber } from "../options.js";
import type { Metrics } from "./metrics.js";
import { AUGMENTED_RECIPE, type Augmentation, DEFAULT_AUGMENTATION, DEFAULT_RECIPE } from "./recipe.js";

/** What `fit` trains on: a {@link Dataset}, or images and labels of one's own. */
export interface LabelledImages {
  /** Grey pixels 0..255, `count` × 28 × 28 (or 32 × 32) row-major, light ink on black. */
  readonly images: Uint8Array;
  /** One class index an image. */
  readonly labels: Int32Array | Uint8Array;
  /** Edge length of an image. @defaultValue 28 */
  readonly height?: number;
  /** Names of the classes: a model that has none yet takes them, for another the labels are carried over by name. */
  readonly classNames?: readonly string[];
}

/** Strengths of the distortions of the training images, as `fit` takes them: kinds that are left out are off. */
export interface AugmentationOptions extends Partial<Omit<Augmentation, "elastic">> {
  /** Elastic distortion; `sigma` is 4 pixels where it is left out. */
  elastic?: { alpha: number; sigma?: number };
}

/** When `fit` ends before its last epoch. */
export interface EarlyStoppingOptions {
  /** What of the validation counts: a lower `loss` or a higher `accuracy`. @defaultValue "loss" */
  metric?: "loss" | "accuracy";
  /** Epochs without a better figure after which the training ends. @defaultValue 3 */
  patience?: number;
  /** By how much a figure must be better to count as better. @defaultValue 0 */
  minDelta?: number;
}

/**
 * Options of `fit`. The defaults are one recipe, the command line's too: three epochs that reach 99 % on MNIST; with
 * `augmentation` those of the augmented recipe, which has more epochs.
 */
export interface FitOptions {
  /** Passes over the training set. @defaultValue 3; with augmentation 30 */
  epochs?: number;
  /** Images of a batch, of all ranks together. @defaultValue 64 */
  batchSize?: number;
  /**
   * Batches whose gradients make one step of Adam: fewer steps, and fewer sums over slow networks, with the same gradient as
   * one batch as large as they are together. @defaultValue 1
   */
  gradientAccumulation?: number;
  /** Adam's learning rate; with `one-cycle` its peak. @defaultValue 0.005 */
  learningRate?: number;
  /** Adam's decay rates of the first and second moment. @defaultValue [0.9, 0.999] */
  betas?: readonly [number, number];
  /** Adam's epsilon. @defaultValue 1e-8 */
  epsilon?: number;
  /** L2 penalty, as `torch.optim.Adam` applies it. @defaultValue 0 */
  weightDecay?: number;
  /**
   * `one-cycle` is PyTorch's `OneCycleLR` with its defaults and no momentum cycling: warm-up over 30 % of the steps from
   * a 25th of the learning rate, then cosine annealing to a 250,000th. `constant` leaves it alone. @defaultValue "one-cycle"
   */
  schedule?: "constant" | "one-cycle";
  /** Seed of the shuffling and of the distortions. @defaultValue the model's seed */
  seed?: number;
  /**
   * Distorts each training image anew in every epoch, reproducibly from the seed: `true` for the strengths of
   * `DEFAULT_AUGMENTATION`, or strengths of one's own. @defaultValue false
   */
  augmentation?: boolean | AugmentationOptions;
  /**
   * Weight of each class in the loss, as `torch.nn.NLLLoss(weight)` has it. `balanced` weighs each class by the number of
   * images divided by the number of classes and of its own images. @defaultValue all alike
   */
  classWeights?: "balanced" | readonly number[] | Float32Array;
  /** Evaluated after each epoch. */
  validation?: Dataset | LabelledImages;
  /**
   * Ends the training when `validation` no longer gets better; the model then has the weights of the best epoch, also
   * where the training came to its last epoch. @defaultValue none
   */
  earlyStopping?: EarlyStoppingOptions;
  /** Stops the training within one batch; the run then throws `LENET5_ABORTED`. */
  signal?: AbortSignal;
  /** Folder that receives `checkpoint.safetensors` after each epoch. */
  checkpointDirectory?: string;
  /**
   * Continue from `checkpointDirectory`; the run must have the same settings. `"auto"`: where there is a checkpoint, and begin
   * where there is none. @defaultValue false
   */
  resume?: boolean | "auto";
  /**
   * Train together with other processes, over PyTorch's c10d with Gloo: torchrun, Kubeflow's PyTorchJob or a script starts
   * them and sets `RANK`, `WORLD_SIZE`, `MASTER_ADDR` and `MASTER_PORT`, as for PyTorch's `env://`. All ranks call `fit` with
   * the same data and options. They begin with rank 0's weights and share each batch: losses and weights are those of one
   * process, up to rounding. Rank 0 alone evaluates and writes checkpoints; all are told its figures and end with the same
   * weights. Needs libtorch, with either engine; one such training a process at a time. @defaultValue false
   */
  distributed?: boolean | DistributedOptions;
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
  /** Mean negative log-likelihood of this step's batch; on CUDA of all steps since the event before. */
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
  /** With `distributed`: of `seconds`, those in which the ranks summed their gradients, waiting for each other included. */
  communicationSeconds?: number;
  /** Loss, accuracy and macro averages of precision, recall and F1 on `validation`. */
  validation?: Metrics;
  /** The checkpoint just written. */
  checkpoint?: string;
}

/** What the iterator of `fit` yields. */
export type FitEvent = ProgressEvent | EpochEvent;

const FIT_OPTIONS = [
  "epochs",
  "batchSize",
  "gradientAccumulation",
  "learningRate",
  "betas",
  "epsilon",
  "weightDecay",
  "schedule",
  "seed",
  "augmentation",
  "classWeights",
  "validation",
  "earlyStopping",
  "signal",
  "checkpointDirectory",
  "resume",
  "distributed",
  "progressInterval",
] as const satisfies readonly (keyof FitOptions)[];

/** What of a request is kept for the run: all but the caller's arrays, which the addon has copied. */
export interface RunRequest extends Omit<NativeFitRequest, "train" | "validation"> {
  train: { count: number; size: number };
}

/** Leaves a request's data out. */
export function withoutData({ train, validation: _, ...rest }: NativeFitRequest): RunRequest {
  return { ...rest, train: { count: lengthOf(train.labels), size: train.size } };
}

/** What `fit` is to do: the native trainer's part of it, and what is left to the run. */
export interface FitPlan {
  request: NativeFitRequest;
  signal: AbortSignal | undefined;
  checkpointDirectory: string | undefined;
  resume: boolean | "auto";
  /** Where the other ranks are, in a training with others. */
  rendezvous: Rendezvous | undefined;
  /** The training set's class names. */
  classNames: string[] | undefined;
}

/**
 * Reads and checks `fit`'s arguments. Images and labels are not copied.
 * @throws LENET5_UNKNOWN_OPTION, LENET5_INVALID_OPTION and the errors of {@link imageSet}
 */
export function fitPlan(
  train: unknown,
  options: FitOptions | undefined,
  model: { numClasses: number; seed: number; ownClassNames: readonly string[] | undefined },
): FitPlan {
  const given = readOptions(options, FIT_OPTIONS, "fit");
  const { validation, signal, checkpointDirectory, resume = false, progressInterval = 0.1, seed = model.seed } = given;
  const { gradientAccumulation = 1 } = given;
  const augmentation = augmentationOf(given.augmentation);
  const recipe = augmentation === undefined ? DEFAULT_RECIPE : AUGMENTED_RECIPE;
  const { epochs, batchSize, learningRate, betas, epsilon, weightDecay, schedule } = { ...recipe, ...given };

  const { numClasses, ownClassNames } = model;
  const classNames = classNamesOf(train);
  const trainSet = imageSet(train, { numClasses, classNames: ownClassNames }, "train", classNames);
  wholeNumber(epochs, "epochs", 1, 1_000_000);
  wholeNumber(batchSize, "batchSize", 1, 1_000_000);
  wholeNumber(gradientAccumulation, "gradientAccumulation", 1, 1_000_000);
  finiteNumber(learningRate, "learningRate", "above 0", (value) => value > 0);
  if (!Array.isArray(betas) || betas.length !== 2) throw expected("INVALID_OPTION", "two numbers", "betas", betas);
  const [beta1, beta2] = Array.from(betas, (beta, i) =>
    finiteNumber(beta, `betas[${i}]`, "in 0 ≤ beta < 1", (b) => b >= 0 && b < 1),
  );
  finiteNumber(epsilon, "epsilon", "above 0", (value) => value > 0);
  finiteNumber(weightDecay, "weightDecay", "of at least 0", (value) => value >= 0);
  oneOf(schedule, "schedule", ["constant", "one-cycle"]);
  wholeNumber(seed, "seed", 0);
  finiteNumber(progressInterval, "progressInterval", "of at least 0", (value) => value >= 0);
  optionalSignal(signal);
  if (resume !== "auto") trueOrFalse(resume, "resume");
  if (checkpointDirectory !== undefined && (typeof checkpointDirectory !== "string" || checkpointDirectory === "")) {
    throw expected("INVALID_OPTION", "a folder's path", "checkpointDirectory", checkpointDirectory);
  }
  if (resume !== false && checkpointDirectory === undefined) {
    const wanted = `a folder's path (because resume is ${resume})`;
    throw expected("INVALID_OPTION", wanted, "checkpointDirectory", checkpointDirectory);
  }
  const rendezvous = rendezvousOf(given.distributed);
  if (rendezvous !== undefined && rendezvous.worldSize > batchSize) {
    throw expected(
      "INVALID_OPTION",
      `at least ${rendezvous.worldSize}, an image for each rank,`,
      "batchSize",
      batchSize,
    );
  }
  const classWeights = classWeightsOf(given.classWeights, trainSet.labels, numClasses);
  const earlyStopping = earlyStoppingOf(given.earlyStopping, validation);

  // A model without names of its own counts its classes as its training set does.
  const classes = { numClasses, classNames: ownClassNames ?? classNames };

  const request: NativeFitRequest = {
    train: trainSet,
    ...(validation === undefined ? {} : { validation: imageSet(validation, classes, "validation") }),
    epochs,
    batchSize,
    accumulated: gradientAccumulation,
    learningRate,
    beta1: beta1!,
    beta2: beta2!,
    epsilon,
    weightDecay,
    schedule,
    seed,
    progressSeconds: progressInterval,
    snapshots: checkpointDirectory !== undefined,
    ...(augmentation === undefined ? {} : { augmentation }),
    ...(classWeights === undefined ? {} : { classWeights }),
    ...(earlyStopping === undefined ? {} : { earlyStopping }),
  };
  return { request, signal, checkpointDirectory, resume, rendezvous, classNames };
}

/** Largest strengths: beyond them nothing is left of a digit. */
const LARGEST = { shift: 32, rotation: 180, scale: 0.9, shear: 60 } as const;

function augmentationOf(value: unknown): NativeFitRequest["augmentation"] {
  if (value === undefined || value === false) return undefined;
  const { elastic, ...rest } = value === true ? DEFAULT_AUGMENTATION : strengthsOf(value);
  const strengths = { shift: 0, rotation: 0, scale: 0, shear: 0, ...rest };
  for (const name of ["shift", "rotation", "scale", "shear"] as const) {
    const range = `from 0 to ${LARGEST[name]}`;
    finiteNumber(strengths[name], `augmentation.${name}`, range, (x) => x >= 0 && x <= LARGEST[name]);
  }
  if (elastic === undefined) return { ...strengths, elasticAlpha: 0, elasticSigma: DEFAULT_SIGMA };
  const { alpha, sigma = DEFAULT_SIGMA } = readOptions(elastic, ["alpha", "sigma"], "augmentation.elastic");
  finiteNumber(alpha, "augmentation.elastic.alpha", "from 0 to 1000", (x) => x >= 0 && x <= 1000);
  finiteNumber(sigma, "augmentation.elastic.sigma", "from 1 to 32", (x) => x >= 1 && x <= 32);
  return { ...strengths, elasticAlpha: alpha, elasticSigma: sigma };
}

const DEFAULT_SIGMA = DEFAULT_AUGMENTATION.elastic.sigma;

function strengthsOf(value: unknown): AugmentationOptions {
  if (!isObject(value)) throw expected("INVALID_OPTION", "true, false or strengths", "augmentation", value);
  const names = ["shift", "rotation", "scale", "shear", "elastic"] as const;
  return readOptions(value as AugmentationOptions, names, "augmentation");
}

function classWeightsOf(value: unknown, labels: Int32Array, numClasses: number): Float32Array | undefined {
  if (value === undefined) return undefined;
  if (value === "balanced") return balancedWeights(labels, numClasses);
  if (!(Array.isArray(value) || isFloat32Array(value)) || value.length !== numClasses) {
    throw expected("INVALID_OPTION", `"balanced" or ${numClasses} numbers, one a class,`, "classWeights", value);
  }
  const weights = Array.from(value as ArrayLike<unknown>, (weight, i) =>
    finiteNumber(weight, `classWeights[${i}]`, "of at least 0", (x) => x >= 0 && Number.isFinite(Math.fround(x))),
  );
  if (!weights.some((weight) => weight > 0)) {
    throw expectedButGot("INVALID_OPTION", "at least one number above 0", "classWeights", "none");
  }
  return Float32Array.from(weights);
}

/** scikit-learn's "balanced": images ÷ (classes × images of the class); a class without images has nothing to weigh. */
function balancedWeights(labels: Int32Array, numClasses: number): Float32Array {
  const counts = new Float64Array(numClasses);
  for (const label of labels) counts[label]!++;
  return Float32Array.from(counts, (count) => (count === 0 ? 0 : labels.length / (numClasses * count)));
}

function earlyStoppingOf(value: unknown, validation: unknown): NativeFitRequest["earlyStopping"] {
  if (value === undefined) return undefined;
  if (!isObject(value)) throw expected("INVALID_OPTION", "an object of options", "earlyStopping", value);
  const read = readOptions(value as EarlyStoppingOptions, ["metric", "patience", "minDelta"], "earlyStopping");
  const { metric = "loss", patience = 3, minDelta = 0 } = read;
  oneOf(metric, "earlyStopping.metric", ["loss", "accuracy"]);
  wholeNumber(patience, "earlyStopping.patience", 1, 1_000_000);
  finiteNumber(minDelta, "earlyStopping.minDelta", "of at least 0", (x) => x >= 0);
  if (validation === undefined) {
    throw expectedButGot("INVALID_OPTION", "a validation set (because of earlyStopping)", "validation", "none");
  }
  return { metric, patience, minDelta };
}

/**
 * Checks a labelled set against itself and the model. Where both have class names and count them differently, the labels
 * are new ones, carried over by name.
 * @throws LENET5_INVALID_ARGUMENT, LENET5_INVALID_SHAPE, LENET5_DATA_EMPTY, LENET5_COUNT_MISMATCH, LENET5_INVALID_LABELS,
 * LENET5_MODEL_MISMATCH
 */
export function imageSet(
  data: unknown,
  model: { numClasses: number; classNames: readonly string[] | undefined },
  where: string,
  names = classNamesOf(data),
): NativeImageSet {
  if (!isObject(data)) throw expected("INVALID_ARGUMENT", "images and labels", where, data);
  const { images, labels, height = 28 } = data as Partial<LabelledImages>;
  if (!isUint8Array(images)) throw expected("INVALID_DTYPE", "a Uint8Array", `${where}.images`, images);
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
  const byName = names && model.classNames && labelsByName(model.classNames, names, where);
  const checked = checkedLabels(labels, count, byName?.length ?? model.numClasses, `${where}.labels`);
  return { images, labels: byName === undefined ? checked : Int32Array.from(checked, (i) => byName[i]!), size: height };
}

/** Labels of so many images, as the addon takes them. @throws LENET5_INVALID_DTYPE, LENET5_COUNT_MISMATCH, LENET5_INVALID_LABELS */
export function checkedLabels(labels: unknown, count: number, numClasses: number, where: string): Int32Array {
  if (!isInt32Array(labels) && !isUint8Array(labels)) {
    throw expected("INVALID_DTYPE", "an Int32Array or a Uint8Array", where, labels);
  }
  if (labels.length !== count) {
    throw expectedButGot("COUNT_MISMATCH", `${count} labels, one an image,`, where, `${labels.length} labels`);
  }
  checkLabels(labels, numClasses, where);
  return isInt32Array(labels) ? labels : Int32Array.from(labels);
}
