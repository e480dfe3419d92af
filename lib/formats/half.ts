// 16-bit floating-point numbers to float32 and back. JavaScript has a Float16Array from Node 24 on, and nothing for bfloat16.
import { expected } from "../errors.js";
import { typedArrayName } from "../is.js";
import type { Float16Data } from "../tensor.js";

/**
 * IEEE 754 binary16 patterns (1 sign, 5 exponent, 10 fraction bits) as numbers. Exact: every such number is a float32
 * number. A Float16Array will do as well.
 * @throws LENET5_INVALID_ARGUMENT for another kind of array
 */
export function float16ToFloat32(bits: Float16Data): Float32Array {
  if (typedArrayName(bits) === "Float16Array") return Float32Array.from(bits);
  check(bits, "Uint16Array", "float16ToFloat32");
  return Float32Array.from(bits, (half) => {
    const sign = half & 0x8000 ? -1 : 1;
    const exponent = (half >> 10) & 0x1f;
    const fraction = half & 0x3ff;
    if (exponent === 0) return sign * fraction * 2 ** -24;
    if (exponent === 0x1f) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
    return sign * (1024 + fraction) * 2 ** (exponent - 25);
  });
}

/**
 * Numbers as IEEE 754 binary16 patterns, rounded to the nearest, ties to even, as PyTorch rounds. Beyond ±65,504, from
 * ±65,520 on, they become infinite; NaN stays NaN.
 * @throws LENET5_INVALID_ARGUMENT for another kind of array
 */
export function float32ToFloat16(values: Float32Array): Uint16Array {
  check(values, "Float32Array", "float32ToFloat16");
  return fromFloat32Bits(values, (bits, value) => {
    const sign = (bits >>> 16) & 0x8000;
    const magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000) return sign | 0x7e00;
    // Below 2^-14 the patterns count in steps of 2^-24.
    if (magnitude < 0x38800000) return sign | roundedToEven(Math.abs(value) * 2 ** 24);
    const rounded = magnitude + 0xfff + ((magnitude >>> 13) & 1);
    return sign | (rounded >= 0x47800000 ? 0x7c00 : (rounded - 0x38000000) >>> 13);
  });
}

/**
 * bfloat16 patterns, the upper halves of float32 patterns, as numbers. Exact.
 * @throws LENET5_INVALID_ARGUMENT for another kind of array
 */
export function bfloat16ToFloat32(bits: Uint16Array): Float32Array {
  check(bits, "Uint16Array", "bfloat16ToFloat32");
  return new Float32Array(Uint32Array.from(bits, (half) => half << 16).buffer);
}

/**
 * Numbers as bfloat16 patterns, rounded to the nearest, ties to even, as PyTorch rounds; NaN stays NaN.
 * @throws LENET5_INVALID_ARGUMENT for another kind of array
 */
export function float32ToBfloat16(values: Float32Array): Uint16Array {
  check(values, "Float32Array", "float32ToBfloat16");
  return fromFloat32Bits(values, (bits) => {
    if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40;
    return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
  });
}

function fromFloat32Bits(values: Float32Array, convert: (bits: number, value: number) => number): Uint16Array {
  // A copy: the caller's array may begin anywhere.
  const copy = Float32Array.from(values);
  const bits = new Uint32Array(copy.buffer);
  return Uint16Array.from(bits, (each, i) => convert(each, copy[i]!));
}

function roundedToEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below;
}

function check(array: unknown, name: "Uint16Array" | "Float32Array", where: string): void {
  if (typedArrayName(array) !== name) throw expected("INVALID_ARGUMENT", `a ${name}`, where, array);
}
