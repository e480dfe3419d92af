// Images as networks for photographs take them: what torchvision's weights state as their transforms.
import { throwIfAborted } from "../abort.js";
import { expected } from "../errors.js";
import { finiteNumber, optionalSignal, readOptions, wholeNumber } from "../options.js";
import type { Tensor } from "../tensor.js";
import { openImage, unreadableImage } from "./image.js";
import { type EncodedImage, type TakenFile, takeEncoded } from "./image-source.js";
import { resampleColours } from "./resample.js";

/** Options of {@link imageTensor}; the defaults are those of torchvision's weights for ImageNet. */
export interface ImageTensorOptions {
  /** Length of the shorter side after scaling, in pixels, 1 to 4,096; the aspect is kept. @defaultValue 256 */
  resize?: number;
  /** Side of the square that is cut out of the middle, in pixels, at most `resize`. @defaultValue 224 */
  crop?: number;
  /** What is subtracted from red, green and blue, which run from 0 to 1. @defaultValue [0.485, 0.456, 0.406] */
  mean?: readonly number[];
  /** What the difference is divided by. @defaultValue [0.229, 0.224, 0.225] */
  std?: readonly number[];
  /** Aborts the call before its next image. */
  signal?: AbortSignal;
}

const OPTIONS = ["resize", "crop", "mean", "std", "signal"] as const;

/**
 * Makes the input of a network for photographs: each image is scaled (bilinear with antialiasing, torchvision's default), its
 * middle is cut out, and its colours are normalised. What `weights.transforms()` does in torchvision, whose `resize_size`,
 * `crop_size`, `mean` and `std` are the options here; the levels differ from Pillow's by one at most.
 *
 * An image lies as its EXIF data say (in Python: `ImageOps.exif_transpose`); grey becomes colour, transparency is dropped.
 * @param images - paths, `file:` or `data:` URLs, contents, `Blob`s or canvas pixels; copied before the call returns
 * @returns `[N, 3, crop, crop]`, red, green, blue
 * @throws LENET5_DATA_NOT_FOUND, LENET5_IMAGE_UNREADABLE, LENET5_INVALID_ARGUMENT, LENET5_UNKNOWN_OPTION,
 * LENET5_INVALID_OPTION, LENET5_ABORTED
 */
export async function imageTensor(
  images: readonly EncodedImage[],
  options: ImageTensorOptions = {},
): Promise<Tensor<"float32">> {
  const read = readOptions(options, OPTIONS, "imageTensor");
  const { resize = 256, crop = 224, mean = [0.485, 0.456, 0.406], std = [0.229, 0.224, 0.225], signal } = read;
  wholeNumber(resize, "resize", 1, 4096);
  wholeNumber(crop, "crop", 1, resize);
  const means = colours(mean, "mean", "a number", () => true);
  const deviations = colours(std, "std", "a positive number", (value) => value > 0);
  optionalSignal(signal);
  if (!Array.isArray(images)) throw expected("INVALID_ARGUMENT", "an array of images", "imageTensor", images);
  const taken = Array.from(images as readonly unknown[], (image, i) => takeEncoded(image, `images[${i}]`));
  const size = 3 * crop * crop;
  const data = new Float32Array(taken.length * size);
  for (const [i, image] of taken.entries()) {
    throwIfAborted(signal);
    const levels = middleOf(await decodeColours(image), resize, crop);
    for (let at = 0; at < size; at++) {
      const colour = Math.floor(at / (crop * crop));
      data[i * size + at] = (Math.round(levels[at]!) / 255 - means[colour]!) / deviations[colour]!;
    }
  }
  throwIfAborted(signal);
  return { data, shape: [taken.length, 3, crop, crop], dtype: "float32" };
}

function colours(value: unknown, where: string, range: string, holds: (value: number) => boolean): number[] {
  if (!Array.isArray(value) || value.length !== 3) throw expected("INVALID_OPTION", "three numbers", where, value);
  return Array.from(value, (each, i) => finiteNumber(each, `${where}[${i}]`, range, holds));
}

interface Colours {
  data: Uint8Array;
  width: number;
  height: number;
}

function middleOf(image: Colours, resize: number, crop: number): Float32Array {
  const short = Math.min(image.width, image.height);
  const scaled = (side: number): number => (side === short ? resize : Math.trunc((resize * side) / short));
  const [width, height] = [scaled(image.width), scaled(image.height)];
  const start = (side: number): number => roundHalfToEven((side - crop) / 2);
  return resampleColours(image, width, height, { left: start(width), top: start(height), width: crop, height: crop });
}

/** Python's `round`, which torchvision's `center_crop` uses. */
function roundHalfToEven(value: number): number {
  const below = Math.floor(value);
  return value - below === 0.5 ? below + (below % 2) : Math.round(value);
}

async function decodeColours(image: TakenFile): Promise<Colours> {
  const opened = await openImage(image);
  try {
    const { data, info } = await opened
      .toColourspace("srgb")
      .removeAlpha()
      .raw({ depth: "uchar" })
      .toBuffer({ resolveWithObject: true });
    const { width, height, channels } = info;
    if (channels === 3) return { data, width, height };
    const grey = data.filter((_, i) => i % channels === 0);
    return { data: Uint8Array.from({ length: grey.length * 3 }, (_, i) => grey[Math.floor(i / 3)]!), width, height };
  } catch (cause) {
    throw unreadableImage(cause, image);
  }
}
