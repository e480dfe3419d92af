// The memory of `lenet5 predict --input`, which the number of images has no say in.
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { LeNet5 } from "../../lib/index.js";
import { lastJson, lenet5, line } from "../cli/lenet5.js";

/** An IDX file of random pixels, written a piece at a time. */
function writeIdx(path: string, count: number): void {
  const header = Buffer.from([0, 0, 8, 3, 0, 0, 0, 0, 0, 0, 0, 28, 0, 0, 0, 28]);
  header.writeUInt32BE(count, 4);
  const piece = Uint8Array.from({ length: 1000 * 784 }, (_, i) => Math.imul(i, 2654435761) >>> 24);
  const file = openSync(path, "w");
  writeSync(file, header);
  for (let i = 0; i < count; i += 1000) writeSync(file, piece.subarray(0, Math.min(1000, count - i) * 784));
  closeSync(file);
}

/** Runs the command and gives the most resident memory that it had, in MiB, every thread's included. */
async function mostResident(words: string[]): Promise<{ images: number; mebibytes: number }> {
  let most = 0;
  let timer: NodeJS.Timeout;
  const run = await lenet5([...words, "--json"], {
    onStart: ({ pid }) => {
      timer = setInterval(() => {
        try {
          most = Math.max(most, Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0));
        } catch {} // it has ended
      }, 20);
    },
  });
  clearInterval(timer!);
  expect(run.status).toBe(0);
  return { images: lastJson(run).images, mebibytes: most / 1024 };
}

describe.runIf(process.platform === "linux")("resident memory", () => {
  const folder = mkdtempSync(join(tmpdir(), "lenet5-batch-"));
  const model = join(folder, "model.pt");
  beforeAll(async () => {
    using fresh = new LeNet5({ seed: 1, device: "cpu" });
    await fresh.save(model);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test.each(["jsonl", "parquet"])(
    "over an IDX file of a million images into %s is that of two hundred thousand",
    async (ending) => {
      const seen: number[] = [];
      for (const count of [200_000, 1_000_000]) {
        const input = join(folder, "images-idx3-ubyte");
        writeIdx(input, count);
        const words = line`predict --model ${model} --input ${input} --output ${join(folder, `out.${ending}`)}`;
        const { images, mebibytes } = await mostResident(words);
        expect(images).toBe(count);
        seen.push(mebibytes);
      }
      console.log(`IDX into ${ending}: ${seen.map((each) => each.toFixed(0)).join(", ")} MiB`);
      expect(seen[1]! - seen[0]!).toBeLessThan(60);
      expect(seen[1]).toBeLessThan(300);
    },
  );

  test("over a list of a million files is that of two hundred thousand", async () => {
    const png = join(folder, "a.png");
    await sharp(Buffer.alloc(784, 7), { raw: { width: 28, height: 28, channels: 1 } }).toFile(png);
    const seen: number[] = [];
    for (const count of [200_000, 1_000_000]) {
      const input = join(folder, "list.txt");
      writeFileSync(input, `${png}\n`.repeat(count));
      const { images, mebibytes } = await mostResident(
        line`predict --model ${model} --input ${input} --output ${join(folder, "out.jsonl")}`,
      );
      expect(images).toBe(count);
      seen.push(mebibytes);
    }
    console.log(`list: ${seen.map((each) => each.toFixed(0)).join(", ")} MiB`);
    expect(seen[1]! - seen[0]!).toBeLessThan(60);
    expect(seen[1]).toBeLessThan(300);
  });
});
