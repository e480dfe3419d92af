// Images made by integer arithmetic, the same as in test/fixtures/generate_lenet5_reference.py: stripes that depend on the
// class, with noise. Enough to learn from, and nothing to commit.

export { stripedImages } from "../cuda/images.mjs";

/** Largest absolute difference of two arrays of equal length. */
export function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY;
  let largest = 0;
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs(a[i]! - b[i]!);
    if (!(difference <= largest)) largest = difference;
  }
  return largest;
}
