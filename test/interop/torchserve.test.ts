// The real TorchServe, from PyPI, serves what exportModelArchive wrote.
import { type ChildProcess, execFile, spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { describe, expect, it, onTestFailed } from "vitest";
import { exportModelArchive } from "../../lib/index.js";
import { freePorts } from "../free-ports.js";
import { pythonPath } from "../python.js";
import { tenDigits, trainedModel } from "./trained-model.js";

const TIME_TO_START = 120_000;
const TIME_TO_END = 15_000;
const torchserve = pythonPath === undefined ? undefined : path.join(path.dirname(pythonPath), "torchserve");
const java = process.env.JAVA_HOME ? path.join(process.env.JAVA_HOME, "bin", "java") : "java";
const hasPeer = torchserve !== undefined && existsSync(torchserve) && spawnSync(java, ["-version"]).status === 0;
const run = promisify(execFile);

/** Ends a process that leads its group, and the group with it. */
async function end(child: ChildProcess): Promise<void> {
  const signal = (name: NodeJS.Signals): void => {
    try {
      process.kill(-child.pid!, name);
    } catch (error) {
      if ((error as { code?: string }).code !== "ESRCH") throw error;
    }
  };
  const ended = child.exitCode !== null ? undefined : new Promise((resolve) => child.once("exit", resolve));
  signal("SIGTERM");
  await Promise.race([ended, delay(TIME_TO_END, undefined, { ref: false })]);
  signal("SIGKILL");
}

describe.skipIf(!hasPeer && process.env.CI !== "true")("TorchServe", () => {
  it("serves the archive and names ten PNG digits sent with curl -T", { timeout: 300_000 }, async () => {
    expect(hasPeer, "torchserve beside the Python interpreter, and Java 17").toBe(true);
    const folder = await mkdtemp(path.join(tmpdir(), "lenet5-ts-"));
    const log = path.join(folder, "torchserve.log");
    let server: ChildProcess | undefined;
    onTestFailed(async () => console.error(await readFile(log, "utf8").catch(() => "TorchServe wrote no log")));
    try {
      const { model, test } = await trainedModel();
      const digits = await tenDigits(test, path.join(folder, "digits"));
      for (const name of ["store", "logs", "temporary"]) await mkdir(path.join(folder, name));
      await exportModelArchive(model, path.join(folder, "store", "lenet5.mar"));
      const { labels } = await model.predict(digits);
      model.dispose();

      const [inference, management, metrics, grpcInference, grpcManagement] = await freePorts(5);
      await writeFile(
        path.join(folder, "config.properties"),
        [
          `inference_address=http://127.0.0.1:${inference}`,
          `management_address=http://127.0.0.1:${management}`,
          `metrics_address=http://127.0.0.1:${metrics}`,
          `grpc_inference_port=${grpcInference}`,
          `grpc_management_port=${grpcManagement}`,
          "default_workers_per_model=1",
          "",
        ].join("\n"),
      );
      server = startServer(folder, log);
      await untilReady(server, `http://127.0.0.1:${management}/models/lenet5`);

      const answers: number[] = [];
      for (const png of digits) {
        const url = `http://127.0.0.1:${inference}/predictions/lenet5`;
        const { stdout } = await run("curl", [
          "--silent",
          "--show-error",
          "--fail",
          "--max-time",
          "30",
          "-T",
          png,
          url,
        ]);
        const answer = JSON.parse(stdout) as { label: string; probability: number; probabilities: number[] };
        expect(answer.probabilities).toHaveLength(10);
        expect(answer.probabilities[Number(answer.label)]).toBe(answer.probability);
        answers.push(Number(answer.label));
      }
      console.log(`TorchServe named the digits 0 to 9: ${answers.join(" ")}`);
      expect(answers).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
      expect(answers).toEqual([...labels]);

      const bad = await fetch(`http://127.0.0.1:${inference}/predictions/lenet5`, { method: "POST", body: "no image" });
      expect(bad.status).toBe(400);
      expect(await bad.json()).toMatchObject({ message: expect.stringMatching(/^Expected an image/) });
    } finally {
      if (server !== undefined) await end(server);
      await rm(folder, { recursive: true, force: true });
    }
  });
});

function startServer(folder: string, log: string): ChildProcess {
  const logs = path.join(folder, "logs");
  const temporary = path.join(folder, "temporary");
  const shell = 'exec "$0" "$@" >"$TORCHSERVE_LOG" 2>&1';
  const args = ["--foreground", "--disable-token-auth", "--enable-model-api", "--no-config-snapshots"];
  const model = ["--model-store", path.join(folder, "store"), "--models", "lenet5=lenet5.mar"];
  return spawn(
    "sh",
    ["-c", shell, torchserve!, ...args, ...model, "--ts-config", path.join(folder, "config.properties")],
    {
      cwd: folder,
      detached: true,
      stdio: "ignore",
      env: {
        ...process.env,
        PATH: `${path.dirname(pythonPath!)}${path.delimiter}${process.env.PATH}`,
        LOG_LOCATION: logs,
        METRICS_LOCATION: logs,
        TEMP: temporary,
        TMPDIR: temporary, // where TorchServe keeps its pid file, one a machine otherwise
        TORCHSERVE_LOG: log,
      },
    },
  );
}

async function untilReady(server: ChildProcess, url: string): Promise<void> {
  const deadline = performance.now() + TIME_TO_START;
  let last = "no answer";
  while (performance.now() < deadline) {
    if (server.exitCode !== null) throw new Error(`TorchServe ended with ${server.exitCode} before it was ready`);
    try {
      const response = await fetch(url, { signal: AbortSignal.timeout(5_000) });
      last = await response.text();
      const [version] = response.ok ? (JSON.parse(last) as { workers?: { status: string }[] }[]) : [];
      if (version?.workers?.some(({ status }) => status === "READY")) return;
    } catch (error) {
      last = String(error);
    }
    await delay(300);
  }
  throw new Error(`TorchServe was not ready after ${TIME_TO_START / 1000} s; last: ${last}`);
}
