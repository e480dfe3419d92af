// Images made by integer arithmetic, the same as in test/fixtures/generate_lenet5_reference.py: stripes that depend on the
// class, with noise. Enough to learn from, and nothing to commit.

/** `count` images of 28×28 in ten classes. */
export function stripedImages(count: number): { images: Uint8Array; labels: Int32Array } {
  const images = new Uint8Array(count * 784);
  const labels = new Int32Array(count);
  for (let i = 0; i < count; i++) {
    const label = i % 10;
    labels[i] = label;
    for (let y = 0; y < 28; y++) {
      for (let x = 0; x < 28; x++) {
        const stripe = (Math.floor((x * (label + 1) + y * (10 - label)) / 14) % 2) * 160;
        images[i * 784 + y * 28 + x] = stripe + ((i * 7919 + y * 104729 + x * 1299709 + x * y * 31) % 96);
      }
    }
  }
  return { images, labels };
}

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
