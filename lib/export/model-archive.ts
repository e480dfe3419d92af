// LeNet-5 as a TorchServe model archive (.mar): a zip with the TorchScript file, a handler for 28×28 grey images, the
// class names and a manifest. TorchServe's own image handlers resize to 224×224 and apply ImageNet's normalisation,
// so the archive brings its own.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer as collect } from "node:stream/consumers";
import { ZipFile } from "yazl";
import { packageRoot } from "#package-root";
import { expected, expectedButGot } from "../errors.js";
import { writeFileAtomically } from "../files.js";
import { checkZip, readZipEntry } from "../formats/zip-check.js";
import { checkOptionNames } from "../options.js";
import { checkExport, type ExportableModel } from "./exportable-model.js";

/** Options of {@link exportModelArchive}. */
export interface ModelArchiveOptions {
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
 * Writes a model as a TorchServe archive, whole or not at all. Served, it takes an image file (`curl -T seven.png`) or
 * pixels, and answers `{"label": "7", "probability": …, "probabilities": […]}`.
 *
 * @throws LENET5_INVALID_ARGUMENT, LENET5_UNKNOWN_OPTION, LENET5_INVALID_OPTION, LENET5_FILE_BUSY, LENET5_FILE_WRITE_FAILED,
 * LENET5_EXPORT_UNVERIFIED and the errors of the model's `save`
 */
export async function exportModelArchive(
  model: ExportableModel,
  path: string,
  options: ModelArchiveOptions = {},
): Promise<void> {
  checkExport(model, path, "exportModelArchive");
  checkOptionNames(options, ["modelName", "version"], "exportModelArchive");
  const { modelName = "lenet5", version = "1.0" } = options;
  for (const [name, value] of Object.entries({ modelName, version })) {
    if (typeof value !== "string" || !NAME.test(value)) {
      throw expected("INVALID_OPTION", "letters, digits, _, - and . with a letter or digit first", name, value);
    }
  }
  const contents = new Map<string, Buffer>([
    ["MAR-INF/MANIFEST.json", json(manifest(modelName, version))],
    [SERIALIZED, await torchScriptOf(model)],
    [HANDLER, await readFile(join(packageRoot, "lib", "export", HANDLER))],
    ["index_to_name.json", json(Object.fromEntries(model.classNames.map((name, index) => [index, name])))],
  ]);
  await writeFileAtomically(path, await zipOf(contents), {
    verify: async (temporary) => requireContents(await readFile(temporary), contents, path),
  });
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

async function torchScriptOf(model: ExportableModel): Promise<Buffer> {
  const folder = await mkdtemp(join(tmpdir(), "lenet5-archive-"));
  try {
    await model.save(join(folder, SERIALIZED));
    return await readFile(join(folder, SERIALIZED));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** TorchServe unpacks with a streaming reader, which needs sizes ahead of contents: whole buffers give it those. */
function zipOf(contents: ReadonlyMap<string, Buffer>): Promise<Buffer> {
  const zip = new ZipFile();
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
