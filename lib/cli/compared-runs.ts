// The runs that `lenet5 train --compare` puts beside its own.
//
// Problem: TensorBoard draws into one chart what lies below one folder, and runs lie where their trainers wrote them. Links
// would show whatever those folders are changed to, and reach out of the log directory. Resolution: the event files are
// copied, each under its run's name, as far as their records are whole; all of them are looked at before anything is
// written, and what is written or removed is event files in the run's own folder below the log directory, nothing else.
import { lstat, mkdir, readdir, realpath, rm, stat } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { throwIfAborted } from "../abort.js";
import { expectedButGot, isLeNet5Error, LeNet5Error } from "../errors.js";
import { readFailure, writeFileAtomically } from "../files.js";
import { readBytes, withRegularFile } from "../regular-file.js";
import { readRecords } from "../tensorboard/records.js";
import { usageError } from "./failure.js";

/** The name of our own run. */
const OURS = "libtorch";
/** A file is held in memory while it is copied. */
const LARGEST = 2 ** 30;

/** A run of somebody else's. */
interface Run {
  /** What TensorBoard shows: the name of its folder. */
  name: string;
  /** Where it was written. */
  from: string;
  /** Its folder below the log directory. */
  to: string;
}

/** Whether TensorBoard would read a file of this name. */
const isEventFile = (name: string): boolean => name.includes("tfevents");

/** Runs of others, and ours, below one log directory. */
export class ComparedRuns {
  /** The folder for our own event file. */
  readonly ours: string;
  readonly #others: readonly Run[];

  /**
   * Names the runs, and looks at their event files; nothing is written.
   * @param directories - the folders of `--compare`
   * @param logdir - where they are put side by side
   * @throws LENET5_INVALID_OPTION for names that are taken; LENET5_DATA_NOT_FOUND, LENET5_DATA_CORRUPT,
   * LENET5_FILE_READ_FAILED for what holds no event files
   */
  static async check(directories: readonly string[], logdir: string): Promise<ComparedRuns> {
    const others = directories.map((from) => {
      const name = basename(resolve(from));
      return { name, from, to: join(logdir, name) };
    });
    const refuse = (what: string, from: string) => usageError("INVALID_OPTION", what, "--compare", from);
    const taken = new Map<string, string>();
    for (const { name, from } of others) {
      if (name === "" || resolve(from) === resolve(logdir)) throw refuse("a run's folder, not --logdir itself,", from);
      if (name === OURS) throw refuse(`folders of other names than ${OURS}, which is this training's,`, from);
      if (taken.has(name)) throw refuse(`folders of different names (${taken.get(name)} is one of ${name})`, from);
      taken.set(name, from);
    }
    for (const { from } of others) for (const name of await eventFilesOf(from)) await wholeRecords(join(from, name));
    return new ComparedRuns(logdir, others);
  }

  private constructor(logdir: string, others: readonly Run[]) {
    this.ours = join(logdir, OURS);
    this.#others = others;
  }

  /** Names and folders of all runs, for the command's result. */
  get places(): Record<string, string> {
    return Object.fromEntries([[OURS, this.ours], ...this.#others.map(({ name, to }) => [name, to])]);
  }

  /** Makes our own run's folder. @throws LENET5_FILE_WRITE_FAILED */
  async makeOurs(): Promise<void> {
    await folderBelow(this.ours);
  }

  /** Removes what an earlier training logged as our run. @throws LENET5_FILE_WRITE_FAILED */
  async forgetEarlier(current: string): Promise<void> {
    await removeEventFiles(this.ours, [basename(current)]);
  }

  /**
   * Copies the others to where TensorBoard finds them, as they are now.
   * @throws what {@link ComparedRuns.check} throws; LENET5_FILE_WRITE_FAILED, LENET5_FILE_BUSY, LENET5_ABORTED
   */
  async place(signal: AbortSignal): Promise<void> {
    for (const { from, to } of this.#others) {
      throwIfAborted(signal);
      // A trainer may have been told to write there.
      if ((await folderBelow(to)) === (await realpath(from))) continue;
      const names = await eventFilesOf(from);
      for (const name of names) await copyEvents(join(from, name), join(to, name), signal);
      await removeEventFiles(to, names);
    }
  }
}

async function copyEvents(from: string, to: string, signal: AbortSignal): Promise<void> {
  const bytes = await wholeRecords(from);
  // A link would be followed to where somebody else's file lies.
  if ((await lstat(to).catch(() => undefined))?.isSymbolicLink()) await rm(to);
  await writeFileAtomically(to, bytes, { signal });
}

async function removeEventFiles(folder: string, kept: readonly string[]): Promise<void> {
  try {
    for (const name of await readdir(folder))
      if (isEventFile(name) && !kept.includes(name)) await rm(join(folder, name));
  } catch (cause) {
    throw unwritable(folder, (cause as Error).message, { cause });
  }
}

/** Makes a run's folder; refuses one that leads elsewhere. Gives its path without links. */
async function folderBelow(folder: string): Promise<string> {
  try {
    await mkdir(folder, { recursive: true });
    const [parent, path] = [await realpath(join(folder, "..")), await realpath(folder)];
    if (path === join(parent, basename(folder))) return path;
  } catch (cause) {
    throw unwritable(folder, (cause as Error).message, { cause });
  }
  throw unwritable(folder, "a link to somewhere else");
}

function unwritable(folder: string, received: string, options?: ErrorOptions): LeNet5Error {
  return new LeNet5Error(
    "FILE_WRITE_FAILED",
    `Expected a folder that can be written for ${folder} (--logdir) but received ${received}`,
    options,
  );
}

/** The event files of a run's folder; at least one. */
async function eventFilesOf(folder: string): Promise<string[]> {
  const what = "a folder with event files";
  let names: string[];
  try {
    if (!(await stat(folder)).isDirectory())
      throw expectedButGot("DATA_NOT_FOUND", what, "--compare", `${folder}, which is no folder`);
    names = (await readdir(folder)).filter(isEventFile);
  } catch (error) {
    throw isLeNet5Error(error) ? error : readFailure(error, "DATA_NOT_FOUND", what, folder);
  }
  if (names.length === 0) throw expectedButGot("DATA_NOT_FOUND", what, "--compare", `${folder}, which has none`);
  return names;
}

/** An event file up to where its last whole record ends. */
async function wholeRecords(path: string): Promise<Uint8Array> {
  return await withRegularFile(path, { what: "an event file", missing: "DATA_NOT_FOUND" }, async (file, size) => {
    const corrupt = (received: string): LeNet5Error => expectedButGot("DATA_CORRUPT", "an event file", path, received);
    if (size > LARGEST) throw corrupt(`${size} bytes, more than ${LARGEST}`);
    const bytes = await readBytes(file, size);
    const { records, end } = readRecords(bytes, path);
    // The first record says of what version the others are.
    const first = Buffer.from(records[0] ?? []).toString("latin1");
    if (!first.includes("brain.Event:"))
      throw corrupt(records.length === 0 ? "no whole record" : "records of something else");
    return bytes.subarray(0, end);
  });
}
