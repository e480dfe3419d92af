// The way that a GPU is trained on, on the CPU: test/cuda/cuda.test.mjs as it runs on a machine with one, but for the graphs.
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { packageRoot } from "#package-root";

it("gives what the CPU's own way gives", async () => {
  const file = join(packageRoot, "test", "cuda", "cuda.test.mjs");
  const { stdout } = await promisify(execFile)(process.execPath, ["--test", "--test-reporter=tap", file], {
    env: { ...process.env, LENET5_TEST_DEVICE: "cpu", NODE_OPTIONS: undefined, NODE_TEST_CONTEXT: undefined },
    maxBuffer: 2 ** 26,
  }).catch((error: { stdout: string; stderr: string }) => {
    throw new Error(`${error.stdout}\n${error.stderr}`);
  });
  expect(stdout).toMatch(/^# fail 0$/m);
  expect(Number(/^# pass (\d+)$/m.exec(stdout)?.[1])).toBeGreaterThan(20);
}, 300_000);
