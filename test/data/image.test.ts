import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { deflateSync } from "node:zlib";
import sharp from "sharp";
import { describe, expect, test } from "vitest";
import { decodeDigit, decodeDigits, syntheticDigits } from "../../lib/index.js";
import { describeWithMnist, loadDigits } from "../mnist.js";
import { temporaryFolder } from "./folder.js";

const digits = await syntheticDigits.generate({ count: 20, seed: 21 });
const digitAt = (index: number) => digits.images.subarray(index * 784, (index + 1) * 784);
const image = (pixels: Uint8Array) => sharp(pixels, { raw: { width: 28, height: 28, channels: 1 } });

/** Mean difference of two images, in grey levels. */
function distance(a: Uint8Array, b: Uint8Array): number {
  return a.reduce((sum, value, i) => sum + Math.abs(value - b[i]!), 0) / a.length;
}

/** Mass, and its centre in rows and columns. */
function mass(pixels: Uint8Array): { ink: number; row: number; column: number } {
  let [ink, row, column] = [0, 0, 0];
  for (const [i, value] of pixels.entries()) {
    ink += value;
    row += value * Math.floor(i / 28);
    column += value * (i % 28);
  }
  return { ink, row: row / ink, column: column / ink };
}

function bounds(pixels: Uint8Array): { width: number; height: number } {
  const inked = [...pixels.keys()].filter((i) => pixels[i]! > 100);
  const columns = inked.map((i) => i % 28);
  const rows = inked.map((i) => Math.floor(i / 28));
  return {
    width: Math.max(...columns) - Math.min(...columns) + 1,
    height: Math.max(...rows) - Math.min(...rows) + 1,
  };
}

/** A thick stroke from the middle of an SVG drawing, as a photo or scan might show it. */
function drawing(width: number, height: number, ink: string, ground: string | undefined, path: string): Buffer {
  const rect = ground === undefined ? "" : `<rect width="${width}" height="${height}" fill="${ground}"/>`;
  return Buffer.from(
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">${rect}` +
      `<path d="${path}" fill="none" stroke="${ink}" stroke-width="${Math.min(width, height) / 14}"/></svg>`,
  );
}

describe("an image of 28×28", () => {
  test("keeps its pixels, byte for byte, in every lossless form", async () => {
    for (let i = 0; i < 20; i++) {
      const pixels = digitAt(i);
      const forms = [
        await image(pixels).png().toBuffer(),
        await image(pixels).toColourspace("srgb").png().toBuffer(),
        await image(pixels).ensureAlpha().png().toBuffer(),
        await image(pixels).webp({ lossless: true }).toBuffer(),
        await image(pixels).tiff({ compression: "lzw" }).toBuffer(),
      ];
      for (const form of forms) expect(Buffer.compare(await decodeDigit(form), pixels)).toBe(0);
    }
  });

  test("is inverted and otherwise left alone when it is dark on light", async () => {
    const inverted = await image(digitAt(3)).negate().png().toBuffer();
    expect(Buffer.compare(await decodeDigit(inverted), digitAt(3))).toBe(0);
  });

  test("with ink up to its edges on some sides is not taken for dark on light", async () => {
    const bag = new Uint8Array(784);
    for (let i = 0; i < 784; i++) if (i % 28 > 1 && i % 28 < 26 && i >= 28 * 9) bag[i] = 230;
    expect(Buffer.compare(await decodeDigit(await image(bag).png().toBuffer()), bag)).toBe(0);
  });

  test.each(["png", "webp", "jpeg"] as const)("becomes a plain array of its own: %s", async (format) => {
    for (const background of ["#000000", "#ffffff"]) {
      const image = sharp({ create: { width: 28, height: 28, channels: 3, background } }).toColourspace("b-w");
      const digit = await decodeDigit(await image.toFormat(format).toBuffer());
      expect(Object.getPrototypeOf(digit)).toBe(Uint8Array.prototype);
      expect([digit.length, digit.byteOffset, digit.buffer.byteLength]).toEqual([784, 0, 784]);
    }
  });
});

describe("an image of another size", () => {
  const SEVEN = "M40 50 L140 50 L80 190";

  test("is grey, light on dark, 20 pixels at its longer side, and centred by mass", async () => {
    for (const [ink, ground] of [
      ["black", "white"],
      ["white", "black"],
      ["#1a3a9c", "#f4f0dc"],
      ["#ffe060", "#203060"],
    ] as const) {
      const pixels = await decodeDigit(
        await sharp(drawing(180, 240, ink, ground, SEVEN))
          .png()
          .toBuffer(),
      );
      expect(pixels).toHaveLength(784);
      expect(pixels.constructor).toBe(Buffer.isBuffer(pixels) ? Buffer : Uint8Array);
      expect(Math.max(...pixels)).toBe(255);
      expect(pixels[0]).toBe(0);
      const { row, column } = mass(pixels);
      expect(Math.abs(row - 14)).toBeLessThan(0.51);
      expect(Math.abs(column - 14)).toBeLessThan(0.51);
      expect(bounds(pixels).height).toBeGreaterThanOrEqual(19);
      expect(bounds(pixels).height).toBeLessThanOrEqual(20);
      expect(bounds(pixels).width / bounds(pixels).height).toBeCloseTo(113 / 153, 0.9);
    }
  });

  test("is the same wherever and however large the digit stands on it", async () => {
    const reference = await decodeDigit(
      await sharp(drawing(180, 240, "black", "white", SEVEN))
        .png()
        .toBuffer(),
    );
    const moved = await sharp(drawing(180, 240, "black", "white", SEVEN))
      .extend({ left: 300, top: 20, right: 5, bottom: 90, background: "white" })
      .png()
      .toBuffer();
    expect(distance(await decodeDigit(moved), reference)).toBeLessThan(1);
    const large = await sharp(moved).resize({ width: 3000 }).jpeg({ quality: 95 }).toBuffer();
    expect(distance(await decodeDigit(large), reference)).toBeLessThan(4);
  });

  test("keeps its digit upright when a camera noted its rotation", async () => {
    const upright = await sharp(drawing(180, 240, "black", "white", SEVEN))
      .png()
      .toBuffer();
    const lying = await sharp(upright).rotate(-90).withMetadata({ orientation: 6 }).jpeg({ quality: 95 }).toBuffer();
    expect(distance(await decodeDigit(lying), await decodeDigit(upright))).toBeLessThan(4);
  });

  test("stands out from transparency whether its ink is dark or light", async () => {
    const reference = await decodeDigit(
      await sharp(drawing(180, 240, "black", "white", SEVEN))
        .png()
        .toBuffer(),
    );
    for (const ink of ["black", "white", "#c02020"]) {
      const png = await sharp(drawing(180, 240, ink, undefined, SEVEN))
        .png()
        .toBuffer();
      expect(distance(await decodeDigit(png), reference)).toBeLessThan(2);
    }
  });

  test("with 16 bits, in CMYK, as SVG and as AVIF gives the same digit", async () => {
    const svg = drawing(180, 240, "black", "white", SEVEN);
    const reference = await decodeDigit(await sharp(svg).png().toBuffer());
    const forms = [
      svg,
      await sharp(svg).toColourspace("rgb16").png().toBuffer(),
      await sharp(svg).toColourspace("cmyk").jpeg({ quality: 95 }).toBuffer(),
      await sharp(svg).avif({ quality: 80 }).toBuffer(),
    ];
    for (const form of forms) expect(distance(await decodeDigit(form), reference)).toBeLessThan(3);
  });

  test("of grainy paper gives ink and no grain", async () => {
    const noise = await sharp({
      create: {
        width: 360,
        height: 480,
        channels: 3,
        background: "#d8d4c8",
        noise: { type: "gaussian", mean: 205, sigma: 9 },
      },
    })
      .png()
      .toBuffer();
    const ink = await sharp(drawing(180, 240, "#282c34", undefined, SEVEN))
      .resize(360, 480)
      .png()
      .toBuffer();
    const scan = await sharp(noise)
      .composite([{ input: ink }])
      .jpeg({ quality: 80 })
      .toBuffer();
    const reference = await decodeDigit(
      await sharp(drawing(180, 240, "black", "white", SEVEN))
        .png()
        .toBuffer(),
    );
    expect(distance(await decodeDigit(scan), reference)).toBeLessThan(6);
  });

  test("with a line of one pixel still gives bright ink", async () => {
    const thin = Buffer.from(
      '<svg xmlns="http://www.w3.org/2000/svg" width="600" height="600"><rect width="600" height="600" fill="#fff"/>' +
        '<path d="M100 100 L400 100 L200 500" fill="none" stroke="#000"/></svg>',
    );
    const pixels = await decodeDigit(await sharp(thin).png().toBuffer());
    expect(Math.max(...pixels)).toBe(255);
    expect(pixels.filter((value) => value > 60).length).toBeGreaterThan(20);
  });

  test("without any ink is black", async () => {
    for (const background of ["white", "black", "#808080", { r: 0, g: 0, b: 0, alpha: 0 }]) {
      const png = await sharp({ create: { width: 50, height: 70, channels: 4, background } })
        .png()
        .toBuffer();
      expect((await decodeDigit(png)).every((value) => value === 0)).toBe(true);
    }
  });

  test("of a single pixel, a row or a column is no trouble", async () => {
    for (const [width, height] of [
      [1, 1],
      [300, 1],
      [1, 300],
      [2, 2],
    ] as const) {
      const pixels = new Uint8Array(width * height);
      pixels[0] = 255;
      const png = await sharp(pixels, { raw: { width, height, channels: 1 } })
        .png()
        .toBuffer();
      expect(await decodeDigit(png)).toHaveLength(784);
    }
  });
});

/** A PNG chunk. */
function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type), data]);
  const out = Buffer.alloc(body.length + 8);
  out.writeUInt32BE(data.length);
  body.copy(out, 4);
  let crc = 0xffff_ffff;
  for (const byte of body) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb8_8320 : crc >>> 1;
  }
  out.writeUInt32BE(~crc >>> 0, body.length + 4);
  return out;
}

describe("an image that cannot be read", () => {
  const png = image(digitAt(0)).resize(100, 100).png().toBuffer();

  test("is named", async () => {
    const path = join(temporaryFolder(), "torn.png");
    writeFileSync(path, (await png).subarray(0, 200));
    await expect(decodeDigit(path)).rejects.toMatchObject({
      code: "LENET5_IMAGE_UNREADABLE",
      message: expect.stringContaining(path),
    });
  });

  test("is refused when cut off, altered, empty or no image", async () => {
    const whole = await png;
    const altered = Buffer.from(whole);
    altered.fill(0x55, 60, 120);
    for (const bytes of [
      whole.subarray(0, whole.length - 40),
      altered,
      Buffer.alloc(0),
      Buffer.from("GIF89a"),
      Buffer.alloc(999),
    ]) {
      await expect(decodeDigit(bytes)).rejects.toMatchObject({ code: "LENET5_IMAGE_UNREADABLE" });
    }
  });

  test("is refused when it is a decompression bomb, before its pixels are unpacked", async () => {
    const header = Buffer.alloc(13);
    header.writeUInt32BE(60_000, 0);
    header.writeUInt32BE(60_000, 4);
    header[8] = 8;
    const bomb = Buffer.concat([
      Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
      chunk("IHDR", header),
      chunk("IDAT", deflateSync(Buffer.alloc(40_000_000))),
      chunk("IEND", Buffer.alloc(0)),
    ]);
    const before = process.memoryUsage().rss;
    await expect(decodeDigit(bomb)).rejects.toMatchObject({
      code: "LENET5_IMAGE_UNREADABLE",
      message: expect.stringContaining("pixel limit"),
    });
    expect(process.memoryUsage().rss - before).toBeLessThan(200_000_000);
  });

  test("is a missing file, a folder, or no source at all", async () => {
    await expect(decodeDigit("/no/such.png")).rejects.toMatchObject({ code: "LENET5_DATA_NOT_FOUND" });
    await expect(decodeDigit(temporaryFolder())).rejects.toMatchObject({ code: "LENET5_IMAGE_UNREADABLE" });
    await expect(decodeDigit(7 as never)).rejects.toMatchObject({ code: "LENET5_INVALID_ARGUMENT" });
  });

  test("a file that changes is read anew", async () => {
    const path = join(temporaryFolder(), "same-name.png");
    await image(digitAt(1)).png().toFile(path);
    const first = await decodeDigit(path);
    writeFileSync(path, await image(digitAt(2)).png().toBuffer());
    expect(Buffer.compare(first, digitAt(1))).toBe(0);
    expect(Buffer.compare(await decodeDigit(path), digitAt(2))).toBe(0);
  });
});

describe("many images", () => {
  test("come in their order, a few at a time, with progress", async () => {
    const files = await Promise.all(Array.from({ length: 20 }, (_, i) => image(digitAt(i)).png().toBuffer()));
    const seen: number[] = [];
    const all = await decodeDigits(files, { concurrency: 3, onProgress: (done, total) => seen.push(done / total) });
    expect(Buffer.compare(all, digits.images)).toBe(0);
    expect(seen).toHaveLength(20);
    expect(seen.at(-1)).toBe(1);
  });

  test("end with the first unreadable one, or report it and go on", async () => {
    const good = await image(digitAt(4)).png().toBuffer();
    const files = [good, Buffer.from("bad"), good];
    await expect(decodeDigits(files)).rejects.toMatchObject({ code: "LENET5_IMAGE_UNREADABLE" });
    const bad: number[] = [];
    const all = await decodeDigits(files, { onUnreadable: (_, index) => bad.push(index) });
    expect(bad).toEqual([1]);
    expect(Buffer.compare(all.subarray(2 * 784), digitAt(4))).toBe(0);
  });

  test("stop when aborted", async () => {
    const file = await image(digitAt(4)).png().toBuffer();
    const controller = new AbortController();
    const onProgress = (done: number) => done === 5 && controller.abort();
    const files = Array.from({ length: 500 }, () => file);
    await expect(decodeDigits(files, { signal: controller.signal, onProgress })).rejects.toMatchObject({
      code: "LENET5_ABORTED",
    });
  });
});

describeWithMnist("MNIST's digits", () => {
  test("survive being enlarged, moved, inverted and saved as JPEG", async () => {
    const { test } = await loadDigits();
    const distances: number[] = [];
    for (let i = 0; i < 100; i++) {
      const pixels = test.images.subarray(i * 784, (i + 1) * 784);
      const file = await image(pixels)
        .resize(168, 168, { kernel: "cubic" })
        .extend({ left: 90, right: 15, top: 12, bottom: 70, background: "black" })
        .negate()
        .jpeg()
        .toBuffer();
      distances.push(distance(await decodeDigit(file), pixels));
    }
    expect(distances.reduce((sum, value) => sum + value, 0) / 100).toBeLessThan(10);
  });
});

test("URLs that are strings are read as URLs", async () => {
  const png = await image(digitAt(0)).png().toBuffer();
  const path = join(temporaryFolder(), "digit.png");
  writeFileSync(path, png);
  for (const url of [`data:image/png;base64,${png.toString("base64")}`, `file://${path}`]) {
    expect(Buffer.compare(await decodeDigit(url), digitAt(0))).toBe(0);
  }
  const error: Error = await decodeDigit(`data:image/png;base64,${"A".repeat(5000)}`).catch((e) => e);
  expect(error).toMatchObject({ code: "LENET5_IMAGE_UNREADABLE" });
  expect(error.message.length).toBeLessThan(300);
});
