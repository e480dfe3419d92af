import { spawnSync } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { benchmarkModule, benchmarksFolder } from "./modules.js";

const { Child } = await benchmarkModule("runner/child.mjs");
const { inference } = await benchmarkModule("runner/suites/inference.mjs");

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

/** A run of the inference suite over systems that answer what the test says. */
async function measure(systems: Record<string, { labels: number[]; rate: number }>) {
  const order: string[] = [];
  const failures: string[] = [];
  const children = new Map(
    Object.entries(systems).map(([name, { labels, rate }]) => [
      { name },
      {
        async turn({ cmd, seconds }: { cmd: string; seconds: number }) {
          if (cmd === "check") return { labels };
          if (seconds === 0.25) order.push(name);
          return { calls: rate * seconds, seconds, p50Ms: 1, p99Ms: 2 };
        },
      },
    ]),
  );
  const results = await inference({
    settings: { batches: [2], inferenceRounds: 3, windowSeconds: 0.25 },
    children,
    report: () => {},
    fail: (system: string, why: string) => failures.push(`${system}: ${why}`),
    peak: async () => {},
    model: { referenceLabels: [7, 2, 1] },
    threadsOf: () => 2,
  });
  return { order, failures, results };
}

test("rounds are interleaved and begin with another system each time", async () => {
  const right = { labels: [7, 2, 1], rate: 400 };
  const { order, failures, results } = await measure({ a: right, b: right, c: { ...right, rate: 100 } });
  expect(order).toEqual(["a", "b", "c", "b", "c", "a", "c", "a", "b"]);
  expect(failures).toEqual([]);
  expect(results).toMatchObject([
    { suite: "inference", system: "a", batch: 2, imagesPerSecond: 800, p50Ms: 1, p99Ms: 2, correct: true },
    { system: "b" },
    { system: "c", imagesPerSecond: 200 },
  ]);
  expect(results[0].rounds.imagesPerSecond).toHaveLength(3);
});

test("a wrong or missing label fails the run and is in the result", async () => {
  const { failures, results } = await measure({
    right: { labels: [7, 2, 1], rate: 10 },
    wrong: { labels: [7, 3, 1], rate: 10_000 },
    short: { labels: [7, 2], rate: 10_000 },
  });
  expect(failures).toHaveLength(2);
  expect(failures[0]).toMatch(/^wrong: .*1 of 1000 labels/);
  expect(results.map(({ system, correct }: { system: string; correct: boolean }) => [system, correct])).toEqual([
    ["right", true],
    ["wrong", false],
    ["short", false],
  ]);
});

test("the command refuses what it does not know", () => {
  const run = (...args: string[]) =>
    spawnSync(process.execPath, [join(benchmarksFolder, "run.mjs"), ...args], { encoding: "utf8", timeout: 30_000 });
  expect(run("--help").stdout).toMatch(
    /lenet5-fused, lenet5-fused-augmented, lenet5-libtorch, libtorch-plain, pytorch/,
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
