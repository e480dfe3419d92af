// The life of a training: what happens between `fit` and the end of its iterator.
//
// Problem: a run has many ends (its last epoch, an abort, a loop that is left, a model that is disposed of, a checkpoint
// that cannot be written), and each has to leave the native thread ended, the model free for the next training and the
// checkpoints of all epochs that have ended on disk. Resolution: one generator whose `finally` they all pass through.
import { onAbort, throwIfAborted } from "../abort.js";
import { type Normalization, normalizationOfHistogram } from "../data/dataset.js";
import { type Card, RanksOfTraining } from "../distributed/ranks-of-training.js";
import { isLeNet5Error } from "../errors.js";
import type {
  NativeEvaluation,
  NativeFit,
  NativeFitEvent,
  NativeFitResult,
  NativeSurvey,
  NativeTrainingState,
} from "../native/types.js";
import { nativeCall, nativeCallSync } from "../native.js";
import { type RunSettings, readCheckpoint, runSettings, writeCheckpoint } from "./checkpoint.js";
import { EventQueue } from "./event-queue.js";
import { haltAtExit, needNotHaltAtExit } from "./exit-guard.js";
import type { FitEvent, FitPlan, RunRequest } from "./fit-options.js";
import { type Metrics, metricsOf } from "./metrics.js";
import type { TrainingEvents } from "./training-run.js";

/** What a training needs of its model. */
export interface Trainee {
  readonly numClasses: number;
  readonly engine: string;
  readonly device: string;
  /** One name a class, as they are now. */
  readonly classNames: readonly string[];
  /** Undefined: that of the training set is to be taken. */
  readonly normalization: Normalization | undefined;
  /** @throws LENET5_DISPOSED */
  checkUsable(): void;
  /** Takes the model for this training. @throws LENET5_DISPOSED, LENET5_MODEL_BUSY */
  begin(): void;
  /** The native model has this normalisation now. */
  adopt(normalization: Normalization): void;
  /** Gives the model free. */
  end(): void;
}

/** Runs the training; see `LeNet5.fit`. */
export async function* train(
  model: Trainee,
  fit: NativeFit,
  {
    request,
    signal,
    checkpointDirectory,
    resume,
    rendezvous,
  }: Omit<FitPlan, "request" | "classNames"> & { request: RunRequest },
): TrainingEvents {
  model.begin();
  const queue = new EventQueue<NativeFitEvent>(request.progressSeconds === 0);
  let running: Promise<NativeFitResult> | undefined;
  let checkpoints: Checkpoints | undefined;
  let ranks: RanksOfTraining | undefined;
  let off = () => {};
  let over = false;
  // When the native run has ended, whether or not anybody asks for another event: a loop that was forgotten must not keep
  // the model and the data. Once only: the model may be in its next training by the time this iterator ends.
  const end = () => {
    if (over) return;
    over = true;
    off();
    needNotHaltAtExit(fit);
    ranks?.free();
    fit.dispose();
    model.end();
  };
  try {
    throwIfAborted(signal, "The training");
    const wanted = model.normalization === undefined || checkpointDirectory !== undefined || rendezvous !== undefined;
    const survey = wanted ? await nativeCall(() => fit.survey()) : undefined;
    const normalization = model.normalization ?? roundedNormalization(survey!);
    if (rendezvous !== undefined) {
      ranks = await RanksOfTraining.meet(rendezvous, cardOf(model, request, survey!, normalization), signal);
    }
    // The first rank's are everybody's.
    if (checkpointDirectory !== undefined && (rendezvous?.rank ?? 0) === 0) {
      checkpoints = new Checkpoints(checkpointDirectory, model, request, survey!, normalization);
    }
    const state = await checkpoints?.resumed(resume);
    throwIfAborted(signal, "The training");
    model.checkUsable();

    const options = {
      normalization,
      ...(state === undefined ? {} : { resume: state }),
      ...(ranks === undefined ? {} : { ranks: ranks.native }),
    };
    const started = nativeCallSync(() => fit.start(options, (event) => queue.push(event)));
    model.adopt(normalization);
    running = nativeCall(() => started);
    haltAtExit(fit);
    off = onAbort(signal, () => fit.stop());
    const close = () => {
      end();
      queue.close();
    };
    running.then(close, close);

    for (let event = await queue.next(); event !== undefined; event = await queue.next()) {
      // First, whatever else is the case: this epoch has ended.
      const checkpoint = await checkpoints?.write(event);
      throwIfAborted(signal, "The training");
      model.checkUsable();
      yield toFitEvent(event, request.epochs, model.classNames, checkpoint);
    }
    const { stoppedEarly, bestEpoch } = await running;
    throwIfAborted(signal, "The training");
    model.checkUsable();
    return { stoppedEarly, bestEpoch };
  } catch (error) {
    // First, for whoever is stopped says so to the others, too.
    const told = ranks?.leave(error);
    fit.stop();
    await told;
    throw error;
  } finally {
    fit.stop();
    await running?.catch(() => {});
    end();
    // Epochs that ended while the loop was elsewhere, before it was left.
    await checkpoints?.writeLast(queue.drain());
  }
}

/** What all ranks must have alike: what a checkpoint depends on, and what is one rank's affair there. */
function cardOf(model: Trainee, request: RunRequest, survey: NativeSurvey, normalization: Normalization): Card {
  const { numClasses, engine, device } = model;
  const { data, mean, std, ...settings } = runSettings(request, survey, {
    ...{ numClasses, engine, device: device.replace(/:\d+$/, "") },
    ...normalization,
  });
  // What follows from something else comes behind it: the first difference is the one that is told.
  return {
    ...{ data: data!, ...settings, epochs: request.epochs },
    ...{ validation: survey.validationCrc32 ?? "none", mean: mean!, std: std! },
  };
}

function roundedNormalization({ histogram }: NativeSurvey): Normalization {
  const { mean, std } = normalizationOfHistogram(histogram);
  // Four decimals, as everybody writes MNIST's.
  return { mean: Number(mean.toFixed(4)), std: Math.max(Number(std.toFixed(4)), 1e-4) };
}

function toFitEvent(
  event: NativeFitEvent,
  epochs: number,
  classNames: readonly string[],
  checkpoint: string | undefined,
): FitEvent {
  if (event.type === "progress") return { ...event, epochs };
  const { state: _, validation, ...epoch } = event;
  return {
    ...epoch,
    epochs,
    ...(validation === undefined ? {} : { validation: figuresOf(validation, classNames) }),
    ...(checkpoint === undefined ? {} : { checkpoint }),
  };
}

function figuresOf({ loss, ...counts }: NativeEvaluation, classNames: readonly string[]): Metrics {
  const { accuracy, precision, recall, f1 } = metricsOf(counts, classNames);
  return { loss, accuracy, precision, recall, f1 };
}

/** The checkpoints of one run: one file, written anew after each epoch. */
class Checkpoints {
  readonly #directory: string;
  readonly #settings: RunSettings;
  readonly #numClasses: number;
  readonly #epochs: number;
  #failed = false;

  constructor(
    directory: string,
    model: Trainee,
    request: RunRequest,
    survey: NativeSurvey,
    normalization: Normalization,
  ) {
    const { numClasses, engine, device } = model;
    this.#directory = directory;
    this.#numClasses = numClasses;
    this.#epochs = request.epochs;
    this.#settings = runSettings(request, survey, { numClasses, engine, device, ...normalization });
  }

  /** Where the run goes on, if it is to. */
  async resumed(resume: boolean | "auto"): Promise<NativeTrainingState | undefined> {
    if (resume === false) return undefined;
    try {
      return await readCheckpoint(this.#directory, this.#settings, this.#epochs);
    } catch (error) {
      if (resume === "auto" && isLeNet5Error(error) && error.code === "LENET5_CHECKPOINT_NOT_FOUND") return undefined;
      throw error;
    }
  }

  /** Writes the checkpoint of an epoch and returns its path. */
  async write(event: NativeFitEvent): Promise<string | undefined> {
    if (event.type !== "epoch" || event.state === undefined) return undefined;
    try {
      return await writeCheckpoint(this.#directory, event.state, this.#settings, this.#numClasses);
    } catch (error) {
      this.#failed = true;
      throw error;
    }
  }

  /** Writes that of the last epoch among the events, unless writing has failed before. */
  async writeLast(events: readonly NativeFitEvent[]): Promise<void> {
    const last = events.findLast((event) => event.type === "epoch");
    if (last !== undefined && !this.#failed) await this.write(last);
  }
}
