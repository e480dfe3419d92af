// What `--data` means: a data set's name, or a folder of images or IDX files.
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Dataset, DatasetPair } from "../data/dataset.js";
import { expectedButGot, isLeNet5Error } from "../errors.js";
import { nearest } from "../options.js";
import type { Command } from "./commander.js";
import { textOption, wholeOption } from "./options.js";
import { fileSize, grouped, type Output, type Progress } from "./output.js";

export { inClassesOf } from "../data/class-names.js";

/** Names that `--data` knows; anything else is a folder. */
export const DATA_NAMES = ["mnist", "fashion-mnist", "synthetic"] as const;

/** What {@link addDataOptions} reads. */
export interface DataOptions {
  data: string;
  syntheticCount?: number;
}

/** `--data`, `--synthetic-count`. */
export function addDataOptions(command: Command, defaultData?: string): Command {
  const data = textOption("--data <set>", `data set: ${DATA_NAMES.join(", ")}, or a folder`);
  if (defaultData === undefined) data.makeOptionMandatory();
  else data.default(defaultData);
  return command
    .addOption(data)
    .addOption(wholeOption("--synthetic-count <n>", "images of the synthetic training set (60,000)", 10, 10_000_000))
    .addHelpText(
      "after",
      `
--data takes
  mnist, fashion-mnist  from LENET5_DATA_DIR, else the user's cache, else a download
  synthetic             digits drawn by this package; needs no network
  DIR                   a folder with one sub-folder of images a class (a fixed fifth of each class is held back for
                        testing), or with train/ and test/ of that kind; or IDX files under MNIST's names`,
    );
}

/** Loads a training and a test set; progress goes to stderr. */
export async function loadData(options: DataOptions, output: Output, signal?: AbortSignal): Promise<DatasetPair> {
  const { data } = options;
  if (data === "mnist" || data === "fashion-mnist") return await loadNamed(data, output, signal);
  if (data === "synthetic") return await drawSynthetic(syntheticSizes(options), output, signal);
  return await loadFolder(data, output, signal);
}

/** The part of a data set that a command looks at. */
export type Part = "test" | "train" | "all";

/**
 * Loads the images to look at or to measure with.
 * @param part - by default the test set, where the data set has one of its own, else everything
 */
export async function loadPart(
  options: DataOptions & { part?: Part },
  output: Output,
  signal?: AbortSignal,
): Promise<Dataset> {
  const { data } = options;
  const isNamed = (DATA_NAMES as readonly string[]).includes(data);
  const part = options.part ?? (isNamed || hasTestSet(data) ? "test" : "all");
  if (data === "synthetic" && part === "test") {
    // The test digits do not depend on how many training digits are drawn before them.
    return (await drawSynthetic({ ...syntheticSizes(options), trainCount: 1 }, output, signal)).test;
  }
  const { train, test } = await loadData(options, output, signal);
  if (part !== "all") return part === "train" ? train : test;
  if (options.part === undefined) {
    output.log(`Taking all images of ${data}; --part test takes only those that train holds back.`);
  }
  return joined(train, test);
}

function syntheticSizes({ syntheticCount = 60_000 }: DataOptions): { trainCount: number; testCount: number } {
  return { trainCount: syntheticCount, testCount: Math.min(10_000, Math.ceil(syntheticCount / 6)) };
}

/** Loads a data set by name; a download is shown on stderr. */
export async function loadNamed(
  name: "mnist" | "fashion-mnist",
  output: Output,
  signal?: AbortSignal,
): Promise<DatasetPair> {
  const { mnist } = await import("../data/mnist.js");
  const { fashionMnist } = await import("../data/fashion-mnist.js");
  let shown = "";
  let progress: Progress | undefined;
  try {
    return await (name === "mnist" ? mnist : fashionMnist).load({
      ...(signal === undefined ? {} : { signal }),
      onProgress: ({ file, url, receivedBytes, totalBytes }) => {
        if (shown !== url) {
          shown = url;
          progress?.stop();
          output.log(`Fetching ${url}`);
          progress = output.progress(file, totalBytes ?? 0);
        }
        progress?.update(receivedBytes, fileSize(receivedBytes));
      },
    });
  } catch (error) {
    progress?.stop();
    if (isLeNet5Error(error) && error.code === "LENET5_DATA_DOWNLOAD_FAILED") {
      output.log(
        "Without a network, --data synthetic draws digits, and LENET5_DATA_DIR may name a folder with the files.",
      );
    }
    throw error;
  } finally {
    progress?.stop();
  }
}

/** Draws synthetic digits; progress goes to stderr. */
export async function drawSynthetic(
  sizes: { trainCount: number; testCount: number; seed?: number },
  output: Output,
  signal?: AbortSignal,
): Promise<DatasetPair> {
  const syntheticDigits = await import("../data/synthetic-digits.js");
  const total = sizes.trainCount + sizes.testCount;
  const progress = output.progress(`Drawing ${grouped(total)} digits`, total);
  try {
    return await syntheticDigits.load({
      ...sizes,
      onProgress: (done) => progress.update(done),
      ...(signal === undefined ? {} : { signal }),
    });
  } finally {
    progress.stop();
  }
}

async function loadFolder(folder: string, output: Output, signal?: AbortSignal): Promise<DatasetPair> {
  const idx = await import("../data/idx.js");
  const idxFile = (name: string): string =>
    [name, `${name}.gz`].map((file) => join(folder, file)).find(existsSync) ?? join(folder, name);
  if (existsSync(idxFile(idx.IDX_FILES.trainImages))) {
    const { trainImages, trainLabels, testImages, testLabels } = idx.IDX_FILES;
    return {
      train: await idx.readDataset(idxFile(trainImages), idxFile(trainLabels)),
      test: await idx.readDataset(idxFile(testImages), idxFile(testLabels)),
    };
  }
  const imageFolder = await import("../data/image-folder.js");
  const near = nearest(folder, DATA_NAMES);
  if (!existsSync(folder) && near !== undefined) {
    throw expectedButGot(
      "DATA_NOT_FOUND",
      `${DATA_NAMES.join(", ")} or a folder`,
      "--data",
      `"${folder}" (did you mean "${near}"?)`,
    );
  }
  let progress: Progress | undefined;
  try {
    return await imageFolder.loadPair(folder, {
      onProgress: (done, total) => {
        progress ??= output.progress("Reading images", total);
        progress.update(done, `${grouped(done)} of ${grouped(total)}`);
      },
      ...(signal === undefined ? {} : { signal }),
    });
  } finally {
    progress?.stop();
  }
}

function hasTestSet(folder: string): boolean {
  return ["test", "t10k-images-idx3-ubyte", "t10k-images-idx3-ubyte.gz"].some((name) => existsSync(join(folder, name)));
}

function joined(first: Dataset, second: Dataset): Dataset {
  const images = new Uint8Array(first.images.length + second.images.length);
  images.set(first.images);
  images.set(second.images, first.images.length);
  const labels = new Int32Array(first.count + second.count);
  labels.set(first.labels);
  labels.set(second.labels, first.count);
  return { ...first, images, labels, count: first.count + second.count };
}
