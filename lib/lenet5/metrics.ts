// What a confusion matrix tells, the same for `evaluate` and for the validation of `fit`. The native side counts it,
// flat: classes × classes, row-major, [actual][predicted].

/** Share of right answers, 0..1. */
export function accuracyOf(confusion: Float64Array, numClasses: number): number {
  let right = 0;
  for (let i = 0; i < numClasses; i++) right += confusion[i * (numClasses + 1)]!;
  return right / confusion.reduce((sum, count) => sum + count, 0);
}

/** `[actual][predicted]`: numbers of images. */
export function confusionRows(confusion: Float64Array, numClasses: number): number[][] {
  return Array.from({ length: numClasses }, (_, actual) =>
    Array.from(confusion.subarray(actual * numClasses, (actual + 1) * numClasses)),
  );
}
