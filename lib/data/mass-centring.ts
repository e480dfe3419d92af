// How MNIST's makers placed a digit: scaled into a 20×20 box, the box put where the centre of mass of its ink lies in
// the middle of the 28×28 field (LeCun, Cortes, Burges). In the published files the centre of mass lies on pixel 14 of
// rows and columns, give or take the half pixel that a shift by whole pixels leaves.
import { SIDE } from "./dataset.js";

/** Side of the box that holds the ink. */
export const BOX = 20;

const CENTRE = 14;

/**
 * Puts a small grey image into a black 28×28 field so that its centre of mass comes to lie in the middle.
 *
 * @param source - `width`·`height` pixels, light ink on black
 * @param width - at most 28
 * @param height - at most 28
 * @param target - 784 zeroes, which receive the image
 */
export function placeByMass(source: Uint8Array, width: number, height: number, target: Uint8Array): void {
  let mass = 0;
  let rows = 0;
  let columns = 0;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const ink = source[y * width + x]!;
      mass += ink;
      rows += ink * y;
      columns += ink * x;
    }
  }
  if (mass === 0) return;
  const top = clamp(Math.round(CENTRE - rows / mass), SIDE - height);
  const left = clamp(Math.round(CENTRE - columns / mass), SIDE - width);
  for (let y = 0; y < height; y++) {
    target.set(source.subarray(y * width, (y + 1) * width), (top + y) * SIDE + left);
  }
}

function clamp(value: number, maximum: number): number {
  return Math.min(Math.max(value, 0), maximum);
}
