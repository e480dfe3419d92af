// LeNet-5 out to safetensors.
import { safetensorsBytes } from "../formats/safetensors.js";
import { METADATA_NAME, writeMetadata } from "../lenet5/metadata.js";
import { stateDictFromSafetensors } from "../lenet5/state-dict-from-safetensors.js";
import {
  deliver,
  type ExportableModel,
  type ExportOptions,
  exportRequest,
  requireSameTensors,
} from "./exportable-model.js";

/**
 * A model's parameters and metadata as safetensors, PyTorch's state-dict names included: resolves to the bytes, or with a
 * path writes the file, whole or not at all. Either is read back and compared with the model first.
 * @throws LENET5_INVALID_ARGUMENT, LENET5_UNKNOWN_OPTION, LENET5_INVALID_OPTION, LENET5_FILE_BUSY,
 * LENET5_FILE_WRITE_FAILED, LENET5_EXPORT_UNVERIFIED, LENET5_ABORTED
 */
export function exportSafetensors(model: ExportableModel, options?: ExportOptions): Promise<Uint8Array>;
export function exportSafetensors(model: ExportableModel, path: string, options?: ExportOptions): Promise<void>;
export async function exportSafetensors(model: ExportableModel, ...rest: unknown[]): Promise<unknown> {
  const request = exportRequest<ExportOptions>(model, rest, ["signal"], "exportSafetensors");
  const stateDict = model.stateDict();
  const contents = safetensorsBytes(stateDict, { format: "pt", [METADATA_NAME]: writeMetadata(model) });
  return deliver(contents, request, (bytes, where) =>
    requireSameTensors(stateDict, stateDictFromSafetensors(bytes, where).stateDict, where),
  );
}
