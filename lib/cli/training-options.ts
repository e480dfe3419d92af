// What `lenet5 train` is told, and what of it goes where.
import type { FitOptions } from "../lenet5/fit-options.js";
import { AUGMENTED_RECIPE, DEFAULT_RECIPE, type Recipe } from "../lenet5/recipe.js";
import type { HyperParameter } from "../tensorboard.js";
import { type Command, Option } from "./commander.js";
import type { DataOptions } from "./data-source.js";
import { usageError } from "./failure.js";
import { type ComputeOptions, numberOption, wholeOption, wordOption } from "./options.js";

/** What is left out is the recipe's. */
export interface TrainOptions extends DataOptions, ComputeOptions {
  augment?: boolean;
  epochs?: number;
  batchSize?: number;
  gradientAccumulation?: number;
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
  resume?: true | "auto";
  distributed?: boolean;
  distributedTimeout?: number;
  logdir?: string;
  compare?: string[];
}

/** Early stopping chooses among epochs, which the test set must have no part in. */
const EARLY_STOPPING_SPLIT = 0.1;
/** How it is trained: the API's own recipes, of which any part may be given. */
export function recipeOptions(): Option[] {
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
      or("images of a batch, of all ranks together", ({ batchSize }) => batchSize),
      1,
      1_000_000,
    ),
    wholeOption(
      "--gradient-accumulation <n>",
      "batches whose gradients make one step: fewer sums over slow networks (default: 1)",
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

/** `--resume`, alone or with `auto`. */
export function resumeOption(): Option {
  return new Option(
    "--resume [auto]",
    "continue from the checkpoint of an interrupted run with the same settings; with auto, begin where there is none",
  ).argParser((text: string) => {
    if (text === "auto") return text;
    throw usageError("INVALID_OPTION", '"auto" or nothing', "--resume", text);
  });
}

/** `--distributed` and what belongs to it. */
export function addDistributedOptions(command: Command): void {
  command
    .option(
      "--distributed",
      "train together with the other ranks that torchrun, a PyTorchJob or a script has started (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT)",
    )
    .addOption(
      numberOption(
        "--distributed-timeout <seconds>",
        "how long the ranks wait for each other (default: 300)",
        "above 0",
        (x) => x > 0,
      ),
    );
}

/** What a training depends on, for TensorBoard's table of hyper-parameters. */
export function hyperParameters(options: TrainOptions): Record<string, HyperParameter> {
  const { augment = false, data, seed, device, engine, earlyStopping } = options;
  const recipe = { ...(augment ? AUGMENTED_RECIPE : DEFAULT_RECIPE), ...fitOptions(options) };
  const { epochs, batchSize, learningRate, schedule, betas, epsilon, weightDecay } = recipe;
  const validationSplit = splitOf(options);
  return {
    ...{ data: String(data), augmentation: augment, epochs, batchSize, learningRate, schedule },
    ...{ beta1: betas[0], beta2: betas[1], epsilon, weightDecay },
    ...(options.gradientAccumulation === undefined ? {} : { gradientAccumulation: options.gradientAccumulation }),
    ...(options.classWeights === undefined ? {} : { classWeights: options.classWeights }),
    ...(earlyStopping === undefined ? {} : { earlyStopping }),
    ...(validationSplit === undefined ? {} : { validationSplit }),
    ...{ seed, device, engine },
  };
}

/** The share of the training images that is held back for validation. */
export function splitOf({ earlyStopping, validationSplit }: TrainOptions): number | undefined {
  return validationSplit ?? (earlyStopping === undefined ? undefined : EARLY_STOPPING_SPLIT);
}

/** What was given, and nothing else: the rest is for `fit` to fill in. */
export function fitOptions(options: TrainOptions): FitOptions {
  const { augment = false, beta1, beta2, earlyStopping, seed, resume = false } = options;
  const { gradientAccumulation, distributed, distributedTimeout: timeout } = options;
  const { epochs, batchSize, learningRate, schedule, epsilon, weightDecay, classWeights } = options;
  const [first, second] = (augment ? AUGMENTED_RECIPE : DEFAULT_RECIPE).betas;
  return {
    ...(epochs === undefined ? {} : { epochs }),
    ...(batchSize === undefined ? {} : { batchSize }),
    ...(gradientAccumulation === undefined ? {} : { gradientAccumulation }),
    ...(distributed ? { distributed: timeout === undefined ? true : { timeout } } : {}),
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
