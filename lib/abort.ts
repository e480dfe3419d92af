// What every call with a `signal` shares: how it looks at it, how it listens, what it throws.
import { setMaxListeners } from "node:events";
import { LeNet5Error } from "./errors.js";

/** The error of an aborted call. @param what - what was aborted, as the sentence's subject */
export function abortError(signal: AbortSignal, what = "The call"): LeNet5Error {
  return new LeNet5Error("ABORTED", `${what} was aborted`, { cause: signal.reason });
}

/** @throws LENET5_ABORTED when the signal has fired */
export function throwIfAborted(signal: AbortSignal | undefined, what?: string): void {
  if (signal?.aborted) throw abortError(signal, what);
}

/**
 * Calls `listener` when the signal fires, at once where it has fired already.
 * @returns takes the listener off again
 */
export function onAbort(signal: AbortSignal | undefined, listener: () => void): () => void {
  if (signal === undefined) return () => {};
  if (signal.aborted) {
    listener();
    return () => {};
  }
  // As many listeners as calls that share the signal, and each is taken off again: no leak to warn of. A signal that is
  // not this platform's own (a library's, a simulated browser's) does not count its listeners.
  try {
    setMaxListeners(0, signal);
  } catch {}
  signal.addEventListener("abort", listener, { once: true });
  return () => signal.removeEventListener("abort", listener);
}

/** Waits. @throws LENET5_ABORTED as soon as the signal fires */
export async function delay(milliseconds: number, signal?: AbortSignal): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => {
      off();
      resolve();
    }, milliseconds);
    const off = onAbort(signal, () => {
      clearTimeout(timer);
      reject(abortError(signal!));
    });
  });
}

/**
 * Settles as `promise` does, and rejects as soon as the signal fires. The work behind the promise is not stopped by that:
 * its result, or its error, is dropped.
 * @throws LENET5_ABORTED
 */
export async function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined, what?: string): Promise<T> {
  if (signal === undefined) return promise;
  let off = (): void => {};
  const fired = new Promise<never>((_, reject) => {
    off = onAbort(signal, () => reject(abortError(signal, what)));
  });
  try {
    return await Promise.race([promise, fired]);
  } finally {
    off();
    promise.catch(() => {});
  }
}
