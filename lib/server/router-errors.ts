// What the router refuses before any route is found: a path that is not percent-encoded properly, or a part of it that is too
// long. The protocol that the path belongs to, by its first part, says how that is told.
import type { FastifyError, FastifyReply, FastifyRequest } from "fastify";
import type { ModelRepository } from "./model-repository.js";
import type { ErrorContract } from "./protocol-scope.js";
import { openInferenceErrors } from "./protocols/open-inference.js";
import { tensorFlowServingErrors } from "./protocols/tensorflow-serving.js";
import { torchServeErrors } from "./protocols/torchserve.js";
import { refusalOf, refuseWith } from "./refusal.js";

/** Fastify's option `frameworkErrors` for an application with these protocols. */
export function routerErrors(
  repository: ModelRepository,
): (error: FastifyError, request: FastifyRequest, reply: FastifyReply) => void {
  const torchServe = torchServeErrors(repository);
  return (error, request, reply) => {
    const first = /^\/([a-z0-9]*)/.exec(request.raw.url ?? "")?.[1];
    const contract: ErrorContract =
      first === "v1" ? tensorFlowServingErrors : first === "v2" ? openInferenceErrors : torchServe;
    const { status, body } = contract(refusalOf(error, request.log), request);
    refuseWith(reply, status).type("application/json").send(JSON.stringify(body));
  };
}
