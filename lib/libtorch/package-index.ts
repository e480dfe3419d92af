// The package index, asked in its JSON form (PEP 691): which wheels there are, where they lie, and their SHA-256.
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { join } from "node:path";
import { throwIfAborted } from "../abort.js";
import { downloadFile } from "../download.js";
import { LeNet5Error } from "../errors.js";
import { isObject } from "../is.js";
import { compareVersions, normalizedName, parseRequirement, type Requirement, satisfies } from "./requirement.js";

/** Python versions that have wheels of the pinned libtorch; the interpreter's own one is preferred. */
export const PYTHON_VERSIONS = ["3.10", "3.11", "3.12", "3.13", "3.14"];
/** The largest wheel that is taken; the CUDA build has 0.53 GB. */
export const LARGEST_WHEEL = 4 * 2 ** 30;

/** Milliseconds until a server must have answered, and within which bytes must flow. */
export const WHEEL_TIMEOUTS = { connectTimeout: 30_000, stallTimeout: 60_000 };

/** A file of the index. */
export interface IndexFile {
  filename: string;
  /** Absolute. */
  url: string;
  size?: number;
  hashes: { sha256?: string };
  yanked?: boolean | string;
}

/** What is told on the way. */
export interface IndexOptions {
  /** Called with a line for the user. */
  log: (line: string) => void;
  signal?: AbortSignal | undefined;
}

/** Wheel tags that fit this machine, best first. */
export function platformTags(): string[] {
  if (process.platform === "win32") return ["win_amd64"];
  if (process.platform === "darwin") return [14, 13, 12, 11].map((version) => `macosx_${version}_0_arm64`);
  const machine = process.arch === "arm64" ? "aarch64" : "x86_64";
  const glibc = Array.from({ length: 24 }, (_, i) => `manylinux_2_${28 - i}_${machine}`);
  return [...glibc, ...["2014", "2010", "1"].map((year) => `manylinux${year}_${machine}`)];
}

/** The index that is asked: `LENET5_TORCH_INDEX`, else pip's own variable, else what `configured` names, else PyPI. */
export function indexAddress(configured?: string): string {
  const chosen = process.env.LENET5_TORCH_INDEX || process.env.PIP_INDEX_URL || configured;
  return (chosen || "https://pypi.org/simple").replace(/\/$/, "");
}

/** @throws LENET5_LIBTORCH_INSTALL_FAILED where the index does not answer so; LENET5_ABORTED */
export async function filesOf(
  name: string,
  index: string,
  signal: AbortSignal | undefined,
  timeout = 30_000,
): Promise<IndexFile[]> {
  const address = `${index}/${name}/`;
  try {
    const answer = await fetch(address, {
      headers: { accept: "application/vnd.pypi.simple.v1+json" },
      signal: AbortSignal.any([AbortSignal.timeout(timeout), ...(signal ? [signal] : [])]),
    });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const { files } = (await answer.json()) as { files: IndexFile[] };
    if (!Array.isArray(files)) throw new Error("an answer that is no list of files");
    return files.filter(isIndexFile).map((file) => ({ ...file, url: new URL(file.url, address).href }));
  } catch (cause) {
    throwIfAborted(signal);
    throw failed(`${address} gave ${(cause as Error).message}`, cause);
  }
}

/** Whether it is what the index should list; a name that leads to another folder is none. */
function isIndexFile(file: unknown): file is IndexFile {
  if (!isObject(file) || !isObject(file.hashes)) return false;
  return typeof file.filename === "string" && !/[/\\]/.test(file.filename) && typeof file.url === "string";
}

/** Fetches the wheel of a requirement (`name==version`) that fits this machine, held against the index's SHA-256. */
export async function fetchFromIndex(
  requirement: string,
  folder: string,
  index: string,
  options: IndexOptions,
): Promise<void> {
  const parsed = parseRequirement(requirement);
  if (parsed === undefined) throw failed(`${requirement} names no package`);
  await fetchFile(await wheelOf(parsed, index, options.signal), folder, index, options);
}

/** The wheel of a requirement that fits this machine, the newest one. @throws LENET5_LIBTORCH_INSTALL_FAILED, LENET5_ABORTED */
export async function wheelOf(
  { name, specifiers }: Requirement,
  index: string,
  signal: AbortSignal | undefined,
): Promise<IndexFile> {
  const file = bestFile(await filesOf(name, index, signal), name, specifiers);
  if (file) return file;
  const wanted = specifiers.map(({ operator, version }) => operator + version).join(",");
  throw failed(`${index}/${name}/ has no wheel of ${name}${wanted} for ${process.platform}-${process.arch}`);
}

/** Fetches a file that an index lists, held against the SHA-256 that it names; returns its path. */
export async function fetchFile(
  file: IndexFile,
  folder: string,
  index: string,
  { log, signal }: IndexOptions,
): Promise<string> {
  const sha256 = file.hashes.sha256;
  if (!sha256) throw failed(`${index} names no SHA-256 for ${file.filename}`);
  const target = join(folder, file.filename);
  const report = percentLines(file.filename, log);
  await downloadFile({
    urls: [file.url],
    target,
    file: file.filename,
    maxBytes: file.size ?? LARGEST_WHEEL,
    ...WHEEL_TIMEOUTS,
    signal,
    verify: async (path) => {
      const actual = await sha256Of(path);
      if (actual !== sha256) throw new Error(`Expected SHA-256 ${sha256} for ${file.filename} but received ${actual}`);
    },
    onProgress: ({ receivedBytes, totalBytes }) => report(receivedBytes, totalBytes),
  }).catch((cause: Error) => {
    throwIfAborted(signal);
    throw failed(cause.message, cause);
  });
  return target;
}

/** Writes a line of progress every tenth of the way. */
export function percentLines(
  file: string,
  log: (line: string) => void,
): (received: number, total: number | undefined) => void {
  let told = 0;
  return (received, total) => {
    if (!total || received - told < total / 10) return;
    told = received;
    log(`  ${file}: ${Math.round((100 * received) / total)} %`);
  };
}

/** The newest wheel that fits this machine and a requirement. */
function bestFile(
  files: readonly IndexFile[],
  name: string,
  specifiers: Requirement["specifiers"],
): IndexFile | undefined {
  const fitting = files.flatMap((file) => {
    const version = fittingVersion(file.filename, name, specifiers);
    return version === undefined || file.yanked ? [] : [{ file, version }];
  });
  return fitting.sort((a, b) => compareVersions(b.version, a.version))[0]?.file;
}

/** The version of a wheel that is one of a package, fits a requirement and this machine; else `undefined`. */
export function fittingVersion(
  filename: string,
  name: string,
  specifiers: Requirement["specifiers"],
): string | undefined {
  if (!filename.endsWith(".whl")) return undefined;
  const [distribution = "", version = "", , abi = "", platform = ""] = filename.slice(0, -4).split("-");
  const platforms = [...platformTags(), "any"];
  const fits =
    normalizedName(distribution) === name &&
    satisfies(version, specifiers) &&
    platform.split(".").some((tag) => platforms.includes(tag)) &&
    (abi === "none" || PYTHON_VERSIONS.some((python) => abi === `cp${python.replace(".", "")}`));
  return fits ? version : undefined;
}

async function sha256Of(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest("hex");
}

function failed(reason: string, cause?: unknown): LeNet5Error {
  return new LeNet5Error("LIBTORCH_INSTALL_FAILED", `Expected to fetch libtorch but ${reason}`, { cause });
}
