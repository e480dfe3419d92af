// What `predict` and its kin take as images, brought to one form: raw pixels, their count and their size.
import { type Bytes, bytesOf } from "../byte-source.js";
import { decodeAll } from "../data/image.js";
import {
  ambiguous,
  type EncodedImage,
  type ImageSource,
  labelled,
  type TakenImage,
  takeImage,
} from "../data/image-source.js";
import { expected, expectedButGot } from "../errors.js";
import { imageFormatOf } from "../formats/image-signature.js";
import { isFloat32Array, isObject, lengthOf } from "../is.js";
import { readTensor, type Tensor } from "../tensor.js";

/**
 * Raw pixels, light ink on black: 0..1 in a `Float32Array`, 0..255 in bytes (`Uint8Array`, `Buffer`, `Uint8ClampedArray`,
 * `ArrayBuffer`), 784 a grey image of 28×28; or a tensor with shape `[N,1,28,28]`, `[N,28,28]`, `[28,28]`, `[N,784]`, or
 * the same with 32 (an image of 28×28 on a black canvas of 32×32 is the same image). Bare bytes that begin with the
 * signature of an image format are refused; `{ pixels }` says that they are pixels all the same.
 */
export type PixelInput =
  | Float32Array
  | Bytes
  | { readonly pixels: Float32Array | Bytes }
  | Tensor<"float32">
  | Tensor<"uint8">;

/** One image of a list, or alone. See {@link ImageSource}: `{ image }` and `{ pixels }` are never misread. */
export type ImageFileInput = ImageSource;

/**
 * Anything that `predict` takes: pixels of any number of images, one image file in any form, or a list of images. Bare
 * bytes are an image file where they begin as one and pixels where they are a multiple of 784; where they are both, they
 * are refused, and `{ image: bytes }` or `{ pixels: bytes }` settles it.
 */
export type ImageInput = PixelInput | EncodedImage | { readonly image: EncodedImage } | readonly ImageSource[];

/** Pixels in the form the native side takes. */
export interface Pixels {
  readonly data: Float32Array | Uint8Array;
  /** Edge length, 28 or 32. */
  readonly size: 28 | 32;
  readonly count: number;
}

/**
 * The form of what {@link PixelInput} holds; nothing is copied.
 * @throws LENET5_INVALID_ARGUMENT, LENET5_INVALID_SHAPE, LENET5_INVALID_DTYPE
 */
export function toPixels(images: unknown, where = "images"): Pixels {
  const taken = labelledPixels(images, where) ?? barePixels(images, where);
  if (taken !== undefined) return taken;
  const format = formatOf(images);
  if (format !== undefined || labelled(images, "image", where) !== undefined) {
    const received = `${format === undefined ? "an image" : `a ${format} file`}, which only predict and forward decode`;
    throw expectedButGot("INVALID_ARGUMENT", "raw pixels", where, received);
  }
  throw expected("INVALID_ARGUMENT", "a Float32Array, bytes, { pixels } or a tensor", where, images);
}

/**
 * What {@link ImageInput} holds: pixels as they are, or images that are still to be decoded. What is not pixels has been
 * copied; whoever takes the pixels copies those before anybody else's code runs.
 */
export function takeImages(images: unknown, where = "images"): Pixels | TakenImage[] {
  if (Array.isArray(images)) return Array.from(images, (image, i) => takeImage(image, `${where}[${i}]`));
  const pixels = labelledPixels(images, where) ?? barePixels(images, where);
  if (pixels !== undefined) return pixels;
  return [takeImage(labelled(images, "image", where) ? images : { image: images }, where)];
}

/** Decodes what has been taken. */
export async function decodeImages(images: TakenImage[], signal: AbortSignal | undefined): Promise<Pixels> {
  const data = await decodeAll(images, signal === undefined ? {} : { signal });
  return { data, size: 28, count: images.length };
}

/** The pixels of `{ pixels }`, whatever their first bytes are. */
function labelledPixels(images: unknown, where: string): Pixels | undefined {
  const inner = labelled(images, "pixels", where);
  if (inner === undefined) return undefined;
  const data = dataOf(inner.value);
  if (data === undefined) throw expected("INVALID_ARGUMENT", "a Float32Array or bytes", `${where}.pixels`, inner.value);
  return rowsOf(data, `${where}.pixels`);
}

/** Pixels without a label; undefined for what may be an image file. */
function barePixels(images: unknown, where: string): Pixels | undefined {
  const data = dataOf(images);
  if (data !== undefined) {
    const format = isFloat32Array(data) ? undefined : imageFormatOf(data);
    if (format === undefined) return rowsOf(data, where);
    if (data.length % 784 === 0) throw ambiguous(format, data.length, where);
    return undefined;
  }
  return isObject(images) && "data" in images && "shape" in images ? fromTensor(images, where) : undefined;
}

function dataOf(value: unknown): Float32Array | Uint8Array | undefined {
  return isFloat32Array(value) ? value : bytesOf(value);
}

function formatOf(value: unknown): string | undefined {
  const bytes = bytesOf(value);
  return bytes && imageFormatOf(bytes);
}

function rowsOf(data: Float32Array | Uint8Array, where: string): Pixels {
  // The count says which rows of a shared batch are whose: it is the memory's, not what the array says of itself.
  const length = lengthOf(data);
  if (length % 784 === 0) return { data, size: 28, count: length / 784 };
  throw expectedButGot("INVALID_SHAPE", "a multiple of 784 pixels (28×28 an image)", where, `${length} pixels`);
}

function fromTensor(tensor: unknown, where: string): Pixels {
  const { data, shape, dtype } = readTensor(tensor, where);
  if (dtype !== "float32" && dtype !== "uint8") {
    throw expected("INVALID_DTYPE", "float32 or uint8", `${where}.dtype`, dtype);
  }
  const pixels = data as Float32Array | Uint8Array;
  const [height, width] = shape.slice(-2);
  const leading = shape.slice(0, -2);
  if (
    shape.length >= 2 &&
    shape.length <= 4 &&
    height === width &&
    (height === 28 || height === 32) &&
    (leading.length < 2 || leading[1] === 1)
  ) {
    return { data: pixels, size: height, count: leading[0] ?? 1 };
  }
  if (shape.length === 2 && (shape[1] === 784 || shape[1] === 1024)) {
    return { data: pixels, size: shape[1] === 784 ? 28 : 32, count: shape[0]! };
  }
  throw expectedButGot(
    "INVALID_SHAPE",
    "[N, 1, 28, 28] (or [N, 1, 32, 32])",
    `${where}.shape`,
    `[${shape.join(", ")}]`,
  );
}
