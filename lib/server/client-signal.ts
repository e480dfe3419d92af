// Whether a request's client is still there: a signal that fires when its connection closes.
import type { Socket } from "node:net";
import type { FastifyRequest } from "fastify";

const SIGNAL = Symbol("closed");

/**
 * Fires when the connection of a request closes; for `InferOptions.signal`. One for all requests of a connection: they come
 * one after the other, and each takes its listener off when it is answered.
 */
export function clientSignal(request: Pick<FastifyRequest, "raw">): AbortSignal {
  const socket = request.raw.socket as Socket & { [SIGNAL]?: AbortSignal };
  const known = socket[SIGNAL];
  if (known !== undefined) return known;
  const controller = new AbortController();
  socket[SIGNAL] = controller.signal;
  if (socket.destroyed) controller.abort();
  else socket.once("close", () => controller.abort());
  return controller.signal;
}
