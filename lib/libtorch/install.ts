// `lenet5 install`: puts a libtorch into the user's cache folder.
//
// The problem: half a gigabyte comes over the network and is unpacked into thousands of files; it may be interrupted at
// any moment, run twice at once, or run out of disk, and a half-installed libtorch must never be taken for a whole one.
// The resolution: everything happens in a hidden folder beside the target, under a lock; the finished folder is described
// as any other libtorch would be, and only then renamed into place. What a killed run left behind is swept by the next.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import {
  copyFile,
  cp,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  statfs,
  writeFile,
} from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { throwIfAborted } from "../abort.js";
import { cacheRoot } from "../cache.js";
import { hideCredentials, withoutCredentials } from "../credentials.js";
import { downloadFile } from "../download.js";
import { expected, isLeNet5Error, LeNet5Error } from "../errors.js";
import { withLock } from "../lock.js";
import { oneOf, optionalFunction, optionalSignal, readOptions, trueOrFalse } from "../options.js";
import { endOf } from "./child-process.js";
import { addCudaLibraries } from "./cuda-wheels.js";
import { describeLibtorch, faultOf, type Libtorch, missingDependencies } from "./describe.js";
import { installFolder, libtorchIn, PINNED_LIBTORCH_VERSION } from "./find.js";
import { unpackLibtorch, unpackNvidia } from "./unpack.js";
import { cudaOf, VARIANTS, type Variant } from "./variants.js";
import { pinnedWheel, unpackParts } from "./wheel-parts.js";
import { configuredIndex, fetchWheels } from "./wheels.js";

/** Free bytes that an installation needs: the wheel, what comes out of it, and some air. */
const NEEDED_BYTES = 1.5e9;
/** With CUDA: what stays, the largest wheel on its way, or all of NVIDIA's where pip fetches them. */
const NEEDED_BYTES_CUDA = 7e9;
/** Bytes of a libtorch with CUDA and NVIDIA's libraries, 2.13.0's and some air. */
const CUDA_BYTES = 4e9;
const PARTIAL = ".libtorch-partial-";

/** Options of {@link installLibtorch}. */
export interface InstallOptions {
  /**
   * A torch wheel, an official libtorch zip archive, a folder that holds a libtorch, or an http(s) address of a wheel or
   * an archive, instead of the pinned version from the package index.
   */
  from?: string | undefined;
  /** `cu130` keeps the CUDA libraries and fetches those of NVIDIA that they need; Linux only. @defaultValue "cpu" */
  variant?: Variant | undefined;
  /** Installs again what is there already. @defaultValue false */
  force?: boolean | undefined;
  /** Takes Debian's or Ubuntu's `libtorch-dev` through `apt-get` instead. @defaultValue false */
  apt?: boolean | undefined;
  /** Called with lines for the user. */
  log?: ((line: string) => void) | undefined;
  signal?: AbortSignal | undefined;
}

/** What {@link installLibtorch} did. */
export interface InstallResult {
  /** Folder of the libtorch. */
  folder: string;
  version: string;
  /** False where it was there already. */
  installed: boolean;
}

/**
 * Installs libtorch into the cache folder (`LENET5_CACHE_DIR`, else the operating system's place for caches), from where
 * the package finds it by itself.
 *
 * @throws LeNet5Error `LENET5_LIBTORCH_INSTALL_FAILED` with the fix; `LENET5_ABORTED`; `LENET5_INVALID_OPTION`; what `log`
 * throws; nothing half-installed stays
 */
export async function installLibtorch(options: InstallOptions = {}): Promise<InstallResult> {
  const { from, variant = "cpu", force, apt, log: report, signal } = checked(options);
  let thrown: { error: unknown } | undefined;
  const log = (line: string): void => {
    try {
      report?.(withoutCredentials(line));
    } catch (error) {
      thrown = { error };
      throw error;
    }
  };
  try {
    throwIfAborted(signal);
    if (apt) return await installWithApt(log, signal);
    if (variant !== "cpu" && process.platform !== "linux") {
      throw installFailed(`the variant ${variant} is one of Linux: point LIBTORCH at a libtorch with CUDA instead`);
    }
    const pinned = libtorchIn(installFolder(PINNED_LIBTORCH_VERSION, variant), variant);
    const isPresent = () => !from && !force && isWhole(pinned, variant !== "cpu");
    if (isPresent()) return present(pinned);
    const root = cacheRoot();
    await mkdir(root, { recursive: true });
    const waiting = { wait: true, onWait: () => log("Waiting for another installation to finish"), signal };
    return await withLock(join(root, "libtorch"), waiting, async (held) => {
      // Another process may have installed it while this one waited.
      if (isPresent()) return present(pinned);
      return await installInto(root, { from, variant, log, signal: held });
    });
  } catch (cause) {
    // What the caller's own function throws is the caller's, whatever was made of it on the way here.
    if (thrown) throw thrown.error;
    throwIfAborted(signal);
    hideCredentials(cause);
    if (!isLeNet5Error(cause)) throw installFailed((cause as Error).message, cause);
    if (cause.code !== "LENET5_LIBTORCH_INSTALL_FAILED" || apt) throw cause;
    throw new LeNet5Error("LIBTORCH_INSTALL_FAILED", `${cause.message}. ${await otherWays()}`, { cause });
  }
}

function checked(options: InstallOptions): InstallOptions {
  const names = ["from", "variant", "force", "apt", "log", "signal"] as const;
  const read = readOptions(options, names, "the options of installLibtorch");
  if (read.from !== undefined && (typeof read.from !== "string" || read.from === "")) {
    throw expected("INVALID_OPTION", "a path or an address", "from", read.from);
  }
  if (read.variant !== undefined) oneOf(read.variant, "variant", VARIANTS);
  for (const name of ["force", "apt"] as const) if (read[name] !== undefined) trueOrFalse(read[name], name);
  optionalFunction(read.log, "log");
  optionalSignal(read.signal);
  return read;
}

function isWhole(folder: string, cuda: boolean): boolean {
  const libtorch = describeLibtorch(folder);
  return libtorch !== undefined && !faultOf(libtorch) && (!cuda || libtorch.cudaLibraries.length > 0);
}

function present(folder: string): InstallResult {
  return { folder, version: describeLibtorch(folder)?.version ?? PINNED_LIBTORCH_VERSION, installed: false };
}

/** What the steps of an installation are told. */
interface Plan {
  from: string | undefined;
  variant: Variant;
  log: (line: string) => void;
  signal?: AbortSignal | undefined;
}

async function installInto(root: string, options: Plan): Promise<InstallResult> {
  const { variant } = options;
  for (const name of await readdir(root)) {
    // The lock is ours, so whoever made these is gone.
    if (name.startsWith(PARTIAL)) await rm(join(root, name), { recursive: true, force: true });
  }
  const { bavail, bsize } = await statfs(root);
  const needed = variant === "cpu" ? NEEDED_BYTES : NEEDED_BYTES_CUDA;
  const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(1)} GB`;
  if (variant !== "cpu") {
    const room = `${gigabytes(CUDA_BYTES)} stay in ${root}, ${gigabytes(needed)} are needed on the way`;
    options.log(`libtorch with CUDA: ${room}, ${gigabytes(bavail * bsize)} are free`);
  }
  if (bavail * bsize < needed) {
    throw installFailed(`${root} has ${gigabytes(bavail * bsize)} free and ${gigabytes(needed)} are needed`);
  }
  const work = await mkdtemp(join(root, PARTIAL));
  try {
    const whole = join(work, "libtorch");
    const made = libtorchIn(whole, variant);
    await mkdir(made, { recursive: true });
    const source = await fill(made, join(work, "wheels"), options);
    const libtorch = describeLibtorch(made);
    if (!libtorch) throw installFailed(`${source} holds no libtorch for ${process.platform}-${process.arch}`);
    const fault = faultOf(libtorch) ?? (await variantFault(libtorch, variant));
    if (fault) throw installFailed(`what came from ${source} ${fault}`);
    const description = {
      version: libtorch.version,
      source: basename(source),
      cuda: libtorch.cudaLibraries.length > 0,
    };
    await writeFile(join(made, "lenet5-libtorch.json"), `${JSON.stringify(description, null, 2)}\n`);
    throwIfAborted(options.signal);
    const target = installFolder(libtorch.version, variant);
    // A link that stands there is moved away, not what it leads to; one that leads nowhere too.
    if (await lstat(target).catch(() => undefined)) await rename(target, join(work, "replaced"));
    await rename(whole, target);
    options.log(`Installed libtorch ${libtorch.version} in ${target}`);
    return { folder: libtorchIn(target, variant), version: libtorch.version, installed: true };
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** Why a libtorch is not of a variant, in words; `undefined` where it is. */
async function variantFault(libtorch: Libtorch, variant: Variant): Promise<string | undefined> {
  const cuda = cudaOf(variant);
  if (cuda === undefined) return undefined;
  if (!libtorch.builtForCuda) return "is a build for the CPU";
  // A wheel says so in version.py, an archive in build-version.
  const said = await Promise.all(
    ["version.py", "build-version"].map((name) => readFile(join(libtorch.root, name), "utf8").catch(() => "")),
  );
  const own = /^cuda[^=\n]*= *'([\d.]+)'/m.exec(said[0]!)?.[1] ?? /\+cu(\d+)(\d)\b/.exec(said[1]!)?.slice(1).join(".");
  if (own !== undefined && own !== cuda) return `is for CUDA ${own} and not ${cuda}`;
  if (libtorch.cudaMissing.length === 0) return undefined;
  return `lacks for CUDA ${libtorch.cudaMissing.join(", ")}, which this machine does not have either`;
}

/** What {@link complete} is told. */
interface CompleteOptions extends Plan {
  /** Folder in which wheels of other packages may lie. */
  beside?: string;
  /** The package index that delivered. */
  index?: string | undefined;
}

/** Fills a folder with a libtorch; returns what it came from. */
async function fill(made: string, wheels: string, options: Plan): Promise<string> {
  const { from, variant, log, signal } = options;
  const cuda = variant !== "cpu";
  if (from && !isAddress(from)) {
    const path = resolve(from);
    const entry = await stat(path).catch((cause) => {
      throw installFailed(`${from} cannot be read (${(cause as Error).message})`, cause);
    });
    if (entry.isDirectory()) {
      await copyLibtorch(path, made, cuda);
      return path;
    }
    await unpackAll(path, made, wheels, options);
    return path;
  }
  if (from) {
    // An address may end in no name.
    const file = basename(new URL(from).pathname) || "libtorch.zip";
    const target = join(wheels, file);
    log(`Fetching ${from}`);
    const parts = await unpackParts({ url: from, file }, made, wheels, { cuda, log, signal });
    if (parts !== undefined) {
      await complete(parts, made, wheels, options);
      return from;
    }
    await downloadFile({
      urls: [from],
      target,
      file,
      maxBytes: 4 * 2 ** 30,
      verify: async () => {}, // its checksums are looked at while it is unpacked
      connectTimeout: 30_000,
      stallTimeout: 60_000,
      signal,
    }).catch((cause: Error) => {
      throwIfAborted(signal);
      throw installFailed(cause.message, cause);
    });
    await unpackAll(target, made, wheels, options);
    return from;
  }
  const index = configuredIndex();
  const pinned = index === undefined ? undefined : await pinnedWheel(index, { log, signal });
  const parts = pinned && (await unpackParts(pinned, made, wheels, { cuda, log, signal }));
  if (pinned !== undefined && parts !== undefined) {
    await complete(parts, made, wheels, { ...options, index });
    return pinned.file;
  }
  const requirement = `torch==${PINNED_LIBTORCH_VERSION}`;
  const [wheel] = await fetchWheels([requirement], wheels, { cpuIndex: !cuda, log, signal });
  if (!wheel) throw installFailed(`no wheel of ${requirement} came`);
  await unpackAll(wheel, made, wheels, options);
  return wheel;
}

async function unpackAll(archive: string, made: string, wheels: string, options: Plan): Promise<void> {
  const { variant, log, signal } = options;
  log(`Unpacking ${basename(archive)}`);
  const metadata = await unpackLibtorch(archive, made, { cuda: variant !== "cpu", signal });
  // One that was fetched has done its work; what comes next needs room.
  if (dirname(archive) === wheels) await rm(archive, { force: true });
  await complete(metadata, made, wheels, { ...options, beside: dirname(archive) });
}

/**
 * Adds what an unpacked libtorch needs of other packages.
 * @param metadata - the wheel's METADATA, which names them
 */
async function complete(
  metadata: string,
  made: string,
  wheels: string,
  { variant, beside = wheels, index, log, signal }: CompleteOptions,
): Promise<void> {
  const libtorch = describeLibtorch(made);
  if (!libtorch) return;
  if (variant !== "cpu") {
    const from = { beside, index: index ?? configuredIndex(), log, signal };
    return await addCudaLibraries(metadata, dirname(made), join(wheels, "nvidia"), from);
  }
  // PyPI's Linux wheel is the CUDA build, whose CPU library opens these two of NVIDIA's libraries; they need no GPU.
  const { missing } = libtorch;
  const version = cudaVersion(metadata);
  if (missing.length === 0 || !version) return;
  const suffix = version.startsWith("12.") ? "-cu12" : "";
  for (const [library, name] of [
    ["libcudart.", "nvidia-cuda-runtime"],
    ["libcupti.", "nvidia-cuda-cupti"],
  ] as const) {
    const wanted = missing.filter((file) => file.startsWith(library));
    if (wanted.length === 0) continue;
    // Their wheels lie where those of torch do, or beside the wheel that was named.
    const there = (await readdir(beside)).filter((file) => file.startsWith(`${name.replaceAll("-", "_")}`));
    const found = there.filter((file) => file.endsWith(".whl")).map((file) => join(beside, file));
    const folder = join(wheels, name);
    const fetched =
      found.length > 0 ? found : await fetchWheels([`${name}${suffix}==${version}.*`], folder, { index, log, signal });
    for (const wheel of fetched) await unpackNvidia(wheel, made, (file) => wanted.includes(file), signal);
  }
}

/** `13.0` out of a wheel's METADATA, which names CUDA's packages by their versions. */
function cudaVersion(metadata: string): string | undefined {
  return /^Requires-Dist: (?:cuda-toolkit\[[^\]]*\]|nvidia-cuda-runtime(?:-cu12)?) *\(?== *(\d+\.\d+)/m.exec(
    metadata,
  )?.[1];
}

/** Copies headers and libraries out of a folder, for example a Python environment's `torch`. */
async function copyLibtorch(from: string, made: string, cuda: boolean): Promise<void> {
  const libtorch =
    describeLibtorch(from) ?? describeLibtorch(join(from, "libtorch")) ?? describeLibtorch(join(from, "torch"));
  if (!libtorch?.includeDirectory) throw installFailed(`${from} holds no libtorch with include/ and lib/`);
  if (libtorch.root === "/usr" || libtorch.root === "/usr/local") {
    throw installFailed(`${from} is the system's own folder; its libtorch is found without an installation`);
  }
  if (libtorch.missing.length > 0) throw installFailed(`${from} ${faultOf(libtorch)}`);
  await cp(libtorch.includeDirectory, join(made, "include"), { recursive: true, dereference: true });
  await mkdir(join(made, "lib"));
  for (const name of await readdir(libtorch.libraryDirectory)) {
    const source = join(libtorch.libraryDirectory, name);
    const needed = cuda || !/^(lib)?(torch_cuda|c10_cuda|torch_python|shm)/.test(name);
    if (needed && (await stat(source)).isFile()) await copyFile(source, join(made, "lib", name));
  }
  for (const name of ["version.py", "build-version"]) {
    if (existsSync(join(libtorch.root, name))) await copyFile(join(libtorch.root, name), join(made, name));
  }
  // In a Python environment NVIDIA's libraries lie beside torch, where its own look for them.
  const nvidia = join(libtorch.root, "..", "nvidia");
  if (cuda && existsSync(nvidia)) {
    const isWanted = (path: string) => !/\.(?:py|pyc|a|bc)$|__pycache__/.test(path);
    await cp(nvidia, join(dirname(made), "nvidia"), { recursive: true, dereference: true, filter: isWanted });
  }
  const lost = missingDependencies(describeLibtorch(made)?.libraries ?? []);
  if (lost.length > 0) {
    throw installFailed(
      `its libraries need ${lost.join(", ")}, which lie outside ${from}: point LIBTORCH at ${libtorch.root} instead`,
    );
  }
}

async function installWithApt(log: (line: string) => void, signal: AbortSignal | undefined): Promise<InstallResult> {
  if (!(await isDebian())) throw installFailed("this is neither Debian nor Ubuntu, which have libtorch-dev");
  const args = ["install", "--yes", "--no-install-recommends", "libtorch-dev"];
  const asRoot = process.getuid?.() === 0;
  const [command, ...rest] = asRoot ? ["apt-get", ...args] : ["sudo", "apt-get", ...args];
  log(`Running ${command} ${rest.join(" ")}`);
  const status = await endOf(spawn(command!, rest, { stdio: ["inherit", 2, 2] }), signal);
  const libtorch: Libtorch | undefined = describeLibtorch("/usr");
  if (status !== 0 || !libtorch) throw installFailed(`apt-get ended with ${status}`);
  return { folder: libtorch.root, version: libtorch.version, installed: true };
}

async function isDebian(): Promise<boolean> {
  if (process.platform !== "linux") return false;
  return /^ID(_LIKE)?=.*(debian|ubuntu)/m.test(await readFile("/etc/os-release", "utf8").catch(() => ""));
}

async function otherWays(): Promise<string> {
  const ways = [
    "`npx lenet5 install --from <wheel, zip, folder or address>`",
    "LIBTORCH=<a folder with include/ and lib/>",
  ];
  if (await isDebian()) ways.unshift("`npx lenet5 install --apt` (apt-get install libtorch-dev)");
  return `Other ways: ${ways.join(", ")}`;
}

function isAddress(text: string): boolean {
  return /^https?:\/\//.test(text);
}

function installFailed(reason: string, cause?: unknown): LeNet5Error {
  return new LeNet5Error("LIBTORCH_INSTALL_FAILED", `Expected to install libtorch but ${reason}`, { cause });
}
