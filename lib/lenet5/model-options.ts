// The options of a model: their defaults and their checks.
import { randomInt } from "node:crypto";
import type { Normalization } from "../data/dataset.js";
import { expected, expectedButGot } from "../errors.js";
import { isObject } from "../is.js";
import { finiteNumber, oneOf, readOptions, wholeNumber } from "../options.js";
import { normalizes } from "./metadata.js";

/** Where a model computes. */
export interface DeviceOptions {
  /**
   * `auto` is CUDA where it is there, unless `engine` is `"fused"`, and the CPU everywhere else, on Apple's machines too:
   * a network this small gains nothing there from the graphics processor. An explicit `cuda` or `cuda:N` that is not
   * there is an error. @defaultValue "auto"
   */
  device?: "auto" | "cpu" | "cuda" | `cuda:${number}`;
  /**
   * `fused` are this package's own kernels (CPU only: `auto` as a device is the CPU then), `libtorch` the reference they
   * are held to; `auto` takes the fused ones on the CPU. @defaultValue "auto"
   */
  engine?: "auto" | "fused" | "libtorch";
  /** Instruction set of the fused engine, for comparisons; see `instructionSets()`. @defaultValue "auto", the fastest */
  instructionSet?: "auto" | "baseline" | "avx2" | "avx512";
}

/** Options of `new LeNet5`. */
export interface LeNet5Options extends DeviceOptions {
  /** Number of classes, 1 to 10,000. @defaultValue 10 */
  numClasses?: number;
  /** Seed of the initial weights (as PyTorch initialises them after `torch.manual_seed(seed)`) and, unless `fit` is given another, of the shuffling. @defaultValue a random one */
  seed?: number;
  /** One name a class. @defaultValue those of the first training set, else "0", "1", … */
  classNames?: readonly string[];
  /** Mean and standard deviation of the pixels in units of 0..1. @defaultValue computed from the first training set (0.1307 and 0.3081 for MNIST) */
  normalization?: Normalization;
}

/**
 * Options of `LeNet5.load`. A file that this package wrote has class names and normalisation of its own; an option that
 * is given goes before what the file says.
 */
export interface LoadOptions extends DeviceOptions {
  /** One name a class. @defaultValue what the file says, else "0", "1", … */
  classNames?: readonly string[];
  /**
   * Mean and standard deviation of the pixels that the weights were trained on, in units of 0..1. @defaultValue what the
   * file says, else MNIST's 0.1307 and 0.3081: a file that Python wrote says nothing, and weights that were trained on
   * other data give wrong answers without it
   */
  normalization?: Normalization;
  /** Aborts the call. */
  signal?: AbortSignal;
}

/** Options of `LeNet5.fromStateDict`. */
export type StateDictOptions = DeviceOptions & Pick<LeNet5Options, "classNames" | "normalization" | "seed">;

const DEVICE_OPTIONS = ["device", "engine", "instructionSet"] as const;
/** Names of {@link LoadOptions}. */
export const LOAD_OPTIONS = [...DEVICE_OPTIONS, "classNames", "normalization", "signal"] as const;
/** Names of {@link StateDictOptions}. */
export const STATE_DICT_OPTIONS = [...DEVICE_OPTIONS, "classNames", "normalization", "seed"] as const;
const MODEL_OPTIONS = [...STATE_DICT_OPTIONS, "numClasses"] as const;

/** {@link LeNet5Options} with everything that has a default of its own. */
export type ResolvedModelOptions = Required<DeviceOptions> &
  Required<Pick<LeNet5Options, "numClasses" | "seed">> & {
    classNames: readonly string[] | undefined;
    normalization: Normalization | undefined;
  };

/** Applies the defaults and checks the values. @throws LENET5_UNKNOWN_OPTION, LENET5_INVALID_OPTION */
export function modelOptions(options: LeNet5Options): ResolvedModelOptions {
  const given = readOptions(options, MODEL_OPTIONS, "new LeNet5");
  const { numClasses = 10, seed = randomInt(2 ** 31), classNames, normalization } = given;
  const { device = "auto", engine = "auto", instructionSet = "auto" } = given;

  wholeNumber(numClasses, "numClasses", 1, 10_000);
  wholeNumber(seed, "seed", 0);
  checkDevice(device);
  oneOf(engine, "engine", ["auto", "fused", "libtorch"]);
  oneOf(instructionSet, "instructionSet", ["auto", "baseline", "avx2", "avx512"]);
  return {
    numClasses,
    seed,
    device,
    engine,
    instructionSet,
    classNames: checkClassNames(classNames, numClasses),
    normalization: checkNormalization(normalization),
  };
}

function checkDevice(device: unknown): void {
  if (typeof device !== "string" || !/^(auto|cpu|cuda|cuda:\d{1,3})$/.test(device)) {
    throw expected("INVALID_OPTION", '"auto", "cpu", "cuda" or "cuda:N"', "device", device);
  }
}

/** A copy of what a caller may change while a file is read; the constructor checks it. */
export function snapshotOf<T extends Pick<LeNet5Options, "classNames" | "normalization">>(options: T): T {
  const { classNames, normalization } = options;
  return {
    ...options,
    ...(Array.isArray(classNames) ? { classNames: [...classNames] } : {}),
    ...(isObject(normalization) ? { normalization: { mean: normalization.mean, std: normalization.std } } : {}),
  };
}

function checkClassNames(classNames: unknown, numClasses: number): readonly string[] | undefined {
  if (classNames === undefined) return undefined;
  if (
    !Array.isArray(classNames) ||
    classNames.length !== numClasses ||
    !Array.from(classNames).every((name) => typeof name === "string")
  ) {
    throw expected("INVALID_OPTION", `${numClasses} strings`, "classNames", classNames);
  }
  return [...classNames];
}

function checkNormalization(normalization: unknown): Normalization | undefined {
  if (normalization === undefined) return undefined;
  if (typeof normalization !== "object" || normalization === null) {
    throw expected("INVALID_OPTION", "an object with mean and std", "normalization", normalization);
  }
  const { mean, std } = normalization as Partial<Normalization>;
  const checked = {
    mean: finiteNumber(mean, "normalization.mean", "that is finite", () => true),
    std: finiteNumber(std, "normalization.std", "above 0", (value) => value > 0),
  };
  if (!normalizes(checked)) {
    const received = `${checked.mean} and ${checked.std}`;
    throw expectedButGot("INVALID_OPTION", "a mean and a std that divide in float32", "normalization", received);
  }
  return checked;
}
