import { truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { openIdxImages } from "../../lib/data/idx-images.js";
import { idx } from "../../lib/index.js";
import { temporaryFolder } from "./folder.js";

const COUNT = 300;
const data = Uint8Array.from({ length: COUNT * 784 }, (_, i) => (Math.imul(i, 2654435761) >>> 24) & 0xff);
const whole = idx.encode({ data, shape: [COUNT, 28, 28] });

function fileWith(bytes: Uint8Array): string {
  const path = join(temporaryFolder(), "images-idx3-ubyte");
  writeFileSync(path, bytes);
  return path;
}

async function pixels(path: string, from: number, to: number, step: number): Promise<Uint8Array[]> {
  const parts: Uint8Array[] = [];
  for await (const part of (await openIdxImages(path)).pixels(from, to, step)) parts.push(part);
  return parts;
}

describe.each([
  ["plain", (bytes: Uint8Array) => bytes],
  ["gzip", (bytes: Uint8Array) => gzipSync(bytes)],
] as const)("%s", (_, pack) => {
  test.each([
    [0, COUNT, 64],
    [0, COUNT, 1000],
    [7, 290, 64],
    [299, 300, 64],
    [128, 256, 64],
    [5, 5, 64],
  ])("images %i to %i, %i at a time, are those of the file", async (from, to, step) => {
    const parts = await pixels(fileWith(pack(whole)), from, to, step);
    expect(parts.map(({ length }) => length / 784)).toEqual(
      Array.from({ length: Math.ceil((to - from) / step) }, (_, i) => Math.min(step, to - from - i * step)),
    );
    expect(Buffer.compare(Buffer.concat(parts), data.subarray(from * 784, to * 784))).toBe(0);
  });

  test("a file that is cut off is damaged, be it while it is read", async () => {
    const packed = pack(whole);
    await expect(pixels(fileWith(packed.subarray(0, packed.length - 20)), 0, COUNT, 64)).rejects.toMatchObject({
      code: "LENET5_DATA_CORRUPT",
      message: expect.stringMatching(/^Expected .+ for .+ but received .+/),
    });
    const path = fileWith(packed);
    const opened = await openIdxImages(path);
    truncateSync(path, packed.length >> 1);
    const reading = async () => {
      for await (const _ of opened.pixels(0, COUNT, 64));
    };
    await expect(reading()).rejects.toMatchObject({ code: "LENET5_DATA_CORRUPT" });
  });

  test("a header that says less, or more, than there is", async () => {
    for (const count of [COUNT - 1, COUNT + 1]) {
      const lying = Buffer.from(whole);
      lying.writeUInt32BE(count, 4);
      const reading = async () => await pixels(fileWith(pack(lying)), 0, count, 64);
      await expect(reading()).rejects.toMatchObject({ code: "LENET5_DATA_CORRUPT" });
    }
  });

  test("a file that was replaced, or written to, after it was looked at", async () => {
    const half = idx.encode({ data: data.subarray(0, (COUNT / 2) * 784), shape: [COUNT / 2, 28, 28] });
    const path = fileWith(pack(whole));
    const reading = async ({ pixels }: Awaited<ReturnType<typeof openIdxImages>>, meanwhile = () => {}) => {
      for await (const _ of pixels(0, COUNT / 3, 64)) meanwhile();
    };
    const changed = {
      code: "LENET5_DATA_CORRUPT",
      message: expect.stringMatching(/^Expected .+ for .+ but received one that has changed since$/),
    };
    const opened = await openIdxImages(path);
    await reading(opened);
    writeFileSync(path, pack(half));
    await expect(reading(opened)).rejects.toMatchObject(changed);
    const other = pack(Buffer.concat([whole.subarray(0, 16), data.subarray(784), data.subarray(0, 784)]));
    await expect(reading(await openIdxImages(path), () => writeFileSync(path, other))).rejects.toMatchObject(changed);
  });

  test("other dimensions", async () => {
    const wide = idx.encode({ data: new Uint8Array(2 * 32 * 32), shape: [2, 32, 32] });
    await expect(openIdxImages(fileWith(pack(wide)))).rejects.toMatchObject({ code: "LENET5_INVALID_SHAPE" });
  });

  test("the digest tells files of one size apart", async () => {
    const other = Buffer.from(whole);
    other[whole.length - 1]! ^= 1;
    const digestOf = async (bytes: Uint8Array) => (await openIdxImages(fileWith(pack(bytes)))).digest;
    expect(await digestOf(whole)).toBe(await digestOf(whole));
    expect(await digestOf(whole)).not.toBe(await digestOf(other));
  });
});
