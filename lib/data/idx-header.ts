// The header of an IDX file: two zero bytes, a type byte, the number of dimensions, one big-endian u32 a dimension.
import { constants, gunzipSync } from "node:zlib";
import { expectedButGot, LeNet5Error } from "../errors.js";

/** The type of the elements. */
export const UNSIGNED_BYTE = 0x08;
/** Most dimensions that a file may have. */
export const MAX_DIMENSIONS = 8;
/** Most bytes that a header may have. */
export const MAX_HEADER = 4 + 4 * MAX_DIMENSIONS;
/** What deflate can reach at best (RFC 1951's longest match, 258 bytes, in two bits). */
export const MAX_RATIO = 1032;
/** How much of a gzip file is unpacked to see the header. */
export const PREFIX = 8192;

/** What a header declares. */
export interface Header {
  /** Bytes of the header. */
  length: number;
  shape: number[];
  /** Product of the shape: bytes of data. */
  elements: number;
}

/** True for the first bytes of a gzip file. */
export function isGzip(bytes: Uint8Array): boolean {
  return bytes[0] === 0x1f && bytes[1] === 0x8b;
}

/**
 * Reads a header.
 * @param mostElements - bytes of data that it may declare
 * @throws LENET5_DATA_CORRUPT
 */
export function parseHeader(bytes: Uint8Array, where: string, mostElements: number): Header {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 4) throw corrupt("a header of at least 4 bytes", where, `${bytes.length} bytes`);
  const magic = view.getUint32(0);
  const dimensions = magic & 0xff;
  if (magic >>> 8 !== UNSIGNED_BYTE || dimensions < 1 || dimensions > MAX_DIMENSIONS) {
    const received = `0x${magic.toString(16).padStart(8, "0")}`;
    throw corrupt("the magic number 0x00000803 (images) or 0x00000801 (labels)", where, received);
  }
  const length = 4 + 4 * dimensions;
  if (bytes.length < length) throw corrupt(`a header of ${length} bytes`, where, `${bytes.length} bytes`);
  const shape: number[] = [];
  let elements = 1;
  for (let axis = 0; axis < dimensions; axis++) {
    const size = view.getUint32(4 + 4 * axis);
    shape.push(size);
    elements *= size;
    // Checked at every step: a later zero must not hide an absurd product, nor 2^53 be passed unseen.
    if (elements > mostElements) throw corrupt(`at most ${mostElements} elements`, where, `[${shape.join(", ")}…]`);
  }
  return { length, shape, elements };
}

/** The first unpacked kilobytes of a gzip file, however it goes on. @throws LENET5_DATA_CORRUPT */
export function unpackPrefix(contents: Uint8Array, where: string): Uint8Array {
  const prefix = contents.subarray(0, PREFIX);
  try {
    return gunzipSync(prefix, { finishFlush: constants.Z_SYNC_FLUSH });
  } catch (error) {
    throw damaged(where, error);
  }
}

/** The error of a file whose length is not what its header declares. @param room - its length, unpacked at most */
export function wrongLength(where: string, header: Header, zipped: boolean, room: number): LeNet5Error {
  const what = `${header.length + header.elements} bytes, as its header [${header.shape.join(", ")}] declares,`;
  return corrupt(what, where, zipped ? `a gzip file that cannot unpack to more than ${room}` : `${room} bytes`);
}

/** The error of a gzip file that cannot be unpacked. */
export function damaged(where: string, cause: unknown): LeNet5Error {
  return new LeNet5Error(
    "DATA_CORRUPT",
    `Expected a whole gzip file for ${where} but received ${(cause as Error).message}`,
    {
      cause,
    },
  );
}

/** The error of a header that contradicts its file. */
export function corrupt(what: string, where: string, received: string): LeNet5Error {
  return expectedButGot("DATA_CORRUPT", what, where, received);
}
