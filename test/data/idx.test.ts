import { readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { idx, syntheticDigits } from "../../lib/index.js";
import { describeWithMnist, mnistArchive } from "../mnist.js";
import { expectSame, temporaryFolder } from "./folder.js";

const digits = await syntheticDigits.generate({ count: 30, seed: 5 });
const images = idx.encode({ data: digits.images, shape: [30, 28, 28] });
const labels = idx.encode({ data: Uint8Array.from(digits.labels), shape: [30] });

function header(magic: number, ...sizes: number[]): Buffer {
  const bytes = Buffer.alloc(4 + 4 * sizes.length);
  bytes.writeUInt32BE(magic);
  for (const [axis, size] of sizes.entries()) bytes.writeUInt32BE(size, 4 + 4 * axis);
  return bytes;
}

describe("reading", () => {
  test("gives data and shape of a plain and of a gzip file, from a path and from memory", async () => {
    const folder = temporaryFolder();
    const [plain, zipped] = [join(folder, "a"), join(folder, "b")];
    writeFileSync(plain, images);
    writeFileSync(zipped, gzipSync(images));
    for (const source of [plain, zipped, images, gzipSync(images)]) {
      const { data, shape } = await idx.read(source);
      expect(shape).toEqual([30, 28, 28]);
      expect(Buffer.compare(data, digits.images)).toBe(0);
      // A Buffer would count as an encoded image file where pixels are taken.
      expect(Buffer.isBuffer(data)).toBe(false);
    }
  });

  test("joins images and labels to a data set", async () => {
    expectSame(await idx.readDataset(images, gzipSync(labels)), digits);
    const named = await idx.readDataset(images, labels, { classNames: [..."abcdefghij"] });
    expect(named.classNames).toEqual([..."abcdefghij"]);
  });

  test("a file of no images is told apart from a damaged one", async () => {
    await expect(idx.readDataset(header(0x803, 0, 28, 28), header(0x801, 0))).rejects.toMatchObject({
      code: "LENET5_DATA_EMPTY",
    });
  });

  test("a file that is not there is named", async () => {
    await expect(idx.read("/no/such/file")).rejects.toMatchObject({
      code: "LENET5_DATA_NOT_FOUND",
      message: expect.stringContaining("/no/such/file"),
    });
    await expect(idx.read(temporaryFolder())).rejects.toMatchObject({ code: "LENET5_DATA_NOT_FOUND" });
  });
});

describe("a header that contradicts the file", () => {
  const bad: Record<string, Buffer> = {
    "nothing at all": Buffer.alloc(0),
    "three bytes": Buffer.from([0, 0, 8]),
    "another magic number": Buffer.concat([header(0x1234, 30, 28, 28), digits.images]),
    "floats in place of bytes": Buffer.concat([header(0xd03, 30, 28, 28), digits.images]),
    "no dimensions": header(0x800),
    "200 dimensions": header(0x8c8, 1, 1),
    "a header cut off": images.subarray(0, 10),
    "data cut off": images.subarray(0, images.length - 1),
    "a byte too many": Buffer.concat([images, Buffer.from([0])]),
    "more images than there are": Buffer.concat([header(0x803, 31, 28, 28), digits.images]),
    "four billion images": Buffer.concat([header(0x803, 0xffff_ffff, 28, 28), digits.images]),
    "a product beyond 2^53, ended by a zero": header(0x804, 0xffff_ffff, 0xffff_ffff, 0xffff_ffff, 0),
    "a text file": Buffer.from("label,pixel0,pixel1\n5,0,0\n"),
  };
  for (const [what, bytes] of Object.entries(bad)) {
    test(`${what}: plain, packed and on disk`, async () => {
      const path = join(temporaryFolder(), "bad-idx");
      writeFileSync(path, bytes);
      for (const source of [path, bytes, gzipSync(bytes)]) {
        await expect(idx.read(source)).rejects.toMatchObject({
          code: "LENET5_DATA_CORRUPT",
          message: expect.stringMatching(/^Expected .+ for .+ but received .+/),
        });
      }
      await expect(idx.read(path)).rejects.toThrow(path);
    });
  }
});

describe("gzip files that lie", () => {
  test("one that unpacks to more than its header declares is stopped there", async () => {
    const bomb = gzipSync(Buffer.concat([images, Buffer.alloc(200_000_000)]));
    const before = process.memoryUsage().rss;
    await expect(idx.read(bomb)).rejects.toMatchObject({ code: "LENET5_DATA_CORRUPT", message: /unpacks to more/ });
    expect(process.memoryUsage().rss - before).toBeLessThan(100_000_000);
  });

  test("one whose header declares more than gzip can hold is refused before unpacking", async () => {
    const small = gzipSync(Buffer.concat([header(0x803, 1_000_000, 28, 28), Buffer.alloc(1000)]));
    await expect(idx.read(small)).rejects.toMatchObject({
      code: "LENET5_DATA_CORRUPT",
      message: expect.stringContaining("cannot unpack to more"),
    });
  });

  test("one that was cut off or altered is damaged", async () => {
    const packed = gzipSync(images);
    await expect(idx.read(packed.subarray(0, packed.length - 20))).rejects.toMatchObject({
      code: "LENET5_DATA_CORRUPT",
    });
    const altered = Buffer.from(packed);
    altered[altered.length - 6]! ^= 0xff;
    await expect(idx.read(altered)).rejects.toMatchObject({ code: "LENET5_DATA_CORRUPT" });
  });
});

describe("images and labels that do not belong together", () => {
  test("differ in number", async () => {
    const fewer = idx.encode({ data: new Uint8Array(29), shape: [29] });
    await expect(idx.readDataset(images, fewer)).rejects.toMatchObject({ code: "LENET5_COUNT_MISMATCH" });
  });

  test("hold a label without a class", async () => {
    const data = Uint8Array.from(digits.labels);
    data[17] = 10;
    await expect(idx.readDataset(images, idx.encode({ data, shape: [30] }))).rejects.toMatchObject({
      code: "LENET5_INVALID_LABELS",
      message: expect.stringContaining("10 at position 17"),
    });
  });

  test("are swapped, or of another size", async () => {
    await expect(idx.readDataset(labels, images)).rejects.toMatchObject({ code: "LENET5_INVALID_SHAPE" });
    const wide = idx.encode({ data: new Uint8Array(30 * 32 * 32), shape: [30, 32, 32] });
    await expect(idx.readDataset(wide, labels)).rejects.toMatchObject({ code: "LENET5_INVALID_SHAPE" });
  });

  test("come with a misspelt option", async () => {
    // @ts-expect-error What a caller without types may do.
    await expect(idx.readDataset(images, labels, { classnames: ["a"] })).rejects.toMatchObject({
      code: "LENET5_UNKNOWN_OPTION",
    });
  });
});

describe("writing", () => {
  test("gives back what was read, packed by the name's ending, and leaves nothing else behind", async () => {
    const folder = temporaryFolder();
    const array = { data: digits.images, shape: [30, 28, 28] };
    await idx.write(join(folder, "plain"), array);
    await idx.write(join(folder, "packed.gz"), array);
    expect(readFileSync(join(folder, "plain")).equals(images)).toBe(true);
    expect([...readFileSync(join(folder, "packed.gz")).subarray(0, 2)]).toEqual([0x1f, 0x8b]);
    expect(Buffer.compare((await idx.read(join(folder, "packed.gz"))).data, digits.images)).toBe(0);
    expect(readdirSync(folder).sort()).toEqual(["packed.gz", "plain"]);
  });

  test("a data set becomes MNIST's four files", async () => {
    const folder = temporaryFolder();
    const paths = await idx.writeDatasets(join(folder, "set"), { train: digits, test: digits });
    expect(paths).toHaveLength(4);
    expectSame(await idx.readDataset(paths[0]!, paths[1]!), digits);
    expect(readdirSync(join(folder, "set")).sort()).toEqual([
      "t10k-images-idx3-ubyte.gz",
      "t10k-labels-idx1-ubyte.gz",
      "train-images-idx3-ubyte.gz",
      "train-labels-idx1-ubyte.gz",
    ]);
  });

  test("a shape that does not fit is refused and the file that was there stays", async () => {
    const path = join(temporaryFolder(), "kept");
    await idx.write(path, { data: digits.images, shape: [30, 28, 28] });
    await expect(idx.write(path, { data: digits.images, shape: [31, 28, 28] })).rejects.toMatchObject({
      code: "LENET5_INVALID_SHAPE",
    });
    expect(readFileSync(path).equals(images)).toBe(true);
  });

  test("a file that shrank after it was written is noticed", async () => {
    const path = join(temporaryFolder(), "shrunk");
    await idx.write(path, { data: digits.images, shape: [30, 28, 28] });
    truncateSync(path, 5000);
    await expect(idx.read(path)).rejects.toMatchObject({ code: "LENET5_DATA_CORRUPT" });
  });
});

describeWithMnist("MNIST's files", () => {
  test("hold what everyone knows of them", async () => {
    const test = await idx.readDataset(
      mnistArchive("t10k-images-idx3-ubyte.gz"),
      mnistArchive("t10k-labels-idx1-ubyte.gz"),
    );
    expect(test.count).toBe(10_000);
    expect([...test.labels.subarray(0, 10)]).toEqual([7, 2, 1, 0, 4, 1, 4, 9, 5, 9]);
    const perClass = Array.from({ length: 10 }, (_, label) => test.labels.filter((other) => other === label).length);
    expect(perClass).toEqual([980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]);
  });
});

test("what is no array, data set or path is refused as such", async () => {
  const refusal = { code: "LENET5_INVALID_ARGUMENT" };
  for (const wrong of [null, undefined, 3, {}, { data: images }] as never[]) {
    expect(() => idx.encode(wrong)).toThrow(expect.objectContaining(refusal));
    await expect(idx.write("never-written", wrong)).rejects.toMatchObject(refusal);
    await expect(idx.writeDatasets("never-written", wrong)).rejects.toMatchObject(refusal);
  }
  await expect(idx.write(null as never, { data: new Uint8Array(1), shape: [1] })).rejects.toMatchObject(refusal);
});
