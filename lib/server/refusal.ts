// What is told to a client whose request was not answered, before a protocol puts it into its own words.
import type { FastifyBaseLogger, FastifyReply } from "fastify";
import { ERRORS, type ErrorName, isLeNet5Error } from "../errors.js";
import { own } from "../is.js";

/** Why a request is refused. */
export interface Refusal {
  /** HTTP status of the package's own table of errors, or the one that Fastify gave its error. */
  readonly status: number;
  /** The error's name in that table; undefined for errors of Fastify and for what nobody foresaw. */
  readonly name: ErrorName | undefined;
  /** One sentence for people. */
  readonly message: string;
}

/** Seconds after which a client that found no room may ask again. */
const RETRY_AFTER_SECONDS = "1";

/** What to tell of an error. What was not foreseen is logged, and the client learns no more than that. */
export function refusalOf(error: unknown, log: FastifyBaseLogger): Refusal {
  if (isLeNet5Error(error)) {
    const name = error.code.slice("LENET5_".length);
    const known = own<{ status: number }>(ERRORS, name);
    if (known !== undefined) {
      if (known.status === 500) log.error({ err: error }, "A request failed");
      return { status: known.status, name: name as ErrorName, message: error.message };
    }
  }
  const { statusCode, message } = (error ?? {}) as { statusCode?: unknown; message?: unknown };
  if (typeof statusCode === "number" && statusCode >= 400 && statusCode < 500)
    return { status: statusCode, name: undefined, message: String(message) };
  log.error({ err: error }, "A request failed");
  return { status: 500, name: undefined, message: "The server failed to answer this request; its log says why" };
}

/** Sets the status, and the headers that go with it. */
export function refuseWith(reply: FastifyReply, status: number): FastifyReply {
  reply.code(status);
  if (status === 503) reply.header("retry-after", RETRY_AFTER_SECONDS);
  if (status === 401) reply.header("www-authenticate", "Bearer");
  return reply;
}
