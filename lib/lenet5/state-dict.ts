// LeNet-5's parameters by name: the names, shapes and order of PyTorch's state dict, and the flat array that the native
// side keeps them in.
import { expected, expectedButGot } from "../errors.js";
import { checkTensor, type Tensor } from "../tensor.js";

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
 * @throws LENET5_MODEL_MISMATCH when a name is missing, left over, or has another shape
 */
export function joinParameters(state: StateDict, where: string): { flat: Float32Array; numClasses: number } {
  const numClasses = state["output.weight"]?.shape[0] ?? 10;
  const shapes = parameterShapes(numClasses);
  for (const name of Object.keys(state)) {
    if (!shapes.some(([known]) => known === name)) {
      throw expectedButGot("MODEL_MISMATCH", "LeNet-5's parameters only", where, `a parameter named "${name}" as well`);
    }
  }
  if (numClasses < 1) throw expected("MODEL_MISMATCH", "at least one class", `${where}: output.weight`, numClasses);
  for (const [name, shape] of shapes) {
    const tensor = state[name];
    if (tensor === undefined) {
      throw expectedButGot(
        "MODEL_MISMATCH",
        `a parameter named "${name}"`,
        where,
        `only ${Object.keys(state).join(", ") || "none"}`,
      );
    }
    checkTensor(tensor, `${where}: ${name}`);
    if (tensor.dtype !== "float32") throw expected("INVALID_DTYPE", "float32", `${where}: ${name}`, tensor.dtype);
    if (tensor.shape.length !== shape.length || tensor.shape.some((length, i) => length !== shape[i])) {
      throw expectedButGot(
        "MODEL_MISMATCH",
        `the shape [${shape.join(", ")}]`,
        `${where}: ${name}`,
        `[${tensor.shape.join(", ")}]`,
      );
    }
  }
  // Only now is the class count known to be backed by that many weights.
  const flat = new Float32Array(shapes.reduce((sum, [, shape]) => sum + size(shape), 0));
  let offset = 0;
  for (const [name] of shapes) {
    flat.set(state[name]!.data, offset);
    offset += state[name]!.data.length;
  }
  return { flat, numClasses };
}
