// How a protocol becomes part of a server: a Fastify plugin made from what every protocol needs.
import type { FastifyPluginAsync, onRequestAsyncHookHandler } from "fastify";
import type { ServerMetrics } from "./metrics.js";
import type { ModelRepository } from "./model-repository.js";

/** What a protocol is made from. */
export interface ProtocolContext {
  readonly repository: ModelRepository;
  readonly metrics: ServerMetrics;
  /** Whether routes that load, unload or change models exist. */
  readonly management: boolean;
  /** Runs before each route of its kind; refuses with LENET5_UNAUTHORIZED. */
  readonly guard: {
    readonly inference: onRequestAsyncHookHandler;
    readonly management: onRequestAsyncHookHandler;
  };
  /** Largest body, in bytes. */
  readonly bodyLimit: number;
}

/**
 * A protocol: its plugin registers its routes in a scope of its own, with its own body parsers, and an error handler and
 * a not-found handler that answer with the protocol's own error contract whatever is thrown (`isLeNet5Error` and its
 * `status` and `code`; Fastify's own errors; anything else is 500).
 */
export type Protocol = (context: ProtocolContext) => FastifyPluginAsync;
