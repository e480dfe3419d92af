import { createHash } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { setTimeout as delay } from "node:timers/promises";
import { crc32 } from "node:zlib";
import { afterAll, describe, expect, it } from "vitest";
import {
  type FitEvent,
  type FitOptions,
  getNumThreads,
  LeNet5,
  readSafetensors,
  safetensorsBytes,
  setNumThreads,
} from "../../lib/index.js";
import { stripedImages } from "./striped-images.js";

const folder = mkdtempSync(join(tmpdir(), "lenet5-fit-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const data = stripedImages(960);
const engines = ["libtorch", "fused"] as const;

async function run(model: LeNet5, options: FitOptions, set = data): Promise<FitEvent[]> {
  const events: FitEvent[] = [];
  for await (const event of model.fit(set, options)) events.push(event);
  return events;
}

/** The share of the time in which the event loop did something while this went on. */
async function eventLoopShare(work: () => Promise<void>): Promise<number> {
  const before = performance.eventLoopUtilization();
  await work();
  return performance.eventLoopUtilization(before).utilization;
}

function fingerprint(model: LeNet5): string {
  const hash = createHash("sha256");
  for (const { data: values } of Object.values(model.stateDict())) hash.update(values);
  return hash.digest("hex");
}

describe.each(engines)("fit with the %s engine", (engine) => {
  it("learns, and tells of each epoch", async () => {
    using model = new LeNet5({ seed: 5, engine });
    const events = await run(model, { epochs: 4, learningRate: 0.003, schedule: "one-cycle", validation: data });
    const epochs = events.filter((event) => event.type === "epoch");
    expect(epochs.map((event) => event.epoch)).toEqual([1, 2, 3, 4]);
    expect(epochs[3]!.loss).toBeLessThan(epochs[0]!.loss / 3);
    expect(epochs[3]!.validation!.accuracy).toBeGreaterThan(0.95);
    expect(epochs[3]!.imagesPerSecond * epochs[3]!.seconds).toBeCloseTo(960, 3);
    const evaluation = await model.evaluate(data);
    expect(evaluation.accuracy).toBeCloseTo(epochs[3]!.validation!.accuracy, 6);
    expect(evaluation.loss).toBeCloseTo(epochs[3]!.validation!.loss, 6);
    expect(evaluation.confusion!.flat().reduce((sum, n) => sum + n, 0)).toBe(960);
    expect(evaluation.confusion!.map((row) => row.reduce((sum, n) => sum + n, 0))).toEqual(new Array(10).fill(96));
  });

  it("gives the same weights for the same seed, others for another", async () => {
    const prints: string[] = [];
    for (const seed of [5, 5, 6]) {
      using model = new LeNet5({ seed, engine });
      await run(model, { epochs: 2 });
      prints.push(fingerprint(model));
    }
    expect(prints[1]).toBe(prints[0]);
    expect(prints[2]).not.toBe(prints[0]);
  });

  it.each(["constant", "one-cycle"] as const)("resumes a %s run to bit-identical weights", async (schedule) => {
    const options = { epochs: 3, schedule, seed: 9, weightDecay: 1e-4 };
    using whole = new LeNet5({ seed: 5, engine });
    await run(whole, options);
    const checkpointDirectory = mkdtempSync(join(folder, "resume-"));
    // The checkpoint of the first epoch: training goes on while this loop looks at it.
    const kept = mkdtempSync(join(folder, "kept-"));
    using first = new LeNet5({ seed: 5, engine });
    for await (const event of first.fit(data, { ...options, checkpointDirectory })) {
      if (event.type !== "epoch") continue;
      expect(event.checkpoint).toBe(join(checkpointDirectory, "checkpoint.safetensors"));
      copyFileSync(event.checkpoint!, join(kept, "checkpoint.safetensors"));
      if (event.epoch === 1) break;
    }
    using second = new LeNet5({ seed: 77, engine });
    const events = await run(second, { ...options, checkpointDirectory: kept, resume: true });
    expect(events.filter((event) => event.type === "epoch").map((event) => event.epoch)).toEqual([2, 3]);
    expect(fingerprint(second)).toBe(fingerprint(whole));
  });

  it("stops within a few batches when aborted, not at the end of the epoch", async () => {
    // Black images of one class have a gradient that stays: each step of Adam moves that class's bias by the learning
    // rate, so the bias counts the steps. They are large, to last longer than an event takes to arrive.
    const [batchSize, steps, learningRate] = [engine === "fused" ? 2048 : 256, 40, 1e-5];
    const black = {
      images: new Uint8Array(784 * batchSize * steps),
      labels: new Int32Array(batchSize * steps).fill(3),
    };
    using model = new LeNet5({ seed: 5, engine });
    const bias = () => model.stateDict()["output.bias"]!.data[3]!;
    const before = bias();
    const controller = new AbortController();
    const options = { batchSize, learningRate, schedule: "constant", weightDecay: 0, progressInterval: 0 } as const;
    let told = 0;
    const running = (async () => {
      for await (const event of model.fit(black, { ...options, epochs: 2, signal: controller.signal })) {
        if (event.type !== "progress" || event.step < 2 || told > 0) continue;
        told = event.step;
        controller.abort(new Error("enough"));
      }
    })();
    await expect(running).rejects.toMatchObject({ code: "LENET5_ABORTED" });
    const done = Math.round((bias() - before) / learningRate);
    expect(done).toBeGreaterThanOrEqual(told);
    expect(done).toBeLessThanOrEqual(told + 4);
  });

  it("ends with an AbortError when aborted, and the model goes on", async () => {
    using model = new LeNet5({ seed: 5, engine });
    const controller = new AbortController();
    const running = (async () => {
      const options = { epochs: 100_000, progressInterval: 0.01, signal: controller.signal };
      for await (const event of model.fit(data, options)) {
        if (event.type === "progress" && event.epoch >= 2) controller.abort(new Error("enough"));
      }
    })();
    await expect(running).rejects.toMatchObject({
      code: "LENET5_ABORTED",
      name: "AbortError",
      cause: new Error("enough"),
    });
    expect(model.training).toBe(false);
    await run(model, { epochs: 1 });
    expect((await model.predict(data.images)).count).toBe(960);
  });

  it("stops when the loop is left", async () => {
    using model = new LeNet5({ seed: 5, engine });
    const before = fingerprint(model);
    for await (const event of model.fit(data, { epochs: 100_000, progressInterval: 0.01 })) {
      if (event.type === "epoch") break;
    }
    expect(model.training).toBe(false);
    expect(fingerprint(model)).not.toBe(before);
  });

  it("predicts during training, and allows one training at a time", async () => {
    using model = new LeNet5({ seed: 5, engine });
    let predictions = 0;
    // Without an end of its own: a run that has ended has given the model free, though its events still wait.
    for await (const event of model.fit(data, { epochs: 100_000, progressInterval: 0 })) {
      if (event.type === "progress" && event.step % 5 !== 0) continue;
      predictions += (await model.predict(data.images.subarray(0, 7840))).count;
      await expect(run(model, {})).rejects.toMatchObject({ code: "LENET5_MODEL_BUSY" });
      expect(() => model.loadStateDict(model.stateDict())).toThrow(
        expect.objectContaining({ code: "LENET5_MODEL_BUSY" }),
      );
      if (predictions > 50) break;
    }
    expect(predictions).toBeGreaterThan(50);
  });

  it("keeps the event loop free", async () => {
    using model = new LeNet5({ seed: 5, engine });
    // An epoch of 30,000 images is a fifth of a second's work, or several seconds'.
    const many = stripedImages(30_000);
    const some = many.images.subarray(0, 784 * 2000);
    const idle = await eventLoopShare(() => delay(1000));
    const training = await eventLoopShare(async () => {
      const end = performance.now() + 2000;
      for await (const _ of model.fit(many, { epochs: 100_000, progressInterval: 0.05 })) {
        if (performance.now() > end) break;
      }
    });
    // The control: what this measures where the same network works on the event loop itself.
    const blocked = await eventLoopShare(async () => {
      for (const end = performance.now() + 1000; performance.now() < end; await delay(1)) model.predictSync(some);
    });
    expect(training).toBeLessThan(idle + 0.4);
    expect(blocked).toBeGreaterThan(idle + 0.6);
  });
});

it("takes class names and normalisation from the first training set", async () => {
  const classNames = Array.from({ length: 10 }, (_, i) => `class ${i}`);
  using model = new LeNet5({ seed: 5 });
  expect(model.normalization).toEqual({ mean: 0.1307, std: 0.3081 });
  await run(model, {}, { ...data, classNames } as typeof data);
  expect(model.classNames).toEqual(classNames);
  const pixels = Array.from(data.images, (pixel) => pixel / 255);
  const mean = pixels.reduce((sum, pixel) => sum + pixel, 0) / pixels.length;
  expect(model.normalization.mean).toBeCloseTo(mean, 4);
});

it("trains with one thread as with two, near enough", async () => {
  const threads = getNumThreads();
  const losses: number[] = [];
  try {
    for (const count of [1, 2]) {
      setNumThreads(count);
      expect(getNumThreads()).toBe(count);
      using model = new LeNet5({ seed: 5 });
      const events = await run(model, { epochs: 1 });
      losses.push(events.at(-1)!.loss);
    }
  } finally {
    setNumThreads(threads);
  }
  expect(losses[0]).toBeCloseTo(losses[1]!, 2);
});

describe("checkpoints", () => {
  const options = { epochs: 2, seed: 9 };

  async function checkpointed(): Promise<string> {
    const checkpointDirectory = mkdtempSync(join(folder, "checkpoint-"));
    using model = new LeNet5({ seed: 5 });
    await run(model, { ...options, epochs: 1, checkpointDirectory });
    return checkpointDirectory;
  }

  it("are one whole file, and nothing else is left", async () => {
    expect(readdirSync(await checkpointed())).toEqual(["checkpoint.safetensors"]);
  });

  it("are written by a run that starts at once after one that was killed in the write of its own", async () => {
    const checkpointDirectory = await checkpointed();
    // What such a run leaves; after fifteen seconds without a sign of life it counts as dead, two of which are left.
    const lock = join(checkpointDirectory, "checkpoint.safetensors.lock");
    mkdirSync(lock);
    const refreshed = new Date(Date.now() - 13_000);
    utimesSync(lock, refreshed, refreshed);
    using model = new LeNet5({ seed: 5 });
    const before = readFileSync(join(checkpointDirectory, "checkpoint.safetensors"));
    await run(model, { ...options, epochs: 1, seed: 10, checkpointDirectory });
    expect(readFileSync(join(checkpointDirectory, "checkpoint.safetensors")).equals(before)).toBe(false);
    expect(readdirSync(checkpointDirectory)).toEqual(["checkpoint.safetensors"]);
  });

  it("are refused when settings or data differ", async () => {
    const checkpointDirectory = await checkpointed();
    for (const [change, set] of [
      [{ batchSize: 32 }, data],
      [{ learningRate: 0.5 }, data],
      [{ seed: 10 }, data],
      [{}, stripedImages(970)],
      [{}, { ...data, labels: data.labels.map((label) => 9 - label) }],
    ] as const) {
      using model = new LeNet5({ seed: 5 });
      const resumed = run(model, { ...options, ...change, checkpointDirectory, resume: true }, set);
      await expect(resumed).rejects.toMatchObject({ code: "LENET5_CHECKPOINT_MISMATCH" });
    }
  });

  it.each<[string, (metadata: Record<string, string | undefined>) => void]>([
    ["epochs in words", (metadata) => (metadata.epoch = "abc")],
    ["half an epoch", (metadata) => (metadata.epoch = "1.5")],
    ["fewer than no epochs", (metadata) => (metadata.epoch = "-1")],
    ["more epochs than there are", (metadata) => (metadata.epoch = "9007199254740991")],
    ["no step", (metadata) => delete metadata.step],
    ["an empty step", (metadata) => (metadata.step = "")],
    ["settings of nothing", (metadata) => (metadata.settings = "null")],
    ["no settings", (metadata) => delete metadata.settings],
    ["an empty record of early stopping", (metadata) => (metadata.earlyStopping = "{}")],
    ["a record of nothing", (metadata) => (metadata.earlyStopping = "null")],
    ["a best epoch in words", (metadata) => (metadata.earlyStopping = '{"bestEpoch":"x","bestValue":0,"waited":0}')],
    [
      "a best epoch without weights",
      (metadata) => (metadata.earlyStopping = '{"bestEpoch":1,"bestValue":0,"waited":0}'),
    ],
  ])("are refused with %s, though the checksum is right", async (_, forge) => {
    const checkpointDirectory = await checkpointed();
    const path = join(checkpointDirectory, "checkpoint.safetensors");
    const { tensors, metadata } = readSafetensors(readFileSync(path));
    const { crc32: stored, ...rest } = metadata;
    const sumOf = (texts: Record<string, string>) => {
      let sum = 0;
      for (const name of Object.keys(tensors).sort()) {
        const { buffer, byteOffset, byteLength } = tensors[name]!.data;
        sum = crc32(new Uint8Array(buffer, byteOffset, byteLength), crc32(name, sum));
      }
      for (const name of Object.keys(texts).sort()) sum = crc32(`${name}=${texts[name]}`, sum);
      return sum.toString(16);
    };
    expect(sumOf(rest)).toBe(stored);
    forge(rest);
    writeFileSync(path, safetensorsBytes(tensors, { ...rest, crc32: sumOf(rest) }));
    using model = new LeNet5({ seed: 5 });
    const before = fingerprint(model);
    await expect(run(model, { ...options, checkpointDirectory, resume: true })).rejects.toMatchObject({
      code: "LENET5_CHECKPOINT_CORRUPT",
      message: expect.stringContaining(path),
    });
    expect(fingerprint(model)).toBe(before);
  });

  it("are refused by a run that would have ended before them", async () => {
    const checkpointDirectory = await checkpointed();
    const constant = { ...options, schedule: "constant", checkpointDirectory } as const;
    using first = new LeNet5({ seed: 5 });
    await run(first, { ...constant, epochs: 3 });
    using model = new LeNet5({ seed: 5 });
    const before = fingerprint(model);
    await expect(run(model, { ...constant, epochs: 2, resume: true })).rejects.toMatchObject({
      code: "LENET5_CHECKPOINT_MISMATCH",
      message: expect.stringMatching(/at least 3 epochs.*received 2$/),
    });
    expect(fingerprint(model)).toBe(before);
    expect(await run(model, { ...constant, epochs: 3, resume: true })).toEqual([]);
  });

  it("are refused when absent or damaged", async () => {
    const checkpointDirectory = await checkpointed();
    const path = join(checkpointDirectory, "checkpoint.safetensors");
    const whole = readFileSync(path);
    const flipped = Buffer.from(whole);
    flipped[whole.length - 1000]! ^= 1;
    for (const [contents, code] of [
      [whole.subarray(0, whole.length / 2), "LENET5_CHECKPOINT_CORRUPT"],
      [flipped, "LENET5_CHECKPOINT_CORRUPT"],
      [Buffer.from("not a checkpoint"), "LENET5_CHECKPOINT_CORRUPT"],
    ] as const) {
      writeFileSync(path, contents);
      using model = new LeNet5({ seed: 5 });
      const before = fingerprint(model);
      await expect(run(model, { ...options, checkpointDirectory, resume: true })).rejects.toMatchObject({ code });
      expect(fingerprint(model)).toBe(before);
    }
    rmSync(path);
    expect(existsSync(path)).toBe(false);
    using model = new LeNet5({ seed: 5 });
    await expect(run(model, { ...options, checkpointDirectory, resume: true })).rejects.toMatchObject({
      code: "LENET5_CHECKPOINT_NOT_FOUND",
    });
  });
});

it.each([
  [{ batchSize: 0 }, "LENET5_INVALID_OPTION"],
  [{ learningRate: -1 }, "LENET5_INVALID_OPTION"],
  [{ learningRate: Number.NaN }, "LENET5_INVALID_OPTION"],
  [{ epochs: 1.5 }, "LENET5_INVALID_OPTION"],
  [{ betas: [0.9, 1] }, "LENET5_INVALID_OPTION"],
  [{ betas: 0.9 }, "LENET5_INVALID_OPTION"],
  [{ schedule: "cosine" }, "LENET5_INVALID_OPTION"],
  [{ resume: true }, "LENET5_INVALID_OPTION"],
  [{ signal: {} }, "LENET5_INVALID_OPTION"],
  [{ batchsize: 64 }, "LENET5_UNKNOWN_OPTION"],
])("refuses the options %j at once", (options, code) => {
  using model = new LeNet5({ seed: 5 });
  expect(() => model.fit(data, options as never)).toThrow(expect.objectContaining({ code }));
});

it.each([
  [{ images: data.images, labels: data.labels.subarray(1) }, "LENET5_COUNT_MISMATCH"],
  [{ images: data.images, labels: data.labels.map((label) => label + 1) }, "LENET5_INVALID_LABELS"],
  [{ images: data.images.subarray(1), labels: data.labels }, "LENET5_INVALID_SHAPE"],
  [{ images: new Uint8Array(0), labels: new Int32Array(0) }, "LENET5_DATA_EMPTY"],
  [{ images: new Float32Array(784), labels: new Int32Array(1) }, "LENET5_INVALID_DTYPE"],
  [undefined, "LENET5_INVALID_ARGUMENT"],
])("refuses bad data at once (%#)", (set, code) => {
  using model = new LeNet5({ seed: 5 });
  expect(() => model.fit(set as never)).toThrow(expect.objectContaining({ code }));
});
