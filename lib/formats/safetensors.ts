// The safetensors format: u64 little-endian N, N bytes of JSON, then the tensors' bytes without a gap.
// https://github.com/huggingface/safetensors#format
//
// Everything a header says is checked against the bytes that are there before any of it is used: a file can declare
// what it likes, but no tensor is allocated larger than the file, and no byte belongs to two tensors or to none.
import { type Bytes, bytesOf } from "../byte-source.js";
import { expected, expectedButGot, type LeNet5Error } from "../errors.js";
import { ARRAY_OF, type DType, readTensor, type Tensor } from "../tensor.js";
import { duplicateKey } from "./json-keys.js";

/** What a safetensors file holds. */
export interface SafetensorsContents {
  /** Tensors by name, in the order of their bytes. */
  tensors: Record<string, Tensor>;
  /** The header's `__metadata__`: text by name. */
  metadata: Record<string, string>;
}

const MAX_HEADER_BYTES = 100_000_000; // the format's own limit
const DTYPE_NAMES = {
  F64: "float64",
  F32: "float32",
  F16: "float16",
  BF16: "bfloat16",
  I64: "int64",
  I32: "int32",
  I16: "int16",
  I8: "int8",
  U8: "uint8",
  U16: "uint16",
  U32: "uint32",
  C64: "complex64",
  BOOL: "bool",
} as const satisfies Record<string, DType>;
const BYTES: Record<keyof typeof DTYPE_NAMES, number> = {
  ...{ F64: 8, F32: 4, F16: 2, BF16: 2, I64: 8, I32: 4, I16: 2, I8: 1, U8: 1, U16: 2, U32: 4, C64: 8, BOOL: 1 },
};

/**
 * Writes tensors in the safetensors format. The header is padded so that tensors begin at a multiple of 8, wider element
 * types come first so that each tensor is aligned.
 * @throws LENET5_INVALID_DTYPE, LENET5_INVALID_SHAPE for a tensor that contradicts itself; LENET5_INVALID_ARGUMENT
 */
export function safetensorsBytes(tensors: Record<string, Tensor>, metadata: Record<string, string> = {}): Uint8Array {
  if (!isRecord(tensors)) throw expected("INVALID_ARGUMENT", "tensors by name", "safetensorsBytes", tensors);
  if (!isRecord(metadata) || !Object.values(metadata).every((text) => typeof text === "string")) {
    throw expected("INVALID_ARGUMENT", "text by name", "metadata", metadata);
  }
  const names = new Map<DType, string>(Object.entries(DTYPE_NAMES).map(([name, dtype]) => [dtype, name]));
  const entries = Object.entries(tensors).map(([name, tensor]): [string, Tensor] => {
    if (name === "__metadata__") throw expected("INVALID_ARGUMENT", "another name", "a tensor", name);
    const read = readTensor(tensor, `tensor "${name}"`);
    if (!names.has(read.dtype)) {
      throw expected("INVALID_DTYPE", "an element type of the safetensors format", `tensor "${name}"`, read.dtype);
    }
    return [name, read];
  });
  entries.sort(([, a], [, b]) => b.data.BYTES_PER_ELEMENT - a.data.BYTES_PER_ELEMENT);
  const header: [string, object][] = [];
  if (Object.keys(metadata).length > 0) header.push(["__metadata__", metadata]);
  let offset = 0;
  for (const [name, { data, shape, dtype }] of entries) {
    const end = offset + data.byteLength;
    header.push([name, { dtype: names.get(dtype), shape, data_offsets: [offset, end] }]);
    offset = end;
  }
  const json = Buffer.from(JSON.stringify(Object.fromEntries(header)), "utf8");
  const headerBytes = Math.ceil(json.length / 8) * 8;
  if (headerBytes > MAX_HEADER_BYTES)
    throw expected("INVALID_ARGUMENT", "names and metadata of less than 100 MB", "safetensors", json.length);
  const file = Buffer.alloc(8 + headerBytes + offset, 0x20);
  file.writeBigUInt64LE(BigInt(headerBytes), 0);
  json.copy(file, 8);
  let start = 8 + headerBytes;
  for (const [, { data }] of entries) {
    file.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), start);
    start += data.byteLength;
  }
  return file;
}

/**
 * Reads the bytes of a safetensors file. Each tensor gets memory of its own.
 * @param where - the file's name for error messages
 * @throws LENET5_MODEL_CORRUPT, LENET5_MODEL_TOO_LARGE (a header above 100 MB), LENET5_INVALID_DTYPE (an element type
 * that this package has none for, such as F8_E4M3), LENET5_INVALID_ARGUMENT
 */
export function readSafetensors(bytes: Bytes, where = "model"): SafetensorsContents {
  const corrupt = (received: string): LeNet5Error =>
    expectedButGot("MODEL_CORRUPT", "a safetensors file", where, received);
  const contents = bytesOf(bytes);
  if (contents === undefined) throw expected("INVALID_ARGUMENT", "a Uint8Array", where, bytes);
  return readContents(contents, where, corrupt);
}

function readContents(
  bytes: Uint8Array,
  where: string,
  corrupt: (received: string) => LeNet5Error,
): SafetensorsContents {
  const { header, dataStart } = readHeader(bytes, where, corrupt);
  const { __metadata__: metadata = {}, ...declared } = header;
  if (!isRecord(metadata) || !Object.values(metadata).every((text) => typeof text === "string")) {
    throw corrupt("one whose __metadata__ is not text by name");
  }
  const entries = Object.entries(declared).map(([name, value]) => readEntry(name, value, corrupt));
  entries.sort((a, b) => a.begin - b.begin || a.end - b.end);
  let offset = 0;
  for (const { name, begin, end } of entries) {
    if (begin !== offset)
      throw corrupt(`one with ${begin < offset ? "overlapping bytes" : "a gap"} before the tensor "${name}"`);
    offset = end;
  }
  if (offset !== bytes.length - dataStart) {
    throw corrupt(`one with ${bytes.length - dataStart} bytes of tensors where its header declares ${offset}`);
  }
  const tensors = entries.map(({ name, shape, dtype, begin, end }): [string, Tensor] => {
    const copy = bytes.slice(dataStart + begin, dataStart + end);
    return [name, { data: new ARRAY_OF[dtype](copy.buffer), shape, dtype } as Tensor];
  });
  return { tensors: Object.fromEntries(tensors), metadata: metadata as Record<string, string> };
}

function readHeader(
  bytes: Uint8Array,
  where: string,
  corrupt: (received: string) => LeNet5Error,
): { header: Record<string, unknown>; dataStart: number } {
  if (bytes.length < 8) throw corrupt(bytes.length === 0 ? "an empty file" : `a file of ${bytes.length} bytes`);
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true));
  if (length > bytes.length - 8) throw corrupt(`a file of ${bytes.length} bytes that declares a header of ${length}`);
  if (length > MAX_HEADER_BYTES) {
    throw expected("MODEL_TOO_LARGE", `a header of at most ${MAX_HEADER_BYTES} bytes`, where, length);
  }
  let text: string;
  let header: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(8, 8 + length));
    header = JSON.parse(text);
  } catch {
    throw corrupt("one whose header is not JSON");
  }
  if (!text.startsWith("{") || !isRecord(header)) throw corrupt("one whose header is not a JSON object");
  const twin = duplicateKey(text);
  if (twin !== undefined) throw corrupt(`one whose header has "${twin}" twice`);
  return { header, dataStart: 8 + length };
}

function readEntry(
  name: string,
  value: unknown,
  corrupt: (received: string) => LeNet5Error,
): { name: string; dtype: DType; shape: number[]; begin: number; end: number } {
  if (!isRecord(value)) throw corrupt(`one whose tensor "${name}" is not described`);
  const { dtype: dtypeName, shape, data_offsets: offsets } = value;
  if (typeof dtypeName !== "string") throw corrupt(`one whose tensor "${name}" has no dtype`);
  if (!Object.hasOwn(DTYPE_NAMES, dtypeName)) {
    throw expected("INVALID_DTYPE", `one of ${Object.keys(DTYPE_NAMES).join(", ")}`, `tensor "${name}"`, dtypeName);
  }
  const dtype = DTYPE_NAMES[dtypeName as keyof typeof DTYPE_NAMES];
  const isSize = (size: unknown): size is number => Number.isSafeInteger(size) && (size as number) >= 0;
  if (!Array.isArray(shape) || !shape.every(isSize)) throw corrupt(`one whose tensor "${name}" has no valid shape`);
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize) || offsets[1]! < offsets[0]!) {
    throw corrupt(`one whose tensor "${name}" has no valid data_offsets`);
  }
  const [begin, end] = offsets as [number, number];
  const declared = shape.reduce((product, size) => product * size, BYTES[dtypeName as keyof typeof BYTES]);
  if (declared !== end - begin) {
    throw corrupt(
      `one whose tensor "${name}" takes ${end - begin} bytes where [${shape.join(", ")}] of ${dtypeName} needs ${declared}`,
    );
  }
  return { name, dtype, shape, begin, end };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
