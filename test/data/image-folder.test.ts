import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { describe, expect, test } from "vitest";
import { imageFolder, syntheticDigits } from "../../lib/index.js";
import { expectSame, temporaryFolder } from "./folder.js";

const digits = await syntheticDigits.generate({ count: 40, seed: 31 });
const png = (index: number) =>
  sharp(digits.images.subarray(index * 784, (index + 1) * 784), { raw: { width: 28, height: 28, channels: 1 } })
    .png()
    .toBuffer();

/** A folder with the first four digits of each class below `zero`, `one`, … `nine`. */
const NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
async function writeFolder(root: string, from = 0, to = 4): Promise<void> {
  for (const [label, name] of NAMES.entries()) {
    mkdirSync(join(root, name), { recursive: true });
    for (let i = from; i < to; i++) writeFileSync(join(root, name, `${i}.png`), await png(10 * i + label));
  }
}

test("a folder becomes a data set: classes by sorted names, pixels as they are", async () => {
  const root = temporaryFolder();
  await writeFolder(root);
  const seen: number[] = [];
  const dataset = await imageFolder.load(root, { concurrency: 3, onProgress: (done) => seen.push(done) });
  expect(dataset.classNames).toEqual([...NAMES].sort());
  expect(dataset.count).toBe(40);
  expect(seen.at(-1)).toBe(40);
  for (let i = 0; i < 40; i++) {
    const name = dataset.classNames[dataset.labels[i]!]!;
    const digit = NAMES.indexOf(name);
    expect(dataset.files[i]).toBe(join(root, name, `${i % 4}.png`));
    const source = 10 * (i % 4) + digit;
    const original = digits.images.subarray(source * 784, (source + 1) * 784);
    expect(Buffer.compare(dataset.images.subarray(i * 784, (i + 1) * 784), original)).toBe(0);
  }
  expect([dataset.ignored, dataset.unreadable]).toEqual([0, []]);
});

test("what is no image is passed over and counted; deeper folders and links to files are read", async () => {
  const root = temporaryFolder();
  await writeFolder(root, 0, 1);
  writeFileSync(join(root, "readme.txt"), "about");
  mkdirSync(join(root, ".git"));
  writeFileSync(join(root, "one", "notes.txt"), "notes");
  writeFileSync(join(root, "one", ".hidden.png"), "hidden");
  writeFileSync(join(root, "one", "Thumbs.db"), "thumbs");
  mkdirSync(join(root, "one", "deeper", "still"), { recursive: true });
  writeFileSync(join(root, "one", "deeper", "still", "a.PNG"), await png(1));
  symlinkSync(join(root, "one", "0.png"), join(root, "one", "link.png"));
  symlinkSync(root, join(root, "one", "circle"));
  const dataset = await imageFolder.load(root);
  expect(dataset.count).toBe(12);
  expect(dataset.ignored).toBe(3);
  expect(dataset.labels.filter((label) => dataset.classNames[label] === "one")).toHaveLength(3);
});

describe("a damaged image among good ones", () => {
  test("is named", async () => {
    const root = temporaryFolder();
    await writeFolder(root);
    const bad = join(root, "four", "2.png");
    writeFileSync(bad, (await png(24)).subarray(0, 90));
    await expect(imageFolder.load(root)).rejects.toMatchObject({
      code: "LENET5_IMAGE_UNREADABLE",
      message: expect.stringContaining(bad),
    });
  });

  test("is left out when asked, and all others keep their labels", async () => {
    const [root, good] = [temporaryFolder(), temporaryFolder()];
    await writeFolder(root);
    await writeFolder(good);
    const bad = [join(root, "eight", "0.png"), join(root, "four", "2.png"), join(root, "zero", "3.png")];
    for (const path of bad) writeFileSync(path, "no image");
    const dataset = await imageFolder.load(root, { onUnreadable: "skip" });
    expect(dataset.unreadable).toEqual(bad);
    const all = await imageFolder.load(good);
    const kept = [...all.files.keys()].filter(
      (i) => !bad.some((path) => path.endsWith(all.files[i]!.slice(good.length))),
    );
    expect(dataset.count).toBe(37);
    expect([...dataset.labels]).toEqual(kept.map((i) => all.labels[i]));
    for (const [to, from] of kept.entries()) {
      const actual = dataset.images.subarray(to * 784, (to + 1) * 784);
      expect(Buffer.compare(actual, all.images.subarray(from * 784, (from + 1) * 784))).toBe(0);
    }
  });
});

describe("a training and a test set", () => {
  test("are the sub-folders train and test", async () => {
    const root = temporaryFolder();
    await writeFolder(join(root, "train"), 0, 3);
    await writeFolder(join(root, "test"), 3, 4);
    const { train, test } = await imageFolder.loadPair(root);
    expect([train.count, test.count]).toEqual([30, 10]);
    expectSame(test, await imageFolder.load(join(root, "test")));
  });

  test("are split off where there are none, by a seed", async () => {
    const root = temporaryFolder();
    await writeFolder(root);
    const { train, test } = await imageFolder.loadPair(root, { testFraction: 0.25, seed: 4 });
    expect([train.count, test.count]).toEqual([30, 10]);
    expectSame((await imageFolder.loadPair(root, { testFraction: 0.25, seed: 4 })).test, test);
  });

  test("must have the same classes", async () => {
    const root = temporaryFolder();
    await writeFolder(join(root, "train"), 0, 1);
    mkdirSync(join(root, "test", "zero"), { recursive: true });
    writeFileSync(join(root, "test", "zero", "a.png"), await png(0));
    await expect(imageFolder.loadPair(root)).rejects.toMatchObject({ code: "LENET5_INVALID_LABELS" });
  });
});

describe("a folder is refused", () => {
  test("that is not there, that is a file", async () => {
    const file = join(temporaryFolder(), "file");
    writeFileSync(file, "");
    for (const path of ["/no/such/folder", file]) {
      await expect(imageFolder.load(path)).rejects.toMatchObject({
        code: "LENET5_DATA_NOT_FOUND",
        message: expect.stringContaining(path),
      });
    }
  });

  test("that is empty, has no classes, no images, or none that can be read", async () => {
    const [empty, flat, classes, bad] = [temporaryFolder(), temporaryFolder(), temporaryFolder(), temporaryFolder()];
    writeFileSync(join(flat, "a.png"), await png(0));
    mkdirSync(join(classes, "zero"));
    mkdirSync(join(bad, "zero"));
    writeFileSync(join(bad, "zero", "a.png"), "no image");
    for (const root of [empty, flat, classes]) {
      await expect(imageFolder.load(root)).rejects.toMatchObject({ code: "LENET5_DATA_EMPTY" });
    }
    await expect(imageFolder.load(bad, { onUnreadable: "skip" })).rejects.toMatchObject({ code: "LENET5_DATA_EMPTY" });
  });

  test("with options that are none", async () => {
    const root = temporaryFolder();
    await writeFolder(root, 0, 1);
    // @ts-expect-error What a caller without types may do.
    await expect(imageFolder.load(root, { paralel: 3 })).rejects.toMatchObject({ code: "LENET5_UNKNOWN_OPTION" });
    for (const options of [{ concurrency: 0 }, { onUnreadable: "ignore" as never }]) {
      await expect(imageFolder.load(root, options)).rejects.toMatchObject({ code: "LENET5_INVALID_OPTION" });
    }
    await expect(imageFolder.load(root, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: "LENET5_ABORTED",
    });
  });
});
