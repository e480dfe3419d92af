// LeNet-5 as a TorchServe model archive (.mar): a zip with the TorchScript file, a handler for 28×28 grey images, the
// class names and a manifest. TorchServe's own image handlers resize to 224×224 and apply ImageNet's normalisation,
// so the archive brings its own.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { buffer as collect } from "node:stream/consumers";
import type Yazl from "yazl";
import { packageRoot } from "#package-root";
import { bytesOf } from "../byte-source.js";
import { expected, expectedButGot } from "../errors.js";
import { checkZip, readZipEntry } from "../formats/zip-check.js";
import { lazily } from "../lazily.js";
import { deliver, type ExportableModel, type ExportOptions, exportRequest } from "./exportable-model.js";

const yazl = lazily<typeof Yazl>("yazl");

/** Options of {@link exportModelArchive}. */
export interface ModelArchiveOptions extends ExportOptions {
  /** The name that the model is served under: letters, digits, `_`, `-` and `.`. @defaultValue "lenet5" */
  modelName?: string;
  /** The version that it is served under. @defaultValue "1.0" */
  version?: string;
}

const HANDLER = "lenet5_handler.py";
const SERIALIZED = "lenet5.pt";
/** The archiver whose manifest format this is. */
const ARCHIVER_VERSION = "0.12.0";
const NAME = /^[A-Za-z0-9][A-Za-z0-9_\-.]*$/;

/**
 * A model as a TorchServe archive: resolves to the bytes, or with a path writes the file, whole or not at all. Served, it
 * takes an image file (`curl -T seven.png`) or pixels, and answers `{"label": "7", "probability": …, "probabilities": […]}`.
 *
 * @throws LENET5_INVALID_ARGUMENT, LENET5_UNKNOWN_OPTION, LENET5_INVALID_OPTION, LENET5_FILE_BUSY, LENET5_FILE_WRITE_FAILED,
 * LENET5_EXPORT_UNVERIFIED, LENET5_ABORTED and the errors of the model's `toTorchScript`
 */
export function exportModelArchive(model: ExportableModel, options?: ModelArchiveOptions): Promise<Uint8Array>;
export function exportModelArchive(model: ExportableModel, path: string, options?: ModelArchiveOptions): Promise<void>;
export async function exportModelArchive(model: ExportableModel, ...rest: unknown[]): Promise<unknown> {
  const known = ["modelName", "version", "signal"] as const;
  const request = exportRequest<ModelArchiveOptions>(model, rest, known, "exportModelArchive");
  const { modelName = "lenet5", version = "1.0", signal } = request.options;
  for (const [name, value] of Object.entries({ modelName, version })) {
    if (typeof value !== "string" || !NAME.test(value)) {
      throw expected("INVALID_OPTION", "letters, digits, _, - and . with a letter or digit first", name, value);
    }
  }
  const classNames = [...model.classNames];
  const archive = bytesOf(await model.toTorchScript(signal === undefined ? {} : { signal }));
  if (archive === undefined) throw expected("INVALID_ARGUMENT", "a LeNet5", "exportModelArchive: model", model);
  const contents = new Map<string, Buffer>([
    ["MAR-INF/MANIFEST.json", json(manifest(modelName, version))],
    [SERIALIZED, Buffer.from(archive)],
    [HANDLER, await readFile(join(packageRoot, "lib", "export", HANDLER))],
    ["index_to_name.json", json(Object.fromEntries(classNames.map((name, index) => [index, name])))],
  ]);
  return deliver(await zipOf(contents), request, (bytes, where) => requireContents(bytes, contents, where));
}

function manifest(modelName: string, modelVersion: string): object {
  const two = (value: number): string => String(value).padStart(2, "0");
  const now = new Date();
  const day = `${two(now.getDate())}/${two(now.getMonth() + 1)}/${now.getFullYear()}`;
  return {
    createdOn: `${day} ${two(now.getHours())}:${two(now.getMinutes())}:${two(now.getSeconds())}`,
    runtime: "python",
    model: { modelName, serializedFile: SERIALIZED, handler: HANDLER, modelVersion },
    archiverVersion: ARCHIVER_VERSION,
  };
}

/** TorchServe unpacks with a streaming reader, which needs sizes ahead of contents: whole buffers give it those. */
function zipOf(contents: ReadonlyMap<string, Buffer>): Promise<Buffer> {
  const zip = new (yazl().ZipFile)();
  for (const [name, bytes] of contents) zip.addBuffer(bytes, name, { compress: name !== SERIALIZED });
  zip.end();
  return collect(zip.outputStream);
}

async function requireContents(
  archive: Uint8Array,
  contents: ReadonlyMap<string, Buffer>,
  where: string,
): Promise<void> {
  const limits = { what: "a model archive", where, maxInflatedBytes: 2 ** 24 };
  const entries = new Map((await checkZip(archive, limits)).map((entry) => [entry.name, entry]));
  for (const [name, bytes] of contents) {
    const entry = entries.get(name);
    if (entry === undefined || !bytes.equals(await readZipEntry(archive, entry))) {
      throw expectedButGot("EXPORT_UNVERIFIED", `"${name}" as it was given`, `${where}, read back,`, "other contents");
    }
  }
}

function json(value: object): Buffer {
  return Buffer.from(`${JSON.stringify(value, null, 2)}\n`, "utf8");
}
