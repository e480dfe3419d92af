// TensorFlow Serving's REST API: `:predict` by rows ("instances") and by columns ("inputs"), a model's status and metadata.
//
// Its addresses end in ":predict", and in the router ":" begins a parameter: the last part of a path comes as one parameter and
// is taken apart here. A request names a signature; every model here has the one that clients mean when they name none,
// "serving_default". For a LeNet-5 its output is the first one alone, the log-probabilities, so that a row's answer is plain
// numbers; for other modules it is all of them.
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { decodeDigits } from "../../data/image.js";
import { expected, expectedButGot, LeNet5Error } from "../../errors.js";
import { isObject } from "../../is.js";
import type { DType, Tensor } from "../../tensor.js";
import { checkImage } from "../image-body.js";
import { parseJson } from "../json.js";
import type { VersionStatus } from "../model-repository.js";
import type { Protocol, ProtocolContext } from "../protocol.js";
import {
  addEndpoint,
  clientSignal,
  type ErrorContract,
  inferenceScope,
  pathOf,
  readBodies,
  speak,
} from "../protocol-scope.js";
import type { ModelDescription, ServedModel, TensorSpec } from "../served-model.js";
import { nestedJson, shapeOfNested, tensorFromJson } from "../tensor-json.js";

const SIGNATURE = "serving_default";
const SIDE = 28;
/** Images of one request: a small file may become many pixels. */
const MAX_IMAGES = 1024;

/** TensorFlow Serving's statuses: those of its error codes. */
const KEPT = new Set([401, 404, 409, 429, 500, 501, 503, 504]);

export const tensorFlowServingErrors: ErrorContract = ({ status, name, message }, request) => {
  const body = {
    error: name === "METHOD_NOT_ALLOWED" ? `Malformed request: ${request.method} ${pathOf(request)}` : message,
  };
  const kept = status === 410 ? 503 : KEPT.has(status) ? status : status >= 500 ? 500 : 400;
  return { status: kept, body };
};

interface ModelParams {
  model: string;
  version?: string;
  label?: string;
}
interface PredictBody {
  signature_name?: string;
  instances?: unknown;
  inputs?: unknown;
}

const word = { type: "string", minLength: 1 };
const params = { type: "object", properties: { model: word, version: word, label: word } };
const predictSchema = {
  params,
  body: {
    type: "object",
    // Instances and inputs are looked at when they are read: a schema would walk over each number.
    properties: { signature_name: { type: "string" }, instances: {}, inputs: {} },
  },
};

/** The API, below `/v1`. */
export const tensorFlowServing: Protocol = (context) => async (app) => {
  await app.register(
    async (v1) => {
      speak(v1, context, tensorFlowServingErrors);
      await inferenceScope(v1, context, "tensorflow-serving", (scope) => {
        readBodies(scope, context, (_request, body) => parseJson(body));
        addModels(scope, context);
      });
    },
    { prefix: "/v1" },
  );
};

function addModels(scope: FastifyInstance, context: ProtocolContext): void {
  const { repository } = context;
  const status = async (request: FastifyRequest): Promise<object> => {
    const { model } = request.params as ModelParams;
    const version = versionOf(request.params as ModelParams, context);
    const versions = repository.statusesOf(model).filter((one) => version === undefined || one.version === version);
    if (versions.length === 0) repository.model(model, version);
    return { model_version_status: versions.map(stateOf) };
  };
  const metadata = async (request: FastifyRequest): Promise<object> => {
    const { model } = request.params as ModelParams;
    return metadataOf(repository.model(model, versionOf(request.params as ModelParams, context)).description);
  };
  const predict = (request: FastifyRequest, reply: FastifyReply) => answer(context, request, reply);
  for (const url of ["/models/:model", "/models/:model/versions/:version", "/models/:model/labels/:label"]) {
    const POST = { schema: predictSchema, handler: predict };
    addEndpoint(scope, url, { GET: { schema: { params }, handler: status }, POST });
    addEndpoint(scope, `${url}/metadata`, { GET: { schema: { params }, handler: metadata } });
  }
}

/** The one label that there is, "stable", is the version that answers requests which name none. */
function versionOf({ model, version, label }: ModelParams, { repository }: ProtocolContext): string | undefined {
  if (label === undefined || label === "stable") return version;
  repository.statusesOf(model);
  throw expected("MODEL_NOT_FOUND", '"stable", the only label,', `model "${model}"`, label);
}

async function answer(context: ProtocolContext, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const model = context.repository.model(...addressOf(request, context));
  request.servedBy = model.description;
  const { signature_name: signature = "", instances, inputs } = request.body as PredictBody;
  if (signature !== "" && signature !== SIGNATURE)
    throw expected("REQUEST_INVALID", SIGNATURE, "signature_name", signature.slice(0, 80));
  if ((instances === undefined) === (inputs === undefined))
    throw expectedButGot(
      "REQUEST_INVALID",
      "instances or inputs",
      "the body",
      inputs === undefined ? "neither" : "both",
    );
  const json = instances === undefined ? await byColumns(model, inputs, reply) : await byRows(model, instances, reply);
  return reply.type("application/json").send(json);
}

/** The model and version of ":predict", the last part of the path. */
function addressOf(request: FastifyRequest, context: ProtocolContext): [name: string, version?: string] {
  const given = request.params as ModelParams;
  const last = given.label ?? given.version ?? given.model;
  const colon = last.lastIndexOf(":");
  const verb = last.slice(colon + 1);
  if (colon < 1 || !["predict", "classify", "regress"].includes(verb))
    throw new LeNet5Error("REQUEST_INVALID", `Malformed request: POST ${pathOf(request)}`);
  if (verb !== "predict")
    throw expected("PROTOCOL_UNSUPPORTED", ":predict, whose tensors any model has,", "the request", `:${verb}`);
  const named = last.slice(0, colon);
  if (given.label !== undefined) return withVersion(given.model, versionOf({ ...given, label: named }, context));
  return given.version === undefined ? [named] : [given.model, named];
}

const withVersion = (model: string, version: string | undefined): [name: string, version?: string] =>
  version === undefined ? [model] : [model, version];

async function byRows(model: ServedModel, instances: unknown, reply: FastifyReply): Promise<string> {
  if (!Array.isArray(instances) || instances.length === 0)
    throw expected("REQUEST_INVALID", "an array of at least one", "instances", instances);
  const columns = isNamed(instances[0])
    ? columnsOf(instances, model.description)
    : { [onlyInput(model.description)]: instances };
  const outputs = await run(model, columns, reply);
  for (const [name, { shape }] of outputs) {
    if (shape[0] === instances.length) continue;
    const want = `an output of one row for each of ${instances.length} instances, or "inputs" instead,`;
    throw expectedButGot("REQUEST_INVALID", want, "instances", `${name} of shape [${shape.join(", ")}]`);
  }
  if (outputs.length === 1) return `{"predictions":${nestedJson(outputs[0]![1])}}`;
  const rows = instances.map((_, row) => objectJson(outputs.map(([name, tensor]) => [name, rowOf(tensor, row)])));
  return `{"predictions":[${rows.join(",")}]}`;
}

async function byColumns(model: ServedModel, inputs: unknown, reply: FastifyReply): Promise<string> {
  const columns = isNamed(inputs) ? inputs : { [onlyInput(model.description)]: inputs };
  const outputs = await run(model, columns, reply);
  return `{"outputs":${outputs.length === 1 ? nestedJson(outputs[0]![1]) : objectJson(outputs)}}`;
}

/** Tensors with their names. */
type Named = readonly (readonly [name: string, tensor: Tensor])[];

/** Those of a model's outputs that its signature has. */
function ofSignature<T>({ kind }: ModelDescription, outputs: readonly T[]): readonly T[] {
  return kind === "lenet5" ? outputs.slice(0, 1) : outputs;
}

function objectJson(outputs: Named): string {
  return `{${outputs.map(([name, tensor]) => `${JSON.stringify(name)}:${nestedJson(tensor)}`).join(",")}}`;
}

function rowOf({ data, shape, dtype }: Tensor, row: number): Tensor {
  const size = data.length / shape[0]!;
  return { data: data.subarray(row * size, (row + 1) * size), shape: shape.slice(1), dtype } as Tensor;
}

/** An object of values by input, rather than one value. */
function isNamed(value: unknown): value is Record<string, unknown> {
  return isObject(value) && !Array.isArray(value) && !isBinary(value);
}

/** `{"b64": "…"}`: bytes, an image file's here. */
function isBinary(value: unknown): value is { b64: string } {
  return isObject(value) && typeof value.b64 === "string" && Object.keys(value).length === 1;
}

/** Values by input, from rows that are all objects with the same keys. */
function columnsOf(rows: readonly unknown[], description: ModelDescription): Record<string, unknown[]> {
  const names = Object.keys(rows[0] as object);
  // Before anything is made for each of them: a body has room for a million names.
  for (const name of names) specOf(description, name);
  for (const row of rows) {
    if (!isNamed(row) || Object.keys(row).length !== names.length || names.some((name) => !Object.hasOwn(row, name)))
      throw expected("REQUEST_INVALID", `objects with ${names.join(", ").slice(0, 200)}`, "instances", row);
  }
  return Object.fromEntries(names.map((name) => [name, rows.map((row) => (row as Record<string, unknown>)[name])]));
}

function onlyInput({ inputs }: ModelDescription): string {
  if (inputs.length === 1) return inputs[0]!.name;
  const want = `an object with ${inputs.map(({ name }) => name).join(", ")}`;
  throw expectedButGot("REQUEST_INVALID", want, "the inputs of a model with several", "values without names");
}

/** The outputs of the model's signature. */
async function run(
  model: ServedModel,
  columns: Readonly<Record<string, unknown>>,
  reply: FastifyReply,
): Promise<Named> {
  const { description } = model;
  const signal = clientSignal(reply);
  const files = new Map<string, readonly unknown[]>();
  const tensors = new Map<string, Tensor>();
  for (const [name, value] of Object.entries(columns)) {
    const spec = specOf(description, name);
    const list = Array.isArray(value) ? value : [value];
    const where = inputNamed(name);
    if (!list.some(isBinary)) {
      const dtype = spec.dtype ?? guessedType(value);
      tensors.set(name, tensorFromJson(list, shapeOfNested(value, where), dtype, where));
    } else if (description.kind === "lenet5") files.set(name, list);
    else throw expectedButGot("PROTOCOL_UNSUPPORTED", "numbers", `${where} of a TorchScript module`, 'bytes ("b64")');
  }
  const decoded = async (): Promise<ReadonlyMap<string, Tensor>> => {
    for (const [name, list] of files) tensors.set(name, await imagesOf(list, inputNamed(name), signal));
    return tensors;
  };
  return ofSignature(description, [...(await model.infer(files.size === 0 ? tensors : decoded, { signal }))]);
}

/** What is known of an input. @throws LENET5_REQUEST_INVALID where there is no such input */
function specOf({ inputs }: ModelDescription, name: string): TensorSpec {
  const spec = inputs.find((input) => input.name === name);
  if (spec !== undefined) return spec;
  const want = `one of ${inputs.map((input) => input.name).join(", ")}`;
  throw expected("REQUEST_INVALID", want, "inputs", name.slice(0, 80));
}

const inputNamed = (name: string): string => `input "${name}"`;

/** The element type of an input whose module does not say: what PyTorch makes of such a list. */
function guessedType(value: unknown): DType {
  let first = value;
  while (Array.isArray(first)) first = first[0];
  return typeof first === "boolean" ? "bool" : "float32";
}

/** Image files as LeNet-5 takes them. */
async function imagesOf(files: readonly unknown[], where: string, signal: AbortSignal): Promise<Tensor<"float32">> {
  if (files.length > MAX_IMAGES)
    throw expectedButGot("REQUEST_TOO_LARGE", `at most ${MAX_IMAGES} images`, where, String(files.length));
  const images = files.map((file) => {
    if (!isBinary(file)) throw expected("REQUEST_INVALID", 'every value as "b64" or none', where, file);
    if (!/^[A-Za-z0-9+/_-]*={0,2}$/.test(file.b64))
      throw expectedButGot("REQUEST_INVALID", "base64", `${where}'s b64`, "other text");
    const image = Buffer.from(file.b64, "base64");
    checkImage(image, `${where}'s b64`);
    return { image };
  });
  const digits = await decodeDigits(images, { signal });
  return {
    data: Float32Array.from(digits, (pixel) => pixel / 255),
    shape: [files.length, 1, SIDE, SIDE],
    dtype: "float32",
  };
}

const STATES = { loading: "LOADING", ready: "AVAILABLE", unloading: "UNLOADING", unavailable: "END" };

function stateOf({ version, state, reason }: VersionStatus): object {
  const error_code = reason === "" ? "OK" : "UNAVAILABLE";
  return { version, state: STATES[state], status: { error_code, error_message: reason } };
}

const TYPES: Readonly<Record<DType, string>> = {
  bool: "DT_BOOL",
  uint8: "DT_UINT8",
  uint16: "DT_UINT16",
  uint32: "DT_UINT32",
  int8: "DT_INT8",
  int16: "DT_INT16",
  int32: "DT_INT32",
  int64: "DT_INT64",
  float16: "DT_HALF",
  bfloat16: "DT_BFLOAT16",
  float32: "DT_FLOAT",
  float64: "DT_DOUBLE",
  complex64: "DT_COMPLEX64",
  complex128: "DT_COMPLEX128",
};

function metadataOf(description: ModelDescription): object {
  const { name, version, inputs } = description;
  const tensor = (spec: TensorSpec): [string, object] => [
    spec.name,
    {
      dtype: spec.dtype === undefined ? "DT_INVALID" : TYPES[spec.dtype],
      tensor_shape: {
        dim: (spec.shape ?? []).map((size) => ({ size: String(size), name: "" })),
        unknown_rank: spec.shape === undefined,
      },
      name: `${spec.name}:0`,
    },
  ];
  const signature = {
    inputs: Object.fromEntries(inputs.map(tensor)),
    outputs: Object.fromEntries(ofSignature(description, description.outputs).map(tensor)),
    method_name: "tensorflow/serving/predict",
    defaults: {},
  };
  return {
    model_spec: { name, signature_name: "", version },
    metadata: { signature_def: { signature_def: { [SIGNATURE]: signature } } },
  };
}
