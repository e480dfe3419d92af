// A file becomes ink: its ground, told by its border, becomes transparent, and what stands out from it opaque.
import { type Picture, SIDE } from "./ink.js";

/** Larger pictures are reduced to this side. */
const LARGEST_SIDE = 512;
/** Share of the contrast below which a pixel is ground, grain of the paper included. */
const GRAIN = 0.2;
/** Grey levels between ground and ink below which a picture counts as blank. */
const LEAST_CONTRAST = 16;

/** Reads an image file. Rejects with a sentence for people where it is none. */
export async function readPicture(file: Blob): Promise<Picture> {
  const bitmap = await createImageBitmap(file).catch(() => {
    throw new Error("That file is no image that this browser can open.");
  });
  const scale = Math.min(1, LARGEST_SIDE / Math.max(bitmap.width, bitmap.height));
  const width = Math.max(1, Math.round(bitmap.width * scale));
  const height = Math.max(1, Math.round(bitmap.height * scale));
  const ink = Object.assign(document.createElement("canvas"), { width, height });
  const context = ink.getContext("2d", { willReadFrequently: true })!;
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  const image = context.getImageData(0, 0, width, height);
  const levels = greyOf(image.data);
  const ground = borderLevel(levels, width, height);
  const contrast = levels.reduce((most, level) => Math.max(most, Math.abs(level - ground)), 0);
  if (contrast < LEAST_CONTRAST) throw new Error("That image is blank.");
  // The side that stands out further is the ink's: shadows on paper are lighter than strokes.
  const sign = Math.max(...bounds(levels, ground)) === bounds(levels, ground)[0] ? -1 : 1;
  const shares = levels.map((level) => Math.max(0, (sign * (level - ground)) / contrast));
  const exact = width === SIDE && height === SIDE ? shares.slice() : undefined;
  const box = { left: width, top: height, right: 0, bottom: 0 };
  for (const [i, share] of shares.entries()) {
    const opacity = exact !== undefined || share > GRAIN ? share : 0;
    image.data.set([0, 0, 0, Math.round(255 * opacity)], 4 * i);
    if (share <= GRAIN) continue;
    const [x, y] = [i % width, Math.floor(i / width)];
    box.left = Math.min(box.left, x);
    box.top = Math.min(box.top, y);
    box.right = Math.max(box.right, x + 1);
    box.bottom = Math.max(box.bottom, y + 1);
  }
  context.putImageData(image, 0, 0);
  return { ink, box, exact };
}

/** Grey levels 0..255. Transparent places count as white, or as black where all that is visible is light. */
function greyOf(data: Uint8ClampedArray): Float32Array {
  const levels = new Float32Array(data.length / 4);
  let [visible, light] = [0, 0];
  for (let i = 0; i < levels.length; i++) {
    const [red, green, blue, alpha] = data.subarray(4 * i, 4 * i + 4) as unknown as [number, number, number, number];
    levels[i] = 0.299 * red + 0.587 * green + 0.114 * blue;
    visible += alpha;
    light += alpha * levels[i]!;
  }
  const ground = light > 127 * visible ? 0 : 255;
  return levels.map((level, i) => {
    const share = data[4 * i + 3]! / 255;
    return level * share + ground * (1 - share);
  });
}

/** The middle level of the border's pixels. */
function borderLevel(levels: Float32Array, width: number, height: number): number {
  const border = levels.filter((_, i) => {
    const [x, y] = [i % width, Math.floor(i / width)];
    return x === 0 || y === 0 || x === width - 1 || y === height - 1;
  });
  return border.sort()[Math.floor(border.length / 2)]!;
}

/** How far levels go below the ground, and above it. */
function bounds(levels: Float32Array, ground: number): [number, number] {
  let [below, above] = [0, 0];
  for (const level of levels) {
    below = Math.max(below, ground - level);
    above = Math.max(above, level - ground);
  }
  return [below, above];
}
