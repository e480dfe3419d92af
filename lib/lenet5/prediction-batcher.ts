// Many concurrent predictions, few native calls.
//
// Problem: each asynchronous prediction costs a hop to another thread and back, which takes longer than the network
// itself. Resolution: while one native call is under way (and until the current tick ends), predictions gather; the next
// call takes all of them that have the same element type and size. What waits is a copy: the caller's array is the
// caller's again when `predict` returns. The weights are those of the call too: `begin` comes before they change.
import { LeNet5Error } from "../errors.js";
import { isFloat32Array } from "../is.js";
import type { NativeCancellation, NativeLeNet5 } from "../native/types.js";
import type { Pixels } from "./pixels.js";

/** What one prediction gets back. */
export interface RawPrediction {
  /** count × numClasses, row-major. */
  output: Float32Array;
  /** The most probable class of each image. */
  labels: Int32Array;
}

interface Waiting {
  pixels: Pixels;
  log: boolean;
  resolve(result: RawPrediction): void;
  reject(error: unknown): void;
}

/** From this many images on, a call that need not wait goes alone: the copy that the addon makes is the only one then. */
const LARGE = 256;

/** Images in one native call at most, so that a late small request does not wait for an early huge crowd. */
const LARGEST_BATCH = 4096;

/** Gathers asynchronous predictions of one model. */
export class PredictionBatcher {
  readonly #native: NativeLeNet5;
  readonly #numClasses: number;
  #waiting: Waiting[] = [];
  #running = 0;
  #scheduled = false;

  constructor(native: NativeLeNet5, numClasses: number) {
    this.#native = native;
    this.#numClasses = numClasses;
  }

  /**
   * Predicts `pixels`, together with whatever else waits; a call that shares its batch is not cancelled. Errors are the
   * addon's own: the caller converts them, with its stack.
   */
  predict({ data, size, count }: Pixels, log: boolean, cancellation?: NativeCancellation): Promise<RawPrediction> {
    const alone = count >= LARGE && this.#running === 0 && !this.#scheduled;
    if (alone) return this.#atOnce(data, size, log, cancellation);
    const copy = isFloat32Array(data) ? new Float32Array(data) : new Uint8Array(data);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ pixels: { data: copy, size, count: copy.length / size ** 2 }, log, resolve, reject });
      if (this.#running === 0 && !this.#scheduled) {
        this.#scheduled = true;
        queueMicrotask(() => {
          this.#scheduled = false;
          void this.#flush();
        });
      }
    });
  }

  /** Hands all that waits to the addon, which takes the weights of this moment, before it returns. */
  begin(): void {
    while (this.#waiting.length > 0) void this.#flush();
  }

  /** Calls the addon before it returns. */
  async #atOnce(
    data: Pixels["data"],
    size: number,
    log: boolean,
    cancellation: NativeCancellation | undefined,
  ): Promise<RawPrediction> {
    this.#running += 1;
    try {
      return await this.#native.predict([data], size, log, cancellation);
    } finally {
      this.#running -= 1;
      if (this.#waiting.length > 0) void this.#flush();
    }
  }

  async #flush(): Promise<void> {
    const batch = this.#take();
    if (batch.length === 0) return;
    this.#running += 1;
    try {
      const { size } = batch[0]!.pixels;
      const { output, labels, refused } = await this.#native.predict(
        batch.map((one) => one.pixels.data),
        size,
        batch[0]!.log,
      );
      if (batch.length === 1) batch[0]!.resolve({ output, labels });
      else this.#distribute(batch, output, labels, new Set(refused));
    } catch (error) {
      for (const one of batch) one.reject(error);
    } finally {
      this.#running -= 1;
      if (this.#waiting.length > 0) void this.#flush();
    }
  }

  /** The first that waits and all that can share its call. */
  #take(): Waiting[] {
    const first = this.#waiting[0];
    if (first === undefined) return [];
    const batch: Waiting[] = [];
    const rest: Waiting[] = [];
    let images = 0;
    for (const one of this.#waiting) {
      const alike =
        one.log === first.log &&
        one.pixels.size === first.pixels.size &&
        isFloat32Array(one.pixels.data) === isFloat32Array(first.pixels.data);
      if (alike && (batch.length === 0 || images + one.pixels.count <= LARGEST_BATCH)) {
        batch.push(one);
        images += one.pixels.count;
      } else rest.push(one);
    }
    this.#waiting = rest;
    return batch;
  }

  #distribute(batch: readonly Waiting[], output: Float32Array, labels: Int32Array, refused: ReadonlySet<number>): void {
    const total = batch.reduce((sum, one) => sum + one.pixels.count, 0);
    // Rather no answer than a neighbour's.
    if (labels.length !== total) {
      throw new LeNet5Error("NATIVE_FAILURE", `Expected ${total} predictions but received ${labels.length}`);
    }
    let start = 0;
    for (const [i, one] of batch.entries()) {
      const end = start + one.pixels.count;
      if (refused.has(i)) void this.#alone(one);
      else {
        one.resolve({
          output: output.slice(start * this.#numClasses, end * this.#numClasses),
          labels: labels.slice(start, end),
        });
      }
      start = end;
    }
  }

  /** Asks for bad pixels once more, for the error that names them. */
  async #alone(one: Waiting): Promise<void> {
    try {
      one.resolve(await this.#native.predict([one.pixels.data], one.pixels.size, one.log));
    } catch (error) {
      one.reject(error);
    }
  }
}
