// Reads the little that matters here from a shared library of Linux: which libraries it needs and where it looks for
// them. `ldd` would run the library's loader and is not on every machine; libtorch_cpu alone is 440 MB, so only the
// headers and the two tables are read.
import { closeSync, fstatSync, openSync, readSync } from "node:fs";

/** What a shared library says about itself. */
export interface ElfDynamic {
  /** File names it needs (`DT_NEEDED`). */
  needed: string[];
  /** Folders it looks in first (`DT_RPATH` or `DT_RUNPATH`), `$ORIGIN` not replaced. */
  searchPath: string[];
  /** Its own name (`DT_SONAME`), empty where it has none. */
  soname: string;
}

const PT_LOAD = 1;
const PT_DYNAMIC = 2;
const DT_NEEDED = 1;
const DT_STRTAB = 5;
const DT_STRSZ = 10;
const DT_SONAME = 14;
const DT_RPATH = 15;
const DT_RUNPATH = 29;
// libtorch's own string table is 5 MB, of which a few names are wanted; a larger number is a broken file.
const LARGEST_TABLE = 256 * 1024 * 1024;
/** Of a file, and of a search path with its folders. */
const USUAL_NAME = 1024;
const LONGEST_NAME = 64 * 1024;

/** `e_machine` of Node's architectures. */
const MACHINES: Record<string, number> = { x64: 62, arm64: 183, ia32: 3, arm: 40, ppc64: 21, s390x: 22, riscv64: 243 };

/**
 * Why this process must not open a file as a shared library; `undefined` where it may try. The dynamic linker maps what the
 * headers speak of, whether the file has it or not: a truncated library ends the process.
 */
export function elfFault(path: string): string | undefined {
  const file = openSync(path, "r");
  try {
    const stats = fstatSync(file);
    if (!stats.isFile()) return "it is no file";
    const header = readIfThere(file, stats.size, 0, 64);
    if (header?.readUInt32BE(0) !== 0x7f454c46) return "it is no ELF library";
    if (header[4] !== 2 || header[5] !== 1) return undefined;
    const machine = header.readUInt16LE(18);
    const own = MACHINES[process.arch];
    if (own !== undefined && machine !== own) return `it is for ELF machine ${machine}, and ${process.arch} is ${own}`;
    // The table of sections is what linkers write last; a library may have lost it, its segments never.
    let end = Number(header.readBigUInt64LE(40)) + header.readUInt16LE(58) * header.readUInt16LE(60);
    const entrySize = header.readUInt16LE(54);
    const tableSize = entrySize * header.readUInt16LE(56);
    const segments = readIfThere(file, stats.size, Number(header.readBigUInt64LE(32)), tableSize);
    if (entrySize < 56 || segments === undefined) return "it is truncated or damaged: it has no table of segments";
    for (let at = 0; at < segments.length; at += entrySize) {
      if (segments.readUInt32LE(at) !== PT_LOAD) continue;
      end = Math.max(end, Number(segments.readBigUInt64LE(at + 8)) + Number(segments.readBigUInt64LE(at + 32)));
    }
    return stats.size < end ? `it is truncated: ${stats.size} bytes of ${end}` : undefined;
  } finally {
    closeSync(file);
  }
}

/** Bytes of a file of `size` bytes; `undefined`, and no memory taken, where they are not there. */
function readIfThere(file: number, size: number, offset: number, length: number): Buffer | undefined {
  if (offset + length > size) return undefined;
  const buffer = Buffer.alloc(length);
  return readSync(file, buffer, 0, length, offset) === length ? buffer : undefined;
}

/** Reads a 64-bit little-endian ELF file's dynamic section; `undefined` for anything else. */
export function readElfDynamic(path: string): ElfDynamic | undefined {
  const file = openSync(path, "r");
  try {
    const { size } = fstatSync(file);
    const read = (offset: number, length: number) => readIfThere(file, size, offset, length);
    const header = read(0, 64);
    if (header?.readUInt32BE(0) !== 0x7f454c46 || header[4] !== 2 || header[5] !== 1) return undefined;
    const entrySize = header.readUInt16LE(54);
    const entryCount = header.readUInt16LE(56);
    const headers = read(Number(header.readBigUInt64LE(32)), entrySize * entryCount);
    if (!headers || entrySize < 56) return undefined;

    const segments = Array.from({ length: entryCount }, (_, index) => {
      const at = index * entrySize;
      return {
        type: headers.readUInt32LE(at),
        offset: Number(headers.readBigUInt64LE(at + 8)),
        address: Number(headers.readBigUInt64LE(at + 16)),
        size: Number(headers.readBigUInt64LE(at + 32)),
      };
    });
    const dynamic = segments.find((segment) => segment.type === PT_DYNAMIC);
    if (!dynamic || dynamic.size > LARGEST_TABLE) return undefined;
    const entries = read(dynamic.offset, dynamic.size);
    if (!entries) return undefined;

    let stringsAddress = 0;
    let stringsSize = 0;
    const named: { tag: number; offset: number }[] = [];
    for (let at = 0; at + 16 <= entries.length; at += 16) {
      const tag = Number(entries.readBigUInt64LE(at));
      const value = Number(entries.readBigUInt64LE(at + 8));
      if (tag === DT_STRTAB) stringsAddress = value;
      else if (tag === DT_STRSZ) stringsSize = value;
      else if (tag === DT_NEEDED || tag === DT_SONAME || tag === DT_RPATH || tag === DT_RUNPATH) {
        named.push({ tag, offset: value });
      }
    }
    const home = segments.find(
      ({ type, address, size }) => type === PT_LOAD && stringsAddress >= address && stringsAddress < address + size,
    );
    if (!home || stringsSize > LARGEST_TABLE) return undefined;
    const table = home.offset + stringsAddress - home.address;
    if (table + stringsSize > size) return undefined;
    const stringAt = (offset: number, most = USUAL_NAME): string => {
      const bytes = read(table + offset, Math.max(0, Math.min(most, stringsSize - offset)));
      const end = bytes?.indexOf(0) ?? -1;
      if (end < 0 && most < LONGEST_NAME) return stringAt(offset, LONGEST_NAME);
      return bytes?.toString("latin1", 0, end) ?? "";
    };
    const names = (...tags: number[]) =>
      named.filter(({ tag }) => tags.includes(tag)).map(({ offset }) => stringAt(offset));
    return {
      needed: names(DT_NEEDED),
      searchPath: names(DT_RPATH, DT_RUNPATH)
        .flatMap((path) => path.split(":"))
        .filter(Boolean),
      soname: names(DT_SONAME)[0] ?? "",
    };
  } finally {
    closeSync(file);
  }
}
