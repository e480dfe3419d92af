// The applications of a server: which routes are on which port.
//
// The main one has everything; a protocol with a port of its own has one with its routes alone. All of them see the same
// repository and count into the same metrics.
import type { Socket } from "node:net";
import type { FastifyInstance } from "fastify";
import { fastify } from "./dependencies.js";
import { operations } from "./operations.js";
import type { PortName, ProtocolName, ServerSettings } from "./options.js";
import type { Protocol, ProtocolContext } from "./protocol.js";
import { VALIDATION } from "./protocol-scope.js";
import { openInference } from "./protocols/open-inference.js";
import { page } from "./protocols/page.js";
import { tensorFlowServing } from "./protocols/tensorflow-serving.js";
import { torchServe, torchServeManagement } from "./protocols/torchserve.js";
import { requestLog } from "./request-log.js";
import { brokenRequest, nowhere, routerErrors } from "./router-errors.js";

/** The protocols of HTTP, each a plugin in a file of its own. */
const PLUGINS: Readonly<Record<ProtocolName, Protocol>> = {
  "open-inference": openInference,
  torchserve: torchServe,
  "tensorflow-serving": tensorFlowServing,
};

/** All headers and the URL together, in bytes. */
const MAX_HEADERS = 16_384;

/** How often Node looks for requests that take too long to come, in milliseconds. */
const CHECK = 1000;

/** The application of the main address: protocols, operations, page. */
export async function mainApplication(context: ProtocolContext, settings: ServerSettings): Promise<FastifyInstance> {
  const application = emptyApplication(context, settings);
  for (const name of settings.protocols) await application.register(PLUGINS[name](context));
  await application.register(operations(context));
  // The page asks for inference as any client of the Open Inference Protocol does.
  if (settings.page && settings.protocols.includes("open-inference")) await application.register(page(context));
  return application;
}

/** The application of a protocol with a port of its own. */
export async function protocolApplication(
  name: Exclude<PortName, "grpc">,
  context: ProtocolContext,
  settings: ServerSettings,
): Promise<FastifyInstance> {
  const application = emptyApplication(context, settings);
  if (name === "metrics") await application.register(operations(context));
  // TorchServe's inference and management have a port each, as its clients expect, with nothing of the other.
  else if (name === "torchserve-management") await application.register(torchServeManagement(context));
  else if (name === "torchserve") await application.register(torchServe({ ...context, management: false }));
  else await application.register(PLUGINS[name](context));
  return application;
}

function emptyApplication({ repository }: ProtocolContext, settings: ServerSettings): FastifyInstance {
  const { bodyLimit, requestTimeoutMilliseconds, logLevel, maxConnections } = settings;
  const logsRequests = logLevel === "debug" || logLevel === "trace";
  const application = fastify()({
    logger: logLevel === "silent" ? false : { level: logLevel, stream: process.stderr },
    logController: new (fastify().LogController)({ disableRequestLogging: !logsRequests }),
    childLoggerFactory: requestLog,
    requestIdHeader: "x-request-id",
    bodyLimit,
    // A slow body or header ends with 408, and holds its connection no longer.
    requestTimeout: requestTimeoutMilliseconds,
    // Later than the 408 of a request that does not come to an end, which tells the client why.
    connectionTimeout: requestTimeoutMilliseconds + 2 * CHECK,
    keepAliveTimeout: 72_000,
    // What is under way when the server closes gets its answer, also when it comes in on an open connection.
    return503OnClosing: false,
    forceCloseConnections: "idle",
    routerOptions: { maxParamLength: 1024, ignoreTrailingSlash: false },
    http: {
      maxHeaderSize: MAX_HEADERS,
      headersTimeout: requestTimeoutMilliseconds,
      connectionsCheckingInterval: CHECK,
    },
    exposeHeadRoutes: true,
    frameworkErrors: routerErrors(repository),
    clientErrorHandler: brokenRequest,
    ajv: VALIDATION,
  }) as unknown as FastifyInstance;
  application.server.maxConnections = maxConnections;
  application.server.on("timeout", letGo);
  // Their bytes are bounded; a bound on their number would leave out the last ones without a word, a token among them.
  application.server.maxHeadersCount = 0;
  application.setErrorHandler(routerErrors(repository));
  application.setNotFoundHandler(nowhere(repository));
  return application;
}

/**
 * Nothing has gone over a connection for a while. It is closed where its client does not take what it asked for, which would stay
 * in memory for ever, and where it has asked for nothing; a request that waits for its model has a time-out of its own.
 */
function letGo(socket: Socket): void {
  const { _httpMessage: answer } = socket as Socket & { _httpMessage?: unknown };
  if (socket.writableLength > 0 || !answer) socket.destroy();
}
