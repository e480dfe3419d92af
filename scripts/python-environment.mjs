// Makes the Python environments, one a purpose, each from one file of pinned requirements, unless it is there and current.
//
//   node scripts/python-environment.mjs [--purpose NAME]...
//
// tests       .venv, from test/requirements.txt: the peers that the tests talk to; what is made where no purpose is named
// any other   .venv-NAME, from pipelines/requirements-NAME.txt
//
// Apart, because TensorFlow, Airflow and a notebook ask for versions of the same packages that exclude one another.
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, rmSync } from "node:fs";
import { basename, join, relative } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { hashOf, main, root, runLogged, StepFailed, secondsSince, stampIs, withLock, writeStamp } from "./shared.mjs";

const OLDEST = [3, 11];
const TESTS = "tests";
const PIPELINES = join(root, "pipelines");
const REQUIREMENTS = /^requirements-([a-z]+)\.txt$/;

/** The purposes that there is an environment for. */
export function purposes() {
  const others = readdirSync(PIPELINES).flatMap((name) => REQUIREMENTS.exec(name)?.[1] ?? []);
  return [TESTS, ...others.sort()];
}

/** Where a purpose's environment lies, what it is made from, and its interpreter. */
export function environmentFor(purpose) {
  const folder = join(root, purpose === TESTS ? ".venv" : `.venv-${purpose}`);
  const requirements =
    purpose === TESTS ? join(root, "test", "requirements.txt") : join(PIPELINES, `requirements-${purpose}.txt`);
  const python = join(folder, ...(process.platform === "win32" ? ["Scripts", "python.exe"] : ["bin", "python"]));
  return { folder, requirements, python };
}

function help() {
  const lines = purposes().map((purpose) => {
    const { folder, requirements } = environmentFor(purpose);
    return `  ${purpose.padEnd(12)} ${basename(folder)}, from ${relative(root, requirements)}`;
  });
  return `Usage: npm run setup:python -- [--purpose NAME]...

Makes a virtual environment of pinned Python packages for each purpose (default: ${TESTS}):

${lines.join("\n")}`;
}

/** The purposes that the command line names; undefined where it asks for help. */
function chosen(words) {
  let values;
  try {
    const options = { purpose: { type: "string", multiple: true, default: [TESTS] }, help: { type: "boolean" } };
    ({ values } = parseArgs({ args: words, options }));
  } catch (error) {
    throw new StepFailed(`${error.message}\n\n${help()}`);
  }
  if (values.help) return undefined;
  const known = purposes();
  const unknown = values.purpose.find((purpose) => !known.includes(purpose));
  if (unknown !== undefined)
    throw new StepFailed(`Expected ${known.join(", ")} for --purpose but received ${JSON.stringify(unknown)}`);
  return [...new Set(values.purpose)];
}

function systemPython() {
  const show = "import sys; print(sys.version_info[0], sys.version_info[1])";
  for (const command of ["python3", "python3.13", "python3.12", "python3.11", "python"]) {
    const { status, stdout } = spawnSync(command, ["-c", show], { encoding: "utf8" });
    const [major, minor] = (stdout ?? "").trim().split(" ").map(Number);
    if (status === 0 && major === OLDEST[0] && minor >= OLDEST[1]) return { command, version: `${major}.${minor}` };
  }
  throw new StepFailed(`Expected Python ${OLDEST.join(".")} or later (Debian: apt-get install python3-venv)`);
}

async function makeEnvironment(purpose) {
  const { folder, requirements, python } = environmentFor(purpose);
  const name = basename(folder);
  await withLock(join(root, "build", `python-${purpose}.lock`), async () => {
    const start = performance.now();
    const { command, version } = systemPython();
    const hash = hashOf([requirements], [version]);
    const stamp = join(folder, "lenet5.stamp");
    if (stampIs(stamp, hash) && existsSync(python)) {
      console.error(`The Python environment is up to date (${name}).`);
      return;
    }
    const size = purpose === TESTS ? ": PyTorch and the other peers of the tests, some 5 GB" : "";
    console.error(`Making ${name} from ${relative(root, requirements)} with Python ${version}${size} …`);
    rmSync(folder, { recursive: true, force: true });
    const log = join(root, "build", `python-${purpose}.log`);
    await runLogged(command, ["-m", "venv", folder], { log });
    const install = ["-m", "pip", "install", "--disable-pip-version-check", "--no-input", "-r", requirements];
    await runLogged(python, install, { log });
    writeStamp(stamp, hash);
    console.error(`Made ${name} in ${secondsSince(start)}.`);
  });
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  await main(async () => {
    const wanted = chosen(process.argv.slice(2));
    if (wanted === undefined) console.log(help());
    else for (const purpose of wanted) await makeEnvironment(purpose);
  });
}
