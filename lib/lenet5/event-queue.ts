// Events from a native thread, waiting for an async iterator. Progress that nobody has taken yet is replaced by newer
// progress, so that a slow consumer costs no memory; epochs are never dropped.

/** A queue with one consumer. */
export class EventQueue<Event extends { type: string }> {
  readonly #keepAll: boolean;
  #events: Event[] = [];
  #wake: (() => void) | undefined;
  #closed = false;

  /** @param keepAll - true where each progress event was asked for */
  constructor(keepAll: boolean) {
    this.#keepAll = keepAll;
  }

  /** Adds an event; a waiting progress event is replaced. */
  push(event: Event): void {
    const last = this.#events.at(-1);
    if (!this.#keepAll && event.type === "progress" && last?.type === "progress")
      this.#events[this.#events.length - 1] = event;
    else this.#events.push(event);
    this.#wake?.();
  }

  /** No more events will come. */
  close(): void {
    this.#closed = true;
    this.#wake?.();
  }

  /** The next event, or undefined once the queue is closed and empty. */
  async next(): Promise<Event | undefined> {
    while (this.#events.length === 0 && !this.#closed) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
    return this.#events.shift();
  }

  /** Takes all events that wait. */
  drain(): Event[] {
    return this.#events.splice(0);
  }
}
