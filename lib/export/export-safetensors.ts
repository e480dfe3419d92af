// LeNet-5 out to safetensors.
import { readFile } from "node:fs/promises";
import { writeFileAtomically } from "../files.js";
import { safetensorsBytes } from "../formats/safetensors.js";
import { METADATA_NAME, writeMetadata } from "../lenet5/metadata.js";
import { stateDictFromSafetensors } from "../lenet5/state-dict-from-safetensors.js";
import { checkExport, type ExportableModel, requireSameTensors } from "./exportable-model.js";

/**
 * Writes a model's parameters and metadata as safetensors, PyTorch's state-dict names included, whole or not at all.
 * @throws LENET5_INVALID_ARGUMENT, LENET5_FILE_BUSY, LENET5_FILE_WRITE_FAILED, LENET5_EXPORT_UNVERIFIED
 */
export async function exportSafetensors(model: ExportableModel, path: string): Promise<void> {
  checkExport(model, path, "exportSafetensors");
  const stateDict = model.stateDict();
  const bytes = safetensorsBytes(stateDict, { format: "pt", [METADATA_NAME]: writeMetadata(model) });
  await writeFileAtomically(path, bytes, {
    verify: async (temporary) => {
      const written = stateDictFromSafetensors(await readFile(temporary), path);
      requireSameTensors(stateDict, written.stateDict, path);
    },
  });
}
