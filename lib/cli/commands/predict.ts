// `lenet5 predict`
import type { Command } from "commander";
import { LeNet5Error } from "../../errors.js";
import { addExamples, perform, withPartialResult } from "../command.js";
import { addModelOption, openModel } from "../model.js";
import { addComputeOptions, addJsonOption, type ComputeOptions } from "../options.js";
import { percent, table } from "../output.js";

interface PredictOptions extends ComputeOptions {
  model: string;
}

interface FilePrediction {
  file: string;
  /** Index of the class. */
  label: number;
  className: string;
  probability: number;
  probabilities: number[];
}

/** Adds the command. */
export function predictCommand(program: Command): void {
  const command = program
    .command("predict")
    .description(
      "Classify image files of any size and format. An unreadable file is named, the others are still classified, and the exit status is 1.",
    )
    .argument("<image...>", "image files");
  addJsonOption(addComputeOptions(addModelOption(command)));
  addExamples(
    command,
    "lenet5 predict --model lenet5.pt seven.png photo-of-a-three.jpg",
    "lenet5 predict --model lenet5.pt --json *.png",
  );
  perform<PredictOptions>(command, async ({ options, operands, output }) => {
    using model = await openModel(options);
    const { decodeDigits } = await import("../../data/image.js");
    const unreadable = new Map<number, LeNet5Error>();
    const pixels = await decodeDigits(operands, { onUnreadable: (error, index) => unreadable.set(index, error) });
    const { labels, probabilities, numClasses, classNames } = await model.predict(pixels);
    const predictions: FilePrediction[] = [];
    for (const [index, file] of operands.entries()) {
      if (unreadable.has(index)) continue;
      const row = Array.from(probabilities.subarray(index * numClasses, (index + 1) * numClasses));
      const label = labels[index]!;
      predictions.push({ file, label, className: classNames[label]!, probability: row[label]!, probabilities: row });
    }
    if (predictions.length > 0) {
      output.print(
        table(
          ["file", "class", "probability"],
          predictions.map((p) => [p.file, p.className, percent(p.probability)]),
        ),
      );
    }
    if (unreadable.size > 0)
      throw withPartialResult(summary([...unreadable.values()], operands.length), { predictions });
    output.finish({ predictions });
  });
}

/** One error for all files that could not be read. */
function summary(errors: LeNet5Error[], total: number): LeNet5Error {
  const [first] = errors as [LeNet5Error];
  if (errors.length === 1) return first;
  return new LeNet5Error("IMAGE_UNREADABLE", `${first.message} (and ${errors.length - 1} more of ${total} files)`, {
    cause: errors,
  });
}
