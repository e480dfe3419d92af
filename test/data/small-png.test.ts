// The fast way of small PNGs must never give other pixels than sharp: where it is not certain, it gives none.
import { crc32, deflateSync } from "node:zlib";
import sharp from "sharp";
import { describe, expect, test } from "vitest";
import { Random } from "../../lib/data/random.js";
import { decodeSmallPng } from "../../lib/data/small-png.js";
import { decodeDigit, decodeDigitSync, syntheticDigits } from "../../lib/index.js";
import { mutate } from "../mutate.mjs";

interface Chunk {
  type: string;
  data: Buffer;
}

const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
const CHANNELS = { 0: 1, 2: 3, 4: 2, 6: 4 } as const;
type ColourType = keyof typeof CHANNELS;

function bytesOfChunk({ type, data }: Chunk): Buffer {
  const bytes = Buffer.alloc(data.length + 12);
  bytes.writeUInt32BE(data.length, 0);
  bytes.write(type, 4, "latin1");
  data.copy(bytes, 8);
  bytes.writeUInt32BE(crc32(bytes.subarray(4, data.length + 8)), data.length + 8);
  return bytes;
}

const png = (chunks: readonly Chunk[]) => Buffer.concat([SIGNATURE, ...chunks.map(bytesOfChunk)]);

function header(width: number, height: number, colourType: number, depth = 8, interlace = 0): Chunk {
  const data = Buffer.alloc(13);
  data.writeUInt32BE(width, 0);
  data.writeUInt32BE(height, 4);
  data.set([depth, colourType, 0, 0, interlace], 8);
  return { type: "IHDR", data };
}

/** Pixels behind PNG's five filters, written from the specification. */
function filtered(pixels: Buffer, stride: number, channels: number, filterOf: (row: number) => number): Buffer {
  const height = pixels.length / stride;
  const rows = Buffer.alloc((stride + 1) * height);
  for (let y = 0; y < height; y++) {
    const filter = filterOf(y);
    rows[y * (stride + 1)] = filter;
    for (let x = 0; x < stride; x++) {
      const a = x >= channels ? pixels[y * stride + x - channels]! : 0;
      const b = y > 0 ? pixels[(y - 1) * stride + x]! : 0;
      const c = x >= channels && y > 0 ? pixels[(y - 1) * stride + x - channels]! : 0;
      const p = a + b - c;
      const [pa, pb, pc] = [Math.abs(p - a), Math.abs(p - b), Math.abs(p - c)];
      const paeth = pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
      rows[y * (stride + 1) + 1 + x] = pixels[y * stride + x]! - [0, a, b, (a + b) >> 1, paeth][filter]!;
    }
  }
  return rows;
}

/** Noise, strokes, ramps or one colour: what compresses well and what does not. */
function randomPixels(length: number, random: Random): Buffer {
  const kind = random.integer(4);
  const base = random.integer(256);
  return Buffer.from(
    Array.from({ length }, (_, i) =>
      kind === 0
        ? random.integer(256)
        : kind === 1
          ? random.integer(8) === 0
            ? 255
            : 0
          : kind === 2
            ? base + i
            : base,
    ),
  );
}

const fixed = (type: string, ...bytes: number[]): Chunk => ({ type, data: Buffer.from(bytes) });
const words = (type: string, ...values: number[]): Chunk => {
  const data = Buffer.alloc(values.length * 4);
  for (const [i, value] of values.entries()) data.writeUInt32BE(value, i * 4);
  return { type, data };
};
/** What encoders write beside the pixels, with what changes their meaning among it. */
const BESIDE: readonly (() => Chunk)[] = [
  () => ({ type: "pHYs", data: Buffer.from([0, 0, 11, 19, 0, 0, 11, 19, 1]) }),
  () => fixed("sRGB", 0),
  () => words("gAMA", 45455),
  () => words("gAMA", 100000),
  () => words("gAMA", 220000),
  () => words("cHRM", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000),
  () => words("cHRM", 34567, 35850, 73470, 26530, 11500, 82600, 15700, 1800),
  () => fixed("tIME", 7, 232, 1, 2, 3, 4, 5),
  () => ({ type: "tEXt", data: Buffer.from("Software\0a program") }),
  () => ({ type: "tEXt", data: Buffer.from(`Raw profile type exif\0\nexif\n8\n${"00".repeat(8)}\n`) }),
  () => ({ type: "zTXt", data: Buffer.concat([Buffer.from("Comment\0\0"), deflateSync("words")]) }),
  () => ({ type: "iTXt", data: Buffer.from("Title\0\0\0en\0Title\0words") }),
  () => fixed("tRNS", 0, 0),
  () => fixed("tRNS", 0, 0, 0, 0, 0, 0),
  () => fixed("bKGD", 0, 255),
  () => fixed("sBIT", 5),
  () => fixed("sBIT", 5, 6, 5),
  () => fixed("PLTE", 1, 2, 3, 4, 5, 6),
  // An orientation: turned by 90 degrees.
  () => ({
    type: "eXIf",
    data: Buffer.from("4d4d002a000000080001011200030000000100060000 00000000".replaceAll(" ", ""), "hex"),
  }),
  () => fixed("prIv", 1, 2, 3),
  () => fixed("acTL", 0, 0, 0, 1, 0, 0, 0, 0),
];

interface Drawn {
  chunks: Chunk[];
  width: number;
  height: number;
}

function drawn(random: Random, colourTypes: readonly ColourType[], besideShare: number): Drawn {
  const colourType = colourTypes[random.integer(colourTypes.length)]!;
  const channels = CHANNELS[colourType];
  const side = () => (random.integer(3) === 0 ? 28 : 1 + random.integer(66));
  const [width, height] = [side(), side()];
  const pixels = randomPixels(width * height * channels, random);
  const oneFilter = random.integer(6);
  const rows = filtered(pixels, width * channels, channels, () => (oneFilter === 5 ? random.integer(5) : oneFilter));
  const compressed = deflateSync(rows, {
    level: random.integer(10),
    strategy: random.integer(5),
    windowBits: 9 + random.integer(7),
  });
  const parts: Chunk[] = [];
  for (let at = 0; at < compressed.length; ) {
    const length = random.integer(2) === 0 ? compressed.length : 1 + random.integer(compressed.length);
    parts.push({ type: "IDAT", data: compressed.subarray(at, at + length) });
    at += length;
  }
  const beside = BESIDE.filter(() => random.uniform() < besideShare).map((make) => make());
  const after = random.uniform() < besideShare ? [BESIDE[random.integer(BESIDE.length)]!()] : [];
  const chunks = [header(width, height, colourType), ...beside, ...parts, ...after, fixed("IEND")];
  return { chunks, width, height };
}

/** What sharp makes of a file, in the way of lib/data/image.ts: RGB or RGBA; undefined where it refuses. */
async function throughSharp(file: Buffer) {
  try {
    const opened = sharp(file, { failOn: "error" }).autoOrient().toColourspace("srgb");
    const { data, info } = await opened.raw({ depth: "uchar" }).toBuffer({ resolveWithObject: true });
    return { pixels: colours(data, info.channels), width: info.width, height: info.height };
  } catch {
    return undefined;
  }
}

/** Grey, grey with opacity, RGB or RGBA as RGBA. */
function colours(data: Uint8Array, channels: number): Buffer {
  const count = data.length / channels;
  const rgba = Buffer.alloc(count * 4);
  for (let i = 0; i < count; i++) {
    const at = i * channels;
    const rgb = channels < 3 ? [data[at]!, data[at]!, data[at]!] : [...data.subarray(at, at + 3)];
    rgba.set([...rgb, channels % 2 === 0 ? data[at + channels - 1]! : 255], i * 4);
  }
  return rgba;
}

async function expectSharpsPixels(file: Buffer): Promise<"fast" | "slow"> {
  const fast = decodeSmallPng(file);
  if (fast === undefined) return "slow";
  const slow = await throughSharp(file);
  expect({ width: fast.width, height: fast.height }).toEqual({ width: slow?.width, height: slow?.height });
  if (!colours(fast.data, fast.channels).equals(slow!.pixels)) expect.fail(`other pixels: ${file.toString("base64")}`);
  return "fast";
}

describe("pixels are sharp's", () => {
  test("1,200 plain images of all sizes, colours, filters and compressions, and none of them is left to sharp", async () => {
    const random = new Random(90210);
    for (let i = 0; i < 1200; i++) {
      const { chunks, width, height } = drawn(random, [0, 2, 6], 0);
      expect(await expectSharpsPixels(png(chunks))).toBe(Math.max(width, height) <= 64 ? "fast" : "slow");
    }
  });

  test("600 images with anything beside the pixels", async () => {
    const random = new Random(90211);
    const ways = { fast: 0, slow: 0 };
    for (let i = 0; i < 600; i++) ways[await expectSharpsPixels(png(drawn(random, [0, 2, 4, 6], 0.06).chunks))]++;
    expect(Math.min(ways.fast, ways.slow)).toBeGreaterThan(50);
  });

  test("each chunk beside the pixels alone, before and after them", async () => {
    const random = new Random(90212);
    const fast = new Set<string>();
    for (const colourType of [0, 2, 6] as const) {
      for (const make of BESIDE) {
        const [first, ...rest] = drawn(random, [colourType], 0).chunks;
        const chunk = make();
        if ((await expectSharpsPixels(png([first!, chunk, ...rest]))) === "fast") fast.add(chunk.type);
        await expectSharpsPixels(png([first!, ...rest.slice(0, -1), chunk, rest.at(-1)!]));
      }
    }
    expect([...fast].sort()).toEqual(["cHRM", "gAMA", "pHYs", "sRGB", "tIME"]);
  });

  test("1,500 damaged files, half of them with check sums that fit the damage", async () => {
    const random = new Random(90213);
    for (let i = 0; i < 1500; i++) {
      const { chunks } = drawn(random, [0, 2, 6], 0.05);
      if (i % 2 === 0) await expectSharpsPixels(mutate(png(chunks), random));
      else {
        const broken = random.integer(chunks.length);
        const { type, data } = chunks[broken]!;
        if (data.length > 0) chunks[broken] = { type, data: mutate(data, random) };
        await expectSharpsPixels(png(chunks));
      }
    }
  });
});

describe("decodeDigitSync", () => {
  test("gives the digit of decodeDigit, from grey, RGB and RGBA", async () => {
    const { images } = await syntheticDigits.generate({ count: 30, seed: 4 });
    for (let i = 0; i < 30; i++) {
      const pixels = images.slice(i * 784, (i + 1) * 784);
      const grey = sharp(pixels, { raw: { width: 28, height: 28, channels: 1 } }).toColourspace("b-w");
      const rgb = sharp(await grey.clone().png().toBuffer()).toColourspace("srgb");
      const inverted = await grey.clone().negate().png().toBuffer();
      for (const file of [
        await grey.clone().png().toBuffer(),
        await rgb.clone().png().toBuffer(),
        await rgb.clone().ensureAlpha().png().toBuffer(),
        inverted,
      ]) {
        expect(decodeDigitSync(file)).toEqual(pixels);
        expect(decodeDigitSync({ image: new Uint8Array(file) })).toEqual(pixels);
      }
    }
  });

  test("leaves to decodeDigit what needs sharp or a file, and what is damaged", async () => {
    const grey = sharp(new Uint8Array(784), { raw: { width: 28, height: 28, channels: 1 } }).toColourspace("b-w");
    const file = await grey.clone().png().toBuffer();
    expect(decodeDigitSync(file)).toEqual(new Uint8Array(784));
    const otherSize = await grey.clone().resize(29, 28).png().toBuffer();
    const jpeg = await grey.clone().jpeg().toBuffer();
    for (const left of [otherSize, jpeg, file.subarray(0, -1), "digit.png", new Blob([file])]) {
      expect(decodeDigitSync(left)).toBeUndefined();
    }
    await expect(decodeDigit(file.subarray(0, 40))).rejects.toMatchObject({ code: "LENET5_IMAGE_UNREADABLE" });
  });

  test("takes pixels, and copies them", () => {
    const pixels = new Uint8Array(784).fill(7);
    const digit = decodeDigitSync({ pixels });
    pixels.fill(8);
    expect(digit).toEqual(new Uint8Array(784).fill(7));
  });
});

test("an image of 50,000 × 50,000 pixels is refused before anything of it is inflated", async () => {
  const rows = deflateSync(Buffer.alloc(50_001 * 100));
  const bomb = png([header(50_000, 50_000, 0), { type: "IDAT", data: rows }, fixed("IEND")]);
  const before = process.memoryUsage().rss;
  expect(decodeDigitSync(bomb)).toBeUndefined();
  await expect(decodeDigit(bomb)).rejects.toMatchObject({ code: "LENET5_IMAGE_UNREADABLE" });
  expect(process.memoryUsage().rss - before).toBeLessThan(200 * 2 ** 20);
});

test("a small image whose pixels inflate to more than it declares is left to sharp, which says what is wrong", async () => {
  const rows = deflateSync(Buffer.alloc(64 * 2 ** 20));
  const bomb = png([header(28, 28, 0), { type: "IDAT", data: rows }, fixed("IEND")]);
  expect(decodeDigitSync(bomb)).toBeUndefined();
});
