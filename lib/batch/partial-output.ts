// An output in the making, of which a later run can take what is whole: `<output>.partial`, and beside it the record of what of
// it counts, `<output>.progress`.
//
// Problem: a process may end at any moment, by SIGKILL, a full disk or a power failure, and then no image may be missing from
// what goes on, nor be there twice. Resolution: what is appended counts once a line in the record says so: how many images, how
// many bytes, and the check sum of those since the line before. The bytes are on the disk before their line is written, and
// each line has a check sum of its own; so a record that was cut off says less, and never what is not so. A later run holds
// the file against the record, cuts off what does not count, and goes on there. The record's first line describes the run:
// nobody goes on with what another model, input or share has begun.
import type { FileHandle } from "node:fs/promises";
import { open, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { crc32 } from "node:zlib";
import { throwIfAborted } from "../abort.js";
import { expectedButGot, isLeNet5Error, type LeNet5Error } from "../errors.js";
import { putInPlace, readFailure, statIfThere, syncFolder, writeFailure } from "../files.js";
import { isObject } from "../is.js";
import { openRegularFile, readBytes } from "../regular-file.js";
import type { Chunk } from "./answers.js";

/** What a run is, by which one that goes on is told from another one; in words for people. */
export type RunDescription = Readonly<Record<string, unknown>>;

/** How far a run has come. */
export interface Progress {
  /** Images in the output. */
  readonly images: number;
  /** How many of them could not be read. */
  readonly unreadable: number;
  /** Length of the output so far. */
  readonly bytes: number;
  /** Whether the end of the file is written. */
  readonly whole: boolean;
  /** The notes of its chunks, in order. */
  readonly notes: readonly unknown[];
}

/** A line of the record. */
interface Step {
  images: number;
  unreadable: number;
  bytes: number;
  /** Of the bytes since the step before. */
  crc32: number;
  whole?: boolean;
  notes?: unknown[];
}

/** The first line's first word. */
const KIND = "lenet5 predict";
/** Bytes that are read at a time to be held against the record. */
const PIECE = 2 ** 20;
/** Longest record that is read: a hundred million images' and more. */
const MOST_RECORD = 2 ** 28;
const CHECK_DIGITS = 8;
const START: Progress = { images: 0, unreadable: 0, bytes: 0, whole: false, notes: [] };

/** How the errors say what to do. */
const ANEW = "--restart begins anew";

/** How an output is opened. */
export interface OpenOptions {
  /** Throws away what was left. */
  readonly restart: boolean;
  /** Resolves while the caller holds the lock on the output's path; asked before each write. */
  readonly certain?: () => Promise<void>;
  /** Ends the look at what was left. */
  readonly signal?: AbortSignal;
}

/** An output in the making. The caller holds the lock on its path. */
export class PartialOutput {
  readonly #output: string;
  readonly #certain: () => Promise<void>;
  readonly #file: FileHandle;
  readonly #record: FileHandle;
  #recordLength: number;
  #images: number;
  #unreadable: number;
  #bytes: number;
  #whole: boolean;
  #crc32 = 0;
  #notes: unknown[] = [];
  /** As far as the record says. */
  #recorded: Progress;
  /** Why nothing more can be made to count. */
  #failure: unknown;

  private constructor(
    output: string,
    certain: () => Promise<void>,
    file: FileHandle,
    record: FileHandle,
    recordLength: number,
    progress: Progress,
  ) {
    this.#output = output;
    this.#certain = certain;
    this.#file = file;
    this.#record = record;
    this.#recordLength = recordLength;
    this.#recorded = progress;
    this.#images = progress.images;
    this.#unreadable = progress.unreadable;
    this.#bytes = progress.bytes;
    this.#whole = progress.whole;
  }

  /** Where an unfinished output lies. */
  static partialOf(output: string): string {
    return `${output}.partial`;
  }

  /** Where its record lies. */
  static recordOf(output: string): string {
    return `${output}.progress`;
  }

  /**
   * Goes on with what an earlier run of the same description has left, else begins.
   * @throws LENET5_CHECKPOINT_MISMATCH where it is another run's; LENET5_CHECKPOINT_CORRUPT where file and record do not
   *   belong together; LENET5_FILE_WRITE_FAILED; LENET5_ABORTED; what `certain` throws
   */
  static async open(output: string, run: RunDescription, options: OpenOptions): Promise<PartialOutput> {
    const left = options.restart ? undefined : await readRecord(PartialOutput.recordOf(output), run);
    return left === undefined || (await wasPutInPlace(output, left.progress))
      ? await PartialOutput.#begin(output, run, options)
      : await PartialOutput.#goOn(output, left, options);
  }

  static async #begin(
    output: string,
    run: RunDescription,
    { certain = isCertain }: OpenOptions,
  ): Promise<PartialOutput> {
    const [partialPath, recordPath] = [PartialOutput.partialOf(output), PartialOutput.recordOf(output)];
    await certain();
    return await writing(output, async () => {
      // What is replaced may be protected by its mode alone.
      const mode = (await statIfThere(output)) === undefined ? 0o666 : 0o600;
      // In this order: a record speaks of a file that is there. Both are new files: what has these names may be a link to
      // something else, or what a run whose lock was taken over has still open.
      await rm(recordPath, { force: true });
      await rm(partialPath, { force: true });
      const file = await open(partialPath, "wx", mode);
      try {
        const record = await open(recordPath, "wx", mode);
        try {
          const first = firstLineOf(run);
          await writeAt(record, first, 0);
          await record.datasync();
          await syncFolder(dirname(output));
          return new PartialOutput(output, certain, file, record, first.length, START);
        } catch (error) {
          await record.close();
          throw error;
        }
      } catch (error) {
        await file.close();
        throw error;
      }
    });
  }

  static async #goOn(
    output: string,
    { progress, steps, length }: Left,
    { certain = isCertain, signal }: OpenOptions,
  ): Promise<PartialOutput> {
    const path = PartialOutput.partialOf(output);
    await verify(path, steps, signal);
    await certain();
    return await writing(output, async () => {
      const file = await open(path, "r+");
      try {
        await file.truncate(progress.bytes);
        const record = await open(PartialOutput.recordOf(output), "r+");
        await record.truncate(length);
        return new PartialOutput(output, certain, file, record, length, progress);
      } catch (error) {
        await file.close();
        throw error;
      }
    });
  }

  /** How far the run has come, as a later one would find it. */
  get recorded(): Progress {
    return this.#recorded;
  }

  /** Appends a chunk; it counts from the next {@link commit} on. @throws LENET5_FILE_WRITE_FAILED, what `certain` throws */
  async append({ bytes, images, unreadable, note }: Chunk): Promise<void> {
    await this.#certain();
    await writing(this.#output, () => writeAt(this.#file, bytes, this.#bytes));
    this.#bytes += bytes.length;
    this.#crc32 = crc32(bytes, this.#crc32);
    this.#images += images;
    this.#unreadable += unreadable;
    if (note !== undefined) this.#notes.push(note);
  }

  /** Appends what is left and the end of the file, behind which nothing may come. @throws LENET5_FILE_WRITE_FAILED */
  async end(chunk: Chunk): Promise<void> {
    await this.append(chunk);
    this.#whole = true;
  }

  /**
   * Makes what was appended count. Once that has failed it always does: the system tells of bytes that did not come to the disk
   * once, and the next time says that all are there.
   * @throws LENET5_FILE_WRITE_FAILED, what `certain` throws
   */
  async commit(): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    const { bytes, whole, notes } = this.#recorded;
    if (this.#bytes === bytes && this.#whole === whole) return;
    await this.#certain();
    const step: Step = {
      ...{ images: this.#images, unreadable: this.#unreadable, bytes: this.#bytes, crc32: this.#crc32 },
      ...(this.#whole && { whole: true }),
      ...(this.#notes.length > 0 && { notes: this.#notes }),
    };
    await writing(this.#output, async () => {
      await this.#file.datasync();
      const line = lineOf(step);
      await writeAt(this.#record, line, this.#recordLength);
      await this.#record.datasync();
      this.#recordLength += line.length;
    }).catch((error: unknown) => {
      this.#failure = error;
      throw error;
    });
    this.#recorded = { ...progressOf(step), notes: [...notes, ...this.#notes] };
    this.#crc32 = 0;
    this.#notes = [];
  }

  /** Puts the output, whose end is written, in its place. @throws LENET5_FILE_WRITE_FAILED, what `certain` throws */
  async finish(): Promise<void> {
    await this.commit();
    await this.#certain();
    await writing(this.#output, async () => {
      await putInPlace(this.#file, PartialOutput.partialOf(this.#output), this.#output);
      await this.#record.close();
      await rm(PartialOutput.recordOf(this.#output), { force: true });
    });
  }

  /** Closes the files, which stay. */
  async close(): Promise<void> {
    await this.#file.close();
    await this.#record.close();
  }
}

async function isCertain(): Promise<void> {}

/** What an earlier run has left. */
interface Left {
  progress: Progress;
  steps: readonly Step[];
  /** Length of the record's whole lines. */
  length: number;
}

/** Reads a record; undefined where there is none, or one by which nothing counts. */
async function readRecord(path: string, run: RunDescription): Promise<Left | undefined> {
  const text = await readText(path);
  if (text === undefined) return undefined;
  // A power failure may leave a file that has its length and not its contents.
  if (String(firstLineOf(run)).startsWith(text) || /^\0+$/.test(text)) return undefined;
  const lines = text.split("\n");
  // What follows the last line's end was cut off.
  lines.pop();
  const values = lines.map(whatItSays);
  const damaged = values.indexOf(undefined);
  // So may a last line, which counts for nothing then. A first one that is not whole is somebody else's.
  if (damaged > 0 && damaged === values.length - 1) values.pop();
  else if (damaged >= 0) throw corrupt(path, "a record whose lines are whole", `damage in line ${damaged + 1}`);
  const [first, ...steps] = values as unknown as [{ kind?: unknown; run?: unknown } | undefined, ...Step[]];
  if (first?.kind !== KIND || !isObject(first.run)) throw corrupt(path, "the record of a run", "another file");
  const last = steps.at(-1);
  if (last === undefined) return undefined;
  requireSame(path, first.run, run);
  const notes = steps.flatMap((step) => step.notes ?? []);
  const whole = lines.slice(0, values.length).join("\n");
  return { progress: { ...progressOf(last), notes }, steps, length: Buffer.byteLength(whole) + 1 };
}

async function readText(path: string): Promise<string | undefined> {
  const wanted = { what: "a run's record", missing: "CHECKPOINT_NOT_FOUND" } as const;
  try {
    const { file, size } = await openRegularFile(path, wanted);
    try {
      if (size > MOST_RECORD) throw corrupt(path, `at most ${MOST_RECORD} bytes`, `${size} bytes`);
      return Buffer.from(await readBytes(file, size)).toString("utf8");
    } finally {
      await file.close();
    }
  } catch (error) {
    if (isLeNet5Error(error) && (error.cause as NodeJS.ErrnoException | undefined)?.code === "ENOENT") return undefined;
    throw error;
  }
}

/** The line that says whose record it is. */
function firstLineOf(run: RunDescription): Buffer {
  return lineOf({ kind: KIND, run });
}

/** A line of the record. */
function lineOf(value: object): Buffer {
  return Buffer.from(`${withCheckSum(JSON.stringify(value))}\n`);
}

function withCheckSum(text: string): string {
  return `${crc32(text).toString(16).padStart(CHECK_DIGITS, "0")} ${text}`;
}

/** What a line says; undefined where it is not whole. */
function whatItSays(line: string): object | undefined {
  const text = line.slice(CHECK_DIGITS + 1);
  if (line !== withCheckSum(text)) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function progressOf({ images, unreadable, bytes, whole = false }: Step): Omit<Progress, "notes"> {
  return { images, unreadable, bytes, whole };
}

/** Refuses to go on with another run. */
function requireSame(path: string, left: Record<string, unknown>, run: RunDescription): void {
  const names = [...new Set([...Object.keys(run), ...Object.keys(left)])];
  const other = names.find((name) => JSON.stringify(left[name]) !== JSON.stringify(run[name]));
  if (other === undefined) return;
  const received = `an unfinished run with another one (its own command goes on with it, ${ANEW})`;
  throw expectedButGot("CHECKPOINT_MISMATCH", `the same ${other}`, path, received);
}

/** Whether an earlier run came to its very end and was killed before it could remove its record. */
async function wasPutInPlace(output: string, { whole }: Progress): Promise<boolean> {
  if (!whole) return false;
  const partial = await open(PartialOutput.partialOf(output), "r").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw writeFailure(error, output);
  });
  await partial?.close();
  return partial === undefined;
}

/** Holds an unfinished output against its record. */
async function verify(path: string, steps: readonly Step[], signal: AbortSignal | undefined): Promise<void> {
  const bytes = steps.at(-1)?.bytes ?? 0;
  const wanted = {
    what: `the unfinished output that its record speaks of (${ANEW})`,
    missing: "CHECKPOINT_CORRUPT",
  } as const;
  const { file, size } = await openRegularFile(path, wanted);
  try {
    if (size < bytes) throw corrupt(path, `at least the ${bytes} bytes that its record counts`, `${size} bytes`);
    const room = Buffer.alloc(PIECE);
    let position = 0;
    for (const step of steps) {
      let sum = 0;
      while (position < step.bytes) {
        throwIfAborted(signal);
        const { bytesRead } = await file.read(room, 0, Math.min(PIECE, step.bytes - position), position);
        if (bytesRead === 0) break;
        sum = crc32(room.subarray(0, bytesRead), sum);
        position += bytesRead;
      }
      if (position !== step.bytes || sum !== step.crc32) {
        throw corrupt(path, "the bytes that its record has the check sums of", `others before byte ${step.bytes}`);
      }
    }
  } catch (error) {
    throw isLeNet5Error(error) ? error : readFailure(error, "CHECKPOINT_CORRUPT", wanted.what, path);
  } finally {
    await file.close();
  }
}

function corrupt(path: string, what: string, received: string): LeNet5Error {
  return expectedButGot("CHECKPOINT_CORRUPT", what, path, `${received} (${ANEW})`);
}

/** All of the bytes, from a place in the file on. */
async function writeAt(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    done += (await file.write(bytes, done, bytes.length - done, position + done)).bytesWritten;
  }
}

/** Runs what writes; what fails has a code of the package. */
async function writing<T>(output: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw isLeNet5Error(error) ? error : writeFailure(error, output);
  }
}
