// A folder with more files than a call takes arguments.
import { linkSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { expect, test } from "vitest";
import { imageFolder } from "../../lib/index.js";
import { temporaryFolder } from "../data/folder.js";

test("a folder of 300,000 files is read", async () => {
  const root = temporaryFolder();
  const folder = join(root, "class", "deeper");
  mkdirSync(folder, { recursive: true });
  const image = await sharp(Buffer.alloc(784), { raw: { width: 28, height: 28, channels: 1 } })
    .png()
    .toBuffer();
  writeFileSync(join(folder, "a.png"), image);
  let source = "";
  for (let i = 0; i < 300_000; i++) {
    const path = join(folder, `${i}.txt`);
    // A file takes only some ten thousand names.
    if (i % 10_000 === 0) writeFileSync(path, "");
    else linkSync(source, path);
    if (i % 10_000 === 0) source = path;
  }
  const { count, ignored } = await imageFolder.load(root);
  expect({ count, ignored }).toEqual({ count: 1, ignored: 300_000 });
}, 300_000);
