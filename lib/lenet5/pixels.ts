// What `predict` and its kin take as images, brought to one form: raw pixels, their count and their size.
import { decodeDigit, decodeDigits } from "../data/image.js";
import { expected, expectedButGot } from "../errors.js";
import { checkTensor, type Tensor } from "../tensor.js";

/**
 * Raw pixels: a `Float32Array` in 0..1 or a `Uint8Array` in 0..255, 784 a grey 28×28 image, light ink on black; or a
 * tensor of either with shape `[N,1,28,28]`, `[N,28,28]`, `[28,28]`, `[N,784]`, or the same with 32 (a 28×28 image on a
 * black 32×32 canvas is the same image).
 */
export type PixelInput = Float32Array | Uint8Array | Tensor<"float32"> | Tensor<"uint8">;

/** An image file: its path, or its contents (a `Buffer` is an encoded image; raw pixels are a plain `Uint8Array`). */
export type ImageFileInput = string | Buffer;

/** Anything that `predict` takes. */
export type ImageInput = PixelInput | ImageFileInput | readonly ImageFileInput[];

/** Pixels in the form the native side takes. */
export interface Pixels {
  readonly data: Float32Array | Uint8Array;
  /** Edge length, 28 or 32. */
  readonly size: 28 | 32;
  readonly count: number;
}

/** The form of what {@link PixelInput} holds; nothing is copied. @throws LENET5_INVALID_SHAPE, LENET5_INVALID_DTYPE */
export function toPixels(images: unknown, where = "images"): Pixels {
  if (Buffer.isBuffer(images)) {
    throw expectedButGot(
      "INVALID_DTYPE",
      "raw pixels in a Uint8Array or Float32Array",
      where,
      "a Buffer, which stands for an encoded image file",
    );
  }
  if (images instanceof Float32Array || images instanceof Uint8Array) {
    if (images.length % 784 !== 0) {
      throw expectedButGot(
        "INVALID_SHAPE",
        "a multiple of 784 pixels (28×28 an image)",
        where,
        `${images.length} pixels`,
      );
    }
    return { data: images, size: 28, count: images.length / 784 };
  }
  if (typeof images === "object" && images !== null && "data" in images && "shape" in images) {
    return fromTensor(images as Tensor, where);
  }
  throw expected("INVALID_ARGUMENT", "a Float32Array, a Uint8Array or a tensor", where, images);
}

function fromTensor(tensor: Tensor, where: string): Pixels {
  checkTensor(tensor, where);
  if (tensor.dtype !== "float32" && tensor.dtype !== "uint8") {
    throw expected("INVALID_DTYPE", "float32 or uint8", `${where}.dtype`, tensor.dtype);
  }
  const data = tensor.data as Float32Array | Uint8Array;
  const shape = tensor.shape;
  const [height, width] = shape.slice(-2);
  const leading = shape.slice(0, -2);
  if (
    shape.length >= 2 &&
    shape.length <= 4 &&
    height === width &&
    (height === 28 || height === 32) &&
    (leading.length < 2 || leading[1] === 1)
  ) {
    return { data, size: height, count: leading[0] ?? 1 };
  }
  if (shape.length === 2 && (shape[1] === 784 || shape[1] === 1024)) {
    return { data, size: shape[1] === 784 ? 28 : 32, count: shape[0]! };
  }
  throw expectedButGot(
    "INVALID_SHAPE",
    "[N, 1, 28, 28] (or [N, 1, 32, 32])",
    `${where}.shape`,
    `[${shape.join(", ")}]`,
  );
}

/** Like {@link toPixels}, and decodes image files. */
export async function readPixels(images: ImageInput, where = "images"): Promise<Pixels> {
  if (typeof images === "string" || Buffer.isBuffer(images)) {
    return { data: await decodeDigit(images), size: 28, count: 1 };
  }
  if (Array.isArray(images)) {
    for (const [i, image] of (images as readonly unknown[]).entries()) {
      if (typeof image === "string" || Buffer.isBuffer(image)) continue;
      throw expected("INVALID_ARGUMENT", "a file path or a Buffer", `${where}[${i}]`, image);
    }
    return { data: await decodeDigits(images as readonly ImageFileInput[]), size: 28, count: images.length };
  }
  return toPixels(images, where);
}
