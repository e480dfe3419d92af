// The messages of inference.GRPCInferenceService and grpc.health.v1.Health, as a schema for protobufjs's reflection: no
// file to be found at run time, and nothing installed for it. Field numbers are those of the Open Inference Protocol
// (https://github.com/kserve/open-inference-protocol), with Triton's repository calls; a test holds them against tritonclient's.
//
// ModelInferRequest is not here: infer-request.ts reads it.
import type Protobuf from "protobufjs";
import { lazily } from "../../lazily.js";

/** The part of protobufjs that needs no parser. */
export const protobuf = lazily<typeof Protobuf>("protobufjs/light.js");

/** Fields as `name: "type number"`, with a star where they are repeated. */
type Fields = Record<string, string>;

const NAME_AND_VERSION: Fields = { name: "string 1", version: "string 2" };
const TENSOR_METADATA: Fields = { name: "string 1", datatype: "string 2", shape: "int64* 3" };

const MESSAGES: Record<string, Fields> = {
  Empty: {},
  ServerLiveResponse: { live: "bool 1" },
  ServerReadyResponse: { ready: "bool 1" },
  ModelReadyRequest: NAME_AND_VERSION,
  ModelReadyResponse: { ready: "bool 1" },
  ServerMetadataResponse: { ...NAME_AND_VERSION, extensions: "string* 3" },
  ModelMetadataRequest: NAME_AND_VERSION,
  ModelMetadataResponse: {
    name: "string 1",
    versions: "string* 2",
    platform: "string 3",
    inputs: "TensorMetadata* 4",
    outputs: "TensorMetadata* 5",
  },
  TensorMetadata: TENSOR_METADATA,
  ModelInferResponse: {
    modelName: "string 1",
    modelVersion: "string 2",
    id: "string 3",
    outputs: "InferOutputTensor* 5",
    rawOutputContents: "bytes* 6",
  },
  // A message inside a message is its bytes: contents.ts writes these.
  InferOutputTensor: { ...TENSOR_METADATA, contents: "bytes* 5" },
  RepositoryIndexRequest: { repositoryName: "string 1", ready: "bool 2" },
  RepositoryIndexResponse: { models: "ModelIndex* 1" },
  ModelIndex: { ...NAME_AND_VERSION, state: "string 3", reason: "string 4" },
  RepositoryModelRequest: { repositoryName: "string 1", modelName: "string 2", parameters: "RepositoryParameter* 3" },
  // A map is a list of pairs. Of the values we only want to know whether there are any.
  RepositoryParameter: { key: "string 1", value: "bytes 2" },
  HealthCheckRequest: { service: "string 1" },
  HealthCheckResponse: { status: "int32 1" },
};

/** A message's fields by name. */
export type Message = Record<string, unknown>;

let types: Map<string, Protobuf.Type> | undefined;

function typeOf(name: string): Protobuf.Type {
  if (types === undefined) {
    const nested = Object.fromEntries(Object.entries(MESSAGES).map(([message, fields]) => [message, schemaOf(fields)]));
    const root = protobuf().Root.fromJSON({ nested });
    types = new Map(Object.keys(MESSAGES).map((message) => [message, root.lookupType(message)]));
  }
  return types.get(name)!;
}

function schemaOf(fields: Fields): { fields: Record<string, { id: number; type: string; rule?: string }> } {
  const entries = Object.entries(fields).map(([field, text]) => {
    const [type = "", id] = text.split(" ");
    const plain = { id: Number(id), type: type.replace("*", "") };
    return [field, type.endsWith("*") ? { ...plain, rule: "repeated" } : plain];
  });
  return { fields: Object.fromEntries(entries) };
}

/** A message as bytes. Fields that are left out have their defaults. */
export function encode(name: string, message: Message): Buffer {
  return asBuffer(typeOf(name).encode(message).finish());
}

/** Bytes as a message, every field there. Throws protobufjs's errors for bytes that are none. */
export function decode(name: string, bytes: Uint8Array): Message {
  const type = typeOf(name);
  const reader = readerOf(bytes);
  return type.toObject(type.decode(reader), { defaults: true, arrays: true });
}

/** Reads fields one by one. */
export function readerOf(bytes: Uint8Array): Protobuf.Reader {
  const reader = protobuf().Reader.create(bytes);
  // What a newer protocol adds is passed over, not kept.
  reader.discardUnknown = true;
  return reader;
}

/** The same memory as a Buffer. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** The schema, for the test that holds it against another's. */
export const SCHEMA: Readonly<Record<string, Readonly<Fields>>> = MESSAGES;
