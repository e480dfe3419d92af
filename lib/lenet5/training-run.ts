// What `fit` returns: a training that can be followed or awaited.
//
// Problem: `await model.fit(data)`, as Keras and TensorFlow.js have it, awaited a bare generator: it trained nothing and
// said nothing. Resolution: one object that is both. Iterating it pulls the training along, event by event, and leaving
// the loop stops it; awaiting it runs it to its end and gives the history. Whoever does neither is warned.
import { EventQueue } from "./event-queue.js";
import type { EpochEvent, FitEvent } from "./fit-options.js";

/** How a training went: what `await model.fit(…)` gives. */
export interface History {
  /** The epochs of this run, in order; a resumed run has those since its checkpoint. */
  epochs: EpochEvent[];
  /**
   * The best epoch, from 1: with early stopping the one whose weights the model has; else that of the highest validation
   * accuracy, or without validation of the lowest loss. Undefined where no epoch ended.
   */
  bestEpoch: number | undefined;
  /** True where early stopping ended the run before its last epoch. */
  stoppedEarly: boolean;
}

/** What a training tells at its end. */
export interface TrainingEnd {
  bestEpoch?: number | undefined;
  stoppedEarly: boolean;
}

/** The events of a training, and at their end how it ended. Nothing happens before the first `next()`. */
export type TrainingEvents = AsyncGenerator<FitEvent, TrainingEnd, undefined>;

/**
 * A training: `for await (const event of model.fit(…))` follows it, `await model.fit(…)` runs it to its end and gives its
 * {@link History}. It begins with the first of these; leaving the loop stops it. Awaiting a run that was iterated gives the
 * history of that same run. One that is neither iterated nor awaited trains nothing: a process warning with the code
 * `LENET5_FIT_NOT_BEGUN` says so.
 */
export class TrainingRun implements AsyncGenerator<FitEvent, void, undefined>, PromiseLike<History> {
  readonly #source: TrainingEvents;
  readonly #native: { stop(): void; dispose(): void };
  readonly #keepAll: boolean;
  readonly #epochs: EpochEvent[] = [];
  readonly #history: Promise<History>;
  #settle!: { resolve: (history: History) => void; reject: (error: unknown) => void };
  #reminder: Reminder | undefined;
  /** Set once somebody iterates. */
  #followed = false;
  /** Set once the run goes on by itself: the events that a loop is still to see. */
  #ahead: EventQueue<FitEvent> | undefined;
  #ended = false;

  /**
   * @param source - the training
   * @param native - `stop` ends it within a batch; `dispose` frees its copy of the data
   * @param keepAll - whether each progress event was asked for
   * @internal
   */
  constructor(source: TrainingEvents, native: { stop(): void; dispose(): void }, keepAll: boolean) {
    this.#source = source;
    this.#native = native;
    this.#keepAll = keepAll;
    this.#history = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    // Whoever iterates learns of an error there; it is no unhandled rejection then.
    this.#history.catch(() => {});
    this.#reminder = remindOf(this);
  }

  /** The next event; the first call begins the training. Throws what `fit` lists. */
  async next(): Promise<IteratorResult<FitEvent, void>> {
    this.#begin();
    this.#followed = true;
    if (this.#ahead === undefined) return this.#pull();
    const event = await this.#ahead.next();
    if (event !== undefined) return { done: false, value: event };
    // What ended the run is told once, as a generator does.
    if (!this.#ended) {
      this.#ended = true;
      await this.#history;
    }
    return { done: true, value: undefined };
  }

  /** Stops the training within a batch; the model keeps the weights of that moment. */
  async return(): Promise<IteratorResult<FitEvent, void>> {
    return this.#leave(() => this.#source.return({ stoppedEarly: false }));
  }

  /** Stops the training as {@link return} does, and rejects with `error`. */
  async throw(error: unknown): Promise<IteratorResult<FitEvent, void>> {
    return this.#leave(() => this.#source.throw(error));
  }

  /** Itself: a run has one sequence of events. */
  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Stops the training, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  /** Runs the training to its end; what `await` calls. Rejects with what `fit` lists. */
  // biome-ignore lint/suspicious/noThenProperty: being awaitable is what this class is for
  then<A = History, B = never>(
    onFulfilled?: ((history: History) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    this.#runByItself();
    return this.#history.then(onFulfilled, onRejected);
  }

  /** As a promise's. */
  catch<B = never>(onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null): Promise<History | B> {
    return this.then(undefined, onRejected);
  }

  /** As a promise's. */
  finally(onFinally?: (() => void) | null): Promise<History> {
    return this.then().finally(onFinally);
  }

  #begin(): void {
    this.#reminder?.drop();
    this.#reminder = undefined;
  }

  async #leave(how: () => Promise<IteratorResult<FitEvent, TrainingEnd>>): Promise<IteratorResult<FitEvent, void>> {
    this.#begin();
    this.#native.stop();
    try {
      await this.#finish(how());
    } finally {
      // A generator that was never begun runs none of its `finally`.
      this.#native.dispose();
    }
    return { done: true, value: undefined };
  }

  /** One event of the training, written down. */
  async #pull(): Promise<IteratorResult<FitEvent, void>> {
    const result = await this.#finish(this.#source.next());
    if (result.done) return { done: true, value: undefined };
    if (result.value.type === "epoch") this.#epochs.push(result.value);
    return result;
  }

  /** Settles the history when the training is over. */
  async #finish(step: Promise<IteratorResult<FitEvent, TrainingEnd>>): Promise<IteratorResult<FitEvent, TrainingEnd>> {
    try {
      const result = await step;
      if (result.done) {
        const { bestEpoch = bestOf(this.#epochs), stoppedEarly = false } = result.value ?? {};
        this.#settle.resolve({ epochs: this.#epochs, bestEpoch, stoppedEarly });
      }
      return result;
    } catch (error) {
      this.#settle.reject(error);
      throw error;
    }
  }

  /** Goes on without anybody's `next()`. A loop that has begun still gets every event. */
  #runByItself(): void {
    if (this.#ahead !== undefined) return;
    this.#begin();
    const ahead = new EventQueue<FitEvent>(this.#keepAll);
    this.#ahead = ahead;
    void (async () => {
      try {
        for (let result = await this.#pull(); !result.done; result = await this.#pull()) {
          if (this.#followed) ahead.push(result.value);
        }
      } catch {
        // The history has been rejected with it.
      } finally {
        ahead.close();
      }
    })();
  }
}

function bestOf(epochs: readonly EpochEvent[]): number | undefined {
  let best: EpochEvent | undefined;
  for (const each of epochs) {
    const better =
      best === undefined ||
      (each.validation && best.validation
        ? each.validation.accuracy > best.validation.accuracy
        : each.loss < best.loss);
    if (better) best = each;
  }
  return best?.epoch;
}

/** What stands for a run that has not begun; it does not keep the run. */
interface Reminder {
  drop(): void;
}

// A run that was forgotten is noticed when it is collected, else when the process ends.
const forgotten = new FinalizationRegistry<Reminder>((reminder) => {
  reminder.drop();
  warnOnce();
});
const pending = new Set<Reminder>();
let warned = false;

function remindOf(run: TrainingRun): Reminder {
  const reminder: Reminder = {
    drop() {
      forgotten.unregister(reminder);
      if (pending.delete(reminder) && pending.size === 0) process.off("exit", warnOnce);
    },
  };
  if (pending.size === 0) process.on("exit", warnOnce);
  pending.add(reminder);
  forgotten.register(run, reminder, reminder);
  return reminder;
}

function warnOnce(): void {
  if (warned) return;
  warned = true;
  const warning = Object.assign(
    new Error(
      "A training was made by fit() and never begun: write `await model.fit(…)` or `for await (… of model.fit(…))`",
    ),
    { name: "LeNet5Warning", code: "LENET5_FIT_NOT_BEGUN" },
  );
  // process.emitWarning waits for a tick that an ending process does not have.
  process.emit("warning", warning);
}
