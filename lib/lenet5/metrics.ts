// What a confusion matrix says: one function for `evaluate` and for the validation of `fit`.

/** Figures over a labelled set. Precision, recall and F1 are macro averages: every class that occurs counts the same. */
export interface Metrics {
  /** Mean negative log-likelihood. */
  loss: number;
  /** Share of right answers, 0..1. */
  accuracy: number;
  /** Mean over the classes of {@link ClassMetrics.precision}. */
  precision: number;
  /** Mean over the classes of {@link ClassMetrics.recall}. */
  recall: number;
  /** Mean over the classes of {@link ClassMetrics.f1}. */
  f1: number;
}

/** Figures of one class. */
export interface ClassMetrics {
  /** The class. */
  className: string;
  /** Share of the images taken for this class that are of it, 0..1; 0 where none was. */
  precision: number;
  /** Share of the images of this class that were taken for it, 0..1; 0 where there is none. */
  recall: number;
  /** Harmonic mean of the two; 0 where both are 0. */
  f1: number;
  /** Number of images of this class. */
  support: number;
}

/** What {@link metricsOf} gives. */
export interface ConfusionMetrics extends Omit<Metrics, "loss"> {
  /** Number of images. */
  count: number;
  /** `confusion[actual][predicted]`: numbers of images. */
  confusion: number[][];
  /** One entry a class, in order. */
  perClass: ClassMetrics[];
}

/**
 * As scikit-learn's `precision_recall_fscore_support` has it: a quotient by zero is 0, and a class that neither occurs nor
 * was ever answered is left out of the averages.
 * @param flat - actual × predicted, row-major
 */
export function metricsOf(flat: ArrayLike<number>, classNames: readonly string[]): ConfusionMetrics {
  const classes = classNames.length;
  const confusion = Array.from({ length: classes }, (_, actual) =>
    Array.from({ length: classes }, (_, predicted) => flat[actual * classes + predicted]!),
  );
  const predictedAs = confusion.map((_, predicted) => confusion.reduce((sum, row) => sum + row[predicted]!, 0));
  const perClass = confusion.map((row, i): ClassMetrics => {
    const support = row.reduce((sum, count) => sum + count, 0);
    const precision = quotient(row[i]!, predictedAs[i]!);
    const recall = quotient(row[i]!, support);
    const f1 = quotient(2 * precision * recall, precision + recall);
    return { className: classNames[i]!, precision, recall, f1, support };
  });
  const occurring = perClass.filter(({ support }, i) => support > 0 || predictedAs[i]! > 0);
  const mean = (key: "precision" | "recall" | "f1"): number =>
    quotient(
      occurring.reduce((sum, each) => sum + each[key], 0),
      occurring.length,
    );
  const count = perClass.reduce((sum, { support }) => sum + support, 0);
  const right = confusion.reduce((sum, row, i) => sum + row[i]!, 0);
  return {
    count,
    accuracy: quotient(right, count),
    precision: mean("precision"),
    recall: mean("recall"),
    f1: mean("f1"),
    confusion,
    perClass,
  };
}

function quotient(part: number, whole: number): number {
  return whole === 0 ? 0 : part / whole;
}
