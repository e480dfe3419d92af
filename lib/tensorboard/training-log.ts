// What there is to see of a training of LeNet-5, from the events of `fit` and from its end.
import { contactSheet } from "../data/contact-sheet.js";
import { type Dataset, PIXELS, subsetOf } from "../data/dataset.js";
import { expected } from "../errors.js";
import { isObject } from "../is.js";
import type { FitEvent } from "../lenet5/fit-options.js";
import type { Evaluation } from "../lenet5/results.js";
import type { StateDict } from "../lenet5/state-dict.js";
import type { LeNet5 } from "../lenet5.js";
import { lenet5Graph } from "./lenet5-graph.js";
import type { HyperParameter, PixelImage } from "./summaries.js";
import type { SummaryWriter } from "./summary-writer.js";

/** What came of a training, for {@link TrainingLog.finish}. */
export interface TrainingResult {
  /** What the model was tested on; its misclassified images are drawn. */
  test: Dataset;
  /** What `evaluate` gave for it. */
  evaluation: Evaluation;
  /** Aborts the classification of the test set. */
  signal?: AbortSignal;
}

/** Images whose mean gradient is shown. */
const GRADIENT_IMAGES = 256;
/** Misclassified images that are drawn at most. */
const MOST_MISTAKES = 100;
/** Edge length of the picture of a confusion matrix, about, in pixels. */
const MATRIX_SIDE = 640;

/**
 * Writes a training for TensorBoard: call {@link TrainingLog.event} with each event of `fit` and {@link TrainingLog.finish} at the
 * end. The writer stays the caller's, to be closed.
 */
export class TrainingLog {
  readonly #writer: SummaryWriter;
  readonly #model: LeNet5;
  readonly #parameters: Readonly<Record<string, HyperParameter>>;
  #epoch = 0;

  /**
   * Writes the graph, and the configuration as a text.
   * @param writer - where to
   * @param model - the model that is trained
   * @param parameters - what it is trained with, by name
   * @throws LENET5_INVALID_ARGUMENT and what the writer throws
   */
  constructor(writer: SummaryWriter, model: LeNet5, parameters: Readonly<Record<string, HyperParameter>> = {}) {
    if (!isObject(parameters))
      throw expected("INVALID_ARGUMENT", "an object of values by name", "parameters", parameters);
    this.#writer = writer;
    this.#model = model;
    this.#parameters = { ...parameters };
    writer.graph(lenet5Graph(model.numClasses));
    const rows = Object.entries(this.#parameters).map(([name, value]) => `| ${cell(name)} | ${cell(String(value))} |`);
    writer.text("configuration", ["| parameter | value |", "| --- | --- |", ...rows].join("\n"));
    writer.flush();
  }

  /**
   * Takes an event of `fit`. The loss of batches is a curve over steps; at the end of an epoch there are loss, accuracy, learning rate
   * and images a second, over epochs, and the weights as histograms.
   * @throws what the writer throws
   */
  event(event: FitEvent): void {
    const writer = this.#writer;
    if (event.type === "progress") {
      writer.scalar("batch/loss", event.loss, (event.epoch - 1) * event.steps + event.step);
      return;
    }
    const { epoch, validation } = event;
    this.#epoch = epoch;
    writer.scalar("loss/train", event.loss, epoch);
    writer.scalar("accuracy/train", event.accuracy, epoch);
    if (validation !== undefined) {
      writer.scalar("loss/validation", validation.loss, epoch);
      writer.scalar("accuracy/validation", validation.accuracy, epoch);
    }
    writer.scalar("learning_rate", event.learningRate, epoch);
    writer.scalar("images_per_second", event.imagesPerSecond, epoch);
    this.#histograms("weights", this.#model.stateDict());
    writer.flush();
  }

  /**
   * Writes the gradients of the loss on the first 256 images as histograms, for the epoch that ended last: to be called after its event.
   * The training goes on as without it.
   * @param dataset - images and labels, those that are trained on for example
   * @param options - `signal` aborts the call
   * @throws what `gradients` and the writer throw
   */
  async gradients(dataset: Pick<Dataset, "images" | "labels">, options: { signal?: AbortSignal } = {}): Promise<void> {
    if (!isObject(dataset)) throw expected("INVALID_ARGUMENT", "a data set", "dataset", dataset);
    const pixels = dataset.images.subarray(0, GRADIENT_IMAGES * PIXELS);
    const { gradients } = await this.#model.gradients({ pixels }, dataset.labels.slice(0, GRADIENT_IMAGES), options);
    this.#histograms("gradients", gradients);
    this.#writer.flush();
  }

  #histograms(of: string, tensors: StateDict): void {
    for (const [name, { data }] of Object.entries(tensors)) {
      // A training that diverged has NaN, which no histogram has a place for; the loss shows it.
      if (data.every(Number.isFinite)) this.#writer.histogram(`${of}/${name}`, data, this.#epoch);
    }
  }

  /**
   * Writes what came of it: hyper-parameters with the final metrics, the confusion matrix (rows: actual classes; blue: right, red:
   * wrong) and the first hundred misclassified images.
   * @throws what `predict`, `contactSheet` and the writer throw
   */
  async finish({ test, evaluation, signal }: TrainingResult): Promise<void> {
    const step = this.#epoch;
    const { accuracy, loss, confusion } = evaluation;
    this.#writer.hparams(this.#parameters, { "test/accuracy": accuracy, "test/loss": loss }, step);
    if (confusion !== undefined) await this.#writer.image("confusion_matrix", confusionImage(confusion), step);
    const options = signal === undefined ? {} : { signal };
    const { labels } = await this.#model.predict({ pixels: test.images }, options);
    const wrong: number[] = [];
    for (let i = 0; i < labels.length && wrong.length < MOST_MISTAKES; i++)
      if (labels[i] !== test.labels[i]) wrong.push(i);
    if (wrong.length > 0) {
      const predictions = wrong.map((i) => labels[i]!);
      const sheet = await contactSheet(subsetOf(test, wrong), { predictions, ...options });
      await this.#writer.image("misclassified", new Uint8Array(sheet), step);
    }
    this.#writer.flush();
  }
}

/** A text as a cell of a table in Markdown. */
function cell(text: string): string {
  return text.replaceAll(/[\\|`*_<>[\]]/g, "\\$&").replaceAll(/\s+/g, " ");
}

/** A confusion matrix as pixels: each cell's strength is its share of the actual class; roots let single mistakes be seen. */
export function confusionImage(confusion: readonly (readonly number[])[]): PixelImage {
  const classes = confusion.length;
  const scale = Math.max(1, Math.floor(MATRIX_SIDE / classes));
  const side = classes * scale;
  const data = new Uint8Array(side * side * 3);
  for (let y = 0; y < side; y++) {
    const actual = Math.floor(y / scale);
    const total = confusion[actual]!.reduce((sum, count) => sum + count, 0);
    for (let x = 0; x < side; x++) {
      const predicted = Math.floor(x / scale);
      const paper = 255 - Math.round(255 * Math.sqrt(confusion[actual]![predicted]! / Math.max(total, 1)));
      data.set(actual === predicted ? [paper, paper, 255] : [255, paper, paper], (y * side + x) * 3);
    }
  }
  return { data, width: side, height: side, channels: 3 };
}
