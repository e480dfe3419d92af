import { spawnSync } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { benchmarkModule, benchmarksFolder } from "./modules.js";

const { Child } = await benchmarkModule("runner/child.mjs");
const { inference } = await benchmarkModule("runner/suites/inference.mjs");
const { isRight, judge } = await benchmarkModule("runner/reference.mjs");
const { quickest } = await benchmarkModule("runner/suites/recipes.mjs");
const { texture } = await benchmarkModule("runner/data.mjs");
const { seeded } = await benchmarkModule("systems/shared/network.mjs");

let folder: string;
// biome-ignore lint/suspicious/noExplicitAny: the runner is untyped
let child: any;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "lenet5-bench-"));
});
afterEach(async () => {
  await child?.end();
  child = undefined;
  await rm(folder, { recursive: true, force: true });
});

/** A system that answers by the protocol's own Node half. */
async function start(body: string) {
  const file = join(folder, "system.mjs");
  const protocol = JSON.stringify(join(benchmarksFolder, "systems/shared/protocol.mjs"));
  await writeFile(file, `import { serve } from ${protocol};\n${body}`);
  child = new Child({ name: "test", command: process.execPath, args: [file] }, process.env);
  return child;
}

test("a system that prints does not disturb the protocol, and its errors reject the request alone", async () => {
  const system = await start(`
    console.log("a library's banner");
    serve({
      versions: { test: "1.2.3" },
      load(model) {
        console.log("loading");
        if (model.broken) throw new Error("no such model");
        return { threads: 1 };
      },
    });`);
  expect((await system.ready()).versions).toEqual({ test: "1.2.3" });
  await expect(system.request({ cmd: "load", model: { broken: true } })).rejects.toThrow("no such model");
  expect(await system.request({ cmd: "load", model: {} })).toMatchObject({ threads: 1 });
});

test("a process that dies or stays silent is reported with its reason", async () => {
  const dying = await start(`throw new Error("cannot open libwhatever.so");`);
  await expect(dying.ready()).rejects.toThrow(/cannot open libwhatever\.so/);
  await dying.end();
  const silent = await start("setInterval(() => {}, 1000);");
  await expect(silent.ready(0.3)).rejects.toThrow("no reply within 0.3 s");
});

test.runIf(process.platform === "linux")("between its turns a system does not run", async () => {
  const system = await start(`
    let ticks = 0;
    setInterval(() => { ticks += 1; }, 1);
    serve({ versions: {}, load: () => ({ ticks }) });`);
  await system.ready();
  const { ticks } = await system.turn({ cmd: "load" });
  const state = async () => /^State:\s+(\w)/m.exec(await readFile(`/proc/${system.pid}/status`, "utf8"))![1];
  for (let i = 0; i < 50 && (await state()) !== "T"; i += 1) await delay(10);
  expect(await state()).toBe("T");
  await delay(400);
  // Waking takes a few milliseconds; 400 ticks would have passed had it run on.
  expect((await system.turn({ cmd: "load" })).ticks - ticks).toBeLessThan(200);
});

interface Fake {
  labels?: number[];
  /** Images a second by the number of threads. */
  rate: number[];
  fails?: string;
}

/** A run of the inference suite over systems that answer what the test says, on a machine with these peaks. */
async function measure(systems: Record<string, Fake>, peaks: number[] = []) {
  const order: string[] = [];
  const failures: string[] = [];
  const repeated: unknown[] = [];
  const started: string[] = [];
  const ended: string[] = [];
  let peak = 0;
  const results = await inference({
    settings: { batches: [2], inferenceRounds: 3, windowSeconds: 0.25, threads: 2, orderSeed: 1 },
    selected: Object.keys(systems).map((name) => ({ name })),
    async start({ name }: { name: string }, threads: number) {
      const { labels = [7, 2, 1], rate, fails } = systems[name]!;
      started.push(`${name} ${threads}`);
      return {
        async turn({ cmd, seconds, output }: { cmd: string; seconds: number; output: string }) {
          if (cmd === "check") {
            await writeFile(output, JSON.stringify(labels));
            const candidates = [
              { name: "slow", ms: 2 },
              { name: "fast", ms: 1 },
            ];
            return {
              settings: "fast",
              candidates: fails ? [...candidates, { name: "new", error: fails }] : candidates,
            };
          }
          if (seconds === 0.25) order.push(name);
          return { calls: rate[threads - 1]! * seconds, seconds, p50Ms: 1, p99Ms: 2 };
        },
        async end() {
          ended.push(`${name} ${threads}`);
        },
      };
    },
    answersFile: (name: string) => join(folder, name),
    async judge(file: string) {
      const labels: number[] = JSON.parse(await readFile(file, "utf8"));
      const wrongLabels = [7, 2, 1].filter((label, index) => label !== labels[index]).length;
      return { wrongLabels, largestDifference: wrongLabels > 0 ? 1 : 1e-6 };
    },
    report: () => {},
    fail: (system: string, why: string) => failures.push(`${system}: ${why}`),
    peak: async () => (peaks.length === 0 ? undefined : (peaks[peak++] ?? peaks.at(-1))),
    repeated,
  });
  return { order, failures, results, repeated, started, ended };
}

test("rounds are interleaved, in an order drawn anew for each", async () => {
  const right = { rate: [100, 400] };
  const { order, failures, results } = await measure({ a: right, b: right, c: { rate: [50, 100] } });
  const inRounds = [0, 3, 6].map((at) => order.slice(at, at + 3));
  for (const round of inRounds) expect(round.toSorted()).toEqual(["a", "b", "c"]);
  expect(new Set(inRounds.map(String)).size).toBeGreaterThan(1);
  // The seed repeats it.
  expect((await measure({ a: right, b: right, c: right })).order).toEqual(order);
  expect(failures).toEqual([]);
  expect(results).toMatchObject([
    { suite: "inference", system: "a", batch: 2, imagesPerSecond: 800, p50Ms: 1, p99Ms: 2, correct: true },
    { system: "b" },
    { system: "c", imagesPerSecond: 200 },
  ]);
  expect(results[0].rounds.imagesPerSecond).toHaveLength(3);
});

test("one thread and all are tried, the better stays, and every candidate is in the result", async () => {
  const { results, started, ended } = await measure({
    alone: { rate: [500, 400], fails: "RuntimeError: no compiler" },
    together: { rate: [100, 400] },
  });
  expect(started).toEqual(["alone 1", "alone 2", "together 1", "together 2"]);
  expect(ended.slice(0, 2)).toEqual(["alone 2", "together 1"]);
  expect(results.map(({ threads }: { threads: number }) => threads)).toEqual([1, 2]);
  expect(results[0].threadCounts).toEqual([
    { threads: 1, imagesPerSecond: 1000 },
    { threads: 2, imagesPerSecond: 800 },
  ]);
  expect(results[0].settings).toBe("fast");
  expect(results[0].candidates).toHaveLength(6);
  expect(results[0].candidates[2]).toEqual({ threads: 1, name: "new", error: "RuntimeError: no compiler" });
});

test("a round on a slow machine is taken again, and the result says so", async () => {
  const { results, repeated, order } = await measure({ a: { rate: [1, 400] } }, [100, 100, 80, 100, 100, 100]);
  // The second and the third round border on the slow moment.
  expect(order).toHaveLength(5);
  expect(results[0].rounds.imagesPerSecond).toHaveLength(3);
  expect(repeated).toEqual([
    { suite: "inference, digits", round: 1, shareOfPeak: 0.8 },
    { suite: "inference, digits", round: 2, shareOfPeak: 0.8 },
  ]);
});

test("wrong answers fail the run and are in the result", async () => {
  const { failures, results } = await measure({
    right: { rate: [1, 10] },
    wrong: { labels: [7, 3, 1], rate: [1, 10_000] },
    short: { labels: [7, 2], rate: [1, 10_000] },
  });
  expect(failures).toHaveLength(2);
  expect(failures[0]).toMatch(/^wrong: .*1 labels are wrong/);
  expect(results.map(({ system, correct }: { system: string; correct: boolean }) => [system, correct])).toEqual([
    ["right", true],
    ["wrong", false],
    ["short", false],
  ]);
});

test("answers are compared with double precision: labels, and each log-probability", () => {
  const expected = Float64Array.from([-0.1, -3, -50, -4, -5, -6, -7, -8, -9, -10]);
  const near = Float32Array.from(expected, (value) => value * (1 + 1e-6));
  expect(judge(near, expected)).toMatchObject({ wrongLabels: 0 });
  expect(isRight(judge(near, expected))).toBe(true);
  // bfloat16's rounding keeps the label and is found.
  const coarse = Float32Array.from(expected, (value) => value * (1 + 2 ** -8));
  expect(judge(coarse, expected).wrongLabels).toBe(0);
  expect(isRight(judge(coarse, expected))).toBe(false);
  const other = Float32Array.from(expected).fill(0, 1, 2);
  expect(judge(other, expected).wrongLabels).toBe(1);
  expect(isRight(judge(Float32Array.from(expected).fill(Number.NaN), expected))).toBe(false);
  expect(isRight(judge(near.subarray(1), expected))).toBe(false);
  // The logarithm of a probability that single precision does not have.
  const [never, hardly] = [Float32Array.from(expected), Float64Array.from(expected)];
  never[2] = Number.NEGATIVE_INFINITY;
  hardly[2] = -104;
  expect(isRight(judge(never, hardly))).toBe(true);
  expect(isRight(judge(never, expected))).toBe(false);
});

test("a recipe of a system's own is as accurate as the common one, and the quickest such", () => {
  const recipe = (epochs: number, batchSize: number, accuracy: number) => ({ epochs, batchSize, accuracy });
  const tried = [recipe(3, 64, 0.99), recipe(2, 64, 0.985), recipe(4, 256, 0.9901), recipe(3, 256, 0.986)];
  expect(quickest(tried, { 64: 1000, 256: 3000 }, 0.9897)[0]).toMatchObject({ epochs: 4, batchSize: 256 });
  expect(quickest(tried, { 64: 1000, 256: 1100 }, 0.9897)[0]).toMatchObject({ epochs: 3, batchSize: 64 });
  expect(quickest(tried, { 64: 1000 }, 0.995)).toEqual([]);
});

test("textures fill their frame, and classes differ", () => {
  const random = seeded(3);
  const pixels = new Uint8Array(784);
  for (let label = 0; label < 10; label += 1) {
    texture(pixels, label, random);
    expect(Math.min(...pixels)).toBeGreaterThan(0);
  }
  const once = Uint8Array.from(pixels);
  texture(pixels, 9, seeded(3));
  expect(pixels).not.toEqual(once);
});

test("the command refuses what it does not know", () => {
  const run = (...args: string[]) =>
    spawnSync(process.execPath, [join(benchmarksFolder, "run.mjs"), ...args], { encoding: "utf8", timeout: 30_000 });
  expect(run("--help").stdout).toMatch(
    /lenet5-fused, lenet5-fused-awaited, .*lenet5-libtorch, libtorch-plain, pytorch/,
  );
  for (const args of [["--suite", "speed"], ["--systems", "pytorch,keras"], ["--threads", "0"], ["--fast"]]) {
    const { status, stderr } = run(...args);
    expect(status, args.join(" ")).toBe(2);
    expect(stderr).toContain(args[0] === "--fast" ? "--fast" : args[1]!.split(",").at(-1));
  }
});

test("script modules are called in turns, and an answer that is not torch.jit's fails the run", async () => {
  const { CASES, LOADED, scriptModule } = await benchmarkModule("runner/suites/script-module.mjs");
  const order: string[] = [];
  const failures: string[] = [];
  const answering = (name: string, wrongIn: string) => [
    { name },
    {
      async turn({ cmd, file }: { cmd: string; file?: string }) {
        if (cmd === "open") return { values: [1, file!.includes(wrongIn) ? 2 : 3] };
        order.push(cmd);
        return { calls: 10, seconds: 1, p50Ms: cmd === "runSync" ? 1 : 2, p99Ms: 4 };
      },
    },
  ];
  const results = await scriptModule({
    settings: { scriptModuleRounds: 2, windowSeconds: 0.1, threads: 2 },
    children: new Map([answering("script-module", "resnet18"), answering("torch-jit", "none")] as never),
    report: () => {},
    fail: (system: string, why: string) => failures.push(`${system}: ${why}`),
  });
  expect(order.slice(0, 6)).toEqual(["runSync", "awaited", "call", "awaited", "call", "runSync"]);
  expect(results).toHaveLength(3 * CASES.length + 2 * LOADED.length);
  expect(results[0]).toMatchObject({ what: "MLP, batch 1", how: "runSync", p50Ms: 1, correct: true });
  expect(failures).toHaveLength(2);
  expect(failures[0]).toMatch(/^script-module: ResNet-18, batch 1: not torch\.jit's answer/);
});

test("a folder of images is classified in turns, and answers that differ are counted", async () => {
  const { alike } = await benchmarkModule("runner/suites/batch.mjs");
  const labels = Array.from({ length: 1000 }, (_, i) => i % 10);
  expect(alike(labels, labels)).toBe(true);
  expect(alike([9, ...labels.slice(1)], labels)).toBe(true);
  expect(alike([9, 9, ...labels.slice(2)], labels)).toBe(false);
  expect(alike(labels.slice(1), labels)).toBe(false);
  const row = (system: string, imagesPerSecond: number, correct = true) => ({
    ...{ suite: "batch", system, what: "PNGs", imagesPerSecond, correct },
    rounds: { imagesPerSecond: [imagesPerSecond] },
  });
  const { compare } = await benchmarkModule("runner/targets.mjs");
  const reached = (ours: object, theirs: object) =>
    compare({ environment: {}, results: [ours, theirs] }).map((one: { reached: boolean }) => one.reached);
  expect(reached(row("lenet5-predict", 500), row("pytorch-dataloader", 100))).toEqual([true]);
  expect(reached(row("lenet5-predict", 499), row("pytorch-dataloader", 100))).toEqual([false]);
  expect(reached(row("lenet5-predict", 500, false), row("pytorch-dataloader", 100))).toEqual([false]);
});
