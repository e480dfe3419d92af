// Calls into the addon that a signal takes back and that tell how far they are. The caller hears of an abort at once, the
// work ends at its next batch.
import { abortable, onAbort, throwIfAborted } from "../abort.js";
import type { LeNet5Addon, NativeCancellation } from "../native/types.js";
import { nativeCall } from "../native.js";

/**
 * Makes the call into this addon, which takes what it needs before it returns its promise.
 * @throws LENET5_ABORTED as soon as the signal fires, and the errors of the call
 */
export async function cancellable<T>(
  addon: LeNet5Addon,
  signal: AbortSignal | undefined,
  call: (cancellation: NativeCancellation | undefined) => Promise<T>,
): Promise<T> {
  if (signal === undefined) return nativeCall(() => call(undefined));
  throwIfAborted(signal);
  const cancellation = new addon.Cancellation();
  const off = onAbort(signal, () => cancellation.cancel());
  try {
    return await abortable(
      nativeCall(() => call(cancellation)),
      signal,
    );
  } finally {
    off();
  }
}

/**
 * Gives work a way to tell how far it is. What the caller's callback throws ends the work and is thrown to the caller.
 * The last number is told for certain.
 */
export async function withProgress<T>(
  onProgress: ((done: number, total: number) => void) | undefined,
  total: number,
  signal: AbortSignal | undefined,
  work: (tell: ((done: number) => void) | undefined, signal: AbortSignal | undefined) => Promise<T>,
): Promise<T> {
  if (onProgress === undefined) return work(undefined, signal);
  const controller = new AbortController();
  let failure: { error: unknown } | undefined;
  let told = -1;
  const off = onAbort(signal, () => controller.abort(signal!.reason));
  const tell = (done: number): void => {
    if (failure !== undefined || done === told) return;
    told = done;
    try {
      onProgress(done, total);
    } catch (error) {
      failure = { error };
      controller.abort();
    }
  };
  try {
    const result = await work(tell, controller.signal);
    tell(total);
    if (failure === undefined) return result;
  } catch (error) {
    if (failure === undefined) throw error;
  } finally {
    off();
  }
  throw failure!.error;
}
