// The datatypes of the Open Inference Protocol beside the package's element types, and tensors as raw little-endian bytes:
// what the binary tensors of its REST form and the raw contents of its gRPC form are.
import { expectedButGot, LeNet5Error } from "../errors.js";
import { own } from "../is.js";
import { ARRAY_OF, type DType, elementCount, type Tensor } from "../tensor.js";

/** Datatypes by element type. Complex numbers have none. */
const DATATYPES: { readonly [D in DType]?: string } = {
  bool: "BOOL",
  uint8: "UINT8",
  uint16: "UINT16",
  uint32: "UINT32",
  int8: "INT8",
  int16: "INT16",
  int32: "INT32",
  int64: "INT64",
  float16: "FP16",
  bfloat16: "BF16",
  float32: "FP32",
  float64: "FP64",
};
const DTYPES: Readonly<Record<string, DType>> = Object.fromEntries(
  Object.entries(DATATYPES).map(([dtype, datatype]) => [datatype, dtype as DType]),
);
/** Datatypes that the protocol has and PyTorch's tensors have not. */
const FOREIGN = ["UINT64", "BYTES"];

/**
 * The protocol's name of an element type.
 * @throws LENET5_PROTOCOL_UNSUPPORTED for complex numbers
 */
export function datatypeOf(dtype: DType): string {
  const datatype = DATATYPES[dtype];
  if (datatype !== undefined) return datatype;
  throw new LeNet5Error("PROTOCOL_UNSUPPORTED", `The Open Inference Protocol has no datatype for ${dtype}`);
}

/**
 * The element type of a datatype.
 * @throws LENET5_PROTOCOL_UNSUPPORTED for UINT64 and BYTES, LENET5_INVALID_DTYPE for what is none
 */
export function dtypeOf(datatype: string, where: string): DType {
  const dtype = own(DTYPES, datatype);
  if (dtype !== undefined) return dtype;
  const known = Object.keys(DTYPES).join(", ");
  if (FOREIGN.includes(datatype))
    throw expectedButGot("PROTOCOL_UNSUPPORTED", `one of ${known}`, `${where}.datatype`, datatype);
  throw expectedButGot("INVALID_DTYPE", `one of ${known}`, `${where}.datatype`, JSON.stringify(datatype.slice(0, 80)));
}

/** Bytes of one element. */
export function elementSize(dtype: DType): number {
  const { BYTES_PER_ELEMENT } = ARRAY_OF[dtype] as unknown as { BYTES_PER_ELEMENT: number };
  return BYTES_PER_ELEMENT;
}

/**
 * A tensor over raw little-endian bytes. It shares their memory where that is aligned, and copies it otherwise.
 * @throws LENET5_INVALID_SHAPE where bytes and shape contradict one another, LENET5_REQUEST_INVALID for a BOOL beyond 0 and 1
 */
export function tensorFromBytes(dtype: DType, shape: readonly number[], bytes: Uint8Array, where: string): Tensor {
  const size = elementSize(dtype);
  const count = elementCount(shape, `${where}.shape`);
  if (bytes.byteLength !== count * size) {
    const want = `${count * size} bytes, ${datatypeOf(dtype)} of shape [${shape.join(", ")}],`;
    throw expectedButGot("INVALID_SHAPE", want, `${where}'s data`, `${bytes.byteLength} bytes`);
  }
  const { buffer, byteOffset } = bytes.byteOffset % size === 0 ? bytes : copyOf(bytes);
  const data = new ARRAY_OF[dtype](buffer, byteOffset, count);
  if (dtype === "bool" && (data as Uint8Array).some((value) => value > 1))
    throw expectedButGot("REQUEST_INVALID", "0 or 1", `${where}'s elements`, "another byte");
  return { dtype, shape, data } as Tensor;
}

/** Faster than `Uint8Array.from`, which goes from element to element. */
function copyOf(bytes: Uint8Array): Uint8Array {
  const copy = new Uint8Array(bytes.length);
  copy.set(bytes);
  return copy;
}

/** The raw little-endian bytes of a tensor; they share its memory. */
export function bytesOfTensor({ data }: Tensor): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
