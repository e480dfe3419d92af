// An event file that TensorBoard reads while it grows.
//
// Problem: a training writes some values a second, for hours, and may be killed at any time; the file must then be readable up to
// what was last flushed, and what waits to be written must not grow. Resolution: records are gathered up to a bound, then
// written whole, with one call, on the caller's thread (64 KB take less time than handing them to another); a write that
// fails half-way is cut off again, so that the file always ends where a record does. This is the one file of the package
// that does not come into being whole (files.ts): to be read while it grows is what it is for.
import { closeSync, ftruncateSync, mkdirSync, openSync, writeSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { sharp } from "../data/sharp.js";
import { expected, LeNet5Error } from "../errors.js";
import { isObject, isUint8Array } from "../is.js";
import { finiteNumber, readOptions } from "../options.js";
import { encode } from "./event-schema.js";
import { record } from "./records.js";
import {
  checkPixels,
  checkStep,
  checkTag,
  type GraphNode,
  graphBytes,
  type HyperParameter,
  histogramValue,
  hparamsValues,
  imageValue,
  type PixelImage,
  scalarValue,
  textValue,
} from "./summaries.js";

/** Options of {@link SummaryWriter}. */
export interface SummaryWriterOptions {
  /** Seconds after which what was written is in the file at the latest, while the event loop turns. @defaultValue 10 */
  flushSeconds?: number;
}

/** Bytes that wait at most before they are written. */
const MOST_WAITING = 64 * 1024;
/** Images that may be encoded at the same time; each holds its pixels. */
const MOST_IMAGES = 64;
let files = 0;

/**
 * Writes an event file for TensorBoard. Each writer has a file of its own, also where several share a folder; TensorBoard takes a
 * folder for a run.
 *
 * Values are written when 64 KB have gathered, every ten seconds, by {@link SummaryWriter.flush} and by
 * {@link SummaryWriter.close}; after each of these the file ends with a whole record, so that it can be read while it grows, and
 * after the process was killed. Where a write fails, the call that it happens in throws `LENET5_FILE_WRITE_FAILED`; what a
 * timer's write met, the next call throws.
 */
export class SummaryWriter {
  /** The event file. */
  readonly path: string;
  readonly #file: number;
  readonly #timer: NodeJS.Timeout;
  readonly #started = now();
  readonly #images = new Set<Promise<void>>();
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  /** Where the last whole record ends. */
  #length = 0;
  /** What the timer met. */
  #failure: LeNet5Error | undefined;
  #closing: Promise<void> | undefined;
  #closed = false;

  /**
   * Makes the folder where there is none, and the file.
   * @param directory - the run's folder
   * @param options - how often it is flushed
   * @throws LENET5_INVALID_ARGUMENT, LENET5_UNKNOWN_OPTION, LENET5_INVALID_OPTION, LENET5_FILE_WRITE_FAILED
   */
  constructor(directory: string, options?: SummaryWriterOptions) {
    if (typeof directory !== "string" || directory === "" || directory.includes("\0"))
      throw expected("INVALID_ARGUMENT", "the path of a folder", "directory", directory);
    const { flushSeconds = 10 } = readOptions(options, ["flushSeconds"], "SummaryWriter");
    finiteNumber(flushSeconds, "flushSeconds", "above 0 and up to 86,400", (x) => x > 0 && x <= 86_400);
    try {
      mkdirSync(directory, { recursive: true });
      ({ path: this.path, file: this.#file } = openOwn(directory));
    } catch (cause) {
      const message = `Expected a folder that can be written for directory but received ${directory}: ${(cause as Error).message}`;
      throw new LeNet5Error("FILE_WRITE_FAILED", message, { cause });
    }
    this.#timer = setInterval(() => {
      try {
        this.#write();
      } catch (error) {
        this.#failure = error as LeNet5Error;
      }
    }, flushSeconds * 1000);
    this.#timer.unref();
    this.#add({ fileVersion: "brain.Event:2" });
    try {
      this.flush();
    } catch (error) {
      this.#release();
      throw error;
    }
  }

  /**
   * A number at a step, for curves. NaN and infinity are taken: TensorBoard marks them.
   * @throws LENET5_INVALID_ARGUMENT, LENET5_DISPOSED, LENET5_FILE_WRITE_FAILED
   */
  scalar(tag: string, value: number, step: number): void {
    this.#summary(step, [scalarValue(checkTag(tag), value)]);
  }

  /**
   * How some numbers are distributed at a step. They must be finite.
   * @throws LENET5_INVALID_ARGUMENT, LENET5_DISPOSED, LENET5_FILE_WRITE_FAILED
   */
  histogram(
    tag: string,
    values: readonly number[] | Exclude<NodeJS.TypedArray, BigInt64Array | BigUint64Array>,
    step: number,
  ): void {
    this.#summary(step, [histogramValue(checkTag(tag), values)]);
  }

  /**
   * A text at a step, in Markdown.
   * @throws LENET5_INVALID_ARGUMENT, LENET5_DISPOSED, LENET5_FILE_WRITE_FAILED
   */
  text(tag: string, text: string, step = 0): void {
    this.#summary(step, [textValue(checkTag(tag), text)]);
  }

  /**
   * An image at a step: a PNG's bytes, or pixels, which become one. It is taken before the call returns, and written when the
   * promise resolves; at most 64 may be under way.
   * @throws LENET5_INVALID_ARGUMENT, LENET5_INVALID_SHAPE, LENET5_QUEUE_FULL, LENET5_DISPOSED, LENET5_FILE_WRITE_FAILED
   */
  async image(tag: string, image: Uint8Array | PixelImage, step: number): Promise<void> {
    this.#requireOpen();
    checkTag(tag);
    checkStep(step);
    if (isUint8Array(image)) {
      this.#summary(step, [imageValue(tag, image)]);
      return;
    }
    const { data, width, height, channels } = checkPixels(tag, image);
    if (this.#images.size >= MOST_IMAGES)
      throw new LeNet5Error(
        "QUEUE_FULL",
        `Expected at most ${MOST_IMAGES} images under way for ${tag} but received one more: await them`,
      );
    const encoded = sharp()(Buffer.from(data), { raw: { width, height, channels } })
      .png()
      .toBuffer()
      .then((png) => this.#put(step, [imageValue(tag, png)]));
    const settled = encoded.catch(() => {}).finally(() => this.#images.delete(settled));
    this.#images.add(settled);
    await encoded;
  }

  /**
   * What a run was made with and what came of it, for the table of hyper-parameters; once a run, at its end. The metrics become
   * scalars of their names as well.
   * @param parameters - values by name: texts, numbers, true or false
   * @param metrics - final figures by name
   * @throws LENET5_INVALID_ARGUMENT, LENET5_DISPOSED, LENET5_FILE_WRITE_FAILED
   */
  hparams(
    parameters: Readonly<Record<string, HyperParameter>>,
    metrics: Readonly<Record<string, number>> = {},
    step = 0,
  ): void {
    for (const [name, value] of Object.entries({ parameters, metrics }))
      if (!isObject(value)) throw expected("INVALID_ARGUMENT", "an object of values by name", name, value);
    const figures = Object.entries(metrics).map(([tag, value]) => scalarValue(checkTag(tag), value));
    const times = { start: this.#started, end: now() };
    this.#summary(step, [...hparamsValues(parameters, Object.keys(metrics), times), ...figures]);
  }

  /**
   * A graph of operations; `lenet5Graph()` is LeNet-5's.
   * @throws LENET5_INVALID_ARGUMENT, LENET5_DISPOSED, LENET5_FILE_WRITE_FAILED
   */
  graph(nodes: readonly GraphNode[]): void {
    this.#requireOpen();
    this.#add({ graphDef: graphBytes(nodes) });
  }

  /**
   * Puts into the file what waits to be written.
   * @throws LENET5_DISPOSED, LENET5_FILE_WRITE_FAILED
   */
  flush(): void {
    this.#requireOpen();
    this.#write();
  }

  /**
   * Waits for images under way, flushes and closes the file. A second call gives what the first one gave.
   * @throws LENET5_FILE_WRITE_FAILED
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#timer);
    await Promise.all(this.#images);
    try {
      this.#write();
      if (this.#failure !== undefined) throw this.#failure;
    } finally {
      this.#release();
    }
  }

  /** As {@link SummaryWriter.close}, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #summary(step: number, value: object[]): void {
    this.#requireOpen();
    this.#put(checkStep(step), value);
  }

  #put(step: number, value: object[]): void {
    this.#add({ step, summary: { value } });
  }

  #add(event: object): void {
    const bytes = record(encode("Event", { wallTime: now(), ...event }));
    // Before it is added: one large image does not make the rest wait for room.
    if (this.#waitingBytes + bytes.length > MOST_WAITING) this.#write();
    this.#waiting.push(bytes);
    this.#waitingBytes += bytes.length;
    if (this.#waitingBytes > MOST_WAITING) this.#write();
  }

  #write(): void {
    if (this.#waiting.length === 0) return;
    const bytes = Buffer.concat(this.#waiting);
    // They are let go of whatever comes: a full disk must not fill memory too.
    this.#waiting = [];
    this.#waitingBytes = 0;
    try {
      for (let done = 0; done < bytes.length; )
        done += writeSync(this.#file, bytes, done, undefined, this.#length + done);
      this.#length += bytes.length;
    } catch (cause) {
      try {
        ftruncateSync(this.#file, this.#length);
      } catch {} // readers stop at a record that is not whole
      const message = `Expected room for ${bytes.length} bytes for ${this.path} but received ${(cause as Error).message}`;
      throw new LeNet5Error("FILE_WRITE_FAILED", message, { cause });
    }
  }

  #requireOpen(): void {
    if (this.#closed)
      throw new LeNet5Error("DISPOSED", `Expected an open writer for ${this.path} but received one that was closed`);
    if (this.#failure === undefined) return;
    const failure = this.#failure;
    this.#failure = undefined;
    throw failure;
  }

  #release(): void {
    this.#closed = true;
    clearInterval(this.#timer);
    closeSync(this.#file);
  }
}

/** Opens a file that nobody else has: the name says when, where, who and which of them. */
function openOwn(directory: string): { path: string; file: number } {
  const host = hostname().replaceAll(/[^\w.-]/g, "-");
  for (;;) {
    const path = join(directory, `events.out.tfevents.${Math.floor(now())}.${host}.${process.pid}.${files++}`);
    try {
      return { path, file: openSync(path, "wx") };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
  }
}

/** Seconds since 1970. */
function now(): number {
  return Date.now() / 1000;
}
