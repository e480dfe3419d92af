// Takes a libtorch out of a wheel or of the official zip archive: headers, and the libraries that are needed here. A
// wheel of 530 MB holds 1 GB of CUDA code, which a CPU machine has no use for.
//
// Problem: what is unpacked here is run later, so a bit that a disk or a network turned must not get through; half a
// gigabyte should not be read twice for that. Resolution: each entry is held, while it is unpacked, against the zip's
// CRC-32 (which yauzl does not look at) and in a wheel against the size and SHA-256 of the wheel's own RECORD.
import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { mkdir } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { Transform } from "node:stream";
import { text } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { crc32 } from "node:zlib";
import { type Entry, openPromise, type ZipFile } from "yauzl";
import { throwIfAborted } from "../abort.js";
import { isLeNet5Error, LeNet5Error } from "../errors.js";
import { parseRecord, type RecordedFile } from "./wheel-record.js";

/** Libraries that only CUDA or Python need; libtorch.so and libtorch_global_deps only tie the others together. */
const CUDA_LIBRARY =
  /^(lib)?(torch\.so|torch_global_deps|torch_cuda|c10_cuda|caffe2_nvrtc|torch_nvshmem|cudart|cudnn|cublas|nvrtc|nvToolsExt)/;
const UNNEEDED_LIBRARY = /^(lib)?(torch_python|shm)|_windows|\.a$|\.pyd$/;
/** No library of a libtorch is larger; what declares more is not unpacked. */
const LARGEST_ENTRY = 4 * 2 ** 30;
/** What is read into memory, METADATA and RECORD, may be this large; torch's RECORD has 1.5 MB. */
const LARGEST_TEXT = 64 * 2 ** 20;
/** No libtorch has as many files, and each takes a kilobyte of memory; a torch wheel has 15,000. */
const MOST_ENTRIES = 200_000;
/** Entries that are unpacked at once. */
const AT_ONCE = 8;
const METADATA = /^[^/]+\.dist-info\/METADATA$/;
const RECORD = /^[^/]+\.dist-info\/RECORD$/;

/** What {@link unpackLibtorch} is told. */
export interface UnpackOptions {
  /** Keeps the CUDA libraries too. */
  cuda?: boolean | undefined;
  /** The SHA-256 that a wheel's RECORD must have. */
  record?: string | undefined;
  signal?: AbortSignal | undefined;
}

/** Where an archive's entry goes below the target, or `undefined` where it is not needed. */
type Placement = (name: string) => string | undefined;

/** The place of an entry of a torch wheel (`torch/…`, `torch.libs/…`) or of the official archive (`libtorch/…`). */
function libtorchPlacement(cuda: boolean): Placement {
  return (name) => {
    const inside = /^(?:torch|libtorch)\/(.+)$/.exec(name)?.[1];
    const beside = /^torch\.libs\/([^/]+)$/.exec(name)?.[1];
    const library = beside ?? /^lib\/([^/]+)$/.exec(inside ?? "")?.[1];
    if (library) {
      if (UNNEEDED_LIBRARY.test(library) || (!cuda && CUDA_LIBRARY.test(library))) return undefined;
      return join("lib", library);
    }
    return inside && (inside.startsWith("include/") || /^(version\.py|build-version|build-hash)$/.test(inside))
      ? inside
      : undefined;
  };
}

/** Whether an entry of an archive is unpacked, or read, for a libtorch. */
export function isNeeded(name: string, cuda: boolean): boolean {
  return METADATA.test(name) || RECORD.test(name) || libtorchPlacement(cuda)(name) !== undefined;
}

/** The place of an entry of one of NVIDIA's wheels: its libraries, in one folder with those of libtorch. */
const nvidiaPlacement: Placement = (name) =>
  /^nvidia\/.*\/lib[^/]+\.so[.0-9]*$/.test(name) ? join("lib", basename(name)) : undefined;

/**
 * The place of an entry of one of NVIDIA's wheels for a libtorch with CUDA: its libraries where the wheel has them, since
 * libraries find one another by their places (`$ORIGIN/../../nvidia/cu13/lib`); of the runtime also the headers, which the
 * addon's part for CUDA is compiled with.
 */
const cudaPlacement = (headers: boolean): Placement => {
  return (name) => {
    if (/^nvidia\/(?:[^/]+\/)*lib\/[^/]+\.so(?:\.\d+)*$/.test(name)) return name;
    return headers && /^nvidia\/(?:[^/]+\/)*include\/.+\.(?:h|hpp|inl)$/.test(name) ? name : undefined;
  };
};

/**
 * Unpacks a torch wheel or an official libtorch archive.
 *
 * @returns contents of the wheel's METADATA, which names the packages that go with it; empty for an archive
 * @throws LeNet5Error `LENET5_LIBTORCH_INSTALL_FAILED`, `LENET5_ABORTED`
 */
export async function unpackLibtorch(archive: string, target: string, options: UnpackOptions): Promise<string> {
  const { metadata, count } = await unpack(archive, target, libtorchPlacement(options.cuda === true), options);
  if (count === 0) throw failed(archive, "it holds no libtorch (torch/… or libtorch/…)");
  return metadata;
}

/** Unpacks those libraries of an NVIDIA wheel whose names `wanted` takes. */
export async function unpackNvidia(
  archive: string,
  target: string,
  wanted: (name: string) => boolean,
  signal: AbortSignal | undefined,
): Promise<void> {
  await unpack(archive, target, (name) => (wanted(basename(name)) ? nvidiaPlacement(name) : undefined), { signal });
}

/** Unpacks the libraries of an NVIDIA wheel, each at its place in the wheel. @returns their number */
export async function unpackCudaWheel(
  archive: string,
  target: string,
  signal: AbortSignal | undefined,
): Promise<number> {
  const headers = basename(archive).startsWith("nvidia_cuda_runtime");
  return (await unpack(archive, target, cudaPlacement(headers), { signal })).count;
}

/** A wheel's METADATA. */
export async function metadataOf(archive: string, signal: AbortSignal | undefined): Promise<string> {
  return (await unpack(archive, dirname(archive), () => undefined, { signal })).metadata;
}

async function unpack(archive: string, target: string, place: Placement, { record: known, signal }: UnpackOptions) {
  let metadata = "";
  let count = 0;
  // yauzl refuses names that lead out of the target: absolute ones, "..", backslashes.
  const zip = await openPromise(archive, { autoClose: false }).catch((cause: Error) => {
    throw failed(archive, cause.message, cause);
  });
  try {
    // The list of entries stands at the end of the archive: nothing is unpacked to have it.
    const entries = await entriesOf(zip);
    const record = await recordOf(zip, archive, entries, known);
    const folders = new Set<string>();
    const take = async (entry: Entry): Promise<void> => {
      throwIfAborted(signal);
      const name = entry.fileName;
      if (name.endsWith("/")) return;
      if (METADATA.test(name)) {
        metadata = await readText(zip, archive, entry, record);
        return;
      }
      const placed = place(name);
      if (!placed) return;
      if (entry.uncompressedSize > LARGEST_ENTRY) throw failed(archive, `${name} is too large`);
      const path = join(target, placed);
      const folder = dirname(path);
      if (!folders.has(folder)) await mkdir(folder, { recursive: true });
      folders.add(folder);
      const mode = /\.so(?:\.\d+)*$/.test(placed) || placed.startsWith("lib") ? 0o755 : 0o644;
      await proven(archive, entry, record, signal, async (check) => {
        await pipeline(await zip.openReadStreamPromise(entry), check, createWriteStream(path, { mode, flags: "wx" }));
      });
      count++;
    };
    // Thousands of small files, each of which waits for the disk several times: some of them wait together.
    const queue = entries.values();
    let failure: { cause: unknown } | undefined;
    const worker = async (): Promise<void> => {
      for (const entry of queue) {
        if (failure) return;
        await take(entry).catch((cause) => {
          failure ??= { cause };
        });
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
    if (failure) throw (failure as { cause: unknown }).cause;
  } catch (cause) {
    throwIfAborted(signal);
    if (isLeNet5Error(cause)) throw cause;
    throw failed(archive, (cause as Error).message, cause);
  } finally {
    zip.close();
  }
  return { metadata, count };
}

/** The list of an archive's entries. */
export async function entriesOf(zip: ZipFile): Promise<Entry[]> {
  if (zip.entryCount > MOST_ENTRIES) throw new Error(`it claims ${zip.entryCount} entries, more than a libtorch has`);
  const entries: Entry[] = [];
  for await (const entry of zip.eachEntry() as AsyncIterable<Entry>) entries.push(entry);
  return entries;
}

/** A wheel's RECORD; `undefined` for an archive that is no wheel and has none. */
async function recordOf(
  zip: ZipFile,
  archive: string,
  entries: readonly Entry[],
  known: string | undefined,
): Promise<Map<string, RecordedFile> | undefined> {
  const records = entries.filter(({ fileName }) => RECORD.test(fileName));
  const isWheel = archive.endsWith(".whl") || entries.some(({ fileName }) => /^[^/]+\.dist-info\//.test(fileName));
  if (!isWheel && known === undefined) return undefined;
  const [record] = records;
  if (record === undefined || records.length > 1) throw failed(archive, `the wheel has ${records.length} RECORDs`);
  const contents = await readText(zip, archive, record, undefined);
  if (known !== undefined && createHash("sha256").update(contents).digest("hex") !== known) {
    throw failed(archive, "its RECORD is not the one of this wheel that is known");
  }
  return parseRecord(contents);
}

async function readText(
  zip: ZipFile,
  archive: string,
  entry: Entry,
  record: Map<string, RecordedFile> | undefined,
): Promise<string> {
  if (entry.uncompressedSize > LARGEST_TEXT) throw failed(archive, `${entry.fileName} is too large`);
  return await proven(archive, entry, record, undefined, async (check) => {
    const [contents] = await Promise.all([text(check), pipeline(await zip.openReadStreamPromise(entry), check)]);
    return contents;
  });
}

/** Reads an entry through a check; whatever fails names the entry. */
async function proven<T>(
  archive: string,
  entry: Entry,
  record: Map<string, RecordedFile> | undefined,
  signal: AbortSignal | undefined,
  read: (check: Transform) => Promise<T>,
): Promise<T> {
  try {
    return await read(proving(archive, entry, record, signal));
  } catch (cause) {
    throw isLeNet5Error(cause) ? cause : failed(archive, `${entry.fileName}: ${(cause as Error).message}`, cause);
  }
}

/** Lets an entry's bytes through and fails at their end where they are not those that the archive was made from. */
function proving(
  archive: string,
  entry: Entry,
  record: Map<string, RecordedFile> | undefined,
  signal: AbortSignal | undefined,
): Transform {
  const name = entry.fileName;
  const recorded = record?.get(name);
  if (record !== undefined && recorded === undefined) throw failed(archive, `its RECORD has no checksum of ${name}`);
  const hash = recorded === undefined ? undefined : createHash(recorded.algorithm);
  let crc = 0;
  let size = 0;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      if (signal?.aborted) return done(new Error("aborted"));
      crc = crc32(chunk, crc);
      hash?.update(chunk);
      size += chunk.length;
      done(null, chunk);
    },
    flush(done) {
      if (crc !== entry.crc32) return done(failed(archive, `${name} is damaged: its CRC-32 does not match`));
      if (recorded === undefined || hash === undefined) return done();
      if (size !== recorded.size) {
        return done(failed(archive, `${name} has ${size} bytes and not the ${recorded.size} of RECORD`));
      }
      const matches = hash.digest("base64url") === recorded.digest.replace(/=+$/, "");
      done(matches ? null : failed(archive, `${name} differs from its ${recorded.algorithm} in RECORD`));
    },
  });
}

function failed(archive: string, reason: string, cause?: unknown): LeNet5Error {
  return new LeNet5Error(
    "LIBTORCH_INSTALL_FAILED",
    `Expected a torch wheel or a libtorch archive in ${archive} but ${reason}`,
    {
      cause,
    },
  );
}
