// `lenet5 evaluate`
import type { Evaluation } from "../../lenet5/results.js";
import { addExamples, perform } from "../command.js";
import type { Command } from "../commander.js";
import { addDataOptions, type DataOptions, inClassesOf, loadPart, type Part } from "../data-source.js";
import { addModelOption, openModel } from "../model.js";
import { addComputeOptions, addJsonOption, type ComputeOptions, wordOption } from "../options.js";
import { grouped, type Output, percent, table } from "../output.js";

interface EvaluateOptions extends DataOptions, ComputeOptions {
  model: string;
  part?: Part;
}

/** Most classes for which the confusion matrix is printed for people. */
const PRINTED_CLASSES = 20;

/** Adds the command. */
export function evaluateCommand(program: Command): void {
  const command = program
    .command("evaluate")
    .description("Measure a model: accuracy, loss, precision and recall of each class, confusion matrix.");
  addModelOption(command);
  addDataOptions(command).addOption(
    wordOption("--part <part>", "which images (default: the test set where there is one, else all)", [
      "test",
      "train",
      "all",
    ]),
  );
  addJsonOption(addComputeOptions(command));
  addExamples(command, "lenet5 evaluate --model lenet5.pt --data mnist");
  perform<EvaluateOptions>(command, async ({ options, output, signal }) => {
    const evaluation = await measure(options, output, signal);
    const { accuracy, loss, count, precision, recall, f1, perClass, confusion } = evaluation;
    output.print(`Accuracy ${percent(accuracy)}, loss ${loss.toFixed(4)} on ${grouped(count)} images`);
    if (perClass.length <= PRINTED_CLASSES) output.print(confusionTable(evaluation));
    output.print(classTable(evaluation));
    output.finish({ accuracy, loss, count, precision, recall, f1, perClass, ...(confusion && { confusion }) });
  });
}

async function measure(options: EvaluateOptions, output: Output, signal: AbortSignal): Promise<Evaluation> {
  using model = await openModel(options, signal);
  const dataset = inClassesOf(model.classNames, await loadPart(options, output, signal));
  const progress = output.progress("Evaluating", dataset.count);
  try {
    return await model.evaluate(dataset, { signal, onProgress: (done) => progress.update(done) });
  } finally {
    progress.stop();
  }
}

function confusionTable({ confusion, perClass }: Evaluation): string {
  const names = perClass.map(({ className }) => className);
  // There for few classes, which are the ones that it is printed for.
  const rows = (confusion ?? []).map((row, actual) => [
    names[actual]!,
    ...row.map((count) => (count === 0 ? "·" : String(count))),
  ]);
  return table(["actual \\ predicted", ...names], rows);
}

function classTable({ perClass, precision, recall, f1, count }: Evaluation): string {
  const line = (name: string, ...shares: number[]) => [name, ...shares.map(percent)];
  const rows = perClass.map((each) => [
    ...line(each.className, each.precision, each.recall, each.f1),
    grouped(each.support),
  ]);
  return table(
    ["class", "precision", "recall", "F1", "images"],
    [...rows, [...line("mean of the classes", precision, recall, f1), grouped(count)]],
  );
}
