// `lenet5 predict`
import { addAbortSignal } from "node:stream";
import { buffer } from "node:stream/consumers";
import { abortable } from "../../abort.js";
import { LeNet5Error } from "../../errors.js";
import type { TopClass } from "../../lenet5/top-classes.js";
import { addBatchOptions, type BatchOptions, batchOptionOf, predictInput } from "../batch-prediction.js";
import { addExamples, perform, withPartialResult } from "../command.js";
import type { Command } from "../commander.js";
import { usageError } from "../failure.js";
import { addModelOption, openModel } from "../model.js";
import { addComputeOptions, addJsonOption, type ComputeOptions, wholeOption } from "../options.js";
import { percent, table } from "../output.js";

interface PredictOptions extends ComputeOptions, BatchOptions {
  model: string;
  topK?: number;
}

interface FilePrediction {
  file: string;
  /** Index of the class. */
  label: number;
  className: string;
  probability: number;
  probabilities: number[];
  /** With --top-k: the most probable classes, in order. */
  top?: TopClass[];
}

/** Stands for the image on standard input, as other programs have it. */
const STDIN = "-";

/** Adds the command. */
export function predictCommand(program: Command): void {
  const command = program
    .command("predict")
    .description(
      "Classify image files of any size and format. An unreadable file is named, the others are still classified, and the exit status is 1. With --input, any number of images into a file: what an earlier run of the same command has left unfinished is gone on with.",
    )
    .argument("[image...]", "image files; - is the image on standard input");
  addModelOption(command).addOption(wholeOption("--top-k <n>", "show the n most probable classes", 1, 10_000));
  addBatchOptions(command);
  addJsonOption(addComputeOptions(command));
  addExamples(
    command,
    "lenet5 predict --model lenet5.pt seven.png photo-of-a-three.jpg",
    "lenet5 predict --model lenet5.pt --json *.png",
    "curl -s https://example.org/seven.png | lenet5 predict --model lenet5.pt --top-k 3 -",
    "lenet5 predict --model lenet5.pt --input scans/ --output scans.jsonl",
    "lenet5 predict --model lenet5.pt --input scans.txt --output scans.parquet --shards 4 --shard 0",
  );
  perform<PredictOptions>(command, async ({ options, operands, output, signal }) => {
    const { input: batch } = options;
    if (batch !== undefined) {
      if (operands.length > 0) throw usageError("INVALID_ARGUMENT", "no images beside --input", "image", operands[0]);
      await predictInput({ ...options, input: batch }, output, signal);
      return;
    }
    if (operands.length === 0) throw usageError("INVALID_ARGUMENT", "at least one value", "image", undefined);
    const lost = batchOptionOf(options);
    if (lost !== undefined) {
      throw usageError("INVALID_OPTION", `a folder, a list or an IDX file (because of ${lost})`, "--input", undefined);
    }
    using model = await openModel(options, signal);
    const { decodeDigits } = await import("../../data/image.js");
    const unreadable = new Map<number, LeNet5Error>();
    const input = operands.includes(STDIN) ? await standardInput(signal) : undefined;
    const sources = operands.map((file) => (file === STDIN ? { image: input! } : file));
    const pixels = await decodeDigits(sources, { onUnreadable: (error, index) => unreadable.set(index, error) });
    const { topK } = options;
    const answer = await model.predict(pixels, { signal, ...(topK === undefined ? {} : { topK }) });
    const { labels, probabilities, numClasses, classNames, top } = answer;
    const predictions: FilePrediction[] = [];
    for (const [index, file] of operands.entries()) {
      if (unreadable.has(index)) continue;
      const row = Array.from(probabilities.subarray(index * numClasses, (index + 1) * numClasses));
      const label = labels[index]!;
      predictions.push({
        file,
        label,
        className: classNames[label]!,
        probability: row[label]!,
        probabilities: row,
        ...(top === undefined ? {} : { top: top[index]! }),
      });
    }
    if (predictions.length > 0) {
      output.print(
        table(
          ["file", "class", "probability", ...(top === undefined ? [] : ["next"])],
          predictions.map((p) => [
            p.file,
            p.className,
            percent(p.probability),
            ...(p.top === undefined ? [] : [nextOf(p.top)]),
          ]),
        ),
      );
    }
    if (unreadable.size > 0)
      throw withPartialResult(summary([...unreadable.values()], operands.length), { predictions });
    output.finish({ predictions });
  });
}

/** What is on standard input, which nobody reads any more once the signal fires. */
function standardInput(signal: AbortSignal): Promise<Buffer> {
  return abortable(buffer(addAbortSignal(signal, process.stdin)), signal);
}

/** The runners-up on one line. */
function nextOf(top: readonly TopClass[]): string {
  return top
    .slice(1)
    .map(({ className, probability }) => `${className} ${percent(probability)}`)
    .join(", ");
}

/** One error for all files that could not be read. */
function summary(errors: LeNet5Error[], total: number): LeNet5Error {
  const [first] = errors as [LeNet5Error];
  if (errors.length === 1) return first;
  return new LeNet5Error("IMAGE_UNREADABLE", `${first.message} (and ${errors.length - 1} more of ${total} files)`, {
    cause: errors,
  });
}
