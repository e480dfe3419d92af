// The Python peer: `LENET5_PYTHON`, else the repository's own .venv. Where there is none, tests that need it are skipped,
// except under CI, where they fail.
import { spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import path from "node:path";
import { describe } from "vitest";

const own = path.join(import.meta.dirname, "..", ".venv", "bin", "python");

/** The interpreter, or undefined where there is none. */
export const pythonPath: string | undefined = process.env.LENET5_PYTHON || (existsSync(own) ? own : undefined);

const FIND_TORCH = "import importlib.util, sys; sys.exit(importlib.util.find_spec('torch') is None)";
const hasPeer = pythonPath !== undefined && spawnSync(pythonPath, ["-c", FIND_TORCH]).status === 0;

/** `describe` for tests that need Python with PyTorch; importing torch alone takes seconds on a busy machine. */
export function describeWithPython(name: string, body: () => void, timeout = 120_000): void {
  describe.runIf(hasPeer || process.env.CI === "true")(name, { timeout }, body);
}

const FIND_TENSORBOARD = "import importlib.util, sys; sys.exit(importlib.util.find_spec('tensorboard') is None)";

/** `describe` for tests that need Python with TensorBoard. */
export function describeWithTensorBoard(name: string, body: () => void): void {
  const there = pythonPath !== undefined && spawnSync(pythonPath, ["-c", FIND_TENSORBOARD]).status === 0;
  describe.runIf(there || process.env.CI === "true")(name, { timeout: 120_000 }, body);
}

const FIND_PYARROW = "import importlib.util, sys; sys.exit(importlib.util.find_spec('pyarrow') is None)";

/** `describe` for tests that need Python with pyarrow. */
export function describeWithPyarrow(name: string, body: () => void): void {
  const there = pythonPath !== undefined && spawnSync(pythonPath, ["-c", FIND_PYARROW]).status === 0;
  describe.runIf(there || process.env.CI === "true")(name, { timeout: 120_000 }, body);
}

/**
 * Runs a Python program and gives back the JSON value that it prints last.
 * @param args - its `sys.argv[1:]`
 * @param options - `timeout` in milliseconds, 120,000 unless told; `interpreter` where it is not the tests' own
 */
export async function python<T>(
  program: string,
  args: string[] = [],
  options: { timeout?: number; interpreter?: string } = {},
): Promise<T> {
  const interpreter = options.interpreter ?? pythonPath;
  if (interpreter === undefined)
    throw new Error("No Python peer: set LENET5_PYTHON or run scripts/python-environment.mjs");
  const child = spawn(interpreter, ["-c", program, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    timeout: options.timeout ?? 120_000,
    killSignal: "SIGKILL",
  });
  let out = "";
  let err = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    out += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    err += text;
  });
  const status = await new Promise((resolve, reject) => child.once("error", reject).once("close", resolve));
  if (status !== 0) throw new Error(`Python ended with ${status}:\n${out}\n${err}`);
  return JSON.parse(out.trim().split("\n").at(-1) ?? "") as T;
}

/** The interpreter of a purpose's environment: `LENET5_TENSORFLOW_PYTHON`, else `.venv-tensorflow`'s; or undefined. */
export function pythonFor(purpose: string): string | undefined {
  const there = path.join(import.meta.dirname, "..", `.venv-${purpose}`, "bin", "python");
  return process.env[`LENET5_${purpose.toUpperCase()}_PYTHON`] || (existsSync(there) ? there : undefined);
}

/** `describe` for tests that need the environments of some purposes beside the tests' own. */
export function describeWithEnvironments(purposes: readonly string[], name: string, body: () => void): void {
  const there = hasPeer && purposes.every((purpose) => pythonFor(purpose) !== undefined);
  describe.runIf(there || process.env.CI === "true")(name, { timeout: 300_000 }, body);
}
