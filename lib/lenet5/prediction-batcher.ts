// Many concurrent predictions, few native calls.
//
// Problem: each asynchronous prediction costs a hop to another thread and back, which takes longer than the network
// itself; and with a hundred thousand of them waiting, an array, a handful of promises and a closure for each take longer
// too. Resolution: while native calls are under way (and until the current tick ends), predictions gather; what can share
// a call is copied into one block of memory, waits for one promise, and takes its rows out of one answer. The caller's
// array is the caller's again when `predict` returns. Three full batches are under way at a time, so that the next ones are
// computed while JavaScript hands out the answers of the last. The weights are those of the call too: `begin` comes before
// they change.
import { LeNet5Error } from "../errors.js";
import { isFloat32Array } from "../is.js";
import type { NativeCancellation, NativeLeNet5 } from "../native/types.js";
import { fromNative, nativeCall } from "../native.js";
import type { Pixels } from "./pixels.js";

/** Makes a result of the rows of a prediction, count × numClasses, and of the most probable class of each image. */
export type Finish<T> = (output: Float32Array, labels: Int32Array) => T;

type Answer = Awaited<ReturnType<NativeLeNet5["predict"]>>;

/** From this many images on, a call that need not wait goes alone: the copy that the addon makes is the only one then. */
const LARGE = 256;

/** Images in one native call at most, so that a late small request does not wait for an early huge crowd. */
const LARGEST_BATCH = 1024;

/** Full batches under way at the same time. */
const AT_ONCE = 3;

/** Predictions that share a native call: one element type, size and kind of answer. */
class Batch {
  readonly size: 28 | 32;
  readonly log: boolean;
  readonly isFloat: boolean;
  /** Settles as the native call does. */
  readonly answer: Promise<Answer>;
  resolve!: (answer: Answer) => void;
  reject!: (error: unknown) => void;
  /** The pixels of all parts, one after another, and room for more. */
  memory: Float32Array | Uint8Array;
  /** Where the images of each part begin. */
  readonly starts: number[] = [];
  /** Images of all parts. */
  images = 0;
  /** Whether nothing more comes in. */
  closed = false;

  constructor({ data, size }: Pixels, log: boolean, memory: Float32Array | Uint8Array) {
    this.size = size;
    this.log = log;
    this.isFloat = isFloat32Array(data);
    this.memory = memory;
    this.answer = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
  }

  isFor({ data, size }: Pixels, log: boolean): boolean {
    return size === this.size && log === this.log && isFloat32Array(data) === this.isFloat;
  }

  /** Copies a part. @returns its number */
  add({ data, count }: Pixels): number {
    const used = this.images * this.size ** 2;
    this.#makeRoom(used, count * this.size ** 2);
    this.memory.set(data, used);
    this.starts.push(this.images);
    this.images += count;
    this.closed = this.images >= LARGEST_BATCH;
    return this.starts.length - 1;
  }

  #makeRoom(used: number, more: number): void {
    const { length } = this.memory;
    if (used + more <= length) return;
    const larger = memoryFor(this.isFloat, Math.max(used + more, Math.min(2 * length, LARGEST_BATCH * this.size ** 2)));
    larger.set(this.memory.subarray(0, used));
    this.memory = larger;
  }

  /** Past the last image of a part. */
  endOf(part: number): number {
    return this.starts[part + 1] ?? this.images;
  }

  /** The images of each part; undefined where there is one. */
  counts(): Int32Array | undefined {
    return this.starts.length === 1 ? undefined : Int32Array.from(this.starts, (start, i) => this.endOf(i) - start);
  }

  /** The pixels of all parts. */
  pixels(): Float32Array | Uint8Array {
    return this.memory.subarray(0, this.images * this.size ** 2);
  }

  /** The pixels of a part. */
  part(part: number): Float32Array | Uint8Array {
    return this.memory.subarray(this.starts[part]! * this.size ** 2, this.endOf(part) * this.size ** 2);
  }
}

function memoryFor(isFloat: boolean, pixels: number): Float32Array | Uint8Array {
  return isFloat ? new Float32Array(pixels) : new Uint8Array(pixels);
}

/** Gathers asynchronous predictions of one model. */
export class PredictionBatcher {
  readonly #native: NativeLeNet5;
  readonly #numClasses: number;
  /** In the order in which they were begun. */
  #waiting: Batch[] = [];
  #running = 0;
  #scheduled = false;
  /** Memory of batches that have ended. */
  readonly #spare: (Float32Array | Uint8Array)[] = [];

  constructor(native: NativeLeNet5, numClasses: number) {
    this.#native = native;
    this.#numClasses = numClasses;
  }

  /**
   * Predicts `pixels`, together with whatever else waits; a call that shares its batch is not cancelled. What `finish`
   * makes of the answer is the result: a promise of its own for it would be one more a call.
   */
  predict<T>(pixels: Pixels, log: boolean, finish: Finish<T>, cancellation?: NativeCancellation): Promise<T> {
    if (pixels.count >= LARGE && this.#running === 0 && !this.#scheduled) {
      return this.#atOnce(pixels, log, cancellation).then(({ output, labels }) => finish(output, labels), converted);
    }
    const batch = this.#batchFor(pixels, log);
    const part = batch.add(pixels);
    if (batch.closed) this.#startClosed();
    this.#schedule();
    return batch.answer.then((answer) => this.#answerOf(batch, part, answer, finish), converted);
  }

  /** Hands all that waits to the addon, which takes the weights of this moment, before it returns. */
  begin(): void {
    for (const batch of this.#waiting.splice(0)) this.#start(batch);
  }

  /** Calls the addon before it returns. */
  async #atOnce({ data, size }: Pixels, log: boolean, cancellation: NativeCancellation | undefined): Promise<Answer> {
    this.#running += 1;
    try {
      return await this.#native.predict([data], size, log, cancellation);
    } finally {
      this.#ended();
    }
  }

  /** The batch that gathers such predictions and has room; the last ones alone gather. */
  #batchFor(pixels: Pixels, log: boolean): Batch {
    let before: Batch | undefined;
    for (let i = this.#waiting.length - 1; i >= 0 && before === undefined; i--) {
      if (this.#waiting[i]!.isFor(pixels, log)) before = this.#waiting[i]!;
    }
    if (before !== undefined) {
      if (!before.closed && before.images + pixels.count <= LARGEST_BATCH) return before;
      before.closed = true;
    }
    const isFloat = isFloat32Array(pixels.data);
    // Behind a full batch another one will be as full.
    const memory = this.#takeSpare(isFloat) ?? memoryFor(isFloat, before?.memory.length ?? 0);
    const batch = new Batch(pixels, log, memory);
    this.#waiting.push(batch);
    return batch;
  }

  #schedule(): void {
    if (this.#running > 0 || this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.#startNext();
    });
  }

  /** Starts what waited longest, if nothing is under way, and closed batches as far as they may. */
  #startNext(): void {
    if (this.#running === 0 && this.#waiting.length > 0) this.#start(this.#waiting.shift()!);
    this.#startClosed();
  }

  #startClosed(): void {
    while (this.#running < AT_ONCE && this.#waiting[0]?.closed) this.#start(this.#waiting.shift()!);
  }

  /** Calls the addon, which copies the pixels before it returns. */
  #start(batch: Batch): void {
    this.#running += 1;
    let answer: Promise<Answer>;
    try {
      answer = this.#native.predict([batch.pixels()], batch.size, batch.log, undefined, batch.counts());
    } catch (error) {
      answer = Promise.reject(error);
    }
    answer.then(
      (answer) => {
        this.#ended();
        // Rather no answer than a neighbour's.
        if (answer.labels.length !== batch.images) {
          const received = `${batch.images} predictions but received ${answer.labels.length}`;
          return batch.reject(new LeNet5Error("NATIVE_FAILURE", `Expected ${received}`));
        }
        if (answer.refused === undefined) this.#keep(batch.memory);
        batch.resolve(answer);
      },
      (error: unknown) => {
        this.#ended();
        batch.reject(error);
      },
    );
  }

  #ended(): void {
    this.#running -= 1;
    this.#startNext();
  }

  #takeSpare(isFloat: boolean): Float32Array | Uint8Array | undefined {
    const at = this.#spare.findIndex((memory) => isFloat32Array(memory) === isFloat);
    return at < 0 ? undefined : this.#spare.splice(at, 1)[0];
  }

  /** Keeps memory for another batch: never more than are under way at a time, of each type. */
  #keep(memory: Float32Array | Uint8Array): void {
    const isFloat = isFloat32Array(memory);
    const kept = this.#spare.filter((other) => isFloat32Array(other) === isFloat).length;
    if (kept < AT_ONCE && memory.length <= LARGEST_BATCH * 32 ** 2) this.#spare.push(memory);
  }

  #answerOf<T>(batch: Batch, part: number, { output, labels, refused }: Answer, finish: Finish<T>): T | Promise<T> {
    if (batch.starts.length === 1) return finish(output, labels);
    if (refused?.includes(part)) {
      // Bad pixels once more, for the error that names them.
      const again = nativeCall(() => this.#native.predict([batch.part(part)], batch.size, batch.log));
      return again.then(({ output, labels }) => finish(output, labels));
    }
    const start = batch.starts[part]!;
    const end = batch.endOf(part);
    const classes = this.#numClasses;
    return finish(copyOf(output, start * classes, end * classes), copyOf(labels, start, end));
  }
}

/** The error in the package's form. Made in a reaction to the promise that is awaited, it has the caller's stack. */
function converted(error: unknown): never {
  throw fromNative(error);
}

/** `slice`, which takes longer for a few numbers than the numbers. */
function copyOf<T extends Float32Array | Int32Array>(array: T, start: number, end: number): T {
  if (end - start > 64) return array.slice(start, end) as T;
  const copy = (isFloat32Array(array) ? new Float32Array(end - start) : new Int32Array(end - start)) as T;
  for (let i = start; i < end; i++) copy[i - start] = array[i]!;
  return copy;
}
