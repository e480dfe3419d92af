// Event files, read by TensorBoard's own reader and shown by its own server.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { describe, expect, test } from "vitest";
import { packageRoot } from "#package-root";
import { crc32c, maskedCrc32c, record } from "../../lib/tensorboard/records.js";
import { lenet5Graph, SummaryWriter } from "../../lib/tensorboard.js";
import { runNode, temporaryFolder } from "../cli/lenet5.js";
import { describeWithTensorBoard } from "../python.js";
import { readEvents } from "./read-events.js";
import { startTensorBoard } from "./web-interface.js";

const SHAPE = /^Expected .+ for .+ but received .+/;
const refusal = (code: string) =>
  expect.objectContaining({ code: `LENET5_${code}`, message: expect.stringMatching(SHAPE) });

/** The records of a file, each check sum held against its bytes; throws where one is cut short. */
function records(path: string): Buffer[] {
  const file = readFileSync(path);
  const found: Buffer[] = [];
  for (let at = 0; at < file.length; ) {
    const length = Number(file.readBigUInt64LE(at));
    const data = file.subarray(at + 12, at + 12 + length);
    expect(file.readUInt32LE(at + 8)).toBe(maskedCrc32c(file.subarray(at, at + 8)));
    expect(file.readUInt32LE(at + 12 + length)).toBe(maskedCrc32c(data));
    found.push(data);
    at += 16 + length;
  }
  return found;
}

/** What a call throws, at once or later. */
async function thrownBy(call: () => unknown): Promise<unknown> {
  try {
    await call();
  } catch (error) {
    return error;
  }
  return undefined;
}

test("records have the check sums of RFC 3720, masked", () => {
  expect(crc32c(Buffer.from("123456789"))).toBe(0xe3069283);
  expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
  const framed = Buffer.from(record(Buffer.from("abc")));
  expect(framed).toHaveLength(19);
  expect(framed.readBigUInt64LE(0)).toBe(3n);
});

describe("SummaryWriter", () => {
  test("refuses bad input, and what came before stays readable", async () => {
    const writer = new SummaryWriter(temporaryFolder());
    // biome-ignore lint/suspicious/noExplicitAny: every call is a wrong one
    const any = writer as any;
    const bad: [string, () => unknown][] = [
      ["INVALID_ARGUMENT", () => writer.scalar("a", 1, Number.NaN)],
      ["INVALID_ARGUMENT", () => writer.scalar("a", 1, -1)],
      ["INVALID_ARGUMENT", () => writer.scalar("a", 1, 0.5)],
      ["INVALID_ARGUMENT", () => writer.scalar("", 1, 0)],
      ["INVALID_ARGUMENT", () => any.scalar("a", "1", 0)],
      ["INVALID_ARGUMENT", () => writer.histogram("a", [], 0)],
      ["INVALID_ARGUMENT", () => writer.histogram("a", [1, Number.NaN], 0)],
      ["INVALID_ARGUMENT", () => any.histogram("a", new BigInt64Array(1), 0)],
      ["INVALID_ARGUMENT", () => any.text("a", 1)],
      ["INVALID_ARGUMENT", () => writer.image("a", new Uint8Array(100), 0)],
      ["INVALID_ARGUMENT", () => any.image("a", "seven.png", 0)],
      ["INVALID_SHAPE", () => writer.image("a", { data: new Uint8Array(5), width: 2, height: 2 }, 0)],
      ["INVALID_SHAPE", () => writer.image("a", { data: new Uint8Array(5), width: 2, height: 2, channels: 1 }, 0)],
      ["INVALID_SHAPE", () => writer.image("a", { data: new Uint8Array(0), width: 0, height: 2 }, 0)],
      ["INVALID_ARGUMENT", () => any.hparams({ a: {} })],
      ["INVALID_ARGUMENT", () => any.hparams({}, { a: "1" })],
      ["INVALID_ARGUMENT", () => any.hparams(null)],
      ["INVALID_ARGUMENT", () => writer.graph([{ name: "a", op: "b", inputs: ["c"] }])],
      ["INVALID_ARGUMENT", () => any.graph({})],
    ];
    for (const [code, call] of bad) expect(await thrownBy(call), String(call)).toEqual(refusal(code));
    await writer.close();
    expect(records(writer.path)).toHaveLength(1);
  });

  test("refuses a folder that cannot be written, and options that it does not know", async () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, "file"), "");
    expect(await thrownBy(() => new SummaryWriter(join(folder, "file")))).toEqual(refusal("FILE_WRITE_FAILED"));
    expect(await thrownBy(() => new SummaryWriter(join(folder, "file", "below")))).toEqual(
      refusal("FILE_WRITE_FAILED"),
    );
    if (process.getuid?.() !== 0) {
      mkdirSync(join(folder, "locked"));
      chmodSync(join(folder, "locked"), 0o500);
      expect(await thrownBy(() => new SummaryWriter(join(folder, "locked")))).toEqual(refusal("FILE_WRITE_FAILED"));
    }
    expect(await thrownBy(() => new SummaryWriter(""))).toEqual(refusal("INVALID_ARGUMENT"));
    expect(await thrownBy(() => new SummaryWriter(folder, { flushSeconds: 0 }))).toEqual(refusal("INVALID_OPTION"));
    expect(await thrownBy(() => new SummaryWriter(folder, { flush: 1 } as object))).toEqual(refusal("UNKNOWN_OPTION"));
  });

  test("is closed once, waits for images, and takes nothing afterwards", async () => {
    let writer: SummaryWriter;
    {
      await using used = new SummaryWriter(temporaryFolder());
      writer = used;
      void used.image("late", { data: new Uint8Array(16), width: 4, height: 4 }, 1);
    }
    expect(records(writer.path)).toHaveLength(2);
    await writer.close();
    const calls = [
      () => writer.scalar("a", 1, 1),
      () => writer.flush(),
      () => writer.graph([]),
      () => writer.image("a", { data: new Uint8Array(1), width: 1, height: 1 }, 1),
    ];
    for (const call of calls) expect(await thrownBy(call)).toEqual(refusal("DISPOSED"));
  });

  test("lets 64 KB wait at most, flushes on a timer, and 64 images be encoded at most", async () => {
    await using writer = new SummaryWriter(temporaryFolder(), { flushSeconds: 0.05 });
    const before = statSync(writer.path).size;
    let written = 0;
    for (let step = 0; step < 5000; step++) {
      writer.scalar("a", step, step);
      written++;
    }
    // Without a turn of the event loop: no timer has run.
    const size = statSync(writer.path).size;
    expect(size).toBeGreaterThan(before + written * 30 - 66_000);
    expect(records(writer.path).length).toBeLessThan(written + 1);
    await expect.poll(() => records(writer.path).length).toBe(written + 1);
    const pixels = { data: new Uint8Array(64 * 64), width: 64, height: 64 };
    const images = await Promise.allSettled(Array.from({ length: 65 }, () => writer.image("i", pixels, 0)));
    expect(images.filter(({ status }) => status === "rejected")).toEqual([
      { status: "rejected", reason: refusal("QUEUE_FULL") },
    ]);
  });

  test("a full disk is an error of the call, and the file ends with a whole record", async () => {
    const folder = temporaryFolder();
    // A limit on the size of files stands for the disk's: the write that meets it is cut short.
    const script = `
      const { SummaryWriter } = require(${JSON.stringify(join(packageRoot, "dist", "cjs", "tensorboard.js"))});
      process.on("SIGXFSZ", () => {});
      const writer = new SummaryWriter(${JSON.stringify(folder)});
      try { for (let i = 0; i < 1e5; i++) writer.scalar("a", i, i); } catch (error) { console.log(error.code, error.message); }
    `;
    const child = spawn("bash", ["-c", 'ulimit -f 100; exec "$0" -e "$1"', process.execPath, script]);
    let out = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      out += text;
    });
    await once(child, "close");
    expect(out).toMatch(/^LENET5_FILE_WRITE_FAILED Expected room for \d+ bytes for .+ but received EFBIG/);
    expect(records(join(folder, readdirSync(folder)[0]!)).length).toBeGreaterThan(100);
  });
});

describeWithTensorBoard("the real TensorBoard", () => {
  test("reads every kind of summary", async () => {
    const folder = temporaryFolder();
    const writer = new SummaryWriter(folder);
    for (const [step, value] of [0.5, 0.25, Number.NaN].entries()) writer.scalar("loss/train", value, step * 100);
    writer.scalar("far", 1, 2 ** 40);
    writer.histogram("weights", Float32Array.of(-1, -0.5, 0, 0.5, 1, 1), 3);
    writer.histogram("one value", [7, 7, 7], 3);
    const png = await sharp({ create: { width: 5, height: 3, channels: 3, background: "red" } })
      .png()
      .toBuffer();
    await writer.image("png", png, 1);
    const ramp = Uint8Array.from({ length: 28 * 28 }, (_, i) => i % 256);
    await writer.image("digit", { data: ramp, width: 28, height: 28 }, 2);
    writer.text("configuration", "größer **64**");
    writer.graph(lenet5Graph(7));
    writer.hparams({ rate: 0.005, schedule: "one-cycle", augmented: false, decay: 0 }, { "test/accuracy": 0.75 }, 9);
    await writer.close();

    const found = await readEvents(folder);
    expect(found.version).toBe(2);
    expect(found.scalars).toEqual({
      "loss/train": [[0, "0.5"], [100, "0.25"], [200, "nan"]], // biome-ignore format: a table
      far: [[2 ** 40, "1.0"]],
      "test/accuracy": [[9, "0.75"]],
    });
    const [step, min, max, num, sum, squares, limits, counts] = found.histograms.weights![0]!;
    expect([step, min, max, num, sum, squares]).toEqual([3, -1, 1, 6, 1, 3.5]);
    expect(limits.at(-1)).toBe(1);
    expect(counts.reduce((total, count) => total + count)).toBe(6);
    for (const [i, value] of [-1, -0.5, 0, 0.5].entries()) {
      const at = limits.findIndex((limit, bucket) => counts[bucket]! > 0 && value <= limit && value >= limit - 2 / 64);
      expect(counts[at], `value ${i}`).toBe(1);
    }
    expect(counts.at(-1)).toBe(2);
    expect(found.histograms["one value"]![0]!.slice(3)).toEqual([3, 21, 147, [7], [3]]);
    expect(found.images.png).toEqual([[1, 5, 3, png.toString("hex")]]);
    const [, width, height, hex] = found.images.digit![0]!;
    expect([width, height]).toEqual([28, 28]);
    const back = await sharp(Buffer.from(hex, "hex")).extractChannel(0).raw().toBuffer();
    expect(Buffer.compare(back, Buffer.from(ramp))).toBe(0);
    expect(found.texts).toEqual({ "configuration/text_summary": ["größer **64**"] });
    expect(found.hparams).toEqual({
      metrics: ["test/accuracy"],
      types: { rate: 3, schedule: 1, augmented: 2, decay: 3 },
      values: { rate: 0.005, schedule: "one-cycle", augmented: false, decay: 0 },
      status: 1,
    });
    expect(found.graph).toHaveLength(lenet5Graph(7).length);
    expect(found.graph).toContainEqual([
      "output/Linear",
      "Linear",
      ["f6/Relu", "output/weight", "output/bias"],
      [[-1, 7]],
    ]);
  });

  test("reads what several writers put into one folder, and what a killed process left", async () => {
    const folder = temporaryFolder();
    const writers = Array.from({ length: 3 }, () => new SummaryWriter(folder));
    expect(new Set(writers.map(({ path }) => path)).size).toBe(3);
    for (const [i, writer] of writers.entries()) writer.scalar(`of ${i}`, i, 1);
    await Promise.all(writers.map((writer) => writer.close()));
    // Killed in the middle of writing, with something that waits.
    const { signal } = await runNode([
      "-e",
      `const { SummaryWriter } = require(${JSON.stringify(join(packageRoot, "dist", "cjs", "tensorboard.js"))});
       const writer = new SummaryWriter(${JSON.stringify(folder)});
       for (let i = 0; i < 10_000; i++) writer.scalar("killed", i, i);
       process.kill(process.pid, "SIGKILL");`,
    ]);
    expect(signal).toBe("SIGKILL");
    const { scalars } = await readEvents(folder);
    expect(Object.keys(scalars).sort()).toEqual(["killed", "of 0", "of 1", "of 2"]);
    const killed = scalars.killed!;
    expect(killed.length).toBeGreaterThan(8000);
    expect(killed.map(([step]) => step)).toEqual(killed.map((_, i) => i));
    for (const name of readdirSync(folder)) expect(records(join(folder, name)).length).toBeGreaterThan(1);
  });

  test("shows them in its web interface", async () => {
    const folder = temporaryFolder();
    const writer = new SummaryWriter(join(folder, "first"));
    for (let step = 0; step < 5; step++) writer.scalar("loss", 1 / 2 ** step, step);
    writer.histogram("weights", [1, 2, 3], 1);
    writer.text("notes", "hello");
    writer.graph(lenet5Graph());
    writer.hparams({ rate: 0.5 }, { accuracy: 0.75 });
    await writer.close();

    const { url, stop } = await startTensorBoard(folder, ["first"]);
    try {
      const get = async (path: string): Promise<Response> => await fetch(`${url}/data/${path}`);
      const json = async (path: string): Promise<unknown> => await (await get(path)).json();
      const events = (await json("plugin/scalars/scalars?run=first&tag=loss")) as [number, number, number][];
      expect(events.map(([, step, value]) => [step, value])).toEqual([0, 1, 2, 3, 4].map((i) => [i, 1 / 2 ** i]));
      expect(await json("plugin/histograms/tags")).toMatchObject({ first: { weights: expect.anything() } });
      expect(await json("plugin/text/text?run=first&tag=notes/text_summary")).toMatchObject([
        { text: expect.stringContaining("<p>hello</p>") },
      ]);
      expect(await (await get("plugin/graphs/graph?run=first&conceptual=false")).text()).toContain("log_probabilities");
      const sessions = await fetch(`${url}/data/plugin/hparams/session_groups`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({
          experimentName: "",
          allowedStatuses: ["STATUS_SUCCESS"],
          colParams: [{ hparam: "rate" }, { metric: { group: "", tag: "accuracy" } }],
          startIndex: 0,
          sliceSize: 10,
        }),
      });
      expect(await sessions.json()).toMatchObject({
        sessionGroups: [{ hparams: { rate: 0.5 }, metricValues: [{ name: { tag: "accuracy" }, value: 0.75 }] }],
      });
    } finally {
      await stop();
    }
  });
});
