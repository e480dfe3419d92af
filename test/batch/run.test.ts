// Runs in this process, on the built decoding thread.
import { existsSync, linkSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type BatchRun, predictInto } from "../../lib/batch/run.js";
import { type Share, WHOLE } from "../../lib/batch/share.js";
import { openSource } from "../../lib/batch/source.js";
import { idx, LeNet5, syntheticDigits } from "../../lib/index.js";
import { temporaryFolder } from "../data/folder.js";

const KINDS = 50;
const COUNT = 3000;
let model: LeNet5;
let images: Uint8Array;
/** The contents of some small PNGs. */
let pngs: Buffer[];

beforeAll(async () => {
  model = new LeNet5({ seed: 1, device: "cpu" });
  ({ images } = await syntheticDigits.generate({ count: KINDS, seed: 4 }));
  const digit = (i: number) => images.subarray(i * 784, (i + 1) * 784);
  pngs = await Promise.all(
    Array.from({ length: KINDS }, (_, i) =>
      sharp(digit(i), { raw: { width: 28, height: 28, channels: 1 } })
        .png()
        .toBuffer(),
    ),
  );
});
afterAll(() => model.dispose());

/** A folder of many images, of which some have the same contents. */
function folderOfImages(): string {
  const root = join(temporaryFolder(), "images");
  mkdirSync(join(root, "more"), { recursive: true });
  for (let i = 0; i < COUNT; i++) {
    const path = join(root, i % 2 === 0 ? "more" : "", `${i}.png`);
    if (i < KINDS) writeFileSync(path, pngs[i]!);
    else linkSync(join(root, i % 2 === 0 ? "more" : "", `${i % KINDS}.png`), path);
  }
  return root;
}

async function run(input: string, output: string, options: Partial<BatchRun> = {}) {
  const { signal } = new AbortController();
  const source = await openSource(input, signal);
  return await predictInto({
    format: "jsonl",
    ...{ model, source, share: WHOLE, output, probabilities: false, workers: 2, restart: false, signal },
    ...options,
  });
}

type Row = { file?: string; index?: number; label: number; probability: number; probabilities?: number[] };
const rowsOf = (path: string): Row[] =>
  readFileSync(path, "utf8")
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Row);

test("each image of a folder has its row, in order, with the answer that predict gives", async () => {
  const root = folderOfImages();
  const output = join(temporaryFolder(), "out.jsonl");
  const told: number[] = [];
  const result = await run(root, output, { probabilities: true, topK: 2, onProgress: (done) => told.push(done) });
  expect(result).toEqual({ images: COUNT, unreadable: 0, resumedAt: 0 });
  expect(told).toEqual([...told].sort((a, b) => a - b));
  expect([told[0], told.at(-1)]).toEqual([0, COUNT]);
  const rows = rowsOf(output);
  const names = Array.from({ length: COUNT }, (_, i) => (i % 2 === 0 ? `more/${i}.png` : `${i}.png`)).sort();
  expect(rows.map(({ file }) => file)).toEqual(names);
  const { labels, probabilities, top } = await model.predict(images, { topK: 2 });
  for (const row of rows) {
    const kind = Number(/(\d+)\.png$/.exec(row.file!)![1]) % KINDS;
    const all = probabilities.subarray(kind * 10, (kind + 1) * 10);
    expect(row).toMatchObject({ label: labels[kind], className: String(labels[kind]) });
    expect(row.probability).toBeCloseTo(all[labels[kind]!]!, 6);
    expect(Math.max(...all.map((value, i) => Math.abs(value - row.probabilities![i]!)))).toBeLessThan(1e-6);
    expect((row as unknown as { top: { label: number }[] }).top.map(({ label }) => label)).toEqual(
      top[kind]!.map(({ label }) => label),
    );
  }
  expect(readdirSync(join(output, ".."))).toEqual(["out.jsonl"]);
});

test("a folder, a list of its files and an IDX file of the same images give the same answers", async () => {
  const root = folderOfImages();
  const folder = temporaryFolder();
  const [list, file] = [join(folder, "list.txt"), join(folder, "images-idx3-ubyte.gz")];
  await run(root, join(folder, "folder.jsonl"));
  const byFolder = rowsOf(join(folder, "folder.jsonl"));
  writeFileSync(list, byFolder.map((row) => join(root, row.file!)).join("\n"));
  await run(list, join(folder, "list.jsonl"));
  const kinds = byFolder.map((row) => Number(/(\d+)\.png$/.exec(row.file!)![1]) % KINDS);
  const data = Uint8Array.from(kinds.flatMap((kind) => [...images.subarray(kind * 784, (kind + 1) * 784)]));
  await idx.write(file, { data, shape: [COUNT, 28, 28] });
  await run(file, join(folder, "idx.jsonl"));
  const answers = ({ label, probability }: Row) => [label, probability.toFixed(5)];
  expect(rowsOf(join(folder, "list.jsonl")).map(answers)).toEqual(byFolder.map(answers));
  const byPlace = rowsOf(join(folder, "idx.jsonl"));
  expect(byPlace.map(answers)).toEqual(byFolder.map(answers));
  expect(byPlace.map(({ index }) => index)).toEqual(Array.from({ length: COUNT }, (_, i) => i));
});

test.each([2, 7])("%i shares, one after another, are the whole", async (count) => {
  const root = folderOfImages();
  const folder = temporaryFolder();
  await run(root, join(folder, "whole.jsonl"));
  const parts: string[] = [];
  for (let index = 0; index < count; index++) {
    const share: Share = { index, count };
    await run(root, join(folder, `${index}.jsonl`), { share });
    parts.push(readFileSync(join(folder, `${index}.jsonl`), "utf8"));
  }
  const files = (text: string) => text.split("\n").map((line) => line && JSON.parse(line).file);
  expect(files(parts.join(""))).toEqual(files(readFileSync(join(folder, "whole.jsonl"), "utf8")));
});

test("more shares than images leave some an empty file", async () => {
  const folder = temporaryFolder();
  const list = join(folder, "list.txt");
  writeFileSync(join(folder, "a.png"), pngs[0]!);
  writeFileSync(list, `${join(folder, "a.png")}\n`);
  await run(list, join(folder, "0.jsonl"), { share: { index: 0, count: 2 } });
  await run(list, join(folder, "1.jsonl"), { share: { index: 1, count: 2 } });
  expect([0, 1].map((i) => rowsOf(join(folder, `${i}.jsonl`)).length).sort()).toEqual([0, 1]);
});

test("an aborted run keeps what it has done, and the next one goes on there", async () => {
  const root = folderOfImages();
  const folder = temporaryFolder();
  await run(root, join(folder, "whole.jsonl"));
  const output = join(folder, "out.jsonl");
  const controller = new AbortController();
  let kept = 0;
  const aborted = run(root, output, {
    signal: controller.signal,
    onProgress: (done) => {
      if (done >= COUNT / 2) controller.abort();
    },
    onKept: (images) => {
      kept = images;
    },
  });
  await expect(aborted).rejects.toMatchObject({ code: "LENET5_ABORTED" });
  expect(kept).toBeGreaterThanOrEqual(COUNT / 2);
  expect(kept).toBeLessThan(COUNT);
  expect(existsSync(output)).toBe(false);
  expect(await run(root, output)).toEqual({ images: COUNT, unreadable: 0, resumedAt: kept });
  const files = (path: string) => rowsOf(path).map(({ file, label }) => [file, label]);
  expect(files(output)).toEqual(files(join(folder, "whole.jsonl")));
});

test("what another model, input or share has begun is not gone on with", async () => {
  const root = folderOfImages();
  const output = join(temporaryFolder(), "out.jsonl");
  const controller = new AbortController();
  const onProgress = (done: number) => void (done > 0 && controller.abort());
  await expect(run(root, output, { signal: controller.signal, onProgress })).rejects.toMatchObject({
    code: "LENET5_ABORTED",
  });
  using other = new LeNet5({ seed: 2, device: "cpu" });
  const refused = (what: string) => ({
    code: "LENET5_CHECKPOINT_MISMATCH",
    message: expect.stringContaining(`Expected the same ${what} for ${output}.progress`),
  });
  await expect(run(root, output, { model: other })).rejects.toMatchObject(refused("model"));
  await expect(run(root, output, { share: { index: 0, count: 2 } })).rejects.toMatchObject(refused("share"));
  await expect(run(root, output, { probabilities: true })).rejects.toMatchObject(refused("probabilities"));
  rmSync(join(root, "1.png"));
  await expect(run(root, output)).rejects.toMatchObject(refused("input"));
  expect(await run(root, output, { restart: true })).toEqual({ images: COUNT - 1, unreadable: 0, resumedAt: 0 });
});

test("a folder of other images with the same names is not gone on with", async () => {
  const [monday, tuesday] = [folderOfImages(), folderOfImages()];
  const output = join(temporaryFolder(), "out.jsonl");
  const controller = new AbortController();
  const onProgress = (done: number) => void (done > 0 && controller.abort());
  await expect(run(monday, output, { signal: controller.signal, onProgress })).rejects.toMatchObject({
    code: "LENET5_ABORTED",
  });
  for (let i = 0; i < KINDS; i++) {
    writeFileSync(join(tuesday, i % 2 === 0 ? "more" : "", `${i}.png`), pngs[KINDS - 1 - i]!);
  }
  await expect(run(tuesday, output)).rejects.toMatchObject({
    code: "LENET5_CHECKPOINT_MISMATCH",
    message: expect.stringContaining("Expected the same input for"),
  });
});

test("a folder that changes during the run ends it, with nothing wrong in what is kept", async () => {
  const root = folderOfImages();
  const output = join(temporaryFolder(), "out.jsonl");
  const { signal } = new AbortController();
  const source = await openSource(root, signal);
  writeFileSync(join(root, "0.png"), pngs[0]!);
  await expect(run(root, output, { source })).rejects.toMatchObject({ code: "LENET5_DATA_CORRUPT" });
  expect(existsSync(output)).toBe(false);
});

test("a second run into the same file is refused while the first one lives", async () => {
  const root = folderOfImages();
  const output = join(temporaryFolder(), "out.jsonl");
  const second: Promise<unknown>[] = [];
  const first = run(root, output, {
    // Long enough for the lock to be seen refreshed.
    onProgress: (done) => {
      if (second.length > 0 || done === 0) return;
      second.push(run(root, output).catch((error: unknown) => error));
    },
  });
  await first;
  const [outcome] = await Promise.all(second);
  // It waited until the first one had ended, or was refused; in no case did both write.
  if (outcome instanceof Error) expect(outcome).toMatchObject({ code: "LENET5_FILE_BUSY" });
  expect(rowsOf(output)).toHaveLength(COUNT);
});
