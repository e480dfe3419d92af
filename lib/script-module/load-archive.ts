// A TorchScript file into the addon: checked, and of a file on disk without ever holding it whole.
//
// Problem: a file may be larger than a Buffer, and larger than memory twice. Resolution: of a file, what is small is read,
// checked and handed over; large tensors are left for the addon, which reads each straight into its place and holds it against
// the checksum in the directory that was checked here (native/core/archive_reader.h).
import { resolve } from "node:path";
import { abortable, throwIfAborted } from "../abort.js";
import { bytesOf, isBlob } from "../byte-source.js";
import { type ModelSource, modelPath, readModelBytes } from "../formats/model-bytes.js";
import { checkTorchScriptArchive, type TorchScriptArchive } from "../formats/torchscript-archive.js";
import { type ZipSource, zipInFile, zipInMemory } from "../formats/zip-source.js";
import { loadOperators } from "../libtorch/operators.js";
import type { NativeScriptModule } from "../native/types.js";
import { libtorch, nativeCall } from "../native.js";
import { withRegularFile } from "../regular-file.js";

/** Smaller tensors are read with what lies around them. */
const LEAVE_FROM = 64 * 1024;

/** How {@link loadArchive} loads. */
export interface LoadArchiveOptions {
  /** The file's name, for messages. */
  where: string;
  device: string;
  /** Paths of libraries of operators. */
  libraries: readonly string[];
  signal: AbortSignal | undefined;
  /** Leaves the contents of large tensors out where nothing looks at them. @defaultValue false */
  withoutTensors?: boolean;
}

/**
 * Checks an archive and loads it.
 * @param api - who asks, for messages
 * @param onChecked - told of the archive before it is loaded
 * @throws as ScriptModule.load
 */
export async function loadArchive(
  source: ModelSource,
  api: string,
  options: LoadArchiveOptions,
  onChecked: (archive: TorchScriptArchive) => void = () => {},
): Promise<NativeScriptModule> {
  const { where, device, libraries, signal, withoutTensors = false } = options;
  const load = async (zip: ZipSource, path: string, leaveFrom?: number): Promise<NativeScriptModule> => {
    const check = leaveFrom === undefined ? { where } : { where, leaveFrom };
    const archive = await abortable(checkTorchScriptArchive(zip, check), signal);
    onChecked(archive);
    const withoutRecords = withoutTensors && !(await archive.looksAtTensors());
    const addon = libtorch(api);
    await loadOperators(libraries);
    const described = {
      size: zip.size,
      parts: zip.held.flatMap(({ offset, bytes }) => [offset, bytes]),
      path,
      records: archive.left.flatMap(({ start, storedBytes, crc32 }) => [start, storedBytes, crc32]),
      withoutRecords,
    };
    return await nativeCall(() => addon.ScriptModule.load(described, device, where));
  };
  if (bytesOf(source) !== undefined || isBlob(source)) {
    return await load(zipInMemory(await readModelBytes(source, api, { signal })), "");
  }
  throwIfAborted(signal);
  const path = modelPath(source, api);
  return await withRegularFile(path, { what: "a model file", missing: "MODEL_NOT_FOUND" }, (file, size) =>
    load(zipInFile(file, size), resolve(path), LEAVE_FROM),
  );
}
