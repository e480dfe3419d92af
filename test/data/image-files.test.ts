import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { filesBelow } from "../../lib/data/image-files.js";
import { temporaryFolder } from "./folder.js";

async function paths(root: string, options: Parameters<typeof filesBelow>[1] = {}): Promise<string[]> {
  const found: string[] = [];
  for await (const some of filesBelow(root, options)) found.push(...some);
  return found;
}

test("files come in the order of their sorted paths, whatever the system's order is", async () => {
  const root = temporaryFolder();
  const names = ["b.png", "a/z.png", "a/b/c.png", "a-b.png", "a.png", "a0.png", "Z.png", "ä.png", "a/B.png"];
  for (const name of names) {
    mkdirSync(join(root, name, ".."), { recursive: true });
    writeFileSync(join(root, name), "");
  }
  expect(await paths(root)).toEqual([...names].sort());
});

test("many files come some at a time, all of them once", async () => {
  const root = temporaryFolder();
  const names = Array.from({ length: 10_000 }, (_, i) => String(i));
  for (const name of names) writeFileSync(join(root, name), "");
  const runs: number[] = [];
  for await (const some of filesBelow(root)) runs.push(some.length);
  expect(Math.max(...runs)).toBeLessThan(5000);
  expect(await paths(root)).toEqual(names.sort());
});

test("hidden files and folders are passed over where that is asked for; a link to a folder always", async () => {
  const root = temporaryFolder();
  mkdirSync(join(root, ".git"));
  for (const name of ["a.png", ".b.png", ".git/c.png"]) writeFileSync(join(root, name), "");
  symlinkSync(root, join(root, "circle"));
  symlinkSync(join(root, "a.png"), join(root, "link.png"));
  symlinkSync(join(root, "nowhere"), join(root, "lost.png"));
  // What nobody can look behind does not keep the others from being read.
  symlinkSync("x".repeat(300), join(root, "long.png"));
  expect(await paths(root)).toEqual([".b.png", ".git/c.png", "a.png", "link.png", "long.png", "lost.png"]);
  expect(await paths(root, { skipHidden: true })).toEqual(["a.png", "link.png", "long.png", "lost.png"]);
});

test("a folder that is not there, and a signal, end it", async () => {
  await expect(paths("/no/such/folder")).rejects.toMatchObject({ code: "LENET5_DATA_NOT_FOUND" });
  await expect(paths(temporaryFolder(), { signal: AbortSignal.abort() })).rejects.toMatchObject({
    code: "LENET5_ABORTED",
  });
});
