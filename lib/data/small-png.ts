// The fast way for the images that servers get most: PNGs of a digit.
//
// Problem: sharp takes a thousand times as long for a PNG of 28×28 as the network does, most of it for crossing threads. Resolution:
// zlib, which Node has, and PNG's five filters, on the calling thread, for files that are plain: few pixels of eight bits,
// row after row, and nothing in the file that could change what they mean. Anything else, and anything that is not whole
// (each chunk's check sum, the length and the check sum of the pixels), is not decoded here: sharp decides about it, and
// has the word when it is damaged. What a file says of its size is looked at before anything is inflated.
import { crc32, inflateSync } from "node:zlib";

/** Grey, RGB, RGBA. */
const CHANNELS: Readonly<Record<number, number>> = { 0: 1, 2: 3, 6: 4 };
const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a] as const;
/** Longest side. */
const MAX_SIDE = 64;
/** Most bytes of a file: four times the pixels of the largest, for what an encoder may write beside them. */
const MAX_BYTES = 4 * (MAX_SIDE * 4 + 1) * MAX_SIDE;

const IHDR = 0x49484452;
const IDAT = 0x49444154;
const IEND = 0x49454e44;
/** What encoders add and sharp does not look at, and the length that it has. */
const HARMLESS: Readonly<Record<number, number>> = {
  1883789683: 9, // pHYs, pixels a metre
  1934772034: 1, // sRGB
  1732332865: 4, // gAMA
  1665684045: 32, // cHRM
  1950960965: 7, // tIME
};

/** Decoded pixels. */
export interface SmallImage {
  /** Row-major, channels together. */
  readonly data: Uint8Array;
  /** Pixels in a row. */
  readonly width: number;
  /** Rows. */
  readonly height: number;
  /** 1: grey, 3: RGB, 4: RGBA. */
  readonly channels: number;
}

/** The pixels of a small plain PNG; undefined for any other file, be it damaged, large or of another kind. */
export function decodeSmallPng(file: Uint8Array): SmallImage | undefined {
  if (file.length > MAX_BYTES || file.length < 57 || SIGNATURE.some((byte, i) => file[i] !== byte)) return undefined;
  if (wordAt(file, 8) !== 13 || wordAt(file, 12) !== IHDR) return undefined;
  const width = wordAt(file, 16);
  const height = wordAt(file, 20);
  const channels = CHANNELS[file[25]!];
  if (!(width >= 1 && width <= MAX_SIDE && height >= 1 && height <= MAX_SIDE) || channels === undefined)
    return undefined;
  // Bits a channel, compression, filter, interlace.
  if (file[24] !== 8 || file[26] !== 0 || file[27] !== 0 || file[28] !== 0) return undefined;
  const compressed = pixelsOf(file);
  if (compressed === undefined) return undefined;
  const stride = width * channels;
  const rows = inflate(compressed, (stride + 1) * height);
  const data = rows && unfilter(rows, stride, height, channels);
  return data && { data, width, height, channels };
}

function wordAt(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}

/** The contents of all IDAT chunks; undefined where a chunk is damaged, unknown here or in the wrong place. */
function pixelsOf(file: Uint8Array): Uint8Array | undefined {
  const parts: Uint8Array[] = [];
  let ended = false;
  for (let at = 8, seen = 0, last = 0; !ended; seen++) {
    if (at + 12 > file.length) return undefined;
    const length = wordAt(file, at);
    const type = wordAt(file, at + 4);
    const end = at + 8 + length;
    if (end + 4 > file.length || wordAt(file, end) !== crc32(file.subarray(at + 4, end))) return undefined;
    if (type === IDAT) {
      if (parts.length > 0 && last !== IDAT) return undefined;
      parts.push(file.subarray(at + 8, end));
    } else if (type === IEND) {
      if (length !== 0) return undefined;
      ended = true;
    } else if (type === IHDR ? seen !== 0 : parts.length > 0 || HARMLESS[type] !== length) return undefined;
    last = type;
    at = end + 4;
  }
  if (parts.length === 0) return undefined;
  return parts.length === 1 ? parts[0] : Buffer.concat(parts);
}

/** Exactly `length` bytes, with all of `compressed` used up for them. */
function inflate(compressed: Uint8Array, length: number): Uint8Array | undefined {
  try {
    // With `info` the result is not the bytes alone, which the types do not know.
    const { buffer, engine } = inflateSync(compressed, {
      maxOutputLength: length,
      // Room for all at once, and a little more, by which zlib sees that it has come to the end; 16 kB otherwise.
      chunkSize: length + 64,
      info: true,
    }) as unknown as { buffer: Uint8Array; engine: { bytesWritten: number } };
    return buffer.length === length && engine.bytesWritten === compressed.length ? buffer : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Takes back the filter of each row (PNG specification, section 9), with a row of zeroes above the first and a pixel of
 * zeroes left of each; undefined for a filter that there is not. One loop a filter, and no views: a view of a row costs
 * as much as its pixels.
 */
function unfilter(rows: Uint8Array, stride: number, height: number, channels: number): Uint8Array | undefined {
  // The row of zeroes, then the pixels.
  const pixels = new Uint8Array(stride * (height + 1));
  for (let y = 0, from = 0, to = stride; y < height; y++, from += stride, to += stride) {
    const filter = rows[from++];
    if (filter === 0) copy(rows, from, pixels, to, stride);
    else if (filter === 1) fromLeft(rows, from, pixels, to, stride, channels);
    else if (filter === 2) fromAbove(rows, from, pixels, to, stride);
    else if (filter === 3) fromMean(rows, from, pixels, to, stride, channels);
    else if (filter === 4) fromPaeth(rows, from, pixels, to, stride, channels);
    else return undefined;
  }
  return pixels.subarray(stride);
}

// Each takes a row's coded bytes, from `from` on, to pixels, from `to` on.

function copy(rows: Uint8Array, from: number, pixels: Uint8Array, to: number, stride: number): void {
  for (let x = 0; x < stride; x++) pixels[to + x] = rows[from + x]!;
}

function fromLeft(
  rows: Uint8Array,
  from: number,
  pixels: Uint8Array,
  to: number,
  stride: number,
  channels: number,
): void {
  copy(rows, from, pixels, to, channels);
  for (let x = channels; x < stride; x++) pixels[to + x] = rows[from + x]! + pixels[to + x - channels]!;
}

function fromAbove(rows: Uint8Array, from: number, pixels: Uint8Array, to: number, stride: number): void {
  const above = to - stride;
  for (let x = 0; x < stride; x++) pixels[to + x] = rows[from + x]! + pixels[above + x]!;
}

function fromMean(
  rows: Uint8Array,
  from: number,
  pixels: Uint8Array,
  to: number,
  stride: number,
  channels: number,
): void {
  const above = to - stride;
  for (let x = 0; x < channels; x++) pixels[to + x] = rows[from + x]! + (pixels[above + x]! >> 1);
  for (let x = channels; x < stride; x++) {
    pixels[to + x] = rows[from + x]! + ((pixels[to + x - channels]! + pixels[above + x]!) >> 1);
  }
}

/** The neighbour that is nearest to left + above - corner; of equals the left one, then the one above. */
function fromPaeth(
  rows: Uint8Array,
  from: number,
  pixels: Uint8Array,
  to: number,
  stride: number,
  channels: number,
): void {
  const above = to - stride;
  for (let x = 0; x < channels; x++) pixels[to + x] = rows[from + x]! + pixels[above + x]!;
  for (let x = channels; x < stride; x++) {
    const left = pixels[to + x - channels]!;
    const up = pixels[above + x]!;
    const corner = pixels[above + x - channels]!;
    const toLeft = Math.abs(up - corner);
    const toUp = Math.abs(left - corner);
    const toCorner = Math.abs(left + up - 2 * corner);
    pixels[to + x] = rows[from + x]! + (toLeft <= toUp && toLeft <= toCorner ? left : toUp <= toCorner ? up : corner);
  }
}
