// NVIDIA's libraries for a libtorch with CUDA, put beside it as pip would put them.
//
// Problem: torch's wheel asks for a dozen of NVIDIA's packages, half of them through one that only stands for others
// (`cuda-toolkit` with its extras), over 2 GB in all; pip would resolve them, and keep every wheel on the disk until the
// last is there. Resolution: which wheels they are is read out of the packages' metadata and the index before the first is
// fetched, so that their size can be told; then each is fetched, held against the index's SHA-256, unpacked against its own
// RECORD, and thrown away before the next comes. pip is asked where the index does not answer in its JSON form.
import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { throwIfAborted } from "../abort.js";
import { LeNet5Error } from "../errors.js";
import { fetchFile, fittingVersion, type IndexFile, wheelOf } from "./package-index.js";
import { type Requirement, requirementsOf, requirementText } from "./requirement.js";
import { metadataOf, unpackCudaWheel } from "./unpack.js";
import { fetchWheels } from "./wheels.js";

/** The package that stands for others. */
const TOOLKIT = "cuda-toolkit";

/** What {@link addCudaLibraries} is told. */
export interface CudaWheelsOptions {
  /** Folder in which wheels may lie already. */
  beside: string;
  /** The package index; `undefined` where pip is told to ask none. */
  index: string | undefined;
  log: (line: string) => void;
  signal?: AbortSignal | undefined;
}

/** A wheel that is here, or one that an index lists. */
type Source = { path: string } | { file: IndexFile; index: string };

/**
 * Unpacks what a CUDA build of torch asks for.
 *
 * @param metadata - METADATA of torch's wheel
 * @param target - the folder that gets `nvidia/`
 * @param work - folder for wheels on their way
 * @throws LENET5_LIBTORCH_INSTALL_FAILED, LENET5_FILE_WRITE_FAILED, LENET5_ABORTED
 */
export async function addCudaLibraries(
  metadata: string,
  target: string,
  work: string,
  options: CudaWheelsOptions,
): Promise<void> {
  const { log, signal } = options;
  const wanted = requirementsOf(metadata).filter(({ name }) => name === TOOLKIT || isNvidias(name));
  if (wanted.length === 0) return;
  await mkdir(work, { recursive: true });
  let sources: Source[];
  try {
    sources = await sourcesOf(wanted, work, options);
  } catch (error) {
    throwIfAborted(signal);
    log((error as Error).message);
    // It brings more than is needed, Python's packages too; those have nothing that is unpacked.
    const folder = join(work, "pip");
    const fetched = await fetchWheels(wanted.map(requirementText), folder, { dependencies: true, log, signal });
    sources = fetched.map((path) => ({ path }));
  }
  const listed = sources.flatMap((source) => ("file" in source ? [source.file] : []));
  const bytes = listed.reduce((sum, { size = 0 }) => sum + size, 0);
  if (listed.length > 0) log(`CUDA's libraries: ${listed.length} wheels, ${(bytes / 1e9).toFixed(1)} GB to fetch`);
  let count = 0;
  for (const source of sources) {
    throwIfAborted(signal);
    const path = "path" in source ? source.path : await fetchFile(source.file, work, source.index, { log, signal });
    count += await unpackCudaWheel(path, target, signal);
    if ("file" in source) await rm(path, { force: true });
  }
  if (count === 0) throw failed(`no library in ${wanted.map(requirementText).join(", ")}`);
}

function isNvidias(name: string): boolean {
  return name.startsWith("nvidia-");
}

/** Where the wheels are to be had; what stands for others is looked into. */
async function sourcesOf(wanted: readonly Requirement[], work: string, options: CudaWheelsOptions): Promise<Source[]> {
  const { log, signal } = options;
  const named = wanted.filter(({ name }) => isNvidias(name));
  for (const toolkit of wanted.filter(({ name }) => name === TOOLKIT)) {
    const source = await sourceOf(toolkit, options);
    const path = "path" in source ? source.path : await fetchFile(source.file, work, source.index, { log, signal });
    named.push(...requirementsOf(await metadataOf(path, signal), toolkit.extras).filter(({ name }) => isNvidias(name)));
  }
  // A package may be asked for more than once, by several extras.
  const merged = new Map<string, Requirement>();
  for (const each of named) {
    const before = merged.get(each.name);
    merged.set(each.name, before ? { ...each, specifiers: [...before.specifiers, ...each.specifiers] } : each);
  }
  return await Promise.all([...merged.values()].map((each) => sourceOf(each, options)));
}

async function sourceOf(requirement: Requirement, { beside, index, signal }: CudaWheelsOptions): Promise<Source> {
  const names = await readdir(beside).catch(() => [] as string[]);
  const here = names.find((name) => fittingVersion(name, requirement.name, requirement.specifiers) !== undefined);
  if (here !== undefined) return { path: join(beside, here) };
  if (index === undefined)
    throw failed(`no wheel of ${requirementText(requirement)} in ${beside}, and no package index`);
  return { file: await wheelOf(requirement, index, signal), index };
}

function failed(reason: string): LeNet5Error {
  return new LeNet5Error("LIBTORCH_INSTALL_FAILED", `Expected CUDA's libraries but received ${reason}`);
}
