// The Open Inference Protocol, version 2, over REST, as KServe, Triton and MLServer speak it, with Triton's extensions for
// binary tensors and for the model repository.
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { expected, expectedButGot, LeNet5Error } from "../../errors.js";
import type { Tensor } from "../../tensor.js";
import { packageVersion } from "../../version.js";
import { JSON_LENGTH_HEADER, type RawTensors, splitBody } from "../binary-tensors.js";
import { bytesOfTensor, datatypeOf, dtypeOf, tensorFromBytes } from "../datatypes.js";
import { parseJson } from "../json.js";
import type { VersionStatus } from "../model-repository.js";
import type { Protocol, ProtocolContext } from "../protocol.js";
import {
  addEndpoint,
  clientSignal,
  type ErrorContract,
  inferenceScope,
  managementScope,
  NOTHING,
  readBodies,
  speak,
} from "../protocol-scope.js";
import { RecentHeads } from "../recent-heads.js";
import type { ModelDescription, TensorSpec } from "../served-model.js";
import { flatJson, MAX_RANK, tensorFromJson } from "../tensor-json.js";

interface ModelParams {
  name: string;
  version?: string;
}
interface InferenceInput {
  name: string;
  shape: number[];
  datatype: string;
  data?: unknown;
  parameters?: { binary_data_size?: number; shared_memory_region?: unknown };
}
interface RequestedOutput {
  name: string;
  parameters?: { binary_data?: boolean; classification?: unknown; shared_memory_region?: unknown };
}
interface InferenceRequest {
  id?: string;
  parameters?: { binary_data_output?: boolean };
  inputs: InferenceInput[];
  outputs?: RequestedOutput[];
}
/** A request's body: its JSON, and the raw tensors that follow it. */
interface InferenceBody {
  json: InferenceRequest;
  raw: RawTensors;
}

/** Triton's statuses: 404 for what is not there, 503 for what is not there now, 501 for what it cannot do, 400 otherwise. */
const STATUSES: Readonly<Record<number, number>> = { 410: 503, 504: 503, 507: 503 };
const KEPT = new Set([401, 404, 405, 500, 501, 503]);

export const openInferenceErrors: ErrorContract = ({ status, message }) => {
  const kept = STATUSES[status] ?? (KEPT.has(status) ? status : status >= 500 ? 500 : 400);
  return { status: kept, body: { error: message } };
};

const params = {
  type: "object",
  properties: { name: { type: "string", minLength: 1 }, version: { type: "string", minLength: 1 } },
};
const inferenceSchema = {
  params,
  body: {
    type: "object",
    required: ["json"],
    properties: {
      json: {
        type: "object",
        required: ["inputs"],
        properties: {
          id: { type: "string", maxLength: 1024 },
          parameters: { type: "object", properties: { binary_data_output: { type: "boolean" } } },
          inputs: {
            type: "array",
            minItems: 1,
            maxItems: 1024,
            items: {
              type: "object",
              required: ["name", "shape", "datatype"],
              properties: {
                name: { type: "string" },
                shape: { type: "array", maxItems: MAX_RANK, items: { type: "integer", minimum: 0 } },
                datatype: { type: "string" },
                // The elements are looked at when they are read: a schema would walk over each of them.
                data: {},
                parameters: { type: "object", properties: { binary_data_size: { type: "integer", minimum: 0 } } },
              },
            },
          },
          outputs: {
            type: "array",
            maxItems: 1024,
            items: {
              type: "object",
              required: ["name"],
              properties: {
                name: { type: "string" },
                parameters: { type: "object", properties: { binary_data: { type: "boolean" } } },
              },
            },
          },
        },
      },
    },
  },
};
const indexSchema = {
  body: { type: ["object", "null"], properties: { ready: { type: "boolean" } } },
};
const loadSchema = { params, body: { type: ["object", "null"], properties: { parameters: { type: "object" } } } };

/** The protocol over REST, below `/v2`. */
export const openInference: Protocol = (context) => async (app) => {
  await app.register(
    async (v2) => {
      speak(v2, context, openInferenceErrors);
      addHealth(v2, context);
      await v2.register(async (models) => {
        models.addHook("onRequest", context.guard.inference);
        addDescriptions(models, context);
      });
      await inferenceScope(v2, context, "open-inference", (inference) => {
        readBodies(inference, context, bodyReader());
        const handler = (request: FastifyRequest, reply: FastifyReply) => infer(context, request, reply);
        for (const url of MODEL_URLS)
          addEndpoint(inference, `${url}/infer`, { POST: { schema: inferenceSchema, handler } });
      });
      await managementScope(v2, context, (managed) => {
        readBodies(managed, context, (_request, body) => (body.length === 0 ? null : parseJson(body)));
        addRepository(managed, context);
      });
    },
    { prefix: "/v2" },
  );
};

const MODEL_URLS = ["/models/:name", "/models/:name/versions/:version"];

function addHealth(scope: FastifyInstance, { repository }: ProtocolContext): void {
  const live = async (): Promise<object> => ({ live: true, ready: repository.ready });
  const ready = async (_request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    const { ready } = repository;
    return reply.code(ready ? 200 : 503).send({ live: true, ready });
  };
  addEndpoint(scope, "/health/live", { GET: { schema: NOTHING, handler: live } });
  addEndpoint(scope, "/health/ready", { GET: { schema: NOTHING, handler: ready } });
}

function addDescriptions(scope: FastifyInstance, { repository, management }: ProtocolContext): void {
  const server = {
    name: "lenet5-libtorch",
    version: packageVersion,
    extensions: ["binary_tensor_data", ...(management ? ["model_repository"] : [])],
  };
  addEndpoint(scope, "/", { GET: { schema: NOTHING, handler: async () => server } });
  const describe = async (request: FastifyRequest): Promise<object> => {
    const { name, version } = request.params as ModelParams;
    return metadata(repository.model(name, version).description, repository.statusesOf(name));
  };
  const readiness = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    const { name, version } = request.params as ModelParams;
    const versions = repository
      .statusesOf(name)
      .filter((status) => version === undefined || version === status.version);
    const ready = versions.some(({ state }) => state === "ready");
    if (versions.length === 0) repository.model(name, version);
    return reply.code(ready ? 200 : 503).send({ name, live: true, ready });
  };
  for (const url of MODEL_URLS) {
    addEndpoint(scope, url, { GET: { schema: { params }, handler: describe } });
    addEndpoint(scope, `${url}/ready`, { GET: { schema: { params }, handler: readiness } });
  }
}

function addRepository(scope: FastifyInstance, { repository }: ProtocolContext): void {
  const index = async (request: FastifyRequest): Promise<object> => {
    const { ready = false } = (request.body ?? {}) as { ready?: boolean };
    return repository
      .statuses()
      .filter(({ state }) => !ready || state === "ready")
      .map(({ name, version, state, reason }) => ({ name, version, state: state.toUpperCase(), reason }));
  };
  const load = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    const { parameters } = (request.body ?? {}) as { parameters?: object };
    const [override] = Object.keys(parameters ?? {});
    if (override !== undefined) throw expected("PROTOCOL_UNSUPPORTED", "no parameters", "load", override.slice(0, 80));
    await repository.load((request.params as ModelParams).name);
    return reply.code(200).send();
  };
  const unload = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    await repository.unload((request.params as ModelParams).name);
    return reply.code(200).send();
  };
  addEndpoint(scope, "/repository/index", { POST: { schema: indexSchema, handler: index } });
  addEndpoint(scope, "/repository/models/:name/load", { POST: { schema: loadSchema, handler: load } });
  addEndpoint(scope, "/repository/models/:name/unload", { POST: { schema: loadSchema, handler: unload } });
}

/** Reads the bodies of requests for inference. */
function bodyReader(): (request: FastifyRequest, body: Buffer) => object {
  const heads = new RecentHeads();
  return (request, body) => {
    const length = request.headers[JSON_LENGTH_HEADER];
    const { json, raw } = splitBody(body, length);
    return { json: length === undefined ? parseJson(json) : heads.read(json), raw };
  };
}

async function infer({ repository }: ProtocolContext, request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  const { name, version } = request.params as ModelParams;
  const model = repository.model(name, version);
  const { description } = model;
  request.servedBy = description;
  const { json, raw } = request.body as InferenceBody;
  const wanted = wantedOutputs(json, description);
  const inputs = readInputs(json.inputs, raw);
  const results = await model.infer(inputs, {
    signal: clientSignal(reply),
    outputs: wanted?.map(({ name }) => name),
  });
  return answer(json, wanted ?? allOf(json, results), results, description, reply);
}

/** Inputs by name. @throws LENET5_REQUEST_INVALID and what is wrong with a tensor */
function readInputs(inputs: readonly InferenceInput[], raw: RawTensors): Map<string, Tensor> {
  const tensors = new Map<string, Tensor>();
  for (const { name, shape, datatype, data, parameters } of inputs) {
    const where = `input "${name.length > 80 ? name.slice(0, 80) : name}"`;
    if (tensors.has(name)) throw expectedButGot("REQUEST_INVALID", "each input once", "inputs", `${where} twice`);
    if (parameters?.shared_memory_region !== undefined) throw unsupported("shared memory", where);
    const dtype = dtypeOf(datatype, where);
    const size = parameters?.binary_data_size;
    if (size !== undefined) {
      if (data !== undefined) throw expectedButGot("REQUEST_INVALID", "data or binary_data_size", where, "both");
      tensors.set(name, tensorFromBytes(dtype, shape, raw.take(size, where), where));
      continue;
    }
    if (data === undefined) throw expectedButGot("REQUEST_INVALID", "data or binary_data_size", where, "neither");
    if (dtype === "float16" || dtype === "bfloat16")
      throw expected("REQUEST_INVALID", "binary data, the only form that the protocol has for it,", where, datatype);
    tensors.set(name, tensorFromJson(data, shape, dtype, where));
  }
  raw.end();
  return tensors;
}

interface WantedOutput {
  readonly name: string;
  readonly binary: boolean;
}

/**
 * The outputs that a request asks for, in its order; undefined where it asks for none, which is for all. A module may
 * not say what it gives before it has given it: then names are looked at in {@link answer}.
 */
function wantedOutputs(
  { outputs = [], parameters }: InferenceRequest,
  { outputs: known }: ModelDescription,
): WantedOutput[] | undefined {
  if (outputs.length === 0) return undefined;
  const binary = parameters?.binary_data_output ?? false;
  const seen = new Set<string>();
  return outputs.map(({ name, parameters: own }) => {
    const where = `output "${name.length > 80 ? name.slice(0, 80) : name}"`;
    if (known.length > 0 && !known.some((output) => output.name === name))
      throw unknownOutput(
        where,
        known.map((output) => output.name),
      );
    if (seen.has(name)) throw expectedButGot("REQUEST_INVALID", "each output once", "outputs", `${where} twice`);
    seen.add(name);
    if (own?.classification !== undefined) throw unsupported("classification", where);
    if (own?.shared_memory_region !== undefined) throw unsupported("shared memory", where);
    return { name, binary: own?.binary_data ?? binary };
  });
}

function unknownOutput(where: string, known: readonly string[]): LeNet5Error {
  return expectedButGot("REQUEST_INVALID", `one of ${known.join(", ")}`, "outputs", where);
}

function unsupported(feature: string, where: string): LeNet5Error {
  return new LeNet5Error(
    "PROTOCOL_UNSUPPORTED",
    `This server does not have the protocol's extension for ${feature} (${where})`,
  );
}

function allOf({ parameters }: InferenceRequest, results: ReadonlyMap<string, Tensor>): WantedOutput[] {
  const binary = parameters?.binary_data_output ?? false;
  return [...results.keys()].map((name) => ({ name, binary }));
}

function answer(
  { id }: InferenceRequest,
  wanted: readonly WantedOutput[],
  results: ReadonlyMap<string, Tensor>,
  { name, version }: ModelDescription,
  reply: FastifyReply,
): FastifyReply {
  const parts: Uint8Array[] = [];
  const outputs = wanted.map((output) => {
    const tensor = results.get(output.name);
    if (tensor === undefined) throw unknownOutput(output.name, [...results.keys()]);
    const head = `"name":${JSON.stringify(output.name)},"shape":[${tensor.shape.join(",")}],"datatype":"${datatypeOf(tensor.dtype)}"`;
    if (!output.binary) return `{${head},"data":${elementsOf(tensor, output.name)}}`;
    const bytes = bytesOfTensor(tensor);
    parts.push(bytes);
    return `{${head},"parameters":{"binary_data_size":${bytes.length}}}`;
  });
  const head = `"model_name":${JSON.stringify(name)},"model_version":${JSON.stringify(version)}`;
  const json = `{${head}${id === undefined ? "" : `,"id":${JSON.stringify(id)}`},"outputs":[${outputs.join(",")}]}`;
  if (parts.length === 0) return reply.type("application/json").send(json);
  const text = Buffer.from(json);
  return reply
    .header(JSON_LENGTH_HEADER, text.length)
    .type("application/octet-stream")
    .send(Buffer.concat([text, ...parts]));
}

function elementsOf(tensor: Tensor, name: string): string {
  if (tensor.dtype !== "float16" && tensor.dtype !== "bfloat16") return flatJson(tensor);
  const want = `binary_data for output "${name}", the only form that the protocol has for ${datatypeOf(tensor.dtype)},`;
  throw expectedButGot("REQUEST_INVALID", want, "the request", "a request for JSON");
}

/** A model's metadata. Where a module does not say: datatype "", shape [-1]. */
function metadata({ name, inputs, outputs }: ModelDescription, statuses: readonly VersionStatus[]): object {
  const tensor = (spec: TensorSpec): object => ({
    name: spec.name,
    datatype: spec.dtype === undefined ? "" : datatypeOf(spec.dtype),
    shape: spec.shape ?? [-1],
  });
  return {
    name,
    versions: statuses.filter(({ state }) => state === "ready").map(({ version }) => version),
    platform: "pytorch_torchscript",
    inputs: inputs.map(tensor),
    outputs: outputs.map(tensor),
  };
}
