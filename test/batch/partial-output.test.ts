// What is left of a run that ended at any moment: each damage of the unfinished output or of its record either costs some work
// that is done again, or is refused; none makes a wrong output.
import { spawnSync } from "node:child_process";
import {
  appendFileSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { PartialOutput } from "../../lib/batch/partial-output.js";
import { temporaryFolder } from "../data/folder.js";

const RUN = { model: "m", input: ["list", 100, "abc"] };
const CORRUPT = {
  code: "LENET5_CHECKPOINT_CORRUPT",
  message: expect.stringMatching(/^Expected .+ for .+ but received .+/),
};

const begin = (output: string, run = RUN, restart = false) => PartialOutput.open(output, run, { restart });

/** An output that counts ten bytes a step, of two images. */
async function leave(output: string, steps: number, more = ""): Promise<void> {
  const partial = await begin(output);
  for (let i = 0; i < steps; i++) {
    await partial.append({
      bytes: Buffer.from(`${i}: abcdef\n`),
      images: 2,
      unreadable: i === 1 ? 1 : 0,
      note: { step: i },
    });
    await partial.commit();
  }
  if (more !== "") await partial.append({ bytes: Buffer.from(more), images: 1, unreadable: 0 });
  await partial.close();
}

test("what was made to count is gone on with, what was not is cut off", async () => {
  const output = join(temporaryFolder(), "out");
  await leave(output, 3, "not yet");
  expect(statSync(PartialOutput.partialOf(output)).size).toBe(37);
  const partial = await begin(output);
  expect(partial.recorded).toEqual({
    ...{ images: 6, unreadable: 1, bytes: 30, whole: false },
    notes: [{ step: 0 }, { step: 1 }, { step: 2 }],
  });
  await partial.end({ bytes: Buffer.from("the end"), images: 1, unreadable: 0 });
  expect(existsSync(output)).toBe(false);
  await partial.finish();
  expect(readFileSync(output, "utf8")).toBe("0: abcdef\n1: abcdef\n2: abcdef\nthe end");
  expect(readdirSync(join(output, ".."))).toEqual(["out"]);
});

test("nothing that counts, and nothing at all, are a beginning", async () => {
  const output = join(temporaryFolder(), "out");
  await leave(output, 0, "not yet");
  const partial = await begin(output);
  expect(partial.recorded).toMatchObject({ images: 0, bytes: 0 });
  await partial.end({ bytes: Buffer.alloc(0), images: 0, unreadable: 0 });
  await partial.finish();
  expect(readFileSync(output, "utf8")).toBe("");
});

test("another run's is refused, saying in what it differs; with restart it is thrown away", async () => {
  const output = join(temporaryFolder(), "out");
  await leave(output, 2);
  await expect(begin(output, { ...RUN, model: "another" })).rejects.toMatchObject({
    code: "LENET5_CHECKPOINT_MISMATCH",
    message: expect.stringMatching(/^Expected the same model for .*out\.progress but received .*--restart begins anew/),
  });
  const partial = await begin(output, { ...RUN, model: "another" }, true);
  expect(partial.recorded).toMatchObject({ images: 0, bytes: 0 });
  await partial.close();
  expect(statSync(PartialOutput.partialOf(output)).size).toBe(0);
});

describe("a record", () => {
  test("that is cut off anywhere says less, and never what is not so", async () => {
    const folder = temporaryFolder();
    const output = join(folder, "out");
    await leave(output, 3);
    const [partial, record] = [PartialOutput.partialOf(output), PartialOutput.recordOf(output)].map((path) =>
      readFileSync(path),
    );
    const ends = [...record!.entries()].filter(([, byte]) => byte === 10).map(([at]) => at + 1);
    for (let length = 0; length <= record!.length; length++) {
      writeFileSync(PartialOutput.partialOf(output), partial!);
      writeFileSync(PartialOutput.recordOf(output), record!.subarray(0, length));
      const again = await begin(output);
      // The first line is the run's.
      const steps = Math.max(ends.filter((end) => end <= length).length - 1, 0);
      expect(again.recorded).toMatchObject({ images: 2 * steps, bytes: 10 * steps });
      await again.close();
      expect(statSync(PartialOutput.partialOf(output)).size).toBe(10 * steps);
    }
  });

  test("whose last line is damaged is taken without it; one with damage before is refused", async () => {
    const output = join(temporaryFolder(), "out");
    await leave(output, 3);
    const [partial, record] = [PartialOutput.partialOf(output), PartialOutput.recordOf(output)].map((path) =>
      readFileSync(path),
    );
    const last = record!.lastIndexOf(10, record!.length - 2) + 1;
    for (let at = 0; at < record!.length - 1; at += 3) {
      writeFileSync(PartialOutput.partialOf(output), partial!);
      const damaged = Buffer.from(record!);
      damaged[at]! ^= 0x04;
      writeFileSync(PartialOutput.recordOf(output), damaged);
      if (at < last) {
        await expect(begin(output)).rejects.toMatchObject(CORRUPT);
        continue;
      }
      const again = await begin(output);
      expect(again.recorded).toMatchObject({ images: 4, bytes: 20 });
      await again.close();
    }
  });

  test("that is another file, or a folder, is refused and left alone", async () => {
    const output = join(temporaryFolder(), "out");
    for (const notes of [
      "somebody's notes",
      "somebody's notes\n",
      "somebody's notes\non something\n",
      '00000000 {"kind":"x"}\n',
    ]) {
      writeFileSync(PartialOutput.recordOf(output), notes);
      await expect(begin(output)).rejects.toMatchObject(CORRUPT);
      expect(readFileSync(PartialOutput.recordOf(output), "utf8")).toBe(notes);
    }
    rmSync(PartialOutput.recordOf(output));
    mkdirSync(PartialOutput.recordOf(output));
    await expect(begin(output)).rejects.toMatchObject({ code: "LENET5_CHECKPOINT_NOT_FOUND" });
  });
});

describe("an unfinished output", () => {
  test("with any byte that counts changed is refused", async () => {
    const output = join(temporaryFolder(), "out");
    await leave(output, 3);
    const whole = readFileSync(PartialOutput.partialOf(output));
    for (let at = 0; at < whole.length; at++) {
      const damaged = Buffer.from(whole);
      damaged[at]! ^= 0x20;
      writeFileSync(PartialOutput.partialOf(output), damaged);
      await expect(begin(output)).rejects.toMatchObject(CORRUPT);
    }
    expect(readFileSync(PartialOutput.partialOf(output))).toHaveLength(30);
  });

  test("that is shorter than its record says, or gone, is refused; one that is longer is cut", async () => {
    const output = join(temporaryFolder(), "out");
    await leave(output, 3);
    appendFileSync(PartialOutput.partialOf(output), "a torn row");
    const again = await begin(output);
    expect(again.recorded.bytes).toBe(30);
    await again.close();
    truncateSync(PartialOutput.partialOf(output), 29);
    await expect(begin(output)).rejects.toMatchObject(CORRUPT);
    rmSync(PartialOutput.partialOf(output));
    await expect(begin(output)).rejects.toMatchObject(CORRUPT);
  });
});

describe("what has the unfinished output's name already", () => {
  test.runIf(process.platform !== "win32")("is not written through: a link, a hard link, a pipe", async () => {
    for (const put of [
      (from: string, to: string) => symlinkSync(from, to),
      linkSync,
      (_: string, to: string) => spawnSync("mkfifo", [to]),
    ]) {
      const folder = temporaryFolder();
      const [output, precious] = [join(folder, "out"), join(folder, "precious")];
      writeFileSync(precious, "precious");
      put(precious, PartialOutput.partialOf(output));
      const partial = await begin(output);
      await partial.end({ bytes: Buffer.from("answers"), images: 1, unreadable: 0 });
      await partial.finish();
      expect(readFileSync(precious, "utf8")).toBe("precious");
      expect(lstatSync(output).isFile()).toBe(true);
      expect(readFileSync(output, "utf8")).toBe("answers");
    }
  });

  test("is no file of a run that begins anew: one that lost its lock has it open still", async () => {
    const output = join(temporaryFolder(), "out");
    const stopped = await begin(output);
    await stopped.append({ bytes: Buffer.from("0: abcdef\n"), images: 2, unreadable: 0 });
    await stopped.commit();
    const next = await begin(output, RUN, true);
    await next.append({ bytes: Buffer.from("0: ghijklmnop\n"), images: 2, unreadable: 0 });
    await next.commit();
    await stopped.end({ bytes: Buffer.from("1: abcdef\n"), images: 2, unreadable: 0 });
    await expect(stopped.finish()).rejects.toMatchObject({ code: "LENET5_FILE_WRITE_FAILED" });
    await stopped.close();
    expect(existsSync(output)).toBe(false);
    await next.end({ bytes: Buffer.alloc(0), images: 0, unreadable: 0 });
    await next.finish();
    expect(readFileSync(output, "utf8")).toBe("0: ghijklmnop\n");
  });
});

test("nothing is written by whom the lock may have been taken from", async () => {
  const output = join(temporaryFolder(), "out");
  const lost = new Error("lost");
  let isHeld = true;
  const certain = async () => {
    if (!isHeld) throw lost;
  };
  const partial = await PartialOutput.open(output, RUN, { restart: false, certain });
  await partial.append({ bytes: Buffer.from("0: abcdef\n"), images: 2, unreadable: 0 });
  await partial.commit();
  const chunk = { bytes: Buffer.from("1: abcdef\n"), images: 2, unreadable: 0 };
  await partial.end(chunk);
  const before = [PartialOutput.partialOf(output), PartialOutput.recordOf(output)].map((path) => readFileSync(path));
  isHeld = false;
  await expect(partial.append(chunk)).rejects.toBe(lost);
  await expect(partial.commit()).rejects.toBe(lost);
  await expect(partial.finish()).rejects.toBe(lost);
  await partial.close();
  await expect(PartialOutput.open(output, RUN, { restart: false, certain })).rejects.toBe(lost);
  await expect(PartialOutput.open(output, RUN, { restart: true, certain })).rejects.toBe(lost);
  const after = [PartialOutput.partialOf(output), PartialOutput.recordOf(output)].map((path) => readFileSync(path));
  expect(after).toEqual(before);
});

test("bytes that did not come to the disk never count, though the system says so once alone", async () => {
  const folder = temporaryFolder();
  const output = join(folder, "out");
  const partial = await begin(output);
  await partial.append({ bytes: Buffer.from("0: abcdef\n"), images: 2, unreadable: 0 });
  const some = await open(join(folder, "some"), "w");
  const failing = vi.spyOn(Object.getPrototypeOf(some), "datasync").mockRejectedValueOnce(new Error("EIO"));
  await some.close();
  await expect(partial.commit()).rejects.toMatchObject({ code: "LENET5_FILE_WRITE_FAILED" });
  failing.mockRestore();
  await expect(partial.commit()).rejects.toMatchObject({ code: "LENET5_FILE_WRITE_FAILED" });
  await partial.close();
  expect(partial.recorded.images).toBe(0);
  const again = await begin(output);
  expect(again.recorded.images).toBe(0);
  await again.close();
});

test("a folder that cannot be synchronised, for want of a right or of the call, is no failure; one on a failing disk is", async () => {
  const folder = temporaryFolder();
  const some = await open(join(folder, "some"), "w");
  const prototype = Object.getPrototypeOf(some);
  await some.close();
  const partial = await begin(join(folder, "out"));
  await partial.end({ bytes: Buffer.from("end"), images: 0, unreadable: 0 });
  await partial.commit();
  const sync = prototype.sync;
  let code = "EIO";
  vi.spyOn(prototype, "sync").mockImplementation(async function (this: FileHandle) {
    if ((await this.stat()).isDirectory()) throw Object.assign(new Error(code), { code });
    await sync.call(this);
  });
  onTestFinished(() => void vi.restoreAllMocks());
  await expect(begin(join(folder, "other"))).rejects.toMatchObject({ code: "LENET5_FILE_WRITE_FAILED" });
  code = "EINVAL";
  await partial.finish();
  expect(readFileSync(join(folder, "out"), "utf8")).toBe("end");
});

test("a signal ends the look at what was left", async () => {
  const output = join(temporaryFolder(), "out");
  await leave(output, 2);
  const signal = AbortSignal.abort();
  await expect(PartialOutput.open(output, RUN, { restart: false, signal })).rejects.toMatchObject({
    code: "LENET5_ABORTED",
  });
});

test("a run that was killed at its very end is finished by the next, before or after its file took its place", async () => {
  const output = join(temporaryFolder(), "out");
  await leave(output, 2);
  const partial = await begin(output);
  await partial.end({ bytes: Buffer.from("end"), images: 0, unreadable: 0 });
  await partial.commit();
  await partial.close();
  const record = readFileSync(PartialOutput.recordOf(output));
  const next = await begin(output);
  expect(next.recorded).toMatchObject({ images: 4, bytes: 23, whole: true });
  await next.finish();
  expect(readFileSync(output, "utf8")).toBe("0: abcdef\n1: abcdef\nend");
  writeFileSync(PartialOutput.recordOf(output), record);
  const anew = await begin(output);
  expect(anew.recorded).toMatchObject({ images: 0, bytes: 0 });
  await anew.close();
  expect(readFileSync(output, "utf8")).toBe("0: abcdef\n1: abcdef\nend");
});

test("a file that is replaced keeps its mode, and stays as it is until the new one is whole", async () => {
  const output = join(temporaryFolder(), "out");
  writeFileSync(output, "before", { mode: 0o640 });
  const partial = await begin(output);
  await partial.end({ bytes: Buffer.from("after"), images: 1, unreadable: 0 });
  expect(readFileSync(output, "utf8")).toBe("before");
  // Whom the old one's mode keeps out does not get to see the new one either.
  for (const path of [PartialOutput.partialOf(output), PartialOutput.recordOf(output)]) {
    expect(statSync(path).mode & 0o077).toBe(0);
  }
  await partial.finish();
  expect(readFileSync(output, "utf8")).toBe("after");
  expect(statSync(output).mode & 0o777).toBe(0o640);
});
