// Runs the trainers of the other frameworks.
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { packageRoot } from "#package-root";
import type { Run } from "../cli/lenet5.js";
import { pythonFor, pythonPath } from "../python.js";

const TRAINERS = join(packageRoot, "pipelines", "trainers");

/** The frameworks, what their models are called in tests, and their interpreters. */
export const SYSTEMS = [
  { system: "pytorch", output: "model.pt", interpreter: () => pythonPath! },
  { system: "tensorflow", output: "model", interpreter: () => pythonFor("tensorflow")! },
];
export type Trainer = (typeof SYSTEMS)[number];

/** Runs a trainer to its end. */
export function trainer(
  { system, interpreter }: Trainer,
  words: string[],
  onStderr?: (text: string, child: ChildProcess) => void,
): Promise<Run> {
  return new Promise((settle, fail) => {
    const child = spawn(interpreter(), [join(TRAINERS, `${system}_trainer.py`), ...words]);
    const run = { stdout: "", stderr: "" };
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      run.stdout += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      run.stderr += text;
      onStderr?.(run.stderr, child);
    });
    child.on("error", fail).on("close", (status, signal) => settle({ status, signal, ...run }));
  });
}
