import { appendFileSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { describe, expect, test } from "vitest";
import { openSource } from "../../lib/batch/source.js";
import { temporaryFolder } from "../data/folder.js";

const { signal } = new AbortController();

/** All names from one place to another, with the places of their batches. */
async function names(path: string, from = 0, to?: number): Promise<string[]> {
  const source = await openSource(path, signal);
  const found: string[] = [];
  for await (const batch of source.batches(from, to ?? source.count, signal)) {
    if (!("names" in batch)) throw new Error("Expected names");
    expect(batch.first).toBe(from + found.length);
    found.push(...batch.names);
  }
  return found;
}

function listWith(text: string | Uint8Array): string {
  const path = join(temporaryFolder(), "list.txt");
  writeFileSync(path, text);
  return path;
}

describe("a list", () => {
  test("has one path a line, whatever ends the line; empty lines and a byte order mark are none", async () => {
    expect(await names(listWith("\ufeffa.png\r\n\n b c.png \n \nü/d.png"))).toEqual(["a.png", " b c.png ", "ü/d.png"]);
  });

  test("of many paths gives any part of them", async () => {
    const lines = Array.from({ length: 40_000 }, (_, i) => `${"some/folder/".repeat(i % 5)}${i}.png`);
    const path = listWith(lines.join("\n"));
    const counted: number[] = [];
    expect((await openSource(path, signal, (images) => counted.push(images))).count).toBe(40_000);
    expect(counted).toEqual([16_384, 32_768, 40_000]);
    for (const [from, to] of [
      [0, 40_000],
      [16_383, 16_385],
      [20_000, 33_333],
      [39_999, 40_000],
      [40_000, 40_000],
    ] as const) {
      expect(await names(path, from, to)).toEqual(lines.slice(from, to));
    }
  });

  test("that changes after it was counted ends the run before a wrong image is taken", async () => {
    const path = listWith("a.png\nb.png\n");
    const source = await openSource(path, signal);
    const reading = async () => {
      for await (const _ of source.batches(0, 2, signal));
    };
    await reading();
    appendFileSync(path, "c.png\n");
    const changed = { code: "LENET5_DATA_CORRUPT", message: expect.stringContaining("changed since") };
    await expect(reading()).rejects.toMatchObject(changed);
    writeFileSync(path, "a.png\n");
    await expect(reading()).rejects.toMatchObject(changed);
  });

  test.each([
    ["bytes that are no text", Buffer.from("a.png\n\0\0\n"), "LENET5_DATA_CORRUPT"],
    ["a line that is longer than any path", "x".repeat(100_000), "LENET5_DATA_CORRUPT"],
    ["nothing", "", "LENET5_DATA_EMPTY"],
    ["nothing but line ends", "\n\r\n", "LENET5_DATA_EMPTY"],
  ])("of %s is refused", async (_, contents, code) => {
    await expect(openSource(listWith(contents), signal)).rejects.toMatchObject({
      code,
      message: expect.stringMatching(/^Expected .+ for .+ but received .+/),
    });
  });
});

describe("a folder", () => {
  test("gives its images in order, and counts what is none by its name", async () => {
    const root = temporaryFolder();
    mkdirSync(join(root, "b"));
    for (const name of ["b/1.png", "c.JPG", "a.webp", "readme.txt", ".hidden.png"]) writeFileSync(join(root, name), "");
    expect(await names(root)).toEqual(["a.webp", "b/1.png", "c.JPG"]);
    expect(await openSource(root, signal)).toMatchObject({ kind: "folder", count: 3, ignored: 1, root });
  });

  test("has another digest once it holds another image, and is read no further", async () => {
    const root = temporaryFolder();
    for (const name of ["a.png", "b.png"]) writeFileSync(join(root, name), "");
    const source = await openSource(root, signal);
    writeFileSync(join(root, "aa.png"), "");
    expect((await openSource(root, signal)).digest).not.toBe(source.digest);
    const reading = async () => {
      for await (const _ of source.batches(0, 2, signal));
    };
    await expect(reading()).rejects.toMatchObject({ code: "LENET5_DATA_CORRUPT" });
    rmSync(join(root, "aa.png"));
    expect((await openSource(root, signal)).digest).toBe(source.digest);
  });

  test("without an image, or that is not there, is refused", async () => {
    const root = temporaryFolder();
    writeFileSync(join(root, "readme.txt"), "");
    await expect(openSource(root, signal)).rejects.toMatchObject({
      code: "LENET5_DATA_EMPTY",
      message: expect.stringContaining("none among 1 files"),
    });
    await expect(openSource(join(root, "absent"), signal)).rejects.toMatchObject({ code: "LENET5_DATA_NOT_FOUND" });
  });
});

test("other files of the same names are another input", async () => {
  const [monday, tuesday, list] = [temporaryFolder(), temporaryFolder(), "0.png\n1.png\n"];
  for (const [i, root] of [monday, tuesday].entries()) {
    writeFileSync(join(root, "0.png"), "the same");
    writeFileSync(join(root, "1.png"), `day ${i}`);
    writeFileSync(join(root, "list.txt"), list);
  }
  const digestOf = async (path: string) => (await openSource(path, signal)).digest;
  expect(await digestOf(monday)).not.toBe(await digestOf(tuesday));
  writeFileSync(join(tuesday, "1.png"), "day 0");
  expect(await digestOf(monday)).toBe(await digestOf(tuesday));
  // What cannot be looked into does not keep the others from being predicted.
  rmSync(join(tuesday, "1.png"));
  mkdirSync(join(tuesday, "1.png"));
  expect(await digestOf(join(tuesday, "list.txt"))).toBe(await digestOf(join(monday, "list.txt")));
});

test("batches are of one size from the first image on, wherever the names are read in blocks", async () => {
  const path = listWith(Array.from({ length: 40_000 }, (_, i) => `${i}.png\n`).join(""));
  const source = await openSource(path, signal);
  for (const [from, to] of [
    [100, 40_000],
    [16_000, 33_000],
    [16_384 - 255, 16_385],
  ] as const) {
    const sizes: number[] = [];
    for await (const batch of source.batches(from, to, signal)) sizes.push("names" in batch ? batch.names.length : 0);
    const whole = Math.floor((to - from) / 256);
    const rest = (to - from) % 256;
    expect(sizes).toEqual([...Array(whole).fill(256), ...(rest > 0 ? [rest] : [])]);
  }
});

test("an image in place of a list is named as one", async () => {
  const path = join(temporaryFolder(), "seven.png");
  await sharp(Buffer.alloc(784), { raw: { width: 28, height: 28, channels: 1 } }).toFile(path);
  await expect(openSource(path, signal)).rejects.toMatchObject({
    code: "LENET5_INVALID_ARGUMENT",
    message: expect.stringMatching(/but received a PNG file$/i),
  });
});
