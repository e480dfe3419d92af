// The forms in which an image comes, each checked and copied in the call that takes it.
//
// Problem: bytes may be pixels or an image file, a caller may write into what was handed over as soon as the call has
// returned, and decoding takes a while. Resolution: what is not unmistakable is refused with a message that says what to
// write, and `takeImage` copies, synchronously, whatever can change.
import { type BlobLike, type Bytes, bytesOf, isBlob, isUrl, pathOfUrl } from "../byte-source.js";
import { expected, expectedButGot, type LeNet5Error } from "../errors.js";
import { imageFormatOf } from "../formats/image-signature.js";
import { isObject } from "../is.js";
import { PIXELS } from "./dataset.js";

/** Colour pixels as a canvas has them (`ImageData`): `width` × `height` × 4 bytes, red, green, blue, opacity. */
export interface ImageDataLike {
  /** The bytes, row by row. */
  readonly data: Uint8ClampedArray | Uint8Array;
  /** Pixels in a row. */
  readonly width: number;
  /** Rows. */
  readonly height: number;
}

/** An encoded image: a path, a `file:` or `data:` URL, a file's contents, a `Blob`, or the pixels of a canvas. */
export type EncodedImage = string | URL | Bytes | BlobLike | ImageDataLike;

/**
 * One image. Bare bytes are an image file, unless they are 784 without the signature of one: those are the pixels of an
 * image of 28×28. `{ image }` and `{ pixels }` say which.
 */
export type ImageSource = EncodedImage | { readonly image: EncodedImage } | { readonly pixels: Bytes };

/** An image that nothing outside can change any more. */
export type TakenImage = TakenFile | { readonly kind: "pixels"; readonly pixels: Uint8Array };

/** A picture, to be decoded. */
export type TakenFile =
  | { readonly kind: "path"; readonly path: string; readonly name: string }
  | { readonly kind: "contents"; readonly bytes: Uint8Array; readonly name: string }
  | { readonly kind: "blob"; readonly blob: BlobLike; readonly name: string }
  | {
      readonly kind: "colours";
      readonly data: Uint8Array;
      readonly width: number;
      readonly height: number;
      readonly name: string;
    };

/** Most pixels an image may have: 100 million. A small file that declares more is a decompression bomb. */
export const MAX_IMAGE_PIXELS = 100_000_000;

const FORMS = "a path, a URL, bytes, a Blob, ImageData, { image } or { pixels }";

/** The value of `{ pixels }` or `{ image }`, read once; undefined where `value` has no such name of its own. */
export function labelled(value: unknown, label: "pixels" | "image", where: string): { value: unknown } | undefined {
  if (!isObject(value) || !Object.hasOwn(value, label)) return undefined;
  const names = Object.keys(value);
  if (names.length > 1)
    throw expectedButGot("INVALID_ARGUMENT", `{ ${label} } alone`, where, `{ ${names.slice(0, 10).join(", ")} }`);
  return { value: value[label] };
}

/** The refusal of bytes that may be pixels or an image file. */
export function ambiguous(format: string, length: number, where: string): LeNet5Error {
  const received = `${length} bytes that begin as a ${format} file and are ${length / PIXELS} × 784`;
  return expectedButGot("INVALID_ARGUMENT", "{ image: bytes } or { pixels: bytes }", where, received);
}

/**
 * Checks an image and copies what could change.
 * @throws LENET5_INVALID_ARGUMENT, LENET5_INVALID_SHAPE, LENET5_IMAGE_UNREADABLE
 */
export function takeImage(source: unknown, where = "an image"): TakenImage {
  const pixels = labelled(source, "pixels", where);
  if (pixels !== undefined) return takePixels(pixels.value, `${where}: pixels`);
  const image = labelled(source, "image", where);
  if (image !== undefined) return takeEncoded(image.value, where);
  const bytes = bytesOf(source);
  if (bytes?.length === PIXELS) {
    const format = imageFormatOf(bytes);
    if (format !== undefined) throw ambiguous(format, bytes.length, where);
    return { kind: "pixels", pixels: bytes.slice() };
  }
  return takeEncoded(source, where);
}

function takePixels(value: unknown, where: string): TakenImage {
  const bytes = bytesOf(value);
  if (bytes === undefined) throw expected("INVALID_ARGUMENT", "a Uint8Array", where, value);
  if (bytes.length !== PIXELS) {
    throw expectedButGot("INVALID_SHAPE", "784 pixels (28×28)", where, `${bytes.length} pixels`);
  }
  return { kind: "pixels", pixels: bytes.slice() };
}

export function takeEncoded(source: unknown, where: string): TakenFile {
  // A canvas's toDataURL() is a string.
  if (typeof source === "string" && /^(data:|file:\/\/)/i.test(source)) return takeUrl(source, where);
  if (typeof source === "string" && source !== "") return { kind: "path", path: source, name: source };
  const name = "the image";
  const bytes = bytesOf(source);
  if (bytes !== undefined) {
    if (bytes.length === 0) throw expectedButGot("IMAGE_UNREADABLE", "a whole image", name, "no bytes");
    return { kind: "contents", bytes: bytes.slice(), name };
  }
  if (!isObject(source)) throw expected("INVALID_ARGUMENT", FORMS, where, source);
  if (isUrl(source)) return takeUrl(source.href, where);
  if (isBlob(source)) {
    const fileName = (source as { name?: unknown }).name;
    return { kind: "blob", blob: source, name: typeof fileName === "string" && fileName !== "" ? fileName : name };
  }
  if ("data" in source && "width" in source && "height" in source) return takeImageData(source, where);
  throw expected("INVALID_ARGUMENT", FORMS, where, source);
}

function takeUrl(href: string, where: string): TakenFile {
  const name = href.length <= 80 ? href : `${href.slice(0, 77)}...`;
  const data = /^data:[^,]*?(;base64)?,/i.exec(href);
  if (/^file:/i.test(href)) return { kind: "path", path: pathOfUrl(href, where), name };
  if (data !== null) {
    let text: string;
    try {
      text = decodeURIComponent(href.slice(data[0].length));
    } catch (error) {
      throw expectedButGot("IMAGE_UNREADABLE", "a URL that can be decoded", name, (error as Error).message);
    }
    return { kind: "contents", bytes: Uint8Array.from(Buffer.from(text, data[1] ? "base64" : "utf8")), name };
  }
  throw expectedButGot("INVALID_ARGUMENT", "a file: or data: URL (fetch others, and hand over the bytes)", where, name);
}

function takeImageData(source: object, where: string): TakenFile {
  const { data, width, height } = source as Partial<ImageDataLike>;
  const bytes = bytesOf(data);
  if (bytes === undefined) throw expected("INVALID_ARGUMENT", "a Uint8ClampedArray", `${where}: data`, data);
  const isSide = (side: unknown): side is number => Number.isSafeInteger(side) && (side as number) > 0;
  if (!isSide(width) || !isSide(height) || width * height > MAX_IMAGE_PIXELS || width * height * 4 !== bytes.length) {
    const size = `${String(width)}×${String(height)} pixels in ${bytes.length} bytes`;
    throw expectedButGot("INVALID_SHAPE", "width × height × 4 bytes", where, size);
  }
  return { kind: "colours", data: bytes.slice(), width, height, name: "the image" };
}
