// Ctrl-C: the first one asks the work to stop where it can be resumed, the second one ends the process.
import { INTERRUPTED } from "./failure.js";

/**
 * Runs work that can be aborted.
 * @param onFirst - called at the first Ctrl-C, to say what happens now
 */
export async function interruptible<T>(onFirst: () => void, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const interrupt = (): void => {
    // The second time nothing is waited for; files in the making are temporary ones and never take a place half-written.
    if (controller.signal.aborted) process.exit(INTERRUPTED);
    onFirst();
    controller.abort();
  };
  process.on("SIGINT", interrupt).on("SIGTERM", interrupt);
  try {
    return await work(controller.signal);
  } finally {
    process.off("SIGINT", interrupt).off("SIGTERM", interrupt);
  }
}
