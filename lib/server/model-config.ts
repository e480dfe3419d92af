// What a model's folder says of it: config.json, beside the versions.
import { expected, expectedButGot } from "../errors.js";
import type { DType } from "../index.js";
import { isObject } from "../is.js";
import { finiteNumber, oneOf, readOptions, wholeNumber } from "../options.js";
import { ARRAY_OF } from "../tensor.js";
import type { QueueLimits } from "./batcher.js";
import type { TensorSpec } from "./served-model.js";

/** Contents of a model's `config.json`; what is left out is the server's, or what the model's file says. */
export interface ModelConfig extends Partial<QueueLimits> {
  /** What the file is: a LeNet-5 for the fused engine, or a TorchScript module. @defaultValue what it turns out to be */
  readonly kind?: "lenet5" | "torchscript";
  /** Versions to load. @defaultValue "all" */
  readonly versions?: "all" | { readonly latest: number } | readonly number[];
  /** Inputs of a TorchScript module, in the order of forward's arguments. */
  readonly inputs?: readonly TensorSpec[];
  /** Its outputs, in order. */
  readonly outputs?: readonly TensorSpec[];
  /** One shape an input: what the module is warmed up with. */
  readonly warmUp?: readonly (readonly number[])[];
  /** How an image becomes the one input of a TorchScript module. @defaultValue images are refused */
  readonly image?: ImageConfig;
}

/** The options of `imageTensor`, with its defaults. */
export interface ImageConfig {
  /** Length of the shorter side after scaling, in pixels. */
  readonly resize?: number;
  /** Side of the square that is cut out of the middle, in pixels. */
  readonly crop?: number;
  /** What is subtracted from red, green and blue, which run from 0 to 1. */
  readonly mean?: readonly number[];
  /** What the difference is divided by. */
  readonly std?: readonly number[];
}

const NAMES = [
  "kind",
  "versions",
  "inputs",
  "outputs",
  "warmUp",
  "image",
  "maxBatchSize",
  "maxQueueDelayMicroseconds",
  "maxQueueSize",
  "timeoutMilliseconds",
] as const;

/** Most bytes of a config.json. */
export const LARGEST_CONFIG = 2 ** 20;

/** @throws LENET5_REQUEST_INVALID, LENET5_UNKNOWN_OPTION, LENET5_INVALID_OPTION */
export function readModelConfig(text: string, where: string): ModelConfig {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw expectedButGot("REQUEST_INVALID", "JSON", where, "text that does not parse");
  }
  const config = readOptions(parsed as ModelConfig, NAMES, where);
  const { kind, versions, inputs, outputs, warmUp, image } = config;
  if (kind !== undefined) oneOf(kind, `kind in ${where}`, ["lenet5", "torchscript"]);
  if (inputs !== undefined) checkSpecs(inputs, `inputs in ${where}`);
  if (outputs !== undefined) checkSpecs(outputs, `outputs in ${where}`);
  if (warmUp !== undefined) {
    for (const shape of arrayOf(warmUp, `warmUp in ${where}`)) checkSizes(shape, `warmUp in ${where}`, 0);
  }
  if (image !== undefined) checkImage(image, `image in ${where}`);
  return {
    ...config,
    ...limitsOf(config, where),
    ...(versions === undefined ? {} : { versions: checkedVersions(versions, `versions in ${where}`) }),
  };
}

/** The limits among options, checked. @throws LENET5_INVALID_OPTION */
export function limitsOf(limits: Partial<QueueLimits>, where: string): Partial<QueueLimits> {
  const ranges = {
    maxBatchSize: [1, 65_536],
    maxQueueDelayMicroseconds: [0, 60_000_000],
    maxQueueSize: [1, 1_000_000],
    timeoutMilliseconds: [1, 86_400_000],
  } as const;
  const read: { -readonly [K in keyof QueueLimits]?: number } = {};
  for (const [name, [min, max]] of Object.entries(ranges) as [keyof QueueLimits, readonly [number, number]][]) {
    const value = limits[name];
    if (value !== undefined) read[name] = wholeNumber(value, `${name} in ${where}`, min, max);
  }
  return read;
}

function arrayOf(value: unknown, where: string): readonly unknown[] {
  if (!Array.isArray(value)) throw expected("INVALID_OPTION", "an array", where, value);
  return value;
}

function checkedVersions(value: unknown, where: string): NonNullable<ModelConfig["versions"]> {
  if (value === "all") return value;
  if (isObject(value) && !Array.isArray(value)) {
    const { latest } = readOptions(value as { latest: number }, ["latest"], where);
    return { latest: wholeNumber(latest, `latest in ${where}`, 1) };
  }
  if (!Array.isArray(value)) throw expected("INVALID_OPTION", '"all", { "latest": N } or numbers', where, value);
  return value.map((each) => wholeNumber(typeof each === "string" && each !== "" ? Number(each) : each, where, 0));
}

function checkSizes(value: unknown, where: string, least: number): void {
  for (const size of arrayOf(value, where)) wholeNumber(size, where, least, 2 ** 31 - 1);
}

function checkSpecs(value: unknown, where: string): void {
  const names = new Set<string>();
  for (const spec of arrayOf(value, where)) {
    const { name, dtype, shape } = readOptions(spec as TensorSpec, ["name", "dtype", "shape"], where);
    if (typeof name !== "string" || name === "" || name.length > 200 || names.has(name)) {
      throw expected("INVALID_OPTION", "a name of its own for each", where, name);
    }
    names.add(name);
    if (dtype !== undefined) oneOf(dtype, `dtype of ${name} in ${where}`, Object.keys(ARRAY_OF) as DType[]);
    if (shape !== undefined) checkSizes(shape, `shape of ${name} in ${where}`, -1);
  }
}

/** `imageTensor` checks the rest, at each image. */
function checkImage(value: unknown, where: string): void {
  const image = readOptions(value as ImageConfig, ["resize", "crop", "mean", "std"], where);
  const { resize = 256, crop = 224 } = image;
  wholeNumber(resize, `resize in ${where}`, 1, 4096);
  wholeNumber(crop, `crop in ${where}`, 1, resize);
  for (const name of ["mean", "std"] as const) {
    const numbers = image[name];
    if (numbers === undefined) continue;
    if (arrayOf(numbers, `${name} in ${where}`).length !== 3) {
      throw expected("INVALID_OPTION", "three numbers", `${name} in ${where}`, numbers);
    }
    const holds = name === "mean" ? () => true : (each: number) => each > 0;
    for (const each of numbers) finiteNumber(each, `${name} in ${where}`, name === "mean" ? "" : "above 0", holds);
  }
}
