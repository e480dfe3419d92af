// grpc.health.v1.Health: whether the server takes requests, once or as it changes.
import type { ServerUnaryCall, ServerWritableStream, sendUnaryData } from "@grpc/grpc-js";
import { decode, encode } from "./messages.js";
import { CODE } from "./status.js";

const SERVING = 1;
const NOT_SERVING = 2;
const SERVICE_UNKNOWN = 3;
/** How often a watched server is looked at, in milliseconds. */
const INTERVAL = 250;

type WatchCall = ServerWritableStream<Buffer, Buffer>;

/** The health of the services of one server. */
export class Health {
  readonly #services: readonly string[];
  readonly #isReady: () => boolean;
  /** Who watches, and what they were told last. */
  readonly #watchers = new Map<WatchCall, { service: string; told: number }>();
  #timer: NodeJS.Timeout | undefined;
  #isRetired = false;

  /**
   * @param services - their names; "" is the server as a whole
   * @param isReady - whether they take requests
   */
  constructor(services: readonly string[], isReady: () => boolean) {
    this.#services = services;
    this.#isReady = isReady;
  }

  /** The calls, for `addService`. */
  readonly implementation = {
    Check: ({ request }: ServerUnaryCall<Buffer, Buffer>, callback: sendUnaryData<Buffer>): void => {
      const service = serviceOf(request);
      if (service === undefined) callback({ code: CODE.invalidArgument, details: "Expected a HealthCheckRequest" });
      else if (!this.#services.includes(service)) callback({ code: CODE.notFound, details: "unknown service" });
      else callback(null, encode("HealthCheckResponse", { status: this.#status(service) }));
    },
    Watch: (call: WatchCall): void => {
      const service = serviceOf(call.request);
      if (service === undefined) {
        call.emit("error", { code: CODE.invalidArgument, details: "Expected a HealthCheckRequest" });
        return;
      }
      this.#watchers.set(call, { service, told: 0 });
      for (const event of ["cancelled", "close", "error"]) call.on(event, () => this.#forget(call));
      this.#timer ??= setInterval(() => this.#tell(), INTERVAL).unref();
      this.#tell();
    },
  };

  /** Tells everyone, those that ask later too, that no more requests are wanted. */
  retire(): void {
    this.#isRetired = true;
    this.#tell();
  }

  /** {@link retire}, and ends the calls of those that watch. */
  close(): void {
    this.retire();
    for (const call of [...this.#watchers.keys()]) {
      this.#forget(call);
      call.end();
    }
  }

  #status(service: string): number {
    if (!this.#services.includes(service)) return SERVICE_UNKNOWN;
    return this.#isReady() && !this.#isRetired ? SERVING : NOT_SERVING;
  }

  #tell(): void {
    for (const [call, watcher] of this.#watchers) {
      const status = this.#status(watcher.service);
      if (status === watcher.told) continue;
      watcher.told = status;
      call.write(encode("HealthCheckResponse", { status }));
    }
  }

  #forget(call: WatchCall): void {
    this.#watchers.delete(call);
    if (this.#watchers.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}

function serviceOf(request: Buffer): string | undefined {
  try {
    return decode("HealthCheckRequest", request).service as string;
  } catch {
    return undefined;
  }
}
