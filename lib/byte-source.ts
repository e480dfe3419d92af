// The forms in which the bytes of a file may be handed over, told across realms.
import { fileURLToPath } from "node:url";
import { expectedButGot } from "./errors.js";
import { isArrayBuffer, isUint8Array, isUint8ClampedArray, lengthOf, memoryOf } from "./is.js";

/** Bytes of any kind. */
export type Bytes = Uint8Array | Uint8ClampedArray | ArrayBuffer;

/** A `Blob` or `File`, of a browser's kind or of Node's. */
export interface BlobLike {
  /** Its length in bytes. */
  readonly size: number;
  /** Its media type; nothing depends on it. */
  readonly type: string;
  /** Its contents. */
  arrayBuffer(): Promise<ArrayBuffer>;
}

/** Bytes of any kind as a Uint8Array of this realm over the same memory; undefined for anything else. */
export function bytesOf(value: unknown): Uint8Array | undefined {
  if (isUint8Array(value) || isUint8ClampedArray(value)) {
    const { buffer, byteOffset } = memoryOf(value);
    return new Uint8Array(buffer as ArrayBuffer, byteOffset, lengthOf(value));
  }
  return isArrayBuffer(value) ? new Uint8Array(value) : undefined;
}

/** True for a `URL`, by its shape. */
export function isUrl(value: unknown): value is URL {
  const { href, protocol, searchParams } = Object(value) as Partial<URL>;
  return typeof href === "string" && typeof protocol === "string" && typeof searchParams === "object";
}

/** True for a `Blob`, by its shape. */
export function isBlob(value: unknown): value is BlobLike {
  const { size, type, arrayBuffer } = Object(value) as Partial<BlobLike>;
  return typeof size === "number" && typeof type === "string" && typeof arrayBuffer === "function";
}

/** The path that a `file:` URL names. @throws LENET5_INVALID_ARGUMENT */
export function pathOfUrl(href: string, where: string): string {
  try {
    return fileURLToPath(href);
  } catch (error) {
    throw expectedButGot(
      "INVALID_ARGUMENT",
      "a file: URL",
      where,
      `${href.slice(0, 80)} (${(error as Error).message})`,
    );
  }
}
