// Many concurrent requests, few passes through a model.
//
// While a pass is under way, and until the current turn of the event loop ends, requests gather; the next pass takes those
// of the first one's kind, up to the largest batch. Where company is waited for, the first one's wait is the limit. The
// queue has a bound, beyond which a request is refused at once, and a request leaves it when its time is over or its
// client has gone. When a batch fails each of its requests is run by itself: a bad one spoils no neighbour's answer.
import { abortError, onAbort } from "../abort.js";
import { expectedButGot, type LeNet5Error } from "../errors.js";
import type { InferOptions } from "./served-model.js";

/** The limits of one model's batches. */
export interface QueueLimits {
  /** Rows in one pass; a request that has more runs by itself. */
  readonly maxBatchSize: number;
  /** Longest wait for company, in microseconds. */
  readonly maxQueueDelayMicroseconds: number;
  /** Requests that may wait. */
  readonly maxQueueSize: number;
  /** Until a request is given up. */
  readonly timeoutMilliseconds: number;
}

/** One request's inputs, copied from whoever gave them. */
export interface BatchInput {
  /** Inputs of one kind may share a pass. */
  readonly kind: string;
  /** How much of a batch it is. */
  readonly rows: number;
}

/** Told of every pass. */
export interface BatchObserver {
  /** A request's wait is over. */
  waited(milliseconds: number): void;
  /** A pass is done. */
  computed(rows: number, milliseconds: number): void;
}

/** One answer an input, in order. */
export type RunBatch<In, Out> = (inputs: readonly In[]) => readonly Out[] | Promise<readonly Out[]>;

class Waiting<In extends BatchInput, Out> {
  alone = false;
  settled = false;
  /** Stops listening to the client's signal. */
  off: (() => void) | undefined;
  constructor(
    readonly input: In,
    readonly since: number,
    readonly deadline: number,
    readonly resolve: (output: Out) => void,
    readonly reject: (error: unknown) => void,
  ) {}

  /** False where it has been settled already. */
  end(): boolean {
    if (this.settled) return false;
    this.settled = true;
    this.off?.();
    return true;
  }
}

/** Gathers the requests of one model. */
export class Batcher<In extends BatchInput, Out> {
  readonly #run: RunBatch<In, Out>;
  readonly #limits: QueueLimits;
  readonly #observer: BatchObserver;
  #waiting: Waiting<In, Out>[] = [];
  #waitingRows = 0;
  #running: Waiting<In, Out>[] = [];
  #isRunning = false;
  /** Requests whose inputs are being made. */
  #making = 0;
  #immediate = false;
  #companyTimer: NodeJS.Timeout | undefined;
  #deadlineTimer: NodeJS.Timeout | undefined;
  #deadline = Number.POSITIVE_INFINITY;
  #onIdle: (() => void)[] = [];

  constructor(run: RunBatch<In, Out>, limits: QueueLimits, observer: BatchObserver) {
    this.#run = run;
    this.#limits = limits;
    this.#observer = observer;
  }

  /** Requests that wait. */
  get queued(): number {
    return this.#waiting.length + this.#making;
  }

  /**
   * Queues a request.
   * @throws LENET5_QUEUE_FULL, LENET5_REQUEST_TIMED_OUT, LENET5_ABORTED, and what the pass throws
   */
  submit(input: In, options?: InferOptions): Promise<Out> {
    this.checkRoom();
    return this.#enqueue(input, performance.now(), options);
  }

  /**
   * {@link submit} for inputs that are still to be made, from an image for example; the request has its place in the queue
   * meanwhile. Nothing is made where there is no room.
   */
  async submitMade(make: () => Promise<In>, options?: InferOptions): Promise<Out> {
    this.checkRoom();
    const since = performance.now();
    this.#making += 1;
    let input: In;
    try {
      input = await make();
    } catch (error) {
      this.#making -= 1;
      this.#tellIdle();
      throw error;
    }
    this.#making -= 1;
    return this.#enqueue(input, since, options);
  }

  #enqueue(input: In, since: number, options: InferOptions = {}): Promise<Out> {
    const { signal, timeoutMilliseconds = this.#limits.timeoutMilliseconds } = options;
    return new Promise<Out>((resolve, reject) => {
      if (signal?.aborted) {
        // Whoever waits for quiet may have waited for this one's input to be made.
        this.#tellIdle();
        throw abortError(signal);
      }
      const one = new Waiting<In, Out>(input, since, since + timeoutMilliseconds, resolve, reject);
      if (signal !== undefined) one.off = listen(signal, () => this.#drop(one, abortError(signal)));
      this.#waiting.push(one);
      this.#waitingRows += input.rows;
      if (one.deadline < this.#deadline) this.#watch(one.deadline);
      if (!this.#isRunning) this.#schedule();
    });
  }

  /** Resolves once nothing waits and nothing runs. */
  idle(): Promise<void> {
    return new Promise((resolve) => {
      this.#onIdle.push(resolve);
      this.#tellIdle();
    });
  }

  /** Takes what waits out of the queue. */
  refuseWaiting(error: LeNet5Error): void {
    for (const one of [...this.#waiting]) this.#drop(one, error);
  }

  /** Before anything is done for a request that has no room. @throws LENET5_QUEUE_FULL */
  checkRoom(): void {
    const { maxQueueSize } = this.#limits;
    if (this.queued >= maxQueueSize) {
      throw expectedButGot("QUEUE_FULL", `at most ${maxQueueSize} requests`, "the model's queue", "one more");
    }
  }

  #tellIdle(): void {
    if (this.#isRunning || this.queued > 0) return;
    for (const tell of this.#onIdle.splice(0)) tell();
    // Nobody waits: the timer need not hold what it would look through.
    if (this.#deadlineTimer !== undefined) {
      clearTimeout(this.#deadlineTimer);
      this.#deadlineTimer = undefined;
      this.#deadline = Number.POSITIVE_INFINITY;
    }
  }

  /** Runs the next batch after this turn. */
  #schedule(): void {
    if (this.#immediate) return;
    if (this.#companyTimer !== undefined) {
      if (this.#waitingRows < this.#limits.maxBatchSize) return;
      clearTimeout(this.#companyTimer);
      this.#companyTimer = undefined;
    }
    this.#immediate = true;
    setImmediate(this.#due);
  }

  readonly #due = (): void => {
    this.#immediate = false;
    this.#companyTimer = undefined;
    const first = this.#waiting[0];
    if (this.#isRunning || first === undefined) return;
    const { maxQueueDelayMicroseconds, maxBatchSize } = this.#limits;
    if (maxQueueDelayMicroseconds > 0 && !first.alone && this.#waitingRows < maxBatchSize) {
      const left = first.since + maxQueueDelayMicroseconds / 1000 - performance.now();
      if (left >= 1) {
        this.#companyTimer = setTimeout(this.#due, Math.floor(left));
        return;
      }
      // Timers count in milliseconds; what is left of one is waited for in turns.
      if (left > 0) {
        this.#immediate = true;
        setImmediate(this.#due);
        return;
      }
    }
    this.#next();
  };

  #next(): void {
    const batch = this.#take();
    const start = performance.now();
    for (const one of batch) this.#observer.waited(start - one.since);
    let outputs: readonly Out[] | Promise<readonly Out[]>;
    try {
      outputs = this.#run(batch.map((one) => one.input));
    } catch (error) {
      this.#failed(batch, error);
      this.#after();
      return;
    }
    if (!isPromise(outputs)) {
      this.#done(batch, outputs, start);
      this.#after();
      return;
    }
    this.#isRunning = true;
    this.#running = batch;
    const after = (): void => {
      this.#isRunning = false;
      this.#running = [];
      this.#after();
    };
    outputs.then(
      (ready) => {
        this.#done(batch, ready, start);
        after();
      },
      (error) => {
        this.#failed(batch, error);
        after();
      },
    );
  }

  #after(): void {
    if (this.#waiting.length > 0) this.#schedule();
    else if (this.#onIdle.length > 0) this.#tellIdle();
  }

  /** The first that waits, and all of its kind that fit. */
  #take(): Waiting<In, Out>[] {
    const first = this.#waiting[0]!;
    const { maxBatchSize } = this.#limits;
    const batch = [first];
    let rows = first.input.rows;
    let at = 1;
    let rest: Waiting<In, Out>[] | undefined;
    for (; !first.alone && at < this.#waiting.length && rows < maxBatchSize; at++) {
      const one = this.#waiting[at]!;
      if (one.input.kind === first.input.kind && !one.alone && rows + one.input.rows <= maxBatchSize) {
        batch.push(one);
        rows += one.input.rows;
      } else {
        rest ??= [];
        rest.push(one);
      }
    }
    if (at === this.#waiting.length) this.#waiting = rest ?? [];
    else if (rest === undefined) this.#waiting.splice(0, at);
    else this.#waiting = rest.concat(this.#waiting.slice(at));
    this.#waitingRows -= rows;
    return batch;
  }

  #done(batch: readonly Waiting<In, Out>[], outputs: readonly Out[], start: number): void {
    let rows = 0;
    for (const one of batch) rows += one.input.rows;
    this.#observer.computed(rows, performance.now() - start);
    // Rather no answer than a neighbour's.
    if (outputs.length !== batch.length) {
      const received = `${outputs.length} of them`;
      this.#failed(batch, expectedButGot("NATIVE_FAILURE", `${batch.length} answers`, "a batch", received));
      return;
    }
    for (let i = 0; i < batch.length; i++) if (batch[i]!.end()) batch[i]!.resolve(outputs[i]!);
  }

  #failed(batch: readonly Waiting<In, Out>[], error: unknown): void {
    if (batch.length === 1) {
      if (batch[0]!.end()) batch[0]!.reject(error);
      return;
    }
    const again = batch.filter((one) => !one.settled);
    for (const one of again) {
      one.alone = true;
      this.#waitingRows += one.input.rows;
    }
    this.#waiting = again.concat(this.#waiting);
  }

  #drop(one: Waiting<In, Out>, error: unknown): void {
    if (!one.end()) return;
    const at = this.#waiting.indexOf(one);
    if (at >= 0) {
      this.#waiting.splice(at, 1);
      this.#waitingRows -= one.input.rows;
    }
    one.reject(error);
    if (this.#onIdle.length > 0) this.#tellIdle();
  }

  /** One timer for all: the earliest deadline that anybody had when it was set. */
  #watch(deadline: number): void {
    if (this.#deadlineTimer !== undefined) clearTimeout(this.#deadlineTimer);
    this.#deadline = deadline;
    const left = Math.ceil(deadline - performance.now());
    this.#deadlineTimer = setTimeout(this.#giveUp, Math.min(Math.max(1, left), LONGEST_TIMER));
    this.#deadlineTimer.unref();
  }

  readonly #giveUp = (): void => {
    this.#deadlineTimer = undefined;
    this.#deadline = Number.POSITIVE_INFINITY;
    const now = performance.now();
    let next = Number.POSITIVE_INFINITY;
    for (const one of [...this.#waiting, ...this.#running]) {
      if (one.settled) continue;
      if (one.deadline > now) next = Math.min(next, one.deadline);
      else {
        const words = `an answer within ${Math.round(one.deadline - one.since)} ms`;
        this.#drop(one, expectedButGot("REQUEST_TIMED_OUT", words, "the request", "none"));
      }
    }
    if (next < Number.POSITIVE_INFINITY) this.#watch(next);
  };
}

/** Of what a timer takes, in milliseconds. */
const LONGEST_TIMER = 2 ** 31 - 1;

function isPromise<T>(value: T | Promise<T>): value is Promise<T> {
  return typeof (value as Promise<T>).then === "function";
}

/** {@link onAbort}, without the limit on listeners of platform signals where a signal is a server's own (clientSignal). */
function listen(signal: AbortSignal, listener: () => void): () => void {
  const isOfPlatform = (signal as unknown) instanceof EventTarget;
  if (isOfPlatform) return onAbort(signal, listener);
  signal.addEventListener("abort", listener);
  return () => signal.removeEventListener("abort", listener);
}
