// `lenet5 evaluate`
import type { Command } from "commander";
import type { Evaluation } from "../../lenet5/results.js";
import { addExamples, perform } from "../command.js";
import { addDataOptions, type DataOptions, inClassesOf, loadPart, type Part } from "../data-source.js";
import { addModelOption, openModel } from "../model.js";
import { addComputeOptions, addJsonOption, type ComputeOptions, wordOption } from "../options.js";
import { grouped, percent, table } from "../output.js";

interface EvaluateOptions extends DataOptions, ComputeOptions {
  model: string;
  part?: Part;
}

/** Most classes for which the confusion matrix is printed for people. */
const PRINTED_CLASSES = 20;

/** Adds the command. */
export function evaluateCommand(program: Command): void {
  const command = program.command("evaluate").description("Measure a model: accuracy, loss and confusion matrix.");
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
  perform<EvaluateOptions>(command, async ({ options, output }) => {
    using model = await openModel(options);
    const dataset = inClassesOf(model.classNames, await loadPart(options, output));
    const evaluation = await model.evaluate(dataset);
    output.print(
      `Accuracy ${percent(evaluation.accuracy)}, loss ${evaluation.loss.toFixed(4)} on ${grouped(evaluation.count)} images`,
    );
    if (model.numClasses <= PRINTED_CLASSES) output.print(confusionTable(evaluation, model.classNames));
    const { accuracy, loss, count, confusion } = evaluation;
    output.finish({ accuracy, loss, count, confusion });
  });
}

function confusionTable({ confusion }: Evaluation, classNames: readonly string[]): string {
  const rows = confusion.map((row, actual) => {
    const total = row.reduce((sum, count) => sum + count, 0);
    const recall = total === 0 ? "" : percent(row[actual]! / total);
    return [classNames[actual]!, ...row.map((count) => (count === 0 ? "·" : String(count))), recall];
  });
  return table(["actual \\ predicted", ...classNames, "right"], rows);
}
