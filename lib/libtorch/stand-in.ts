// A shared library with a name and nothing in it.
//
// Problem: PyTorch's packages link their operators to libtorch_python, of which the operators use nothing; opening it without
// a Python around it fails. Resolution: what the dynamic linker asks of a needed library is its name (`DT_SONAME`), so an empty
// one that was opened before takes its place. A library that does use something of Python's is then refused for the symbols
// that it lacks.

const HEADER = 64;
const SEGMENT = 56;
const SEGMENTS = 3;
const PT_LOAD = 1;
const PT_DYNAMIC = 2;
const PT_GNU_STACK = 0x6474e551;
const READ_WRITE = 6;
const DT = { needed: 1, hash: 4, strings: 5, symbols: 6, stringBytes: 10, symbolBytes: 11, soname: 14 } as const;

/**
 * The bytes of an empty ELF library.
 * @param soname - the name that others need it by
 * @param needed - libraries through which it passes on what they have
 * @param like - the first 64 bytes of a library for the same machine
 */
export function emptyLibrary(soname: string, needed: readonly string[], like: Buffer): Buffer {
  const names = [...needed, soname];
  const strings = Buffer.from(`\0${names.map((name) => `${name}\0`).join("")}`, "latin1");
  const offsetOf = (name: string): number => strings.indexOf(`\0${name}\0`, "latin1") + 1;

  const hash = HEADER + SEGMENTS * SEGMENT; // one bucket, one symbol, nothing in either
  const symbols = hash + 16;
  const dynamic = symbols + 24; // the one symbol that every table begins with
  const entries: [tag: number, value: number][] = [
    ...needed.map((name): [number, number] => [DT.needed, offsetOf(name)]),
    [DT.soname, offsetOf(soname)],
    [DT.hash, hash],
    [DT.symbols, symbols],
    [DT.symbolBytes, 24],
    [DT.strings, 0],
    [DT.stringBytes, strings.length],
    [0, 0],
  ];
  const stringsAt = dynamic + 16 * entries.length;
  for (const entry of entries) if (entry[0] === DT.strings) entry[1] = stringsAt;

  const bytes = Buffer.alloc(stringsAt + strings.length);
  like.copy(bytes, 0, 0, HEADER); // the machine, and what only it knows of
  bytes.writeUInt16LE(3, 16); // ET_DYN
  bytes.writeBigUInt64LE(0n, 24); // no entry point
  bytes.writeBigUInt64LE(BigInt(HEADER), 32);
  bytes.writeBigUInt64LE(0n, 40); // no sections
  for (const [at, value] of [HEADER, SEGMENT, SEGMENTS, 0, 0, 0].entries()) bytes.writeUInt16LE(value, 52 + 2 * at);
  const segment = (index: number, type: number, flags: number, offset: number, size: number, align: number): void => {
    const at = HEADER + index * SEGMENT;
    bytes.writeUInt32LE(type, at);
    bytes.writeUInt32LE(flags, at + 4);
    for (const [i, value] of [offset, offset, offset, size, size, align].entries()) {
      bytes.writeBigUInt64LE(BigInt(value), at + 8 + 8 * i);
    }
  };
  // Writable: some dynamic linkers turn the table's offsets into addresses where they stand.
  segment(0, PT_LOAD, READ_WRITE, 0, bytes.length, 65536);
  segment(1, PT_DYNAMIC, READ_WRITE, dynamic, 16 * entries.length, 8);
  segment(2, PT_GNU_STACK, READ_WRITE, 0, 0, 16);
  bytes.writeUInt32LE(1, hash);
  bytes.writeUInt32LE(1, hash + 4);
  for (const [i, [tag, value]] of entries.entries()) {
    bytes.writeBigUInt64LE(BigInt(tag), dynamic + 16 * i);
    bytes.writeBigUInt64LE(BigInt(value), dynamic + 16 * i + 8);
  }
  strings.copy(bytes, stringsAt);
  return bytes;
}
