// `lenet5 predict --input`: any number of images into a file, over hours, by one process or by many.
import type { Stats } from "node:fs";
import { stat } from "node:fs/promises";
import { extname } from "node:path";
import type { BatchResult, Format, Share, Source } from "../batch.js";
import { isLeNet5Error, LeNet5Error } from "../errors.js";
import { own } from "../is.js";
import { withPartialResult } from "./command.js";
import type { Command } from "./commander.js";
import { usageError } from "./failure.js";
import { openModel } from "./model.js";
import { asUsage, type ComputeOptions, textOption, wholeOption } from "./options.js";
import { grouped, type Output, type Progress } from "./output.js";
import { checkPlace } from "./output-place.js";
import { thisCommand } from "./shell-words.js";

/** What {@link addBatchOptions} reads. */
export interface BatchOptions {
  input?: string;
  output?: string;
  probabilities?: boolean;
  workers?: number;
  shards?: number;
  shard?: number;
  maxUnreadable?: number;
  restart?: boolean;
}

interface BatchCommandOptions extends BatchOptions, ComputeOptions {
  model: string;
  input: string;
  topK?: number;
}

/** Milliseconds between two lines of the counting. */
const COUNTING_INTERVAL = 5000;
/** Most parts of an input: what their files' names have room for. */
const MOST_SHARDS = 100_000;

/** `--input`, and what goes with it. */
export function addBatchOptions(command: Command): Command {
  return command
    .addOption(
      textOption(
        "--input <path>",
        "instead of images: a folder of them, a list of paths (a text file, one a line) or an IDX file, of any size, into --output",
      ),
    )
    .addOption(textOption("--output <file>", "with --input: where a row for each image goes, .jsonl or .parquet"))
    .option(
      "--probabilities",
      "with --input: write the probabilities of all classes, not of the most probable one alone",
    )
    .addOption(
      wholeOption(
        "--workers <n>",
        "with --input: threads that decode (default: as many as compute, 8 at most)",
        1,
        256,
      ),
    )
    .addOption(
      wholeOption(
        "--shards <n>",
        "with --input: take one of n equal parts, into a file of its own (default: WORLD_SIZE, else 1)",
        1,
        MOST_SHARDS,
      ),
    )
    .addOption(
      wholeOption(
        "--shard <i>",
        "with --shards: which part, from 0 on (default: RANK, else JOB_COMPLETION_INDEX of a Kubernetes Job)",
        0,
        MOST_SHARDS - 1,
      ),
    )
    .addOption(
      wholeOption(
        "--max-unreadable <n>",
        "with --input: succeed where at most n images cannot be read (default: 0)",
        0,
      ),
    )
    .option("--restart", "with --input: begin anew, where an unfinished run would be gone on with");
}

/** The first option that means something with --input alone, as it was typed. */
export function batchOptionOf(options: BatchOptions): string | undefined {
  const names: (keyof BatchOptions)[] = [
    "output",
    "probabilities",
    "workers",
    "shards",
    "shard",
    "maxUnreadable",
    "restart",
  ];
  const given = names.find((name) => options[name] !== undefined);
  return given && `--${given.replace(/[A-Z]/, (letter) => `-${letter.toLowerCase()}`)}`;
}

/** Carries the command out. */
export async function predictInput(options: BatchCommandOptions, output: Output, signal: AbortSignal): Promise<void> {
  const { input, topK, probabilities = false, restart = false, maxUnreadable = 0 } = options;
  const { chooseShare, fileOf, FORMATS, openSource, predictInto } = await import("../batch.js");
  const share = asUsage(() => chooseShare(options));
  const { path, ending, format } = formatOf(options, FORMATS);
  const file = fileOf(share, path, ending);
  const place = await checkPlace(file);
  if (place.kind !== "file") {
    throw usageError("INVALID_OPTION", "a file, which a later run can go on with,", "--output", path);
  }
  if (place.replaces !== undefined && (await isSameFile(input, place.replaces))) {
    throw usageError("INVALID_OPTION", "another file than --input has", "--output", path);
  }
  using model = await openModel(options, signal);
  const source = await openSource(input, signal, countingDisplay(output, input));
  const shown = new Display(output, share);
  let kept = 0;
  try {
    const result = await predictInto({
      ...{ model, source, share, output: place.path, format, probabilities, topK, restart, signal },
      workers: options.workers ?? (await defaultWorkers()),
      onWait: () => output.log(`Another process has been writing ${file}: waiting to see whether it lives …`),
      onProgress: (done, total) => shown.update(done, total),
      onKept: (images) => {
        kept = images;
      },
    });
    shown.stop();
    tell(output, { ...result, source, share, path: file, seconds: shown.seconds, maxUnreadable, input });
  } catch (error) {
    shown.stop();
    if (!isLeNet5Error(error) || error.code !== "LENET5_ABORTED") throw error;
    if (shown.total === 0) throw error; // it had not begun
    output.log(`Interrupted after ${grouped(kept)} of ${grouped(shown.total)} images, which are kept beside ${file}.`);
    output.log(`Go on with: ${thisCommand({ without: "--restart" })}`);
    throw withPartialResult(error, { images: shown.total, done: kept });
  }
}

/** Whether a path leads to a file. What is the matter with the path is told by whoever reads it. */
async function isSameFile(path: string, { dev, ino }: Stats): Promise<boolean> {
  return await stat(path).then(
    (found) => found.dev === dev && found.ino === ino,
    () => false,
  );
}

function formatOf(
  { output, topK }: BatchCommandOptions,
  formats: Readonly<Record<string, Format>>,
): { path: string; ending: string; format: Format } {
  const what = `a name that ends in ${Object.keys(formats).join(", ")}`;
  if (output === undefined) throw usageError("INVALID_OPTION", what, "--output", undefined);
  const ending = extname(output);
  const format = own(formats, ending.toLowerCase());
  if (format === undefined) throw usageError("INVALID_OPTION", what, "--output", output);
  if (format === "parquet" && topK !== undefined) {
    throw usageError(
      "INVALID_OPTION",
      "a .jsonl file (because of --top-k; --probabilities has all)",
      "--output",
      output,
    );
  }
  return { path: output, ending, format };
}

/** As many as compute, which heeds a container's share of processors. */
async function defaultWorkers(): Promise<number> {
  const { getNumThreads } = await import("../runtime.js");
  return Math.min(getNumThreads(), 8);
}

/** Says now and then how far the counting is, once it takes long. */
function countingDisplay(output: Output, input: string): (images: number) => void {
  let last = performance.now();
  return (images) => {
    if (performance.now() - last < COUNTING_INTERVAL) return;
    last = performance.now();
    output.log(`Counting the images of ${input}: ${grouped(images)} so far …`);
  };
}

/** How far it is, on stderr. */
class Display {
  readonly #output: Output;
  readonly #share: Share;
  #progress: Progress | undefined;
  #begun = 0;
  #first = 0;
  #total = 0;

  constructor(output: Output, share: Share) {
    this.#output = output;
    this.#share = share;
  }

  /** Images of the share. */
  get total(): number {
    return this.#total;
  }

  /** Since the first image of this run. */
  get seconds(): number {
    return (performance.now() - this.#begun) / 1000;
  }

  update(done: number, total: number): void {
    if (this.#progress === undefined) this.#begin(done, total);
    const rate = (done - this.#first) / Math.max(this.seconds, 1e-3);
    this.#progress!.update(done, `${grouped(done)} of ${grouped(total)}, ${grouped(rate)} images/s`);
  }

  stop(): void {
    this.#progress?.stop();
  }

  #begin(done: number, total: number): void {
    const { index, count } = this.#share;
    const part = count === 1 ? "" : ` (part ${index} of ${count}, counted from 0)`;
    this.#output.log(
      done === 0
        ? `Predicting ${grouped(total)} images${part}`
        : `Going on after ${grouped(done)} of ${grouped(total)} images${part}`,
    );
    this.#begun = performance.now();
    this.#first = done;
    this.#total = total;
    this.#progress = this.#output.progress("Predicting", total);
  }
}

interface Told extends BatchResult {
  source: Source;
  share: Share;
  path: string;
  input: string;
  seconds: number;
  maxUnreadable: number;
}

/** What came of it. @throws LENET5_IMAGE_UNREADABLE where more images than may be could not be read */
function tell(output: Output, told: Told): void {
  const { images, unreadable, resumedAt, source, share, path, input, seconds, maxUnreadable } = told;
  const imagesPerSecond = (images - resumedAt) / Math.max(seconds, 1e-3);
  const { kind, count, digest, ignored } = source;
  const without = unreadable === 0 ? "" : `, ${grouped(unreadable)} of which could not be read`;
  output.print(`Predicted ${grouped(images)} images${without}, ${grouped(imagesPerSecond)} a second. Wrote ${path}`);
  if (ignored > 0) output.print(`Passed over ${grouped(ignored)} files whose names are not those of images.`);
  const result = {
    ...{ output: path, images, unreadable, resumedAt, seconds, imagesPerSecond },
    ...{
      shard: { index: share.index, count: share.count },
      input: { path: input, kind, images: count, ignored, digest },
    },
  };
  if (unreadable > maxUnreadable) {
    const received = `${unreadable} of ${images}, whose rows have the reasons`;
    const message = `Expected at most ${maxUnreadable} unreadable images for ${input} but received ${received}`;
    throw withPartialResult(new LeNet5Error("IMAGE_UNREADABLE", message), result);
  }
  output.finish(result);
}
