// What the native side's counts say: one function for `evaluate` and for the validation of `fit`.
import type { NativeEvaluation } from "../native/types.js";

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
export interface CountedMetrics extends Omit<Metrics, "loss"> {
  /** Number of images. */
  count: number;
  /** One entry a class, in order. */
  perClass: ClassMetrics[];
}

/**
 * As scikit-learn's `precision_recall_fscore_support` has it: a quotient by zero is 0, and a class that neither occurs nor
 * was ever answered is left out of the averages. Time and memory grow with the classes, not with their square.
 */
export function metricsOf(
  { actual, predicted, right }: Pick<NativeEvaluation, "actual" | "predicted" | "right">,
  classNames: readonly string[],
): CountedMetrics {
  const perClass = classNames.map((className, i): ClassMetrics => {
    const support = actual[i]!;
    const precision = quotient(right[i]!, predicted[i]!);
    const recall = quotient(right[i]!, support);
    const f1 = quotient(2 * precision * recall, precision + recall);
    return { className, precision, recall, f1, support };
  });
  const occurring = perClass.filter(({ support }, i) => support > 0 || predicted[i]! > 0);
  const mean = (key: "precision" | "recall" | "f1"): number =>
    quotient(
      occurring.reduce((sum, each) => sum + each[key], 0),
      occurring.length,
    );
  const count = sumOf(actual);
  return {
    count,
    accuracy: quotient(sumOf(right), count),
    precision: mean("precision"),
    recall: mean("recall"),
    f1: mean("f1"),
    perClass,
  };
}

/** `[actual][predicted]` of a flat matrix. */
export function confusionRows(flat: Uint32Array, classes: number): number[][] {
  return Array.from({ length: classes }, (_, actual) =>
    Array.from(flat.subarray(actual * classes, (actual + 1) * classes)),
  );
}

function sumOf(counts: Uint32Array): number {
  return counts.reduce((sum, count) => sum + count, 0);
}

function quotient(part: number, whole: number): number {
  return whole === 0 ? 0 : part / whole;
}
