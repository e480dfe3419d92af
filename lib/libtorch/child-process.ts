// The end of a program that was started, with what aborting means for it.
import type { ChildProcess } from "node:child_process";
import { onAbort, throwIfAborted } from "../abort.js";

/**
 * Waits until a child process has ended; an abort ends it first.
 *
 * @returns its exit status, the signal that ended it, or why it could not be started
 * @throws LENET5_ABORTED, once it is no more
 */
export async function endOf(child: ChildProcess, signal: AbortSignal | undefined): Promise<number | string> {
  const off = onAbort(signal, () => child.kill());
  const status = await new Promise<number | string>((settle) => {
    child.on("error", (error) => settle(error.message));
    child.on("close", (code, killedBy) => settle(code ?? killedBy ?? 1));
  });
  off();
  throwIfAborted(signal);
  return status;
}
