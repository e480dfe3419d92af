// What an exporter needs of a model: its parameters and what it says of itself. `LeNet5` has all of it.
import type { Normalization } from "../data/dataset.js";
import type { StateDict } from "../lenet5/state-dict.js";

/** A LeNet-5 as the exporters see it. */
export interface ExportableModel {
  readonly numClasses: number;
  readonly classNames: readonly string[];
  readonly normalization: Normalization;
  stateDict(): StateDict;
  /** Writes the model as TorchScript. */
  save(path: string): Promise<unknown>;
}
