// The Open Inference Protocol over gRPC: inference.GRPCInferenceService as KServe, Triton and their clients have it, with
// Triton's repository calls where management is on, and grpc.health.v1.Health beside it.
import type { Server as NetServer } from "node:net";
import type * as Grpc from "@grpc/grpc-js";
import { expectedButGot, isLeNet5Error } from "../../errors.js";
import type { Tensor } from "../../tensor.js";
import { packageVersion } from "../../version.js";
import { bytesOfTensor, datatypeOf } from "../datatypes.js";
import { grpc } from "../dependencies.js";
import { hasContents, writeContents } from "../grpc/contents.js";
import { Health } from "../grpc/health.js";
import { type InferRequest, readInferRequest, tensorsOf } from "../grpc/infer-request.js";
import { decode, encode, type Message } from "../grpc/messages.js";
import { CODE, type GrpcStatus, statusOf } from "../grpc/status.js";
import type { ServerMetrics } from "../metrics.js";
import type { ModelRepository } from "../model-repository.js";
import type { TensorSpec } from "../served-model.js";

const SERVICE = "inference.GRPCInferenceService";
const HEALTH = "grpc.health.v1.Health";

/** What the gRPC server is made from. */
export interface GrpcContext {
  readonly repository: ModelRepository;
  readonly metrics: ServerMetrics;
  /** Whether the calls that list, load and unload models exist. */
  readonly management: boolean;
  /**
   * Refuses a call whose `authorization` is not the server's. Server and health are asked about without it.
   * @throws LENET5_UNAUTHORIZED
   */
  readonly authorize: (authorization: string | undefined, kind: "inference" | "management") => void;
  /** Largest message, in bytes. */
  readonly bodyLimit: number;
  /** Told of errors that are our own fault. */
  readonly onFault?: (error: unknown) => void;
}

/** Where and how the gRPC server listens. */
export interface GrpcOptions {
  readonly host: string;
  /** 0 for any free one. */
  readonly port: number;
  /**
   * Longest wait for a request's message once its call has begun, and for a client's sign of life, in milliseconds.
   * @defaultValue 30,000
   */
  readonly requestTimeoutMilliseconds?: number;
  /** Calls that a connection may have open at once. @defaultValue 1,024 */
  readonly maxConcurrentCalls?: number;
  /** Connections at once; further ones are closed. @defaultValue 4,096 */
  readonly maxConnections?: number;
}

/** A gRPC server that listens. */
export interface GrpcServer {
  readonly port: number;
  /** Tells whoever asks or watches that it is not ready any more; calls are answered. */
  retire(): void;
  /** Takes no new calls, answers those it has, and cuts off what is left after so many milliseconds. */
  close(drainMilliseconds: number): Promise<void>;
}

type Answer = (request: Buffer, call: Grpc.ServerUnaryCall<Buffer, Buffer>) => Buffer | Promise<Buffer>;
/** Whose token a call needs; undefined for those that probes make. */
type Guard = "inference" | "management" | undefined;

/**
 * Serves the protocol on a port of its own.
 * @throws LENET5_LISTEN_FAILED, LENET5_DEPENDENCY_MISSING
 */
export async function startOpenInferenceGrpc(context: GrpcContext, options: GrpcOptions): Promise<GrpcServer> {
  const { host, port, requestTimeoutMilliseconds = 30_000, maxConcurrentCalls = 1024, maxConnections = 4096 } = options;
  const { Server, ServerCredentials } = grpc();
  const calls = callsOf(context);
  const server = new Server({
    "grpc.max_receive_message_length": context.bodyLimit,
    "grpc.max_send_message_length": -1,
    "grpc.max_concurrent_streams": maxConcurrentCalls,
    // A client that is there answers a ping, also between calls; a connection that nobody holds any more is closed.
    "grpc.keepalive_time_ms": requestTimeoutMilliseconds,
    "grpc.keepalive_timeout_ms": requestTimeoutMilliseconds,
    interceptors: [gatekeeper(context, calls, requestTimeoutMilliseconds)],
  });
  const health = new Health(["", SERVICE], () => context.repository.ready);
  server.addService(
    serviceOf(SERVICE, Object.keys(calls)),
    Object.fromEntries(Object.entries(calls).map(([name, [, answer]]) => [name, unary(context, answer)])),
  );
  server.addService(serviceOf(HEALTH, ["Check", "Watch"]), health.implementation);
  const address = `${host.includes(":") ? `[${host}]` : host}:${port}`;
  const bound = await new Promise<number>((resolve, reject) => {
    server.bindAsync(address, ServerCredentials.createInsecure(), (error, number) => {
      if (error === null) resolve(number);
      else reject(expectedButGot("LISTEN_FAILED", "an address that is free", "gRPC", `${address} (${error.message})`));
    });
  });
  limitConnections(server, maxConnections);
  return {
    port: bound,
    retire: () => health.retire(),
    close: (drainMilliseconds) => {
      health.close();
      return new Promise((resolve) => {
        const timer = setTimeout(() => {
          server.forceShutdown();
          resolve();
        }, drainMilliseconds);
        server.tryShutdown(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    },
  };
}

/** grpc-js has no limit on connections; Node's servers, which it keeps to itself, have. */
function limitConnections(server: Grpc.Server, most: number): void {
  const { http2Servers } = server as unknown as { http2Servers?: ReadonlyMap<NetServer, unknown> };
  for (const each of http2Servers?.keys() ?? []) each.maxConnections = most;
}

/** Every call by name, with whose token it needs. */
function callsOf(context: GrpcContext): Record<string, [Guard, Answer]> {
  const { repository } = context;
  const extensions = context.management ? ["model_repository"] : [];
  const calls: Record<string, [Guard, Answer]> = {
    ServerLive: [undefined, () => encode("ServerLiveResponse", { live: true })],
    ServerReady: [undefined, () => encode("ServerReadyResponse", { ready: repository.ready })],
    ServerMetadata: [
      "inference",
      () => encode("ServerMetadataResponse", { name: "lenet5-libtorch", version: packageVersion, extensions }),
    ],
    ModelReady: [
      "inference",
      (bytes) => {
        const { name, version } = read("ModelReadyRequest", bytes) as { name: string; version: string };
        return encode("ModelReadyResponse", { ready: isReady(repository, name, version) });
      },
    ],
    ModelMetadata: ["inference", (bytes) => metadata(repository, bytes)],
    ModelInfer: ["inference", (bytes, call) => infer(context, bytes, call)],
  };
  if (!context.management) return calls;
  return {
    ...calls,
    RepositoryIndex: ["management", (bytes) => index(repository, bytes)],
    RepositoryModelLoad: [
      "management",
      async (bytes) => {
        await repository.load(repositoryModel(bytes, true));
        return encode("Empty", {});
      },
    ],
    RepositoryModelUnload: [
      "management",
      async (bytes) => {
        await repository.unload(repositoryModel(bytes, false));
        return encode("Empty", {});
      },
    ],
  };
}

/** As Triton answers: a model that there is not is not ready, which is no error. */
function isReady(repository: ModelRepository, name: string, version: string): boolean {
  try {
    repository.model(name, version || undefined);
    return true;
  } catch {
    return false;
  }
}

function metadata(repository: ModelRepository, bytes: Buffer): Buffer {
  const { name, version } = read("ModelMetadataRequest", bytes) as { name: string; version: string };
  const { description } = repository.model(name, version || undefined);
  const ready = repository.statusesOf(name).filter(({ state }) => state === "ready");
  return encode("ModelMetadataResponse", {
    name,
    versions: ready.map((status) => status.version),
    platform: "pytorch_torchscript",
    inputs: description.inputs.map(tensorMetadata),
    outputs: description.outputs.map(tensorMetadata),
  });
}

/** Where a module does not say: datatype "", shape [-1]. */
function tensorMetadata({ name, dtype, shape }: TensorSpec): Message {
  return { name, datatype: dtype === undefined ? "" : datatypeOf(dtype), shape: shape ?? [-1] };
}

function index(repository: ModelRepository, bytes: Buffer): Buffer {
  const { repositoryName, ready } = read("RepositoryIndexRequest", bytes) as { repositoryName: string; ready: boolean };
  requireOneRepository(repositoryName);
  const statuses = repository.statuses().filter(({ state }) => !ready || state === "ready");
  return encode("RepositoryIndexResponse", {
    models: statuses.map(({ name, version, state, reason }) => ({ name, version, state: state.toUpperCase(), reason })),
  });
}

/** The model that is to be loaded or unloaded. */
function repositoryModel(bytes: Buffer, load: boolean): string {
  const { repositoryName, modelName, parameters } = read("RepositoryModelRequest", bytes) as {
    repositoryName: string;
    modelName: string;
    parameters: unknown[];
  };
  requireOneRepository(repositoryName);
  // What unloading may be told, about models that others are made of, is of no matter here.
  if (load && parameters.length > 0)
    throw expectedButGot("PROTOCOL_UNSUPPORTED", "no parameters", "RepositoryModelLoad", String(parameters.length));
  return modelName;
}

function requireOneRepository(name: string): void {
  if (name === "") return;
  throw expectedButGot("PROTOCOL_UNSUPPORTED", "none, there being one repository,", "repository_name", "a name");
}

async function infer(
  { repository, metrics }: GrpcContext,
  bytes: Buffer,
  call: Grpc.ServerUnaryCall<Buffer, Buffer>,
): Promise<Buffer> {
  const begun = performance.now();
  let model: string | undefined;
  let version: string | undefined;
  const count = (status: number): void =>
    metrics.request({
      protocol: "open-inference-grpc",
      model,
      version,
      status,
      seconds: (performance.now() - begun) / 1000,
    });
  try {
    const request = readOr400(() => readInferRequest(bytes), "ModelInferRequest");
    const served = repository.model(request.modelName, request.modelVersion || undefined);
    model = served.description.name;
    version = served.description.version;
    const wanted = requestedOutputs(
      request,
      served.description.outputs.map(({ name }) => name),
    );
    const tensors = readOr400(() => tensorsOf(request), "ModelInferRequest");
    const timeout = request.parameters.get("timeout");
    const outputs = await served.infer(tensors, {
      signal: signalOf(call),
      outputs: wanted,
      // Triton's parameter counts microseconds.
      ...(typeof timeout === "number" && timeout > 0 ? { timeoutMilliseconds: timeout / 1000 } : {}),
    });
    const answer = inferResponse(request, { name: model, version }, wanted ?? [...outputs.keys()], outputs);
    count(200);
    return answer;
  } catch (error) {
    count(statusOf(error).httpStatus);
    throw error;
  }
}

/** The outputs that the request names, each once; undefined for all. What a module does not declare, its answer shows. */
function requestedOutputs({ outputs }: InferRequest, known: readonly string[]): string[] | undefined {
  if (outputs.length === 0) return undefined;
  const names = new Set<string>();
  for (const { name, parameters } of outputs) {
    const where = `output ${JSON.stringify(name.slice(0, 80))}`;
    if (known.length > 0 && !known.includes(name)) throw unknownOutput(where, known);
    if (names.has(name)) throw expectedButGot("REQUEST_INVALID", "each output once", where, "it twice");
    for (const feature of ["classification", "shared_memory_region"]) {
      if (parameters.has(feature))
        throw expectedButGot("PROTOCOL_UNSUPPORTED", "the tensor itself", where, `a request for ${feature}`);
    }
    names.add(name);
  }
  return [...names];
}

function unknownOutput(where: string, known: Iterable<string>): Error {
  return expectedButGot("REQUEST_INVALID", `one of ${[...known].join(", ")}`, where, "another");
}

/** An answer in the form of the request: raw, unless its tensors came as typed contents. */
function inferResponse(
  request: InferRequest,
  model: { name: string; version: string },
  names: readonly string[],
  tensors: ReadonlyMap<string, Tensor>,
): Buffer {
  const outputs = names.map((name): [string, Tensor] => {
    const tensor = tensors.get(name);
    if (tensor === undefined) throw unknownOutput(`output ${JSON.stringify(name.slice(0, 80))}`, tensors.keys());
    return [name, tensor];
  });
  const typed = request.rawInputContents.length === 0 && outputs.every(([, { dtype }]) => hasContents(dtype));
  return encode("ModelInferResponse", {
    modelName: model.name,
    modelVersion: model.version,
    id: request.id,
    outputs: outputs.map(([name, tensor]) => ({
      name,
      datatype: datatypeOf(tensor.dtype),
      shape: tensor.shape,
      ...(typed ? { contents: [writeContents(tensor)] } : {}),
    })),
    rawOutputContents: typed ? [] : outputs.map(([, tensor]) => bytesOfTensor(tensor)),
  });
}

/** Aborted when the client has gone or its deadline has passed. */
function signalOf(call: Grpc.ServerUnaryCall<Buffer, Buffer>): AbortSignal {
  const controller = new AbortController();
  if (call.cancelled) controller.abort();
  else call.once("cancelled", () => controller.abort());
  return controller.signal;
}

function read(name: string, bytes: Buffer): Message {
  return readOr400(() => decode(name, bytes), name);
}

/** Whatever goes wrong in reading a message is the sender's doing. */
function readOr400<T>(take: () => T, name: string): T {
  try {
    return take();
  } catch (error) {
    if (isLeNet5Error(error)) throw error;
    throw expectedButGot("REQUEST_INVALID", name, "the message", `bytes that are none (${(error as Error).message})`);
  }
}

/** A call with one answer, as grpc-js wants it. */
function unary(context: GrpcContext, answer: Answer): Grpc.handleUnaryCall<Buffer, Buffer> {
  return async (call, callback) => {
    let status: GrpcStatus;
    try {
      callback(null, await answer(call.request, call));
      return;
    } catch (error) {
      status = statusOf(error);
      if (status.code === CODE.internal) context.onFault?.(error);
    }
    callback({ code: status.code, details: status.details });
  };
}

/** The definition of a service whose messages go through as bytes: whoever answers reads them, and says what is wrong. */
function serviceOf(service: string, names: readonly string[]): Grpc.ServiceDefinition {
  const through = (bytes: Buffer): Buffer => bytes;
  const methods = names.map((name) => [
    name,
    {
      path: `/${service}/${name}`,
      requestStream: false,
      responseStream: name === "Watch",
      requestSerialize: through,
      requestDeserialize: through,
      responseSerialize: through,
      responseDeserialize: through,
    },
  ]);
  return Object.fromEntries(methods) as Grpc.ServiceDefinition;
}

/** Turns away, before their message is read, calls without the token, and those whose message does not come. */
function gatekeeper(
  { authorize }: GrpcContext,
  calls: Readonly<Record<string, [Guard, Answer]>>,
  timeout: number,
): Grpc.ServerInterceptor {
  const { Metadata, ServerInterceptingCall } = grpc();
  return ({ path }, call) => {
    let timer: NodeJS.Timeout | undefined;
    const [service, name = ""] = path.slice(1).split("/");
    const guard = service === SERVICE ? calls[name]?.[0] : undefined;
    const refuse = (error: unknown): void => {
      const { code, details } = statusOf(error);
      call.sendStatus({ code, details, metadata: new Metadata() });
    };
    return new ServerInterceptingCall(call, {
      start: (next) =>
        next({
          onReceiveMetadata: (metadata, forward) => {
            try {
              if (guard !== undefined) authorize(metadata.get("authorization")[0]?.toString(), guard);
            } catch (error) {
              refuse(error);
              return;
            }
            timer = setTimeout(() => {
              const waited = `nothing whole in ${timeout} ms`;
              refuse(expectedButGot("REQUEST_TIMED_OUT", "a message", "the call", waited));
            }, timeout);
            forward(metadata);
          },
          onReceiveMessage: (message, forward) => {
            clearTimeout(timer);
            forward(message);
          },
          onReceiveHalfClose: (forward) => forward(),
          onCancel: () => clearTimeout(timer),
        }),
    });
  };
}
