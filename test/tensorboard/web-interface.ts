// A real TensorBoard over a log directory, until the test ends.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { basename, dirname } from "node:path";
import { expect } from "vitest";
import { freePort } from "../free-ports.js";
import { pythonPath } from "../python.js";

/** Starts it; resolves when it lists the runs. The caller calls `stop`. */
export async function startTensorBoard(
  logdir: string,
  runs: readonly string[],
): Promise<{ url: string; stop: () => Promise<void> }> {
  const port = await freePort();
  // Its pages show the log directory as it is named here. -P: a run's folder may have the name of a package.
  const words = [
    "-P",
    "-m",
    "tensorboard.main",
    "--logdir",
    basename(logdir),
    "--host",
    "127.0.0.1",
    "--port",
    String(port),
  ];
  const child = spawn(pythonPath!, [...words, "--load_fast=false"], { stdio: "ignore", cwd: dirname(logdir) });
  const ended = once(child, "close");
  const url = `http://127.0.0.1:${port}`;
  const stop = async () => {
    child.kill("SIGTERM");
    await ended;
  };
  try {
    const listed = async () => ((await (await fetch(`${url}/data/runs`)).json()) as string[]).sort();
    await expect.poll(() => listed().catch(() => []), { timeout: 60_000, interval: 300 }).toEqual([...runs].sort());
  } catch (error) {
    await stop();
    throw error;
  }
  return { url, stop };
}
