// The applications of a server: which routes are on which port.
//
// The main one has everything; a protocol with a port of its own has one with its routes alone. All of them see the same
// repository and count into the same metrics.
import type { FastifyInstance } from "fastify";
import { fastify } from "./dependencies.js";
import { operations } from "./operations.js";
import type { PortName, ProtocolName, ServerSettings } from "./options.js";
import type { Protocol, ProtocolContext } from "./protocol.js";

/** The protocols of HTTP, each a plugin in a file of its own. */
const PLUGINS: Partial<Record<ProtocolName, Protocol>> = {};

/** Longest URL, and all headers together, in bytes. */
const MAX_URL = 8192;
const MAX_HEADERS = 16_384;

/** The application of the main address: protocols, operations, page. */
export async function mainApplication(context: ProtocolContext, settings: ServerSettings): Promise<FastifyInstance> {
  const application = emptyApplication(settings);
  for (const name of settings.protocols) await mount(application, name, context);
  await application.register(operations(context));
  return application;
}

/** The application of a protocol with a port of its own. */
export async function protocolApplication(
  name: Exclude<PortName, "grpc">,
  context: ProtocolContext,
  settings: ServerSettings,
): Promise<FastifyInstance> {
  const application = emptyApplication(settings);
  if (name === "metrics") await application.register(operations(context));
  else if (name === "torchserve-management") await mount(application, "torchserve", context);
  // TorchServe's management has a port of its own, as its clients expect.
  else await mount(application, name, name === "torchserve" ? { ...context, management: false } : context);
  return application;
}

async function mount(application: FastifyInstance, name: ProtocolName, context: ProtocolContext): Promise<void> {
  const protocol = PLUGINS[name];
  if (protocol !== undefined) await application.register(protocol(context));
}

function emptyApplication(settings: ServerSettings): FastifyInstance {
  const { bodyLimit, requestTimeoutMilliseconds, logLevel, maxConnections } = settings;
  const logsRequests = logLevel === "debug" || logLevel === "trace";
  const application = fastify()({
    logger: logLevel === "silent" ? false : { level: logLevel, stream: process.stderr },
    logController: new (fastify().LogController)({ disableRequestLogging: !logsRequests }),
    requestIdHeader: "x-request-id",
    bodyLimit,
    // A slow body or header ends with 408, and holds its connection no longer.
    requestTimeout: requestTimeoutMilliseconds,
    connectionTimeout: 0,
    keepAliveTimeout: 72_000,
    // What is under way when the server closes gets its answer, also when it comes in on an open connection.
    return503OnClosing: false,
    forceCloseConnections: "idle",
    routerOptions: { maxParamLength: 1024, ignoreTrailingSlash: false },
    http: { maxHeaderSize: MAX_HEADERS, headersTimeout: requestTimeoutMilliseconds, connectionsCheckingInterval: 1000 },
    exposeHeadRoutes: true,
  }) as unknown as FastifyInstance;
  application.server.maxConnections = maxConnections;
  application.server.maxHeadersCount = 100;
  application.addHook("onRequest", (request, _reply, done) => {
    if (request.raw.url !== undefined && request.raw.url.length > MAX_URL) {
      done(Object.assign(new Error("URI Too Long"), { statusCode: 414 }));
    } else done();
  });
  return application;
}
