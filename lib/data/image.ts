// An image file of any size and format becomes what the network was trained on: 28×28 grey, light ink on black.
//
// Problem: MNIST's images were made in a certain way (ink scaled into 20×20, centred by mass), and a network trained on
// them fails on images that were not. Resolution: the same steps here, for prediction and for folders of images alike.
// An image that is 28×28 already counts as made that way and keeps its pixels; only its polarity is mended.

import { availableParallelism } from "node:os";
import { setImmediate as nextTurn } from "node:timers/promises";
import { throwIfAborted } from "../abort.js";
import { type BlobLike, bytesOf } from "../byte-source.js";
import { expected, expectedButGot, isLeNet5Error, LeNet5Error } from "../errors.js";
import { optionalFunction, optionalSignal, readOptions, wholeNumber } from "../options.js";
import { readBytes, withRegularFile } from "../regular-file.js";
import { PIXELS, SIDE } from "./dataset.js";
import { type ImageSource, MAX_IMAGE_PIXELS, type TakenFile, type TakenImage, takeImage } from "./image-source.js";
import { BOX, placeByMass } from "./mass-centring.js";
import { sharp } from "./sharp.js";
import { decodeSmallPng } from "./small-png.js";

/** Most bytes an image file may have: 256 MiB. */
const MAX_FILE_BYTES = 2 ** 28;
/** Larger images are first reduced to this side: 50 pixels for each of the twenty that are wanted. */
const WORKING_SIDE = 1024;
/** Grey levels between the lightest and the darkest pixel below which an image counts as blank. */
const LEAST_CONTRAST = 16;
/** Images decoded on the calling thread before the event loop gets a turn: about a millisecond. */
const TURN = 32;
/** Share of light pixels at the border from which an image of 28×28 counts as dark ink on light ground. */
const LIGHT_BORDER = 0.75;

/**
 * Decodes an image file into the 784 pixels that the network takes.
 *
 * Transparency is laid on black or white, whichever the ink stands out from; colour becomes grey (ITU-R BT.601); dark
 * ink on a light ground, told by the border, is inverted; the ink's bounding box is scaled into 20×20 with its aspect
 * kept and smoothed; its centre of mass is put in the middle of 28×28. An image of 28×28 pixels is taken to be prepared
 * like this already: a PNG of an MNIST image gives that image, byte for byte (inverted, should its ground be light).
 * A blank image gives zeroes.
 *
 * @param source - path, `file:` or `data:` URL, contents, `Blob` or canvas pixels, in any format that sharp reads (PNG,
 *   JPEG, WebP, GIF, AVIF, TIFF, SVG); the first frame of an animation; up to 100 million pixels. `{ pixels }` with 784
 *   bytes, and bare ones without an image's signature, are such pixels already. Copied before the call returns
 * @returns 784 pixels 0..255, row-major, 0 = background
 * @throws LENET5_DATA_NOT_FOUND when the path does not exist; LENET5_IMAGE_UNREADABLE, naming the file, when it is no
 *   image, is damaged or too large; LENET5_INVALID_ARGUMENT for anything else, and for 784 bytes that begin as an image
 *   file; LENET5_INVALID_SHAPE
 */
export async function decodeDigit(source: ImageSource): Promise<Uint8Array> {
  return await decodeTaken(takeImage(source));
}

/** {@link decodeDigit}, once the source has been taken. */
async function decodeTaken(image: TakenImage): Promise<Uint8Array> {
  const digit = decodeTakenSync(image);
  if (digit !== undefined) return digit;
  const grey = await decodeGrey(image as TakenFile);
  return isPrepared(grey) ? mendPolarity(grey, new Uint8Array(PIXELS)) : await fitIntoField(grey);
}

/**
 * {@link decodeDigit} without a promise, for what takes some microseconds: a plain PNG of 28×28 (8-bit grey, RGB or RGBA;
 * not interlaced; no colour profile, palette, orientation or text), handed over as bytes, and pixels. For a server that
 * must not wait a turn of the event loop for each image.
 *
 * @returns the pixels that {@link decodeDigit} gives; `undefined` for all that has to be read, scaled or decoded by sharp,
 *   and for what is damaged: hand that to {@link decodeDigit}
 * @throws LENET5_INVALID_ARGUMENT, LENET5_INVALID_SHAPE and LENET5_IMAGE_UNREADABLE (no bytes at all) as {@link decodeDigit}
 * @example
 * const digit = decodeDigitSync({ image: body }) ?? (await decodeDigit({ image: body }));
 */
export function decodeDigitSync(source: ImageSource): Uint8Array | undefined {
  return decodeTakenSync(takeImage(source));
}

/** {@link decodeDigitSync}, once the source has been taken. */
function decodeTakenSync(image: TakenImage): Uint8Array | undefined {
  if (image.kind === "pixels") return image.pixels;
  if (image.kind !== "contents") return undefined;
  // The caller's own, and not a part of something larger: whoever reads its `buffer` finds the pixels at its start.
  const digit = new Uint8Array(PIXELS);
  return decodeSmallInto(image.bytes, digit) ? digit : undefined;
}

/**
 * {@link decodeDigitSync} of a file's contents, for whoever has a place for the pixels; the contents are the caller's again when
 * it returns.
 * @param digit - gets the 784 pixels
 * @returns false, with nothing written, where that gives none
 */
export function decodeSmallInto(contents: Uint8Array, digit: Uint8Array): boolean {
  const png = decodeSmallPng(contents);
  if (png === undefined || !isPrepared(png)) return false;
  mendPolarity({ ...png, data: toGrey(png.data, png.channels) }, digit);
  return true;
}

function isPrepared({ width, height }: { width: number; height: number }): boolean {
  return width === SIDE && height === SIDE;
}

/** Options of {@link decodeDigits}. */
export interface DecodeDigitsOptions {
  /** Images decoded at the same time, 1 to 1,024. @defaultValue the number of processors, at most 8 */
  concurrency?: number;
  /** Called after each image with the number done and the number of all. */
  onProgress?: (done: number, total: number) => void;
  /** Gets the error of an unreadable image, which then leaves zeroes; without it the first such error ends the call. */
  onUnreadable?: (error: LeNet5Error, index: number) => void;
  /** Aborts the call. */
  signal?: AbortSignal;
}

/**
 * Decodes many image files, a few at a time, as {@link decodeDigit} does.
 *
 * @returns `sources.length`·784 pixels
 * @throws what {@link decodeDigit} throws; LENET5_UNKNOWN_OPTION, LENET5_INVALID_OPTION, LENET5_ABORTED
 */
export async function decodeDigits(
  sources: readonly ImageSource[],
  options: DecodeDigitsOptions = {},
): Promise<Uint8Array> {
  const read = readOptions(options, ["concurrency", "onProgress", "onUnreadable", "signal"], "decodeDigits");
  if (!Array.isArray(sources)) throw expected("INVALID_ARGUMENT", "an array of images", "decodeDigits", sources);
  if (read.concurrency !== undefined) wholeNumber(read.concurrency, "concurrency", 1, 1024);
  optionalFunction(read.onProgress, "onProgress");
  optionalFunction(read.onUnreadable, "onUnreadable");
  optionalSignal(read.signal);
  return await decodeAll(
    Array.from(sources as readonly unknown[], (source, i) => takeImage(source, `sources[${i}]`)),
    read,
  );
}

/** {@link decodeDigits}, once sources and options have been taken. */
export async function decodeAll(sources: readonly TakenImage[], options: DecodeDigitsOptions): Promise<Uint8Array> {
  const { onProgress, onUnreadable, signal, concurrency = Math.min(availableParallelism(), 8) } = options;
  const images = new Uint8Array(sources.length * PIXELS);
  let next = 0;
  let done = 0;
  let failed = false;
  const work = async () => {
    while (next < sources.length && !failed) {
      throwIfAborted(signal);
      const index = next++;
      try {
        images.set(await decodeTaken(sources[index]!), index * PIXELS);
      } catch (error) {
        if (!isLeNet5Error(error) || onUnreadable === undefined) throw error;
        onUnreadable(error, index);
      }
      done++;
      onProgress?.(done, sources.length);
      // Small PNGs that were handed over as bytes are decoded without waiting for anything: others get their turn too.
      if (done % TURN === 0) await nextTurn();
    }
    throwIfAborted(signal);
  };
  const workers = Math.max(1, Math.min(concurrency, sources.length));
  const guarded = () =>
    work().catch((error: unknown) => {
      failed = true;
      throw error;
    });
  await Promise.all(Array.from({ length: workers }, guarded));
  return images;
}

interface Grey {
  data: Uint8Array;
  width: number;
  height: number;
}

/** An image that is not decoded yet, the right way up. @throws LENET5_DATA_NOT_FOUND, LENET5_IMAGE_UNREADABLE */
export async function openImage(image: TakenFile): Promise<ReturnType<ReturnType<typeof sharp>>> {
  return openContents(image, image.kind === "colours" ? image.data : await contentsOf(image));
}

function openContents(image: TakenFile, contents: Uint8Array): ReturnType<ReturnType<typeof sharp>> {
  const raw =
    image.kind === "colours" ? { raw: { width: image.width, height: image.height, channels: 4 as const } } : {};
  try {
    return sharp()(contents, { limitInputPixels: MAX_IMAGE_PIXELS, failOn: "error", ...raw }).autoOrient();
  } catch (cause) {
    throw unreadableImage(cause, image); // sharp looks for nothing at all in its input at once
  }
}

/** The error of an image that cannot be decoded. */
export function unreadableImage(cause: unknown, { name }: TakenFile): LeNet5Error {
  const received = (cause as Error).message;
  return new LeNet5Error("IMAGE_UNREADABLE", `Expected a whole image for ${name} but received ${received}`, { cause });
}

/** Decodes, reduces to the working size, and brings colour and transparency down to one grey byte a pixel. */
async function decodeGrey(image: TakenFile): Promise<Grey> {
  const contents = image.kind === "colours" ? image.data : await contentsOf(image);
  const png = image.kind === "colours" ? undefined : decodeSmallPng(contents);
  if (png !== undefined) return { ...png, data: toGrey(png.data, png.channels) };
  const opened = openContents(image, contents);
  try {
    const { data, info } = await opened
      .resize({ width: WORKING_SIDE, height: WORKING_SIDE, fit: "inside", withoutEnlargement: true })
      .toColourspace("srgb")
      .raw({ depth: "uchar" })
      .toBuffer({ resolveWithObject: true });
    return { data: toGrey(data, info.channels), width: info.width, height: info.height };
  } catch (cause) {
    throw unreadableImage(cause, image);
  }
}

/** The file's bytes. sharp gets contents and no path: it would remember a path's pixels when the file has changed. */
async function contentsOf(image: Exclude<TakenImage, { kind: "pixels" | "colours" }>): Promise<Uint8Array> {
  const { name } = image;
  if (image.kind === "contents") return image.bytes;
  if (image.kind === "blob") return await contentsOfBlob(image.blob, name);
  const wanted = { what: "an image file", missing: "DATA_NOT_FOUND", other: "IMAGE_UNREADABLE" } as const;
  return await withRegularFile(image.path, wanted, async (file, size) => {
    if (size > MAX_FILE_BYTES) {
      throw expectedButGot("IMAGE_UNREADABLE", `at most ${MAX_FILE_BYTES} bytes`, name, `${size} bytes`);
    }
    if (size === 0) throw expectedButGot("IMAGE_UNREADABLE", "a whole image", name, "an empty file");
    return await readBytes(file, size);
  });
}

async function contentsOfBlob(blob: BlobLike, name: string): Promise<Uint8Array> {
  if (!(blob.size <= MAX_FILE_BYTES)) {
    throw expectedButGot("IMAGE_UNREADABLE", `at most ${MAX_FILE_BYTES} bytes`, name, `${blob.size} bytes`);
  }
  let bytes: Uint8Array | undefined;
  try {
    bytes = bytesOf(await blob.arrayBuffer());
  } catch (error) {
    throw new LeNet5Error("IMAGE_UNREADABLE", `Expected a Blob that can be read for ${name} but received ${error}`, {
      cause: error,
    });
  }
  if (!bytes?.length) throw expectedButGot("IMAGE_UNREADABLE", "a whole image", name, "no bytes");
  return bytes;
}

/** Luma of each pixel; where all channels agree it is exactly their value. */
function toGrey(data: Uint8Array, channels: number): Uint8Array {
  if (channels === 1) return data;
  const count = data.length / channels;
  const grey = new Uint8Array(count);
  for (let i = 0, at = 0; i < count; i++, at += channels) {
    const red = data[at]!;
    const green = data[at + 1]!;
    const blue = data[at + 2]!;
    const isGrey = channels < 3 || (red === green && green === blue);
    grey[i] = isGrey ? red : Math.round(0.299 * red + 0.587 * green + 0.114 * blue);
  }
  if (channels === 2 || channels === 4) layOnGround(grey, data, channels);
  return grey;
}

/** Lays what is transparent on black or white. What is opaque is the ink: the ground is what it stands out from. */
function layOnGround(grey: Uint8Array, data: Uint8Array, channels: number): void {
  const last = channels - 1;
  let opacity = 0;
  let light = 0;
  for (let i = 0; i < grey.length; i++) {
    const alpha = data[i * channels + last]!;
    opacity += alpha;
    light += alpha * grey[i]!;
  }
  if (opacity === grey.length * 255) return;
  const ground = light > opacity * 127.5 ? 0 : 255;
  for (let i = 0; i < grey.length; i++) {
    const alpha = data[i * channels + last]!;
    grey[i] = Math.round((grey[i]! * alpha + ground * (255 - alpha)) / 255);
  }
}

/** Light ink on dark ground, whichever it was, into `digit`. */
function mendPolarity({ data, width, height }: Grey, digit: Uint8Array): Uint8Array {
  digit.set(data);
  const border = 2 * width + 2 * (height - 2);
  if (lightAtBorder(data, width, height) >= border * LIGHT_BORDER) {
    for (let i = 0; i < digit.length; i++) digit[i] = 255 - digit[i]!;
  }
  return digit;
}

/** Number of light pixels at the border of an image of two rows and more. */
function lightAtBorder(data: Uint8Array, width: number, height: number): number {
  const last = (height - 1) * width;
  let light = 0;
  for (let x = 0; x < width; x++) light += (data[x]! > 127 ? 1 : 0) + (data[last + x]! > 127 ? 1 : 0);
  for (let at = width; at < last; at += width) {
    light += (data[at]! > 127 ? 1 : 0) + (data[at + width - 1]! > 127 ? 1 : 0);
  }
  return light;
}

/** Crops to the ink, scales it into the box and centres it. */
async function fitIntoField(grey: Grey): Promise<Uint8Array> {
  const { width, height } = grey;
  const digit = new Uint8Array(PIXELS);
  const ink = inkOf(grey);
  if (ink === undefined) return digit;
  const { left, top, right, bottom } = boundsOf(ink, width, height, thresholdOf(ink));
  const cropWidth = right - left + 1;
  const cropHeight = bottom - top + 1;
  const scale = BOX / Math.max(cropWidth, cropHeight);
  const boxWidth = Math.max(1, Math.round(cropWidth * scale));
  const boxHeight = Math.max(1, Math.round(cropHeight * scale));
  const box = await sharp()(ink, { raw: { width, height, channels: 1 } })
    .extract({ left, top, width: cropWidth, height: cropHeight })
    .resize({ width: boxWidth, height: boxHeight, fit: "fill", kernel: "cubic" })
    .toColourspace("b-w")
    .raw()
    .toBuffer();
  // A thin line fades when it is scaled down; MNIST's ink always reaches full brightness.
  const peak = box.reduce((highest, value) => Math.max(highest, value), 1);
  placeByMass(
    box.map((value) => Math.round((value * 255) / peak)),
    boxWidth,
    boxHeight,
    digit,
  );
  return digit;
}

/** Light ink on black, stretched to 0..255; undefined for a blank image. */
function inkOf({ data, width, height }: Grey): Uint8Array | undefined {
  let lowest = 255;
  let highest = 0;
  for (const value of data) {
    if (value < lowest) lowest = value;
    if (value > highest) highest = value;
  }
  if (highest - lowest < LEAST_CONTRAST) return undefined;
  const border = borderOf(data, width, height).sort();
  const ground = border[border.length >> 1]!;
  const inverted = ground > (lowest + highest) / 2;
  // Grain of the ground, as the border shows it: what stands out less is not ink. None in a clean drawing.
  const grain = 3 * Math.abs(ground - border[Math.floor(border.length * (inverted ? 0.25 : 0.75))]!);
  const reach = inverted ? ground - lowest : highest - ground;
  const floor = Math.min(grain, reach / 2);
  return data.map((value) => {
    const ink = (inverted ? ground - value : value - ground) - floor;
    return ink <= 0 ? 0 : Math.round((ink * 255) / (reach - floor));
  });
}

function borderOf(data: Uint8Array, width: number, height: number): Uint8Array {
  const border = new Uint8Array(2 * width + 2 * Math.max(0, height - 2));
  let at = 0;
  for (let x = 0; x < width; x++) {
    border[at++] = data[x]!;
    border[at++] = data[(height - 1) * width + x]!;
  }
  for (let y = 1; y < height - 1; y++) {
    border[at++] = data[y * width]!;
    border[at++] = data[y * width + width - 1]!;
  }
  return border;
}

/** Otsu's threshold (1979): the grey level that parts ink and ground with the greatest variance between the two. */
function thresholdOf(ink: Uint8Array): number {
  const histogram = new Float64Array(256);
  for (const value of ink) histogram[value]!++;
  let sum = 0;
  for (let value = 0; value < 256; value++) sum += value * histogram[value]!;
  let below = 0;
  let sumBelow = 0;
  let best = 0;
  let bestVariance = -1;
  for (let value = 0; value < 255; value++) {
    below += histogram[value]!;
    sumBelow += value * histogram[value]!;
    const above = ink.length - below;
    if (below === 0 || above === 0) continue;
    const apart = sumBelow / below - (sum - sumBelow) / above;
    const variance = below * above * apart * apart;
    if (variance > bestVariance) {
      bestVariance = variance;
      best = value;
    }
  }
  return best;
}

/** The smallest box around all pixels above a threshold; there is at least one, the brightest. */
function boundsOf(ink: Uint8Array, width: number, height: number, threshold: number) {
  let left = width;
  let right = -1;
  let top = height;
  let bottom = -1;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (ink[y * width + x]! <= threshold) continue;
      if (x < left) left = x;
      if (x > right) right = x;
      if (y < top) top = y;
      bottom = y;
    }
  }
  return { left, top, right, bottom };
}
