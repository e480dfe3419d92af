// The tensors of a TorchScript module, by name, out of the archive and without libtorch.
//
// Problem: libtorch's way to the weights is torch::jit::load, which compiles the archive's code, runs `__setstate__`
// methods, and believes the number of elements that the pickle states for a storage, whatever the record that holds it.
// Resolution: the pickle is only read (formats/pickle.ts), each storage is held against its record and each tensor
// against its storage, and nothing of the file is ever run.
import { expectedButGot, type LeNet5Error } from "../errors.js";
import { isMap } from "../is.js";
import type { Tensor } from "../tensor.js";
import { bfloat16ToFloat32, float16ToFloat32 } from "./half.js";
import { type PickledCall, type PickledObject, type PickledValue, pickled, readPickle } from "./pickle.js";
import type { TorchScriptArchive } from "./torchscript-archive.js";

/** Limits of {@link readTorchScriptWeights}. */
export interface WeightsLimits {
  /** Name of the file or argument, for messages. */
  where: string;
  /** Most elements that all tensors may have together, and all their storages. */
  maxElements: number;
}

/** A module's description is a few hundred bytes a layer; nobody's LeNet-5 has one of 4 MiB. */
const LARGEST_PICKLE = 4 * 1024 * 1024;
/** More modules and attributes than this are no LeNet-5; shared ones could make a small file describe very many. */
const MOST_ATTRIBUTES = 10_000;

/** Storages of floating-point elements: their size, and how they become float32. */
const STORAGES: ReadonlyMap<string, { bytes: number; read: (contents: Buffer) => Float32Array }> = new Map([
  ["torch.FloatStorage", { bytes: 4, read: (contents) => new Float32Array(aligned(contents)) }],
  ["torch.DoubleStorage", { bytes: 8, read: (contents) => Float32Array.from(new Float64Array(aligned(contents))) }],
  ["torch.HalfStorage", { bytes: 2, read: (contents) => float16ToFloat32(new Uint16Array(aligned(contents))) }],
  ["torch.BFloat16Storage", { bytes: 2, read: (contents) => bfloat16ToFloat32(new Uint16Array(aligned(contents))) }],
]);

/**
 * Reads every tensor that is an attribute of the module or of one below it, as float32, row-major.
 *
 * @param archive - a file that `checkTorchScriptArchive` has proven whole
 * @returns tensors by dotted name, as `state_dict` names them
 * @throws LENET5_MODEL_CORRUPT where the pickle is damaged or contradicts the records, LENET5_MODEL_MISMATCH where the
 * tensors are too many, not dense or not of floating-point numbers
 */
export async function readTorchScriptWeights(
  archive: TorchScriptArchive,
  { where, maxElements }: WeightsLimits,
): Promise<Record<string, Tensor<"float32">>> {
  const corrupt = (received: string): LeNet5Error =>
    expectedButGot("MODEL_CORRUPT", "a TorchScript archive", where, received);
  const mismatch = (what: string, received: string): LeNet5Error =>
    expectedButGot("MODEL_MISMATCH", what, where, received);

  if ((await archive.read("byteorder", 16))?.toString("latin1").trim() === "big") {
    throw mismatch("little-endian numbers", "an archive of a big-endian machine");
  }
  const pickle = await archive.read("data.pkl", LARGEST_PICKLE);
  if (pickle === undefined) throw mismatch("LeNet-5's parameters", "an archive that describes far more");
  let root: PickledObject | undefined;
  try {
    root = pickled(readPickle(pickle), "object");
  } catch (error) {
    throw corrupt((error as Error).message);
  }
  if (root === undefined) throw corrupt("an archive that holds no module");

  const tensors = new Map<string, Tensor<"float32">>();
  const storages = new Map<string, Float32Array>();
  let elements = 0;
  const count = (more: number) => {
    elements += more;
    if (!(elements <= 2 * maxElements)) throw mismatch("LeNet-5's parameters", `more than ${maxElements} elements`);
  };
  for (const [name, call] of tensorsOf(root, () => mismatch("LeNet-5's parameters", "a module with far more in it"))) {
    if (call.path !== "torch._utils._rebuild_tensor_v2") {
      throw mismatch("dense parameters", `"${name}", which is none (${call.path})`);
    }
    const layout = layoutOf(call, () => corrupt(`a tensor "${name}" that is not described as one`));
    count(layout.count);
    const kind = STORAGES.get(layout.storageType);
    if (kind === undefined) throw mismatch("floating-point parameters", `"${name}" in a ${layout.storageType}`);
    const id = `${layout.storageType} ${layout.key}`;
    let storage = storages.get(id);
    if (storage === undefined) {
      count(layout.storageLength);
      const contents = await archive.read(`data/${layout.key}`, Number.POSITIVE_INFINITY);
      if (contents?.length !== layout.storageLength * kind.bytes) {
        const found = contents === undefined ? "no record" : `a record of ${contents.length} bytes`;
        throw corrupt(`"${name}" with ${found} for ${layout.storageLength} elements`);
      }
      storage = kind.read(contents);
      storages.set(id, storage);
    }
    if (layout.end > storage.length) {
      throw corrupt(`"${name}" that takes ${layout.end} elements of a storage of ${storage.length}`);
    }
    tensors.set(name, { data: gather(storage, layout), shape: layout.shape, dtype: "float32" });
  }
  return Object.fromEntries(tensors);
}

/** Every tensor below a module, with its dotted name. */
function* tensorsOf(root: PickledObject, tooMany: () => LeNet5Error): Generator<[name: string, tensor: PickledCall]> {
  let seen = 0;
  const open: { prefix: string; object: PickledObject }[] = [{ prefix: "", object: root }];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { prefix, object } = next;
    if (!isMap(object.state)) continue; // a class with a __getstate__ of its own: nothing that is known here
    for (const [key, value] of object.state) {
      // A module that holds itself, or shared ones that multiply, end here too.
      if (++seen > MOST_ATTRIBUTES) throw tooMany();
      if (typeof key !== "string") continue;
      const name = prefix + key;
      const below = pickled(value, "object");
      if (below !== undefined) open.push({ prefix: `${name}.`, object: below });
      const call = pickled(value, "call");
      if (call?.path.startsWith("torch._utils._rebuild_")) yield [name, call];
    }
  }
}

interface Layout {
  storageType: string;
  /** Name of the storage's record below `data/`. */
  key: string;
  /** Elements of the storage. */
  storageLength: number;
  offset: number;
  shape: number[];
  strides: number[];
  /** Elements of the tensor. */
  count: number;
  /** One past the last element of the storage that the tensor takes. */
  end: number;
}

/** The arguments of `_rebuild_tensor_v2(storage, offset, size, stride, …)`; all numbers are safe integers of at least 0. */
function layoutOf(call: PickledCall, refused: () => LeNet5Error): Layout {
  const [reference, offset, shape, strides] = call.args;
  const id = pickled(reference, "reference")?.id;
  if (!Array.isArray(id) || id[0] !== "storage") throw refused();
  const type = pickled(id[1], "global");
  const [, , key, , storageLength] = id;
  if (
    type === undefined ||
    typeof key !== "string" ||
    !isCount(storageLength) ||
    !isCount(offset) ||
    !isCounts(shape) ||
    !isCounts(strides) ||
    shape.length !== strides.length
  ) {
    throw refused();
  }
  const count = shape.reduce((product, size) => product * size, 1);
  const end = count === 0 ? 0 : 1 + shape.reduce((last, size, i) => last + (size - 1) * strides[i]!, offset);
  if (!Number.isSafeInteger(count) || !Number.isSafeInteger(end)) throw refused();
  return { storageType: type.path, key, storageLength, offset, shape, strides, count, end };
}

function isCount(value: PickledValue | undefined): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isCounts(value: PickledValue | undefined): value is number[] {
  return Array.isArray(value) && value.length <= 8 && value.every(isCount);
}

/** The tensor's elements, row-major. */
function gather(storage: Float32Array, { offset, shape, strides, count }: Layout): Float32Array {
  const data = new Float32Array(count);
  const index = new Array<number>(shape.length).fill(0);
  let from = offset;
  for (let to = 0; to < count; to++) {
    data[to] = storage[from]!;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      from += strides[axis]!;
      if (++index[axis]! < shape[axis]!) break;
      from -= strides[axis]! * shape[axis]!;
      index[axis] = 0;
    }
  }
  return data;
}

/** The bytes in a buffer of their own: what lies in a file begins anywhere, and typed arrays do not. */
function aligned(contents: Buffer): ArrayBuffer {
  return Uint8Array.from(contents).buffer;
}
