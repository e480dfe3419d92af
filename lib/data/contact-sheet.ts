// A sheet of images as a PNG: each with its class below it, and where predictions are given, the mistakes marked.
//
// Problem: a machine in a data centre has no fonts, and text in an SVG would then be blank. Resolution: captions are
// drawn with a single-stroke alphabet of our own, in capitals.

import { abortable, throwIfAborted } from "../abort.js";
import { expected } from "../errors.js";
import { own } from "../is.js";
import { optionalSignal, readOptions, wholeNumber } from "../options.js";
import { checkDataset, type Dataset, PIXELS, SIDE } from "./dataset.js";
import { sharp } from "./sharp.js";

/** Options of {@link contactSheet}. */
export interface ContactSheetOptions {
  /** Predicted class indices, one an image: right ones get a green caption, wrong ones a red frame and both names. */
  predictions?: ArrayLike<number>;
  /** Images side by side. @defaultValue as many as make the sheet about square, at most 20 */
  columns?: number;
  /** Aborts the call. */
  signal?: AbortSignal;
}

/** Most images on one sheet. */
export const MAX_SHEET_IMAGES = 2500;

/** Size of an image's pixel on the sheet. */
const SCALE = 2;
const TILE = SIDE * SCALE;
const MARGIN = 6;
const CAPTION_HEIGHT = 16;
/** Height of a capital and width of a letter with the space behind it, in pixels. */
const CAPITAL = 8;
const ADVANCE = 7;
const PAPER = 250;
const COLOURS = { plain: "#444444", right: "#1a7f37", wrong: "#cf222e" };

/**
 * Polylines of each character on a grid of 5×7 points: pairs of digits x y, y downwards, lines separated by a space.
 * A line of one point is a dot.
 */
const STROKES: Record<string, string> = {
  A: "062046 1434",
  B: "06003041423303 3344453606",
  C: "4130100105163645",
  D: "06003041453606",
  E: "40000646 0333",
  F: "400006 0333",
  G: "41301001051636454323",
  H: "0006 4046 0343",
  I: "1030 2026 1636",
  J: "4045361605",
  K: "0006 4004 1346",
  L: "000646",
  M: "0600234046",
  N: "06004640",
  O: "103041453616050110",
  P: "06003041423303",
  Q: "103041453616050110 2446",
  R: "06003041423303 2346",
  S: "413010010213334445361605",
  T: "0040 2026",
  U: "000516364540",
  V: "002640",
  W: "0016233640",
  X: "0046 4006",
  Y: "002340 2326",
  Z: "00400646",
  0: "103041453616050110",
  1: "112026 1636",
  2: "01103041420646",
  3: "0110304142334445361605 1333",
  4: "36300444",
  5: "400003334445361605",
  6: "4130100105163645443303",
  7: "004016",
  8: "103041423313020110 1304051636454433",
  9: "4313020110304145361605",
  " ": "",
  "-": "1333",
  _: "0646",
  ".": "26",
  ",": "2517",
  ":": "22 25",
  "'": "2021",
  "/": "0640",
  "+": "2125 0343",
  "(": "30212536",
  ")": "10212516",
  "!": "2024 26",
  "?": "0110304142232324 26",
};
const UNKNOWN = "0040460600";

/**
 * Draws images of a data set as one PNG.
 *
 * @param dataset - 1 to 2,500 images; `subsetOf` picks some
 * @returns the PNG file's contents
 * @throws LENET5_ABORTED, LENET5_INVALID_OPTION, LENET5_UNKNOWN_OPTION, LENET5_COUNT_MISMATCH and what `checkDataset` throws
 */
export async function contactSheet(dataset: Dataset, options: ContactSheetOptions = {}): Promise<Buffer> {
  const read = readOptions(options, ["predictions", "columns", "signal"], "contactSheet");
  throwIfAborted(optionalSignal(read.signal));
  checkDataset(dataset);
  const { count } = dataset;
  if (count > MAX_SHEET_IMAGES)
    throw expected("INVALID_OPTION", `at most ${MAX_SHEET_IMAGES} images`, "contactSheet", count);
  const { predictions, columns = Math.min(Math.ceil(Math.sqrt(count)), 20) } = read;
  if (predictions !== undefined && Object(predictions).length !== count) {
    const received = Object(predictions).length ?? predictions;
    throw expected("COUNT_MISMATCH", `${count} class indices, one an image,`, "predictions", received);
  }
  wholeNumber(columns, "columns", 1, MAX_SHEET_IMAGES);

  const captions = Array.from({ length: count }, (_, i) => captionOf(dataset, i, predictions?.[i]));
  const longest = Math.max(...captions.map(({ text }) => text.length));
  const cell = { width: Math.max(TILE, longest * ADVANCE) + MARGIN, height: TILE + CAPTION_HEIGHT + MARGIN };
  const width = columns * cell.width + MARGIN;
  const height = Math.ceil(count / columns) * cell.height + MARGIN;

  const pixels = Buffer.alloc(width * height, PAPER);
  let marks = "";
  for (const [i, { text, colour }] of captions.entries()) {
    const left = MARGIN + (i % columns) * cell.width;
    const top = MARGIN + Math.floor(i / columns) * cell.height;
    const tile = left + Math.floor((cell.width - MARGIN - TILE) / 2);
    paste(pixels, width, tile, top, dataset.images.subarray(i * PIXELS, (i + 1) * PIXELS));
    if (colour === COLOURS.wrong) {
      marks += `<rect x="${tile - 1.5}" y="${top - 1.5}" width="${TILE + 3}" height="${TILE + 3}" fill="none" stroke="${colour}" stroke-width="3"/>`;
    }
    const start = left + (cell.width - MARGIN - text.length * ADVANCE) / 2;
    marks += `<path d="${pathOf(text, start + 1, top + TILE + 5)}" stroke="${colour}" ${PEN}/>`;
  }
  const overlay = Buffer.from(
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">${marks}</svg>`,
  );
  const drawn = sharp()(pixels, { raw: { width, height, channels: 1 } })
    .toColourspace("srgb")
    .composite([{ input: overlay }])
    .png()
    .toBuffer();
  return await abortable(drawn, read.signal);
}

const PEN = 'fill="none" stroke-width="1.3" stroke-linecap="round" stroke-linejoin="round"';

function captionOf(
  { classNames, labels }: Dataset,
  index: number,
  predicted: number | undefined,
): { text: string; colour: string } {
  const actual = classNames[labels[index]!]!.toUpperCase();
  if (predicted === undefined) return { text: actual, colour: COLOURS.plain };
  if (predicted === labels[index]) return { text: actual, colour: COLOURS.right };
  return { text: `${(classNames[predicted] ?? "?").toUpperCase()} (${actual})`, colour: COLOURS.wrong };
}

/** Copies an image into the sheet, each pixel as a square. */
function paste(sheet: Buffer, width: number, left: number, top: number, image: Uint8Array): void {
  for (let y = 0; y < TILE; y++) {
    const row = (top + y) * width + left;
    const from = Math.floor(y / SCALE) * SIDE;
    for (let x = 0; x < TILE; x++) sheet[row + x] = image[from + Math.floor(x / SCALE)]!;
  }
}

/** The SVG path that writes a text. */
function pathOf(text: string, left: number, top: number): string {
  const unit = CAPITAL / 6;
  let path = "";
  for (const [i, character] of [...text].entries()) {
    for (const line of (own(STROKES, character) ?? UNKNOWN).split(" ")) {
      for (let at = 0; at < line.length; at += 2) {
        const x = left + i * ADVANCE + Number(line[at]) * unit;
        const y = top + Number(line[at + 1]) * unit;
        path += `${at === 0 ? "M" : "L"}${x.toFixed(1)} ${y.toFixed(1)}`;
      }
      // A path that goes nowhere is drawn as the dot of its round cap.
      if (line.length === 2) path += "l0 0";
    }
  }
  return path;
}
