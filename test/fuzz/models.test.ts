// Damaged model files, each loaded in a short-lived process group of its own batch: the first of a seeded row with
// `npm test`, thousands with `npm run test:long`.
//
// What random damage makes of a file must end in an error with a code, or load: never in a crash, a hang or a huge
// allocation. A TorchScript file whose checksums were made right again is different: it is what an attacker would send,
// PyTorch's own unpickler reads it, and PyTorch says that a stranger's file is a stranger's code. Those run apart, and
// what happens to them is counted and printed.
import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { exportOnnx, exportSafetensors, LeNet5 } from "../../lib/index.js";

const LONG = process.env.LENET5_LONG_TESTS === "1";
const SEED = 20260920;
const BATCH = 100;
const BATCH_TIME = 120_000;
const LARGEST_PROCESS = 2 ** 30;
const child = path.join(import.meta.dirname, "child.mjs");

interface Tally {
  /** Number of files by outcome: an error's code, `loaded`, or how the process ended. */
  outcomes: Map<string, number>;
  /** Messages of errors without a code. */
  uncoded: string[];
  /** Files that ended their process, by signal or by time. */
  crashes: string[];
  largestProcess: number;
}

/** Loads `count` mutations; a process that dies is replaced by one that goes on behind the file it died of. */
async function fuzz(kind: string, file: string, count: number): Promise<Tally> {
  const tally: Tally = { outcomes: new Map(), uncoded: [], crashes: [], largestProcess: 0 };
  const add = (outcome: string): void => void tally.outcomes.set(outcome, (tally.outcomes.get(outcome) ?? 0) + 1);
  let next = 0;
  while (next < count) {
    const last = Math.min(next + BATCH, count);
    const { lines, ending } = await runChild([kind, file, String(SEED), String(next), String(last)]);
    let started = -1;
    for (const line of lines) {
      const [sign, index, outcome, ...message] = line.split(" ");
      if (sign === ">") started = Number(index);
      else if (sign === "memory") tally.largestProcess = Math.max(tally.largestProcess, Number(index));
      else if (sign === "=") {
        next = Number(index) + 1;
        add(outcome!);
        if (outcome === "UNCODED") tally.uncoded.push(`${index}: ${message.join(" ")}`);
      }
    }
    if (ending === "0") continue;
    if (started < next) throw new Error(`The ${kind} process ended with ${ending} outside a file`);
    tally.crashes.push(`${started}: ${ending}`);
    add(`process ended: ${ending}`);
    next = started + 1;
  }
  console.log(`${count} ${kind} files:`, Object.fromEntries([...tally.outcomes].sort(([, a], [, b]) => b - a)));
  return tally;
}

/** Runs one child as the leader of its own process group and gives back its lines and how it ended. */
function runChild(args: string[]): Promise<{ lines: string[]; ending: string }> {
  return new Promise((resolve, reject) => {
    const running = spawn(process.execPath, [child, ...args], { detached: true, stdio: ["ignore", "pipe", "ignore"] });
    let out = "";
    running.stdout.setEncoding("utf8").on("data", (text: string) => {
      out += text;
    });
    const timer = setTimeout(() => process.kill(-running.pid!, "SIGKILL"), BATCH_TIME);
    running.once("error", reject);
    running.once("close", (code, signal) => {
      clearTimeout(timer);
      resolve({ lines: out.split("\n"), ending: String(code ?? signal) });
    });
  });
}

describe("damaged model files", { timeout: 1_800_000 }, () => {
  let folder: string;
  const file = (name: string): string => path.join(folder, name);

  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), "lenet5-fuzz-"));
    using model = new LeNet5({ seed: 1, device: "cpu" });
    await model.save(file("model.pt"));
    await exportSafetensors(model, file("model.safetensors"));
    await exportOnnx(model, file("model.onnx"));
    await writeFile(file("empty"), "");
  }, 60_000);
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it.each([
    ["torchscript", "model.pt", LONG ? 1000 : 60],
    [
      "torchscript",
      path.join(import.meta.dirname, "..", "fixtures", "state-dicts", "lenet5.torchscript.pt"),
      LONG ? 300 : 30,
    ],
    ["safetensors", "model.safetensors", LONG ? 1000 : 60],
    ["onnx", "model.onnx", LONG ? 1000 : 60],
  ])("%s (%s): %i files end in a coded error or load", async (kind, name, count) => {
    const tally = await fuzz(kind, path.isAbsolute(name) ? name : file(name), count);
    expect(tally.crashes).toEqual([]);
    expect(tally.uncoded).toEqual([]);
    expect([...tally.outcomes.keys()].filter((code) => code === "LENET5_NATIVE_FAILURE")).toEqual([]);
    expect(tally.largestProcess).toBeLessThan(LARGEST_PROCESS);
    const refused = count - (tally.outcomes.get("loaded") ?? 0);
    expect(refused).toBeGreaterThan(count / 4);
  });

  it("repaired: forged files, whose checksums are right, end in a coded error or load", async () => {
    const count = LONG ? 300 : 30;
    const tally = await fuzz("repaired", file("model.pt"), count);
    expect(tally.crashes).toEqual([]);
    expect(tally.uncoded).toEqual([]);
    expect(tally.outcomes.size).toBeGreaterThan(1);
  });

  it("onnxruntime: ONNX Runtime's own reader is asked the same questions, and its answers are counted", async () => {
    const count = LONG ? 200 : 20;
    const tally = await fuzz("onnxruntime", file("model.onnx"), count);
    // It may refuse or die: what is asked of it is that it takes what we wrote, so that some damage goes unnoticed.
    expect([...tally.outcomes.values()].reduce((sum, n) => sum + n)).toBe(count);
    expect(tally.outcomes.get("loaded")).toBeGreaterThan(0);
  });
});
