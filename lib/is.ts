// What a value is, told so that it holds wherever the value comes from.
//
// Problem: `instanceof` compares with one constructor, and a process may have several of a kind: a test runner or
// node:vm makes realms with a Float32Array and an AbortSignal of their own, and a program that loads this package both
// as an ES module and as CommonJS has two classes TensorHandle. Resolution: built-in types are told by what the engine
// says of them, signals by their shape, and instances of our own classes by a registered symbol, which every copy shares.
import { types } from "node:util";

export const {
  isArrayBuffer,
  isBigInt64Array,
  isFloat32Array,
  isInt32Array,
  isMap,
  isNativeError,
  isTypedArray,
  isUint16Array,
  isUint8Array,
  isUint8ClampedArray,
} = types;

const nameOfTypedArray = Object.getOwnPropertyDescriptor(
  Object.getPrototypeOf(Uint8Array.prototype),
  Symbol.toStringTag,
)!.get!;

const typedArrayGetter = (name: "buffer" | "byteOffset" | "length") =>
  Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Uint8Array.prototype), name)!.get!;
const bufferOf = typedArrayGetter("buffer");
const offsetOf = typedArrayGetter("byteOffset");
const trueLengthOf = typedArrayGetter("length");

/** A typed array's number of elements, whatever a subclass or a property of its own says. */
export function lengthOf(array: NodeJS.TypedArray): number {
  return trueLengthOf.call(array);
}

/** A typed array's memory, whatever a subclass or a property of its own says. */
export function memoryOf(array: NodeJS.TypedArray): { buffer: ArrayBufferLike; byteOffset: number } {
  return { buffer: bufferOf.call(array), byteOffset: offsetOf.call(array) };
}

/** `"Float32Array"` for any realm's Float32Array; undefined for what is no typed array. */
export function typedArrayName(value: unknown): string | undefined {
  return nameOfTypedArray.call(value);
}

/** True for an `AbortSignal` of any realm or library: what can be asked whether it is aborted, and listened to. */
export function isAbortSignal(value: unknown): value is AbortSignal {
  const signal = value as Partial<AbortSignal> | null | undefined;
  return (
    typeof signal === "object" &&
    signal !== null &&
    typeof signal.aborted === "boolean" &&
    typeof signal.addEventListener === "function" &&
    typeof signal.removeEventListener === "function"
  );
}

/** An object, and not null. */
export function isObject(value: unknown): value is Record<PropertyKey, unknown> {
  return typeof value === "object" && value !== null;
}

/** Classes whose instances may come from another copy of this package. */
export type BrandedClass = "LeNet5" | "LeNet5Error" | "TensorHandle" | "FloatValue";

/** The symbol that instances of a class carry, the same one in every copy of this package. */
export function brandOf(name: BrandedClass): symbol {
  return Symbol.for(`lenet5-libtorch.${name}`);
}

/** Makes all instances of a class known to every copy of this package. */
export function brand(branded: { prototype: object }, name: BrandedClass): void {
  Object.defineProperty(branded.prototype, brandOf(name), { value: true });
}

/** True for an instance of a branded class, this copy's or another's. */
export function isBranded(value: unknown, name: BrandedClass): boolean {
  return isObject(value) && value[brandOf(name)] === true;
}

/** What `object` itself has under a name that a caller chose: never a property that every object has, like "toString". */
export function own<T>(object: Readonly<Record<string, T>>, name: unknown): T | undefined {
  return typeof name === "string" && Object.hasOwn(object, name) ? object[name] : undefined;
}
