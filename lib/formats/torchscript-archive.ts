// What must hold of a TorchScript file before libtorch sees it: a whole zip file with the entries of an archive.
// It does not make a file trustworthy: TorchScript is code, and a file from a stranger is code from a stranger.
import { expectedButGot, isLeNet5Error, type LeNet5Error } from "../errors.js";
import { imageFormatOf } from "./image-signature.js";
import { checkZip, readZipEntry, type ZipEntry } from "./zip-check.js";
import { type ZipSource, zipInMemory } from "./zip-source.js";

/** Most bytes that an archive's deflated entries (code and its debug tables) may inflate to together: 256 MiB. */
const MAX_INFLATED_BYTES = 256 * 1024 * 1024;

/** The name of a tensor's contents. */
const TENSOR = /^[^/]+\/(?:data|constants)\/[^/]+$/;

/** A TorchScript archive that has been proven whole. */
export interface TorchScriptArchive {
  /**
   * Reads an entry, named from the archive's folder on (`data.pkl`, `data/0`).
   * @returns undefined where there is no such entry or where it has more than `most` bytes
   */
  read(name: string, most: number): Promise<Buffer | undefined>;
  /** Tensors whose contents were left unread, in order of their offsets. */
  left: readonly ZipEntry[];
  /** Files that were saved with the module, with their sizes in bytes. */
  extraFiles: readonly { name: string; bytes: number }[];
  /**
   * True where loading the module may look at its tensors: a `__setstate__`, or objects of a class of C++, which have one of
   * their own.
   */
  looksAtTensors(): Promise<boolean>;
}

/** Options of {@link checkTorchScriptArchive}. */
export interface TorchScriptArchiveCheck {
  /** The file's name for error messages. @defaultValue "model" */
  where?: string;
  /**
   * Tensors of at least so many bytes are left unread: whoever reads their contents holds them against their CRC-32.
   * @defaultValue none are
   */
  leaveFrom?: number;
}

/**
 * Checks the bytes of a TorchScript file completely: zip structure, entry names, local headers against the directory,
 * overlaps, sizes, every entry's CRC-32, and the entries that make an archive (`data.pkl`, `constants.pkl`, `code/`,
 * `version`). Yields to the event loop every few milliseconds. The bytes must not change until libtorch has read them.
 *
 * @param contents - the whole file
 * @returns access to its entries
 * @throws LENET5_MODEL_CORRUPT for anything but a whole archive, with what it looks like instead;
 * LENET5_MODEL_TOO_LARGE where compressed entries declare more than 256 MiB
 */
export async function checkTorchScriptArchive(
  contents: Uint8Array | ZipSource,
  options: TorchScriptArchiveCheck = {},
): Promise<TorchScriptArchive> {
  const where = options.where ?? "model";
  const corrupt = (received: string): LeNet5Error =>
    expectedButGot("MODEL_CORRUPT", "a TorchScript archive", where, received);
  const source = "held" in contents ? contents : zipInMemory(contents);
  const head = await source.read(0, Math.min(512, source.size));
  if (head.length < 4 || head[0] !== 0x50 || head[1] !== 0x4b) {
    throw corrupt(describeContents("held" in contents ? head : contents));
  }
  const leaveFrom = options.leaveFrom ?? Number.POSITIVE_INFINITY;
  const leaves = (name: string, size: number): boolean => size >= leaveFrom && TENSOR.test(name);
  const limits = { what: "a TorchScript archive", where, maxInflatedBytes: MAX_INFLATED_BYTES, leaves };
  const entries = await checkZip(source, limits).catch((error: unknown) => {
    if (isLeNet5Error(error)) throw error;
    throw expectedButGot("MODEL_CORRUPT", limits.what, where, `a damaged zip file (${(error as Error).message})`);
  });
  // libtorch takes the first entry's top folder as the archive's name and looks for everything below it.
  const root = entries[0]?.name.split("/")[0];
  if (root === undefined || !entries[0]!.name.includes("/")) throw corrupt("a zip file without an archive folder");
  const byName = new Map(entries.map((entry) => [entry.name, entry]));
  const has = (name: string): boolean => byName.has(`${root}/${name}`);
  const hasCode = entries.some((entry) => entry.name.startsWith(`${root}/code/`));
  if (has("data.pkl") && !has("constants.pkl") && !hasCode) {
    throw corrupt(
      "a file of torch.save (pickled Python objects); torch.jit.script(module).save(path) writes TorchScript",
    );
  }
  if (byName.has("MAR-INF/MANIFEST.json"))
    throw corrupt("a TorchServe model archive (.mar); the .pt inside it is TorchScript");
  if (entries.some(({ name }) => name.startsWith(`${root}/data/aotinductor/`))) {
    throw corrupt("a package of AOTInductor (.pt2); CompiledModule.load runs it");
  }
  for (const name of ["data.pkl", "constants.pkl"]) {
    if (!has(name)) throw corrupt(`a zip file without "${root}/${name}"`);
  }
  if (!hasCode) throw corrupt(`a zip file without "${root}/code/"`);
  await checkVersion(source, byName.get(`${root}/.data/version`) ?? byName.get(`${root}/version`), root, corrupt);
  const extra = `${root}/extra/`;
  const below = (folder: string): ZipEntry[] => entries.filter(({ name }) => name.startsWith(`${root}/${folder}`));
  return {
    async read(name, most) {
      const entry = byName.get(`${root}/${name}`);
      return entry === undefined || entry.size > most ? undefined : await readZipEntry(source, entry);
    },
    left: entries
      .filter(({ name, deflated, storedBytes }) => !deflated && leaves(name, storedBytes))
      .sort((a, b) => a.start - b.start),
    extraFiles: below("extra/").map(({ name, size }) => ({ name: name.slice(extra.length), bytes: size })),
    async looksAtTensors() {
      for (const entry of [...below("code/"), ...below("data.pkl"), ...below("constants.pkl")]) {
        const text = await readZipEntry(source, entry);
        if (text.includes("__setstate__") || text.includes("torch.classes")) return true;
      }
      return false;
    },
  };
}

async function checkVersion(
  source: ZipSource,
  entry: ZipEntry | undefined,
  root: string,
  corrupt: (received: string) => LeNet5Error,
): Promise<void> {
  if (entry === undefined) throw corrupt(`a zip file without "${root}/version"`);
  const version = entry.size <= 16 ? (await readZipEntry(source, entry)).toString("latin1") : "";
  if (!/^\d{1,9}\s*$/.test(version)) throw corrupt("an archive whose version is not a number");
}

/** Names what a file's first bytes look like, for the tail of an error message. */
export function describeContents(bytes: Uint8Array): string {
  if (bytes.length === 0) return "an empty file";
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 512));
  const starts = (text: string): boolean => head.subarray(0, text.length).equals(Buffer.from(text, "latin1"));
  if (starts("PK")) return "a zip file";
  const image = imageFormatOf(bytes);
  if (image !== undefined) return `a ${image} image`;
  if (starts("\x1f\x8b")) return "a gzip file";
  if (starts("\x89HDF")) return "an HDF5 file (Keras saves those)";
  if (head.length >= 10 && head[8] === 0x7b && head.readBigUInt64LE(0) + 8n <= BigInt(bytes.length))
    return "a safetensors file";
  if (head[0] === 0x80 && head[1]! <= 5) return "a pickle (an old file of torch.save perhaps)";
  if (head[0] === 0x08 && head[1]! <= 20 && head.includes(Buffer.from("onnx"))) return "an ONNX file";
  if (head.every((byte) => (byte >= 0x20 && byte !== 0x7f) || (byte >= 0x09 && byte <= 0x0d))) {
    return head.toString("utf8").includes("\ufffd") ? "unknown bytes" : "a text file";
  }
  return "unknown bytes";
}
