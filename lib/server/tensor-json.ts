// Tensors as numbers in JSON, flat or nested, both ways.
//
// Numbers in a text may be what JSON and JavaScript have no value for. On the way in, null is NaN (see json.ts), and a
// 64-bit integer that JSON.parse has rounded is refused. On the way out, 64-bit integers are written exactly, and NaN,
// Infinity and -Infinity as these words, as Triton and TensorFlow Serving write them: Python's clients read both.
import { expected, expectedButGot, LeNet5Error } from "../errors.js";
import { bfloat16ToFloat32, float16ToFloat32, float32ToBfloat16, float32ToFloat16 } from "../formats/half.js";
import { ARRAY_OF, type DType, elementCount, type Tensor, type TensorData } from "../tensor.js";

/** As many dimensions as libtorch has. */
export const MAX_RANK = 64;

/** Least and largest value of each integer type that a JavaScript number holds. */
const INTEGERS: { readonly [D in DType]?: readonly [number, number] } = {
  uint8: [0, 2 ** 8 - 1],
  int8: [-(2 ** 7), 2 ** 7 - 1],
  uint16: [0, 2 ** 16 - 1],
  int16: [-(2 ** 15), 2 ** 15 - 1],
  uint32: [0, 2 ** 32 - 1],
  int32: [-(2 ** 31), 2 ** 31 - 1],
};

/**
 * A tensor of elements that came as JSON. No memory is taken for it before there are as many elements as its shape says.
 * @param data - all elements in one array, row by row, or arrays in arrays as the shape says
 * @throws LENET5_INVALID_SHAPE, LENET5_INVALID_DTYPE
 */
export function tensorFromJson(data: unknown, shape: readonly number[], dtype: DType, where: string): Tensor {
  if (!Array.isArray(data)) throw expected("REQUEST_INVALID", "an array", `${where}'s data`, data);
  const count = elementCount(shape, `${where}'s shape`);
  const depth = Array.isArray(data[0]) ? shape.length : 1;
  if (depth === 1 && data.length !== count) {
    const want = `${count} elements, the product of [${shape.join(", ")}],`;
    throw expectedButGot("INVALID_SHAPE", want, `${where}'s data`, `${data.length} elements`);
  }
  if (depth > 1) checkNested(data, shape, 0, where);
  return { data: elements(data, depth, count, dtype, where), shape, dtype } as Tensor;
}

/** The shape of arrays in arrays, as the first of each says. @throws LENET5_INVALID_SHAPE beyond {@link MAX_RANK} */
export function shapeOfNested(data: unknown, where: string): number[] {
  const shape: number[] = [];
  for (let inner = data; Array.isArray(inner); inner = inner[0]) {
    if (shape.length === MAX_RANK)
      throw expectedButGot("INVALID_SHAPE", `at most ${MAX_RANK} dimensions`, where, "more");
    shape.push(inner.length);
  }
  return shape;
}

/** Elements in one array, row by row. @throws LENET5_PROTOCOL_UNSUPPORTED for complex numbers */
export function flatJson(tensor: Tensor): string {
  const values = printable(tensor);
  return `[${values.join(",")}]`;
}

/** Elements in arrays as the shape says; a scalar is its one element. @throws LENET5_PROTOCOL_UNSUPPORTED for complex numbers */
export function nestedJson(tensor: Tensor): string {
  const values = printable(tensor);
  const { shape } = tensor;
  if (shape.length === 0) return values.join(",");
  let offset = 0;
  const level = (depth: number): string => {
    const size = shape[depth]!;
    if (depth === shape.length - 1) {
      offset += size;
      return `[${values.slice(offset - size, offset).join(",")}]`;
    }
    return `[${Array.from({ length: size }, () => level(depth + 1)).join(",")}]`;
  };
  return level(0);
}

/**
 * Elements in arrays as the shape says, as values; 64-bit integers as the nearest numbers.
 * @throws LENET5_PROTOCOL_UNSUPPORTED for complex numbers
 */
export function nestedValues(tensor: Tensor): unknown {
  const { shape } = tensor;
  let rows: unknown[] = Array.from(printable(tensor) as Iterable<unknown>, (value) =>
    typeof value === "bigint" ? Number(value) : value,
  );
  for (let depth = shape.length - 1; depth > 0; depth--) {
    const size = shape[depth]!;
    const count = shape.slice(0, depth).reduce((product, each) => product * each, 1);
    rows = Array.from({ length: count }, (_, i) => rows.slice(i * size, (i + 1) * size));
  }
  return shape.length === 0 ? rows[0] : rows;
}

/** What `join` writes as JSON. */
function printable({ data, dtype }: Tensor): Iterable<unknown> & {
  join(separator: string): string;
  slice(from: number, to: number): { join(separator: string): string };
} {
  if (dtype === "bool") return Array.from(data as Uint8Array, (value) => value !== 0);
  if (dtype === "float16") return float16ToFloat32(data as Uint16Array);
  if (dtype === "bfloat16") return bfloat16ToFloat32(data as Uint16Array);
  if (dtype === "complex64" || dtype === "complex128")
    throw new LeNet5Error("PROTOCOL_UNSUPPORTED", `JSON has no numbers for ${dtype}`);
  return data;
}

/** Every array has the length that the shape says, down to the last level, whose elements are looked at when they are read. */
function checkNested(data: unknown, shape: readonly number[], depth: number, where: string): void {
  if (!Array.isArray(data) || data.length !== shape[depth]) {
    const got = Array.isArray(data) ? `an array of ${data.length}` : "no array";
    throw expectedButGot(
      "INVALID_SHAPE",
      `arrays in arrays of [${shape.join(", ")}]`,
      `${where}'s data`,
      `${got} at depth ${depth}`,
    );
  }
  if (depth + 1 < shape.length) for (const inner of data) checkNested(inner, shape, depth + 1, where);
}

function elements(data: unknown[], depth: number, count: number, dtype: DType, where: string): TensorData {
  if (dtype === "float16" || dtype === "bfloat16") {
    const values = elements(data, depth, count, "float32", where) as Float32Array;
    return dtype === "float16" ? float32ToFloat16(values) : float32ToBfloat16(values);
  }
  const write = WRITERS[dtype];
  if (write === undefined) throw new LeNet5Error("PROTOCOL_UNSUPPORTED", `JSON has no numbers for ${dtype}`);
  const array = new ARRAY_OF[dtype](new ArrayBuffer(count * bytesOf(dtype)));
  let offset = 0;
  const read = (level: unknown[], levels: number): void => {
    if (levels > 1) {
      for (const inner of level) read(inner as unknown[], levels - 1);
      return;
    }
    const fault = write(array, offset, level);
    if (fault >= 0) throw expected("INVALID_DTYPE", `elements of ${dtype}`, `${where}'s data`, level[fault]);
    offset += level.length;
  };
  read(data, depth);
  return array;
}

function bytesOf(dtype: DType): number {
  return (ARRAY_OF[dtype] as unknown as { BYTES_PER_ELEMENT: number }).BYTES_PER_ELEMENT;
}

/** Writes a row from `offset` on; gives the place of the first element that does not fit, -1 where all do. */
type Writer = (array: TensorData, offset: number, row: unknown[]) => number;

const writeFloats: Writer = (array, offset, row) => {
  const floats = array as Float32Array | Float64Array;
  for (let index = 0; index < row.length; index++) {
    const value = row[index];
    if (typeof value === "number") floats[offset + index] = value;
    else if (value === null) floats[offset + index] = Number.NaN;
    else return index;
  }
  return -1;
};

const writeIntegers =
  ([least, largest]: readonly [number, number]): Writer =>
  (array, offset, row) => {
    const integers = array as Int32Array;
    for (let index = 0; index < row.length; index++) {
      const value = row[index];
      if (typeof value !== "number" || !Number.isInteger(value) || value < least || value > largest) return index;
      integers[offset + index] = value;
    }
    return -1;
  };

const writeInt64: Writer = (array, offset, row) => {
  const integers = array as BigInt64Array;
  for (let index = 0; index < row.length; index++) {
    const value = row[index];
    if (!Number.isSafeInteger(value)) return index;
    integers[offset + index] = BigInt(value as number);
  }
  return -1;
};

const writeBooleans: Writer = (array, offset, row) => {
  const booleans = array as Uint8Array;
  for (let index = 0; index < row.length; index++) {
    const value = row[index];
    if (value !== true && value !== false && value !== 0 && value !== 1) return index;
    booleans[offset + index] = Number(value);
  }
  return -1;
};

const WRITERS: { readonly [D in DType]?: Writer } = {
  float32: writeFloats,
  float64: writeFloats,
  bool: writeBooleans,
  int64: writeInt64,
  ...Object.fromEntries(Object.entries(INTEGERS).map(([dtype, range]) => [dtype, writeIntegers(range)])),
};
