// The answers that every system is held to: the forward pass in double precision, by plain loops, from the weights alone.
// It shares no line with any engine, so that nobody is held to itself.
import { readFile } from "node:fs/promises";

/** Largest difference of a log-probability, relative where it is above 1: what single precision costs, and no more. */
export const TOLERANCE = 1e-4;

/** A log-probability below this one counts as this one: single-precision probabilities come to their end soon after. */
const FLOOR = -60;

function convolve(input, channels, side, weight, bias, outputs) {
  const to = side - 4;
  const result = new Float64Array(outputs * to * to);
  for (let o = 0; o < outputs; o += 1) {
    for (let y = 0; y < to; y += 1) {
      for (let x = 0; x < to; x += 1) {
        let sum = bias[o];
        for (let c = 0; c < channels; c += 1) {
          for (let dy = 0; dy < 5; dy += 1) {
            const from = (c * side + y + dy) * side + x;
            const tap = ((o * channels + c) * 5 + dy) * 5;
            for (let dx = 0; dx < 5; dx += 1) sum += input[from + dx] * weight[tap + dx];
          }
        }
        result[(o * to + y) * to + x] = sum;
      }
    }
  }
  return result;
}

function pool(input, channels, side) {
  const to = side / 2;
  const result = new Float64Array(channels * to * to);
  for (let c = 0; c < channels; c += 1) {
    for (let y = 0; y < to; y += 1) {
      for (let x = 0; x < to; x += 1) {
        const from = (c * side + 2 * y) * side + 2 * x;
        const most = Math.max(input[from], input[from + 1], input[from + side], input[from + side + 1]);
        result[(c * to + y) * to + x] = Math.max(0, most);
      }
    }
  }
  return result;
}

function dense(input, weight, bias, relu) {
  const result = new Float64Array(bias.length);
  for (let o = 0; o < bias.length; o += 1) {
    let sum = bias[o];
    for (let i = 0; i < input.length; i += 1) sum += input[i] * weight[o * input.length + i];
    result[o] = relu ? Math.max(0, sum) : sum;
  }
  return result;
}

/** Log-probabilities of images given as bytes, 784 each. */
export function reference({ parameters, normalization: { mean, std } }, images) {
  const p = Object.fromEntries(Object.entries(parameters).map(([name, { data }]) => [name, Float64Array.from(data)]));
  const count = images.length / 784;
  const result = new Float64Array(count * 10);
  const canvas = new Float64Array(1024);
  for (let image = 0; image < count; image += 1) {
    canvas.fill(-mean / std);
    for (let i = 0; i < 784; i += 1) {
      canvas[(Math.floor(i / 28) + 2) * 32 + (i % 28) + 2] = (images[image * 784 + i] / 255 - mean) / std;
    }
    const s2 = pool(convolve(canvas, 1, 32, p["c1.weight"], p["c1.bias"], 6), 6, 28);
    const s4 = pool(convolve(s2, 6, 14, p["c3.weight"], p["c3.bias"], 16), 16, 10);
    const f6 = dense(dense(s4, p["c5.weight"], p["c5.bias"], true), p["f6.weight"], p["f6.bias"], true);
    const scores = dense(f6, p["output.weight"], p["output.bias"], false);
    const most = Math.max(...scores);
    const total = Math.log(scores.reduce((sum, score) => sum + Math.exp(score - most), 0)) + most;
    for (let k = 0; k < 10; k += 1) result[image * 10 + k] = scores[k] - total;
  }
  return result;
}

/** The classes, each the largest of ten log-probabilities. */
export function labelsOf(values) {
  return Array.from({ length: values.length / 10 }, (_, image) => {
    const row = values.subarray(image * 10, image * 10 + 10);
    return row.indexOf(Math.max(...row));
  });
}

/**
 * A system's log-probabilities against the reference's: how many labels are wrong, and the largest difference. A label is
 * wrong where the reference prefers another one by more than the tolerance.
 */
export function judge(values, expected) {
  if (values.length !== expected.length) return { wrongLabels: expected.length / 10, largestDifference: null };
  let largestDifference = 0;
  for (let i = 0; i < expected.length; i += 1) {
    const [value, right] = [Math.max(FLOOR, values[i]), Math.max(FLOOR, expected[i])];
    const difference = Math.abs(value - right) / Math.max(1, Math.abs(right));
    // What is no number is not close to anything.
    largestDifference =
      difference <= largestDifference ? largestDifference : Number.isNaN(difference) ? Infinity : difference;
  }
  const [theirs, ours] = [labelsOf(values), labelsOf(expected)];
  const wrongLabels = theirs.filter(
    (label, image) => label === -1 || expected[image * 10 + ours[image]] - expected[image * 10 + label] > TOLERANCE,
  ).length;
  return { wrongLabels, largestDifference: Number.isFinite(largestDifference) ? largestDifference : null };
}

export const isRight = ({ wrongLabels, largestDifference }) =>
  wrongLabels === 0 && largestDifference !== null && largestDifference <= TOLERANCE;

/** The raw floats that a system wrote. */
export async function readAnswers(path) {
  const bytes = await readFile(path);
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
}
