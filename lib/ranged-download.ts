// Parts of a file that lies on a server, kept at their places in a local file with holes.
//
// Problem: of a large archive only some parts are needed, and a server may ignore ranges, answer another range than the
// one asked for, cut the connection in the middle, or have another file by the next request; a mixture of two files must
// not be taken for one. Resolution: the first answer tells size and version (a strong ETag, else Last-Modified), every
// later request names them (If-Range) and every answer is held against them; a part that broke off is continued where it
// ended. What the bytes are is for the caller to prove: a server without versions may have changed the file unseen.
import { type FileHandle, open } from "node:fs/promises";
import { delay, throwIfAborted } from "./abort.js";
import { isLeNet5Error } from "./errors.js";
import { writeFailure } from "./files.js";
import { CallbackFailure, reasonOf, type TransferLimits, TransferWatch } from "./transfer-watch.js";

/** Requests under way at once. */
const AT_ONCE = 4;
/** Bytes a request asks for at most: enough to make its latency small, little enough to spread over connections. */
const LARGEST_REQUEST = 8 * 2 ** 20;
/** A read that misses fetches this much, so that neighbouring reads find it. */
const READ_AHEAD = 2 ** 20;
/** Attempts at one request: in all, and one after another that bring nothing. */
const MAX_ATTEMPTS = 12;
const MAX_IDLE_ATTEMPTS = 3;
/** Milliseconds of waiting after an attempt that brought nothing. */
const PAUSE = 300;

/** From the first byte to the one behind the last. */
export interface ByteRange {
  start: number;
  end: number;
}

/** What {@link RangedFile.open} is told. */
export interface RangedRequest extends TransferLimits {
  url: string;
  /** Where the local file goes. */
  target: string;
  /** Most bytes that the whole file may have. */
  maxBytes: number;
  /** Bytes of the whole file, where they are known beforehand. */
  size?: number | undefined;
  /** Called as bytes arrive, with how many there are of all that were asked for by then. */
  onBytes?: (bytes: number) => void;
}

/** The server gives no ranges, or not those of one file: the whole file has to be fetched. */
export class RangesRefused extends Error {}

/** A file on a server, of which some ranges are here. */
export class RangedFile {
  readonly #request: RangedRequest;
  readonly #file: FileHandle;
  readonly #version: string | undefined;
  /** Bytes of the whole file. */
  readonly size: number;
  /** What is here: sorted, apart from each other. */
  #present: ByteRange[] = [];
  #bytes = 0;

  private constructor(request: RangedRequest, file: FileHandle, size: number, version: string | undefined) {
    this.#request = request;
    this.#file = file;
    this.size = size;
    this.#version = version;
  }

  /**
   * Asks the server for the first byte, and so whether it gives ranges.
   * @throws RangesRefused; an error of the network; LENET5_FILE_WRITE_FAILED, LENET5_ABORTED
   */
  static async open(request: RangedRequest): Promise<RangedFile> {
    const { size, version } = await firstAnswer(request);
    if (size > request.maxBytes) throw new RangesRefused(`a file of ${size} bytes, more than it can have`);
    if (request.size !== undefined && size !== request.size) {
      throw new RangesRefused(`a file of ${size} bytes and not ${request.size}`);
    }
    let file: FileHandle | undefined;
    try {
      file = await open(request.target, "w+");
      await file.truncate(size);
    } catch (error) {
      await file?.close();
      throw writeFailure(error, request.target);
    }
    return new RangedFile(request, file, size, version);
  }

  /** Reads bytes, which are fetched where they are not here. */
  async read(buffer: Uint8Array, position: number): Promise<void> {
    const end = position + buffer.length;
    if (end > this.size) throw new Error(`a read up to ${end} of ${this.size} bytes`);
    for (const { start, end: stop } of this.#missing({ start: position, end })) {
      // What lies behind is likely asked for next.
      await this.fetch([{ start, end: Math.min(this.size, Math.max(stop, start + READ_AHEAD)) }]);
    }
    for (let done = 0; done < buffer.length; ) {
      const { bytesRead } = await this.#file.read(buffer, done, buffer.length - done, position + done);
      if (bytesRead === 0) throw new Error("a file that became shorter");
      done += bytesRead;
    }
  }

  /**
   * Fetches what of these ranges is not here, several requests at once.
   * @throws RangesRefused; an error of the network; LENET5_FILE_WRITE_FAILED, LENET5_ABORTED; what `onBytes` throws
   */
  async fetch(ranges: readonly ByteRange[]): Promise<void> {
    const queue = ranges.flatMap((range) => this.#missing(range)).flatMap(inRequests);
    const ending = new AbortController();
    const worker = async () => {
      for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
        await this.#fetchOne(next, ending.signal);
        this.#present = joined([...this.#present, next]);
      }
    };
    const workers = Array.from({ length: Math.min(AT_ONCE, queue.length) }, () =>
      worker().catch((error) => {
        // The others need not go on.
        queue.length = 0;
        ending.abort(error);
        throw error;
      }),
    );
    const failed = (await Promise.allSettled(workers)).find(({ status }) => status === "rejected");
    throwIfAborted(this.#request.signal);
    if (ending.signal.aborted) throw ending.signal.reason;
    if (failed) throw (failed as PromiseRejectedResult).reason;
  }

  /** Bytes that have arrived. */
  get receivedBytes(): number {
    return this.#bytes;
  }

  /** Bytes of these ranges that are not here yet. */
  missingBytes(ranges: readonly ByteRange[]): number {
    return ranges.flatMap((range) => this.#missing(range)).reduce((sum, { start, end }) => sum + end - start, 0);
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  #missing({ start, end }: ByteRange): ByteRange[] {
    const missing: ByteRange[] = [];
    let from = start;
    for (const here of this.#present) {
      if (here.end <= from) continue;
      if (here.start >= end) break;
      if (here.start > from) missing.push({ start: from, end: here.start });
      from = here.end;
    }
    if (from < end) missing.push({ start: from, end });
    return missing;
  }

  async #fetchOne({ start, end }: ByteRange, ending: AbortSignal): Promise<void> {
    let position = start;
    let idle = 0;
    for (let attempt = 1; ; attempt++) {
      const before = position;
      try {
        await answerTo({ start: position, end }, this.#request, { size: this.size, version: this.#version }, ending, {
          onChunk: async (chunk) => {
            await writeAll(this.#file, chunk, position, this.#request.target);
            position += chunk.length;
            this.#bytes += chunk.length;
            CallbackFailure.of(() => this.#request.onBytes?.(this.#bytes));
          },
        });
        return;
      } catch (error) {
        if (error instanceof CallbackFailure) throw error.thrown;
        throwIfAborted(this.#request.signal);
        if (ending.aborted || error instanceof RangesRefused || isLeNet5Error(error)) throw error;
        idle = position > before ? 0 : idle + 1;
        if (idle === MAX_IDLE_ATTEMPTS || attempt === MAX_ATTEMPTS) {
          throw new Error(`${reasonOf(error)} for bytes ${position} to ${end - 1}`, { cause: error });
        }
        if (idle > 0) await delay(PAUSE * idle, this.#request.signal);
      }
    }
  }
}

/** Sorts ranges and joins those that overlap or have at most `gap` bytes between them. */
export function joined(ranges: readonly ByteRange[], gap = 0): ByteRange[] {
  const result: ByteRange[] = [];
  for (const range of [...ranges].sort((a, b) => a.start - b.start)) {
    const last = result.at(-1);
    if (last !== undefined && range.start <= last.end + gap) last.end = Math.max(last.end, range.end);
    else if (range.end > range.start) result.push({ ...range });
  }
  return result;
}

function inRequests({ start, end }: ByteRange): ByteRange[] {
  const requests: ByteRange[] = [];
  for (let from = start; from < end; from += LARGEST_REQUEST) {
    requests.push({ start: from, end: Math.min(end, from + LARGEST_REQUEST) });
  }
  return requests;
}

/** What is known of the file. */
interface Known {
  size: number;
  version: string | undefined;
}

async function firstAnswer(request: RangedRequest): Promise<Known> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await answerTo({ start: 0, end: 1 }, request, undefined, undefined, { onChunk: async () => {} });
    } catch (error) {
      throwIfAborted(request.signal);
      if (error instanceof RangesRefused || attempt === MAX_IDLE_ATTEMPTS) throw error;
      await delay(PAUSE * attempt, request.signal);
    }
  }
}

/** One request for one range; gives its bytes to `onChunk`, in order. */
async function answerTo(
  { start, end }: ByteRange,
  request: RangedRequest,
  known: Known | undefined,
  ending: AbortSignal | undefined,
  { onChunk }: { onChunk: (chunk: Uint8Array) => Promise<void> },
): Promise<Known> {
  const watch = new TransferWatch(request);
  const signal = ending === undefined ? watch.signal : AbortSignal.any([watch.signal, ending]);
  try {
    const response = await fetch(request.url, {
      headers: {
        "accept-encoding": "identity",
        range: `bytes=${start}-${end - 1}`,
        ...(known?.version === undefined ? {} : { "if-range": known.version }),
      },
      redirect: "follow",
      signal,
    });
    watch.answered();
    const { status } = response;
    if (status >= 500 || status === 429) throw new Error(`status ${status}`);
    if (status !== 206) throw new RangesRefused(known ? `another file, or status ${status}` : `status ${status}`);
    const answer = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(response.headers.get("content-range") ?? "");
    const size = Number(answer?.[3] ?? Number.NaN);
    const fits = Number(answer?.[1]) === start && Number(answer?.[2]) === end - 1 && Number.isSafeInteger(size);
    if (!fits || response.headers.has("content-encoding")) {
      throw new RangesRefused(`"${response.headers.get("content-range")}" for bytes ${start}-${end - 1}`);
    }
    const version = versionOf(response);
    if (known !== undefined && (size !== known.size || version !== known.version)) {
      throw new RangesRefused("another file by the next request");
    }
    let position = start;
    for await (const chunk of (response.body ?? []) as unknown as AsyncIterable<Uint8Array>) {
      if (position + chunk.length > end) throw new RangesRefused(`more than bytes ${start}-${end - 1}`);
      await onChunk(chunk);
      position += chunk.length;
      watch.progress(chunk.length);
    }
    if (position < end) throw new Error(`${position - start} of ${end - start} bytes`);
    return { size, version };
  } catch (error) {
    throw watch.reason ?? error;
  } finally {
    watch.stop();
  }
}

/** What tells one state of the file from another; weak ones do not promise equal bytes. */
function versionOf(response: Response): string | undefined {
  const tag = response.headers.get("etag");
  return tag?.startsWith('"') ? tag : (response.headers.get("last-modified") ?? undefined);
}

async function writeAll(file: FileHandle, chunk: Uint8Array, position: number, path: string): Promise<void> {
  for (let done = 0; done < chunk.length; ) {
    const { bytesWritten } = await file.write(chunk, done, chunk.length - done, position + done).catch((error) => {
      throw writeFailure(error, path);
    });
    done += bytesWritten;
  }
}
