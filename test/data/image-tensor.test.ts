// The input of networks for photographs, beside torchvision's own transforms.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { imageTensor } from "../../lib/index.js";
import { describeWithPython, python } from "../python.js";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "lenet5-image-tensor-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const MEAN = [0.485, 0.456, 0.406];
const STD = [0.229, 0.224, 0.225];

describeWithPython("beside torchvision", () => {
  it("gives what a weights' transforms give, within one level", async () => {
    // Smaller and larger than wanted, both ways up, noise (the hardest for a filter) and smooth, grey and transparent.
    const program = `
import json, sys
import numpy as np
from PIL import Image, ImageFilter
from torchvision.transforms._presets import ImageClassification
folder = sys.argv[1]
rng = np.random.default_rng(3)
wanted = {}
cases = [(500, 375, 1.5, "RGB"), (301, 640, 0, "RGB"), (200, 180, 0, "RGB"), (1200, 901, 0, "RGB"), (256, 256, 0, "RGB"), (333, 300, 1, "L"), (320, 300, 1, "RGBA")]
for i, (width, height, blur, mode) in enumerate(cases):
    pixels = Image.fromarray(rng.integers(0, 256, (height, width, 4), dtype=np.uint8), "RGBA").filter(ImageFilter.GaussianBlur(blur)).convert(mode)
    pixels.save(f"{folder}/{i}.png")
    for resize, crop in ((256, 224), (232, 224), (64, 33)):
        transform = ImageClassification(crop_size=crop, resize_size=resize)
        transform(pixels.convert("RGB")).numpy().tofile(f"{folder}/{i}-{resize}-{crop}.bin")
print(len(cases))`;
    const count = await python<number>(program, [folder]);
    // Pillow rounds to whole levels after the rows and again after the columns, this once: a level apart now and then.
    for (const [resize, crop] of [
      [256, 224],
      [232, 224],
      [64, 33],
    ] as const) {
      const images = Array.from({ length: count }, (_, i) => join(folder, `${i}.png`));
      const { data, shape } = await imageTensor(images, { resize, crop });
      expect(shape).toEqual([count, 3, crop, crop]);
      const size = 3 * crop * crop;
      for (let i = 0; i < count; i++) {
        const bytes = await readFile(join(folder, `${i}-${resize}-${crop}.bin`));
        const wanted = new Float32Array(new Uint8Array(bytes).buffer);
        let most = 0;
        let sum = 0;
        for (let at = 0; at < size; at++) {
          const colour = Math.floor(at / (crop * crop));
          const levels = Math.abs(data[i * size + at]! - wanted[at]!) * STD[colour]! * 255;
          most = Math.max(most, levels);
          sum += levels;
        }
        expect(most, `image ${i} at ${resize}`).toBeLessThan(1.01);
        expect(sum / size, `image ${i} at ${resize}`).toBeLessThan(0.3);
      }
    }
  });
});

describe("without a peer", () => {
  const plain = (width: number, height: number, background = { r: 255, g: 0, b: 51 }): Promise<Buffer> =>
    sharp({ create: { width, height, channels: 3, background } })
      .png()
      .toBuffer();

  it("a plain image is one value a colour, whatever its size and kind", async () => {
    const images = [await plain(300, 400), await plain(10, 7), new Uint8Array(await plain(224, 224))];
    const { data, shape, dtype } = await imageTensor(images);
    expect({ shape, dtype }).toEqual({ shape: [3, 3, 224, 224], dtype: "float32" });
    const levels = [1, 0, 0.2];
    for (let at = 0; at < data.length; at += 997) {
      const colour = Math.floor(at / (224 * 224)) % 3;
      expect(data[at]).toBeCloseTo((levels[colour]! - MEAN[colour]!) / STD[colour]!, 5);
    }
  });

  it("takes mean and std, and no images at all", async () => {
    const { data } = await imageTensor([await plain(8, 8)], { resize: 8, crop: 4, mean: [0, 0, 0], std: [1, 1, 1] });
    expect([...data.subarray(0, 2), ...data.subarray(32, 34)].map((value) => Math.round(value * 255))).toEqual([
      255, 255, 51, 51,
    ]);
    expect(await imageTensor([])).toEqual({ data: new Float32Array(0), shape: [0, 3, 224, 224], dtype: "float32" });
  });

  it("refuses what does not fit, by name", async () => {
    const image = await plain(8, 8);
    const cases: [unknown, unknown, string][] = [
      ["image.png", {}, "INVALID_ARGUMENT"],
      [[17], {}, "INVALID_ARGUMENT"],
      [[join(folder, "absent.png")], {}, "DATA_NOT_FOUND"],
      [[image.subarray(0, 40)], {}, "IMAGE_UNREADABLE"],
      [[image], { crop: 257 }, "INVALID_OPTION"],
      [[image], { resize: 0 }, "INVALID_OPTION"],
      [[image], { mean: [1, 2] }, "INVALID_OPTION"],
      [[image], { std: [1, 0, 1] }, "INVALID_OPTION"],
      [[image], { size: 3 }, "UNKNOWN_OPTION"],
      [[image], { signal: AbortSignal.abort() }, "ABORTED"],
    ];
    for (const [images, options, code] of cases) {
      await expect(imageTensor(images as never, options as never), JSON.stringify(options)).rejects.toMatchObject({
        code: `LENET5_${code}`,
      });
    }
  });
});
