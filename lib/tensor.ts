// Tensors as the package's API takes and gives them: a typed array, a shape, an element type. Imports errors and is only.
import { expected, expectedButGot } from "./errors.js";
import { isObject, lengthOf, memoryOf, own, typedArrayName } from "./is.js";

/** Element types, by PyTorch's names. */
export type DType =
  | "float16"
  | "bfloat16"
  | "float32"
  | "float64"
  | "uint8"
  | "int8"
  | "int16"
  | "int32"
  | "int64"
  | "uint16"
  | "uint32"
  | "complex64"
  | "complex128"
  | "bool";

/**
 * What holds half precision: a `Float16Array` where there is one (Node from version 24 on), bit patterns in a `Uint16Array`
 * elsewhere. As an argument, either will do. (TypeScript knows the former with `"lib": ["ESNext.Float16"]`.)
 */
export type Float16Data = typeof globalThis extends { Float16Array: { prototype: infer H } }
  ? Uint16Array | H
  : Uint16Array;

/** The typed array that holds each element type. bfloat16 travels as 16-bit patterns. */
export interface DTypeArrays {
  /** IEEE 754 half precision: results are a Float16Array where there is one, and bit patterns elsewhere. */
  float16: Float16Data;
  /** The upper half of a float32, as bit patterns. */
  bfloat16: Uint16Array;
  /** Single precision. */
  float32: Float32Array;
  /** Double precision. */
  float64: Float64Array;
  /** Unsigned bytes. */
  uint8: Uint8Array;
  /** Signed bytes. */
  int8: Int8Array;
  /** 16-bit integers. */
  int16: Int16Array;
  /** 32-bit integers. */
  int32: Int32Array;
  /** 64-bit integers, as BigInt. */
  int64: BigInt64Array;
  /** Unsigned 16-bit integers; libtorch 2.3 or later. */
  uint16: Uint16Array;
  /** Unsigned 32-bit integers; libtorch 2.3 or later. */
  uint32: Uint32Array;
  /** Pairs of single precision: real part, imaginary part. */
  complex64: Float32Array;
  /** Pairs of double precision: real part, imaginary part. */
  complex128: Float64Array;
  /** One byte an element, 0 or 1. */
  bool: Uint8Array;
}

/** Any typed array a tensor may hold. */
export type TensorData = DTypeArrays[DType];

/** A dense, row-major tensor: `data.length` equals the product of `shape`, twice that where it is complex. */
export interface Tensor<D extends DType = DType> {
  /** The elements. */
  readonly data: DTypeArrays[D];
  /** Sizes of the dimensions, outermost first; `[]` is a scalar. */
  readonly shape: readonly number[];
  /** Element type. */
  readonly dtype: D;
}

const { Float16Array: HalfArray = Uint16Array } = globalThis as { Float16Array?: typeof Uint16Array };

/** Constructors of the typed arrays, by element type. */
export const ARRAY_OF: {
  readonly [D in DType]: new (
    buffer: ArrayBufferLike,
    byteOffset?: number,
    length?: number,
  ) => DTypeArrays[D];
} = {
  float16: HalfArray,
  bfloat16: Uint16Array,
  float32: Float32Array,
  float64: Float64Array,
  uint8: Uint8Array,
  int8: Int8Array,
  int16: Int16Array,
  int32: Int32Array,
  int64: BigInt64Array,
  uint16: Uint16Array,
  uint32: Uint32Array,
  complex64: Float32Array,
  complex128: Float64Array,
  bool: Uint8Array,
};

/** Number of elements of a shape; throws `LENET5_INVALID_SHAPE` for anything but non-negative safe integers. */
export function elementCount(shape: readonly number[], where = "shape"): number {
  let count = 1;
  for (const size of shape) {
    if (!Number.isSafeInteger(size) || size < 0) {
      throw expected("INVALID_SHAPE", "non-negative integers", where, shape);
    }
    count *= size;
  }
  if (!Number.isSafeInteger(count)) throw expected("INVALID_SHAPE", "fewer than 2^53 elements", where, shape);
  return count;
}

/**
 * Reads a tensor that a caller handed over, each of its parts once: what was checked is what is used. The elements are
 * not copied, the shape is.
 * @throws LENET5_INVALID_ARGUMENT, LENET5_INVALID_DTYPE, LENET5_INVALID_SHAPE
 */
export function readTensor(tensor: unknown, where: string): Tensor {
  if (!isObject(tensor)) throw expected("INVALID_ARGUMENT", "a tensor { data, shape, dtype }", where, tensor);
  const { data: given, shape, dtype } = tensor;
  const data = dtype === "float16" ? halfBits(given) : given;
  const read = { data, shape: Array.isArray(shape) ? Array.from(shape) : shape, dtype } as Tensor;
  checkTensor(read, where);
  return read;
}

function isHalf(name: string | undefined): boolean {
  return name === "Uint16Array" || name === "Float16Array";
}

/** The patterns of a Float16Array, which Node has from version 24 on; anything else as it is. */
function halfBits(data: unknown): unknown {
  if (typedArrayName(data) !== "Float16Array") return data;
  const { buffer, byteOffset } = memoryOf(data as Uint16Array);
  return new Uint16Array(buffer, byteOffset, lengthOf(data as Uint16Array));
}

/**
 * Checks a tensor's length × shape × dtype against one another.
 * @throws LENET5_INVALID_DTYPE, LENET5_INVALID_SHAPE
 */
export function checkTensor(tensor: Tensor, where = "tensor"): void {
  if (!isObject(tensor)) throw expected("INVALID_ARGUMENT", "a tensor { data, shape, dtype }", where, tensor);
  const Expected = own(ARRAY_OF, tensor.dtype);
  if (Expected === undefined) {
    throw expected("INVALID_DTYPE", `one of ${Object.keys(ARRAY_OF).join(", ")}`, `${where}.dtype`, tensor.dtype);
  }
  const name = typedArrayName(tensor.data);
  if (name !== Expected.name && !(tensor.dtype === "float16" && isHalf(name))) {
    throw expected("INVALID_DTYPE", `a ${Expected.name} (${tensor.dtype})`, `${where}.data`, tensor.data);
  }
  if (!Array.isArray(tensor.shape)) throw expected("INVALID_SHAPE", "an array", `${where}.shape`, tensor.shape);
  const complex = tensor.dtype === "complex64" || tensor.dtype === "complex128";
  const count = elementCount(tensor.shape, `${where}.shape`) * (complex ? 2 : 1);
  const length = lengthOf(tensor.data);
  if (count !== length) {
    const product = `${complex ? "twice " : ""}the product of [${tensor.shape.join(", ")}]`;
    throw expectedButGot("INVALID_SHAPE", `${count} elements, ${product},`, `${where}.data`, `${length} elements`);
  }
}
