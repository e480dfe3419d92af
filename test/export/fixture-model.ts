// The LeNet-5 that PyTorch made (test/fixtures/state-dicts), in the form the exporters take, without native code.
import { readFileSync } from "node:fs";
import path from "node:path";
import type { ExportableModel } from "../../lib/export/exportable-model.js";
import { readSafetensors } from "../../lib/formats/safetensors.js";
import { stateDictFromSafetensors } from "../../lib/lenet5/state-dict-from-safetensors.js";

const folder = path.join(import.meta.dirname, "..", "fixtures", "state-dicts");

/** What PyTorch answers for it: four images [4, 1, 28, 28] and their log-probabilities [4, 10]. */
export function reference(): { pixels: Float32Array; logProbabilities: Float32Array } {
  const { tensors } = readSafetensors(readFileSync(path.join(folder, "reference.safetensors")));
  return {
    pixels: tensors.pixels!.data as Float32Array,
    logProbabilities: tensors.log_probabilities!.data as Float32Array,
  };
}

/** The model; `toTorchScript` gives the file that PyTorch wrote. */
export function fixtureModel(overrides: Partial<ExportableModel> = {}): ExportableModel {
  const { stateDict } = stateDictFromSafetensors(readFileSync(path.join(folder, "lenet5.safetensors")));
  return {
    numClasses: 10,
    classNames: [..."0123456789"],
    normalization: { mean: 0.1307, std: 0.3081 },
    stateDict: () => stateDict,
    toTorchScript: async () => readFileSync(path.join(folder, "lenet5.torchscript.pt")),
    ...overrides,
  };
}
