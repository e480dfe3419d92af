import sharp from "sharp";
import { expect, test } from "vitest";
import { contactSheet, type Dataset, subsetOf, syntheticDigits } from "../../lib/index.js";

const digits = await syntheticDigits.generate({ count: 6, seed: 1 });

async function pixelsOf(
  png: Buffer,
): Promise<{ at: (x: number, y: number) => number[]; width: number; height: number }> {
  const { data, info } = await sharp(png).removeAlpha().raw().toBuffer({ resolveWithObject: true });
  const at = (x: number, y: number) => [...data.subarray(3 * (y * info.width + x), 3 * (y * info.width + x) + 3)];
  return { at, width: info.width, height: info.height };
}

function isRed([red, green, blue]: number[]): boolean {
  return red! > 150 && green! < 100 && blue! < 100;
}

test("each image stands on the sheet, every pixel as a square of four", async () => {
  const { at, width, height } = await pixelsOf(await contactSheet(digits, { columns: 3 }));
  expect([width, height]).toEqual([3 * 62 + 6, 2 * 78 + 6]);
  for (const [i, left, top] of [
    [0, 6, 6],
    [5, 130, 84],
  ] as const) {
    for (let y = 0; y < 56; y++) {
      for (let x = 0; x < 56; x++) {
        const grey = digits.images[i * 784 + Math.floor(y / 2) * 28 + Math.floor(x / 2)]!;
        expect(at(left + x, top + y)).toEqual([grey, grey, grey]);
      }
    }
  }
});

test("a mistake gets a red frame, a right answer none; captions are there without any font", async () => {
  const predictions = Int32Array.from(digits.labels);
  predictions[1] = 7;
  const { at } = await pixelsOf(await contactSheet(digits, { columns: 6, predictions }));
  expect(isRed(at(62 + 5, 40))).toBe(true);
  expect(isRed(at(5, 40))).toBe(false);
  const inked = (column: number) => {
    let count = 0;
    for (let y = 64; y < 80; y++) for (let x = 0; x < 58; x++) if (at(column * 62 + 4 + x, y)[0]! < 240) count++;
    return count;
  };
  for (let column = 0; column < 6; column++) expect(inked(column)).toBeGreaterThan(8);
});

test("long class names widen the cells, signs without a stroke become boxes", async () => {
  const named: Dataset = { ...digits, classNames: Array.from({ length: 10 }, (_, i) => `Ångström class ${i}`) };
  const { width } = await pixelsOf(await contactSheet(named, { columns: 2 }));
  expect(width).toBe(2 * (7 * 16 + 6) + 6);
});

test("a sheet has its limits", async () => {
  const many = subsetOf(
    digits,
    Array.from({ length: 2501 }, (_, i) => i % 6),
  );
  await expect(contactSheet(many)).rejects.toMatchObject({ code: "LENET5_INVALID_OPTION" });
  await expect(contactSheet(digits, { columns: 0 })).rejects.toMatchObject({ code: "LENET5_INVALID_OPTION" });
  await expect(contactSheet(digits, { predictions: [1] })).rejects.toMatchObject({ code: "LENET5_COUNT_MISMATCH" });
});
