// LeNet-5's parameters by name: the names, shapes and order of PyTorch's state dict, and the flat array that the native
// side keeps them in.
import { expected, expectedButGot } from "../errors.js";
import { isObject } from "../is.js";
import { readTensor, type Tensor } from "../tensor.js";

/** Parameters (or gradients) by name, row-major as PyTorch lays them out. */
export type StateDict = Record<string, Tensor<"float32">>;

/** Names and shapes, in the order of the flat array. */
export function parameterShapes(numClasses: number): readonly (readonly [name: string, shape: readonly number[]])[] {
  return [
    ["c1.weight", [6, 1, 5, 5]],
    ["c1.bias", [6]],
    ["c3.weight", [16, 6, 5, 5]],
    ["c3.bias", [16]],
    ["c5.weight", [120, 16, 5, 5]],
    ["c5.bias", [120]],
    ["f6.weight", [84, 120]],
    ["f6.bias", [84]],
    ["output.weight", [numClasses, 84]],
    ["output.bias", [numClasses]],
  ];
}

const size = (shape: readonly number[]) => shape.reduce((product, length) => product * length, 1);

/** Number of parameters of all layers together. */
export function parameterCount(numClasses: number): number {
  return parameterShapes(numClasses).reduce((sum, [, shape]) => sum + size(shape), 0);
}

/** Cuts a flat array into named tensors, without a copy. */
export function splitParameters(flat: Float32Array, numClasses: number): StateDict {
  const state: StateDict = {};
  let offset = 0;
  for (const [name, shape] of parameterShapes(numClasses)) {
    const length = size(shape);
    state[name] = { data: flat.subarray(offset, offset + length), shape: [...shape], dtype: "float32" };
    offset += length;
  }
  return state;
}

/**
 * Joins named tensors into the flat array; the class count is read off `output.weight`.
 * @throws LENET5_MODEL_MISMATCH when a name is missing, left over, or has another shape; LENET5_INVALID_ARGUMENT,
 * LENET5_INVALID_SHAPE, LENET5_INVALID_DTYPE for what is no tensor of float32
 */
export function joinParameters(state: StateDict, where: string): { flat: Float32Array; numClasses: number } {
  if (!isObject(state)) throw expected("INVALID_ARGUMENT", "parameters by name", where, state);
  // Read once: what is checked here is what is copied below.
  const given = new Map<string, unknown>(Object.entries(state));
  const names = parameterShapes(0).map(([name]) => name);
  for (const name of given.keys()) {
    if (names.includes(name)) continue;
    throw expectedButGot("MODEL_MISMATCH", "LeNet-5's parameters only", where, `a parameter named "${name}" as well`);
  }
  const tensors = new Map(names.map((name) => [name, floatTensor(given, name, where)]));
  const numClasses = tensors.get("output.weight")!.shape[0] ?? 0;
  if (numClasses < 1) throw expected("MODEL_MISMATCH", "at least one class", `${where}: output.weight`, numClasses);
  const shapes = parameterShapes(numClasses);
  for (const [name, shape] of shapes) {
    const found = tensors.get(name)!.shape;
    if (found.length !== shape.length || found.some((length, i) => length !== shape[i])) {
      const wanted = `the shape [${shape.join(", ")}]`;
      throw expectedButGot("MODEL_MISMATCH", wanted, `${where}: ${name}`, `[${found.join(", ")}]`);
    }
  }
  // Only now is the class count known to be backed by that many weights.
  const flat = new Float32Array(parameterCount(numClasses));
  let offset = 0;
  for (const { data } of tensors.values()) {
    flat.set(data, offset);
    offset += data.length;
  }
  return { flat, numClasses };
}

function floatTensor(given: ReadonlyMap<string, unknown>, name: string, where: string): Tensor<"float32"> {
  if (!given.has(name)) {
    const received = `only ${[...given.keys()].join(", ") || "none"}`;
    throw expectedButGot("MODEL_MISMATCH", `a parameter named "${name}"`, where, received);
  }
  const tensor = readTensor(given.get(name), `${where}: ${name}`);
  if (tensor.dtype !== "float32") throw expected("INVALID_DTYPE", "float32", `${where}: ${name}`, tensor.dtype);
  return tensor as Tensor<"float32">;
}
