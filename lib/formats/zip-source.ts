// Where the bytes of a zip file come from: memory, or a file of any size of which only what is asked for is read.
import type { FileHandle } from "node:fs/promises";
import type { RandomAccessReader } from "yauzl";

/** A part of a file's bytes. */
export interface Span {
  offset: number;
  bytes: Buffer;
}

/** The bytes of a zip file. */
export interface ZipSource {
  readonly size: number;
  /** What is in memory, in order of the offsets, without overlaps. */
  readonly held: readonly Span[];
  /** The bytes of a range if they are in memory. */
  at(offset: number, length: number): Buffer | undefined;
  /** The bytes of a range, fewer where the file is shorter; those that are in memory are not copied. */
  read(offset: number, length: number): Promise<Buffer>;
  /** Brings ranges, in order and apart from one another, into memory: from then on they are what they were. */
  hold(ranges: readonly { start: number; end: number }[]): Promise<void>;
}

/** A zip file in memory. The bytes must not change. */
export function zipInMemory(bytes: Uint8Array): ZipSource {
  const whole = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return {
    size: whole.length,
    held: [{ offset: 0, bytes: whole }],
    at: (offset, length) => (offset + length <= whole.length ? whole.subarray(offset, offset + length) : undefined),
    read: async (offset, length) => whole.subarray(Math.min(offset, whole.length), offset + length),
    hold: async () => {},
  };
}

/** A zip file on disk. */
export function zipInFile(file: FileHandle, size: number): ZipSource {
  let held: Span[] = [];
  const readFile = async (offset: number, length: number): Promise<Buffer> => {
    const bytes = Buffer.allocUnsafe(Math.max(0, Math.min(length, size - offset)));
    let done = 0;
    while (done < bytes.length) {
      const { bytesRead } = await file.read(bytes, done, Math.min(bytes.length - done, 2 ** 30), offset + done);
      if (bytesRead === 0) break;
      done += bytesRead;
    }
    return bytes.subarray(0, done);
  };
  const spanAt = (offset: number): Span | undefined => {
    let [low, high] = [0, held.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (held[middle]!.offset <= offset) low = middle + 1;
      else high = middle;
    }
    return held[low - 1];
  };
  const at = (offset: number, length: number): Buffer | undefined => {
    const span = spanAt(offset);
    if (span === undefined) return undefined;
    const start = offset - span.offset;
    return start + length <= span.bytes.length ? span.bytes.subarray(start, start + length) : undefined;
  };
  return {
    size,
    get held() {
      return held;
    },
    at,
    read: async (offset, length) => at(offset, length) ?? (await readFile(offset, length)),
    async hold(ranges) {
      const spans = ranges.map(async ({ start, end }) => ({
        offset: start,
        bytes: await readFile(start, end - start),
      }));
      held = [...held, ...(await Promise.all(spans))].sort((a, b) => a.offset - b.offset);
    },
  };
}

/** A source as yauzl reads it; yauzl itself is the caller's, who loads it when it is needed. */
export function readerOf(source: ZipSource, Reader: typeof RandomAccessReader): RandomAccessReader {
  const read = (
    buffer: Buffer,
    offset: number,
    length: number,
    position: number,
    callback: (error: Error | null, bytesRead?: number) => void,
  ): void => {
    const held = source.at(position, length);
    // At once: a file of thousands of entries is asked for each of them several times.
    if (held !== undefined) callback(null, held.copy(buffer, offset));
    else {
      source.read(position, length).then(
        (bytes) => callback(null, bytes.copy(buffer, offset)),
        (error: Error) => callback(error),
      );
    }
  };
  const close = (callback: (error: Error | null) => void): void => callback(null);
  return Object.assign(new (Reader as unknown as new () => RandomAccessReader)(), { read, close });
}
