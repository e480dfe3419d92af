// `lenet5 train`
import { rm, rmdir } from "node:fs/promises";
import { extname, join } from "node:path";
import { type Dataset, splitDataset } from "../../data/dataset.js";
import { isLeNet5Error, LeNet5Error } from "../../errors.js";
import { CHECKPOINT_NAME, checkpointEpoch } from "../../lenet5/checkpoint.js";
import type { EpochEvent, FitOptions } from "../../lenet5/fit-options.js";
import { AUGMENTED_RECIPE, DEFAULT_RECIPE, type Recipe } from "../../lenet5/recipe.js";
import type { Evaluation } from "../../lenet5/results.js";
import type { LeNet5 } from "../../lenet5.js";
import type { HyperParameter, SummaryWriter, TrainingLog } from "../../tensorboard.js";
import { packageVersion } from "../../version.js";
import { addExamples, perform, withPartialResult } from "../command.js";
import type { Command, Option } from "../commander.js";
import type { ComparedRuns } from "../compared-runs.js";
import { addDataOptions, type DataOptions, loadData } from "../data-source.js";
import { usageError } from "../failure.js";
import {
  addComputeOptions,
  addJsonOption,
  type ComputeOptions,
  fromEnvironment,
  numberOption,
  textOption,
  textsOption,
  wholeOption,
  wordOption,
} from "../options.js";
import { grouped, type Output, type Progress, percent, table } from "../output.js";
import { checkPlace } from "../output-place.js";
import { thisCommand } from "../shell-words.js";
import { FORMAT_OF } from "./export.js";

/** What is left out is the recipe's. */
interface TrainOptions extends DataOptions, ComputeOptions {
  augment?: boolean;
  epochs?: number;
  batchSize?: number;
  learningRate?: number;
  schedule?: "constant" | "one-cycle";
  beta1?: number;
  beta2?: number;
  epsilon?: number;
  weightDecay?: number;
  classWeights?: "balanced";
  earlyStopping?: number;
  validationSplit?: number;
  seed: number;
  output: string;
  checkpointDir?: string;
  resume?: boolean;
  logdir?: string;
  compare?: string[];
}

/** Early stopping chooses among epochs, which the test set must have no part in. */
const EARLY_STOPPING_SPLIT = 0.1;
/** The same images are held back whatever the run's seed, so that runs can be compared. */
const SPLIT_SEED = 0;

/** Adds the command. */
export function trainCommand(program: Command): void {
  const command = program
    .command("train")
    .description("Train LeNet-5 and write it as TorchScript, which every PyTorch tool can load.");
  addDataOptions(command, "mnist");
  // A flag takes no default from the environment: there, any text at all, "0" too, would switch it on.
  command.option("--augment", "distort each training image anew in every epoch (shift, turn, stretch, slant, bend)");
  for (const option of recipe()) command.addOption(fromEnvironment(option));
  addComputeOptions(command)
    .addOption(textOption("--output <file>", "the model's file").default("lenet5.pt"))
    .addOption(
      textOption(
        "--checkpoint-dir <dir>",
        "keep a checkpoint after each epoch here (<output>.checkpoint, until training ends)",
      ),
    )
    .addOption(
      textOption("--logdir <dir>", "write curves, weights, mistakes and the configuration here, for TensorBoard"),
    )
    .addOption(
      textsOption(
        "--compare <dirs...>",
        "put the runs in these folders beside this one: their event files are copied to --logdir, each under its folder's name; this one goes to libtorch there, in place of an earlier one",
      ),
    )
    .option("--resume", "continue from the checkpoint of an interrupted run with the same settings");
  addJsonOption(command);
  addExamples(
    command,
    "lenet5 train --data mnist --epochs 5 --seed 42 --output lenet5.pt",
    "lenet5 train --data mnist --augment --output lenet5.pt",
    "lenet5 train --data mnist --logdir runs/compared --compare runs/pytorch runs/tensorflow",
    "lenet5 train --data photos/ --epochs 20 --output pets.pt --checkpoint-dir run1",
    "lenet5 train --data photos/ --epochs 20 --output pets.pt --checkpoint-dir run1 --resume",
  );
  perform<TrainOptions>(
    command,
    async ({ options, output, signal }) => await train(options, output, signal),
    "Stopping within this batch; press Ctrl-C again to end at once.",
  );
}

/** How it is trained: the API's own recipes, of which any part may be given. */
function recipe(): Option[] {
  const plain = DEFAULT_RECIPE;
  const augmented = AUGMENTED_RECIPE;
  /** A description with its default; commander would not know of one that depends on --augment. */
  const or = (text: string, of: (recipe: Recipe) => number | string): string => {
    const other = of(augmented) === of(plain) ? "" : `, with --augment ${of(augmented)}`;
    return `${text} (default: ${of(plain)}${other})`;
  };
  const decay = (flags: string, moment: string, index: 0 | 1) =>
    numberOption(
      flags,
      or(`Adam's decay of the ${moment} moment`, ({ betas }) => betas[index]),
      "in 0 ≤ beta < 1",
      (x) => x >= 0 && x < 1,
    );
  const schedule = wordOption("--schedule <name>", "course of the learning rate", ["constant", "one-cycle"]);
  schedule.description = or(schedule.description, (recipe) => recipe.schedule);
  return [
    wholeOption(
      "--epochs <n>",
      or("passes over the training set", ({ epochs }) => epochs),
      1,
      1_000_000,
    ),
    wholeOption(
      "--batch-size <n>",
      or("images a step", ({ batchSize }) => batchSize),
      1,
      1_000_000,
    ),
    numberOption(
      "--learning-rate <x>",
      or("Adam's learning rate; one-cycle's peak", ({ learningRate }) => learningRate),
      "above 0",
      (x) => x > 0,
    ),
    schedule,
    decay("--beta1 <x>", "first", 0),
    decay("--beta2 <x>", "second", 1),
    numberOption(
      "--epsilon <x>",
      or("Adam's epsilon", ({ epsilon }) => epsilon),
      "above 0",
      (x) => x > 0,
    ),
    numberOption(
      "--weight-decay <x>",
      or("L2 penalty", ({ weightDecay }) => weightDecay),
      "of at least 0",
      (x) => x >= 0,
    ),
    wordOption("--class-weights <kind>", "weigh rare classes more in the loss", ["balanced"]),
    wholeOption(
      "--early-stopping <n>",
      "end when the validation loss has not fallen for n epochs, and keep the best epoch's weights",
      1,
      1_000_000,
    ),
    numberOption(
      "--validation-split <x>",
      `share of each class of the training set that is held back to validate with, in place of the test set (default: none, with --early-stopping ${EARLY_STOPPING_SPLIT})`,
      "above 0 and below 1",
      (x) => x > 0 && x < 1,
    ),
    wholeOption("--seed <n>", "seed of the initial weights, the shuffling and the distortions", 0).default(42),
  ];
}

async function train(options: TrainOptions, output: Output, signal: AbortSignal): Promise<number> {
  const run: Run = { epochs: [], checkpoint: undefined, images: 0, places: {} };
  requireTorchScriptName(options.output);
  try {
    return await fitAndSave(options, output, run, signal);
  } catch (error) {
    if (isLeNet5Error(error) && error.code === "LENET5_ABORTED") {
      for (const line of await whereItStands(options, run)) output.log(line);
      if (run.checkpoint !== undefined) throw withPartialResult(error, { checkpoint: run.checkpoint });
    }
    throw error;
  }
}

/** What is known of a training when it ends, however it ends. */
interface Run {
  epochs: EpochEvent[];
  /** The last checkpoint written. */
  checkpoint: string | undefined;
  /** Images of an epoch. */
  images: number;
  /** Where it is logged, and what beside it. */
  places: { logdir?: string; compared?: Record<string, string> };
}

async function fitAndSave(options: TrainOptions, output: Output, run: Run, signal: AbortSignal): Promise<number> {
  await output.leaveStdoutTo(options.output);
  const place = await checkPlace(options.output);
  const compared = await checkCompared(options);
  const logdir = compared?.ours ?? options.logdir;
  if (logdir !== undefined) run.places = { logdir, ...(compared && { compared: compared.places }) };
  const writer = await openLog(logdir);
  // Where the training fails, that is what is told: not what closing met after it.
  await using _closed = { [Symbol.asyncDispose]: async () => await writer?.close().catch(() => {}) };
  const { train, validation, test } = await loadSets(options, output, signal);
  run.images = train.count;
  const { LeNet5, setNumThreads } = await import("../../index.js");
  if (options.threads !== undefined) setNumThreads(options.threads);
  const { seed, device, engine } = options;
  using model = new LeNet5({ numClasses: train.classNames.length, classNames: train.classNames, seed, device, engine });
  const held = validation === undefined ? "" : `, validating on ${grouped(validation.count)}`;
  output.log(
    `Training on ${grouped(train.count)} images of ${train.classNames.length} classes${held}, testing on ${grouped(test.count)} (${model.device}, ${model.engine} engine)`,
  );

  if (compared !== undefined && !options.resume) await compared.forgetEarlier(writer!.path);
  await compared?.place(signal);
  const log = writer && new (await import("../../tensorboard.js")).TrainingLog(writer, model, parameters(options));
  // Beside a device or a pipe there is no place for checkpoints.
  const checkpointDirectory = place.kind === "file" ? checkpointFolder(options) : options.checkpointDir;
  await follow(
    model.fit(train, {
      ...fitOptions(options),
      validation: validation ?? test,
      signal,
      ...(checkpointDirectory === undefined ? {} : { checkpointDirectory }),
    }),
    validation === undefined ? "test" : "validation",
    output,
    run,
    log && { log, train, signal },
  );
  await model.save(options.output, { signal });
  // With the weights saved, the checkpoint of a folder that nobody asked for has done its work.
  if (options.checkpointDir === undefined && checkpointDirectory !== undefined) {
    await removeCheckpoint(checkpointDirectory);
  }

  const result = await model.evaluate(test, { signal });
  await log?.finish({ test, evaluation: result, signal });
  await writer?.close();
  // What was still being trained has come further since.
  await compared?.place(signal);
  summarise(options, output, model, run, result, validation === undefined ? "test" : "validation");
  return 0;
}

/** The data set, with a part of its training images held back where that was asked for. */
async function loadSets(
  options: TrainOptions,
  output: Output,
  signal: AbortSignal,
): Promise<{ train: Dataset; validation: Dataset | undefined; test: Dataset }> {
  const { train, test } = await loadData(options, output, signal);
  const validationSplit = splitOf(options);
  if (validationSplit === undefined) return { train, validation: undefined, test };
  const parts = splitDataset(train, validationSplit, SPLIT_SEED);
  return { train: parts.train, validation: parts.test, test };
}

/** Refuses a name that says another format than the one that is written. */
function requireTorchScriptName(path: string): void {
  const format = FORMAT_OF[extname(path).toLowerCase()];
  if (format === undefined || format === "torchscript") return;
  const what = `a name for TorchScript, such as lenet5.pt (lenet5 export writes ${format} from it)`;
  throw usageError("INVALID_OPTION", what, "--output", path);
}

/** The runs to put beside this one, looked at before hours are spent on it. */
async function checkCompared({ compare, logdir }: TrainOptions): Promise<ComparedRuns | undefined> {
  if (compare === undefined) return undefined;
  if (logdir === undefined)
    throw usageError("INVALID_OPTION", "a folder (because of --compare)", "--logdir", undefined);
  const { ComparedRuns } = await import("../compared-runs.js");
  const compared = await ComparedRuns.check(compare, logdir);
  await compared.makeOurs();
  return compared;
}

/** The event file, before hours are spent on what is to go there. */
async function openLog(directory: string | undefined): Promise<SummaryWriter | undefined> {
  if (directory === undefined) return undefined;
  const { SummaryWriter } = await import("../../tensorboard.js");
  try {
    return new SummaryWriter(directory);
  } catch (error) {
    if (!isLeNet5Error(error)) throw error;
    throw new LeNet5Error("FILE_WRITE_FAILED", error.message.replace("for directory", "for --logdir"), {
      cause: error,
    });
  }
}

/** What a training depends on, for TensorBoard's table of hyper-parameters. */
function parameters(options: TrainOptions): Record<string, HyperParameter> {
  const { augment = false, data, seed, device, engine, earlyStopping } = options;
  const recipe = { ...(augment ? AUGMENTED_RECIPE : DEFAULT_RECIPE), ...fitOptions(options) };
  const { epochs, batchSize, learningRate, schedule, betas, epsilon, weightDecay } = recipe;
  const validationSplit = splitOf(options);
  return {
    ...{ data: String(data), augmentation: augment, epochs, batchSize, learningRate, schedule },
    ...{ beta1: betas[0], beta2: betas[1], epsilon, weightDecay },
    ...(options.classWeights === undefined ? {} : { classWeights: options.classWeights }),
    ...(earlyStopping === undefined ? {} : { earlyStopping }),
    ...(validationSplit === undefined ? {} : { validationSplit }),
    ...{ seed, device, engine },
  };
}

/** The share of the training images that is held back for validation. */
function splitOf({ earlyStopping, validationSplit }: TrainOptions): number | undefined {
  return validationSplit ?? (earlyStopping === undefined ? undefined : EARLY_STOPPING_SPLIT);
}

/** What was given, and nothing else: the rest is for `fit` to fill in. */
function fitOptions(options: TrainOptions): FitOptions {
  const { augment = false, beta1, beta2, earlyStopping, seed, resume = false } = options;
  const { epochs, batchSize, learningRate, schedule, epsilon, weightDecay, classWeights } = options;
  const [first, second] = (augment ? AUGMENTED_RECIPE : DEFAULT_RECIPE).betas;
  return {
    ...(epochs === undefined ? {} : { epochs }),
    ...(batchSize === undefined ? {} : { batchSize }),
    ...(learningRate === undefined ? {} : { learningRate }),
    ...(schedule === undefined ? {} : { schedule }),
    ...(epsilon === undefined ? {} : { epsilon }),
    ...(weightDecay === undefined ? {} : { weightDecay }),
    ...(classWeights === undefined ? {} : { classWeights }),
    ...(earlyStopping === undefined ? {} : { earlyStopping: { patience: earlyStopping } }),
    betas: [beta1 ?? first, beta2 ?? second],
    augmentation: augment,
    seed,
    resume,
  };
}

function checkpointFolder({ checkpointDir, output }: TrainOptions): string {
  return checkpointDir ?? `${output}.checkpoint`;
}

async function removeCheckpoint(folder: string): Promise<void> {
  // Where it cannot be removed it stays: the model is saved, and that was the task.
  await rm(join(folder, CHECKPOINT_NAME), { force: true }).catch(() => {});
  // Fails, as it should, where somebody keeps other files in it.
  await rmdir(folder).catch(() => {});
}

/** Shows a training on stderr and collects its epochs. */
async function follow(
  events: ReturnType<LeNet5["fit"]>,
  validatedOn: "test" | "validation",
  output: Output,
  run: Run,
  logged: { log: TrainingLog; train: Dataset; signal: AbortSignal } | undefined,
): Promise<void> {
  let progress: Progress | undefined;
  try {
    for await (const event of events) {
      logged?.log.event(event);
      if (event.type === "progress") {
        const { epoch, epochs, step, steps, loss, imagesPerSecond } = event;
        progress ??= output.progress(`epoch ${epoch}/${epochs}`, steps);
        progress.update(step, `loss ${loss.toFixed(4)}, ${grouped(imagesPerSecond)} images/s`);
        continue;
      }
      progress?.stop();
      progress = undefined;
      run.epochs.push(event);
      run.checkpoint = event.checkpoint ?? run.checkpoint;
      await logged?.log.gradients(logged.train, { signal: logged.signal });
      output.log(
        `epoch ${event.epoch}/${event.epochs}: loss ${event.loss.toFixed(4)}, ${grouped(event.imagesPerSecond)} images/s` +
          (event.validation ? `, ${validatedOn} accuracy ${percent(event.validation.accuracy)}` : ""),
      );
    }
  } finally {
    progress?.stop();
  }
}

function summarise(
  options: TrainOptions,
  output: Output,
  model: LeNet5,
  { epochs, images, places }: Run,
  test: Evaluation,
  validatedOn: "test" | "validation",
): void {
  const validated = [`${validatedOn} loss`, `${validatedOn} accuracy`];
  const head = ["epoch", "loss", "seconds", "images/s", "learning rate", ...validated];
  const rows = epochs.map((event) => [
    String(event.epoch),
    event.loss.toFixed(4),
    event.seconds.toFixed(2),
    grouped(event.imagesPerSecond),
    event.learningRate.toPrecision(3),
    event.validation?.loss.toFixed(4) ?? "",
    event.validation === undefined ? "" : percent(event.validation.accuracy),
  ]);
  output.print(table(head, rows));
  const last = epochs.at(-1);
  if (last !== undefined && last.epoch < last.epochs) output.print(`Stopped early, after epoch ${last.epoch}.`);
  output.print(`Test accuracy ${percent(test.accuracy)}, loss ${test.loss.toFixed(4)}. Saved ${options.output}`);
  const { batchSize, learningRate, schedule, seed } = parameters(options);
  const trainingSeconds = epochs.reduce((sum, { seconds }) => sum + seconds, 0);
  output.finish({
    // The keys of pipelines/trainers, so that what trains a model with the same settings can be put in one table.
    ...{ system: "libtorch", accuracy: test.accuracy, loss: test.loss, batchSize, learningRate, schedule, seed },
    ...{ trainingSeconds, imagesPerSecond: (images * epochs.length) / trainingSeconds },
    ...places,
    versions: { "lenet5-libtorch": packageVersion, node: process.version },
    epochs: epochs.map(({ epoch, loss, seconds, imagesPerSecond, validation }) => ({
      epoch,
      loss,
      seconds,
      imagesPerSecond,
      validation,
    })),
    test: { accuracy: test.accuracy, loss: test.loss },
    model: options.output,
    device: model.device,
    engine: model.engine,
  });
}

/** What an interrupted training leaves behind, and how it goes on. */
async function whereItStands(options: TrainOptions, run: Run): Promise<string[]> {
  // Asked of the file: an epoch may have ended, and its checkpoint been written, while the training was being stopped.
  const epoch = await checkpointEpoch(checkpointFolder(options));
  if (epoch === undefined) return ["Interrupted before the first epoch ended: there is no checkpoint yet."];
  run.checkpoint = join(checkpointFolder(options), CHECKPOINT_NAME);
  return [
    `Interrupted after ${epoch} whole epochs. The last checkpoint is ${run.checkpoint}`,
    `Go on with: ${thisCommand({ without: "--resume", and: "--resume" })}`,
  ];
}
