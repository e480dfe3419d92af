// Scaling pixels as torchvision does by default: bilinear with antialiasing (Pillow's `BILINEAR`).
//
// Problem: sharp's kernels agree with Pillow's where an image shrinks, and not where it grows; networks were trained with
// Pillow's. Resolution: the same filter here, a triangle as wide as two source pixels or, where the image shrinks, two target
// pixels; rows first, then columns. Pillow rounds to whole levels after each of the two, this only at the end.

/** For each target position: the first source position that counts, and the weights from there on. */
interface Taps {
  first: Int32Array;
  weights: Float64Array[];
}

function tapsOf(from: number, to: number): Taps {
  const scale = from / to;
  const reach = Math.max(scale, 1);
  const first = new Int32Array(to);
  const weights: Float64Array[] = [];
  for (let i = 0; i < to; i++) {
    const centre = (i + 0.5) * scale;
    const start = Math.max(0, Math.trunc(centre - reach + 0.5));
    const end = Math.min(from, Math.trunc(centre + reach + 0.5));
    const row = Float64Array.from({ length: end - start }, (_, k) =>
      Math.max(0, 1 - Math.abs((start + k - centre + 0.5) / reach)),
    );
    const sum = row.reduce((total, each) => total + each, 0);
    first[i] = start;
    weights.push(row.map((each) => each / sum));
  }
  return { first, weights };
}

/** A part of an image, in pixels. */
export interface Crop {
  left: number;
  top: number;
  width: number;
  height: number;
}

/**
 * Scales RGB pixels to `width` × `height` and gives a part of that, as levels 0..255 by colour: 3 × crop.height × crop.width.
 * Nothing outside the part is computed.
 */
export function resampleColours(
  source: { data: Uint8Array; width: number; height: number },
  width: number,
  height: number,
  crop: Crop,
): Float32Array {
  const across = tapsOf(source.width, width);
  const down = tapsOf(source.height, height);
  const firstRow = down.first[crop.top]!;
  const last = crop.top + crop.height - 1;
  const rows = down.first[last]! + down.weights[last]!.length - firstRow;
  // [row of the source][colour][column of the part]
  const middle = new Float32Array(rows * 3 * crop.width);
  for (let y = 0; y < rows; y++) {
    const line = (firstRow + y) * source.width * 3;
    for (let x = 0; x < crop.width; x++) {
      const weights = across.weights[crop.left + x]!;
      const start = line + across.first[crop.left + x]! * 3;
      let [red, green, blue] = [0, 0, 0];
      for (let k = 0; k < weights.length; k++) {
        const weight = weights[k]!;
        red += weight * source.data[start + 3 * k]!;
        green += weight * source.data[start + 3 * k + 1]!;
        blue += weight * source.data[start + 3 * k + 2]!;
      }
      const at = y * 3 * crop.width + x;
      middle[at] = red;
      middle[at + crop.width] = green;
      middle[at + 2 * crop.width] = blue;
    }
  }
  const result = new Float32Array(3 * crop.height * crop.width);
  for (let y = 0; y < crop.height; y++) {
    const weights = down.weights[crop.top + y]!;
    const start = down.first[crop.top + y]! - firstRow;
    for (let colour = 0; colour < 3; colour++) {
      const to = (colour * crop.height + y) * crop.width;
      for (let k = 0; k < weights.length; k++) {
        const from = ((start + k) * 3 + colour) * crop.width;
        for (let x = 0; x < crop.width; x++) result[to + x]! += weights[k]! * middle[from + x]!;
      }
    }
  }
  return result;
}
