// What `predict` and its kin take, and that no form of it can be misread or changed behind the model's back.
import { writeFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";
import { crc32 } from "node:zlib";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { decodeDigit, decodeDigits, type ImageSource, LeNet5 } from "../../lib/index.js";
import { temporaryFolder } from "../cli/lenet5.js";
import { stripedImages } from "./striped-images.js";

const { images } = stripedImages(3);
const first = images.slice(0, 784);
const model = new LeNet5({ seed: 3, device: "cpu" });
afterAll(() => model.dispose());

let png: Buffer;
/** A PNG of few bytes. */
let blank: Buffer;
let known: Float32Array;

beforeAll(async () => {
  png = await encoded("png");
  blank = await sharp({ create: { width: 28, height: 28, channels: 3, background: "black" } })
    .png()
    .toBuffer();
  known = model.predictSync(first).probabilities;
});

/** The first image as a file, enlarged where the format blurs. */
async function encoded(format: "png" | "jpeg" | "webp" | "gif" | "tiff" | "avif"): Promise<Buffer> {
  return sharp(Buffer.from(first), { raw: { width: 28, height: 28, channels: 1 } })
    .toFormat(format)
    .toBuffer();
}

/** A PNG of exactly so many bytes: chunks of text fill it. */
function padded(length: number, file = blank): Buffer {
  const missing = length - file.length - 12;
  const chunk = Buffer.alloc(12 + missing, 0x20);
  chunk.writeUInt32BE(missing, 0);
  chunk.write("tEXta\0", 4, "latin1");
  chunk.writeUInt32BE(crc32(chunk.subarray(4, 8 + missing)), 8 + missing);
  const end = file.length - 12;
  return Buffer.concat([file.subarray(0, end), chunk, file.subarray(end)]);
}

const ambiguous = {
  code: "LENET5_INVALID_ARGUMENT",
  message: expect.stringMatching(/^Expected \{ image: bytes \} or \{ pixels: bytes \} for .+ but received .+PNG/),
};

describe("pixels", () => {
  test.each<[string, () => Parameters<LeNet5["predictSync"]>[0]]>([
    ["a Uint8Array", () => first],
    ["a Buffer, as sharp().raw().toBuffer() gives it", () => Buffer.from(first)],
    ["a Uint8ClampedArray", () => Uint8ClampedArray.from(first)],
    ["an ArrayBuffer", () => first.slice().buffer],
    ["a Float32Array", () => Float32Array.from(first, (pixel) => pixel / 255)],
    ["{ pixels } with bytes", () => ({ pixels: Buffer.from(first) })],
    ["{ pixels } with floats", () => ({ pixels: Float32Array.from(first, (pixel) => pixel / 255) })],
    ["a tensor", () => ({ data: first, shape: [1, 1, 28, 28], dtype: "uint8" })],
  ])("%s", async (_, make) => {
    for (const { probabilities } of [await model.predict(make()), model.predictSync(make())]) {
      for (const [i, value] of probabilities.entries()) expect(value).toBeCloseTo(known[i]!, 5);
    }
    expect((await model.forward(make())).shape).toEqual([1, 10]);
  });

  test("{ pixels } are pixels even where they begin as an image file", async () => {
    const bytes = padded(1568);
    expect((await model.predict({ pixels: bytes })).count).toBe(2);
    expect(model.predictSync({ pixels: bytes }).count).toBe(2);
  });
});

describe("an image file", () => {
  test.each<[string, () => Promise<ImageSource> | ImageSource]>([
    ["a Buffer", () => png],
    ["a Uint8Array, as fetch gives it", () => Uint8Array.from(png)],
    ["an ArrayBuffer", () => Uint8Array.from(png).buffer],
    ["a Blob", () => new Blob([png])],
    ["a data: URL", () => new URL(`data:image/png;base64,${png.toString("base64")}`)],
    ["{ image } with bytes", () => ({ image: png })],
    ["{ image } with bytes that could be pixels", () => ({ image: padded(784 * 4, png) })],
    [
      "a path",
      async () => {
        const path = `${temporaryFolder()}/digit.png`;
        await writeFile(path, png);
        return path;
      },
    ],
    [
      "a file: URL",
      async () => {
        const path = `${temporaryFolder()}/a digit.png`;
        await writeFile(path, png);
        return pathToFileURL(path);
      },
    ],
    [
      "ImageData of a canvas",
      () => {
        const data = Uint8ClampedArray.from({ length: 784 * 4 }, (_, i) => (i % 4 === 3 ? 255 : first[i >> 2]!));
        return { data, width: 28, height: 28 };
      },
    ],
  ])("%s", async (_, make) => {
    const source = await make();
    expect(await decodeDigit(source)).toEqual(first);
    expect((await model.predict(source as Buffer)).probabilities).toEqual(known);
    expect((await model.predict([source, source])).count).toBe(2);
  });

  test.each(["png", "jpeg", "webp", "gif", "tiff", "avif"] as const)("is known by its bytes: %s", async (format) => {
    let file = await encoded(format);
    // One byte more than a multiple of 784 where it happens to be one.
    if (file.length % 784 === 0) file = Buffer.concat([file, Buffer.alloc(1)]);
    expect((await model.predict(Uint8Array.from(file))).count).toBe(1);
  });

  test("is known by its bytes: SVG", async () => {
    for (const head of ["", "<?xml version='1.0'?>\n", "\ufeff  "]) {
      const svg = `${head}<svg xmlns="http://www.w3.org/2000/svg" width="50" height="50"><path d="M25 5v40" stroke="#000"/></svg>`;
      expect((await model.predict(Buffer.from(svg))).count).toBe(1);
      const url = new URL(`data:image/svg+xml,${encodeURIComponent(svg.trim())}`);
      expect((await model.predict(url)).count).toBe(1);
    }
  });

  test("of a format that nothing here decodes is refused, not taken for pixels", async () => {
    const pdf = Buffer.alloc(785, "%PDF-1.7\n");
    await expect(model.predict(pdf)).rejects.toMatchObject({ code: "LENET5_IMAGE_UNREADABLE" });
  });
});

describe("what could be both", () => {
  test("is refused with what to write", async () => {
    const bytes = padded(1568);
    await expect(model.predict(bytes)).rejects.toMatchObject(ambiguous);
    await expect(model.forward(Uint8Array.from(bytes))).rejects.toMatchObject(ambiguous);
    expect(() => model.predictSync(bytes)).toThrow(expect.objectContaining(ambiguous));
    await expect(decodeDigit(padded(784))).rejects.toMatchObject(ambiguous);
    await expect(decodeDigits([png, padded(784)])).rejects.toMatchObject(ambiguous);
  });

  test("an image file is no pixels for a synchronous call", () => {
    for (const source of [png, { image: png }]) {
      expect(() => model.predictSync(source as never)).toThrow(
        expect.objectContaining({ code: "LENET5_INVALID_ARGUMENT", message: expect.stringContaining("predict") }),
      );
    }
  });

  test("bytes of neither kind are refused by both names", async () => {
    await expect(model.predict(Buffer.alloc(1000, 7))).rejects.toMatchObject({ code: "LENET5_INVALID_SHAPE" });
    await expect(decodeDigit(Buffer.alloc(1000, 7))).rejects.toMatchObject({ code: "LENET5_IMAGE_UNREADABLE" });
  });

  test("a label beside other names is refused", async () => {
    const both = { pixels: first, image: png };
    await expect(model.predict(both)).rejects.toMatchObject({ code: "LENET5_INVALID_ARGUMENT" });
  });

  test.each([new URL("https://example.org/7.png"), { data: new Uint8ClampedArray(12), width: 2, height: 2 }])(
    "%s is refused",
    async (source) => {
      await expect(decodeDigit(source)).rejects.toMatchObject({
        code: expect.stringMatching(/LENET5_INVALID_(ARGUMENT|SHAPE)/),
      });
    },
  );
});

describe("a caller that goes on with what was handed over", () => {
  test("does not change the answer: pixels, file contents, lists, canvases", async () => {
    const file = Uint8Array.from(png);
    const list: ImageSource[] = [Uint8Array.from(png), first.slice()];
    const canvas = { data: new Uint8ClampedArray(784 * 4).fill(255), width: 28, height: 28 };
    for (let i = 0; i < 784 * 4; i++) if (i % 4 !== 3) canvas.data[i] = first[i >> 2]!;
    const pixels = first.slice();
    const calls = [model.predict(pixels), model.predict(file), model.predict(list), model.predict(canvas)];
    pixels.fill(0);
    file.fill(0);
    (list[0] as Uint8Array).fill(0);
    (list[1] as Uint8Array).fill(0);
    list.length = 0;
    canvas.data.fill(0);
    for (const { probabilities } of await Promise.all(calls)) {
      for (const [i, value] of known.entries()) expect(probabilities[i]).toBeCloseTo(value, 5);
    }
  });

  test("has each getter read once", async () => {
    let reads = 0;
    const shifty = {
      get pixels() {
        return reads++ === 0 ? first : null;
      },
    };
    expect((await model.predict(shifty as { pixels: Uint8Array })).probabilities).toEqual(known);
    expect(reads).toBe(1);
    let shapes = 0;
    const tensor = {
      data: first,
      dtype: "uint8" as const,
      get shape() {
        return shapes++ === 0 ? [1, 784] : [1000, 784];
      },
    };
    expect(model.predictSync(tensor).count).toBe(1);
  });
});
