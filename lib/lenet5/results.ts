// What the calls of a model take as options and give as results.
import type { ClassMetrics, Metrics } from "./metrics.js";
import type { TopClass } from "./top-classes.js";

/** What `predict` gives. */
export interface Prediction {
  /** Index of the most probable class, one an image. */
  labels: Int32Array;
  /** count × numClasses, row-major; each row sums to 1. */
  probabilities: Float32Array;
  /** Number of images. */
  count: number;
  /** Number of classes. */
  numClasses: number;
  /** The model's class names: `classNames[labels[i]]` names image i. */
  classNames: readonly string[];
  /** With `topK`: the most probable classes of each image, in order. */
  top?: TopClass[][];
}

/** What `predict` gives with `topK`. */
export type PredictionWithTop = Prediction & { top: TopClass[][] };

/** Options of `predict`. */
export interface PredictOptions extends CallOptions {
  /** Adds the so many most probable classes of each image as `top`; all of them where there are fewer. */
  topK?: number;
}

/** Options of `predictSync`. */
export interface PredictSyncOptions {
  /**
   * Receives the probabilities; at least count × numClasses long. Then nothing of that size is allocated at all.
   * @defaultValue a new array
   */
  output?: Float32Array;
  /** As in {@link PredictOptions}. */
  topK?: number;
}

/** The one option of every call that takes a while. */
export interface CallOptions {
  /** Aborts the call, which then rejects with `LENET5_ABORTED` at once. */
  signal?: AbortSignal;
}

/** Options of `evaluate`. */
export interface EvaluateOptions extends CallOptions {
  /** Images a pass of the libtorch engine. @defaultValue 1000 */
  batchSize?: number;
  /** Told now and then how many images are done, and of how many; the last call has all of them. */
  onProgress?: (done: number, total: number) => void;
}

/** What `evaluate` gives. Precision, recall and F1 are averages over the classes; `perClass` has each. */
export interface Evaluation extends Metrics {
  /** Number of images. */
  count: number;
  /** `confusion[actual][predicted]`: numbers of images; there for up to 1,000 classes, since it grows with their square. */
  confusion?: number[][];
  /** Precision, recall, F1 and number of images of each class, in order. */
  perClass: ClassMetrics[];
}
