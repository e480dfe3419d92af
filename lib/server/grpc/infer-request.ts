// ModelInferRequest, read field by field: the message that comes a hundred thousand times, and the one that strangers fill.
//
// Problem: a list of empty messages takes two bytes an entry on the wire and a hundred in memory. Resolution: lists have
// limits that no model comes near, and tensors stay views of the message.
import { expectedButGot } from "../../errors.js";
import { elementCount, type Tensor } from "../../tensor.js";
import { dtypeOf, tensorFromBytes } from "../datatypes.js";
import { hasContents, readContents } from "./contents.js";
import { readerOf } from "./messages.js";

type Reader = ReturnType<typeof readerOf>;

/** Inputs, outputs, raw contents and parameters a list. */
const LONGEST_LIST = 4096;
/** Wire types of protobuf. */
const [VARINT, FIXED_64, BYTES] = [0, 1, 2];
/** Dimensions that a tensor of libtorch may have. */
const MOST_DIMENSIONS = 64;

/** The value of a parameter. */
type Parameter = boolean | number | string;
interface InputTensor {
  name: string;
  datatype: string;
  shape: number[];
  parameters: Map<string, Parameter>;
  contents: Uint8Array[];
}

/** An output that the request names. */
export interface RequestedOutput {
  name: string;
  parameters: Map<string, Parameter>;
}

/** What a request asks for. */
export interface InferRequest {
  modelName: string;
  modelVersion: string;
  id: string;
  parameters: Map<string, Parameter>;
  inputs: InputTensor[];
  outputs: RequestedOutput[];
  rawInputContents: Uint8Array[];
}

/**
 * Reads a request.
 * @throws LENET5_REQUEST_INVALID; RangeError, Error for bytes that are no message
 */
export function readInferRequest(bytes: Uint8Array): InferRequest {
  const request: InferRequest = {
    modelName: "",
    modelVersion: "",
    id: "",
    parameters: new Map(),
    inputs: [],
    outputs: [],
    rawInputContents: [],
  };
  const reader = readerOf(bytes);
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    if (tag === tagOf(1, BYTES)) request.modelName = reader.string();
    else if (tag === tagOf(2, BYTES)) request.modelVersion = reader.string();
    else if (tag === tagOf(3, BYTES)) request.id = reader.string();
    else if (tag === tagOf(4, BYTES)) readParameter(reader, request.parameters);
    else if (tag === tagOf(5, BYTES)) add(request.inputs, readInput(reader), "inputs");
    else if (tag === tagOf(6, BYTES)) add(request.outputs, readOutput(reader), "outputs");
    else if (tag === tagOf(7, BYTES)) add(request.rawInputContents, reader.bytes(), "raw_input_contents");
    else skip(reader, tag);
  }
  return request;
}

/**
 * The tensors of a request, by name.
 * @throws LENET5_REQUEST_INVALID, LENET5_INVALID_SHAPE, LENET5_INVALID_DTYPE, LENET5_PROTOCOL_UNSUPPORTED
 */
export function tensorsOf({ inputs, rawInputContents }: InferRequest): Map<string, Tensor> {
  const raw = rawInputContents.length > 0;
  if (raw && rawInputContents.length !== inputs.length) {
    const received = `${rawInputContents.length} for ${inputs.length} inputs`;
    throw expectedButGot("REQUEST_INVALID", "one entry an input", "raw_input_contents", received);
  }
  const tensors = new Map<string, Tensor>();
  for (const [i, { name, datatype, shape, contents, parameters }] of inputs.entries()) {
    const where = `input ${JSON.stringify(name.slice(0, 80))}`;
    if (parameters.has("shared_memory_region"))
      throw expectedButGot("PROTOCOL_UNSUPPORTED", "contents in the message", where, "shared memory");
    if (tensors.has(name)) throw expectedButGot("REQUEST_INVALID", "each input once", where, "it twice");
    const dtype = dtypeOf(datatype, where);
    if (raw && contents.length > 0)
      throw expectedButGot("REQUEST_INVALID", "contents or raw_input_contents", where, "both");
    if (raw || !hasContents(dtype)) {
      if (!raw) throw expectedButGot("REQUEST_INVALID", `raw_input_contents for ${datatype}`, where, "none");
      tensors.set(name, tensorFromBytes(dtype, shape, rawInputContents[i]!, where));
    } else {
      const data = readContents(dtype, elementCount(shape, `${where}.shape`), contents, where);
      tensors.set(name, { dtype, shape, data } as Tensor);
    }
  }
  return tensors;
}

function readInput(reader: Reader): InputTensor {
  const input: InputTensor = { name: "", datatype: "", shape: [], parameters: new Map(), contents: [] };
  const end = endOf(reader);
  while (reader.pos < end) {
    const tag = reader.uint32();
    if (tag === tagOf(1, BYTES)) input.name = reader.string();
    else if (tag === tagOf(2, BYTES)) input.datatype = reader.string();
    else if (tag === tagOf(3, VARINT)) addSize(reader, input.shape);
    else if (tag === tagOf(3, BYTES)) {
      const last = endOf(reader);
      while (reader.pos < last) addSize(reader, input.shape);
      requireEnd(reader, last);
    } else if (tag === tagOf(4, BYTES)) readParameter(reader, input.parameters);
    else if (tag === tagOf(5, BYTES)) add(input.contents, reader.bytes(), "contents");
    else skip(reader, tag);
  }
  requireEnd(reader, end);
  return input;
}

function addSize(reader: Reader, shape: number[]): void {
  if (shape.length === MOST_DIMENSIONS)
    throw expectedButGot("INVALID_SHAPE", `at most ${MOST_DIMENSIONS} dimensions`, "an input's shape", "more");
  shape.push(Number(reader.int64()));
}

function readOutput(reader: Reader): RequestedOutput {
  const output: RequestedOutput = { name: "", parameters: new Map() };
  const end = endOf(reader);
  while (reader.pos < end) {
    const tag = reader.uint32();
    if (tag === tagOf(1, BYTES)) output.name = reader.string();
    else if (tag === tagOf(2, BYTES)) readParameter(reader, output.parameters);
    else skip(reader, tag);
  }
  requireEnd(reader, end);
  return output;
}

/** An entry of a map, which is a message of key and value. */
function readParameter(reader: Reader, into: Map<string, Parameter>): void {
  let key = "";
  let value: Parameter = "";
  const end = endOf(reader);
  while (reader.pos < end) {
    const tag = reader.uint32();
    if (tag === tagOf(1, BYTES)) key = reader.string();
    else if (tag === tagOf(2, BYTES)) value = readValue(reader);
    else skip(reader, tag);
  }
  requireEnd(reader, end);
  if (into.size >= LONGEST_LIST) throw tooMany("parameters");
  into.set(key, value);
}

function readValue(reader: Reader): Parameter {
  let value: Parameter = "";
  const end = endOf(reader);
  while (reader.pos < end) {
    const tag = reader.uint32();
    if (tag === tagOf(1, VARINT)) value = reader.bool();
    else if (tag === tagOf(2, VARINT)) value = Number(reader.int64());
    else if (tag === tagOf(3, BYTES)) value = reader.string();
    else if (tag === tagOf(4, FIXED_64)) value = reader.double();
    else if (tag === tagOf(5, VARINT)) value = Number(reader.uint64());
    else skip(reader, tag);
  }
  requireEnd(reader, end);
  return value;
}

/** What stands before a field: its number, and its wire type. One of another wire type counts as a field that is not known. */
function tagOf(field: number, wireType: number): number {
  return (field << 3) | wireType;
}

/** Where the message ends that begins here. */
function endOf(reader: Reader): number {
  const length = reader.uint32();
  if (length > reader.len - reader.pos) throw new RangeError("a part ends beyond its message");
  return reader.pos + length;
}

function requireEnd(reader: Reader, end: number): void {
  if (reader.pos !== end) throw new RangeError("a field ends beyond its message");
}

/** What a newer protocol adds is passed over. */
function skip(reader: Reader, tag: number): void {
  if (tag >>> 3 === 0) throw new RangeError("a field without a number");
  reader.skipType(tag & 7, 0, tag >>> 3);
}

function add<T>(list: T[], entry: T, name: string): void {
  if (list.length >= LONGEST_LIST) throw tooMany(name);
  list.push(entry);
}

function tooMany(name: string): Error {
  return expectedButGot("REQUEST_INVALID", `at most ${LONGEST_LIST} entries`, name, "more");
}
