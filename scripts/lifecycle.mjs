// `npm run lifecycle`: starts pipelines/lifecycle.py with the tests' Python, which has the PyTorch that a part of it needs.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { environmentFor } from "./python-environment.mjs";
import { main, root, StepFailed } from "./shared.mjs";

await main(() => {
  const python = process.env.LENET5_PYTHON || environmentFor("tests").python;
  if (!existsSync(python))
    throw new StepFailed(`Expected Python for ${python} but received none: npm run setup:python`);
  const script = join(root, "pipelines", "lifecycle.py");
  const { status, error } = spawnSync(python, [script, ...process.argv.slice(2)], { stdio: "inherit" });
  if (error) throw error;
  process.exitCode = status ?? 1;
});
