// `lenet5 predict --input`, as a shell and a scheduler run it.
import { spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { idx, LeNet5, syntheticDigits } from "../../lib/index.js";
import { withLock } from "../../lib/lock.js";
import { describeWithPyarrow, python } from "../python.js";
import { lastJson, lenet5, line, MAIN, type Run, temporaryFolder } from "./lenet5.js";

const KINDS = 100;
/** As many as keep a machine busy for some seconds, and a Parquet file for more than a group of rows. */
const LINES = 150_000;

let folder: string;
let model: string;
/** Some good images. */
let images: string;
/** A list that names them again and again. */
let list: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "lenet5-batch-"));
  model = join(folder, "model.pt");
  images = join(folder, "images");
  list = join(folder, "list.txt");
  using fresh = new LeNet5({ seed: 3, device: "cpu" });
  await fresh.save(model);
  const digits = await syntheticDigits.generate({ count: KINDS, seed: 6 });
  const paths: string[] = [];
  mkdirSync(images);
  for (let i = 0; i < KINDS; i++) {
    const digit = digits.images.subarray(i * 784, (i + 1) * 784);
    paths.push(join(images, `${i}.png`));
    await sharp(digit, { raw: { width: 28, height: 28, channels: 1 } })
      .png()
      .toFile(paths[i]!);
  }
  writeFileSync(list, Array.from({ length: LINES }, (_, i) => `${paths[i % KINDS]}\n`).join(""));
  await idx.write(join(folder, "digits.gz"), { data: digits.images, shape: [KINDS, 28, 28] });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

// biome-ignore lint/suspicious/noExplicitAny: rows of several shapes
const rowsOf = (path: string): any[] =>
  readFileSync(path, "utf8")
    .split("\n")
    .slice(0, -1)
    .map((text) => JSON.parse(text));

const predict = (input: string, output: string, ...more: string[]): string[] =>
  line`predict --model ${model} --input ${input} --output ${output} ${more}`;

test("people get a summary, machines an object, and the file its rows", async () => {
  const output = join(temporaryFolder(), "below", "out.jsonl");
  const run = await lenet5(predict(images, output));
  expect(run).toMatchObject({ status: 0, stderr: "Predicting 100 images\n" });
  expect(run.stdout).toMatch(/^Predicted 100 images, [\d,]+ a second\. Wrote .+out\.jsonl\n$/);
  expect(rowsOf(output)).toHaveLength(KINDS);
  const again = await lenet5(predict(images, output, "--json"));
  expect(again.stdout.trimEnd().split("\n")).toHaveLength(1);
  expect(lastJson(again)).toEqual({
    ...{ output, images: KINDS, unreadable: 0, resumedAt: 0, shard: { index: 0, count: 1 } },
    ...{ seconds: expect.any(Number), imagesPerSecond: expect.any(Number) },
    input: { path: images, kind: "folder", images: KINDS, ignored: 0, digest: expect.stringMatching(/^[0-9a-f]{64}$/) },
  });
  const one = rowsOf(output)[0];
  const single = lastJson(await lenet5(line`predict --model ${model} ${join(images, one.file)} --json`));
  expect(one).toMatchObject({ label: single.predictions[0].label, className: single.predictions[0].className });
  expect(one.probability).toBeCloseTo(single.predictions[0].probability, 6);
});

test("the input is not replaced by the answers", async () => {
  const both = join(temporaryFolder(), "list.jsonl");
  const link = join(temporaryFolder(), "out.jsonl");
  symlinkSync(both, link);
  writeFileSync(both, `${join(images, "0.png")}\n`);
  for (const output of [both, link]) {
    const run = await lenet5(predict(both, output));
    expect(run.status).toBe(2);
    expect(run.stderr).toMatch(
      /Expected another file than --input has for --output but received .*\(LENET5_INVALID_OPTION\)/,
    );
  }
  expect(readFileSync(both, "utf8")).toBe(`${join(images, "0.png")}\n`);
});

test("bad images have rows that say why, the others answers, and the status is 1 unless that many may be", async () => {
  const bad = temporaryFolder();
  const good = readFileSync(join(images, "0.png"));
  writeFileSync(join(bad, "a.png"), good);
  writeFileSync(join(bad, "b.png"), good.subarray(0, 70));
  symlinkSync(join(bad, "nowhere"), join(bad, "c.png"));
  writeFileSync(join(bad, "d.png"), good);
  writeFileSync(join(bad, "notes.txt"), "");
  const output = join(temporaryFolder(), "out.jsonl");
  const run = await lenet5(predict(bad, output, "--json"));
  expect(run.status).toBe(1);
  expect(run.stderr).toMatch(
    /lenet5: Expected at most 0 unreadable images for .+ but received 2 of 4.*\(LENET5_IMAGE_UNREADABLE\)\n$/,
  );
  expect(lastJson(run)).toMatchObject({
    ...{ images: 4, unreadable: 2, input: { ignored: 1 } },
    error: { code: "LENET5_IMAGE_UNREADABLE" },
  });
  expect(rowsOf(output)).toEqual([
    { file: "a.png", label: expect.any(Number), className: expect.any(String), probability: expect.any(Number) },
    { file: "b.png", error: "LENET5_IMAGE_UNREADABLE", message: expect.stringContaining("b.png") },
    { file: "c.png", error: "LENET5_DATA_NOT_FOUND", message: expect.stringContaining("c.png") },
    { file: "d.png", label: expect.any(Number), className: expect.any(String), probability: expect.any(Number) },
  ]);
  const allowed = await lenet5(predict(bad, output, "--max-unreadable", "2"));
  expect(allowed.status).toBe(0);
  expect(allowed.stdout).toMatch(/^Predicted 4 images, 2 of which could not be read/);
  expect(allowed.stdout).toMatch(/Passed over 1 files/);
});

describe("shared among processes", () => {
  test.each<[string, (i: number) => { words?: string[]; env?: Record<string, string> }]>([
    ["--shard", (i) => ({ words: line`--shards 3 --shard ${i}` })],
    ["RANK and WORLD_SIZE", (i) => ({ env: { RANK: String(i), WORLD_SIZE: "3" } })],
    ["JOB_COMPLETION_INDEX", (i) => ({ words: line`--shards 3`, env: { JOB_COMPLETION_INDEX: String(i) } })],
  ])("by %s, the files one after another are the whole", async (_, how) => {
    const target = temporaryFolder();
    const output = join(target, "out.jsonl");
    await lenet5(predict(images, output));
    const runs = await Promise.all(
      [0, 1, 2].map((i) => {
        const { words = [], env = {} } = how(i);
        return lenet5(predict(images, output, "--json", ...words), { env });
      }),
    );
    expect(runs.map(({ status }) => status)).toEqual([0, 0, 0]);
    // All have seen the same input.
    expect(new Set(runs.map((run) => lastJson(run).input.digest)).size).toBe(1);
    const parts = runs.map((run) => lastJson(run).output as string);
    expect(parts).toEqual([0, 1, 2].map((i) => join(target, `out-0000${i}-of-00003.jsonl`)));
    const files = (paths: string[]) => paths.flatMap(rowsOf).map(({ file }) => file);
    expect(files(parts)).toEqual(files([output]));
  });
});

describe("killed and begun again", () => {
  const record = (output: string) => `${output}.progress`;
  const steps = (output: string) =>
    existsSync(record(output)) ? readFileSync(record(output), "utf8").split("\n").length - 2 : 0;

  /** Images that count. */
  const recorded = (output: string): number =>
    steps(output) === 0
      ? 0
      : Number(/"images":(\d+)/.exec(readFileSync(record(output), "utf8").split("\n").at(-2)!)![1]);

  /** Runs until the record has a line more, waits a moment and kills; a run that is nearly done is left in peace. */
  async function killed(words: string[], output: string, moment: number): Promise<Run> {
    const before = steps(output);
    let timer: NodeJS.Timeout;
    const run = await lenet5(words, {
      onStart: (child) => {
        timer = setInterval(() => {
          if (steps(output) <= before) return;
          clearInterval(timer);
          if (recorded(output) < 0.7 * LINES) setTimeout(() => child.kill("SIGKILL"), moment);
        }, 5);
      },
    });
    clearInterval(timer!);
    // The dead one's lock stops counting after fifteen seconds; it is made that old here.
    if (existsSync(`${output}.lock`)) utimesSync(`${output}.lock`, new Date(0), new Date(0));
    return run;
  }

  test.each(["jsonl", "parquet"])(
    "again and again, %s has every image once, as if nobody had",
    async (ending) => {
      const target = temporaryFolder();
      const [whole, output] = [join(target, `whole.${ending}`), join(target, `out.${ending}`)];
      const undisturbed = await lenet5(predict(list, whole, "--workers", "1", "--json"));
      expect(lastJson(undisturbed)).toMatchObject({ images: LINES, unreadable: 0 });
      const words = predict(list, output, "--workers", "1", "--json");
      let kills = 0;
      let last: Run;
      for (;;) {
        last = await killed(words, output, [0, 40, 300][kills % 3]!);
        if (last.signal !== "SIGKILL") break;
        kills++;
        expect(existsSync(output)).toBe(false);
      }
      expect(kills).toBeGreaterThan(0);
      expect(last.status).toBe(0);
      expect(last.stderr).toMatch(/^Going on after [\d,]+ of 150,000 images\n/);
      expect(lastJson(last).resumedAt).toBeGreaterThan(0);
      expect(readdirSync(target).sort()).toEqual([`out.${ending}`, `whole.${ending}`]);
      expect(readFileSync(output).equals(readFileSync(whole))).toBe(true);
      if (ending === "jsonl") {
        const lines = readFileSync(list, "utf8").split("\n").slice(0, -1);
        expect(rowsOf(output).map(({ file }) => file)).toEqual(lines);
      }
    },
    180_000,
  );

  test("what a killed process left locked is waited for, and then gone on with", async () => {
    const output = join(temporaryFolder(), "out.jsonl");
    const words = predict(list, output, "--workers", "1");
    let timer: NodeJS.Timeout;
    await lenet5(words, {
      onStart: (child) => {
        timer = setInterval(() => existsSync(record(output)) && child.kill("SIGKILL"), 5);
      },
    });
    clearInterval(timer!);
    expect(existsSync(`${output}.lock`)).toBe(true);
    const run = await lenet5(words);
    expect(run.stderr).toMatch(/^Another process has been writing .+: waiting to see whether it lives …\n/);
    expect(run.status).toBe(0);
  }, 120_000);

  test("Ctrl-C keeps what is done, says how to go on, and that is how", async () => {
    const output = join(temporaryFolder(), "out.jsonl");
    let timer: NodeJS.Timeout;
    const run = await lenet5(predict(list, output, "--workers", "1", "--json"), {
      onStart: (child) => {
        timer = setInterval(() => {
          if (steps(output) === 0) return;
          clearInterval(timer);
          child.kill("SIGINT");
        }, 5);
      },
    });
    clearInterval(timer!);
    expect(run).toMatchObject({ status: 130, signal: null });
    const { error, done, images: total } = lastJson(run);
    expect(error.code).toBe("LENET5_ABORTED");
    expect(total).toBe(LINES);
    expect(done).toBeGreaterThan(0);
    expect(run.stderr).toContain(
      `Interrupted after ${done.toLocaleString("en-US")} of 150,000 images, which are kept beside ${output}.`,
    );
    const again = /Go on with: lenet5 (.+)\n/.exec(run.stderr)![1]!;
    const next = await lenet5(again.split(" "));
    expect(next.status).toBe(0);
    expect(lastJson(next)).toMatchObject({ resumedAt: done, images: LINES });
    expect(existsSync(`${output}.lock`)).toBe(false);
  }, 120_000);

  test("a second process is refused while the first one lives", async () => {
    const target = temporaryFolder();
    const output = join(target, "out.jsonl");
    const refused = await withLock(output, {}, () => lenet5(predict(images, output)));
    expect(refused.status).toBe(1);
    expect(refused.stderr).toMatch(/waiting to see whether it lives …\nlenet5: Expected .+\(LENET5_FILE_BUSY\)\n$/);
    expect(readdirSync(target)).toEqual([]);
  });

  test("a process that stood still writes nothing into the file of who took over", async () => {
    const output = join(temporaryFolder(), "out.jsonl");
    let timer: NodeJS.Timeout;
    let taken: Promise<[Run, Buffer]> | undefined;
    const stopped = await lenet5(predict(list, output, "--workers", "1"), {
      onStart: (child) => {
        timer = setInterval(() => {
          if (steps(output) === 0) return;
          clearInterval(timer);
          child.kill("SIGSTOP");
          utimesSync(`${output}.lock`, new Date(0), new Date(0));
          taken = lenet5(predict(list, output, "--probabilities", "--restart")).then((run) => {
            const contents = readFileSync(output);
            // It has to have stood still for as long as a lock lives, half of which is seen as such.
            setTimeout(() => child.kill("SIGCONT"), 8000);
            return [run, contents];
          });
        }, 5);
      },
    });
    clearInterval(timer!);
    const [next, contents] = await taken!;
    expect(next.status).toBe(0);
    expect(stopped).toMatchObject({ status: 1, stderr: expect.stringContaining("(LENET5_FILE_BUSY)") });
    expect(readFileSync(output).equals(contents)).toBe(true);
    expect(existsSync(`${output}.progress`)).toBe(false);
  }, 120_000);

  test("a full disk ends the run with an error, and once there is room it goes on", async () => {
    const target = temporaryFolder();
    const [whole, output] = [join(target, "whole.jsonl"), join(target, "out.jsonl")];
    await lenet5(predict(list, whole));
    // A limit on the size of files stops a write in its middle as a full disk does; 8 MB of some 20.
    const script = 'ulimit -f 16000; exec "$0" "$@"';
    const limited = spawnSync("/bin/sh", ["-c", script, process.execPath, MAIN, ...predict(list, output)], {
      encoding: "utf8",
    });
    expect(limited).toMatchObject({ status: 1, signal: null, stdout: "" });
    expect(limited.stderr).toMatch(
      /lenet5: Expected a whole file for .+out\.jsonl but received EFBIG.+\(LENET5_FILE_WRITE_FAILED\)\n$/,
    );
    const next = await lenet5(predict(list, output, "--json"));
    expect(next.status).toBe(0);
    expect(lastJson(next).resumedAt).toBeGreaterThan(0);
    const files = (path: string) => rowsOf(path).map(({ file, label }) => [file, label]);
    expect(files(output)).toEqual(files(whole));
  }, 120_000);

  test("another model does not go on with it, --restart begins anew", async () => {
    const target = temporaryFolder();
    const output = join(target, "out.jsonl");
    const other = join(target, "other.pt");
    using fresh = new LeNet5({ seed: 4, device: "cpu" });
    await fresh.save(other);
    await killed(predict(list, output, "--workers", "1"), output, 0);
    const words = line`predict --model ${other} --input ${list} --output ${output}`;
    const refused = await lenet5(words);
    expect(refused.status).toBe(1);
    expect(refused.stderr).toMatch(
      /Expected the same model for .+ but received .+--restart begins anew\) \(LENET5_CHECKPOINT_MISMATCH\)\n$/,
    );
    const anew = await lenet5([...words, "--restart", "--json"]);
    expect(anew.status).toBe(0);
    expect(lastJson(anew)).toMatchObject({ resumedAt: 0, images: LINES });
  }, 120_000);
});

describeWithPyarrow("Parquet", () => {
  test("has for pyarrow the rows that JSON Lines has", async () => {
    const target = temporaryFolder();
    for (const ending of ["jsonl", "parquet"]) {
      const run = await lenet5(predict(join(folder, "digits.gz"), join(target, `out.${ending}`), "--probabilities"));
      expect(run.status).toBe(0);
    }
    const read = "import json, sys, pyarrow.parquet as pq; print(json.dumps(pq.read_table(sys.argv[1]).to_pylist()))";
    const rows = await python<object[]>(read, [join(target, "out.parquet")]);
    const lines = rowsOf(join(target, "out.jsonl")).map((row) => ({ ...row, error: null, message: null }));
    expect(rows).toEqual(lines);
  });
});
