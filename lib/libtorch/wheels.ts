// Fetches wheels: through pip, which brings the user's proxies, mirrors and certificates with it, or, on a machine
// without pip, from the package index itself (its JSON form, PEP 691), held against the index's SHA-256.
import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { createReadStream, readdirSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { throwIfAborted } from "../abort.js";
import { downloadFile } from "../download.js";
import { LeNet5Error } from "../errors.js";
import { endOf } from "./child-process.js";
import { pythonCommands } from "./find.js";

/** Where PyTorch publishes its CPU wheels: 200 MB instead of the 530 MB of PyPI's CUDA build. */
const PYTORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu";
/** Python versions that have wheels of the pinned libtorch; the interpreter's own one is preferred. */
const PYTHON_VERSIONS = ["3.10", "3.11", "3.12", "3.13", "3.14"];
/** The largest wheel that is taken; the CUDA build has 0.53 GB. */
const LARGEST_WHEEL = 4 * 2 ** 30;

/** What fetching is told. */
export interface WheelOptions {
  /** PyTorch's CPU index is asked first, unless `LENET5_TORCH_INDEX` names another one. */
  cpuIndex?: boolean;
  /** Packages that the named ones need are fetched too. */
  dependencies?: boolean;
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

/** Wheel tags that fit this machine, best first. */
function platformTags(): string[] {
  if (process.platform === "win32") return ["win_amd64"];
  if (process.platform === "darwin") return [14, 13, 12, 11].map((version) => `macosx_${version}_0_arm64`);
  const machine = process.arch === "arm64" ? "aarch64" : "x86_64";
  const glibc = [28, 27, 26, 25, 24, 17].map((minor) => `manylinux_2_${minor}_${machine}`);
  return [...glibc, `manylinux2014_${machine}`];
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
  for (const requirement of requirements) await fetchFromIndex(requirement, folder, options);
  return wheelsIn(folder);
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

interface IndexFile {
  filename: string;
  url: string;
  size?: number;
  hashes: { sha256?: string };
  yanked?: boolean | string;
}

async function fetchFromIndex(requirement: string, folder: string, { log, signal }: WheelOptions): Promise<void> {
  const [name = "", wanted = ""] = requirement.split("==");
  const index = (process.env.LENET5_TORCH_INDEX || process.env.PIP_INDEX_URL || "https://pypi.org/simple").replace(
    /\/$/,
    "",
  );
  const address = `${index}/${name}/`;
  let files: IndexFile[];
  try {
    const answer = await fetch(address, {
      headers: { accept: "application/vnd.pypi.simple.v1+json" },
      signal: AbortSignal.any([AbortSignal.timeout(30_000), ...(signal ? [signal] : [])]),
    });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    files = ((await answer.json()) as { files: IndexFile[] }).files;
    if (!Array.isArray(files)) throw new Error("an answer that is no list of files");
  } catch (cause) {
    throwIfAborted(signal);
    throw failed(`${address} gave ${(cause as Error).message}`, cause);
  }
  const file = bestFile(files, name, wanted);
  if (!file) throw failed(`${address} has no wheel of ${requirement} for ${process.platform}-${process.arch}`);
  const sha256 = file.hashes.sha256;
  if (!sha256) throw failed(`${address} names no SHA-256 for ${file.filename}`);
  let told = 0;
  await downloadFile({
    urls: [new URL(file.url, address).href],
    target: join(folder, file.filename),
    file: file.filename,
    maxBytes: file.size ?? LARGEST_WHEEL,
    connectTimeout: 30_000,
    stallTimeout: 60_000,
    signal,
    verify: async (path) => {
      const actual = await sha256Of(path);
      if (actual !== sha256) throw new Error(`Expected SHA-256 ${sha256} for ${file.filename} but received ${actual}`);
    },
    onProgress: ({ receivedBytes, totalBytes }) => {
      if (!totalBytes || receivedBytes - told < totalBytes / 10) return;
      told = receivedBytes;
      log(`  ${file.filename}: ${Math.round((100 * receivedBytes) / totalBytes)} %`);
    },
  }).catch((cause: Error) => {
    throwIfAborted(signal);
    throw failed(cause.message, cause);
  });
}

/** The wheel that fits this machine; where the version ends in `.*`, the newest one. */
function bestFile(files: readonly IndexFile[], name: string, wanted: string): IndexFile | undefined {
  const prefix = wanted.endsWith(".*") ? wanted.slice(0, -1) : undefined;
  const platforms = platformTags();
  const fitting = files.flatMap((file) => {
    const [distribution, version = "", , , platform = ""] = file.filename.replace(/\.whl$/, "").split("-");
    const [abi = ""] = file.filename
      .replace(/\.whl$/, "")
      .split("-")
      .slice(3, 4);
    const named = distribution?.toLowerCase().replaceAll("_", "-") === name;
    const versionFits = prefix ? version.startsWith(prefix) : version === wanted || version.startsWith(`${wanted}+`);
    const platformFits = platform.split(".").some((tag) => platforms.includes(tag));
    const abiFits = abi === "none" || PYTHON_VERSIONS.some((python) => abi === `cp${python.replace(".", "")}`);
    const fits = file.filename.endsWith(".whl") && named && versionFits && platformFits && abiFits && !file.yanked;
    return fits ? [{ file, version }] : [];
  });
  return fitting.sort((a, b) => b.version.localeCompare(a.version, "en", { numeric: true }))[0]?.file;
}

async function sha256Of(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest("hex");
}

function failed(reason: string, cause?: unknown): LeNet5Error {
  return new LeNet5Error("LIBTORCH_INSTALL_FAILED", `Expected to fetch libtorch but ${reason}`, { cause });
}
