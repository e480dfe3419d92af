// `lenet5 train`
import { rm, rmdir } from "node:fs/promises";
import { extname, join } from "node:path";
import { type Dataset, splitDataset } from "../../data/dataset.js";
import { rendezvousOf } from "../../distributed/rendezvous.js";
import { isLeNet5Error, LeNet5Error } from "../../errors.js";
import { CHECKPOINT_NAME, checkpointEpoch } from "../../lenet5/checkpoint.js";
import type { EpochEvent } from "../../lenet5/fit-options.js";
import type { Evaluation } from "../../lenet5/results.js";
import type { LeNet5 } from "../../lenet5.js";
import type { SummaryWriter, TrainingLog } from "../../tensorboard.js";
import { packageVersion } from "../../version.js";
import { addExamples, perform, withPartialResult } from "../command.js";
import type { Command } from "../commander.js";
import type { ComparedRuns } from "../compared-runs.js";
import { addDataOptions, loadData } from "../data-source.js";
import { usageError } from "../failure.js";
import { addComputeOptions, addJsonOption, fromEnvironment, textOption, textsOption } from "../options.js";
import { grouped, type Output, type Progress, percent, table } from "../output.js";
import { checkPlace } from "../output-place.js";
import { thisCommand } from "../shell-words.js";
import {
  addDistributedOptions,
  fitOptions,
  hyperParameters,
  recipeOptions,
  resumeOption,
  splitOf,
  type TrainOptions,
} from "../training-options.js";
import { FORMAT_OF } from "./export.js";

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
  for (const option of recipeOptions()) command.addOption(fromEnvironment(option));
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
    .addOption(resumeOption());
  addDistributedOptions(command);
  addJsonOption(command);
  addExamples(
    command,
    "lenet5 train --data mnist --epochs 5 --seed 42 --output lenet5.pt",
    "lenet5 train --data mnist --augment --output lenet5.pt",
    "lenet5 train --data mnist --logdir runs/compared --compare runs/pytorch runs/tensorflow",
    "lenet5 train --data photos/ --epochs 20 --output pets.pt --checkpoint-dir run1",
    "lenet5 train --data photos/ --epochs 20 --output pets.pt --checkpoint-dir run1 --resume",
    "torchrun --nproc-per-node 2 --no-python lenet5 train --distributed --data mnist --output lenet5.pt",
  );
  perform<TrainOptions>(
    command,
    async ({ options, output, signal }) => await train(options, output, signal),
    "Stopping within this batch; press Ctrl-C again to end at once.",
  );
}

async function train(options: TrainOptions, output: Output, signal: AbortSignal): Promise<number> {
  const run: Run = { epochs: [], checkpoint: undefined, images: 0, places: {} };
  requireTorchScriptName(options.output);
  if (options.distributedTimeout !== undefined && !options.distributed) {
    throw usageError("INVALID_OPTION", "the flag (because of --distributed-timeout)", "--distributed", undefined);
  }
  // Before anything is loaded, made or replaced.
  const rank = rendezvousOf(fitOptions(options).distributed)?.rank;
  if (rank !== undefined && rank > 0) return await takePart(options, rank, output, signal);
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
  using model = await newModel(options, train.classNames);
  const held = validation === undefined ? "" : `, validating on ${grouped(validation.count)}`;
  output.log(
    `Training on ${grouped(train.count)} images of ${train.classNames.length} classes${held}, testing on ${grouped(test.count)} (${model.device}, ${model.engine} engine)`,
  );

  if (compared !== undefined && !(await goesOn(options))) await compared.forgetEarlier(writer!.path);
  await compared?.place(signal);
  const log = writer && new (await import("../../tensorboard.js")).TrainingLog(writer, model, hyperParameters(options));
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

/** A rank that is not the first trains along, and leaves it to that one to report and to write. */
async function takePart(options: TrainOptions, rank: number, output: Output, signal: AbortSignal): Promise<number> {
  const { train, validation, test } = await loadSets(options, output, signal);
  using model = await newModel(options, train.classNames);
  await model.fit(train, { ...fitOptions(options), resume: false, validation: validation ?? test, signal });
  output.log(`Rank ${rank} has trained to the end.`);
  return 0;
}

/** The model to train, and the threads it is trained on. */
async function newModel(options: TrainOptions, classNames: readonly string[]): Promise<LeNet5> {
  const { LeNet5, getNumThreads, setNumThreads } = await import("../../index.js");
  const { seed, engine, distributed } = options;
  const { LOCAL_RANK, LOCAL_WORLD_SIZE, OMP_NUM_THREADS } = process.env;
  let { device, threads } = options;
  if (distributed) {
    // The ranks of one machine share its cores, and take a GPU each.
    const neighbours = Number(LOCAL_WORLD_SIZE);
    if (neighbours > 1 && !OMP_NUM_THREADS) threads ??= Math.max(1, Math.floor(getNumThreads() / neighbours));
    if (device === "cuda" && /^\d{1,3}$/.test(LOCAL_RANK ?? "")) device = `cuda:${Number(LOCAL_RANK)}`;
  }
  if (threads !== undefined) setNumThreads(threads);
  return new LeNet5({ numClasses: classNames.length, classNames, seed, device, engine });
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

/** Whether the run goes on from a checkpoint. */
async function goesOn(options: TrainOptions): Promise<boolean> {
  if (options.resume !== "auto") return options.resume === true;
  return (await checkpointEpoch(checkpointFolder(options))) !== undefined;
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
  const { batchSize, learningRate, schedule, seed } = hyperParameters(options);
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
  // A command that resumes where it can is the one to give again.
  const again = options.resume === "auto" ? thisCommand() : thisCommand({ without: "--resume", and: "--resume" });
  return [`Interrupted after ${epoch} whole epochs. The last checkpoint is ${run.checkpoint}`, `Go on with: ${again}`];
}
