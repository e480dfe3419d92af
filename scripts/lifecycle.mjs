// `npm run lifecycle`: starts pipelines/lifecycle.py with the tests' Python, which has the PyTorch that a part of it needs.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { environmentFor } from "./python-environment.mjs";
import { main, root, StepFailed } from "./shared.mjs";

await main(async () => {
  const python = process.env.LENET5_PYTHON || environmentFor("tests").python;
  if (!existsSync(python))
    throw new StepFailed(`Expected Python for ${python} but received none: npm run setup:python`);
  const script = join(root, "pipelines", "lifecycle.py");
  const child = spawn(python, [script, ...process.argv.slice(2)], { stdio: "inherit" });
  // Whoever is told to end here waits: what was deployed is taken away first.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  process.exitCode = await new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (status, signal) => resolve(status ?? 128 + constants.signals[signal]));
  });
});
