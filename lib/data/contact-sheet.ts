// Many images on one PNG, each with its class, and mistakes marked.
import sharp from "sharp";
import { expected, expectedButGot } from "../errors.js";
import { checkOptionNames, wholeNumber } from "../options.js";
import { checkDataset, type Dataset, PIXELS, SIDE } from "./dataset.js";
import { GLYPH_HEIGHT, GLYPH_WIDTH, glyphPixel } from "./pixel-font.js";

/** Options of {@link contactSheet}. */
export interface ContactSheetOptions {
  /** Class index that a model gave each image; a wrong one gets a red frame, and the true class below it. */
  predictions?: ArrayLike<number>;
  /** Images in a row. @defaultValue as many as make the sheet about square */
  columns?: number;
}

type Colour = readonly [number, number, number];

const WHITE: Colour = [235, 235, 235];
const GREY: Colour = [140, 140, 140];
const RED: Colour = [230, 60, 50];
/** Ground of the sheet, lighter than the images' own so that their edges show. */
const GROUND = 32;
/** Pixels on the sheet for each pixel of an image. */
const SCALE = 3;
/** Pixels on the sheet for each pixel of a letter. */
const LETTER_SCALE = 2;
const FRAME = 3;
const IMAGE = SIDE * SCALE;
const CELL_WIDTH = IMAGE + 2 * FRAME + 4;
const LINE = (GLYPH_HEIGHT + 2) * LETTER_SCALE;
const LETTER = (GLYPH_WIDTH + 1) * LETTER_SCALE;
const LETTERS_IN_LINE = Math.floor(CELL_WIDTH / LETTER);
/** Most images on a sheet: about 4,700×6,000 pixels. */
const MAX_IMAGES = 2500;

/**
 * Draws a data set's images as one PNG: below each its class or, with predictions, the predicted one in white where it
 * is right; in red, in a red frame and with the true one below it where it is not. Needs no fonts.
 *
 * @param dataset - at most 2,500 images
 * @returns the PNG file's contents
 * @throws LENET5_COUNT_MISMATCH when predictions and images differ in number, LENET5_INVALID_LABELS for a prediction
 *   without a class, LENET5_INVALID_OPTION for too many images, and what a check of the data set throws
 */
export async function contactSheet(dataset: Dataset, options: ContactSheetOptions = {}): Promise<Buffer> {
  checkOptionNames(options, ["predictions", "columns"], "contactSheet");
  checkDataset(dataset);
  const { count, images, labels, classNames } = dataset;
  const { predictions } = options;
  if (count > MAX_IMAGES) throw expected("INVALID_OPTION", `at most ${MAX_IMAGES} images`, "a contact sheet", count);
  if (predictions !== undefined && predictions.length !== count) {
    throw expectedButGot(
      "COUNT_MISMATCH",
      `${count} predictions, one an image,`,
      "predictions",
      `${predictions.length}`,
    );
  }
  const columns = Math.min(wholeNumber(options.columns ?? Math.ceil(Math.sqrt(count)), "columns", 1), count);
  const cellHeight = IMAGE + 2 * FRAME + 4 + LINE * (predictions === undefined ? 1 : 2);
  const sheet = new Sheet(columns * CELL_WIDTH, Math.ceil(count / columns) * cellHeight);
  for (let i = 0; i < count; i++) {
    const left = (i % columns) * CELL_WIDTH;
    const top = Math.floor(i / columns) * cellHeight;
    const actual = classNames[labels[i]!]!;
    const prediction = predictions?.[i];
    if (prediction !== undefined && classNames[prediction] === undefined) {
      const range = `class indices from 0 to ${classNames.length - 1}`;
      throw expectedButGot("INVALID_LABELS", range, "predictions", `${prediction} at position ${i}`);
    }
    const wrong = prediction !== undefined && prediction !== labels[i];
    if (wrong) sheet.fill(left + 2, top + 2, IMAGE + 2 * FRAME, IMAGE + 2 * FRAME, RED);
    sheet.image(images.subarray(i * PIXELS, (i + 1) * PIXELS), left + 2 + FRAME, top + 2 + FRAME);
    const below = top + IMAGE + 2 * FRAME + 4;
    sheet.caption(prediction === undefined ? actual : classNames[prediction]!, left, below, wrong ? RED : WHITE);
    if (wrong) sheet.caption(actual, left, below + LINE, GREY);
  }
  return await sheet.toPng();
}

/** Pixels of the sheet, three bytes each. */
class Sheet {
  readonly #data: Uint8Array;

  constructor(
    readonly width: number,
    readonly height: number,
  ) {
    this.#data = new Uint8Array(width * height * 3).fill(GROUND);
  }

  fill(left: number, top: number, width: number, height: number, colour: Colour): void {
    for (let y = top; y < top + height; y++) {
      for (let x = left; x < left + width; x++) this.#data.set(colour, (y * this.width + x) * 3);
    }
  }

  image(pixels: Uint8Array, left: number, top: number): void {
    for (let y = 0; y < IMAGE; y++) {
      const row = Math.floor(y / SCALE) * SIDE;
      const start = ((top + y) * this.width + left) * 3;
      for (let x = 0; x < IMAGE; x++) {
        this.#data.fill(pixels[row + Math.floor(x / SCALE)]!, start + 3 * x, start + 3 * x + 3);
      }
    }
  }

  /** One line of text in the middle of a cell, cut where it would leave it. */
  caption(text: string, cellLeft: number, top: number, colour: Colour): void {
    const letters = [...text].slice(0, LETTERS_IN_LINE);
    const left = cellLeft + Math.floor((CELL_WIDTH - letters.length * LETTER + LETTER_SCALE) / 2);
    for (const [index, letter] of letters.entries()) {
      for (let row = 0; row < GLYPH_HEIGHT; row++) {
        for (let column = 0; column < GLYPH_WIDTH; column++) {
          if (!glyphPixel(letter, row, column)) continue;
          const x = left + index * LETTER + column * LETTER_SCALE;
          this.fill(x, top + row * LETTER_SCALE, LETTER_SCALE, LETTER_SCALE, colour);
        }
      }
    }
  }

  toPng(): Promise<Buffer> {
    return sharp(this.#data, { raw: { width: this.width, height: this.height, channels: 3 } })
      .png()
      .toBuffer();
  }
}
