// Ctrl-C and SIGTERM: the first one asks the work to stop where it can be resumed, the second one ends the process.
import { INTERRUPTED, TERMINATED } from "./failure.js";

/** Listens for both signals until it is disposed of. */
export class Interruption {
  readonly #controller = new AbortController();
  readonly #onFirst: () => void;
  #status = INTERRUPTED;

  /** @param onFirst - called at the first signal, to say what happens now */
  constructor(onFirst: () => void) {
    this.#onFirst = onFirst;
    process.on("SIGINT", this.#interrupt).on("SIGTERM", this.#interrupt);
  }

  /** Fires at the first signal. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Exit status of a command that was interrupted: 128 + the signal's number, as shells have it. */
  get status(): number {
    return this.#status;
  }

  readonly #interrupt = (name: NodeJS.Signals): void => {
    this.#status = name === "SIGTERM" ? TERMINATED : INTERRUPTED;
    // The second time nothing is waited for; files in the making are temporary ones and never take a place half-written.
    if (this.signal.aborted) process.exit(this.#status);
    this.#onFirst();
    this.#controller.abort();
  };

  [Symbol.dispose](): void {
    process.off("SIGINT", this.#interrupt).off("SIGTERM", this.#interrupt);
  }
}
