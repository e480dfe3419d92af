// What a saved model says of itself beside its weights: class names and normalisation. One JSON text in every format
// (an extra file of the TorchScript archive, metadata of safetensors and ONNX).
import type { Normalization } from "../data/dataset.js";
import { LeNet5Error } from "../errors.js";

export type { Normalization };

/** What a saved model says of itself. */
export interface ModelMetadata {
  readonly classNames: readonly string[];
  readonly normalization: Normalization;
}

/** Mean and standard deviation of MNIST's training set. */
export const MNIST_NORMALIZATION: Normalization = { mean: 0.1307, std: 0.3081 };

/** Name of the text among a TorchScript archive's extra files and in the metadata of the other formats. */
export const METADATA_NAME = "lenet5.json";

/**
 * True for numbers by which every pixel is normalised to a finite one in float32, in which the model computes. The
 * smallest std is float32's smallest normal number: smaller ones count as 0 there.
 */
export function normalizes(normalization: Partial<Normalization> | null | undefined): boolean {
  const { mean, std } = normalization ?? {};
  if (typeof mean !== "number" || typeof std !== "number") return false;
  const deviation = Math.fround(std);
  return (
    deviation >= 2 ** -126 && Number.isFinite(deviation) && Number.isFinite(Math.fround(Math.fround(mean) / deviation))
  );
}

/** "0", "1", … */
export function defaultClassNames(numClasses: number): string[] {
  return Array.from({ length: numClasses }, (_, i) => String(i));
}

/** The JSON text. */
export function writeMetadata(metadata: ModelMetadata): string {
  return JSON.stringify({
    format: "lenet5-libtorch",
    formatVersion: 1,
    classNames: metadata.classNames,
    normalization: metadata.normalization,
  });
}

/**
 * Reads the JSON text; a model that Python saved has none.
 * @throws LENET5_MODEL_CORRUPT when the text contradicts the weights
 */
export function readMetadata(text: string | undefined, numClasses: number, where: string): ModelMetadata | undefined {
  if (text === undefined || text === "") return undefined;
  try {
    const { classNames, normalization } = JSON.parse(text) as Partial<ModelMetadata>;
    const named =
      Array.isArray(classNames) &&
      classNames.length === numClasses &&
      classNames.every((name) => typeof name === "string");
    if (named && normalizes(normalization)) {
      return { classNames, normalization: { mean: normalization!.mean, std: normalization!.std } };
    }
  } catch {
    // Falls through to the one error below.
  }
  throw new LeNet5Error(
    "MODEL_CORRUPT",
    `Expected ${numClasses} class names and a normalisation for ${METADATA_NAME} in ${where} but received ${text.slice(0, 200)}`,
  );
}
