// Predicts the images of an input, or a share of them, into a file.
//
// Problem: decoding costs more than the network, memory must not grow with the input, and the rows have to come in the input's
// order. Resolution: a few batches are under way at a time, decoded by threads and predicted by the model's own, and are taken
// in the order in which they were begun; the next one begins when the first is written.
import { createHash } from "node:crypto";
import { abortable, throwIfAborted } from "../abort.js";
import { memoryOf } from "../is.js";
import type { LeNet5 } from "../lenet5.js";
import { withLock } from "../lock.js";
import type { Answers, Columns, Encoder, UnreadableImages } from "./answers.js";
import { Decoders } from "./decoders.js";
import { JsonLinesEncoder } from "./json-lines.js";
import { ParquetEncoder } from "./parquet.js";
import { PartialOutput, type Progress, type RunDescription } from "./partial-output.js";
import { rangeOf, type Share } from "./share.js";
import type { Batch, Source } from "./source.js";

/** The formats of an output, by the ending of its name. */
export const FORMATS = { ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet" } as const;

/** A format of an output. */
export type Format = (typeof FORMATS)[keyof typeof FORMATS];

/** What {@link predictInto} is to do. */
export interface BatchRun {
  readonly model: LeNet5;
  readonly source: Source;
  readonly share: Share;
  /** A file's path, with no link in its last part. */
  readonly output: string;
  readonly format: Format;
  /** Whether each row has the probabilities of all classes. */
  readonly probabilities: boolean;
  /** Whether each row has so many most probable classes; JSON Lines alone. */
  readonly topK?: number | undefined;
  /** Threads that decode. */
  readonly workers: number;
  /** Throws away what an earlier run has left. */
  readonly restart: boolean;
  readonly signal: AbortSignal;
  /** Called when another process seems to be at it. */
  readonly onWait?: () => void;
  /** Called at the beginning and after each batch, with the images done and those of the share. */
  readonly onProgress?: (done: number, total: number) => void;
  /** Called where the run ends early, with the images that are kept. */
  readonly onKept?: (images: number) => void;
}

/** How a run ended. */
export interface BatchResult {
  /** Images of the share: rows of the output. */
  readonly images: number;
  /** How many of them could not be read. */
  readonly unreadable: number;
  /** How many had been done by an earlier run. */
  readonly resumedAt: number;
}

/** Batches under way, beside two for each thread that decodes. */
const AHEAD = 2;
/** Milliseconds after which what was written is made to count. */
const COMMIT_EVERY = 1000;

/**
 * Predicts every image of the share once, in order, each with a row of its own, be it unreadable.
 *
 * What is done when the run ends early, by the signal, an error or SIGKILL, is kept beside the output, and the same call goes
 * on there; the output takes its place when it is whole.
 * @throws LENET5_ABORTED, LENET5_FILE_BUSY, LENET5_FILE_WRITE_FAILED, LENET5_FILE_READ_FAILED where it is not about one
 *   image, LENET5_DATA_CORRUPT, LENET5_CHECKPOINT_MISMATCH, LENET5_CHECKPOINT_CORRUPT, and what `predict` throws
 */
export async function predictInto(run: BatchRun): Promise<BatchResult> {
  const { output, restart, signal, onWait, onKept } = run;
  return await withLock(output, { wait: "for-the-dead", signal, ...(onWait && { onWait }) }, async (held, certain) => {
    const partial = await PartialOutput.open(output, describe(run), { restart, certain, signal: held });
    try {
      return await write({ ...run, signal: held }, partial);
    } catch (error) {
      // What is written already need not be done again; where it cannot be recorded, that is not what is told.
      await partial.commit().catch(() => {});
      onKept?.(partial.recorded.images);
      throw error;
    } finally {
      await partial.close().catch(() => {});
    }
  });
}

async function write(run: BatchRun, partial: PartialOutput): Promise<BatchResult> {
  const { source, share, signal, onProgress } = run;
  const before = partial.recorded;
  const { from, to } = rangeOf(share, source.count);
  const total = to - from;
  let done = before.images;
  let unreadable = before.unreadable;
  onProgress?.(done, total);
  if (!before.whole) {
    const encoder = encoderFor(run, before);
    let committed = performance.now();
    for await (const answers of answersOf(run, from + done, to)) {
      for (const chunk of encoder.add(answers)) await partial.append(chunk);
      if (performance.now() - committed >= COMMIT_EVERY) {
        await partial.commit();
        committed = performance.now();
      }
      done += answers.count;
      unreadable += answers.unreadable.size;
      onProgress?.(done, total);
    }
    throwIfAborted(signal);
    await partial.end(encoder.end());
  }
  await partial.finish();
  return { images: done, unreadable, resumedAt: before.images };
}

/** The answers of the images `from` … `to` − 1, in order. */
async function* answersOf(run: BatchRun, from: number, to: number): AsyncGenerator<Answers> {
  const { source, workers, signal } = run;
  if (from >= to) return;
  const decoders = source.kind === "idx" ? undefined : new Decoders(source.root, workers);
  const most = AHEAD + 2 * (decoders === undefined ? 1 : workers);
  const underWay: Promise<Answers>[] = [];
  try {
    for await (const batch of source.batches(from, to, signal)) {
      const answers = answer(run, batch, decoders);
      // Awaited in its turn; until then an error of it is nobody's.
      answers.catch(() => {});
      underWay.push(answers);
      if (underWay.length === most) yield await underWay.shift()!;
    }
    while (underWay.length > 0) yield await underWay.shift()!;
  } finally {
    await decoders?.end();
  }
}

const NONE: UnreadableImages = new Map();

async function answer({ model, topK, signal }: BatchRun, batch: Batch, decoders?: Decoders): Promise<Answers> {
  const names = "names" in batch ? batch.names : undefined;
  const decoded = "names" in batch ? await abortable(decoders!.decode(batch.names), signal) : batch;
  const { pixels } = decoded;
  const unreadable =
    "unreadable" in decoded && decoded.unreadable.length > 0
      ? new Map(decoded.unreadable.map(([index, code, message]) => [index, { code, message }]))
      : NONE;
  throwIfAborted(signal);
  // Not the asynchronous one, which joins batches as they happen to come: by which the last digits would differ between runs.
  const prediction = model.predictSync({ pixels }, topK === undefined ? {} : { topK });
  const { labels, probabilities, count, top } = prediction;
  return { first: batch.first, count, names, unreadable, labels, probabilities, top };
}

function encoderFor({ format, source, model, probabilities }: BatchRun, before: Progress): Encoder {
  const columns: Columns = { named: source.kind !== "idx", classNames: model.classNames, probabilities };
  return format === "parquet" ? new ParquetEncoder(columns, before) : new JsonLinesEncoder(columns);
}

/** What a run that goes on must have in common with the one that began. */
function describe({ source, share, model, format, probabilities, topK }: BatchRun): RunDescription {
  return {
    format,
    probabilities,
    "top-k": topK ?? 0,
    share: [share.index, share.count],
    model: digestOf(model),
    input: [source.kind, source.count, source.digest],
  };
}

/** Of all that a model's answers depend on: whichever file it comes from, the same model has the same one. */
function digestOf(model: LeNet5): string {
  const { numClasses, classNames, normalization } = model;
  const hash = createHash("sha256").update(JSON.stringify({ numClasses, classNames, normalization }));
  for (const { data } of Object.values(model.stateDict())) {
    const { buffer, byteOffset } = memoryOf(data);
    hash.update(new Uint8Array(buffer, byteOffset, data.byteLength));
  }
  return hash.digest("hex");
}
