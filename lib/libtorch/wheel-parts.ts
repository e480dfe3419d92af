// Fetches of an archive on a server only the parts that a libtorch is made of: for the CPU a quarter of PyPI's wheel, which
// is the CUDA build, and for CUDA what is not Python's, several at once.
//
// Problem: the package index proves a wheel as a whole, by its SHA-256, and parts of it cannot be held against that.
// RECORD, inside the wheel, has the SHA-256 of each file; but it comes over the same line as the files. (PEP 658's hash
// covers METADATA alone.) Resolution: for the wheels of the pinned version this package itself carries the SHA-256 of RECORD
// (pinned-wheels.ts, made from whole wheels), so every byte of torch's own that is unpacked is proven by what came with the package, whatever
// lies between here and the index. (The CUDA runtime libraries that a CUDA build's CPU part still needs come from wheels of
// their own, whole, and are held against the index's SHA-256.) A wheel that is not among them is fetched whole and held against the index. An archive that
// the user named by its address was never proven by more than its own checksums and the line it came over: its parts are
// just as good. Whatever goes wrong on this way, the whole file is fetched instead.
import { mkdir, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { fromRandomAccessReaderPromise, RandomAccessReader } from "yauzl";
import { throwIfAborted } from "../abort.js";
import { isLeNet5Error } from "../errors.js";
import { type ByteRange, joined, RangedFile } from "../ranged-download.js";
import { filesOf, LARGEST_WHEEL, percentLines, platformTags, WHEEL_TIMEOUTS } from "./package-index.js";
import { PINNED_WHEELS } from "./pinned-wheels.js";
import { entriesOf, isNeeded, unpackLibtorch } from "./unpack.js";

/** Needed parts with less than this between them are fetched as one: a request costs as much as so many bytes. */
const GAP = 256 * 1024;
/** What may stand around an entry's bytes: its header with a name and extra fields, and a descriptor behind it. */
const AROUND_ENTRY = 30 + 2 * 65_536 + 24;
/** Milliseconds until the index must have answered; pip's way is tried next. */
const INDEX_TIMEOUT = 10_000;

/** An archive on a server. */
export interface RemoteArchive {
  url: string;
  /** Its name. */
  file: string;
  size?: number | undefined;
  /** SHA-256 of its RECORD, where it is known. */
  record?: string | undefined;
}

/** What is told on the way. */
export interface PartsOptions {
  /** The parts that CUDA needs too. */
  cuda?: boolean | undefined;
  log: (line: string) => void;
  signal?: AbortSignal | undefined;
}

/** The pinned version's wheel for this machine, if the index has it and answers. @throws LENET5_ABORTED */
export async function pinnedWheel(index: string, { log, signal }: PartsOptions): Promise<RemoteArchive | undefined> {
  const tags = platformTags();
  try {
    const files = await filesOf("torch", index, signal, INDEX_TIMEOUT);
    for (const { filename, url, size, yanked } of files) {
      const record = Object.hasOwn(PINNED_WHEELS, filename) ? PINNED_WHEELS[filename] : undefined;
      const platforms =
        filename
          .replace(/\.whl$/, "")
          .split("-")
          .at(-1)
          ?.split(".") ?? [];
      if (record === undefined || yanked || !platforms.some((tag) => tags.includes(tag))) continue;
      return { url, file: filename, size, record };
    }
    log(`${index} does not list the wheel whose parts could be fetched`);
  } catch (error) {
    throwIfAborted(signal);
    log(`No parts of a wheel from ${index}: ${(error as Error).message}`);
  }
  return undefined;
}

/**
 * Fetches the parts that are needed and unpacks them.
 *
 * @param folder - for the archive with holes
 * @returns the wheel's METADATA, or `undefined` where the whole file has to be fetched; then `made` is empty again
 * @throws LENET5_ABORTED, LENET5_FILE_WRITE_FAILED, and what `log` throws
 */
export async function unpackParts(
  archive: RemoteArchive,
  made: string,
  folder: string,
  { cuda = false, log, signal }: PartsOptions,
): Promise<string | undefined> {
  // The name says whether it is a wheel.
  const target = join(folder, basename(archive.file));
  let thrown: { error: unknown } | undefined;
  const tell = (line: string): void => {
    try {
      log(line);
    } catch (error) {
      thrown = { error };
      throw error;
    }
  };
  await mkdir(folder, { recursive: true });
  try {
    await fetchParts(archive, target, { cuda, log: tell, signal });
    tell(`Unpacking ${archive.file}`);
    return await unpackLibtorch(target, made, { cuda, record: archive.record, signal });
  } catch (error) {
    if (thrown) throw thrown.error;
    throwIfAborted(signal);
    if (isLeNet5Error(error) && error.code === "LENET5_FILE_WRITE_FAILED") throw error;
    log(`No parts from ${new URL(archive.url).host} (${(error as Error).message}): fetching the whole file`);
    await rm(made, { recursive: true, force: true });
    await mkdir(made);
    return undefined;
  } finally {
    await rm(target, { force: true });
  }
}

async function fetchParts(
  { url, file, size }: RemoteArchive,
  target: string,
  { cuda = false, log, signal }: PartsOptions,
): Promise<void> {
  let report = (_bytes: number): void => {};
  const remote = await RangedFile.open({
    url,
    target,
    size,
    maxBytes: LARGEST_WHEEL,
    ...WHEEL_TIMEOUTS,
    signal,
    onBytes: (bytes) => report(bytes),
  });
  try {
    const parts = await neededParts(remote, cuda);
    const total = remote.missingBytes(parts);
    const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(0)} MB`;
    log(`Fetching ${megabytes(total)} of the ${megabytes(remote.size)} of ${url}`);
    const line = percentLines(file, log);
    const before = remote.receivedBytes;
    report = (bytes) => line(bytes - before, total);
    await remote.fetch(parts);
  } finally {
    await remote.close();
  }
}

/** Where in the archive the entries lie that are needed. */
async function neededParts(remote: RangedFile, cuda: boolean): Promise<ByteRange[]> {
  const reader = new RemoteReader(remote);
  const zip = await fromRandomAccessReaderPromise(reader, remote.size, { autoClose: false });
  const entries = await entriesOf(zip);
  entries.sort((a, b) => a.relativeOffsetOfLocalHeader - b.relativeOffsetOfLocalHeader);
  const parts = entries.flatMap((entry, i) => {
    if (!isNeeded(entry.fileName, cuda)) return [];
    const start = entry.relativeOffsetOfLocalHeader;
    // An entry's own header may be longer than the one in the list: it goes no further than the next entry.
    const next = entries[i + 1]?.relativeOffsetOfLocalHeader ?? remote.size;
    const end = Math.min(next, start + entry.compressedSize + AROUND_ENTRY, remote.size);
    return [{ start, end }];
  });
  return joined(parts, GAP);
}

/** How yauzl reads the list of entries. */
class RemoteReader extends RandomAccessReader {
  readonly #remote: RangedFile;

  constructor(remote: RangedFile) {
    super();
    this.#remote = remote;
  }

  override read(
    buffer: Buffer,
    offset: number,
    length: number,
    position: number,
    callback: (error: Error | null) => void,
  ): void {
    this.#remote.read(buffer.subarray(offset, offset + length), position).then(
      () => callback(null),
      (error: Error) => callback(error),
    );
  }
}
