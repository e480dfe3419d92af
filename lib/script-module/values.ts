// Values as TorchScript methods take and give them.
import { expected, expectedButGot, type LeNet5Error } from "../errors.js";
import { brand, isBranded, isMap } from "../is.js";
import type { EncodedValue } from "../native/types.js";
import type { Tensor } from "../tensor.js";
import { encodeTensor } from "./encoding.js";
import { isTensorHandle, nativeTensorOf, type TensorHandle } from "./tensor-handle.js";

/**
 * A result. int and float are numbers (ints beyond 2^53 are bigints; with `integers: "bigint"` every int is one), lists
 * and tuples are arrays, `Dict[str, …]` is an object and any other dictionary a Map.
 */
export type ScriptValue<T = Tensor> =
  | T
  | number
  | bigint
  | boolean
  | string
  | null
  | ScriptValue<T>[]
  | { [key: string]: ScriptValue<T> }
  | Map<number | bigint | boolean | T, ScriptValue<T>>;

/**
 * An argument. The method's signature decides what a number becomes; where it leaves that open (`Any`, `Union`), a
 * whole number is an int, a bigint is always one, and {@link float} makes a float. `undefined` leaves an argument out.
 * An object with `data`, `shape` and `dtype` is a tensor; a dictionary with just these keys is to be given as a Map.
 */
export type ScriptInput =
  | Tensor
  | TensorHandle
  | FloatValue
  | number
  | bigint
  | boolean
  | string
  | null
  | undefined
  | readonly ScriptInput[]
  | { readonly [key: string]: ScriptInput }
  | ReadonlyMap<ScriptInput, ScriptInput>;

/** A number that is a float for certain; made by {@link float}. */
export class FloatValue {
  static {
    brand(FloatValue, "FloatValue");
  }
  /** The number. */
  readonly value: number;
  constructor(value: number) {
    this.value = value;
  }
}

/** A float also where the signature does not say so and the number is whole: `float(3)` is Python's `3.0`. */
export function float(value: number): FloatValue {
  if (typeof value !== "number") throw expected("INVALID_ARGUMENT", "a number", "float", value);
  return new FloatValue(value);
}

/** Deepest nesting of an argument. */
export const MAX_DEPTH = 64;
/** Most values in one call, counting every element of every list; tensors count as one. */
export const MAX_VALUES = 1_048_576;

const INT64_MIN = -(2n ** 63n);
const INT64_MAX = 2n ** 63n - 1n;

/** The way from an argument to a value in it; a chain, so that only an error pays for its words. */
interface Path {
  parent?: Path;
  step: string | number;
}

function pathText({ parent, step }: Path): string {
  if (parent === undefined) return String(step);
  return `${pathText(parent)}[${JSON.stringify(step)}]`;
}

/** Checks and encodes one call's arguments; the number of values is limited in all. */
export class ArgumentEncoder {
  readonly #method: string;
  #count = 0;

  constructor(method: string) {
    this.#method = method;
  }

  /**
   * @param argument - its name, for messages
   * @throws LENET5_SCRIPT_ARGUMENTS, LENET5_INVALID_SHAPE, LENET5_INVALID_DTYPE, LENET5_DISPOSED
   */
  encode(input: unknown, argument: string): EncodedValue {
    return this.#value(input, { step: argument }, 1);
  }

  #value(input: unknown, path: Path, depth: number): EncodedValue {
    if (++this.#count > MAX_VALUES) throw this.#tooMany(path);
    switch (typeof input) {
      case "undefined":
      case "boolean":
      case "number":
      case "string":
        return input;
      case "bigint":
        if (input < INT64_MIN || input > INT64_MAX) {
          throw expected("SCRIPT_ARGUMENTS", "an integer of 64 bits", this.#where(path), input);
        }
        return input;
      case "object":
        return input === null ? null : this.#object(input, path, depth);
      default:
        throw this.#notAValue(input, path);
    }
  }

  #where(path: Path): string {
    return `argument ${pathText(path)} of ${this.#method}`;
  }

  #object(input: object, path: Path, depth: number): EncodedValue {
    if (depth > MAX_DEPTH) {
      let argument = path;
      while (argument.parent) argument = argument.parent;
      throw expectedButGot(
        "SCRIPT_ARGUMENTS",
        `at most ${MAX_DEPTH} levels of nesting`,
        this.#where(argument),
        "more, a cycle perhaps",
      );
    }
    if (isTensorHandle(input)) return { kind: "handle", handle: nativeTensorOf(input, this.#where(path)) };
    if (isBranded(input, "FloatValue"))
      return { kind: "float", value: this.#number((input as FloatValue).value, path) };
    if (Array.isArray(input)) return this.#list(input, path, depth);
    if (isMap(input)) return this.#dictionary([...input.keys()], [...input.values()], path, depth);
    if ("data" in input && "shape" in input && "dtype" in input) {
      return encodeTensor(input as Tensor, this.#where(path));
    }
    if (!isPlain(input)) throw this.#notAValue(input, path);
    return this.#dictionary(Object.keys(input), Object.values(input), path, depth);
  }

  /** What lies in a {@link FloatValue}, which may be anybody's object that carries its mark. */
  #number(value: unknown, path: Path): number {
    if (typeof value !== "number") throw expected("SCRIPT_ARGUMENTS", "a number", this.#where(path), value);
    return value;
  }

  #list(input: readonly unknown[], path: Path, depth: number): EncodedValue[] {
    if (input.length > MAX_VALUES) throw this.#tooMany(path);
    const items: EncodedValue[] = [];
    for (let i = 0; i < input.length; i++) {
      items.push(this.#value(input[i], { parent: path, step: i }, depth + 1));
    }
    return items;
  }

  #dictionary(keys: unknown[], values: unknown[], path: Path, depth: number): EncodedValue {
    if (keys.length > MAX_VALUES) throw this.#tooMany(path);
    return {
      kind: "dict",
      keys: keys.map((key) => this.#value(key, path, depth + 1)),
      values: values.map((value, i) =>
        this.#value(value, { parent: path, step: typeof keys[i] === "object" ? i : String(keys[i]) }, depth + 1),
      ),
    };
  }

  #notAValue(input: unknown, path: Path): LeNet5Error {
    const values = "a tensor { data, shape, dtype }, number, bigint, boolean, string, null, array, Map or plain object";
    return expected("SCRIPT_ARGUMENTS", values, this.#where(path), input);
  }

  #tooMany(path: Path): LeNet5Error {
    return expectedButGot("SCRIPT_ARGUMENTS", `at most ${MAX_VALUES} values in a call`, this.#where(path), "more");
  }
}

/** True for `{}` and `Object.create(null)`, also from another realm. */
function isPlain(input: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(input);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}
