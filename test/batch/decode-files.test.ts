import { once } from "node:events";
import { chmodSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import sharp from "sharp";
import { expect, onTestFinished, test } from "vitest";
import { decodeFiles } from "../../lib/batch/decode-files.js";
import { decodeDigit, syntheticDigits } from "../../lib/index.js";
import { temporaryFolder } from "../data/folder.js";

const digits = await syntheticDigits.generate({ count: 4, seed: 8 });
const digit = (index: number) =>
  sharp(digits.images.subarray(index * 784, (index + 1) * 784), { raw: { width: 28, height: 28, channels: 1 } });

test("files of any size and format give what decodeDigit gives, in order", async () => {
  const root = temporaryFolder();
  mkdirSync(join(root, "a"));
  await digit(0)
    .png()
    .toFile(join(root, "a", "small.png"));
  await digit(1).resize(300, 300).jpeg().toFile(join(root, "large.jpg"));
  await digit(2).png({ compressionLevel: 0 }).toFile(join(root, "plain.png"));
  await digit(3)
    .resize(900, 700, { fit: "fill" })
    .png({ compressionLevel: 0 })
    .toFile(join(root, "larger than the room.png"));
  symlinkSync(join(root, "plain.png"), join(root, "link.png"));
  const names = ["large.jpg", "a/small.png", "larger than the room.png", "plain.png", "link.png", "a/small.png"];
  const { pixels, unreadable } = await decodeFiles(root, names);
  expect(unreadable).toEqual([]);
  const wanted = await Promise.all(names.map((name) => decodeDigit(join(root, name))));
  expect(Buffer.compare(pixels, Buffer.concat(wanted))).toBe(0);
  const byPath = await decodeFiles(
    "",
    names.map((name) => join(root, name)),
  );
  expect(Buffer.compare(byPath.pixels, pixels)).toBe(0);
});

test("what cannot be read has its place, its code and a message, and costs the others nothing", async () => {
  const root = temporaryFolder();
  await digit(0).png().toFile(join(root, "good.png"));
  const bytes = readFileSync(join(root, "good.png"));
  writeFileSync(join(root, "cut.png"), bytes.subarray(0, 60));
  writeFileSync(join(root, "text.png"), "no image");
  writeFileSync(join(root, "empty.png"), "");
  mkdirSync(join(root, "folder.png"));
  symlinkSync(join(root, "circle.png"), join(root, "circle.png"));
  writeFileSync(join(root, "locked.png"), bytes);
  chmodSync(join(root, "locked.png"), 0);
  const server = createServer();
  await once(server.listen(join(root, "socket")), "listening");
  onTestFinished(() => void server.close());
  symlinkSync(join(root, "socket"), join(root, "socket.png"));
  const isRoot = process.getuid?.() === 0; // whom no mode keeps out
  const names = [
    "cut.png",
    "good.png",
    "absent.png",
    "text.png",
    "empty.png",
    "folder.png",
    "circle.png",
    "socket.png",
    "locked.png",
  ];
  const { pixels, unreadable } = await decodeFiles(root, names);
  expect(unreadable).toEqual([
    [0, "LENET5_IMAGE_UNREADABLE", expect.stringContaining("cut.png")],
    [2, "LENET5_DATA_NOT_FOUND", expect.stringContaining("absent.png")],
    [3, "LENET5_IMAGE_UNREADABLE", expect.stringContaining("text.png")],
    [4, "LENET5_IMAGE_UNREADABLE", expect.stringContaining("empty.png")],
    [5, "LENET5_IMAGE_UNREADABLE", expect.stringContaining("folder.png")],
    [6, "LENET5_FILE_READ_FAILED", expect.stringContaining("circle.png")],
    [7, "LENET5_FILE_READ_FAILED", expect.stringContaining("socket.png")],
    ...(isRoot ? [] : [[8, "LENET5_FILE_READ_FAILED", expect.stringContaining("locked.png")]]),
  ]);
  expect(Buffer.compare(pixels.subarray(784, 2 * 784), await decodeDigit(join(root, "good.png")))).toBe(0);
  expect(pixels.subarray(0, 784).every((value) => value === 0)).toBe(true);
});

test("a signal ends it", async () => {
  await expect(decodeFiles("", ["a.png"], AbortSignal.abort())).rejects.toMatchObject({ code: "LENET5_ABORTED" });
});
