// The command line under PyTorch's own launcher.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { lastJson, lenet5, line, MAIN, type Run, temporaryFolder } from "../cli/lenet5.js";
import { freePort } from "../free-ports.js";
import { describeWithPython, pythonPath } from "../python.js";

/** Runs `lenet5` under torchrun with the launcher's own arguments before it. */
async function torchrun(launcher: readonly string[], words: readonly string[]): Promise<Run> {
  const command = ["-m", "torch.distributed.run", ...launcher, "--no-python", process.execPath, MAIN, ...words];
  const child = spawn(pythonPath!, command, { stdio: ["ignore", "pipe", "pipe"], timeout: 110_000 });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  return await new Promise((settle, fail) => {
    child.once("error", fail).once("close", (status, signal) => settle({ status, signal, stdout, stderr }));
  });
}

describeWithPython("torchrun", () => {
  const training = (output: string) =>
    line`train --data synthetic --synthetic-count 2000 --epochs 2 --seed 3 --output ${output} --json`;

  test("starts two ranks that train one model, which rank 0 reports and writes", async () => {
    const folder = temporaryFolder();
    const alone = lastJson(await lenet5(training(join(folder, "alone.pt"))));
    const ways = [["--standalone"], ["--master-addr", "127.0.0.1", "--master-port", String(await freePort())]];
    for (const [index, way] of ways.entries()) {
      const output = join(folder, `${index}.pt`);
      const run = await torchrun([...way, "--nproc-per-node", "2"], [...training(output), "--distributed"]);
      expect(run.status, run.stderr).toBe(0);
      expect(run.stdout.trimEnd().split("\n")).toHaveLength(1);
      const { epochs, test: tested, model } = lastJson(run);
      expect(model).toBe(output);
      expect(existsSync(output)).toBe(true);
      expect(epochs).toHaveLength(2);
      for (const [epoch, { loss }] of epochs.entries()) expect(loss).toBeCloseTo(alone.epochs[epoch].loss, 1);
      expect(tested.accuracy).toBeCloseTo(alone.test.accuracy, 1);
      expect(run.stderr).toContain("Rank 1 has trained to the end.");
    }
  });

  test("hears of ranks that cannot train together", async () => {
    const output = join(temporaryFolder(), "model.pt");
    const run = await torchrun(
      ["--standalone", "--nproc-per-node", "2"],
      [...training(output), "--distributed", "--batch-size", "1"],
    );
    expect(run.status).not.toBe(0);
    expect(run.stderr).toContain("Expected at least 2, an image for each rank, for batchSize but received 1");
    expect(existsSync(output)).toBe(false);
  });
});
