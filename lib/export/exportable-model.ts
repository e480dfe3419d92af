// What an exporter needs of a model: its parameters and what it says of itself. `LeNet5` has all of it.
import type { Normalization } from "../data/dataset.js";
import { expected, expectedButGot } from "../errors.js";
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

/** Checks what every exporter takes first. @throws LENET5_INVALID_ARGUMENT */
export function checkExport(model: unknown, path: unknown, where: string): void {
  const candidate = model as Partial<ExportableModel> | null | undefined;
  if (typeof candidate?.stateDict !== "function" || typeof candidate.save !== "function") {
    throw expected("INVALID_ARGUMENT", "a LeNet5", `${where}: model`, model);
  }
  if (typeof path !== "string" || path === "")
    throw expected("INVALID_ARGUMENT", "a file's path", `${where}: path`, path);
}

/** @throws LENET5_EXPORT_UNVERIFIED unless both hold the same names, shapes and bits */
export function requireSameTensors(expectedTensors: StateDict, actual: StateDict, where: string): void {
  for (const [name, { data, shape }] of Object.entries(expectedTensors)) {
    const other = actual[name];
    const same =
      other !== undefined &&
      other.shape.join() === shape.join() &&
      Buffer.from(data.buffer, data.byteOffset, data.byteLength).equals(
        Buffer.from(other.data.buffer, other.data.byteOffset, other.data.byteLength),
      );
    if (!same)
      throw expectedButGot("EXPORT_UNVERIFIED", `the model's own "${name}"`, `${where}, read back,`, "another tensor");
  }
}
