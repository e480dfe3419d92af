// `lenet5 train --compare`: runs of others beside ours in one log directory, and nothing else touched.
import {
  appendFileSync,
  cpSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ComparedRuns } from "../../lib/cli/compared-runs.js";
import { readRecords, record } from "../../lib/tensorboard/records.js";
import { SummaryWriter } from "../../lib/tensorboard.js";
import { lastJson, lenet5, line, temporaryFolder } from "../cli/lenet5.js";

const signal = new AbortController().signal;

/** A run of three points. */
async function runIn(folder: string, tag = "loss/train"): Promise<string> {
  const writer = new SummaryWriter(folder);
  for (let step = 1; step <= 3; step++) writer.scalar(tag, 1 / step, step);
  await writer.close();
  return writer.path;
}

/** Every file below a folder, with its contents. */
function contents(folder: string): Record<string, string> {
  const names = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return Object.fromEntries(
    names.map((entry) => [
      join(entry.parentPath, entry.name),
      readFileSync(join(entry.parentPath, entry.name), "latin1"),
    ]),
  );
}

describe("records", () => {
  const two = Buffer.concat([record(Buffer.from("first")), record(Buffer.from("second"))]);

  test("are read up to where the last whole one ends", () => {
    for (let length = 0; length <= two.length; length++) {
      const { records, end } = readRecords(two.subarray(0, length), "file");
      const whole = length < 21 ? 0 : length < two.length ? 1 : 2;
      expect(records.map((data) => Buffer.from(data).toString())).toEqual(["first", "second"].slice(0, whole));
      expect(end).toBe([0, 21, two.length][whole]);
    }
  });

  test("are refused where a byte of a whole one is another", () => {
    for (let at = 0; at < two.length; at++) {
      const damaged = Buffer.from(two);
      damaged[at]! ^= 1;
      expect(() => readRecords(damaged, "file"), `byte ${at}`).toThrow(
        /^Expected records that fit their check sums for file but received others at byte \d+$/,
      );
    }
  });
});

describe("ComparedRuns", () => {
  test("copies event files, whole records alone, and takes back what a run no longer has", async () => {
    const folder = temporaryFolder();
    const [pytorch, logdir] = [join(folder, "elsewhere", "pytorch"), join(folder, "logs")];
    const path = await runIn(pytorch);
    const whole = readFileSync(path);
    appendFileSync(path, record(Buffer.alloc(100)).subarray(0, 50));
    writeFileSync(join(pytorch, "notes.txt"), "not an event file");
    const before = contents(pytorch);
    const runs = await ComparedRuns.check([`${pytorch}/`], logdir);
    expect(runs.places).toEqual({ libtorch: join(logdir, "libtorch"), pytorch: join(logdir, "pytorch") });
    // Nothing is written by looking.
    expect(() => readdirSync(logdir)).toThrow(/ENOENT/);
    await runs.place(signal);
    const [name] = readdirSync(join(logdir, "pytorch"));
    expect(readFileSync(join(logdir, "pytorch", name!)).equals(whole)).toBe(true);
    expect(contents(pytorch)).toEqual(before);

    // Again, after the run was made anew: its old event file goes, what else lies there stays.
    writeFileSync(join(logdir, "pytorch", "mine.txt"), "mine");
    rmSync(path);
    const anew = await runIn(pytorch);
    await (await ComparedRuns.check([pytorch], logdir)).place(signal);
    const names = readdirSync(join(logdir, "pytorch")).sort();
    expect(names).toEqual([anew.slice(pytorch.length + 1), "mine.txt"].sort());
  });

  test("leaves a run where it is that lies in its place already", async () => {
    const logdir = temporaryFolder();
    const path = await runIn(join(logdir, "pytorch"));
    appendFileSync(path, "cut");
    const before = contents(logdir);
    await (await ComparedRuns.check([join(logdir, "pytorch")], logdir)).place(signal);
    expect(contents(logdir)).toEqual(before);
  });

  test("writes through no link", async () => {
    const folder = temporaryFolder();
    const logdir = join(folder, "logs");
    const source = await runIn(join(folder, "pytorch"));
    const name = source.slice(folder.length + "/pytorch/".length);
    const victim = join(folder, "victim");
    writeFileSync(victim, "precious");
    mkdirSync(join(logdir, "pytorch"), { recursive: true });
    symlinkSync(victim, join(logdir, "pytorch", name));
    const runs = await ComparedRuns.check([join(folder, "pytorch")], logdir);
    await runs.place(signal);
    expect(readFileSync(victim, "utf8")).toBe("precious");
    expect(readFileSync(join(logdir, "pytorch", name)).equals(readFileSync(source))).toBe(true);
    // A second name of the same file is given up, not written to.
    rmSync(join(logdir, "pytorch", name));
    linkSync(source, join(logdir, "pytorch", name));
    appendFileSync(source, "cut");
    await runs.place(signal);
    expect(readFileSync(source, "latin1").endsWith("cut")).toBe(true);
    // And a folder that leads elsewhere is refused.
    rmSync(join(logdir, "pytorch"), { recursive: true });
    mkdirSync(join(folder, "other"));
    symlinkSync(join(folder, "other"), join(logdir, "pytorch"));
    await expect(runs.place(signal)).rejects.toMatchObject({
      code: "LENET5_FILE_WRITE_FAILED",
      message: `Expected a folder that can be written for ${join(logdir, "pytorch")} (--logdir) but received a link to somewhere else`,
    });
    expect(readdirSync(join(folder, "other"))).toEqual([]);
  });

  test("refuses what is no run, before anything is written", async () => {
    const folder = temporaryFolder();
    const logdir = join(folder, "logs");
    const good = join(folder, "good");
    const path = await runIn(good);
    const make = (name: string, change: (file: string) => void): string => {
      cpSync(good, join(folder, name), { recursive: true });
      change(join(folder, name, path.slice(good.length + 1)));
      return join(folder, name);
    };
    mkdirSync(join(folder, "empty"));
    mkdirSync(join(folder, "a", "good"), { recursive: true });
    mkdirSync(join(folder, "libtorch"));
    const flip = (file: string) => {
      const bytes = readFileSync(file);
      bytes[bytes.length - 6]! ^= 1;
      writeFileSync(file, bytes);
    };
    const refusals: [string[], string, RegExp][] = [
      [[join(folder, "none")], "DATA_NOT_FOUND", /^Expected a folder with event files for .*none but received ENOENT/],
      [
        [path],
        "DATA_NOT_FOUND",
        /^Expected a folder with event files for --compare but received .*, which is no folder$/,
      ],
      [
        [join(folder, "empty")],
        "DATA_NOT_FOUND",
        /^Expected a folder with event files for --compare but received .*, which has none$/,
      ],
      [
        [make("text", (file) => writeFileSync(file, "a text, which is no event file"))],
        "DATA_CORRUPT",
        /^Expected records that fit their check sums for .*/,
      ],
      [
        [make("nothing", (file) => truncateSync(file))],
        "DATA_CORRUPT",
        /^Expected an event file for .* but received no whole record$/,
      ],
      [
        [make("other", (file) => writeFileSync(file, record(Buffer.from("another kind of TFRecord"))))],
        "DATA_CORRUPT",
        /^Expected an event file for .* but received records of something else$/,
      ],
      [
        [make("flipped", flip)],
        "DATA_CORRUPT",
        /^Expected records that fit their check sums for .* but received others at byte \d+$/,
      ],
      [
        [good, join(folder, "a", "good")],
        "INVALID_OPTION",
        /^Expected folders of different names \(.* is one of good\) for --compare but received/,
      ],
      [
        [join(folder, "libtorch")],
        "INVALID_OPTION",
        /^Expected folders of other names than libtorch, which is this training's, for --compare but received/,
      ],
      [[logdir], "INVALID_OPTION", /^Expected a run's folder, not --logdir itself, for --compare but received/],
    ];
    for (const [directories, code, message] of refusals) {
      await expect(ComparedRuns.check(directories, logdir), String(message)).rejects.toMatchObject({
        code: `LENET5_${code}`,
        message: expect.stringMatching(message),
      });
    }
    expect(readdirSync(folder)).not.toContain("logs");
  });
});

describe("lenet5 train --compare", () => {
  let data: string;
  beforeAll(async () => {
    data = mkdtempSync(join(tmpdir(), "lenet5-digits-"));
    await lenet5(line`data synthesise --output ${data} --count 300 --test-count 50 --seed 1`);
  });
  afterAll(() => rmSync(data, { recursive: true, force: true }));

  test("puts ours and others in one log directory; again, in place of what was there", async () => {
    const folder = temporaryFolder();
    const logdir = join(folder, "logs");
    for (const name of ["pytorch", "tensorflow"]) await runIn(join(folder, name));
    const before = contents(join(folder, "pytorch"));
    const words = line`train --data ${data} --epochs 1 --output ${join(folder, "m.pt")} --json`;
    const compare = line`--logdir ${logdir} --compare ${join(folder, "pytorch")} ${join(folder, "tensorflow")}`;
    let ours: string[] = [];
    for (let time = 1; time <= 2; time++) {
      const run = await lenet5([...words, ...compare]);
      expect(run.status, run.stderr).toBe(0);
      expect(lastJson(run)).toMatchObject({
        logdir: join(logdir, "libtorch"),
        compared: Object.fromEntries(["libtorch", "pytorch", "tensorflow"].map((name) => [name, join(logdir, name)])),
      });
      expect(readdirSync(logdir).sort()).toEqual(["libtorch", "pytorch", "tensorflow"]);
      for (const name of readdirSync(logdir)) expect(readdirSync(join(logdir, name))).toHaveLength(1);
      expect(readdirSync(join(logdir, "libtorch"))).not.toEqual(ours);
      ours = readdirSync(join(logdir, "libtorch"));
    }
    expect(contents(join(folder, "pytorch"))).toEqual(before);
    // A training that is resumed goes on in the log that is there.
    const more = line`--checkpoint-dir ${join(folder, "checkpoints")} --schedule constant`;
    expect((await lenet5([...words, ...compare, ...more])).status).toBe(0);
    expect((await lenet5([...words, ...compare, ...more, ...line`--epochs 2 --resume`])).status).toBe(0);
    expect(readdirSync(join(logdir, "libtorch"))).toHaveLength(2);
  });

  test("is refused with status 2 without --logdir or a folder, and with 1 for one that is none, before anything is trained", async () => {
    const folder = temporaryFolder();
    const words = line`train --data ${data} --output ${join(folder, "m.pt")}`;
    const without = await lenet5([...words, "--compare", folder]);
    expect(without.status).toBe(2);
    expect(without.stderr).toMatch(
      /^lenet5: Expected a folder \(because of --compare\) for --logdir but received none /,
    );
    const none = await lenet5([...words, ...line`--logdir ${join(folder, "logs")} --compare`]);
    expect(none.status).toBe(2);
    const empty = await lenet5([...words, ...line`--logdir ${join(folder, "logs")} --compare ${folder}`]);
    expect(empty.status).toBe(1);
    expect(empty.stderr).toMatch(
      /^lenet5: Expected a folder with event files for --compare .*\(LENET5_DATA_NOT_FOUND\)\n$/,
    );
    expect(readdirSync(folder)).toEqual([]);
  });
});
