// Fetches wheels: through pip, which brings the user's proxies, mirrors and certificates with it, or, on a machine
// without pip, from the package index itself (its JSON form, PEP 691), held against the index's SHA-256.
import { execFileSync, spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { throwIfAborted } from "../abort.js";
import { LeNet5Error } from "../errors.js";
import { endOf } from "./child-process.js";
import { pythonCommands } from "./find.js";
import { fetchFromIndex, indexAddress, PYTHON_VERSIONS, platformTags } from "./package-index.js";

/** Where PyTorch publishes its CPU wheels: 200 MB instead of the 530 MB of PyPI's CUDA build. */
const PYTORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu";

/** What fetching is told. */
export interface WheelOptions {
  /** PyTorch's CPU index is asked first, unless `LENET5_TORCH_INDEX` names another one. */
  cpuIndex?: boolean;
  /** Packages that the named ones need are fetched too. */
  dependencies?: boolean;
  /** An index that is asked first, without pip. */
  index?: string | undefined;
  /** Called with a line for the user. */
  log: (line: string) => void;
  signal?: AbortSignal | undefined;
}

interface Pip {
  python: string;
  /** Python version whose wheels are fetched. */
  pythonVersion: string;
}

function findPip(): Pip | undefined {
  for (const python of pythonCommands()) {
    try {
      const text = execFileSync(python, ["-m", "pip", "--version"], {
        encoding: "utf8",
        stdio: ["ignore", "pipe", "ignore"],
      });
      const [, pip, version] = /^pip (\d+).*\(python ([0-9.]+)\)/.exec(text) ?? [];
      if (Number(pip) >= 20 && version) {
        return { python, pythonVersion: PYTHON_VERSIONS.includes(version) ? version : "3.12" };
      }
    } catch {
      // No such interpreter, or one without pip: the next one.
    }
  }
  return undefined;
}

/** The package index that pip would ask; `undefined` where it is told to ask none. */
export function configuredIndex(): string | undefined {
  if (process.env.LENET5_TORCH_INDEX) return indexAddress();
  const pip = findPip();
  let settings = "";
  try {
    if (pip) {
      settings = execFileSync(pip.python, ["-m", "pip", "config", "list"], {
        encoding: "utf8",
        stdio: ["ignore", "pipe", "ignore"],
      });
    }
  } catch {
    // A pip that cannot tell its settings.
  }
  const setting = (name: string) =>
    new RegExp(`^(?:global|download|:env:)\\.${name}='(.*)'$`, "m").exec(settings)?.[1] ?? "";
  return /^(1|true|yes|on)$/i.test(setting("no-index")) ? undefined : indexAddress(setting("index-url"));
}

/**
 * Fetches wheels into a folder.
 *
 * @param requirements - for example `torch==2.13.0`
 * @returns paths of the fetched wheels
 * @throws LeNet5Error `LENET5_LIBTORCH_INSTALL_FAILED`, `LENET5_ABORTED`
 */
export async function fetchWheels(requirements: string[], folder: string, options: WheelOptions): Promise<string[]> {
  await mkdir(folder, { recursive: true });
  if (options.index !== undefined && (await fetchedFromIndex(requirements, folder, options.index, options))) {
    return wheelsIn(folder);
  }
  const pip = findPip();
  const chosen = process.env.LENET5_TORCH_INDEX;
  if (pip) {
    const attempts: string[][] = [];
    if (chosen) attempts.push(["--index-url", chosen]);
    else if (options.cpuIndex) attempts.push(["--index-url", PYTORCH_CPU_INDEX, "--retries", "0", "--timeout", "10"]);
    attempts.push([]);
    let status: number | string = 1;
    for (const [index, where] of attempts.entries()) {
      const last = index === attempts.length - 1;
      options.log(`Fetching ${requirements.join(", ")} with pip from ${where[1] ?? "the configured package index"}`);
      status = await runPip(pip, [...where, ...requirements], folder, options, last || Boolean(chosen));
      if (status === 0) return wheelsIn(folder);
      if (!last) options.log(`${where[1]} did not deliver; trying the package index that pip is configured for`);
    }
    throw failed(`\`pip download ${requirements.join(" ")}\` ended with ${status}`);
  }
  if (options.dependencies)
    throw failed("pip is needed to fetch the CUDA libraries, but no Python here has pip 20 or later");
  options.log("No Python with pip here: fetching from the package index directly");
  for (const requirement of requirements) await fetchFromIndex(requirement, folder, indexAddress(), options);
  return wheelsIn(folder);
}

async function fetchedFromIndex(
  requirements: string[],
  folder: string,
  index: string,
  options: WheelOptions,
): Promise<boolean> {
  try {
    for (const requirement of requirements) await fetchFromIndex(requirement, folder, index, options);
    return true;
  } catch (error) {
    throwIfAborted(options.signal);
    options.log((error as Error).message);
    return false;
  }
}

function wheelsIn(folder: string): string[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith(".whl"))
    .sort()
    .map((name) => join(folder, name));
}

async function runPip(
  pip: Pip,
  args: string[],
  folder: string,
  { dependencies, signal }: WheelOptions,
  show: boolean,
): Promise<number | string> {
  throwIfAborted(signal);
  const platforms = [...platformTags(), "any"].flatMap((tag) => ["--platform", tag]);
  const version = ["--python-version", pip.pythonVersion, "--implementation", "cp"];
  // Extension modules carry the interpreter's tag; pure packages and those of NVIDIA carry py3-none.
  const abis = ["--abi", `cp${pip.pythonVersion.replace(".", "")}`, "--abi", "abi3", "--abi", "none"];
  const common = ["-m", "pip", "download", "--disable-pip-version-check", "--only-binary=:all:", "--dest", folder];
  // pip draws its progress on the terminal itself; standard output belongs to this program's results.
  const child = spawn(
    pip.python,
    [...common, ...(dependencies ? [] : ["--no-deps"]), ...version, ...abis, ...platforms, ...args],
    { stdio: ["ignore", show ? 2 : "ignore", show ? 2 : "ignore"] },
  );
  return await endOf(child, signal);
}

function failed(reason: string, cause?: unknown): LeNet5Error {
  return new LeNet5Error("LIBTORCH_INSTALL_FAILED", `Expected to fetch libtorch but ${reason}`, { cause });
}
