// What is refused before a protocol is found: a path that is not percent-encoded properly, a part of it that is too long, an
// address that no protocol has. The protocol that the path belongs to, by its first part, says how that is told. Before there
// is a path, in bytes that are no request of HTTP or do not come to an end, the answer has what each of them wants.
import { STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import type { FastifyReply, FastifyRequest } from "fastify";
import { LeNet5Error } from "../errors.js";
import type { ModelRepository } from "./model-repository.js";
import { type ErrorContract, pathOf } from "./protocol-scope.js";
import { openInferenceErrors } from "./protocols/open-inference.js";
import { tensorFlowServingErrors } from "./protocols/tensorflow-serving.js";
import { torchServeErrors } from "./protocols/torchserve.js";
import { refusalOf, refuseWith } from "./refusal.js";

/** The error handler of an application with these protocols, and Fastify's option `frameworkErrors` for it. */
export function routerErrors(
  repository: ModelRepository,
): (error: unknown, request: FastifyRequest, reply: FastifyReply) => void {
  const torchServe = torchServeErrors(repository);
  return (error, request, reply) => {
    const first = /^\/([^/?#]*)/.exec(request.raw.url ?? "")?.[1];
    const contract: ErrorContract =
      first === "v1" ? tensorFlowServingErrors : first === "v2" ? openInferenceErrors : torchServe;
    const { status, body } = contract(refusalOf(error, request.log), request);
    refuseWith(reply, status).type("application/json").send(JSON.stringify(body));
  };
}

/** The not-found handler of an application with these protocols, for what is in none of their scopes. */
export function nowhere(repository: ModelRepository): (request: FastifyRequest, reply: FastifyReply) => void {
  const refuse = routerErrors(repository);
  return (request, reply) => {
    const message = `There is nothing at ${request.method} ${pathOf(request)}`;
    refuse(new LeNet5Error("ENDPOINT_NOT_FOUND", message), request, reply);
  };
}

/** Fastify's option `clientErrorHandler`: says what is wrong where that can still be said, and closes the connection. */
export function brokenRequest(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === "ECONNRESET" || socket.destroyed) return;
  // An answer that has begun goes on with its own bytes, or not at all.
  const { _httpMessage: answer } = socket as Socket & { _httpMessage?: { headersSent?: boolean } | null };
  if (socket.writable && answer?.headersSent !== true) socket.write(refusalOfBytes(error.code));
  socket.destroy(error);
}

function refusalOfBytes(code: string | undefined): string {
  const [status, type, message] =
    code === "ERR_HTTP_REQUEST_TIMEOUT"
      ? [408, "RequestTimeoutException", "Expected a whole request in time but received a part of it"]
      : code === "HPE_HEADER_OVERFLOW"
        ? [431, "BadRequestException", "Expected headers within the limit but received larger ones"]
        : [400, "BadRequestException", "Expected a request of HTTP but received other bytes"];
  const body = JSON.stringify({ error: message, code: status, type, message });
  const headers = `Content-Length: ${body.length}\r\nContent-Type: application/json\r\nConnection: close`;
  return `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${headers}\r\n\r\n${body}`;
}
