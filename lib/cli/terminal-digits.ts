// Digits in a terminal: 28×28 pixels as 14×7 Braille characters, whose eight dots are 2×4 pixels. No colour is needed.
import { type Dataset, PIXELS, SIDE } from "../data/dataset.js";
import { colours } from "./output.js";

/** Grey level from which a dot is set. */
const INK = 96;
/** Bit of each dot of a Braille character (Unicode U+2800), by column and row. */
const DOTS = [
  [0x01, 0x02, 0x04, 0x40],
  [0x08, 0x10, 0x20, 0x80],
] as const;
const WIDTH = SIDE / 2;
const GAP = "  ";

/** One image as seven lines of fourteen characters. */
export function brailleOf(pixels: Uint8Array): string[] {
  const lines: string[] = [];
  for (let top = 0; top < SIDE; top += 4) {
    let line = "";
    for (let left = 0; left < SIDE; left += 2) {
      let bits = 0;
      for (const [x, column] of DOTS.entries()) {
        for (const [y, bit] of column.entries()) if (pixels[(top + y) * SIDE + left + x]! >= INK) bits |= bit;
      }
      line += String.fromCharCode(0x2800 + bits);
    }
    lines.push(line);
  }
  return lines;
}

/**
 * Images side by side with their class below, as wide as the terminal.
 * @param predicted - class index an image; a wrong one is marked
 */
export function drawInTerminal(dataset: Dataset, predicted?: ArrayLike<number>): string {
  const columns = Math.max(1, Math.floor(((process.stdout.columns || 80) + GAP.length) / (WIDTH + GAP.length)));
  const lines: string[] = [];
  for (let start = 0; start < dataset.count; start += columns) {
    const row = Array.from({ length: Math.min(columns, dataset.count - start) }, (_, i) => start + i);
    const drawn = row.map((i) => brailleOf(dataset.images.subarray(i * PIXELS, (i + 1) * PIXELS)));
    for (let y = 0; y < SIDE / 4; y++)
      lines.push(
        drawn
          .map((image) => image[y])
          .join(GAP)
          .trimEnd(),
      );
    lines.push(
      row
        .map((i) => caption(dataset, i, predicted?.[i]))
        .join(GAP)
        .trimEnd(),
      "",
    );
  }
  return lines.join("\n");
}

function caption({ classNames, labels }: Dataset, index: number, predicted: number | undefined): string {
  const actual = classNames[labels[index]!]!;
  const isWrong = predicted !== undefined && predicted !== labels[index];
  const text = isWrong
    ? `${classNames[predicted]} ✗ (is ${actual})`
    : `${actual}${predicted === undefined ? "" : " ✓"}`;
  const shown = text.length > WIDTH ? `${text.slice(0, WIDTH - 1)}…` : text;
  const left = Math.floor((WIDTH - shown.length) / 2);
  const padded = " ".repeat(left) + shown + " ".repeat(WIDTH - left - shown.length);
  return isWrong && colours() ? `\x1b[31m${padded}\x1b[0m` : padded;
}
