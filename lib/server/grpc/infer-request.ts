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
const [VARINT, FIXED_64, LENGTH_DELIMITED] = [0, 1, 2];
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
  fields(bytes, {
    1: text((modelName) => Object.assign(request, { modelName })),
    2: text((modelVersion) => Object.assign(request, { modelVersion })),
    3: text((id) => Object.assign(request, { id })),
    4: part((entry) => readParameter(entry, request.parameters)),
    5: part((input) => add(request.inputs, readInput(input), "inputs")),
    6: part((output) => add(request.outputs, readOutput(output), "outputs")),
    7: part((raw) => add(request.rawInputContents, raw, "raw_input_contents")),
  });
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

function readInput(bytes: Uint8Array): InputTensor {
  const input: InputTensor = { name: "", datatype: "", shape: [], parameters: new Map(), contents: [] };
  fields(bytes, {
    1: text((name) => Object.assign(input, { name })),
    2: text((datatype) => Object.assign(input, { datatype })),
    3: { wireTypes: [VARINT, LENGTH_DELIMITED], read: (reader, wireType) => readSizes(reader, wireType, input.shape) },
    4: part((entry) => readParameter(entry, input.parameters)),
    5: part((contents) => add(input.contents, contents, "contents")),
  });
  return input;
}

function readOutput(bytes: Uint8Array): RequestedOutput {
  const output: RequestedOutput = { name: "", parameters: new Map() };
  fields(bytes, {
    1: text((name) => Object.assign(output, { name })),
    2: part((entry) => readParameter(entry, output.parameters)),
  });
  return output;
}

/** Sizes of a shape: all in one field, or each in its own. */
function readSizes(reader: Reader, wireType: number, into: number[]): void {
  const end = wireType === LENGTH_DELIMITED ? reader.uint32() + reader.pos : reader.pos + 1;
  if (end > reader.len) throw new RangeError("sizes end beyond their message");
  while (reader.pos < end) {
    if (into.length === MOST_DIMENSIONS)
      throw expectedButGot("INVALID_SHAPE", `at most ${MOST_DIMENSIONS} dimensions`, "an input's shape", "more");
    into.push(Number(reader.int64()));
  }
}

/** An entry of a map, which is a message of key and value. */
function readParameter(bytes: Uint8Array, into: Map<string, Parameter>): void {
  let key = "";
  let value: Parameter = "";
  const take = (given: Parameter): void => {
    value = given;
  };
  fields(bytes, {
    1: text((given) => {
      key = given;
    }),
    2: part((given) =>
      fields(given, {
        1: { wireTypes: [VARINT], read: (reader) => take(reader.bool()) },
        2: { wireTypes: [VARINT], read: (reader) => take(Number(reader.int64())) },
        3: text(take),
        4: { wireTypes: [FIXED_64], read: (reader) => take(reader.double()) },
        5: { wireTypes: [VARINT], read: (reader) => take(Number(reader.uint64())) },
      }),
    ),
  });
  if (into.size >= LONGEST_LIST) throw tooMany("parameters");
  into.set(key, value);
}

/** How a field is read. One of another wire type counts as one that is not known. */
interface Field {
  readonly wireTypes: readonly number[];
  readonly read: (reader: Reader, wireType: number) => void;
}

const text = (take: (value: string) => void): Field => ({
  wireTypes: [LENGTH_DELIMITED],
  read: (reader) => take(reader.string()),
});

const part = (take: (value: Uint8Array) => void): Field => ({
  wireTypes: [LENGTH_DELIMITED],
  read: (reader) => take(reader.bytes()),
});

/** Goes through a message's fields; those that are not known are passed over. */
function fields(bytes: Uint8Array, known: Readonly<Record<number, Field>>): void {
  const reader = readerOf(bytes);
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    const [number, wireType] = [tag >>> 3, tag & 7];
    if (number === 0) throw new RangeError("a field without a number");
    const field = known[number];
    if (field?.wireTypes.includes(wireType)) field.read(reader, wireType);
    else reader.skipType(wireType, 0, number);
  }
}

function add<T>(list: T[], entry: T, name: string): void {
  if (list.length >= LONGEST_LIST) throw tooMany(name);
  list.push(entry);
}

function tooMany(name: string): Error {
  return expectedButGot("REQUEST_INVALID", `at most ${LONGEST_LIST} entries`, name, "more");
}
