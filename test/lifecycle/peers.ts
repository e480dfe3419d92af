// What the tests of the lifecycle run: `npm run lifecycle` and Airflow, in Python environments of their own.
import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll } from "vitest";
import { packageRoot } from "#package-root";
import { idx, syntheticDigits } from "../../lib/index.js";
import { pythonPath } from "../python.js";

/** How a program ended. */
export interface Ended {
  status: number | null;
  stdout: string;
  stderr: string;
}

/** Runs a program to its end; `onStart` gets its process. */
export function run(
  command: string,
  args: readonly string[],
  { env = {}, onStart }: { env?: Record<string, string | undefined>; onStart?: (child: ChildProcess) => void } = {},
): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: packageRoot,
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let [stdout, stderr] = ["", ""];
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    child.once("error", reject).once("close", (status) => resolve({ status, stdout, stderr }));
    onStart?.(child);
  });
}

/** What `npm run lifecycle` printed last. */
export interface Outcome extends Ended {
  // biome-ignore lint/suspicious/noExplicitAny: tests look into many shapes, and a wrong one fails them
  result: any;
}

/** Runs the lifecycle's script, as `npm run lifecycle` does. @param env - with {@link standIns}, without PyTorch and TensorFlow */
export async function lifecycle(
  words: readonly string[],
  env: Record<string, string | undefined> = {},
  onStart?: (child: ChildProcess) => void,
): Promise<Outcome> {
  const script = join(packageRoot, "pipelines", "lifecycle.py");
  const ended = await run(pythonPath!, [script, ...words], { env, ...(onStart && { onStart }) });
  const last = ended.stdout.trimEnd().split("\n").at(-1) ?? "";
  return { ...ended, result: last === "" ? undefined : JSON.parse(last) };
}

/** Draws the digits that {@link small} learns from. */
export async function drawDigits(folder: string): Promise<void> {
  const sets = await syntheticDigits.load({ trainCount: 3000, testCount: 500, seed: 3 });
  await idx.writeDatasets(join(folder, "digits"), sets);
}

/** A few images and one epoch; the least accuracy is one for what that teaches. */
export function small(folder: string): Record<string, string> {
  const learning = { epochs: "1", threads: "1", min_accuracy: "0.3" };
  return { data: join(folder, "digits"), train_count: "2000", test_count: "500", ...learning, benchmark_seconds: "1" };
}

/** Settings as the lifecycle's options. */
export function options(settings: Record<string, string>): string[] {
  return Object.entries(settings).flatMap(([name, value]) => [`--${name.replaceAll("_", "-")}`, value]);
}

/** A folder for the tests of one file. */
export function folderForAll(): string {
  const folder = mkdtempSync(join(tmpdir(), "lenet5-lifecycle-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Programs in place of the Pythons of the other trainers, for tests that are not about them. */
export function standIns(folder: string): Record<string, string> {
  const path = join(folder, "stand-in");
  writeFileSync(path, `#!/bin/sh\necho '{"system":"stand-in"}'\n`);
  chmodSync(path, 0o755);
  return { LENET5_PYTHON: path, LENET5_TENSORFLOW_PYTHON: path };
}

/**
 * Waits for the training that writes below `folder`, and ends it as the system does when memory runs out.
 * @param isDue - whether it is in the middle
 */
export async function killTraining(folder: string, isDue: () => boolean): Promise<void> {
  const deadline = Date.now() + 120_000;
  while (Date.now() < deadline) {
    for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
      const [node, , command, ...words] = commandLine(pid);
      const isOurs =
        node?.endsWith("node") && command === "train" && words.some((word) => word.startsWith(`${folder}/`));
      if (!isOurs || !isDue()) continue;
      process.kill(Number(pid), "SIGKILL");
      return;
    }
    await delay(5);
  }
  throw new Error(`Expected a training that writes to ${folder}`);
}

function commandLine(pid: string): string[] {
  try {
    return readFileSync(join("/proc", pid, "cmdline"), "utf8").split("\0");
  } catch {
    return []; // it has ended
  }
}

/** Every file below a folder with its contents and the time of its change. */
export function contents(folder: string): Record<string, string> {
  const names = readdirSync(folder, { recursive: true, encoding: "utf8" }).sort();
  const files = names.filter((name) => statSync(join(folder, name)).isFile());
  return Object.fromEntries(
    files.map((name) => {
      const path = join(folder, name);
      return [name, `${statSync(path).mtimeMs} ${readFileSync(path).toString("base64")}`];
    }),
  );
}
