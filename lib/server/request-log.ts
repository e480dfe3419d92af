// The log of one request, whose lines carry its id. Most requests log nothing: the logger behind it is made by the first
// line.
import type { FastifyBaseLogger, FastifyInstance } from "fastify";

type Bindings = Parameters<FastifyBaseLogger["child"]>[0];
type Options = Parameters<FastifyBaseLogger["child"]>[1];
type Line = (...words: unknown[]) => void;

/** What Fastify gives a request as `request.log`. */
class RequestLog {
  readonly #parent: FastifyBaseLogger;
  readonly #bindings: Bindings;
  readonly #options: Options;
  #logger: FastifyBaseLogger | undefined;

  constructor(parent: FastifyBaseLogger, bindings: Bindings, options: Options) {
    this.#parent = parent;
    this.#bindings = bindings;
    this.#options = options;
  }

  get #made(): FastifyBaseLogger {
    this.#logger ??= this.#parent.child(this.#bindings, this.#options);
    return this.#logger;
  }

  get level(): string {
    return this.#parent.level;
  }

  fatal(...words: unknown[]): void {
    (this.#made.fatal as Line)(...words);
  }
  error(...words: unknown[]): void {
    (this.#made.error as Line)(...words);
  }
  warn(...words: unknown[]): void {
    (this.#made.warn as Line)(...words);
  }
  info(...words: unknown[]): void {
    (this.#made.info as Line)(...words);
  }
  debug(...words: unknown[]): void {
    (this.#made.debug as Line)(...words);
  }
  trace(...words: unknown[]): void {
    (this.#made.trace as Line)(...words);
  }
  silent(): void {}
  child(bindings: Bindings, options?: Options): FastifyBaseLogger {
    return this.#made.child(bindings, options);
  }
}

/** Fastify's option `childLoggerFactory`. */
export function requestLog(
  this: FastifyInstance,
  parent: FastifyBaseLogger,
  bindings: Bindings,
  options: Options,
): FastifyBaseLogger {
  return new RequestLog(parent, bindings, options) as unknown as FastifyBaseLogger;
}
