// TorchServe 0.12: `/ping`, `/predictions/…` with an image as the body or as the multipart field "data", and the management
// calls below `/models`.
//
// TorchServe's workers are processes; here one engine answers for all, whose threads the kernels use as they need. What its
// API says of workers is therefore mapped on whether a model is loaded: no worker is an unloaded model, one or more a loaded one.
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { expected, expectedButGot, LeNet5Error } from "../../errors.js";
import { packageVersion } from "../../version.js";
import { writeJson } from "../json.js";
import type { BatchLimits, ModelRepository, VersionStatus } from "../model-repository.js";
import { partsOf } from "../multipart.js";
import type { Protocol, ProtocolContext } from "../protocol.js";
import {
  addEndpoint,
  clientSignal,
  type ErrorContract,
  inferenceScope,
  managementScope,
  NOTHING,
  readQuery,
  speak,
} from "../protocol-scope.js";
import type { RawRequest } from "../served-model.js";

interface ModelParams {
  model?: string;
  version?: string;
}

/** TorchServe's exceptions, by status. */
const TYPES: Readonly<Record<number, string>> = {
  400: "BadRequestException",
  401: "InvalidKeyException",
  404: "ResourceNotFoundException",
  405: "MethodNotAllowedException",
  408: "RequestTimeoutException",
  409: "ConflictStatusException",
  413: "TooLongFrameException",
  500: "InternalServerException",
  503: "ServiceUnavailableException",
  507: "InternalServerException",
};
/** The statuses of this package that TorchServe's API has another one for. */
const OTHER_STATUSES: Readonly<Record<number, number>> = { 410: 503, 501: 400, 504: 408 };

/** The API's error contract. */
export const torchServeErrors =
  (repository: ModelRepository): ErrorContract =>
  ({ status, name, message }, request) => {
    const { model, version } = (request.params ?? {}) as ModelParams;
    if (name === "MODEL_NOT_FOUND") {
      if (version !== undefined && isKnown(repository, model!))
        return body(
          404,
          "ModelVersionNotFoundException",
          `Model version: ${version} does not exist for model: ${model}`,
        );
      return body(404, "ModelNotFoundException", model === undefined ? message : `Model not found: ${model}`);
    }
    const other = OTHER_STATUSES[status] ?? status;
    const code = TYPES[other] === undefined ? (other < 500 ? 400 : 500) : other;
    return body(code, TYPES[code]!, message);
  };

function body(code: number, type: string, message: string): ReturnType<ErrorContract> {
  return { status: code, body: { code, type, message } };
}

function isKnown(repository: ModelRepository, model: string): boolean {
  return repository.statuses().some(({ name }) => name === model);
}

const params = {
  type: "object",
  properties: { model: { type: "string", minLength: 1 }, version: { type: "string", minLength: 1 } },
};
const registerSchema = {
  querystring: {
    type: "object",
    required: ["url"],
    properties: {
      url: { type: "string", minLength: 1 },
      model_name: { type: "string", minLength: 1 },
      handler: { type: "string" },
      runtime: { type: "string" },
      batch_size: { type: "integer", minimum: 1 },
      max_batch_delay: { type: "integer", minimum: 0 },
      initial_workers: { type: "integer", minimum: 0 },
      synchronous: { type: "boolean" },
      response_timeout: { type: "integer", minimum: 0 },
    },
  },
};
const scaleSchema = {
  params,
  querystring: {
    type: "object",
    properties: {
      min_worker: { type: "integer", minimum: 0 },
      max_worker: { type: "integer", minimum: 0 },
      number_gpu: { type: "integer", minimum: 0 },
      synchronous: { type: "boolean" },
      timeout: { type: "integer" },
    },
  },
};
const listSchema = {
  querystring: {
    type: "object",
    properties: { limit: { type: "integer", minimum: 1 }, next_page_token: { type: "integer", minimum: 0 } },
  },
};
const PAGE = 100;

/** TorchServe's inference API, and its management API where management is on. */
export const torchServe: Protocol = (context) => async (app) => {
  const below = belowOf(app, context);
  await below("/ping", (scope) => addEndpoint(scope, "/", { GET: { schema: NOTHING, handler: pingOf(context) } }));
  await below("/predictions", (scope) =>
    inferenceScope(scope, context, "torchserve", (inference) => {
      const method = { schema: { params }, handler: predictOf(context) };
      for (const url of ["/:model", "/:model/:version"]) addEndpoint(inference, url, { POST: method, PUT: method });
    }),
  );
  await below("/models", (scope) => managementScope(scope, context, (managed) => addManagement(managed, context)));
  addDescription(app, { ...INFERENCE_PATHS, ...(context.management ? MANAGEMENT_PATHS : {}) });
};

/** Its management API alone, as TorchServe has it on a port of its own: `/ping` is the other port's. */
export const torchServeManagement: Protocol = (context) => async (app) => {
  const below = belowOf(app, context);
  await below("/models", (scope) => managementScope(scope, context, (managed) => addManagement(managed, context)));
  addDescription(app, context.management ? MANAGEMENT_PATHS : {});
};

/** What there is at each address, by method, as TorchServe's description names it. */
type Paths = Readonly<Record<string, Readonly<Record<string, string>>>>;
const predictions = { post: "predictions", put: "predictions" };
const INFERENCE_PATHS: Paths = {
  "/ping": { get: "ping" },
  "/predictions/{model_name}": predictions,
  "/predictions/{model_name}/{model_version}": predictions,
};
const model = { get: "describeModel", put: "setAutoScale", delete: "unregisterModel" };
const MANAGEMENT_PATHS: Paths = {
  "/models": { get: "listModels", post: "registerModel" },
  "/models/{model_name}": model,
  "/models/{model_name}/{model_version}": model,
  "/models/{model_name}/{model_version}/set-default": { put: "setDefault" },
};

/** `OPTIONS /` and `/api-description`: the addresses as an OpenAPI document, which clients ask for to see that it is TorchServe's API. */
function addDescription(app: FastifyInstance, paths: Paths): void {
  const operation = (url: string, operationId: string): object => ({
    operationId,
    parameters: [...url.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
      in: "path",
      name,
      required: true,
      schema: { type: "string" },
    })),
    responses: { 200: { description: "OK" } },
  });
  const described = Object.entries(paths).map(([url, methods]) => [
    url,
    Object.fromEntries(Object.entries(methods).map(([method, id]) => [method, operation(url, id)])),
  ]);
  const info = { title: "TorchServe APIs", description: "lenet5-libtorch, as TorchServe", version: packageVersion };
  const document = { openapi: "3.0.1", info, paths: Object.fromEntries(described) };
  app.options("/", { schema: NOTHING }, async () => document);
  app.get("/api-description", { schema: NOTHING }, async () => document);
}

/** What adds routes below a part of the path, with the API's error contract. */
function belowOf(app: FastifyInstance, context: ProtocolContext) {
  const contract = torchServeErrors(context.repository);
  return async (prefix: string, add: (scope: FastifyInstance) => void | Promise<void>): Promise<void> => {
    await app.register(
      async (scope) => {
        speak(scope, context, contract);
        await add(scope);
      },
      { prefix },
    );
  };
}

const pingOf =
  ({ repository }: ProtocolContext) =>
  async (_request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    const { ready } = repository;
    return reply.code(ready ? 200 : 500).send({ status: ready ? "Healthy" : "Unhealthy" });
  };

const predictOf =
  ({ repository }: ProtocolContext) =>
  async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    const { model: name, version } = request.params as ModelParams;
    const model = repository.model(name!, version);
    request.servedBy = model.description;
    const { body = NO_BYTES, headers } = request as FastifyRequest & { body?: Buffer };
    const header = headers["content-type"] ?? "";
    const contentType = mediaType(header);
    const raw = contentType === "multipart/form-data" ? await dataOf(body, header) : { body, contentType };
    const answer = await model.respond(raw, { signal: clientSignal(reply) });
    if (typeof answer === "string") return reply.type("text/plain; charset=utf-8").send(answer);
    return reply.type("application/json").send(writeJson(answer));
  };

const NO_BYTES = Buffer.alloc(0);

function mediaType(header: string): string {
  const end = header.indexOf(";");
  return (end < 0 ? header : header.slice(0, end)).trim().toLowerCase();
}

/** The part "data" of a form, else its part "body", as TorchServe's handlers read it. @throws LENET5_REQUEST_INVALID */
async function dataOf(form: Buffer, header: string): Promise<RawRequest> {
  const parts = await partsOf(form, header);
  const data = parts.get("data") ?? parts.get("body");
  if (data === undefined) throw expectedButGot("REQUEST_INVALID", 'a field "data"', "the form", "none");
  return data;
}

function addManagement(scope: FastifyInstance, { repository }: ProtocolContext): void {
  const handlers = managementOf(repository);
  scope.addHook("preValidation", readQuery);
  addEndpoint(scope, "/", {
    GET: { schema: listSchema, handler: handlers.list },
    POST: { schema: registerSchema, handler: handlers.register },
  });
  for (const url of ["/:model", "/:model/:version"]) {
    addEndpoint(scope, url, {
      GET: { schema: { params }, handler: handlers.describe },
      PUT: { schema: scaleSchema, handler: handlers.scale },
      DELETE: { schema: { params }, handler: handlers.unregister },
    });
  }
  addEndpoint(scope, "/:model/:version/set-default", { PUT: { schema: { params }, handler: handlers.setDefault } });
}

interface ListQuery {
  limit?: number;
  next_page_token?: number;
}
interface RegisterQuery {
  url: string;
  model_name?: string;
  batch_size?: number;
  max_batch_delay?: number;
}
interface ScaleQuery {
  min_worker?: number;
  max_worker?: number;
}

const managementOf = (repository: ModelRepository) => ({
  async list({ query }: FastifyRequest) {
    const { limit = PAGE, next_page_token: start = 0 } = query as ListQuery;
    const versions = repository.statuses();
    const names = [...new Set(versions.map(({ name }) => name))];
    const models = names.slice(start, start + limit).map((name) => {
      const served = defaultOf(versions.filter((version) => version.name === name));
      return { modelName: name, modelUrl: served.file };
    });
    return start + limit < names.length ? { nextPageToken: String(start + limit), models } : { models };
  },

  async describe({ params }: FastifyRequest) {
    const { model, version } = params as ModelParams;
    const versions = repository.statusesOf(model!);
    if (version === "all") return versions.map(describe);
    return [describe(version === undefined ? defaultOf(versions) : versionOf(versions, version))];
  },

  async register({ query }: FastifyRequest) {
    const { url, model_name, batch_size, max_batch_delay } = query as RegisterQuery;
    const limits: BatchLimits = {
      ...(batch_size === undefined ? {} : { maxBatchSize: batch_size }),
      ...(max_batch_delay === undefined ? {} : { maxQueueDelayMicroseconds: max_batch_delay * 1000 }),
    };
    const registered = await repository.register(url, {
      ...(model_name === undefined ? {} : { name: model_name }),
      limits,
    });
    const { name, version } = registered;
    return { status: `Model "${name}" Version: ${version} registered with 1 initial workers` };
  },

  async scale({ params, query }: FastifyRequest) {
    const { model, version } = params as ModelParams;
    const { min_worker = 1, max_worker = min_worker } = query as ScaleQuery;
    if (max_worker < min_worker)
      throw expected("REQUEST_INVALID", `at least min_worker, ${min_worker},`, "max_worker", max_worker);
    const versions = repository.statusesOf(model!);
    const { state, version: meant } = version === undefined ? defaultOf(versions) : versionOf(versions, version);
    if (max_worker === 0) await repository.unload(model!, meant);
    else if (state !== "ready") await repository.load(model!, { version: meant });
    return { status: `Workers scaled to ${Math.min(max_worker, 1)} for model: ${model}` };
  },

  async unregister({ params }: FastifyRequest) {
    const { model, version } = params as ModelParams;
    await repository.unregister(model!, version ?? defaultOf(repository.statusesOf(model!)).version);
    return { status: `Model "${model}" unregistered` };
  },

  async setDefault({ params }: FastifyRequest) {
    const { model, version } = params as ModelParams;
    repository.setDefault(model!, version!);
    return { status: `Default version successfully updated for model "${model}" to "${version}"` };
  },
});

/** The version that answers requests which name none, else the newest. */
function defaultOf(versions: readonly VersionStatus[]): VersionStatus {
  return versions.find(({ isDefault }) => isDefault) ?? versions.at(-1)!;
}

function versionOf(versions: readonly VersionStatus[], wanted: string): VersionStatus {
  const found = versions.find(({ version }) => version === wanted);
  if (found === undefined) throw new LeNet5Error("MODEL_NOT_FOUND", `There is no version ${wanted.slice(0, 80)}`);
  return found;
}

/** What TorchServe tells of a version of a model; its one worker is this process. */
function describe(status: VersionStatus): object {
  const { name, version, file, state, loadedAt, maxBatchSize, maxQueueDelayMicroseconds, maxQueueSize, queued } =
    status;
  const worker = {
    id: String(process.pid),
    startTime: (loadedAt ?? new Date()).toISOString(),
    status: "READY",
    gpu: false,
    memoryUsage: process.memoryUsage.rss(),
  };
  const workers = state === "ready" ? [worker] : [];
  return {
    modelName: name,
    modelVersion: version,
    modelUrl: file,
    runtime: "node",
    minWorkers: workers.length,
    maxWorkers: workers.length,
    batchSize: maxBatchSize,
    maxBatchDelay: Math.ceil(maxQueueDelayMicroseconds / 1000),
    workers,
    jobQueueStatus: { remainingCapacity: Math.max(maxQueueSize - queued, 0), pendingRequests: queued },
  };
}
