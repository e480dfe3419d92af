import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { checkDataset } from "../../lib/data/dataset.js";
import { DIGIT_STROKES } from "../../lib/data/digit-strokes.js";
import { syntheticDigits } from "../../lib/index.js";
import { expectSame } from "./folder.js";

const digits = await syntheticDigits.generate({ count: 1000, seed: 17 });
const digitAt = (index: number) => digits.images.subarray(index * 784, (index + 1) * 784);
const digest = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

describe("a drawn set", () => {
  test("is a whole data set whose classes take turns", () => {
    checkDataset(digits);
    expect(digits.classNames).toEqual([..."0123456789"]);
    expect([...digits.labels.subarray(0, 12)]).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]);
  });

  test("has every digit as MNIST has it: within 20×20, bright, its centre of mass in the middle", () => {
    for (let i = 0; i < digits.count; i++) {
      let [mass, rows, columns, left, right, top, bottom] = [0, 0, 0, 28, -1, 28, -1];
      for (const [at, value] of digitAt(i).entries()) {
        if (value === 0) continue;
        const [y, x] = [Math.floor(at / 28), at % 28];
        mass += value;
        rows += value * y;
        columns += value * x;
        [left, right] = [Math.min(left, x), Math.max(right, x)];
        [top, bottom] = [Math.min(top, y), Math.max(bottom, y)];
      }
      expect(Math.max(right - left, bottom - top) + 1).toBeLessThanOrEqual(20);
      expect(Math.max(right - left, bottom - top) + 1).toBeGreaterThanOrEqual(18);
      expect(Math.abs(rows / mass - 14)).toBeLessThan(0.51);
      expect(Math.abs(columns / mass - 14)).toBeLessThan(0.51);
      expect(Math.max(...digitAt(i))).toBeGreaterThan(150);
    }
  });

  test("has no two images alike", () => {
    expect(new Set(Array.from({ length: 1000 }, (_, i) => digest(digitAt(i)))).size).toBe(1000);
  });

  test("has about as much ink as MNIST, whose mean is 0.131", () => {
    const mean = digits.images.reduce((sum, value) => sum + value, 0) / digits.images.length / 255;
    expect(mean).toBeGreaterThan(0.115);
    expect(mean).toBeLessThan(0.155);
  });
});

describe("a seed", () => {
  test("gives the same bytes again, and another seed gives others", async () => {
    expectSame(await syntheticDigits.generate({ count: 1000, seed: 17 }), digits);
    const other = await syntheticDigits.generate({ count: 1000, seed: 18 });
    expect(Buffer.compare(other.images, digits.images)).not.toBe(0);
  });

  test("gives the first images of a larger set, whatever else is being drawn", async () => {
    const [few, many] = await Promise.all([
      syntheticDigits.generate({ count: 333, seed: 17 }),
      syntheticDigits.generate({ count: 1500, seed: 17 }),
      syntheticDigits.generate({ count: 900, seed: 1 }),
    ]);
    expect(Buffer.compare(few.images, digits.images.subarray(0, 333 * 784))).toBe(0);
    expect(Buffer.compare(many.images.subarray(0, 1000 * 784), digits.images)).toBe(0);
  });
});

test("a training and a test set of the same seed share no image", async () => {
  const { train, test } = await syntheticDigits.load({ trainCount: 500, testCount: 300, seed: 17 });
  expect([train.count, test.count]).toEqual([500, 300]);
  expect(Buffer.compare(train.images, digits.images.subarray(0, 500 * 784))).toBe(0);
  const seen = new Set(Array.from({ length: 500 }, (_, i) => digest(train.images.subarray(i * 784, (i + 1) * 784))));
  for (let i = 0; i < 300; i++) expect(seen.has(digest(test.images.subarray(i * 784, (i + 1) * 784)))).toBe(false);
});

test("progress ends at the whole number, an abort ends the drawing", async () => {
  const seen: [number, number][] = [];
  await syntheticDigits.load({
    trainCount: 900,
    testCount: 100,
    onProgress: (done, total) => seen.push([done, total]),
  });
  expect(seen.at(-1)).toEqual([1000, 1000]);
  expect(seen.every(([done], i) => i === 0 || done > seen[i - 1]![0])).toBe(true);
  const controller = new AbortController();
  const call = syntheticDigits.generate({
    count: 100_000,
    signal: controller.signal,
    onProgress: () => controller.abort(),
  });
  await expect(call).rejects.toMatchObject({ code: "LENET5_ABORTED" });
});

test("a callback that throws ends the drawing with its own error", async () => {
  const mine = new TypeError("mine");
  let calls = 0;
  const call = syntheticDigits.generate({
    count: 4_000,
    onProgress: () => {
      calls++;
      throw mine;
    },
  });
  expect(await call.catch((thrown: unknown) => thrown)).toBe(mine);
  const before = calls;
  await new Promise((later) => setTimeout(later, 200));
  expect(calls).toBeLessThanOrEqual(before + 1); // the other sheet in flight
});

test("options that are none are refused", async () => {
  for (const options of [{ count: 0 }, { count: 1.5 }, { count: 1e9 }, { seed: -1 }, { seed: "1" as never }]) {
    await expect(syntheticDigits.generate(options)).rejects.toMatchObject({ code: "LENET5_INVALID_OPTION" });
  }
  // @ts-expect-error What a caller without types may do.
  await expect(syntheticDigits.load({ count: 5 })).rejects.toMatchObject({ code: "LENET5_UNKNOWN_OPTION" });
});

test("the table of strokes has several ways of writing each digit, all of them on its grid", () => {
  expect(DIGIT_STROKES).toHaveLength(10);
  for (const variants of DIGIT_STROKES) {
    expect(variants.length).toBeGreaterThanOrEqual(5);
    for (const { strokes, weight } of variants) {
      expect(weight).toBeGreaterThan(0);
      for (const stroke of strokes) {
        expect(stroke.length % 2).toBe(0);
        expect(stroke.length).toBeGreaterThanOrEqual(4);
        expect(stroke.every((value, i) => value >= 0 && value <= (i % 2 === 0 ? 10 : 14))).toBe(true);
      }
    }
  }
});
