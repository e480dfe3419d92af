import { expect, test } from "vitest";
import { brailleOf } from "../../lib/cli/terminal-digits.js";

test("the eight dots of a character are two columns of four pixels", () => {
  const pixels = new Uint8Array(784);
  const set = (x: number, y: number) => {
    pixels[y * 28 + x] = 255;
  };
  set(0, 0);
  set(27, 27);
  for (let y = 4; y < 8; y++) for (let x = 2; x < 4; x++) set(x, y);
  const lines = brailleOf(pixels);
  expect(lines).toHaveLength(7);
  expect(lines.every((line) => line.length === 14)).toBe(true);
  expect(lines[0]![0]).toBe("⠁");
  expect(lines[1]![1]).toBe("⣿");
  expect(lines[6]![13]).toBe("⢀");
  expect(lines.join("").replaceAll("⠀", "")).toHaveLength(3);
});
