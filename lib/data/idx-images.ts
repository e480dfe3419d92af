// The images of an IDX file in order, a few at a time: a file may be larger than memory.
import { createHash } from "node:crypto";
import type { Stats } from "node:fs";
import { type FileHandle, stat } from "node:fs/promises";
import { createGunzip } from "node:zlib";
import { throwIfAborted } from "../abort.js";
import { expected, isLeNet5Error, type LeNet5Error } from "../errors.js";
import { readFailure } from "../files.js";
import { openRegularFile, readBytes, type Wanted, withRegularFile } from "../regular-file.js";
import { PIXELS, SIDE } from "./dataset.js";
import {
  corrupt,
  damaged,
  type Header,
  isGzip,
  MAX_RATIO,
  PREFIX,
  parseHeader,
  unpackPrefix,
  wrongLength,
} from "./idx-header.js";

/** Bytes at the file's start, and at its end, that tell it from another one of the same size. */
const SAMPLE = 2 ** 20;

const WANTED: Wanted = { what: "an IDX file", missing: "DATA_NOT_FOUND" };

/** An IDX file of images, looked at and not read yet. */
export interface IdxImages {
  /** Number of images. */
  readonly count: number;
  /** Of its size, its beginning and its end: tells whether it is the same file as another time, without reading all of it. */
  readonly digest: string;
  /** Pixels of the images `from` … `to` − 1, `step` images at a time. @throws LENET5_DATA_CORRUPT, LENET5_ABORTED */
  pixels(from: number, to: number, step: number, signal?: AbortSignal): AsyncGenerator<Uint8Array>;
}

/**
 * Opens an IDX file of images of 28×28, plain or gzip.
 * @throws LENET5_DATA_NOT_FOUND, LENET5_FILE_READ_FAILED, LENET5_DATA_CORRUPT, LENET5_INVALID_SHAPE
 */
export async function openIdxImages(path: string): Promise<IdxImages> {
  return await withRegularFile(path, WANTED, async (file, size) => {
    const looked = await file.stat();
    const start = await readBytes(file, Math.min(size, SAMPLE));
    const zipped = isGzip(start);
    const header = parseHeader(
      zipped ? unpackPrefix(start.subarray(0, PREFIX), path) : start,
      path,
      Number.MAX_SAFE_INTEGER,
    );
    const declared = header.length + header.elements;
    const room = zipped ? size * MAX_RATIO : size;
    if (declared > room || (!zipped && declared !== room)) throw wrongLength(path, header, zipped, room);
    const [count, height, width] = header.shape;
    if (header.shape.length !== 3 || height !== SIDE || width !== SIDE) {
      throw expected("INVALID_SHAPE", `dimensions [N, ${SIDE}, ${SIDE}]`, path, header.shape);
    }
    const end = Buffer.alloc(Math.min(size, SAMPLE));
    await readFully(file, end, size - end.length, path, size);
    const digest = createHash("sha256").update(`idx ${size}\n`).update(start).update(end).digest("hex");
    const read = zipped ? unpackedPixels : plainPixels;
    return {
      count: count!,
      digest,
      async *pixels(from, to, step, signal) {
        await requireUnchanged(path, looked);
        yield* read(path, header, from, to, step, signal);
        await requireUnchanged(path, looked);
      },
    };
  });
}

/** Refuses a file that was replaced, or written to, since it was looked at: its header may count other images. */
async function requireUnchanged(path: string, looked: Stats): Promise<void> {
  const { size, mtimeMs, ino } = await stat(path).catch((error: unknown) => {
    throw readFailure(error, "DATA_NOT_FOUND", WANTED.what, path);
  });
  if (size === looked.size && mtimeMs === looked.mtimeMs && ino === looked.ino) return;
  throw corrupt("the file in which the images were counted", path, "one that has changed since");
}

/** Reads one range after another. */
async function* plainPixels(
  path: string,
  header: Header,
  from: number,
  to: number,
  step: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  const { file } = await openRegularFile(path, WANTED);
  try {
    for (let at = from; at < to; at += step) {
      throwIfAborted(signal);
      const pixels = new Uint8Array((Math.min(at + step, to) - at) * PIXELS);
      await readFully(file, pixels, header.length + at * PIXELS, path, header.length + header.elements);
      yield pixels;
    }
  } finally {
    await file.close();
  }
}

/** Fills an array from a place in the file on. */
async function readFully(
  file: FileHandle,
  bytes: Uint8Array,
  position: number,
  path: string,
  size: number,
): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesRead } = await file
      .read(bytes, done, bytes.length - done, position + done)
      .catch((error: unknown) => Promise.reject(readFailure(error, "DATA_NOT_FOUND", WANTED.what, path)));
    if (bytesRead === 0) throw corrupt(`the ${size} bytes that it had`, path, `${position + done} bytes`);
    done += bytesRead;
  }
}

/** Unpacks from the beginning and drops what comes before the first image that is wanted. */
async function* unpackedPixels(
  path: string,
  header: Header,
  from: number,
  to: number,
  step: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  const { file } = await openRegularFile(path, WANTED);
  const packed = file.createReadStream();
  const unpacked = packed.pipe(createGunzip());
  packed.on("error", (error) => unpacked.destroy(error));
  const declared = header.length + header.elements;
  const first = header.length + from * PIXELS;
  const last = header.length + to * PIXELS;
  let pixels = new Uint8Array((Math.min(from + step, to) - from) * PIXELS);
  let filled = 0;
  let position = 0;
  try {
    for await (const chunk of unpacked as AsyncIterable<Buffer>) {
      throwIfAborted(signal);
      if (position + chunk.length > declared) throw longer(path, declared);
      let at = Math.min(Math.max(first - position, 0), chunk.length);
      const end = Math.min(Math.max(last - position, 0), chunk.length);
      position += chunk.length;
      while (at < end) {
        const part = chunk.subarray(at, Math.min(end, at + pixels.length - filled));
        pixels.set(part, filled);
        filled += part.length;
        at += part.length;
        if (filled < pixels.length) continue;
        yield pixels;
        from += step;
        pixels = new Uint8Array((Math.min(from + step, to) - Math.min(from, to)) * PIXELS);
        filled = 0;
      }
      // Others have the rest, and read whether it is there.
      if (position >= last && last < declared) return;
    }
    if (position < declared) throw corrupt(`${declared} bytes`, path, `${position} bytes after unpacking`);
  } catch (error) {
    throw isLeNet5Error(error) ? error : failureOf(error, path);
  } finally {
    packed.destroy();
    unpacked.destroy();
    await file.close().catch(() => {});
  }
}

function longer(path: string, declared: number): LeNet5Error {
  return corrupt(`the ${declared} bytes that its header declares`, path, "a gzip file that unpacks to more");
}

/** What a stream failed with: the disk, or what is packed. */
function failureOf(error: unknown, path: string): LeNet5Error {
  const isZlib = String((error as NodeJS.ErrnoException).code).startsWith("Z_");
  return isZlib ? damaged(path, error) : readFailure(error, "DATA_NOT_FOUND", WANTED.what, path);
}
