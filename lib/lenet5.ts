// The model: LeNet-5 with its weights, its class names and its normalisation; trains, evaluates, predicts, saves.
import { readFile } from "node:fs/promises";
import { abortable, throwIfAborted } from "./abort.js";
import type { Dataset, Normalization } from "./data/dataset.js";
import type { TakenImage } from "./data/image-source.js";
import { expected, expectedButGot, LeNet5Error } from "./errors.js";
import { writeFileAtomically } from "./files.js";
import type { ModelSource } from "./formats/model-bytes.js";
import { brand, isFloat32Array } from "./is.js";
import { cancellable, withProgress } from "./lenet5/cancellable.js";
import {
  checkedLabels,
  type FitOptions,
  fitPlan,
  imageSet,
  type LabelledImages,
  withoutData,
} from "./lenet5/fit-options.js";
import { readModel } from "./lenet5/load.js";
import { defaultClassNames, METADATA_NAME, MNIST_NORMALIZATION, writeMetadata } from "./lenet5/metadata.js";
import { confusionRows, metricsOf } from "./lenet5/metrics.js";
import {
  type LeNet5Options,
  LOAD_OPTIONS,
  type LoadOptions,
  modelOptions,
  STATE_DICT_OPTIONS,
  type StateDictOptions,
  snapshotOf,
} from "./lenet5/model-options.js";
import { decodeImages, type ImageInput, type PixelInput, type Pixels, takeImages, toPixels } from "./lenet5/pixels.js";
import { type Finish, PredictionBatcher } from "./lenet5/prediction-batcher.js";
import type {
  CallOptions,
  EvaluateOptions,
  Evaluation,
  Prediction,
  PredictionWithTop,
  PredictOptions,
  PredictSyncOptions,
} from "./lenet5/results.js";
import { joinParameters, type StateDict, splitParameters } from "./lenet5/state-dict.js";
import { topClasses } from "./lenet5/top-classes.js";
import { train as runTraining, type Trainee } from "./lenet5/training.js";
import { TrainingRun } from "./lenet5/training-run.js";
import { chooseAddon } from "./native/choose-addon.js";
import type { LeNet5Addon, NativeFit, NativeFitRequest, NativeLeNet5, NativeWeights } from "./native/types.js";
import { libtorch, nativeCall, nativeCallSync } from "./native.js";
import { optionalFunction, optionalSignal, readOptions, wholeNumber } from "./options.js";
import type { Tensor } from "./tensor.js";

interface Answers {
  readonly scores: Float32Array;
  readonly labels: Int32Array;
}

/**
 * Where native code writes the answers of a few images, for them to be copied to arrays of the caller's: an array that native
 * code has seen has memory outside the heap, which costs more to come by than those answers take to compute.
 */
const fewAnswers: Answers = { scores: new Float32Array(128), labels: new Int32Array(128) };

function firstOf<T extends Float32Array | Int32Array>(from: T, to: T): T {
  for (let i = 0; i < to.length; i += 1) to[i] = from[i] as number;
  return to;
}

const shortened = (scores: Float32Array, length: number) =>
  scores.length === length ? scores : scores.subarray(0, length);

/** Passed by the static makers instead of a seed. */
const WEIGHTS = Symbol("weights");

/**
 * LeNet-5 (LeCun et al., 1998, with ReLU, max pooling and log-softmax): 28×28 grey images in, class probabilities out;
 * 61,706 parameters for ten classes.
 *
 * @throws LENET5_UNKNOWN_OPTION, LENET5_INVALID_OPTION, LENET5_DEVICE_UNAVAILABLE, LENET5_ENGINE_UNAVAILABLE
 */
export class LeNet5 {
  static {
    brand(LeNet5, "LeNet5");
  }
  readonly #addon: LeNet5Addon;
  readonly #native: NativeLeNet5;
  readonly #batcher: PredictionBatcher;
  /** Number of classes. */
  readonly numClasses: number;
  /** Seed of the initial weights and the default one of `fit`. */
  readonly seed: number;
  #classNames: readonly string[] | undefined;
  /** The names of classes that have none. */
  #numbers: readonly string[] | undefined;
  #normalization: Normalization | undefined;
  #training = false;
  #disposed = false;
  readonly #toPrediction: Finish<Prediction> = (output, labels) => this.#prediction(output, labels, undefined);

  constructor(options: LeNet5Options = {}) {
    const weights = (options as { [WEIGHTS]?: Float32Array } | null)?.[WEIGHTS];
    const { numClasses, seed, classNames, normalization, device, engine, instructionSet } = modelOptions(options);
    this.numClasses = numClasses;
    this.seed = seed;
    this.#classNames = classNames;
    this.#normalization = normalization;

    this.#addon = chooseAddon({ device, engine });
    this.#native = nativeCallSync(() => {
      const { LeNet5: Native } = this.#addon;
      const common = { numClasses, ...this.normalization, device, engine, instructionSet };
      return new Native(weights === undefined ? { ...common, seed } : { ...common, parameters: weights });
    });
    this.#batcher = new PredictionBatcher(this.#native, numClasses);
  }

  /**
   * Loads a model: TorchScript (`.pt`) that `save` or PyTorch wrote with LeNet-5's parameter names, or safetensors.
   * Only the weights of a TorchScript file are read; nothing of it is run.
   *
   * Class names and normalisation come from the options, else from the file; a file that Python wrote says nothing of
   * either, and then numbered classes and **MNIST's normalisation** are taken. `model.normalization` shows which.
   *
   * @param source - a path, a `file:` URL, the file's contents, or a `Blob`
   * @throws LENET5_MODEL_NOT_FOUND, LENET5_MODEL_CORRUPT, LENET5_MODEL_TOO_LARGE, LENET5_MODEL_MISMATCH,
   * LENET5_INVALID_ARGUMENT, LENET5_INVALID_OPTION, LENET5_UNKNOWN_OPTION, LENET5_ABORTED
   */
  static async load(source: ModelSource, options: LoadOptions = {}): Promise<LeNet5> {
    const { signal, ...given } = snapshotOf(readOptions(options, LOAD_OPTIONS, "LeNet5.load"));
    optionalSignal(signal);
    const { flat, numClasses, metadata } = await readModel(source, signal);
    return LeNet5.#withWeights(flat, {
      normalization: MNIST_NORMALIZATION,
      classNames: defaultClassNames(numClasses),
      ...metadata,
      ...given,
      numClasses,
    });
  }

  /**
   * A model with the weights given, for example those of `stateDict()` or of `readSafetensors`.
   * @throws LENET5_MODEL_MISMATCH and the constructor's errors
   */
  static fromStateDict(stateDict: StateDict, options: StateDictOptions = {}): LeNet5 {
    const given = readOptions(options, STATE_DICT_OPTIONS, "LeNet5.fromStateDict");
    const { flat, numClasses } = joinParameters(stateDict, "stateDict");
    const { classNames = defaultClassNames(numClasses), normalization = MNIST_NORMALIZATION } = given;
    return LeNet5.#withWeights(flat, { ...given, numClasses, classNames, normalization });
  }

  static #withWeights(flat: Float32Array, options: LeNet5Options): LeNet5 {
    const withWeights: LeNet5Options & { [WEIGHTS]?: Float32Array } = { ...options, [WEIGHTS]: flat };
    return new LeNet5(withWeights);
  }

  /** One name a class. */
  get classNames(): readonly string[] {
    if (this.#classNames !== undefined) return this.#classNames;
    this.#numbers ??= Object.freeze(defaultClassNames(this.numClasses));
    return this.#numbers;
  }

  /** Mean and standard deviation of the pixels, in units of 0..1; part of every export. */
  get normalization(): Normalization {
    return this.#normalization ?? MNIST_NORMALIZATION;
  }

  /** `cpu` or `cuda:N`. */
  get device(): string {
    return this.#native.device;
  }

  /** The engine that computes. */
  get engine(): "fused" | "libtorch" {
    return this.#native.engine;
  }

  /** The fused engine's instruction set, `none` for libtorch. */
  get instructionSet(): string {
    return this.#native.instructionSet;
  }

  /** True once `dispose` was called. */
  get disposed(): boolean {
    return this.#disposed;
  }

  /** True while a `fit` is under way. */
  get training(): boolean {
    return this.#training;
  }

  /**
   * Trains with Adam, off the event loop. `await model.fit(data)` trains to the end and gives the history;
   * `for await (const event of model.fit(data))` follows it, with progress and epochs, and stops it within one batch when
   * the loop is left. A `signal` does that too. The model keeps the weights of that moment, with early stopping those of
   * the best epoch. The training begins when it is awaited or iterated first, never before. During it `predict` and
   * `evaluate` answer with the weights of the last whole epoch.
   *
   * @param train - images and labels; checked and copied before this returns, as is `validation`. Where a set and the
   * model both have class names, labels are carried over by name
   * @throws at once: LENET5_UNKNOWN_OPTION, LENET5_INVALID_OPTION, LENET5_INVALID_ARGUMENT, LENET5_INVALID_SHAPE,
   * LENET5_INVALID_DTYPE, LENET5_INVALID_LABELS, LENET5_COUNT_MISMATCH, LENET5_DATA_EMPTY, LENET5_MODEL_MISMATCH (a class
   * that the model does not have), LENET5_DISPOSED; from the run:
   * LENET5_MODEL_BUSY, LENET5_ABORTED, LENET5_DISPOSED, LENET5_CHECKPOINT_NOT_FOUND, LENET5_CHECKPOINT_CORRUPT,
   * LENET5_CHECKPOINT_MISMATCH, LENET5_FILE_WRITE_FAILED, LENET5_FILE_BUSY, LENET5_DISTRIBUTED_FAILED,
   * LENET5_DISTRIBUTED_MISMATCH, LENET5_DISTRIBUTED_UNAVAILABLE
   */
  fit(train: Dataset | LabelledImages, options: FitOptions = {}): TrainingRun {
    this.#checkUsable();
    const { numClasses, seed } = this;
    const plan = fitPlan(train, options, { numClasses, seed, ownClassNames: this.#classNames });
    const classNames = plan.classNames?.length === numClasses ? plan.classNames : undefined;
    // The data is copied here, before anybody else's code runs. What goes on with the run holds none of the caller's arrays.
    const fit = this.#prepareFit(plan.request);
    const events = runTraining(this.#trainee(classNames), fit, { ...plan, request: withoutData(plan.request) });
    return new TrainingRun(events, fit, plan.request.progressSeconds === 0);
  }

  /** A function of its own, so that no closure of `fit` holds the request. */
  #prepareFit(request: NativeFitRequest): NativeFit {
    return nativeCallSync(() => this.#native.prepareFit(request));
  }

  /** What a training sees of this model. */
  #trainee(classNames: readonly string[] | undefined): Trainee {
    const model = this;
    const unnamed = this.#classNames === undefined;
    return {
      numClasses: this.numClasses,
      engine: this.engine,
      device: this.device,
      get classNames() {
        return model.classNames;
      },
      get normalization() {
        return model.#normalization;
      },
      checkUsable: () => this.#checkUsable(),
      begin: () => {
        this.#checkUsable();
        if (this.#training) throw expectedButGot("MODEL_BUSY", "one training at a time", "fit", "a second one");
        // The labels were taken as they are by a model without names, which has got others since, from another training.
        if (unnamed && classNames && this.#classNames && this.#classNames.join("\n") !== classNames.join("\n")) {
          const received = `[${classNames.join(", ")}]`;
          throw expectedButGot("MODEL_MISMATCH", `the classes [${this.#classNames.join(", ")}]`, "fit", received);
        }
        this.#training = true;
      },
      adopt: (normalization) => {
        this.#normalization = normalization;
        this.#classNames ??= classNames;
      },
      end: () => {
        this.#training = false;
      },
    };
  }

  /**
   * Loss, accuracy, confusion matrix, and precision, recall and F1 of each class, over a labelled set.
   *
   * @param data - copied before the call returns; where it and the model both have class names, labels are carried over
   * by name
   * @throws LENET5_DISPOSED, LENET5_UNKNOWN_OPTION, LENET5_INVALID_OPTION, LENET5_INVALID_ARGUMENT, LENET5_INVALID_SHAPE,
   * LENET5_INVALID_DTYPE, LENET5_INVALID_LABELS, LENET5_COUNT_MISMATCH, LENET5_DATA_EMPTY, LENET5_MODEL_MISMATCH (a class
   * that the model does not have), LENET5_ABORTED; and what `onProgress` throws
   */
  async evaluate(data: Dataset | LabelledImages, options: EvaluateOptions = {}): Promise<Evaluation> {
    this.#checkUsable();
    const { batchSize = 1000, onProgress, signal } = readOptions(options, EVALUATE_OPTIONS, "evaluate");
    wholeNumber(batchSize, "batchSize", 1, 1_000_000);
    optionalFunction(onProgress, "onProgress");
    optionalSignal(signal);
    const set = imageSet(data, { numClasses: this.numClasses, classNames: this.#classNames }, "data");
    const total = set.labels.length;
    const { classNames } = this;
    const { loss, confusion, ...counts } = await withProgress(onProgress, total, signal, (tell, together) =>
      cancellable(this.#addon, together, (cancellation) => this.#native.evaluate(set, batchSize, cancellation, tell)),
    );
    const rows = confusion && { confusion: confusionRows(confusion, classNames.length) };
    return { loss, ...metricsOf(counts, classNames), ...rows };
  }

  /**
   * Class probabilities of images: raw pixels or image files (see {@link ImageInput}), copied before the call returns.
   * Concurrent calls share batches.
   *
   * @throws LENET5_INVALID_ARGUMENT, LENET5_INVALID_SHAPE, LENET5_INVALID_DTYPE, LENET5_INVALID_PIXELS,
   * LENET5_DATA_NOT_FOUND, LENET5_IMAGE_UNREADABLE, LENET5_UNKNOWN_OPTION, LENET5_INVALID_OPTION, LENET5_ABORTED,
   * LENET5_DISPOSED
   */
  predict(images: ImageInput, options: PredictOptions & { topK: number }): Promise<PredictionWithTop>;
  predict(images: ImageInput, options?: PredictOptions): Promise<Prediction>;
  predict(images: ImageInput, options?: PredictOptions): Promise<Prediction> {
    // No asynchronous function: a hundred thousand of them at a time cost the collector more than the network the processor.
    try {
      this.#checkUsable();
      const { topK, signal } = readOptions(options, PREDICT_OPTIONS, "predict");
      if (topK === undefined) return this.#predictions(images, false, this.#toPrediction, optionalSignal(signal));
      checkTopK(topK);
      const finish = (output: Float32Array, labels: Int32Array) => this.#prediction(output, labels, topK);
      return this.#predictions(images, false, finish, optionalSignal(signal));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * The synchronous twin of `predict`, for raw pixels: one crossing into native code.
   * @throws as `predict`
   */
  predictSync(images: PixelInput, options: PredictSyncOptions & { topK: number }): PredictionWithTop;
  predictSync(images: PixelInput, options?: PredictSyncOptions): Prediction;
  predictSync(images: PixelInput, options?: PredictSyncOptions): Prediction {
    this.#checkUsable();
    const { output, topK } = readOptions(options, ["output", "topK"], "predictSync");
    checkTopK(topK);
    const pixels = toPixels(images);
    const { scores, labels } = this.#runSync(pixels, output, false);
    return this.#prediction(scores, labels, topK);
  }

  /**
   * Log-probabilities `[N, numClasses]`, as the exported module's `forward` returns them.
   * @throws as `predict`
   */
  async forward(images: ImageInput, options: CallOptions = {}): Promise<Tensor<"float32">> {
    this.#checkUsable();
    const { signal } = readOptions(options, ["signal"], "forward");
    return await this.#predictions(
      images,
      true,
      (data, labels) => ({ data, shape: [labels.length, this.numClasses], dtype: "float32" }),
      optionalSignal(signal),
    );
  }

  /** The synchronous twin of `forward`, for raw pixels; `output` as in `predictSync`. */
  forwardSync(images: PixelInput, options?: { output?: Float32Array }): Tensor<"float32"> {
    this.#checkUsable();
    const { output } = readOptions(options, ["output"], "forwardSync");
    const pixels = toPixels(images);
    const { scores: data } = this.#runSync(pixels, output, true);
    return { data, shape: [pixels.count, this.numClasses], dtype: "float32" };
  }

  /** What it throws at once is for the methods that call it to reject with. */
  #predictions<T>(images: ImageInput, log: boolean, finish: Finish<T>, signal: AbortSignal | undefined): Promise<T> {
    throwIfAborted(signal);
    const taken = takeImages(images);
    if (Array.isArray(taken)) return this.#decodedPredictions(taken, log, finish, signal);
    return this.#predictionsOf(taken, log, finish, signal);
  }

  async #decodedPredictions<T>(
    images: TakenImage[],
    log: boolean,
    finish: Finish<T>,
    signal: AbortSignal | undefined,
  ): Promise<T> {
    const pixels = await decodeImages(images, signal);
    this.#checkUsable();
    return await this.#predictionsOf(pixels, log, finish, signal);
  }

  /** The batcher copies the pixels before this returns: the caller may write into them then. */
  #predictionsOf<T>(pixels: Pixels, log: boolean, finish: Finish<T>, signal: AbortSignal | undefined): Promise<T> {
    if (pixels.count === 0) return Promise.resolve(finish(new Float32Array(0), new Int32Array(0)));
    if (signal === undefined) return this.#batcher.predict(pixels, log, finish);
    return cancellable(this.#addon, signal, (cancellation) => this.#batcher.predict(pixels, log, finish, cancellation));
  }

  #runSync(pixels: Pixels, given: Float32Array | undefined, log: boolean): Answers {
    const { count } = pixels;
    const length = count * this.numClasses;
    if (given !== undefined && !(isFloat32Array(given) && given.length >= length)) {
      throw expected("INVALID_SHAPE", `a Float32Array of at least ${length} elements`, "output", given);
    }
    const few = length <= fewAnswers.scores.length;
    const scores = given ?? (few ? fewAnswers.scores : new Float32Array(length));
    const labels = few ? fewAnswers.labels : new Int32Array(count);
    nativeCallSync(() => this.#native.predictSync(pixels.data, pixels.size, scores, labels, log));
    return {
      scores: given === undefined && few ? firstOf(scores, new Float32Array(length)) : shortened(scores, length),
      labels: few ? firstOf(labels, new Int32Array(count)) : labels,
    };
  }

  #prediction(probabilities: Float32Array, labels: Int32Array, topK: number | undefined): Prediction {
    const { numClasses, classNames } = this;
    const prediction = { labels, probabilities, count: labels.length, numClasses, classNames };
    return topK === undefined ? prediction : { ...prediction, top: topClasses(probabilities, classNames, topK) };
  }

  /**
   * The mean loss of a labelled batch and its gradient by each parameter; the weights stay as they are.
   * @throws as `predict`, and LENET5_INVALID_LABELS, LENET5_COUNT_MISMATCH, LENET5_DATA_EMPTY
   */
  async gradients(
    images: PixelInput,
    labels: Int32Array | Uint8Array,
    options: CallOptions = {},
  ): Promise<{ loss: number; gradients: StateDict }> {
    this.#checkUsable();
    const { signal } = readOptions(options, ["signal"], "gradients");
    throwIfAborted(optionalSignal(signal));
    const pixels = toPixels(images);
    const checked = checkedLabels(labels, pixels.count, this.numClasses, "labels");
    const { loss, gradients } = await cancellable(this.#addon, signal, () =>
      this.#native.gradients(pixels.data, pixels.size, checked),
    );
    return { loss, gradients: splitParameters(gradients, this.numClasses) };
  }

  /** A copy of the parameters, by PyTorch's names. @throws LENET5_DISPOSED */
  stateDict(): StateDict {
    this.#checkUsable();
    return splitParameters(this.#native.parameters(), this.numClasses);
  }

  /** Takes the parameters given. @throws LENET5_MODEL_MISMATCH, LENET5_MODEL_BUSY while training, LENET5_DISPOSED */
  loadStateDict(stateDict: StateDict): void {
    this.#checkUsable();
    if (this.#training)
      throw expectedButGot("MODEL_BUSY", "a model at rest", "loadStateDict", "one that is being trained");
    const { flat, numClasses } = joinParameters(stateDict, "stateDict");
    if (numClasses !== this.numClasses) {
      throw expected("MODEL_MISMATCH", `${this.numClasses} classes`, "stateDict", numClasses);
    }
    this.#batcher.begin();
    nativeCallSync(() => this.#native.setParameters(flat));
  }

  /**
   * The TorchScript archive as bytes, verified as `save` verifies it; of the weights of the moment of the call.
   * @throws LENET5_EXPORT_UNVERIFIED, LENET5_ABORTED, LENET5_DISPOSED
   */
  async toTorchScript(options: CallOptions = {}): Promise<Uint8Array> {
    this.#checkUsable();
    const { signal } = readOptions(options, ["signal"], "toTorchScript");
    throwIfAborted(optionalSignal(signal));
    const { archive, weights } = await abortable(this.#export(), signal);
    await abortable(verify(archive, weights), signal);
    return archive;
  }

  /**
   * Writes the model as TorchScript that `torch.jit.load` reads in Python, C++ and TorchServe: float32 pixels 0..1
   * `[N, 1, 28, 28]` in, log-probabilities `[N, numClasses]` out; the weights are those of the moment of the call. The
   * file is read back and its answers compared with theirs before it takes its place; a previous file stays intact until
   * then, and when the call is aborted.
   *
   * @throws LENET5_INVALID_ARGUMENT, LENET5_FILE_WRITE_FAILED, LENET5_FILE_BUSY, LENET5_EXPORT_UNVERIFIED, LENET5_ABORTED,
   * LENET5_DISPOSED
   */
  async save(path: string, options: CallOptions = {}): Promise<void> {
    this.#checkUsable();
    if (typeof path !== "string" || path === "") throw expected("INVALID_ARGUMENT", "a file's path", "save", path);
    const { signal } = readOptions(options, ["signal"], "save");
    throwIfAborted(optionalSignal(signal));
    const { archive, weights } = await abortable(this.#export(), signal);
    await writeFileAtomically(path, archive, {
      signal,
      verify: async (written) => await verify(await readFile(written), weights),
    });
  }

  #export(): Promise<{ archive: Uint8Array; weights: NativeWeights }> {
    return nativeCall(() => {
      const { numClasses, normalization } = this;
      const model = { numClasses, ...normalization, parameters: this.#native.parameters() };
      return libtorch("Saving TorchScript").exportTorchScript(model, { [METADATA_NAME]: writeMetadata(this) });
    });
  }

  /** Frees the native memory; work under way ends first. A second call does nothing. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#batcher.begin();
    this.#native.dispose();
  }

  /** `dispose`, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  #checkUsable(): void {
    if (this.#disposed) throw expectedButGot("DISPOSED", "a live model", "the call", "one that was disposed of");
  }
}

const PREDICT_OPTIONS = ["topK", "signal"] as const;
const EVALUATE_OPTIONS = ["batchSize", "onProgress", "signal"] as const;

function checkTopK(topK: unknown): void {
  if (topK !== undefined) wholeNumber(topK, "topK", 1);
}

/** Compares a written archive with the weights it was made of, whatever has become of the model meanwhile. */
async function verify(archive: Uint8Array, weights: NativeWeights): Promise<void> {
  const difference = await nativeCall(() => libtorch("Saving TorchScript").verifyTorchScript(archive, weights));
  if (difference <= 1e-4) return;
  throw new LeNet5Error(
    "EXPORT_UNVERIFIED",
    `Expected the model's own answers for the written archive but received a difference of ${difference}`,
  );
}
