// Proves that bytes are one whole, unambiguous zip file before anything else reads them.
//
// The problem: libtorch reads archives with a miniz built without CRC checks, trusts what the central directory says,
// and unpickles what it finds; a flipped bit there can end the process instead of throwing. yauzl reads the directory
// strictly, but checks neither CRCs nor whether local headers, directory and end record tell the same story.
// The resolution: yauzl walks the directory; every entry's local header is held against it, no two entries may share
// bytes, and every entry's contents are run through CRC-32. What passes has exactly one reading, so a second reader
// cannot see anything else. Stored contents are checked where they lie, in slices that leave the event loop free;
// deflated ones are inflated through zlib's thread pool, a chunk at a time and never past their declared size.
// Of a file on disk, whoever reads the large entries may check their contents himself: then only what lies between them is
// read here, once, and held.
import { setImmediate as nextTurn } from "node:timers/promises";
import { crc32, createInflateRaw, inflateRawSync } from "node:zlib";
import type Yauzl from "yauzl";
import type { Entry, ZipFile } from "yauzl";
import { expectedButGot, type LeNet5Error } from "../errors.js";
import { lazily } from "../lazily.js";
import { readerOf, type ZipSource, zipInMemory } from "./zip-source.js";

const yauzl = lazily<typeof Yauzl>("yauzl");

/** Limits of {@link checkZip}. */
export interface ZipLimits {
  /** What the bytes should be, for messages, for example `a TorchScript archive`. */
  what: string;
  /** Name of the file or argument, for messages. */
  where: string;
  /** Most bytes that all deflated entries together may declare to inflate to. */
  maxInflatedBytes: number;
  /**
   * Which stored entries are left unread: whoever reads their contents holds them against `crc32`.
   * @defaultValue none
   */
  leaves?: (name: string, size: number) => boolean;
}

/** One proven entry of a zip file. */
export interface ZipEntry {
  /** Full name, UTF-8. */
  name: string;
  /** Size of the contents in bytes. */
  size: number;
  /** Offset of the stored bytes in the file, after the local header. */
  start: number;
  /** Number of stored bytes; differs from `size` where deflated. */
  storedBytes: number;
  deflated: boolean;
  /** CRC-32 of the contents. */
  crc32: number;
}

const STORED = 0;
const DEFLATED = 8;
const HAS_DATA_DESCRIPTOR = 0x0008;
const CHUNK = 4 * 1024 * 1024; // CRC-32 of 4 MiB takes 1.5 to 4 ms
const END_RECORD = 22;
const ZIP64_LOCATOR = 20;
const ZIP64_SENTINEL = 0xffffffff;
/** A millisecond's work. */
const INFLATED_AT_ONCE = 128 * 1024;

/** What inflateRawSync gives with `info`. */
interface InflatedWithInfo {
  buffer: Buffer;
  engine: { bytesWritten: number };
}

const LOCAL_HEADER = 30;
/** What is read from a local header's name on, to have its extra field too: PyTorch pads with up to 64 bytes. */
const EXTRA = 1024;

/**
 * Checks a zip file completely: structure, local headers, names, overlaps, declared sizes and every CRC-32.
 * @returns its entries, in the order of the central directory
 * @throws LENET5_MODEL_CORRUPT, LENET5_MODEL_TOO_LARGE
 */
export async function checkZip(contents: Uint8Array | ZipSource, limits: ZipLimits): Promise<ZipEntry[]> {
  const source = sourceOf(contents);
  const corrupt = (received: string): LeNet5Error =>
    expectedButGot("MODEL_CORRUPT", limits.what, limits.where, received);
  const options = { decodeStrings: false, autoClose: false };
  const zip = await yauzl()
    .fromRandomAccessReaderPromise(readerOf(source, yauzl().RandomAccessReader), source.size, options)
    .catch((error: Error) => {
      throw corrupt(`a damaged or truncated zip file (${error.message})`);
    });
  const directory = await endOfDirectory(source, corrupt);
  await source.hold([{ start: directory.offset, end: source.size }]);
  const entries = await entriesOf(zip, directory.size, limits, corrupt);
  const isLeft = ({ entry, name }: { entry: Entry; name: string }): boolean =>
    entry.compressionMethod === STORED && limits.leaves?.(name, entry.compressedSize) === true;
  const left = new Set(entries.filter(isLeft).map(({ entry }) => entry));
  await source.hold(rangesBetween([...left], directory.offset));
  const found: { entry: Entry; proven: ZipEntry }[] = [];
  for (const { entry, name } of entries) {
    const start = await checkLocalHeader(zip, entry, name, corrupt);
    const deflated = entry.compressionMethod === DEFLATED;
    const { uncompressedSize: size, compressedSize: storedBytes, crc32 } = entry;
    found.push({ entry, proven: { name, size, start, storedBytes, deflated, crc32 } });
  }
  checkOverlaps(found, directory.offset, corrupt);
  for (const { entry, proven } of found) {
    if (left.has(entry)) continue;
    const actual = await crcOf(source, proven, corrupt);
    if (actual !== entry.crc32) throw corrupt(`a damaged file: the checksum of ${quote(proven.name)} does not match`);
  }
  return found.map(({ proven }) => proven);
}

function sourceOf(contents: Uint8Array | ZipSource): ZipSource {
  return "held" in contents ? contents : zipInMemory(contents);
}

/** The entries of the directory, each by itself in order. */
async function entriesOf(
  zip: ZipFile,
  directorySize: number,
  limits: ZipLimits,
  corrupt: (received: string) => LeNet5Error,
): Promise<{ entry: Entry; name: string }[]> {
  const names = new Set<string>();
  const found: { entry: Entry; name: string }[] = [];
  let inflatedBytes = 0;
  let directoryBytes = 0;
  for await (const entry of eachEntry(zip, corrupt)) {
    const name = entryName(entry, corrupt);
    if (names.has(name)) throw corrupt(`a zip file that holds ${quote(name)} twice`);
    names.add(name);
    directoryBytes += 46 + entry.fileNameLength + entry.extraFieldLength + entry.fileCommentLength;
    if ((entry.generalPurposeBitFlag & 1) !== 0) throw corrupt(`a zip file with the encrypted entry ${quote(name)}`);
    const deflated = entry.compressionMethod === DEFLATED;
    if (!deflated && entry.compressionMethod !== STORED) {
      throw corrupt(`a zip file whose entry ${quote(name)} is compressed by method ${entry.compressionMethod}`);
    }
    if (deflated) {
      inflatedBytes += entry.uncompressedSize;
      if (!(inflatedBytes <= limits.maxInflatedBytes)) {
        throw expectedButGot(
          "MODEL_TOO_LARGE",
          `at most ${limits.maxInflatedBytes} bytes of compressed contents, inflated,`,
          limits.where,
          `a file that declares ${inflatedBytes} bytes up to ${quote(name)}`,
        );
      }
    }
    found.push({ entry, name });
  }
  if (directoryBytes !== directorySize) {
    throw corrupt("a zip file whose directory differs in size from what its end record declares");
  }
  return found;
}

/** What lies between the contents of entries, up to `end`: their headers, and all other entries. */
function rangesBetween(entries: readonly Entry[], end: number): { start: number; end: number }[] {
  const ordered = [...entries].sort((a, b) => a.relativeOffsetOfLocalHeader - b.relativeOffsetOfLocalHeader);
  const ranges: { start: number; end: number }[] = [];
  let start = 0;
  const add = (to: number): void => {
    if (to > start) ranges.push({ start, end: Math.min(to, end) });
  };
  for (const { relativeOffsetOfLocalHeader, fileNameLength, compressedSize } of ordered) {
    const name = relativeOffsetOfLocalHeader + LOCAL_HEADER + fileNameLength;
    add(name + Math.min(EXTRA, compressedSize));
    start = Math.max(start, name + compressedSize);
  }
  add(end);
  return ranges.filter((range) => range.end > range.start);
}

/** Reads one proven entry's contents; inflates at most its declared size. */
export async function readZipEntry(contents: Uint8Array | ZipSource, entry: ZipEntry): Promise<Buffer> {
  const stored = await sourceOf(contents).read(entry.start, entry.storedBytes);
  if (!entry.deflated) return stored;
  const chunks: Buffer[] = [];
  for await (const chunk of inflated(stored, entry.size)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function* eachEntry(zip: ZipFile, corrupt: (received: string) => LeNet5Error): AsyncGenerator<Entry> {
  const entries = zip.eachEntry();
  while (true) {
    const next = await entries.next().catch((error: Error) => {
      throw corrupt(`a damaged zip file (${error.message})`);
    });
    if (next.done) return;
    yield next.value;
  }
}

/** The name as UTF-8, refused where it could lead out of a folder or read differently elsewhere. */
function entryName(entry: Entry, corrupt: (received: string) => LeNet5Error): string {
  const raw = entry.fileNameRaw;
  const name = raw.toString("utf8");
  if (raw.length === 0 || raw.includes(0) || !Buffer.from(name, "utf8").equals(raw)) {
    throw corrupt("a zip file with an entry name that is empty or not UTF-8");
  }
  if (yauzl().validateFileName(name) !== null) throw corrupt(`a zip file with the unsafe entry name ${quote(name)}`);
  return name;
}

/** Holds an entry's local header against the directory; returns where its contents start. */
async function checkLocalHeader(
  zip: ZipFile,
  entry: Entry,
  name: string,
  corrupt: (received: string) => LeNet5Error,
): Promise<number> {
  const local = await zip.readLocalFileHeaderPromise(entry).catch((error: Error) => {
    throw corrupt(`a damaged zip file (${quote(name)}: ${error.message})`);
  });
  // With a data descriptor, crc and sizes follow the contents and the header holds zeros; else they are repeated,
  // or stand in a zip64 field, which the directory's own copy has settled already.
  const deferred = (local.generalPurposeBitFlag & HAS_DATA_DESCRIPTOR) !== 0;
  const repeats = (value: number, declared: number): boolean =>
    value === declared || (deferred && value === 0) || value === ZIP64_SENTINEL;
  const agrees =
    local.fileName.equals(entry.fileNameRaw) &&
    local.compressionMethod === entry.compressionMethod &&
    local.generalPurposeBitFlag === entry.generalPurposeBitFlag &&
    (local.crc32 === entry.crc32 || (deferred && local.crc32 === 0)) &&
    repeats(local.compressedSize, entry.compressedSize) &&
    repeats(local.uncompressedSize, entry.uncompressedSize);
  if (!agrees) throw corrupt(`a damaged zip file: the two headers of ${quote(name)} contradict each other`);
  return local.fileDataStart;
}

/** Refuses entries that share bytes with one another or with the directory. */
function checkOverlaps(
  found: readonly { entry: Entry; proven: ZipEntry }[],
  directoryOffset: number,
  corrupt: (received: string) => LeNet5Error,
): void {
  const ordered = [...found].sort((a, b) => a.entry.relativeOffsetOfLocalHeader - b.entry.relativeOffsetOfLocalHeader);
  let end = 0;
  for (const { entry, proven } of ordered) {
    if (entry.relativeOffsetOfLocalHeader < end)
      throw corrupt(`a zip file whose entry ${quote(proven.name)} overlaps another`);
    end = proven.start + proven.storedBytes;
  }
  if (end > directoryOffset) throw corrupt("a zip file whose entries run into its directory");
}

/** CRC-32 of an entry's contents; inflating stops at the first byte past the declared size. */
async function crcOf(source: ZipSource, entry: ZipEntry, corrupt: (received: string) => LeNet5Error): Promise<number> {
  let crc = 0;
  if (!entry.deflated) {
    for (let offset = 0; offset < entry.storedBytes; offset += CHUNK) {
      const length = Math.min(CHUNK, entry.storedBytes - offset);
      crc = crc32(await source.read(entry.start + offset, length), crc);
      if (length === CHUNK) await nextTurn();
    }
    return crc;
  }
  const stored = await source.read(entry.start, entry.storedBytes);
  const failed = (): LeNet5Error =>
    corrupt(`a damaged file: ${quote(entry.name)} does not inflate to its declared size`);
  let size = 0;
  try {
    for await (const chunk of inflated(stored, entry.size)) {
      size += chunk.length;
      if (size > entry.size) break;
      crc = crc32(chunk, crc);
    }
  } catch {
    throw failed();
  }
  if (size !== entry.size) throw failed();
  return crc;
}

async function* inflated(stored: Buffer, size: number): AsyncGenerator<Buffer> {
  if (size <= INFLATED_AT_ONCE) {
    // A stream costs more than these few bytes do.
    const options = { maxOutputLength: size + 1, info: true };
    const { buffer, engine } = inflateRawSync(stored, options) as unknown as InflatedWithInfo;
    if (engine.bytesWritten !== stored.length) throw new Error("bytes after the deflated stream");
    yield buffer;
    return;
  }
  const inflate = createInflateRaw();
  inflate.end(stored);
  yield* inflate as AsyncIterable<Buffer>;
  if (inflate.bytesWritten !== stored.length) throw new Error("bytes after the deflated stream");
}

/** Where the central directory lies and how large it is, by the end record that yauzl has just accepted. */
async function endOfDirectory(
  source: ZipSource,
  corrupt: (received: string) => LeNet5Error,
): Promise<{ offset: number; size: number }> {
  const tailStart = Math.max(0, source.size - END_RECORD - 0xffff - ZIP64_LOCATOR);
  const tail = await source.read(tailStart, source.size - tailStart);
  let end = tail.length - END_RECORD;
  while (end >= 0 && tail.readUInt32LE(end) !== 0x06054b50) end--;
  if (end < 0) throw corrupt("a zip file that changed while it was read");
  let record = { size: tail.readUInt32LE(end + 12), offset: tail.readUInt32LE(end + 16) };
  let recordStart = tailStart + end;
  const locator = end - ZIP64_LOCATOR;
  if (locator >= 0 && tail.readUInt32LE(locator) === 0x07064b50) {
    recordStart = Number(tail.readBigUInt64LE(locator + 8));
    const zip64 = await source.read(recordStart, 56); // yauzl has read a record there
    if (zip64.length < 56) throw corrupt("a zip file that changed while it was read");
    record = { size: Number(zip64.readBigUInt64LE(40)), offset: Number(zip64.readBigUInt64LE(48)) };
  }
  if (record.offset + record.size !== recordStart) {
    throw corrupt("a zip file with unknown bytes between its directory and its end record");
  }
  return record;
}

function quote(name: string): string {
  return JSON.stringify(name.length <= 120 ? name : `${name.slice(0, 117)}...`);
}
