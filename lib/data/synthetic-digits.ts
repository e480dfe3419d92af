// Digits drawn as pen strokes: data for a first training run where no MNIST can be had, in MNIST's format and manner.
//
// Problem: a network trained on drawn digits must read written ones, so the drawings must differ as hands differ; and
// tens of thousands of drawings must come in seconds. Resolution: each digit is one of several ways of writing it
// (digit-strokes.ts), its points moved, bent, slanted, turned and stretched at random, scaled to MNIST's 20×20 box by
// its outline and so drawn at final size; sharp renders sheets of some hundreds at a time from SVG paths, without
// text and fonts; then come MNIST's placement by centre of mass and a little of a scanner's blur and gain.
//
// Every digit draws its random numbers from a stream of its own, numbered by its position. So the same seed gives the
// same pixels whatever the number of digits or the order of work.

import { throwIfAborted } from "../abort.js";
import { optionalFunction, optionalSignal, readOptions, wholeNumber } from "../options.js";
import { type Dataset, type DatasetPair, DIGIT_NAMES, PIXELS, SIDE } from "./dataset.js";
import { DIGIT_STROKES, type DigitVariant } from "./digit-strokes.js";
import { BOX, placeByMass } from "./mass-centring.js";
import { Random } from "./random.js";
import { sharp } from "./sharp.js";

/** Options of {@link generate}. */
export interface SyntheticDigitsOptions {
  /** Number of images; the classes take turns, so their numbers differ by one at most. @defaultValue 20000 */
  count?: number;
  /** The same seed gives the same images; a smaller `count` gives the first of them. @defaultValue 0 */
  seed?: number;
  /** Called with the number of images drawn and the number of all. */
  onProgress?: (done: number, total: number) => void;
  /** Aborts the call. */
  signal?: AbortSignal;
}

/** Options of {@link load}. */
export interface SyntheticDigitsPairOptions {
  /** Images of the training set. @defaultValue 60000 */
  trainCount?: number;
  /** Images of the test set. @defaultValue 10000 */
  testCount?: number;
  /** Seed of both; they never share an image. @defaultValue 0 */
  seed?: number;
  /** Called with the number of images drawn and the number of all. */
  onProgress?: (done: number, total: number) => void;
  /** Aborts the call. */
  signal?: AbortSignal;
}

/** Digits along a side of a rendered sheet. */
const SHEET = 20;
/** Side of a digit's cell on the sheet: the box, and a pixel around it for the blur to draw from. */
const CELL = BOX + 2;
/** Most images of one call: 10 million, 7.8 GB. */
const MAX_COUNT = 10_000_000;
/** Streams of the test set begin here, beyond those of any training set. */
const TEST_STREAM = 0x4000_0000;

/**
 * Draws labelled digits.
 *
 * @returns `count` images of 28×28; image `i` shows the digit `i` mod 10
 * @throws LENET5_UNKNOWN_OPTION, LENET5_INVALID_OPTION, LENET5_ABORTED
 */
export async function generate(options: SyntheticDigitsOptions = {}): Promise<Dataset> {
  const read = readOptions(options, ["count", "seed", "onProgress", "signal"], "syntheticDigits.generate");
  const count = wholeNumber(read.count ?? 20_000, "count", 1, MAX_COUNT);
  const seed = wholeNumber(read.seed ?? 0, "seed", 0);
  return await draw(count, seed, 0, watchers(read));
}

/**
 * Draws a training and a test set.
 *
 * A LeNet-5 that saw nothing but this training set, three times, reads 97 % of MNIST's 10,000 test images
 * (test/long/synthetic-digits.test.ts holds it above 96 % for three seeds).
 *
 * @throws LENET5_UNKNOWN_OPTION, LENET5_INVALID_OPTION, LENET5_ABORTED
 */
export async function load(options: SyntheticDigitsPairOptions = {}): Promise<DatasetPair> {
  const names = ["trainCount", "testCount", "seed", "onProgress", "signal"] as const;
  const read = readOptions(options, names, "syntheticDigits.load");
  const trainCount = wholeNumber(read.trainCount ?? 60_000, "trainCount", 1, MAX_COUNT);
  const testCount = wholeNumber(read.testCount ?? 10_000, "testCount", 1, MAX_COUNT);
  const seed = wholeNumber(read.seed ?? 0, "seed", 0);
  const { onProgress, signal } = watchers(read);
  const total = trainCount + testCount;
  const part = (offset: number) => ({ onProgress: (done: number) => onProgress?.(offset + done, total), signal });
  const train = await draw(trainCount, seed, 0, part(0));
  const test = await draw(testCount, seed, TEST_STREAM, part(trainCount));
  return { train, test };
}

interface Watchers {
  onProgress?: ((done: number, total: number) => void) | undefined;
  signal?: AbortSignal | undefined;
}

function watchers({ onProgress, signal }: Watchers): Watchers {
  return { onProgress: optionalFunction(onProgress, "onProgress"), signal: optionalSignal(signal) };
}

async function draw(
  count: number,
  seed: number,
  firstStream: number,
  { onProgress, signal }: Watchers,
): Promise<Dataset> {
  throwIfAborted(signal);
  const images = new Uint8Array(count * PIXELS);
  const labels = Int32Array.from({ length: count }, (_, index) => index % 10);
  const perSheet = SHEET * SHEET;
  let next = 0;
  let done = 0;
  let failed = false;
  // Two sheets in flight: one is drawn by sharp's threads while the next one's paths are computed here.
  const work = async () => {
    while (next < count && !failed) {
      throwIfAborted(signal);
      const first = next;
      const last = Math.min(first + perSheet, count);
      next = last;
      await drawSheet(images, first, last, seed, firstStream);
      done += last - first;
      onProgress?.(done, count);
    }
  };
  const guarded = () =>
    work().catch((error: unknown) => {
      failed = true;
      throw error;
    });
  await Promise.all([guarded(), guarded()]);
  return { images, labels, count, height: SIDE, width: SIDE, classNames: [...DIGIT_NAMES] };
}

async function drawSheet(images: Uint8Array, first: number, last: number, seed: number, firstStream: number) {
  const side = SHEET * CELL;
  const randoms: Random[] = [];
  const paths: string[] = [];
  for (let index = first; index < last; index++) {
    const random = new Random(seed, firstStream + index);
    const cell = index - first;
    randoms.push(random);
    paths.push(digitPath(index % 10, random, (cell % SHEET) * CELL, Math.floor(cell / SHEET) * CELL));
  }
  const svg =
    `<svg xmlns="http://www.w3.org/2000/svg" width="${side}" height="${side}">` +
    `<g fill="none" stroke="#fff" stroke-linejoin="round">${paths.join("")}</g></svg>`;
  // The ground is transparent: how much of a pixel the pen covers is its opacity, whatever the colour space.
  const sheet = await sharp()(Buffer.from(svg)).extractChannel("alpha").raw().toBuffer();
  const box = new Uint8Array(BOX * BOX);
  for (let index = first; index < last; index++) {
    const cell = index - first;
    const start = Math.floor(cell / SHEET) * CELL * side + (cell % SHEET) * CELL;
    scan(sheet, start, side, randoms[cell]!, box);
    placeByMass(box, BOX, BOX, images.subarray(index * PIXELS, (index + 1) * PIXELS));
  }
}

/** One digit as an SVG path that fills the 20×20 box in the middle of its cell. */
function digitPath(digit: number, random: Random, left: number, top: number): string {
  const variant = pick(DIGIT_STROKES[digit]!, random);
  // A bare 1 is scaled up more than the others, and its pen's width with it.
  const pen =
    digit === 1
      ? Math.min(2.6 * Math.exp(0.33 * random.normal()), 6)
      : Math.min(2.2 * Math.exp(0.28 * random.normal()), 4.8);
  const strokes = distort(variant, digit, random);
  let minX = Number.POSITIVE_INFINITY;
  let minY = Number.POSITIVE_INFINITY;
  let maxX = Number.NEGATIVE_INFINITY;
  let maxY = Number.NEGATIVE_INFINITY;
  for (const points of strokes) {
    for (let i = 0; i < points.length; i += 2) {
      minX = Math.min(minX, points[i]!);
      maxX = Math.max(maxX, points[i]!);
      minY = Math.min(minY, points[i + 1]!);
      maxY = Math.max(maxY, points[i + 1]!);
    }
  }
  // The pen's width belongs to the ink that must fill the box.
  const scale = (BOX - pen) / Math.max(maxX - minX, maxY - minY);
  const x0 = left + CELL / 2 - (scale * (minX + maxX)) / 2;
  const y0 = top + CELL / 2 - (scale * (minY + maxY)) / 2;
  const cap = random.chance(0.8) ? "round" : random.chance(0.5) ? "butt" : "square";
  let path = "";
  for (const points of strokes) {
    for (let i = 0; i < points.length; i += 2) {
      const x = (x0 + scale * points[i]!).toFixed(2);
      const y = (y0 + scale * points[i + 1]!).toFixed(2);
      path += `${i === 0 ? "M" : "L"}${x} ${y}`;
    }
  }
  return `<path d="${path}" stroke-width="${pen.toFixed(2)}" stroke-linecap="${cap}"/>`;
}

function pick(variants: readonly DigitVariant[], random: Random): DigitVariant {
  let total = 0;
  for (const variant of variants) total += variant.weight;
  let at = random.uniform() * total;
  for (const variant of variants) {
    at -= variant.weight;
    if (at < 0) return variant;
  }
  return variants[0]!;
}

/** The variant's strokes as dense lines, changed as hands change them. */
function distort(variant: DigitVariant, digit: number, random: Random): number[][] {
  const width = (variant.width ?? 1) * Math.exp(0.17 * random.normal());
  // Writing leans to the right more often than to the left, a bare 1 most of all.
  const slant = 0.15 + (digit === 1 ? 0.28 : 0.25) * random.normal();
  const turn = 0.1 * random.normal();
  const cos = Math.cos(turn);
  const sin = Math.sin(turn);
  const taper = 0.14 * random.normal();
  const wobble = random.between(0.12, 0.55);
  const tremor = random.between(0, 0.13);
  const stretchX = stretching(10, random);
  const stretchY = stretching(14, random);
  const bend = bending(random);
  return variant.strokes.map((stroke) => {
    const line = curveThrough(moveControls(stroke, wobble, random));
    for (let i = 0; i < line.length; i += 2) {
      const [bentX, bentY] = bend(line[i]!, line[i + 1]!);
      const y = stretchY(bentY) - 7;
      const x = (stretchX(bentX) - 5) * width * (1 + (taper * y) / 7) - slant * y;
      line[i] = cos * x - sin * y + tremor * (random.uniform() - 0.5);
      line[i + 1] = sin * x + cos * y + tremor * (random.uniform() - 0.5);
    }
    return line;
  });
}

/** Grows one part of an axis at the cost of the others: a large ring on a short stem, or the reverse. */
function stretching(length: number, random: Random): (at: number) => number {
  const single = 0.06 * length * random.normal();
  const double = 0.03 * length * random.normal();
  return (at) => {
    const angle = (Math.PI * at) / length;
    return at + single * Math.sin(angle) + double * Math.sin(2 * angle);
  };
}

/** Moves every control point by itself, and the whole stroke against the others. */
function moveControls(stroke: readonly number[], wobble: number, random: Random): number[] {
  const shiftX = 0.2 * random.normal();
  const shiftY = 0.2 * random.normal();
  const moved: number[] = [];
  for (let i = 0; i < stroke.length; i += 2) {
    const corner = i > 0 && stroke[i] === stroke[i - 2] && stroke[i + 1] === stroke[i - 1];
    if (corner) {
      moved.push(moved[i - 2]!, moved[i - 1]!);
      continue;
    }
    moved.push(stroke[i]! + shiftX + wobble * random.normal(), stroke[i + 1]! + shiftY + wobble * random.normal());
  }
  return moved;
}

/** A smooth field of displacements: two slow waves along each axis. */
function bending(random: Random): (x: number, y: number) => [number, number] {
  const wave = () => {
    const angle = random.between(0, 2 * Math.PI);
    const frequency = random.between(0.15, 0.45);
    const phase = random.between(0, 2 * Math.PI);
    const amplitude = 0.5 * random.normal();
    const fx = frequency * Math.cos(angle);
    const fy = frequency * Math.sin(angle);
    return (x: number, y: number) => amplitude * Math.sin(fx * x + fy * y + phase);
  };
  const [x1, x2, y1, y2] = [wave(), wave(), wave(), wave()];
  return (x, y) => [x + x1(x, y) + x2(x, y), y + y1(x, y) + y2(x, y)];
}

/** Points on a curve through control points (Catmull–Rom), broken at corners, where a point stands twice. */
function curveThrough(points: readonly number[]): number[] {
  const line: number[] = [];
  const count = points.length / 2;
  let start = 0;
  for (let end = 1; end <= count; end++) {
    const broken =
      end < count && points[2 * end] === points[2 * end - 2] && points[2 * end + 1] === points[2 * end - 1];
    if (!broken && end < count) continue;
    addCurve(points, start, end - 1, line);
    start = end;
  }
  return line;
}

/** Steps between two control points. */
const STEPS = 6;

function addCurve(points: readonly number[], first: number, last: number, line: number[]): void {
  const at = (index: number, axis: number) => points[2 * Math.min(Math.max(index, first), last) + axis]!;
  if (line.length === 0) line.push(at(first, 0), at(first, 1));
  for (let i = first; i < last; i++) {
    for (let step = 1; step <= STEPS; step++) {
      const t = step / STEPS;
      for (let axis = 0; axis < 2; axis++) {
        const [a, b, c, d] = [at(i - 1, axis), at(i, axis), at(i + 1, axis), at(i + 2, axis)];
        line.push(b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a))));
      }
    }
  }
}

/**
 * What scanning does to ink: a little blur, and gain that makes most of it fully bright. Reads a cell of the sheet that
 * begins at `start` and writes the box inside it.
 */
function scan(sheet: Uint8Array, start: number, side: number, random: Random, box: Uint8Array): void {
  const blur = random.between(0, 0.16);
  const gain = random.between(1, 1.6);
  const centre = 1 - 2 * blur;
  const rows = new Float32Array(CELL * BOX);
  for (let y = 0; y < CELL; y++) {
    for (let x = 0; x < BOX; x++) {
      const at = start + y * side + x + 1;
      rows[y * BOX + x] = centre * sheet[at]! + blur * (sheet[at - 1]! + sheet[at + 1]!);
    }
  }
  for (let i = 0; i < BOX * BOX; i++) {
    const value = centre * rows[i + BOX]! + blur * (rows[i]! + rows[i + 2 * BOX]!);
    box[i] = Math.min(255, Math.round(gain * value));
  }
}
