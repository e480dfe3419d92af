// A bounded queue of asynchronous work: a few run at once, the rest wait in order, and what waits can be taken back.
import { abortError, onAbort, throwIfAborted } from "./abort.js";
import { expectedButGot, LeNet5Error } from "./errors.js";

/** Limits of a {@link BoundedQueue}. */
export interface BoundedQueueOptions {
  /** Tasks that may run at once, at least 1. */
  concurrency: number;
  /** Tasks that may wait beyond those. */
  capacity: number;
}

/** How one task is queued. */
export interface TaskOptions {
  /** Takes the task back while it waits; once it runs, it runs to its end. */
  signal?: AbortSignal | undefined;
  /** Called instead of the task where it never ran. */
  onDropped?: () => void;
}

/** What the error of a task says that was taken back in time. */
const NOT_STARTED = "The call, which had not started yet,";

interface Waiting {
  start: () => void;
  fail: (error: unknown) => void;
}

/** Runs tasks in order of arrival, at most `concurrency` at once and with at most `capacity` waiting. */
export class BoundedQueue {
  readonly #options: BoundedQueueOptions;
  // A Set keeps the order of arrival and lets go of any member at once.
  readonly #waiting = new Set<Waiting>();
  #running = 0;
  #closed: Error | undefined;

  constructor(options: BoundedQueueOptions) {
    this.#options = options;
  }

  /** Number of tasks that wait. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Number of tasks that run. */
  get running(): number {
    return this.#running;
  }

  /** True while nothing runs and nothing waits. */
  get idle(): boolean {
    return this.#running === 0 && this.#waiting.size === 0;
  }

  /**
   * Throws what {@link run} would reject with at once, so that a caller can prepare nothing in vain.
   * @throws LENET5_QUEUE_FULL, LENET5_ABORTED, or the error that the queue was closed with
   */
  check(signal?: AbortSignal): void {
    if (this.#closed) throw this.#closed;
    throwIfAborted(signal, NOT_STARTED);
    const { concurrency, capacity } = this.#options;
    if (this.#running < concurrency || this.#waiting.size < capacity) return;
    throw new LeNet5Error("QUEUE_FULL", `Expected at most ${capacity} waiting calls but received one more`);
  }

  /** Runs `task` when its turn comes. */
  async run<T>(task: () => Promise<T>, options: TaskOptions = {}): Promise<T> {
    const { signal, onDropped } = options;
    try {
      this.check(signal);
      if (this.#running >= this.#options.concurrency) await this.#turn(signal);
      else this.#running++;
    } catch (error) {
      onDropped?.();
      throw error;
    }
    try {
      return await task();
    } finally {
      this.#running--;
      this.#next();
    }
  }

  /**
   * Runs `task` here and now, in a place of its own.
   * @throws LENET5_MODEL_BUSY where none is free, or the error that the queue was closed with
   */
  runSync<T>(task: () => T): T {
    if (this.#closed) throw this.#closed;
    if (this.#running >= this.#options.concurrency) {
      throw expectedButGot("MODEL_BUSY", "a module at rest", "a synchronous call", "one that is running");
    }
    this.#running++;
    try {
      return task();
    } finally {
      this.#running--;
      this.#next();
    }
  }

  /** Refuses further tasks and those that wait with `error`; those that run go on. */
  close(error: Error): void {
    this.#closed ??= error;
    for (const waiting of [...this.#waiting]) waiting.fail(error);
  }

  /** Resolves in order of arrival, with the place among the running tasks already taken. */
  #turn(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        this.#waiting.delete(waiting);
        off();
      };
      const waiting: Waiting = {
        start: () => {
          leave();
          this.#running++;
          resolve();
        },
        fail: (error) => {
          leave();
          reject(error);
        },
      };
      const off = onAbort(signal, () => waiting.fail(abortError(signal!, NOT_STARTED)));
      this.#waiting.add(waiting);
    });
  }

  #next(): void {
    if (this.#running >= this.#options.concurrency) return;
    const [first] = this.#waiting;
    first?.start();
  }
}
