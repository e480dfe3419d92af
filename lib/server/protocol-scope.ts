// What the REST protocols share in the way their routes are set up.
import type {
  FastifyInstance,
  FastifyReply,
  FastifyRequest,
  FastifySchema,
  HTTPMethods,
  preValidationHookHandler,
  RouteHandlerMethod,
} from "fastify";
import { expectedButGot, LeNet5Error } from "../errors.js";
import type { RequestOutcome } from "./metrics.js";
import type { ProtocolContext } from "./protocol.js";
import { type Refusal, refusalOf, refuseWith } from "./refusal.js";
import type { ModelDescription } from "./served-model.js";

declare module "fastify" {
  interface FastifyRequest {
    /** The model that a request for inference went to, for the counters; null before it is known. */
    servedBy: ModelDescription | null;
  }
}

/** What nginx logs for a client that did not wait for its answer; nobody is sent it. */
const CLIENT_GONE = 499;
const METHODS: HTTPMethods[] = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/** How a protocol says what went wrong: its status and body for a refusal. */
export type ErrorContract = (refusal: Refusal, request: FastifyRequest) => { status: number; body: object };

/** What answers one method at an address. */
export interface Method {
  /** What its path, query and body have to be. */
  readonly schema: FastifySchema;
  readonly handler: RouteHandlerMethod;
}

/**
 * How an application checks requests: as they are. Fastify would turn "3" into 3 and 3 into [3], and so answer what nobody
 * asked; the texts of a query, which can be nothing else, are read by {@link readQuery}.
 */
export const VALIDATION = { customOptions: { coerceTypes: false as const } };

/** The schema of requests whose path, query and body say nothing. */
export const NOTHING: FastifySchema = { querystring: { type: "object" } };

/**
 * Makes a scope a protocol's: bodies arrive as whole buffers whatever type they say they are, and everything that goes wrong
 * is answered as the protocol's contract says.
 */
export function speak(scope: FastifyInstance, context: ProtocolContext, contract: ErrorContract): void {
  readBodies(scope, context, (_request, body) => body);
  scope.setSchemaErrorFormatter((errors, part) => {
    const [{ instancePath, message } = { instancePath: "", message: "is wrong" }] = errors;
    const what = `a ${part === "body" ? "body" : part} that follows the protocol`;
    return expectedButGot(
      "REQUEST_INVALID",
      what,
      "the request",
      `one whose ${instancePath.slice(1) || part} ${message}`,
    );
  });
  scope.setErrorHandler((error, request, reply) => {
    const { status, body } = contract(refusalOf(error, request.log), request);
    return refuseWith(reply, status).type("application/json").send(JSON.stringify(body));
  });
  scope.setNotFoundHandler((request) => {
    throw new LeNet5Error("ENDPOINT_NOT_FOUND", `There is nothing at ${request.method} ${pathOf(request)}`);
  });
}

/** Reads the bodies of a scope, whatever type they say they are. @param read - may throw */
export function readBodies(
  scope: FastifyInstance,
  { bodyLimit }: ProtocolContext,
  read: (request: FastifyRequest, body: Buffer) => unknown,
): void {
  scope.removeAllContentTypeParsers();
  scope.addContentTypeParser<Buffer>("*", { parseAs: "buffer", bodyLimit }, (request, body, done) => {
    let value: unknown;
    try {
      value = read(request, body);
    } catch (error) {
      done(error as Error);
      return;
    }
    done(null, value);
  });
}

/**
 * Reads whole numbers and true or false from the texts of a query, where the schema has them; what is neither stays a text,
 * which the schema refuses. Runs before validation.
 */
export const readQuery: preValidationHookHandler = ({ query, routeOptions }, _reply, done) => {
  const { properties = {} } = (routeOptions.schema?.querystring ?? {}) as {
    properties?: Readonly<Record<string, { type: string }>>;
  };
  const texts = query as Record<string, unknown>;
  for (const [name, { type }] of Object.entries(properties)) {
    const text = texts[name];
    if (typeof text !== "string") continue;
    if (type === "integer" && /^-?[0-9]{1,15}$/.test(text)) texts[name] = Number(text);
    else if (type === "boolean" && /^(?:true|false)$/i.test(text)) texts[name] = text.toLowerCase() === "true";
  }
  done();
};

/** A request's path, without its query and cut to a length that fits a message. */
export function pathOf({ url }: FastifyRequest): string {
  return url.split("?", 1)[0]!.slice(0, 200);
}

/**
 * Adds an address, and refuses the methods that it does not take before their bodies are read.
 * @param others - methods that somebody else may take
 */
export function addEndpoint(
  scope: FastifyInstance,
  url: string,
  methods: Partial<Record<HTTPMethods, Method>>,
  others: readonly HTTPMethods[] = [],
): void {
  for (const [method, { schema, handler }] of Object.entries(methods) as [HTTPMethods, Method][])
    scope.route({ method, url, schema, handler });
  const allowed = Object.keys(methods);
  const refuse = async (request: FastifyRequest, reply: FastifyReply): Promise<never> => {
    reply.header("allow", allowed.join(", "));
    const takes = `${pathOf(request)} takes ${allowed.join(" and ")}`;
    throw new LeNet5Error("METHOD_NOT_ALLOWED", `${takes}, not ${request.method}`);
  };
  const method = METHODS.filter((name) => !allowed.includes(name) && !others.includes(name));
  scope.route({ method, url, onRequest: refuse, handler: refuse });
}

/** A scope of routes that change models: guarded, and there only where management is on. */
export async function managementScope(
  scope: FastifyInstance,
  { management, guard }: ProtocolContext,
  routes: (scope: FastifyInstance) => void,
): Promise<void> {
  if (!management) return;
  await scope.register(async (managed) => {
    managed.addHook("onRequest", guard.management);
    routes(managed);
  });
}

/** A scope of routes that models answer: guarded and counted. */
export async function inferenceScope(
  scope: FastifyInstance,
  { guard, metrics }: ProtocolContext,
  protocol: RequestOutcome["protocol"],
  routes: (scope: FastifyInstance) => void,
): Promise<void> {
  await scope.register(async (inference) => {
    inference.decorateRequest("servedBy", null);
    inference.addHook("onRequest", guard.inference);
    const count = ({ servedBy, method }: FastifyRequest, { elapsedTime }: FastifyReply, status: number): void => {
      if (method !== "POST" && method !== "PUT") return;
      const { name: model, version } = servedBy ?? { name: undefined, version: undefined };
      metrics.request({ protocol, model, version, status, seconds: elapsedTime / 1000 });
    };
    inference.addHook("onResponse", (request, reply, done) => {
      count(request, reply, reply.statusCode);
      done();
    });
    // No response ends where the client has gone.
    inference.addHook("onError", (request, reply, _error, done) => {
      if (reply.raw.destroyed) count(request, reply, CLIENT_GONE);
      done();
    });
    routes(inference);
  });
}

/**
 * Fires when the client goes before it has its answer. It is what the package's calls ask of an AbortSignal and nothing more:
 * it costs a listener only where a call has to wait and listens.
 */
export function clientSignal(reply: FastifyReply): AbortSignal {
  return new ClientSignal(reply) as unknown as AbortSignal;
}

class ClientSignal {
  readonly reason = "The client has gone";
  readonly #response: FastifyReply["raw"];
  #listeners: Map<unknown, () => void> | undefined;

  constructor({ raw }: FastifyReply) {
    this.#response = raw;
  }

  get aborted(): boolean {
    const { destroyed, writableFinished } = this.#response;
    return destroyed && !writableFinished;
  }

  addEventListener(_type: string, listener: () => void): void {
    const onClose = (): void => {
      if (!this.#response.writableFinished) listener();
    };
    this.#listeners ??= new Map();
    this.#listeners.set(listener, onClose);
    this.#response.once("close", onClose);
  }

  removeEventListener(_type: string, listener: () => void): void {
    const onClose = this.#listeners?.get(listener);
    if (onClose === undefined) return;
    this.#listeners!.delete(listener);
    this.#response.off("close", onClose);
  }
}
