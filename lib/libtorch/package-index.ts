// The package index, asked in its JSON form (PEP 691): which wheels there are, where they lie, and their SHA-256.
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { join } from "node:path";
import { throwIfAborted } from "../abort.js";
import { downloadFile } from "../download.js";
import { LeNet5Error } from "../errors.js";
import { isObject } from "../is.js";

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
  const glibc = [28, 27, 26, 25, 24, 17].map((minor) => `manylinux_2_${minor}_${machine}`);
  return [...glibc, `manylinux2014_${machine}`];
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
  { log, signal }: IndexOptions,
): Promise<void> {
  const [name = "", wanted = ""] = requirement.split("==");
  const file = bestFile(await filesOf(name, index, signal), name, wanted);
  const address = `${index}/${name}/`;
  if (!file) throw failed(`${address} has no wheel of ${requirement} for ${process.platform}-${process.arch}`);
  const sha256 = file.hashes.sha256;
  if (!sha256) throw failed(`${address} names no SHA-256 for ${file.filename}`);
  const report = percentLines(file.filename, log);
  await downloadFile({
    urls: [file.url],
    target: join(folder, file.filename),
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
