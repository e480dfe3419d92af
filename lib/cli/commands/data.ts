// `lenet5 data`: fetch, export, synthesise, show
import { createHash } from "node:crypto";
import { type Dataset, subsetOf } from "../../data/dataset.js";
import { Random } from "../../data/random.js";
import { writeFileAtomically } from "../../files.js";
import { addExamples, perform } from "../command.js";
import type { Command } from "../commander.js";
import {
  addDataOptions,
  type DataOptions,
  drawSynthetic,
  inClassesOf,
  loadData,
  loadNamed,
  loadPart,
  type Part,
} from "../data-source.js";
import { usageError } from "../failure.js";
import { openModel } from "../model.js";
import {
  addComputeOptions,
  addJsonOption,
  type ComputeOptions,
  textOption,
  wholeOption,
  wordOption,
} from "../options.js";
import { grouped } from "../output.js";
import { drawInTerminal } from "../terminal-digits.js";

/** Adds the command and its sub-commands. */
export function dataCommand(program: Command): void {
  const data = program.command("data").description("Fetch, write, draw and look at data sets.");
  fetchCommand(data);
  exportCommand(data);
  synthesiseCommand(data);
  showCommand(data);
  addExamples(
    data,
    "lenet5 data fetch mnist",
    "lenet5 data synthesise --output digits",
    "lenet5 data show --data digits",
  );
}

function fetchCommand(data: Command): void {
  const command = data
    .command("fetch")
    .description(
      "Make sure that data sets are there: in LENET5_DATA_DIR, in the user's cache, or by a download into it.",
    )
    .argument("[name...]", "mnist, fashion-mnist", ["mnist"]);
  addJsonOption(command);
  addExamples(command, "lenet5 data fetch mnist fashion-mnist");
  perform(
    command,
    async ({ operands, output, signal }) => {
      const names = operands.length === 0 ? ["mnist"] : operands;
      const sets: { name: string; train: number; test: number }[] = [];
      for (const name of names) {
        if (name !== "mnist" && name !== "fashion-mnist")
          throw usageError("INVALID_ARGUMENT", "mnist or fashion-mnist", "data fetch", name);
      }
      for (const name of names as ("mnist" | "fashion-mnist")[]) {
        const { train, test } = await loadNamed(name, output, signal);
        sets.push({ name, train: train.count, test: test.count });
        output.print(`${name}: ${grouped(train.count)} training and ${grouped(test.count)} test images are there`);
      }
      output.finish({ datasets: sets });
    },
    "Stopping; the next call goes on from here.",
  );
}

interface ExportOptions extends DataOptions {
  trainCount: number;
  testCount: number;
  output: string;
}

function exportCommand(data: Command): void {
  const command = data
    .command("export")
    .description("Write a data set as four IDX files, which every reader of MNIST takes; or the first images of it.");
  const count = (flags: string, what: string) => wholeOption(flags, what, 1, 10_000_000).default(10_000_000, "all");
  addDataOptions(command)
    .addOption(count("--train-count <n>", "at most so many training images"))
    .addOption(count("--test-count <n>", "at most so many test images"))
    .addOption(textOption("--output <dir>", "folder for the four files").makeOptionMandatory());
  addJsonOption(command);
  addExamples(command, "lenet5 data export --data mnist --train-count 6000 --test-count 1000 --output small");
  perform<ExportOptions>(command, async ({ options, output, signal }) => {
    const loaded = await loadData(options, output, signal);
    const train = firstOf(loaded.train, options.trainCount);
    const test = firstOf(loaded.test, options.testCount);
    const idx = await import("../../data/idx.js");
    const files = await idx.writeDatasets(options.output, { train, test });
    const digest = createHash("sha256");
    for (const { images, labels } of [train, test]) digest.update(images).update(Uint8Array.from(labels));
    output.print(`Wrote ${grouped(train.count)} training and ${grouped(test.count)} test images to ${options.output}`);
    output.finish({
      output: options.output,
      files,
      train: train.count,
      test: test.count,
      digest: digest.digest("hex"),
    });
  });
}

interface SynthesiseOptions {
  count: number;
  testCount: number;
  seed: number;
  output: string;
}

function synthesiseCommand(data: Command): void {
  const command = data
    .command("synthesise")
    .alias("synthesize")
    .description("Draw digits from vector strokes and write them as IDX files, which every reader of MNIST takes.")
    .addOption(wholeOption("--count <n>", "training images", 10, 10_000_000).default(60_000))
    .addOption(wholeOption("--test-count <n>", "test images", 10, 10_000_000).default(10_000))
    .addOption(wholeOption("--seed <n>", "the same seed draws the same digits", 0).default(0))
    .addOption(textOption("--output <dir>", "folder for the four files").makeOptionMandatory());
  addJsonOption(command);
  addExamples(command, "lenet5 data synthesise --count 60000 --seed 1 --output digits", "lenet5 train --data digits");
  perform<SynthesiseOptions>(
    command,
    async ({ options, output, signal }) => {
      const { count, testCount, seed } = options;
      const sets = await drawSynthetic({ trainCount: count, testCount, seed }, output, signal);
      const idx = await import("../../data/idx.js");
      const files = await idx.writeDatasets(options.output, sets);
      output.print(
        `Wrote ${grouped(count)} training and ${grouped(testCount)} test digits:\n${files.map((file) => `  ${file}`).join("\n")}`,
      );
      output.finish({ files, train: count, test: testCount });
    },
    "Stopping; nothing is written.",
  );
}

interface ShowOptions extends DataOptions, ComputeOptions {
  part?: Part;
  count: number;
  seed?: number;
  model?: string;
  mistakes?: boolean;
  output?: string;
}

function showCommand(data: Command): void {
  const command = data
    .command("show")
    .description(
      "Show images with their classes, in the terminal and as a PNG contact sheet; with a model, its answers too.",
    );
  addDataOptions(command, "mnist")
    .addOption(wordOption("--part <part>", "which images", ["test", "train", "all"]))
    .addOption(wholeOption("--count <n>", "number of images, at most as many as fit on one sheet", 1, 2500).default(20))
    .addOption(wholeOption("--seed <n>", "take images at random (default: the first ones)", 0))
    .addOption(textOption("--model <file>", "classify them, and mark the mistakes"))
    .option("--mistakes", "with --model: only images that it gets wrong")
    .addOption(textOption("--output <file>", "also write a contact sheet (PNG)"));
  addJsonOption(addComputeOptions(command));
  addExamples(
    command,
    "lenet5 data show --data mnist --count 100 --output sheet.png",
    "lenet5 data show --data mnist --model lenet5.pt --mistakes --output mistakes.png",
  );
  perform<ShowOptions>(command, async ({ options, output, signal }) => {
    if (options.mistakes && options.model === undefined) {
      throw usageError("INVALID_OPTION", "a file (because of --mistakes)", "--model", options.model);
    }
    await output.leaveStdoutTo(options.output);
    let dataset = inOrder(await loadPart(options, output, signal), options.seed);
    let predicted: Int32Array | undefined;
    if (options.model !== undefined) {
      using model = await openModel({ ...options, model: options.model }, signal);
      dataset = inClassesOf(model.classNames, dataset);
      if (!options.mistakes) dataset = firstOf(dataset, options.count);
      predicted = (await model.predict(dataset.images, { signal })).labels;
      if (options.mistakes) {
        const labels = predicted;
        const wrong = Array.from(labels.keys()).filter((i) => labels[i] !== dataset.labels[i]);
        if (wrong.length === 0) output.log(`No mistakes among ${grouped(dataset.count)} images.`);
        dataset = subsetOf(dataset, wrong.slice(0, options.count));
        predicted = Int32Array.from(wrong.slice(0, options.count), (i) => labels[i]!);
      }
    }
    dataset = firstOf(dataset, options.count);
    output.print(drawInTerminal(dataset, predicted));
    if (options.output !== undefined && dataset.count > 0) {
      const { contactSheet } = await import("../../data/contact-sheet.js");
      await writeFileAtomically(
        options.output,
        await contactSheet(dataset, { signal, ...(predicted === undefined ? {} : { predictions: predicted }) }),
        { signal },
      );
      output.print(`Wrote ${options.output}`);
    }
    output.finish({
      count: dataset.count,
      classNames: dataset.classNames,
      labels: Array.from(dataset.labels),
      ...(predicted === undefined ? {} : { predictions: Array.from(predicted) }),
      ...(options.output === undefined ? {} : { output: options.output }),
    });
  });
}

function inOrder(dataset: Dataset, seed: number | undefined): Dataset {
  if (seed === undefined) return dataset;
  return subsetOf(dataset, new Random(seed).shuffle(Array.from({ length: dataset.count }, (_, i) => i)));
}

function firstOf(dataset: Dataset, count: number): Dataset {
  return dataset.count <= count
    ? dataset
    : subsetOf(
        dataset,
        Array.from({ length: count }, (_, i) => i),
      );
}
