// What every transfer over the network is watched for: a server that does not answer, a stream that stalls, a caller's abort.
import { onAbort } from "./abort.js";
import { isNativeError } from "./is.js";

/** Fewer bytes than this within the stall time-out count as none. */
const LEAST_BYTES = 1024;

/** When a transfer ends without having come to its end. */
export interface TransferLimits {
  /** Milliseconds until the server must have answered. */
  connectTimeout: number;
  /** Milliseconds within which at least 1 KiB must arrive. */
  stallTimeout: number;
  signal?: AbortSignal | undefined;
}

/** Ends a request that does not answer or stalls, and remembers why. */
export class TransferWatch {
  readonly #controller = new AbortController();
  readonly #request: TransferLimits;
  readonly #forget: () => void;
  #timer: NodeJS.Timeout;
  #bytes = 0;
  reason: Error | undefined;

  constructor(request: TransferLimits) {
    this.#request = request;
    this.#timer = setTimeout(() => this.#end(`no answer within ${request.connectTimeout} ms`), request.connectTimeout);
    this.#forget = onAbort(request.signal, () => this.#controller.abort());
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** The head of the answer is here: from now on bytes must flow. */
  answered(): void {
    clearTimeout(this.#timer);
    const { stallTimeout } = this.#request;
    this.#timer = setInterval(() => {
      if (this.#bytes < LEAST_BYTES) this.#end(`fewer than ${LEAST_BYTES} bytes within ${stallTimeout} ms`);
      this.#bytes = 0;
    }, stallTimeout);
  }

  progress(bytes: number): void {
    this.#bytes += bytes;
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#forget();
    this.#controller.abort();
  }

  #end(reason: string): void {
    this.reason = new Error(reason);
    this.#controller.abort();
  }
}

/** An error in a few words; fetch hides the telling one in `cause`. */
export function reasonOf(error: unknown): string {
  const { message, cause } = error as Error;
  const inner = isNativeError(cause) ? cause.message || (cause as { code?: string }).code : undefined;
  return inner ? `${message} (${inner})` : message;
}

/** What a caller's callback threw, on its way to the caller past whatever would try the transfer again. */
export class CallbackFailure extends Error {
  constructor(readonly thrown: unknown) {
    super("the callback threw");
  }

  /** Calls a caller's callback. */
  static of<T>(callback: () => T): T {
    try {
      return callback();
    } catch (thrown) {
      throw new CallbackFailure(thrown);
    }
  }
}
