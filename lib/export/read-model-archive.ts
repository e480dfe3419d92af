// What a TorchServe model archive (.mar) holds, read without unpacking it anywhere. Its handler is Python and is not run.
import { expectedButGot, type LeNet5Error } from "../errors.js";
import { type ModelSource, modelName, readModelBytes } from "../formats/model-bytes.js";
import { checkZip, readZipEntry } from "../formats/zip-check.js";
import { isObject } from "../is.js";
import { optionalSignal, readOptions } from "../options.js";

/** What {@link readModelArchive} gives. */
export interface ModelArchive {
  /** The name that the archive asks to be served under. */
  readonly modelName: string;
  /** The version that it asks to be served under: any text, often `1.0`. */
  readonly modelVersion: string;
  /** The handler: a Python file of the archive, or the name of one that TorchServe has. */
  readonly handler: string;
  /** The model file's name in the archive. */
  readonly serializedFile: string;
  /** The model file's contents: TorchScript, for `LeNet5.load` or `ScriptModule.load`. */
  readonly model: Uint8Array;
  /** One name a class, where the archive has an `index_to_name.json` with one for each. */
  readonly classNames?: readonly string[];
}

/** Most bytes that compressed contents may inflate to together: 1 GiB. */
const MAX_INFLATED_BYTES = 2 ** 30;
/** Most bytes of a JSON file in it. */
const MAX_JSON_BYTES = 2 ** 24;

/**
 * Reads a TorchServe model archive, as `exportModelArchive` and `torch-model-archiver` write it: the whole zip file is
 * proven first, and nothing of it is run.
 *
 * @param source - a path, a `file:` URL, the file's contents, or a `Blob`
 * @throws LENET5_MODEL_NOT_FOUND, LENET5_MODEL_CORRUPT for anything but a whole archive with a manifest and the model file
 * that it names, LENET5_MODEL_TOO_LARGE, LENET5_FILE_READ_FAILED, LENET5_INVALID_ARGUMENT, LENET5_UNKNOWN_OPTION,
 * LENET5_INVALID_OPTION, LENET5_ABORTED
 */
export async function readModelArchive(
  source: ModelSource,
  options: { signal?: AbortSignal } = {},
): Promise<ModelArchive> {
  const { signal } = readOptions(options, ["signal"], "readModelArchive");
  optionalSignal(signal);
  const where = modelName(source);
  const corrupt = (what: string, received: string): LeNet5Error =>
    expectedButGot("MODEL_CORRUPT", what, where, received);
  const bytes = await readModelBytes(source, "readModelArchive", { signal });
  const limits = { what: "a model archive", where, maxInflatedBytes: MAX_INFLATED_BYTES };
  const entries = new Map((await checkZip(bytes, limits)).map((entry) => [entry.name, entry]));
  const jsonOf = async (name: string): Promise<unknown> => {
    const entry = entries.get(name);
    if (entry === undefined) return undefined;
    if (entry.size > MAX_JSON_BYTES) throw corrupt(`at most ${MAX_JSON_BYTES} bytes of ${name}`, `${entry.size}`);
    try {
      return JSON.parse((await readZipEntry(bytes, entry)).toString("utf8"));
    } catch {
      throw corrupt(`JSON in ${name}`, "text that does not parse");
    }
  };
  const manifest = await jsonOf("MAR-INF/MANIFEST.json");
  if (manifest === undefined) throw corrupt("a model archive", "a zip file without MAR-INF/MANIFEST.json");
  const model = isObject(manifest) && isObject(manifest.model) ? manifest.model : {};
  const text = (name: string, fallback?: string): string => {
    const value = model[name] ?? fallback;
    if (typeof value !== "string" || value === "") throw corrupt(`a text for model.${name} in its manifest`, "none");
    return value;
  };
  const serializedFile = text("serializedFile");
  const entry = entries.get(serializedFile);
  if (entry === undefined) throw corrupt(`the file ${JSON.stringify(serializedFile)} of its manifest`, "none");
  const classNames = classNamesOf(await jsonOf("index_to_name.json"));
  return {
    modelName: text("modelName"),
    modelVersion: String(model.modelVersion ?? "1.0"),
    handler: text("handler", "base_handler"),
    serializedFile,
    model: await readZipEntry(bytes, entry),
    ...(classNames && { classNames }),
  };
}

/** Names by index; undefined where they are not one for each of 0, 1, 2, …: other handlers have other forms. */
function classNamesOf(names: unknown): string[] | undefined {
  if (!isObject(names) || Array.isArray(names)) return undefined;
  const count = Object.keys(names).length;
  const listed = Array.from({ length: count }, (_, i) =>
    Object.hasOwn(names, String(i)) ? names[String(i)] : undefined,
  );
  return count > 0 && listed.every((name) => typeof name === "string") ? (listed as string[]) : undefined;
}
