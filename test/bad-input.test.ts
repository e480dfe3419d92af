// One table of everything that may be wrong with input. Each row gives a stable code and a message in the one shape, ends
// no process, leaves nothing half-written and the files that were there untouched.

import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import {
  copyFileSync,
  createWriteStream,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import lockfile from "proper-lockfile";
import sharp from "sharp";
import { beforeAll, describe, expect, test } from "vitest";
import { ZipFile } from "yazl";
import { packageRoot } from "#package-root";
import {
  contactSheet,
  type Dataset,
  decodeDigit,
  decodeDigits,
  exportOnnx,
  exportSafetensors,
  idx,
  imageFolder,
  isLeNet5Error,
  LeNet5,
  mnist,
  syntheticDigits,
} from "../lib/index.js";
import { lenet5, line, MAIN, runNode, temporaryFolder } from "./cli/lenet5.js";

const SHAPE = /^Expected .+ for .+ but received .+/;

interface Row {
  /** What is wrong. */
  input: string;
  code: string;
  /** Makes the bad files, beside the good ones that every folder has. */
  prepare?: (folder: string) => unknown;
  /** What refuses it in a program … */
  call?: (folder: string) => unknown;
  /** … and on the command line, as the arguments of `lenet5`. */
  command?: (folder: string) => string[];
  /** A part of the message that tells which input is meant. */
  names?: string;
}

let model: LeNet5;
let digits: Dataset;
/** A good model file. */
let saved: Uint8Array;

beforeAll(async () => {
  model = new LeNet5({ seed: 1, device: "cpu" });
  digits = await syntheticDigits.generate({ count: 40, seed: 1 });
  saved = await model.toTorchScript();
});

/** The four files of an IDX data set. */
async function writeIdx(folder: string): Promise<void> {
  await idx.writeDatasets(join(folder, "idx"), { train: digits, test: digits });
}
const TRAIN_IMAGES = "idx/train-images-idx3-ubyte";
const TRAIN_LABELS = "idx/train-labels-idx1-ubyte";

/** A good data set in which one file is replaced by a plain one with other bytes. */
function withIdx(file: string, contents: () => Uint8Array): (folder: string) => Promise<void> {
  return async (folder) => {
    await writeIdx(folder);
    rmSync(join(folder, `${file}.gz`));
    writeFileSync(join(folder, file), contents());
  };
}

function header(magic: number, ...sizes: number[]): Buffer {
  const bytes = Buffer.alloc(4 + 4 * sizes.length);
  bytes.writeUInt32BE(magic, 0);
  for (const [i, size] of sizes.entries()) bytes.writeUInt32BE(size, 4 + 4 * i);
  return bytes;
}

async function png(path: string): Promise<void> {
  mkdirSync(join(path, ".."), { recursive: true });
  await sharp(digits.images.subarray(0, 784), { raw: { width: 28, height: 28, channels: 1 } })
    .png()
    .toFile(path);
}

/** Good images in two classes, one damaged one among them. */
async function folderWithCorruptPng(folder: string): Promise<void> {
  for (const name of ["a", "b"]) for (let i = 0; i < 3; i++) await png(join(folder, "images", name, `${i}.png`));
  const path = join(folder, "images", "b", "1.png");
  writeFileSync(path, readFileSync(path).subarray(0, 70));
}

/** A zip file whose one entry inflates to 300 MiB of zeroes. */
async function zipBomb(folder: string): Promise<void> {
  const zip = new ZipFile();
  const zeroes = function* () {
    for (let i = 0; i < 300; i++) yield Buffer.alloc(2 ** 20);
  };
  zip.addReadStream(Readable.from(zeroes()), "model/data.pkl", { size: 300 * 2 ** 20 });
  zip.end();
  const file = createWriteStream(join(folder, "bomb.pt"));
  zip.outputStream.pipe(file);
  await once(file, "close");
}

const batchOn = (folder: string, input: string, ...more: string[]): string[] =>
  line`predict --model ${join(folder, "lenet5.pt")} --input ${input} --output ${join(folder, "out.jsonl")} ${more}`;
const trainOn = (folder: string, ...more: string[]): string[] =>
  line`train --data ${join(folder, "idx")} --epochs 1 --output ${join(folder, "lenet5.pt")} ${more}`;
const gateOn = (folder: string, ...more: string[]): string[] => [
  ...line`gate --accuracy 0.9 --loss 0.1 --min-accuracy 0.5 --data ${join(folder, "idx")}`,
  ...line`--model-repository ${join(folder, "models")} ${more}`,
];
/** An empty folder of models. */
const models = (folder: string) => mkdirSync(join(folder, "models"));
/** To a port on which nobody listens. */
const deployOn = (folder: string, ...more: string[]): string[] => [
  ...line`deploy --model ${join(folder, "lenet5.pt")} --model-repository ${join(folder, "models")}`,
  ...line`--model-version 1 --url http://127.0.0.1:9 ${more}`,
];
const fixture = (name: string): string => join(packageRoot, "test", "fixtures", name);
const fitOnce = async (data: Parameters<LeNet5["fit"]>[0], options?: Parameters<LeNet5["fit"]>[1]): Promise<void> => {
  for await (const _ of model.fit(data, options));
};

/** A tensor with a dtype of this name. */
const shapeless = (dtype: unknown) => ({ data: new Float32Array(784), shape: [1, 784], dtype }) as never;
/** Nobody's option. */
const misspelt = { ouptut: new Float32Array(400) } as object;
const png28 = fixture("no-image.png");

const TABLE: Row[] = [
  {
    input: "an IDX header of three bytes",
    code: "LENET5_DATA_CORRUPT",
    prepare: withIdx(TRAIN_IMAGES, () => header(0x803).subarray(0, 3)),
    call: (folder) => idx.read(join(folder, TRAIN_IMAGES)),
    command: trainOn,
    names: TRAIN_IMAGES,
  },
  {
    input: "an IDX header cut off within its dimensions",
    code: "LENET5_DATA_CORRUPT",
    prepare: withIdx(TRAIN_IMAGES, () => header(0x803, 40)),
    call: (folder) => idx.read(join(folder, TRAIN_IMAGES)),
    command: trainOn,
  },
  {
    input: "an IDX file shorter than its header says",
    code: "LENET5_DATA_CORRUPT",
    prepare: withIdx(TRAIN_IMAGES, () => Buffer.concat([header(0x803, 40, 28, 28), Buffer.alloc(1000)])),
    command: trainOn,
  },
  {
    input: "an IDX header that declares 2^96 bytes",
    code: "LENET5_DATA_CORRUPT",
    prepare: withIdx(TRAIN_IMAGES, () => header(0x803, 0xffffffff, 0xffffffff, 0xffffffff)),
    call: (folder) => idx.read(join(folder, TRAIN_IMAGES)),
    command: trainOn,
  },
  {
    input: "labels out of range in a file",
    code: "LENET5_INVALID_LABELS",
    prepare: withIdx(TRAIN_LABELS, () => Buffer.concat([header(0x801, 40), Buffer.alloc(40, 11)])),
    command: trainOn,
    names: "train-labels",
  },
  {
    input: "labels out of range in memory",
    code: "LENET5_INVALID_LABELS",
    call: () => fitOnce({ ...digits, labels: digits.labels.map((label, i) => (i === 7 ? 10 : label)) }),
  },
  {
    input: "a negative label",
    code: "LENET5_INVALID_LABELS",
    call: () => model.evaluate({ images: digits.images, labels: Int32Array.from(digits.labels, () => -1) }),
  },
  {
    input: "image and label counts that differ, in files",
    code: "LENET5_COUNT_MISMATCH",
    prepare: withIdx(TRAIN_LABELS, () => Buffer.concat([header(0x801, 39), Buffer.alloc(39)])),
    command: trainOn,
  },
  {
    input: "image and label counts that differ, in memory",
    code: "LENET5_COUNT_MISMATCH",
    call: () => fitOnce({ images: digits.images, labels: new Int32Array(39) }),
  },
  {
    input: "an empty folder",
    code: "LENET5_DATA_EMPTY",
    prepare: (folder) => mkdirSync(join(folder, "idx")),
    call: (folder) => imageFolder.load(join(folder, "idx")),
    command: trainOn,
  },
  {
    input: "class folders without an image",
    code: "LENET5_DATA_EMPTY",
    prepare: (folder) => mkdirSync(join(folder, "idx", "cats"), { recursive: true }),
    command: trainOn,
  },
  {
    input: "a folder that is not there",
    code: "LENET5_DATA_NOT_FOUND",
    command: (folder) => trainOn(folder, "--data", join(folder, "absent")),
  },
  {
    input: "a corrupt PNG among good ones",
    code: "LENET5_IMAGE_UNREADABLE",
    prepare: folderWithCorruptPng,
    call: (folder) => imageFolder.load(join(folder, "images")),
    command: (folder) => trainOn(folder, "--data", join(folder, "images")),
    names: join("b", "1.png"),
  },
  {
    input: "a corrupt PNG to predict",
    code: "LENET5_IMAGE_UNREADABLE",
    prepare: folderWithCorruptPng,
    call: (folder) => model.predict([join(folder, "images/a/0.png"), join(folder, "images/b/1.png")]),
    command: (folder) =>
      line`predict --model ${join(folder, "lenet5.pt")} ${join(folder, "images/a/0.png")} ${join(folder, "images/b/1.png")}`,
    names: join("b", "1.png"),
  },
  {
    input: "a batch to predict that is not there",
    code: "LENET5_DATA_NOT_FOUND",
    command: (folder) => batchOn(folder, join(folder, "absent")),
    names: "absent",
  },
  {
    input: "a folder to predict without an image",
    code: "LENET5_DATA_EMPTY",
    prepare: (folder) => mkdirSync(join(folder, "images")),
    command: (folder) => batchOn(folder, join(folder, "images")),
    names: "images",
  },
  {
    input: "a list to predict that is no text",
    code: "LENET5_DATA_CORRUPT",
    prepare: (folder) => writeFileSync(join(folder, "list.txt"), "a.png\n\0"),
    command: (folder) => batchOn(folder, join(folder, "list.txt")),
    names: "list.txt",
  },
  {
    input: "an image in place of a list to predict",
    code: "LENET5_INVALID_ARGUMENT",
    prepare: (folder) => png(join(folder, "images", "0.png")),
    command: (folder) => batchOn(folder, join(folder, "images", "0.png")),
    names: "a PNG file",
  },
  {
    input: "an IDX file to predict that is cut off",
    code: "LENET5_DATA_CORRUPT",
    prepare: (folder) =>
      writeFileSync(join(folder, "images"), Buffer.concat([header(0x803, 9, 28, 28), Buffer.alloc(784)])),
    command: (folder) => batchOn(folder, join(folder, "images")),
    names: "images",
  },
  {
    input: "an IDX file of labels to predict",
    code: "LENET5_INVALID_SHAPE",
    prepare: (folder) => writeFileSync(join(folder, "labels"), Buffer.concat([header(0x801, 9), Buffer.alloc(9)])),
    command: (folder) => batchOn(folder, join(folder, "labels")),
    names: "labels",
  },
  {
    input: "a folder where a batch's answers should go",
    code: "LENET5_FILE_WRITE_FAILED",
    prepare: async (folder) => {
      await png(join(folder, "images", "0.png"));
      mkdirSync(join(folder, "out.jsonl"));
    },
    command: (folder) => batchOn(folder, join(folder, "images")),
    names: "out.jsonl",
  },
  {
    input: "somebody's file where a batch's record should be",
    code: "LENET5_CHECKPOINT_CORRUPT",
    prepare: async (folder) => {
      await png(join(folder, "images", "0.png"));
      writeFileSync(join(folder, "out.jsonl.progress"), "notes\nof somebody\n");
    },
    command: (folder) => batchOn(folder, join(folder, "images")),
    names: "out.jsonl.progress",
  },
  {
    input: "a rank that is out of range",
    code: "LENET5_INVALID_OPTION",
    command: (folder) => batchOn(folder, folder, "--shards", "2", "--shard", "2"),
    names: "--shard",
  },
  {
    input: "a text file in place of an image",
    code: "LENET5_IMAGE_UNREADABLE",
    call: () => decodeDigit(Buffer.from("no image at all")),
  },
  {
    input: "a model file that is not there",
    code: "LENET5_MODEL_NOT_FOUND",
    call: (folder) => LeNet5.load(join(folder, "absent.pt")),
    command: (folder) => line`evaluate --data synthetic --model ${join(folder, "absent.pt")}`,
  },
  {
    input: "a .pt that is a text file",
    code: "LENET5_MODEL_CORRUPT",
    prepare: (folder) => writeFileSync(join(folder, "text.pt"), "weights: none\n"),
    call: (folder) => LeNet5.load(join(folder, "text.pt")),
    command: (folder) => line`export --model ${join(folder, "text.pt")} --output ${join(folder, "lenet5.onnx")}`,
    names: "text",
  },
  {
    input: "an empty .pt",
    code: "LENET5_MODEL_CORRUPT",
    call: () => LeNet5.load(new Uint8Array(0)),
  },
  {
    input: "half a .pt",
    code: "LENET5_MODEL_CORRUPT",
    call: () => LeNet5.load(saved.subarray(0, saved.length / 2)),
  },
  {
    input: "a .pt with one byte changed",
    code: "LENET5_MODEL_CORRUPT",
    call: () => {
      const damaged = Uint8Array.from(saved);
      damaged[damaged.length >> 1]! ^= 0xff;
      return LeNet5.load(damaged);
    },
  },
  {
    input: "a .pt that is a zip bomb",
    code: "LENET5_MODEL_TOO_LARGE",
    prepare: zipBomb,
    call: (folder) => LeNet5.load(join(folder, "bomb.pt")),
    command: (folder) => line`export --model ${join(folder, "bomb.pt")} --output ${join(folder, "lenet5.onnx")}`,
  },
  {
    input: "a pickle of torch.save",
    code: "LENET5_MODEL_CORRUPT",
    call: () => LeNet5.load(fixture("state-dicts/torch-save.pth")),
  },
  {
    input: "a safetensors header that declares 2^60 bytes",
    code: "LENET5_MODEL_CORRUPT",
    call: () => LeNet5.load(Buffer.concat([Buffer.from([0, 0, 0, 0, 0, 0, 0, 0x10]), Buffer.from('{"a":1}')])),
  },
  {
    input: "someone else's model",
    code: "LENET5_MODEL_MISMATCH",
    prepare: (folder) => copyFileSync(fixture("script-modules/mlp.pt"), join(folder, "other.pt")),
    call: (folder) => LeNet5.load(join(folder, "other.pt")),
    command: (folder) => line`export --model ${join(folder, "other.pt")} --output ${join(folder, "lenet5.onnx")}`,
  },
  {
    input: "weights of another shape",
    code: "LENET5_MODEL_MISMATCH",
    call: () => {
      const stateDict = model.stateDict();
      return LeNet5.fromStateDict({
        ...stateDict,
        "c3.weight": { data: new Float32Array(16 * 6 * 100), shape: [16, 6, 10, 10], dtype: "float32" },
      });
    },
  },
  {
    input: "pixels that are no whole number of images",
    code: "LENET5_INVALID_SHAPE",
    call: () => model.predict(new Float32Array(1000)),
  },
  {
    input: "a tensor whose shape is not its data's",
    code: "LENET5_INVALID_SHAPE",
    call: () => model.predict({ data: new Float32Array(784), shape: [2, 1, 28, 28], dtype: "float32" }),
  },
  {
    input: "colour images",
    code: "LENET5_INVALID_SHAPE",
    call: () => model.predictSync({ data: new Float32Array(3 * 784), shape: [1, 3, 28, 28], dtype: "float32" }),
  },
  {
    input: "a wrong dtype",
    code: "LENET5_INVALID_DTYPE",
    // @ts-expect-error What a caller without types may do.
    call: () => model.predict({ data: new BigInt64Array(784), shape: [1, 1, 28, 28], dtype: "int64" }),
  },
  {
    input: "NaN pixels",
    code: "LENET5_INVALID_PIXELS",
    call: () => model.predict(new Float32Array(784).fill(Number.NaN, 300, 301)),
  },
  {
    input: "an infinite pixel, synchronously",
    code: "LENET5_INVALID_PIXELS",
    call: () => model.predictSync(new Float32Array(784).fill(Number.POSITIVE_INFINITY, 783)),
  },
  {
    input: "a batch size of 0",
    code: "LENET5_INVALID_OPTION",
    prepare: writeIdx,
    call: () => fitOnce(digits, { batchSize: 0 }),
    command: (folder) => trainOn(folder, "--batch-size", "0"),
  },
  {
    input: "a learning rate of −1",
    code: "LENET5_INVALID_OPTION",
    prepare: writeIdx,
    call: () => fitOnce(digits, { learningRate: -1 }),
    command: (folder) => trainOn(folder, "--learning-rate", "-1"),
  },
  {
    input: "a misspelt option",
    code: "LENET5_UNKNOWN_OPTION",
    prepare: writeIdx,
    // @ts-expect-error What a caller without types may do.
    call: () => fitOnce(digits, { batchsize: 64 }),
    command: (folder) => trainOn(folder, "--bacth-size", "64"),
    names: "did you mean",
  },
  {
    input: "a misspelt option of a data set",
    code: "LENET5_UNKNOWN_OPTION",
    // @ts-expect-error What a caller without types may do.
    call: () => mnist.load({ direktory: "/" }),
  },
  ...(
    [
      ["null for a model's options", "INVALID_ARGUMENT", () => new LeNet5(null as never)],
      ["null for a training's options", "INVALID_ARGUMENT", () => fitOnce(digits, null as never)],
      ["null for a state dict", "INVALID_ARGUMENT", () => LeNet5.fromStateDict(null as never)],
      ["null for a file", "INVALID_ARGUMENT", () => LeNet5.load(null as never)],
      ["an empty path", "INVALID_ARGUMENT", () => LeNet5.load("")],
      ["an http: address for a model", "INVALID_ARGUMENT", () => LeNet5.load(new URL("http://127.0.0.1/lenet5.pt"))],
      ["a dtype that every object has", "INVALID_DTYPE", () => model.predict(shapeless("toString"))],
      ["a dtype of null", "INVALID_DTYPE", () => model.predictSync(shapeless(null))],
      ["a misspelt option of predictSync", "UNKNOWN_OPTION", () => model.predictSync(digits.images, misspelt)],
      ["a misspelt option of forwardSync", "UNKNOWN_OPTION", () => model.forwardSync(digits.images, misspelt)],
      ["a misspelt option of decodeDigits", "UNKNOWN_OPTION", () => decodeDigits([], misspelt)],
      ["a misspelt option of LeNet5.load", "UNKNOWN_OPTION", () => LeNet5.load(saved, misspelt)],
      ["a misspelt option of an export", "UNKNOWN_OPTION", () => exportOnnx(model, misspelt)],
      ["a concurrency of NaN", "INVALID_OPTION", () => decodeDigits([png28], { concurrency: Number.NaN })],
      ["a concurrency of 0", "INVALID_OPTION", () => decodeDigits([png28], { concurrency: 0 })],
      ["class names of another number", "INVALID_OPTION", () => LeNet5.load(saved, { classNames: ["a"] })],
      ["a normalisation of 0", "INVALID_OPTION", () => LeNet5.load(saved, { normalization: { mean: 0, std: 0 } })],
      ["a path that is undefined", "INVALID_ARGUMENT", () => exportSafetensors(model, undefined as never)],
      ["a signal that is none", "INVALID_OPTION", () => LeNet5.load(saved, { signal: {} as AbortSignal })],
    ] as [string, string, () => unknown][]
  ).map(([input, code, call]) => ({ input, code: `LENET5_${code}`, call })),
  {
    input: "predictions for other images on a contact sheet",
    code: "LENET5_COUNT_MISMATCH",
    call: () => contactSheet(digits, { predictions: [1, 2, 3] }),
  },
  {
    input: "a folder where the model should go",
    code: "LENET5_FILE_WRITE_FAILED",
    prepare: (folder) => mkdirSync(join(folder, "taken.pt")),
    call: (folder) => model.save(join(folder, "taken.pt")),
    command: (folder) => line`export --model ${join(folder, "lenet5.pt")} --output ${join(folder, "taken.pt")}`,
  },
  {
    input: "a folder where the model of a training should go",
    code: "LENET5_FILE_WRITE_FAILED",
    prepare: (folder) => mkdirSync(join(folder, "taken.pt")),
    command: (folder) => trainOn(folder, "--output", join(folder, "taken.pt")),
  },
  {
    input: "a file where a folder should be",
    code: "LENET5_FILE_WRITE_FAILED",
    call: (folder) => model.save(join(folder, "lenet5.pt", "below.pt")),
    command: (folder) =>
      line`export --model ${join(folder, "lenet5.pt")} --output ${join(folder, "lenet5.pt", "below.pt")}`,
  },
  {
    input: "a gate's metrics that are NaN",
    code: "LENET5_INVALID_OPTION",
    prepare: writeIdx,
    command: (folder) => gateOn(folder, "--accuracy", "NaN"),
    names: "--accuracy",
  },
  {
    input: "a gate for a folder of models that is not there",
    code: "LENET5_DATA_NOT_FOUND",
    prepare: writeIdx,
    command: (folder) => gateOn(folder, "--model-repository", join(folder, "absent")),
    names: "absent",
  },
  {
    input: "a gate before a deployed model that is damaged",
    code: "LENET5_MODEL_CORRUPT",
    prepare: async (folder) => {
      await writeIdx(folder);
      mkdirSync(join(folder, "models", "lenet5", "1"), { recursive: true });
      writeFileSync(join(folder, "models", "lenet5", "1", "model.pt"), "no model");
    },
    command: gateOn,
  },
  {
    input: "a model to deploy that is not there",
    code: "LENET5_MODEL_NOT_FOUND",
    prepare: models,
    command: (folder) => deployOn(folder, "--model", join(folder, "absent.pt")),
    names: "absent.pt",
  },
  {
    input: "a file to deploy that is no model by its name",
    code: "LENET5_INVALID_OPTION",
    prepare: models,
    command: (folder) => deployOn(folder, "--model", join(folder, "lenet5.onnx")),
    names: "--model",
  },
  {
    input: "a folder to deploy into that is not there",
    code: "LENET5_DATA_NOT_FOUND",
    command: deployOn,
    names: "models",
  },
  {
    input: "a name to deploy under that leads out of the folder",
    code: "LENET5_INVALID_OPTION",
    prepare: models,
    command: (folder) => deployOn(folder, "--model-name", "../lenet5"),
    names: "--model-name",
  },
  {
    input: "a version to deploy that is no whole number",
    code: "LENET5_INVALID_OPTION",
    prepare: models,
    command: (folder) => deployOn(folder, "--model-version", "1.0"),
    names: "--model-version",
  },
  {
    input: "a server that is not there",
    code: "LENET5_SERVER_UNREACHABLE",
    prepare: models,
    command: deployOn,
  },
  {
    input: "a server's address that is none",
    code: "LENET5_INVALID_OPTION",
    prepare: models,
    command: (folder) => deployOn(folder, "--url", "localhost:8080"),
    names: "--url",
  },
  {
    input: "results for a report that are no JSON",
    code: "LENET5_INVALID_OPTION",
    command: (folder) => line`report --results ${"{"} --output ${join(folder, "report.md")}`,
    names: "--results",
  },
  {
    input: "results for a report that are no objects",
    code: "LENET5_INVALID_OPTION",
    command: (folder) => line`report --results ${'{"gate":1}'} --output ${join(folder, "report.md")}`,
    names: "--results",
  },
  {
    input: "a second writer of the same file",
    code: "LENET5_FILE_BUSY",
    call: async (folder) => {
      const release = await lockfile.lock(join(folder, "lenet5.pt"));
      await model.save(join(folder, "lenet5.pt")).finally(release);
    },
  },
];

/** Every file and folder below, with its contents in short. */
function listing(folder: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const name of readdirSync(folder, { recursive: true, encoding: "utf8" }).sort()) {
    const path = join(folder, name);
    found[name] = statSync(path).isDirectory()
      ? "folder"
      : createHash("sha256").update(readFileSync(path)).digest("hex");
  }
  return found;
}

async function folderFor(row: Row): Promise<string> {
  const folder = temporaryFolder();
  writeFileSync(join(folder, "lenet5.pt"), saved);
  await row.prepare?.(folder);
  return folder;
}

describe("in a program", () => {
  test.each(TABLE.filter(({ call }) => call))("$input: $code", async (row) => {
    const folder = await folderFor(row);
    const before = listing(folder);
    const error = await (async () => row.call!(folder))().then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(isLeNet5Error(error)).toBe(true);
    expect(error).toMatchObject({ code: row.code, message: expect.stringMatching(SHAPE) });
    expect((error as Error).message).toContain(row.names ?? "");
    expect(listing(folder)).toEqual(before);
    // The model has survived it.
    expect((await model.predict(digits.images)).count).toBe(40);
  });
});

describe("on the command line", () => {
  test.each(TABLE.filter(({ command }) => command))("$input: $code", async (row) => {
    const folder = await folderFor(row);
    const before = listing(folder);
    const run = await lenet5(row.command!(folder));
    expect(run.signal).toBe(null);
    expect([1, 2]).toContain(run.status);
    const line = run.stderr.trimEnd().split("\n").at(-1)!;
    expect(line).toMatch(/^lenet5: Expected .+ for .+ but received .+ \(LENET5_[A-Z_]+\)$/);
    expect(line).toContain(`(${row.code})`);
    expect(line).toContain(row.names ?? "");
    expect(run.stderr).not.toMatch(/^ +at /m);
    expect(listing(folder)).toEqual(before);
  });
});

describe("saving under fire", () => {
  const save = (path: string, times: number): string[] => [
    "--input-type=module",
    "--eval",
    `import { LeNet5 } from ${JSON.stringify(join(packageRoot, "dist/esm/lenet5-libtorch.js"))};
     const model = new LeNet5({ seed: 2, device: "cpu" });
     try {
       for (let i = 0; i < ${times}; i++) {
         await model.save(${JSON.stringify(path)});
         console.log("saved");
       }
     } catch (error) {
       console.log(error.code, error.message);
     }`,
  ];

  // A limit on the size of files stops a write in its middle as a full disk does, and needs no privileges.
  test("a disk that is full: LENET5_FILE_WRITE_FAILED", () => {
    const folder = temporaryFolder();
    const path = join(folder, "lenet5.pt");
    writeFileSync(path, saved);
    const before = listing(folder);
    const command = line`${MAIN} export --model ${path} --format torchscript --output ${path}`;
    const script = 'ulimit -f 64; exec "$0" "$@"';
    const run = spawnSync("/bin/sh", ["-c", script, process.execPath, ...command], { encoding: "utf8" });
    expect(run).toMatchObject({ status: 1, signal: null, stdout: "" });
    expect(run.stderr).toMatch(
      /^lenet5: Expected a whole file for .+ but received EFBIG.+\(LENET5_FILE_WRITE_FAILED\)\n$/,
    );
    expect(listing(folder)).toEqual(before);
  });

  test("a process killed while it saves leaves a whole file, and the next save removes what it left", async () => {
    const folder = temporaryFolder();
    const path = join(folder, "lenet5.pt");
    const unfinished = () => readdirSync(folder).filter((name) => name.endsWith(".tmp"));
    let hits = 0;
    for (let round = 0; round < 4; round++) {
      const child = spawn(process.execPath, save(path, 1_000_000), { stdio: ["ignore", "pipe", "inherit"] });
      await once(child.stdout, "data");
      // The child writes one file after another: the kill is for the moment at which one of them is under way.
      const left = new Set(unfinished());
      const end = performance.now() + 10_000;
      while (unfinished().every((name) => left.has(name)) && performance.now() < end);
      child.kill("SIGKILL");
      await once(child, "close");
      if (unfinished().length > 0) hits++;
      const again = await LeNet5.load(path);
      expect(again.stateDict()).toEqual(new LeNet5({ seed: 2, device: "cpu" }).stateDict());
      // The dead writer's lock stops counting after ten seconds; it is made that old here.
      const lock = `${path}.lock`;
      if (readdirSync(folder).includes("lenet5.pt.lock")) utimesSync(lock, new Date(0), new Date(0));
    }
    // A kill may come just after the rename; not four times.
    expect(hits).toBeGreaterThan(0);
    await model.save(path);
    expect(readdirSync(folder)).toEqual(["lenet5.pt"]);
  }, 180_000);

  test("a second process that writes the same file: LENET5_FILE_BUSY, and the first one's file is whole", async () => {
    const folder = temporaryFolder();
    const path = join(folder, "lenet5.pt");
    writeFileSync(path, saved);
    const release = await lockfile.lock(path);
    const before = readFileSync(path);
    const [program, command] = await Promise.all([
      runNode(save(path, 1)),
      runNode([MAIN, "export", "--model", path, "--format", "torchscript", "--output", path]),
    ]);
    await release();
    expect(program).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/^LENET5_FILE_BUSY Expected .+ for .+ but received/),
    });
    expect(command).toMatchObject({ status: 1, stderr: expect.stringMatching(/\(LENET5_FILE_BUSY\)\n$/) });
    expect(readFileSync(path).equals(before)).toBe(true);
    expect(readdirSync(folder)).toEqual(["lenet5.pt"]);
  });
});
