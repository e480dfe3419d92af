// What is refused before a protocol is found: a path that is not percent-encoded properly, a part of it that is too long, an
// address that no protocol has. The protocol that the path belongs to, by its first part, says how that is told.
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
