// The most probable classes of each image.

/** One of the most probable classes of an image. */
export interface TopClass {
  /** Index of the class. */
  label: number;
  /** Its name. */
  className: string;
  /** 0..1. */
  probability: number;
}

/**
 * @param probabilities - images × classes, row-major
 * @returns for each image at most `k` classes, the most probable first; of equal ones the first class first
 */
export function topClasses(probabilities: Float32Array, classNames: readonly string[], k: number): TopClass[][] {
  const classes = classNames.length;
  return Array.from({ length: probabilities.length / classes }, (_, image) => {
    const row = probabilities.subarray(image * classes, (image + 1) * classes);
    const order = Array.from(row.keys()).sort((a, b) => row[b]! - row[a]! || a - b);
    return order.slice(0, k).map((label) => ({ label, className: classNames[label]!, probability: row[label]! }));
  });
}
