// Runs the built command line as a child process, as a shell does.
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { packageRoot } from "#package-root";

/** The built `lenet5`. */
export const MAIN = join(packageRoot, "dist", "esm", "cli", "main.js");

/** What a run left. */
export interface Run {
  /** Exit status; `null` when a signal ended the process. */
  status: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

/** How {@link lenet5} runs. */
export interface RunOptions {
  cwd?: string;
  env?: Record<string, string | undefined>;
  /** Called with each piece of stderr and the child. */
  onStderr?: (text: string, child: ChildProcess) => void;
  /** Called with the child before it has done anything. */
  onStart?: (child: ChildProcess) => void;
  /** What the child reads; by default nothing. */
  stdin?: "pipe" | "ignore";
}

/** The words of a command line; a value put in stays one word (or the words of an array), whatever it holds. */
export function line(text: TemplateStringsArray, ...values: (string | number | readonly string[])[]): string[] {
  return text.flatMap((piece, i) => [
    ...piece.split(/\s+/).filter(Boolean),
    ...(i < values.length ? [values[i]!].flat().map(String) : []),
  ]);
}

/** Runs `lenet5` with the given words to its end. */
export function lenet5(words: readonly string[], options: RunOptions = {}): Promise<Run> {
  return runNode([MAIN, ...words], options);
}

/** Runs Node with the given arguments to its end. */
export function runNode(
  args: readonly string[],
  { cwd, env, onStderr, onStart, stdin = "ignore" }: RunOptions = {},
): Promise<Run> {
  return new Promise((settle, fail) => {
    const child = spawn(process.execPath, args, {
      cwd: cwd ?? packageRoot,
      env: { ...process.env, NO_COLOR: "1", ...env },
      stdio: [stdin, "pipe", "pipe"],
    });
    onStart?.(child);
    let stdout = "";
    let stderr = "";
    child.stdout!.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
    });
    child.stderr!.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
      onStderr?.(stderr, child);
    });
    child.on("error", fail);
    child.on("close", (status, signal) => settle({ status, signal, stdout, stderr }));
  });
}

/** The JSON object on the last line of stdout. */
// biome-ignore lint/suspicious/noExplicitAny: tests look into many shapes, and a wrong one fails them
export function lastJson(run: Run): any {
  return JSON.parse(run.stdout.trimEnd().split("\n").at(-1) ?? "");
}

/** A new empty folder, removed after the test. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "lenet5-test-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
