// Makes .venv with the Python peers that the tests talk to (test/requirements.txt), unless it is there and current.
import { spawnSync } from "node:child_process";
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { hashOf, main, root, runLogged, StepFailed, secondsSince, stampIs, withLock, writeStamp } from "./shared.mjs";

const OLDEST = [3, 11];
const environment = join(root, ".venv");
const requirements = join(root, "test", "requirements.txt");
const python = join(environment, ...(process.platform === "win32" ? ["Scripts", "python.exe"] : ["bin", "python"]));

function systemPython() {
  const show = "import sys; print(sys.version_info[0], sys.version_info[1])";
  for (const command of ["python3", "python3.13", "python3.12", "python3.11", "python"]) {
    const { status, stdout } = spawnSync(command, ["-c", show], { encoding: "utf8" });
    const [major, minor] = (stdout ?? "").trim().split(" ").map(Number);
    if (status === 0 && major === OLDEST[0] && minor >= OLDEST[1]) return { command, version: `${major}.${minor}` };
  }
  throw new StepFailed(`Expected Python ${OLDEST.join(".")} or later (Debian: apt-get install python3-venv)`);
}

await main(() =>
  withLock(join(root, "build", "python.lock"), async () => {
    const start = performance.now();
    const { command, version } = systemPython();
    const hash = hashOf([requirements], [version]);
    const stamp = join(environment, "lenet5.stamp");
    if (stampIs(stamp, hash) && existsSync(python)) {
      console.error("The Python environment is up to date (.venv).");
      return;
    }
    console.error(`Making .venv with Python ${version}: PyTorch and the other peers of the tests, some 5 GB …`);
    rmSync(environment, { recursive: true, force: true });
    const log = join(root, "build", "python.log");
    await runLogged(command, ["-m", "venv", environment], { log });
    await runLogged(python, ["-m", "pip", "install", "--disable-pip-version-check", "--no-input", "-r", requirements], {
      log,
    });
    writeStamp(stamp, hash);
    console.error(`Made .venv in ${secondsSince(start)}.`);
  }),
);
