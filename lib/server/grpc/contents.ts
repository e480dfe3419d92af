// InferTensorContents: a tensor's elements in the repeated field of their type.
//
// Problem: a library decodes them into an array of JavaScript values, tens of bytes for each byte that was sent: a message
// within the limit could fill the memory. Resolution: the shape says how many there must be, so they go straight into the
// typed array, which is never larger than what the bytes can fill.
import { expectedButGot } from "../../errors.js";
import { isBigInt64Array } from "../../is.js";
import { ARRAY_OF, type DType, type Tensor, type TensorData } from "../../tensor.js";
import { datatypeOf } from "../datatypes.js";
import { protobuf, readerOf } from "./messages.js";

type Reader = ReturnType<typeof readerOf>;

interface Coding {
  /** Number of the field. */
  readonly field: number;
  readonly wireType: 0 | 1 | 5;
}

const INT: Coding = { field: 2, wireType: 0 };
const UINT: Coding = { field: 4, wireType: 0 };
/** Half precision has no field: it travels raw. */
const CODINGS: { readonly [D in DType]?: Coding } = {
  bool: { field: 1, wireType: 0 },
  int8: INT,
  int16: INT,
  int32: INT,
  int64: { field: 3, wireType: 0 },
  uint8: UINT,
  uint16: UINT,
  uint32: UINT,
  float32: { field: 6, wireType: 5 },
  float64: { field: 7, wireType: 1 },
};
const [VARINT, PACKED] = [0, 2];

/** True where the protocol has a field for the type. */
export function hasContents(dtype: DType): boolean {
  return CODINGS[dtype] !== undefined;
}

/**
 * Reads `count` elements.
 * @param parts - the message, in as many parts as it came in
 * @throws LENET5_REQUEST_INVALID, LENET5_INVALID_SHAPE, LENET5_PROTOCOL_UNSUPPORTED; RangeError for bytes that are no message
 */
export function readContents(dtype: DType, count: number, parts: readonly Uint8Array[], where: string): TensorData {
  const coding = CODINGS[dtype];
  if (coding === undefined) {
    const reason = `contents for ${where}, whose datatype ${datatypeOf(dtype)} has none`;
    throw expectedButGot("PROTOCOL_UNSUPPORTED", "raw_input_contents", where, reason);
  }
  const bytes = parts.reduce((sum, part) => sum + part.length, 0);
  if (count > bytes) throw wrongCount(count, "fewer", where);
  const data = new (ARRAY_OF[dtype] as unknown as new (length: number) => TensorData)(count);
  const put = putter(dtype, data, where);
  let at = 0;
  for (const part of parts) {
    const reader = readerOf(part);
    while (reader.pos < reader.len) {
      const tag = reader.uint32();
      const [field, wireType] = [tag >>> 3, tag & 7];
      if (field !== coding.field) {
        if (field >= 1 && field <= 8) throw wrongField(dtype, field, where);
        reader.skipType(wireType, 0, field);
      } else if (wireType === PACKED && coding.wireType !== VARINT) {
        at = copyPacked(reader.bytes(), data, at, where);
      } else if (wireType === PACKED) {
        const end = reader.uint32() + reader.pos;
        if (end > reader.len) throw new RangeError("elements end beyond their message");
        while (reader.pos < end) {
          if (at === count) throw wrongCount(count, "more", where);
          put(reader, at++);
        }
        if (reader.pos !== end) throw new RangeError("the last element is cut off");
      } else if (wireType === coding.wireType) {
        if (at === count) throw wrongCount(count, "more", where);
        put(reader, at++);
      } else throw new RangeError("a field of another wire type");
    }
  }
  if (at !== count) throw wrongCount(count, String(at), where);
  return data;
}

/** Packed floating-point numbers are their little-endian bytes. @returns where the next element goes */
function copyPacked(bytes: Uint8Array, data: TensorData, at: number, where: string): number {
  const size = data.BYTES_PER_ELEMENT;
  if (bytes.length % size !== 0) throw new RangeError("the last element is cut off");
  const next = at + bytes.length / size;
  if (next > data.length) throw wrongCount(data.length, "more", where);
  new Uint8Array(data.buffer, data.byteOffset, data.byteLength).set(bytes, at * size);
  return next;
}

/** What reads one element and puts it into its place. */
function putter(dtype: DType, data: TensorData, where: string): (reader: Reader, at: number) => void {
  if (isBigInt64Array(data)) {
    const halves = new Int32Array(data.buffer);
    return (reader, at) => {
      const value = reader.int64() as unknown as number | { low: number; high: number };
      if (typeof value === "number") data[at] = BigInt(value);
      else [halves[2 * at], halves[2 * at + 1]] = [value.low, value.high];
    };
  }
  const numbers = data as Exclude<TensorData, BigInt64Array>;
  const read = readerOfNumber(dtype);
  if (dtype === "float32" || dtype === "float64")
    return (reader, at) => {
      numbers[at] = read(reader);
    };
  return (reader, at) => {
    const value = read(reader);
    numbers[at] = value;
    if (numbers[at] !== value)
      throw expectedButGot("REQUEST_INVALID", datatypeOf(dtype), `${where}'s elements`, String(value));
  };
}

function readerOfNumber(dtype: DType): (reader: Reader) => number {
  if (dtype === "bool") return (reader) => Number(reader.bool());
  if (dtype === "float32") return (reader) => reader.float();
  if (dtype === "float64") return (reader) => reader.double();
  return dtype.startsWith("u") ? (reader) => reader.uint32() : (reader) => reader.int32();
}

/** Writes a tensor's elements as the message. Its type must have a field. */
export function writeContents({ dtype, data }: Tensor): Uint8Array {
  const { field, wireType } = CODINGS[dtype]!;
  const writer = protobuf().Writer.create();
  writer.uint32((field << 3) | PACKED);
  if (wireType !== VARINT) return writer.bytes(new Uint8Array(data.buffer, data.byteOffset, data.byteLength)).finish();
  writer.fork();
  if (isBigInt64Array(data)) {
    const halves = new Int32Array(data.buffer, data.byteOffset, 2 * data.length);
    for (let i = 0; i < data.length; i++) {
      const value = { low: halves[2 * i]!, high: halves[2 * i + 1]!, unsigned: false };
      writer.int64(value as unknown as number);
    }
  } else if (field === INT.field) for (const value of data) writer.int32(value);
  else for (const value of data) writer.uint32(value);
  return writer.ldelim().finish();
}

function wrongCount(count: number, received: string, where: string): Error {
  return expectedButGot(
    "INVALID_SHAPE",
    `${count} elements, the product of its shape,`,
    `${where}'s contents`,
    received,
  );
}

function wrongField(dtype: DType, field: number, where: string): Error {
  const names = ["bool", "int", "int64", "uint", "uint64", "fp32", "fp64", "bytes"].map((name) => `${name}_contents`);
  const own = names[CODINGS[dtype]!.field - 1]!;
  return expectedButGot("REQUEST_INVALID", `${own} for ${datatypeOf(dtype)}`, where, names[field - 1]!);
}
