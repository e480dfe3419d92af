// TFRecord framing, of which event files are made: a length with its check sum, then that many bytes with theirs. A reader that
// meets the end of the file within a record knows that the record is not whole.

import { expectedButGot } from "../errors.js";

/** CRC-32C (Castagnoli), reflected. */
const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let remainder = byte;
  for (let bit = 0; bit < 8; bit++) remainder = remainder & 1 ? (remainder >>> 1) ^ 0x82f63b78 : remainder >>> 1;
  return remainder;
});

/** The CRC-32C of some bytes. */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (crc >>> 8) ^ TABLE[(crc ^ byte) & 0xff]!;
  return (crc ^ 0xffffffff) >>> 0;
}

/** As records have it: a check sum of data that hold check sums themselves would be a weak one. */
export function maskedCrc32c(bytes: Uint8Array): number {
  const crc = crc32c(bytes);
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

/** Some bytes as one record. */
export function record(data: Uint8Array): Uint8Array {
  const framed = new Uint8Array(data.length + 16);
  const view = new DataView(framed.buffer);
  view.setBigUint64(0, BigInt(data.length), true);
  view.setUint32(8, maskedCrc32c(framed.subarray(0, 8)), true);
  framed.set(data, 12);
  view.setUint32(12 + data.length, maskedCrc32c(data), true);
  return framed;
}

/**
 * The records that some bytes begin with, each held against its check sums, and where the last whole one ends: what comes
 * after it is of a process that was killed while it wrote, or that still writes.
 * @param where - the file's name, for messages
 * @throws LENET5_DATA_CORRUPT
 */
export function readRecords(bytes: Uint8Array, where: string): { records: Uint8Array[]; end: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const records: Uint8Array[] = [];
  let at = 0;
  while (at + 12 <= bytes.length) {
    const check = (from: number, to: number): void => {
      if (maskedCrc32c(bytes.subarray(from, to)) === view.getUint32(to, true)) return;
      const received = `others at byte ${from}`;
      throw expectedButGot("DATA_CORRUPT", "records that fit their check sums", where, received);
    };
    check(at, at + 8);
    const length = view.getBigUint64(at, true);
    if (length > bytes.length - at - 16) break;
    const end = at + 12 + Number(length);
    check(at + 12, end);
    records.push(bytes.subarray(at + 12, end));
    at = end + 4;
  }
  return { records, end: at };
}
