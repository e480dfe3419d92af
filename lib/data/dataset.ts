// What every source of images comes down to: all pixels in one Uint8Array, all labels in one Int32Array.
import { expected, expectedButGot, LeNet5Error } from "../errors.js";
import { isInt32Array, isUint8Array } from "../is.js";
import { Random } from "./random.js";

/** Side of every image of the package, in pixels. */
export const SIDE = 28;
/** Pixels of one image. */
export const PIXELS = SIDE * SIDE;
/** Class names of digits. */
export const DIGIT_NAMES: readonly string[] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

/** Labelled grey images of 28×28. */
export interface Dataset {
  /** `count`·28·28 pixels 0..255, row-major, image after image; 0 is the background. */
  images: Uint8Array;
  /** `count` class indices, each in 0..`classNames.length` − 1. */
  labels: Int32Array;
  /** Number of images. */
  count: number;
  /** Rows of an image: 28. */
  height: typeof SIDE;
  /** Columns of an image: 28. */
  width: typeof SIDE;
  /** One name a class; its position is the label. */
  classNames: string[];
}

/** A training and a test set with the same classes. */
export interface DatasetPair {
  /** Images to train on. */
  train: Dataset;
  /** Images to measure with. */
  test: Dataset;
}

/** Mean and standard deviation of pixels on the scale 0..1, as the model subtracts and divides. */
export interface Normalization {
  /** Mean of all pixels, 0..1. */
  mean: number;
  /** Standard deviation of all pixels (population), above 0. */
  std: number;
}

/**
 * Checks that a value is a whole data set: types, lengths, shape, labels below the number of classes.
 *
 * @param dataset - anything
 * @param where - its name in messages
 * @throws LENET5_INVALID_ARGUMENT, LENET5_DATA_EMPTY, LENET5_INVALID_SHAPE, LENET5_COUNT_MISMATCH, LENET5_INVALID_LABELS
 */
export function checkDataset(dataset: unknown, where = "dataset"): asserts dataset is Dataset {
  if (typeof dataset !== "object" || dataset === null) throw expected("INVALID_ARGUMENT", "a Dataset", where, dataset);
  const { images, labels, count, height, width, classNames } = dataset as Partial<Dataset>;
  if (!isUint8Array(images)) throw expected("INVALID_ARGUMENT", "a Uint8Array", `${where}.images`, images);
  if (!isInt32Array(labels)) throw expected("INVALID_ARGUMENT", "an Int32Array", `${where}.labels`, labels);
  if (!Array.isArray(classNames) || classNames.length === 0 || classNames.some((name) => typeof name !== "string")) {
    throw expected("INVALID_ARGUMENT", "an array of at least one string", `${where}.classNames`, classNames);
  }
  if (height !== SIDE || width !== SIDE) {
    throw expectedButGot("INVALID_SHAPE", `images of ${SIDE}×${SIDE} pixels`, where, `${height}×${width}`);
  }
  if (typeof count !== "number" || !Number.isSafeInteger(count) || count < 0) {
    throw expected("INVALID_ARGUMENT", "a number of images", `${where}.count`, count);
  }
  if (count === 0) throw expectedButGot("DATA_EMPTY", "at least one image", where, "none");
  if (images.length !== count * PIXELS) {
    throw expectedButGot(
      "INVALID_SHAPE",
      `${count * PIXELS} pixels (${count}×${SIDE}×${SIDE})`,
      `${where}.images`,
      `${images.length} pixels`,
    );
  }
  if (labels.length !== count) {
    throw expectedButGot("COUNT_MISMATCH", `${count} labels, one an image,`, `${where}.labels`, `${labels.length}`);
  }
  checkLabels(labels, classNames.length, `${where}.labels`);
}

/**
 * Checks that every label names one of the classes.
 * @throws LENET5_INVALID_LABELS with the first label that does not
 */
export function checkLabels(labels: ArrayLike<number>, numClasses: number, where: string): void {
  for (let i = 0; i < labels.length; i++) {
    const label = labels[i]!;
    if (label >= 0 && label < numClasses) continue;
    throw expectedButGot("INVALID_LABELS", `labels from 0 to ${numClasses - 1}`, where, `${label} at position ${i}`);
  }
}

/**
 * Mean and standard deviation of a training set's pixels, for `new LeNet5({ normalization })`.
 *
 * The sums are exact integers, so the figures do not depend on the order of the images: MNIST's 60,000 training images
 * give 0.13066 and 0.30811.
 *
 * @param dataset - images 0..255
 * @returns mean and population standard deviation on the scale 0..1; `std` is 1 where all pixels are alike
 * @throws LENET5_INVALID_ARGUMENT, LENET5_DATA_EMPTY, LENET5_INVALID_SHAPE, LENET5_COUNT_MISMATCH, LENET5_INVALID_LABELS
 */
export function normalizationOf(dataset: Dataset): Normalization {
  checkDataset(dataset);
  const histogram = new Float64Array(256);
  countPixels(dataset.images, histogram);
  return normalizationOfHistogram(histogram);
}

function countPixels(images: Uint8Array, histogram: Float64Array): void {
  for (let i = 0; i < images.length; i++) histogram[images[i]!]!++;
}

/** Mean and standard deviation from how often each of the 256 values occurs. */
export function normalizationOfHistogram(histogram: Float64Array): Normalization {
  const count = histogram.reduce((total, times) => total + times, 0);
  let sum = 0n;
  let sumOfSquares = 0n;
  for (let value = 0; value < 256; value++) {
    const times = BigInt(histogram[value]!);
    sum += times * BigInt(value);
    sumOfSquares += times * BigInt(value * value);
  }
  const pixels = BigInt(count);
  // Variance times pixels², in integers: E[x²] − E[x]² in floating point would cancel.
  const spread = pixels * sumOfSquares - sum * sum;
  const scale = 255 * count;
  return { mean: Number(sum) / scale, std: spread === 0n ? 1 : Math.sqrt(Number(spread)) / scale };
}

/**
 * Copies some images and their labels into a new data set.
 *
 * @param dataset - where they come from
 * @param indices - positions of the images, in the order wanted; repeats are allowed
 * @throws LENET5_INVALID_ARGUMENT, also when a position lies outside the data set; LENET5_DATA_EMPTY,
 *   LENET5_INVALID_SHAPE, LENET5_COUNT_MISMATCH, LENET5_INVALID_LABELS for what is no data set
 */
export function subsetOf(dataset: Dataset, indices: ArrayLike<number>): Dataset {
  checkDataset(dataset);
  const count = (Object(indices) as Partial<ArrayLike<number>>).length;
  if (typeof count !== "number" || !Number.isSafeInteger(count) || count < 0) {
    throw expected("INVALID_ARGUMENT", "an array of positions", "indices", indices);
  }
  const images = new Uint8Array(count * PIXELS);
  const labels = new Int32Array(count);
  for (let i = 0; i < count; i++) {
    const from = indices[i]!;
    if (!Number.isInteger(from) || from < 0 || from >= dataset.count) {
      throw expected("INVALID_ARGUMENT", `positions from 0 to ${dataset.count - 1}`, "indices", from);
    }
    images.set(dataset.images.subarray(from * PIXELS, (from + 1) * PIXELS), i * PIXELS);
    labels[i] = dataset.labels[from]!;
  }
  return { images, labels, count, height: SIDE, width: SIDE, classNames: [...dataset.classNames] };
}

/**
 * Splits a data set in two, stratified: every class gives the same fraction, and both parts come shuffled.
 *
 * @param dataset - what to split
 * @param fraction - share of the images that goes to `test`, above 0 and below 1
 * @param seed - the same seed gives the same split @defaultValue 0
 * @returns `train` and `test`, which together hold every image once
 * @throws LENET5_INVALID_OPTION for a fraction or seed out of range, LENET5_DATA_EMPTY when a part would be empty
 */
export function splitDataset(dataset: Dataset, fraction: number, seed = 0): DatasetPair {
  checkDataset(dataset);
  if (typeof fraction !== "number" || !(fraction > 0 && fraction < 1)) {
    throw expected("INVALID_OPTION", "a number above 0 and below 1", "fraction", fraction);
  }
  if (!Number.isSafeInteger(seed)) throw expected("INVALID_OPTION", "an integer", "seed", seed);
  const random = new Random(seed);
  const byClass: number[][] = dataset.classNames.map(() => []);
  for (let i = 0; i < dataset.count; i++) byClass[dataset.labels[i]!]!.push(i);
  const train: number[] = [];
  const test: number[] = [];
  for (const members of byClass) {
    random.shuffle(members);
    const held = Math.round(members.length * fraction);
    // One by one: a call takes no more than some hundred thousand arguments.
    for (const [at, index] of members.entries()) (at < held ? test : train).push(index);
  }
  if (train.length === 0 || test.length === 0) {
    throw new LeNet5Error(
      "DATA_EMPTY",
      `Expected enough images for two parts for a split at ${fraction} but received ${dataset.count}`,
    );
  }
  return { train: subsetOf(dataset, random.shuffle(train)), test: subsetOf(dataset, random.shuffle(test)) };
}
