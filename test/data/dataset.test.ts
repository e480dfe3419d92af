import { describe, expect, test } from "vitest";
import { checkDataset } from "../../lib/data/dataset.js";
import { Random } from "../../lib/data/random.js";
import { type Dataset, normalizationOf, splitDataset, subsetOf, syntheticDigits } from "../../lib/index.js";
import { describeWithMnist, loadDigits } from "../mnist.js";

const digits = await syntheticDigits.generate({ count: 100, seed: 3 });

/** A data set whose images all have one grey level, one image a level. */
function flat(...levels: number[]): Dataset {
  const images = new Uint8Array(levels.length * 784);
  for (const [index, level] of levels.entries()) images.fill(level, index * 784, (index + 1) * 784);
  const labels = new Int32Array(levels.length);
  return { images, labels, count: levels.length, height: 28, width: 28, classNames: ["only"] };
}

describe("normalisation", () => {
  test("is the mean and the population standard deviation on the scale 0..1", () => {
    expect(normalizationOf(flat(0, 255))).toEqual({ mean: 0.5, std: 0.5 });
    const { mean, std } = normalizationOf(flat(51, 102, 204));
    expect(mean).toBeCloseTo((0.2 + 0.4 + 0.8) / 3, 15);
    expect(std).toBeCloseTo(Math.sqrt((0.04 + 0.16 + 0.64) / 3 - ((0.2 + 0.4 + 0.8) / 3) ** 2), 15);
  });

  test("of images without contrast divides by one and not by zero", () => {
    expect(normalizationOf(flat(7, 7))).toEqual({ mean: 7 / 255, std: 1 });
  });
});

describeWithMnist("MNIST", () => {
  test("has the figures that its users know", async () => {
    const { mean, std } = normalizationOf((await loadDigits()).train);
    // numpy, in double precision, on the same file.
    expect(mean).toBeCloseTo(0.1306604762738429, 14);
    expect(std).toBeCloseTo(0.30810780385646264, 14);
  });
});

describe("a split", () => {
  test("takes 300,000 images of one class", () => {
    const count = 300_000;
    const large: Dataset = { ...flat(0), images: new Uint8Array(count * 784), labels: new Int32Array(count), count };
    const { train, test } = splitDataset(large, 0.5);
    expect([train.count, test.count]).toEqual([150_000, 150_000]);
  });

  const { train, test: held } = splitDataset(digits, 0.2, 7);

  test("holds every image once and takes the same share of every class", () => {
    expect([train.count, held.count]).toEqual([80, 20]);
    for (let label = 0; label < 10; label++) {
      expect(held.labels.filter((other) => other === label)).toHaveLength(2);
    }
    const key = (set: Dataset, i: number) =>
      `${set.labels[i]} ${Buffer.from(set.images.subarray(i * 784, (i + 1) * 784)).toString("base64")}`;
    const all = (set: Dataset) => Array.from({ length: set.count }, (_, i) => key(set, i));
    expect([...all(train), ...all(held)].sort()).toEqual(all(digits).sort());
  });

  test("repeats from its seed and differs with another", () => {
    expect(splitDataset(digits, 0.2, 7).train.images).toEqual(train.images);
    expect(splitDataset(digits, 0.2, 8).train.images).not.toEqual(train.images);
  });

  test("refuses a share out of range, a seed that is none, and too few images", () => {
    for (const fraction of [0, 1, -0.1, Number.NaN, "0.2" as never]) {
      expect(() => splitDataset(digits, fraction)).toThrow(expect.objectContaining({ code: "LENET5_INVALID_OPTION" }));
    }
    expect(() => splitDataset(digits, 0.5, 0.5)).toThrow(expect.objectContaining({ code: "LENET5_INVALID_OPTION" }));
    expect(() => splitDataset(flat(1), 0.5)).toThrow(expect.objectContaining({ code: "LENET5_DATA_EMPTY" }));
  });
});

test("a subset copies the images asked for, in that order", () => {
  const subset = subsetOf(digits, [3, 3, 0]);
  expect([...subset.labels]).toEqual([3, 3, 0]);
  expect(subset.images.subarray(784, 1568)).toEqual(digits.images.subarray(3 * 784, 4 * 784));
  subset.images.fill(0);
  expect(digits.images.subarray(0, 784).some((pixel) => pixel > 0)).toBe(true);
  for (const position of [-1, 100, 0.5, Number.NaN]) {
    expect(() => subsetOf(digits, [position])).toThrow(expect.objectContaining({ code: "LENET5_INVALID_ARGUMENT" }));
  }
});

describe("a data set is refused", () => {
  const bad: [string, unknown, string][] = [
    ["that is none", null, "INVALID_ARGUMENT"],
    ["with pixels in an array", { ...digits, images: [...digits.images] }, "INVALID_ARGUMENT"],
    ["with labels in bytes", { ...digits, labels: new Uint8Array(100) }, "INVALID_ARGUMENT"],
    ["without class names", { ...digits, classNames: [] }, "INVALID_ARGUMENT"],
    ["of another size", { ...digits, width: 32 }, "INVALID_SHAPE"],
    ["with half an image", { ...digits, images: digits.images.subarray(1) }, "INVALID_SHAPE"],
    ["with a label too few", { ...digits, labels: digits.labels.subarray(1) }, "COUNT_MISMATCH"],
    ["with more labels than classes", { ...digits, classNames: ["a", "b"] }, "INVALID_LABELS"],
    ["with a negative label", { ...digits, labels: digits.labels.map((label) => -label) }, "INVALID_LABELS"],
    ["with no image", { ...digits, count: 0, images: new Uint8Array(), labels: new Int32Array() }, "DATA_EMPTY"],
    ["with a count that is none", { ...digits, count: 1.5 }, "INVALID_ARGUMENT"],
  ];
  for (const [what, dataset, code] of bad) {
    test(what, () => {
      expect(() => checkDataset(dataset)).toThrow(expect.objectContaining({ code: `LENET5_${code}` }));
    });
  }
});

describe("random numbers", () => {
  test("repeat from seed and stream, and neighbours have nothing in common", () => {
    const first = (seed: number, stream?: number) => {
      const random = new Random(seed, stream);
      return Array.from({ length: 8 }, () => random.uniform());
    };
    expect(first(1)).toEqual(first(1));
    const seen = [first(1), first(2), first(1, 1), first(2, 1), first(2 ** 40 + 1)].flat();
    expect(new Set(seen).size).toBe(seen.length);
  });

  test("are spread as they should be", () => {
    const random = new Random(9);
    const uniform = Array.from({ length: 50_000 }, () => random.uniform());
    const normal = Array.from({ length: 50_000 }, () => random.normal());
    const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
    expect(mean(uniform)).toBeCloseTo(0.5, 1.9);
    expect(mean(normal.map((value) => value * value))).toBeCloseTo(1, 1.4);
    expect(mean(normal)).toBeCloseTo(0, 1.4);
    expect(Math.min(...uniform)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...uniform)).toBeLessThan(1);
  });
});
