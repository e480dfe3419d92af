import { spawnSync } from "node:child_process";
import {
  createReadStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { packageRoot } from "#package-root";
import { contactSheet } from "../../lib/data/contact-sheet.js";
import { checkZip, readZipEntry } from "../../lib/formats/zip-check.js";
import { idx, subsetOf } from "../../lib/index.js";
import { AUGMENTED_RECIPE, DEFAULT_RECIPE } from "../../lib/lenet5/recipe.js";
import { lastJson, lenet5, line, MAIN, type Run, temporaryFolder } from "./lenet5.js";

// One small model, trained once on a folder of synthetic digits in MNIST's file format.
let folder: string;
let data: string;
let model: string;
let training: Run;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "lenet5-cli-"));
  data = join(folder, "digits");
  model = join(folder, "model.pt");
  const drawn = await lenet5(line`data synthesise --count 3000 --test-count 500 --seed 3 --output ${data} --json`);
  expect(drawn.stderr).toBe("");
  expect(drawn.status).toBe(0);
  expect(lastJson(drawn)).toMatchObject({ train: 3000, test: 500, files: expect.any(Array) });
  training = await lenet5(line`train --data ${data} --epochs 2 --seed 1 --threads 2 --output ${model} --json`);
}, 120_000);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("train", () => {
  test("--json gives exactly one line on stdout, progress goes to stderr", () => {
    expect(training.status).toBe(0);
    expect(training.stdout.trimEnd().split("\n")).toHaveLength(1);
    expect(training.stderr).toMatch(/^Training on 3,000 images of 10 classes, testing on 500/);
    expect(training.stderr).toMatch(/epoch 2\/2: loss 0\.\d+, [\d,]+ images\/s, test accuracy [\d.]+ %/);
    expect(training.stderr).not.toContain("\u001b");
    expect(lastJson(training)).toEqual({
      epochs: [1, 2].map((epoch) => ({
        epoch,
        loss: expect.any(Number),
        seconds: expect.any(Number),
        imagesPerSecond: expect.any(Number),
        validation: Object.fromEntries(
          ["loss", "accuracy", "precision", "recall", "f1"].map((name) => [name, expect.any(Number)]),
        ),
      })),
      test: { accuracy: expect.any(Number), loss: expect.any(Number) },
      model,
      device: expect.stringMatching(/^(cpu|cuda:\d+)$/),
      engine: expect.stringMatching(/^(fused|libtorch)$/),
      system: "libtorch",
      accuracy: lastJson(training).test.accuracy,
      loss: lastJson(training).test.loss,
      batchSize: 64,
      learningRate: 0.005,
      schedule: "one-cycle",
      seed: 1,
      trainingSeconds: expect.any(Number),
      imagesPerSecond: expect.any(Number),
      versions: { "lenet5-libtorch": expect.stringMatching(/^\d+\./), node: process.version },
    });
    const { trainingSeconds, imagesPerSecond } = lastJson(training);
    expect(imagesPerSecond).toBeCloseTo((2 * 3000) / trainingSeconds, 3);
    expect(lastJson(training).test.accuracy).toBeGreaterThan(0.8);
  });

  test("leaves the model and no checkpoint that nobody asked for", () => {
    expect(readdirSync(folder).sort()).toEqual(["digits", "model.pt"]);
  });

  test("the same seed gives the same file; people get a table on stdout", async () => {
    const again = join(temporaryFolder(), "again.pt");
    const run = await lenet5(line`train --data ${data} --epochs 2 --seed 1 --threads 2 --output ${again}`);
    expect(run.status).toBe(0);
    expect(run.stdout).toMatch(/epoch.*loss.*test accuracy/);
    expect(run.stdout).toMatch(/Saved .*again\.pt/);
    const weights = join(temporaryFolder(), "a.safetensors");
    const others = join(temporaryFolder(), "b.safetensors");
    await lenet5(line`export --model ${model} --output ${weights}`);
    await lenet5(line`export --model ${again} --output ${others}`);
    expect(readFileSync(weights).equals(readFileSync(others))).toBe(true);
  });

  test("--augment and --class-weights train another model, from the augmented recipe", async () => {
    const output = join(temporaryFolder(), "m.pt");
    const run = await lenet5(
      line`train --data ${data} --augment --class-weights balanced --epochs 2 --seed 1 --threads 2 --output ${output} --json`,
    );
    expect(run.status).toBe(0);
    expect(lastJson(run).epochs).toHaveLength(2);
    expect(readFileSync(output).equals(readFileSync(model))).toBe(false);
    const { stdout } = await lenet5(line`train --help`);
    const { epochs, learningRate } = DEFAULT_RECIPE;
    expect(stdout.replace(/\s+/g, " ")).toContain(
      `passes over the training set (default: ${epochs}, with --augment ${AUGMENTED_RECIPE.epochs}`,
    );
    expect(stdout.replace(/\s+/g, " ")).toContain(`peak (default: ${learningRate}, with --augment`);
  });

  test("--early-stopping holds a part of the training set back, and ends when it gets no better", async () => {
    const output = join(temporaryFolder(), "m.pt");
    const run = await lenet5(
      line`train --data ${data} --epochs 500 --early-stopping 1 --schedule constant --threads 2 --output ${output} --json`,
    );
    expect(run.stderr).toMatch(/^Training on 2,700 images of 10 classes, validating on 300, testing on 500/);
    expect(run.stderr).toMatch(/epoch 1\/500: .*validation accuracy/);
    expect(run.status).toBe(0);
    const { epochs } = lastJson(run);
    expect(epochs.length).toBeLessThan(500);
    const losses = epochs.map(({ validation }: { validation: { loss: number } }) => validation.loss);
    // The epoch before the last was the best: one without a better figure ends it.
    expect(Math.min(...losses)).toBe(losses.at(-2));
    const split = await lenet5(line`train --data ${data} --epochs 1 --validation-split 0.5 --output ${output}`);
    expect(split.stderr).toMatch(/^Training on 1,500 images of 10 classes, validating on 1,500/);
  });

  test("a device that is not there is an error that says so", async () => {
    const run = await lenet5(
      line`train --data ${data} --device cuda:99 --output ${join(temporaryFolder(), "x.pt")} --json`,
    );
    expect(run.status).toBe(1);
    expect(lastJson(run).error).toMatchObject({
      code: "LENET5_DEVICE_UNAVAILABLE",
      message: expect.stringContaining("cuda:99"),
    });
  });

  test("a slip in the data set's name is pointed out", async () => {
    const run = await lenet5(line`train --data mnits`);
    expect(run.status).toBe(1);
    expect(run.stderr).toMatch(/did you mean "mnist"\?\) \(LENET5_DATA_NOT_FOUND\)\n$/);
  });
});

describe("Ctrl-C during training", () => {
  test("ends within a batch with status 130, names the last checkpoint, and --resume goes on from it", async () => {
    const output = join(temporaryFolder(), "model.pt");
    const words = line`train --data ${data} --schedule constant --seed 1 --output ${output}`;
    let interrupted = false;
    const run = await lenet5(line`${words} --epochs 5000 --json`, {
      onStderr: (text, child) => {
        if (interrupted || !text.includes("epoch 3/5000")) return;
        interrupted = true;
        child.kill("SIGINT");
      },
    });
    expect(run).toMatchObject({ status: 130, signal: null });
    expect(existsSync(output)).toBe(false);
    const checkpoint = `${output}.checkpoint/checkpoint.safetensors`;
    expect(existsSync(checkpoint)).toBe(true);
    expect(lastJson(run)).toEqual({ checkpoint, error: { code: "LENET5_ABORTED", message: expect.any(String) } });
    expect(run.stderr).toContain(checkpoint);
    expect(run.stderr).toMatch(/Go on with: lenet5 train .* --resume\n/);
    const done = Number(/^Interrupted after (\d+) whole epochs\./m.exec(run.stderr)![1]);
    expect(done).toBeGreaterThan(1);

    const resumed = await lenet5(line`${words} --epochs ${done + 2} --resume --json`);
    expect(resumed.status).toBe(0);
    expect(lastJson(resumed).epochs.map(({ epoch }: { epoch: number }) => epoch)).toEqual([done + 1, done + 2]);
    expect(existsSync(output)).toBe(true);
    expect(existsSync(checkpoint)).toBe(false);
  });

  test("--resume without a checkpoint, and with other settings, is an error", async () => {
    const directory = temporaryFolder();
    const output = join(directory, "m.pt");
    const words = line`train --data ${data} --epochs 2 --output ${output} --checkpoint-dir ${directory}`;
    const none = await lenet5(line`${words} --resume`);
    expect(none.status).toBe(1);
    expect(none.stderr).toMatch(/\(LENET5_CHECKPOINT_NOT_FOUND\)\n$/);
    expect((await lenet5(words)).status).toBe(0);
    expect(existsSync(join(directory, "checkpoint.safetensors"))).toBe(true);
    const other = await lenet5(line`${words} --batch-size 32 --resume`);
    expect(other.status).toBe(1);
    expect(other.stderr).toMatch(/batchSize 64.*but received 32 \(LENET5_CHECKPOINT_MISMATCH\)\n$/);
  });
});

describe("Ctrl-C in a command that cannot be resumed", () => {
  const aborted = { error: { code: "LENET5_ABORTED", message: expect.any(String) } };

  /** Sends a signal to a command once it writes to a pipe more than anybody reads. */
  async function interruptWhileWriting(words: string[], signal: NodeJS.Signals): Promise<Run> {
    const pipe = join(temporaryFolder(), "pipe");
    expect(spawnSync("mkfifo", [pipe]).status).toBe(0);
    const reader = createReadStream(pipe, { highWaterMark: 1 });
    try {
      return await lenet5(line`${words} --output ${pipe} --json`, {
        onStart: (child) => reader.once("data", () => reader.pause() && child.kill(signal)),
      });
    } finally {
      reader.destroy();
    }
  }

  test.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const)("%s ends an export with status %i, one line and the object", async (signal, status) => {
    const run = await interruptWhileWriting(line`export --model ${model} --format onnx`, signal);
    expect(run).toMatchObject({ status, signal: null });
    expect(run.stderr).toMatch(/^\nStopping\.\nlenet5: .* \(LENET5_ABORTED\)\n$/);
    expect(lastJson(run)).toEqual(aborted);
  });

  test("ends data show, which writes a contact sheet", async () => {
    const run = await interruptWhileWriting(line`data show --data ${data} --part all --count 2500`, "SIGINT");
    expect(run).toMatchObject({ status: 130, signal: null });
    expect(lastJson(run)).toEqual(aborted);
  });

  test("ends predict, which waits for an image on standard input", async () => {
    const run = await lenet5(line`predict --model ${model} - --json`, {
      stdin: "pipe",
      // More than the system keeps: what has been taken was read by the command.
      onStart: (child) => child.stdin!.on("error", () => {}).write(Buffer.alloc(8_000_000), () => child.kill("SIGINT")),
    });
    expect(run).toMatchObject({ status: 130, signal: null });
    expect(lastJson(run)).toEqual(aborted);
  });
});

describe("evaluate", () => {
  test("gives what training measured, and a confusion matrix that adds up", async () => {
    const run = await lenet5(line`evaluate --model ${model} --data ${data} --json`);
    expect(run.status).toBe(0);
    const result = lastJson(run);
    const names = ["accuracy", "loss", "count", "precision", "recall", "f1", "perClass", "confusion"];
    expect(Object.keys(result)).toEqual(names);
    expect(result.perClass[3]).toMatchObject({
      className: "3",
      support: result.confusion[3].reduce((a: number, b: number) => a + b),
      recall: result.confusion[3][3] / result.perClass[3].support,
    });
    expect(result.count).toBe(500);
    expect(result.accuracy).toBe(lastJson(training).test.accuracy);
    expect(result.confusion.flat().reduce((a: number, b: number) => a + b)).toBe(500);
    expect(result.confusion).toHaveLength(10);
  });

  test("--part train and all take the other images", async () => {
    const counts = await Promise.all(
      ["train", "all"].map(
        async (part) =>
          lastJson(await lenet5(line`evaluate --model ${model} --data ${data} --part ${part} --json`)).count,
      ),
    );
    expect(counts).toEqual([3000, 3500]);
  });

  test("people get the accuracy and the table", async () => {
    const run = await lenet5(line`evaluate --model ${model} --data ${data}`);
    expect(run.stdout).toMatch(/^Accuracy \d\d\.\d\d %, loss [\d.]+ on 500 images\n/);
    expect(run.stdout).toContain("actual \\ predicted");
    expect(run.stdout).toMatch(/class .*precision .*recall .*F1/);
    expect(run.stdout).toContain("mean of the classes");
  });
});

describe("image folders", () => {
  test("classes and their names come from the folders; evaluation matches classes by name", async () => {
    const root = temporaryFolder();
    // Bars: as easy to tell apart as can be.
    const draw = async (name: string, i: number, wide: boolean) => {
      const [width, height] = wide ? [20 + (i % 6), 6] : [6, 20 + (i % 6)];
      const bar = await sharp({ create: { width, height, channels: 3, background: "white" } })
        .png()
        .toBuffer();
      const file = join(root, "bars", name, `${i}.png`);
      await sharp({ create: { width: 40, height: 40, channels: 3, background: "black" } })
        .composite([{ input: bar }])
        .toFile(file);
      return file;
    };
    for (const name of ["upright", "level"]) mkdirSync(join(root, "bars", name), { recursive: true });
    for (let i = 0; i < 50; i++) await Promise.all([draw("level", i, true), draw("upright", i, false)]);
    const output = join(root, "bars.pt");
    const trained = await lenet5(
      line`train --data ${join(root, "bars")} --epochs 10 --batch-size 8 --output ${output} --json`,
    );
    expect(trained.stderr).toContain("Training on 80 images of 2 classes, testing on 20");
    expect(lastJson(trained).test.accuracy).toBe(1);

    const file = join(root, "bars", "upright", "7.png");
    const predicted = lastJson(await lenet5(line`predict --model ${output} ${file} --json`));
    expect(predicted.predictions).toEqual([
      {
        file,
        label: 1,
        className: "upright",
        probability: expect.any(Number),
        probabilities: [expect.any(Number), expect.any(Number)],
      },
    ]);

    // A folder that holds only the second class: its label 0 is the model's 1.
    rmSync(join(root, "bars", "level"), { recursive: true });
    const one = lastJson(await lenet5(line`evaluate --model ${output} --data ${join(root, "bars")} --json`));
    expect(one).toMatchObject({
      accuracy: 1,
      count: 50,
      confusion: [
        [0, 0],
        [0, 50],
      ],
    });

    const stranger = await lenet5(line`evaluate --model ${output} --data ${data} --json`);
    expect(stranger.status).toBe(1);
    expect(lastJson(stranger).error.code).toBe("LENET5_MODEL_MISMATCH");
  }, 60_000);
});

describe("predict", () => {
  async function digits(count: number): Promise<string[]> {
    const target = temporaryFolder();
    const set = await idx.readDataset(join(data, "t10k-images-idx3-ubyte.gz"), join(data, "t10k-labels-idx1-ubyte.gz"));
    const files: string[] = [];
    for (let i = 0; i < count; i++) {
      const file = join(target, `${i} is ${set.labels[i]}.png`);
      await sharp(set.images.subarray(i * 784, (i + 1) * 784), { raw: { width: 28, height: 28, channels: 1 } }).toFile(
        file,
      );
      files.push(file);
    }
    return files;
  }

  test("names each file with its class and probabilities, in order", async () => {
    const files = await digits(10);
    const run = await lenet5(line`predict --model ${model} ${files} --json`);
    expect(run).toMatchObject({ status: 0, stderr: "" });
    const { predictions } = lastJson(run);
    expect(predictions.map(({ file }: { file: string }) => file)).toEqual(files);
    for (const { label, className, probability, probabilities } of predictions) {
      expect(probabilities).toHaveLength(10);
      expect(probabilities.reduce((a: number, b: number) => a + b)).toBeCloseTo(1, 5);
      expect(probability).toBe(Math.max(...probabilities));
      expect(probabilities.indexOf(probability)).toBe(label);
      expect(className).toBe(String(label));
    }
    const right = predictions.filter(({ file, label }: { file: string; label: number }) =>
      file.endsWith(`is ${label}.png`),
    );
    expect(right.length).toBeGreaterThanOrEqual(7);
  });

  test("--top-k names the runners-up, and - is the image on standard input", async () => {
    const [file] = (await digits(1)) as [string];
    const words = line`predict --model ${model} --top-k 3`;
    const child = spawnSync(process.execPath, [MAIN, ...words, "-", "--json"], { input: readFileSync(file) });
    const [prediction] = JSON.parse(String(child.stdout)).predictions;
    expect(prediction.file).toBe("-");
    expect(prediction.top).toHaveLength(3);
    expect(prediction.top[0]).toEqual({
      label: prediction.label,
      className: prediction.className,
      probability: prediction.probability,
    });
    const people = await lenet5([...words, file]);
    expect(people.stdout).toMatch(/file .*class .*probability .*next/);
  });

  test("a bad image among good ones is named, the others are classified, the status is 1", async () => {
    const [good, bad] = (await digits(2)) as [string, string];
    writeFileSync(bad, readFileSync(good).subarray(0, 60));
    const run = await lenet5(line`predict --model ${model} ${bad} ${good} --json`);
    expect(run.status).toBe(1);
    expect(run.stderr).toContain(bad);
    const { predictions, error } = lastJson(run);
    expect(predictions).toHaveLength(1);
    expect(predictions[0].file).toBe(good);
    expect(error).toMatchObject({ code: "LENET5_IMAGE_UNREADABLE", message: expect.stringContaining(bad) });
  });
});

describe("export", () => {
  test.each([
    ["torchscript", "m.pt"],
    ["onnx", "m.onnx"],
    ["safetensors", "m.safetensors"],
    ["mar", "m.mar"],
  ])("%s by the file's ending and by --format", async (format, name) => {
    const output = join(temporaryFolder(), name);
    const run = await lenet5(line`export --model ${model} --output ${output} --json`);
    expect(run.status).toBe(0);
    expect(lastJson(run)).toEqual({ format, output, bytes: readFileSync(output).length });
    const odd = join(temporaryFolder(), "file.bin");
    expect((await lenet5(line`export --model ${model} --format ${format} --output ${odd}`)).status).toBe(0);
    expect(existsSync(odd)).toBe(true);
  });

  test("--model-name is what its help says where it is left out", async () => {
    const output = join(temporaryFolder(), "other-name.mar");
    await lenet5(line`export --model ${model} --output ${output}`);
    const [entry] = (
      await checkZip(readFileSync(output), { what: "archive", where: output, maxInflatedBytes: 1e7 })
    ).filter(({ name }) => name === "MAR-INF/MANIFEST.json");
    const manifest = JSON.parse(String(await readZipEntry(readFileSync(output), entry!)));
    const { stdout } = await lenet5(line`export --help`);
    expect(stdout).toContain(`name in the .mar archive (default: "${manifest.model.modelName}")`);
    // And what exportModelArchive takes.
    expect(manifest.model.modelName).toBe("lenet5");
  });

  test("a safetensors export evaluates like the model", async () => {
    const output = join(temporaryFolder(), "m.safetensors");
    await lenet5(line`export --model ${model} --output ${output}`);
    const run = await lenet5(line`evaluate --model ${output} --data ${data} --json`);
    expect(lastJson(run).accuracy).toBe(lastJson(training).test.accuracy);
  });
});

describe("inspect", () => {
  const file = join(packageRoot, "test", "fixtures", "script-modules", "options.pt");

  test("people get the methods, machines the whole inspection", async () => {
    const people = await lenet5(line`inspect ${file}`);
    expect(people).toMatchObject({ status: 0, stderr: "" });
    expect(people.stdout).toMatch(/^ {2}maybe\(x: Optional\[Tensor\]\) -> Optional\[Tensor\]$/m);
    const { methods } = lastJson(await lenet5(line`inspect ${file} --json`));
    expect(methods.map(({ name }: { name: string }) => name).sort()).toEqual(["count", "forward", "maybe"]);
  });

  test("--emit-types writes a declaration to stdout or a file", async () => {
    const shown = await lenet5(line`inspect ${file} --emit-types`);
    expect(shown.stdout).toContain("export interface Options extends");
    const output = join(temporaryFolder(), "types.d.ts");
    const written = await lenet5(line`inspect ${file} --emit-types --name Chosen --output ${output} --json`);
    expect(lastJson(written)).toEqual({ types: readFileSync(output, "utf8"), output });
    expect(readFileSync(output, "utf8").replace("Chosen", "Options")).toBe(shown.stdout);
  });

  test("our own exports can be inspected, a text file cannot", async () => {
    const { methods, parameters, extraFiles } = lastJson(await lenet5(line`inspect ${model} --json`));
    expect(methods).toEqual([expect.objectContaining({ name: "forward" })]);
    expect(parameters.map(({ name }: { name: string }) => name)).toContain("c3.weight");
    expect(extraFiles).toEqual([expect.objectContaining({ name: "lenet5.json" })]);
    const text = join(temporaryFolder(), "text.pt");
    writeFileSync(text, "no model");
    const run = await lenet5(line`inspect ${text} --json`);
    expect(run.status).toBe(1);
    expect(lastJson(run).error.code).toBe("LENET5_MODEL_CORRUPT");
  });
});

describe("data show", () => {
  test("draws digits on stdout and writes a contact sheet", async () => {
    const sheet = join(temporaryFolder(), "sheet.png");
    const run = await lenet5(line`data show --data ${data} --count 12 --model ${model} --output ${sheet}`);
    expect(run).toMatchObject({ status: 0, stderr: "" });
    expect(run.stdout).toMatch(/[⠁-⣿]{3}/);
    expect(run.stdout.match(/✓|✗/g)).toHaveLength(12);
    // Twelve digits of 56 pixels, a caption of 16 under each, margins of 6 between and around them.
    const { width, height, format } = await sharp(sheet).metadata();
    expect({ width, height, format }).toEqual({ width: 4 * 62 + 6, height: 3 * 78 + 6, format: "png" });
    const { predictions } = lastJson(await lenet5(line`data show --data ${data} --count 12 --model ${model} --json`));
    const set = await idx.readDataset(join(data, "t10k-images-idx3-ubyte.gz"), join(data, "t10k-labels-idx1-ubyte.gz"));
    const first = subsetOf(
      set,
      Array.from({ length: 12 }, (_, i) => i),
    );
    expect(readFileSync(sheet).equals(await contactSheet(first, { predictions }))).toBe(true);
  });

  test("--mistakes shows only wrong answers", async () => {
    const run = await lenet5(line`data show --data ${data} --model ${model} --mistakes --count 5 --json`);
    const { labels, predictions, count } = lastJson(run);
    expect(count).toBeGreaterThan(0);
    expect(labels).toHaveLength(count);
    for (const [i, label] of labels.entries()) expect(predictions[i]).not.toBe(label);
  });
});

test("data fetch finds files in LENET5_DATA_DIR", async () => {
  const run = await lenet5(line`data fetch mnist --json`, { env: { LENET5_DATA_DIR: data } });
  expect(run).toMatchObject({ status: 0, stderr: "" });
  expect(lastJson(run)).toEqual({ datasets: [{ name: "mnist", train: 3000, test: 500 }] });
});

test("a reader that closes stdout early is no failure", () => {
  const command = `("$0" "$1" data show --data "$2" --count 500; echo "status $?" >&2) | head -1`;
  const run = spawnSync("/bin/sh", ["-c", command, process.execPath, MAIN, data], { encoding: "utf8" });
  expect(run).toMatchObject({ status: 0, stderr: "status 0\n" });
  expect(run.stdout.split("\n")).toHaveLength(2);
});

describe("doctor", () => {
  test("finds everything here", async () => {
    const run = await lenet5(line`doctor --json`);
    expect(run).toMatchObject({ status: 0, stderr: "" });
    const { ok, checks } = lastJson(run);
    expect(ok).toBe(true);
    expect(checks).toContainEqual({ name: "loading libtorch", status: "ok", found: expect.any(String) });
  });

  test("fails where the libtorch that was named is none, and says how to mend it", async () => {
    const run = await lenet5(line`doctor`, { env: { LIBTORCH: temporaryFolder() } });
    expect(run.status).toBe(1);
    expect(run.stdout).toMatch(/^✗ libtorch .*\n +→ correct or unset LIBTORCH/m);
  });
});

test("install names what is wrong with --from, and leaves nothing", async () => {
  const cache = temporaryFolder();
  const run = await lenet5(line`install --from ${join(cache, "absent.whl")} --json`, {
    env: { LENET5_CACHE_DIR: cache },
  });
  expect(run.status).toBe(1);
  expect(lastJson(run).error).toMatchObject({
    code: "LENET5_LIBTORCH_INSTALL_FAILED",
    message: expect.stringContaining("absent.whl"),
  });
  expect(readdirSync(cache)).toEqual([]);
});
