// Training and predicting on a GPU, held against the CPU. Node's own test runner: the machine with the GPU has nothing else
// (scripts/test-cuda.mjs). With LENET5_TEST_DEVICE=cpu the CPU stands in for the GPU, trained on as a GPU is but for the graphs
// (native/core/device_training.h): test/lenet5/device-training.test.ts runs it so everywhere.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { devices, LeNet5 } from "../../dist/esm/lenet5-libtorch.js";
import { libtorch } from "../../dist/esm/scripts.js";
import { stripedImages } from "./images.mjs";

const DEVICE = process.env.LENET5_TEST_DEVICE ?? "cuda";
const STANDS_IN = DEVICE === "cpu";
const normalization = { mean: 0.1307, std: 0.3081 };
// No multiple of the batch size: the last batch of an epoch is a smaller one.
const data = stripedImages(1000);
const folder = mkdtempSync(join(tmpdir(), "lenet5-cuda-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const model = (device, options = {}) => new LeNet5({ seed: 7, normalization, engine: "libtorch", device, ...options });

/** Runs `body` on the way of a device: the GPU, or the CPU in its place; or, for "reference", the CPU as it always is. */
async function asOn(device, body) {
  if (device !== "reference" && STANDS_IN) process.env.LENET5_DEVICE_TRAINING = "cpu";
  else delete process.env.LENET5_DEVICE_TRAINING;
  try {
    return await body(device === "reference" ? "cpu" : device);
  } finally {
    delete process.env.LENET5_DEVICE_TRAINING;
  }
}

/** Trains, and gives all that is told of it. */
function trained(device, options = {}, set = data) {
  return asOn(device, async (where) => {
    const own = model(where);
    const losses = [];
    const epochs = [];
    const settings = { epochs: 3, batchSize: 64, learningRate: 0.002, seed: 3, ...options };
    for await (const event of own.fit(set, settings)) {
      if (event.type === "progress") losses.push(event.loss);
      else epochs.push(event);
    }
    return { model: own, losses, epochs };
  });
}

/** Rounding differs, and Adam makes whole steps of tiny gradients of either sign: losses drift apart, slowly. */
function assertAlike(own, reference) {
  assert.equal(own.losses.length, reference.losses.length);
  for (const [step, loss] of reference.losses.entries()) {
    const allowed = step < 5 ? 1e-4 : 0.02 * Math.max(loss, 0.1);
    const difference = Math.abs(own.losses[step] - loss);
    assert.ok(difference <= allowed, `step ${step}: ${own.losses[step]} and not ${loss}`);
  }
  for (const [i, { loss, accuracy, learningRate }] of reference.epochs.entries()) {
    assert.ok(
      Math.abs(own.epochs[i].loss - loss) < 0.02 * Math.max(loss, 0.1),
      `epoch ${i}: ${own.epochs[i].loss} ${loss}`,
    );
    assert.ok(Math.abs(own.epochs[i].accuracy - accuracy) < 0.02, `epoch ${i}: ${own.epochs[i].accuracy} ${accuracy}`);
    assert.equal(own.epochs[i].learningRate, learningRate);
  }
}

function largestDifference(a, b) {
  assert.equal(a.length, b.length);
  return a.reduce((largest, value, i) => Math.max(largest, Math.abs(value - b[i])), 0);
}

test("the device is there", () => {
  const { problem, graphs } = libtorch("The test").cuda();
  assert.ok(
    devices().some((name) => name.startsWith(DEVICE)),
    `${devices().join(", ")}: ${problem}`,
  );
  if (!STANDS_IN) assert.equal(graphs, true);
});

describe("training gives the CPU's losses, step by step", () => {
  const cases = {
    "as it is": {},
    "with weight decay and a constant rate": { weightDecay: 1e-3, schedule: "constant" },
    "with other decay rates": { betas: [0.8, 0.99], epsilon: 1e-6 },
    "with weights of classes": { classWeights: [0, 2, 1, 1, 0.5, 1, 1, 3, 1, 1] },
    "with distorted images": { augmentation: true },
    "in batches of one size": { batchSize: 50 },
    "in one batch": { batchSize: 1000, epochs: 6 },
    "in batches larger than the set": { batchSize: 4096, epochs: 6 },
  };
  for (const [name, options] of Object.entries(cases)) {
    test(name, async () => {
      const settings = { progressInterval: 0, ...options };
      assertAlike(await trained(DEVICE, settings), await trained("reference", settings));
    });
  }

  test("where whole batches weigh nothing", async () => {
    const settings = { batchSize: 1, epochs: 1, classWeights: [0, 1, 1, 1, 1, 1, 1, 1, 1, 1], progressInterval: 0 };
    const few = stripedImages(60);
    const own = await trained(DEVICE, settings, few);
    assert.equal(own.losses.filter((loss) => loss === 0).length, 6);
    assertAlike(own, await trained("reference", settings, few));
  });
});

test("figures that are told now and then are those that are told at every step", async () => {
  const often = await trained(DEVICE, { progressInterval: 0 });
  const seldom = await trained(DEVICE, { progressInterval: 60 });
  assert.equal(seldom.losses.length, 0);
  for (const [i, { loss, accuracy }] of often.epochs.entries()) {
    assert.ok(Math.abs(seldom.epochs[i].loss - loss) < (STANDS_IN ? 1e-9 : 0.01));
    assert.ok(Math.abs(seldom.epochs[i].accuracy - accuracy) < (STANDS_IN ? 1e-9 : 0.01));
  }
});

test("it learns, validates and stops early", async () => {
  const { model: own, epochs } = await trained(DEVICE, {
    epochs: 30,
    validation: data,
    earlyStopping: { metric: "accuracy", patience: 2 },
  });
  assert.ok(epochs.length < 30);
  const { accuracy } = await own.evaluate(data);
  assert.ok(accuracy > 0.95, `${accuracy}`);
  assert.ok(Math.abs(Math.max(...epochs.map(({ validation }) => validation.accuracy)) - accuracy) < 0.002);
});

test("a resumed run ends as one that was not interrupted", async () => {
  const options = { epochs: 4, schedule: "constant", learningRate: 0.001 };
  const whole = await trained(DEVICE, options);
  const checkpointDirectory = join(folder, "checkpoint");
  await trained(DEVICE, { ...options, epochs: 2, checkpointDirectory });
  const resumed = await trained(DEVICE, { ...options, checkpointDirectory, resume: true });
  assert.equal(resumed.epochs.length, 2);
  const last = (run) => run.epochs.at(-1).loss;
  assert.ok(Math.abs(last(resumed) - last(whole)) < (STANDS_IN ? 1e-6 : 0.02), `${last(resumed)} ${last(whole)}`);
});

test("a run that is stopped leaves weights that it had", async () => {
  await asOn(DEVICE, async (where) => {
    const own = model(where);
    const before = own.stateDict()["f6.weight"].data.slice();
    const controller = new AbortController();
    const run = own.fit(data, { epochs: 1000, progressInterval: 0, signal: controller.signal });
    await assert.rejects(
      (async () => {
        for await (const event of run) if (event.step === 10) controller.abort();
      })(),
      { code: "LENET5_ABORTED" },
    );
    const after = own.stateDict()["f6.weight"].data;
    assert.ok(after.every(Number.isFinite));
    assert.ok(largestDifference(after, before) > 0);
  });
});

describe("predictions", () => {
  const own = model(DEVICE);
  const reference = model("cpu");
  const floats = Float32Array.from(data.images, (pixel) => pixel / 255);

  for (const count of [1, 2, 7, 64, 1000]) {
    test(`of ${count} are the CPU's`, async () => {
      for (const pixels of [data.images, floats]) {
        const some = pixels.subarray(0, 784 * count);
        const difference = largestDifference(own.forwardSync(some).data, reference.forwardSync(some).data);
        assert.ok(difference < 1e-4, `${difference}`);
        const { probabilities } = await own.predict(some);
        assert.ok(largestDifference(probabilities, reference.predictSync(some).probabilities) < 1e-4);
      }
    });
  }

  test("of many calls at once do not mix", async () => {
    const rows = Array.from({ length: 200 }, (_, i) => data.images.subarray(784 * i, 784 * (i + 1)));
    const expected = rows.map((row) => reference.predictSync(row).probabilities);
    const answers = await Promise.all(rows.map((row) => own.predict(row)));
    for (const [i, { probabilities }] of answers.entries()) {
      assert.ok(largestDifference(probabilities, expected[i]) < 1e-4, `call ${i}`);
    }
  });

  test("go on while a training runs", async () => {
    await asOn(DEVICE, async (where) => {
      const learning = model(where);
      const run = learning.fit(data, { epochs: 8, progressInterval: 0.01 });
      let answered = 0;
      for await (const _ of run) {
        const { probabilities } = await learning.predict(data.images.subarray(0, 784 * 10));
        assert.ok(probabilities.every(Number.isFinite));
        answered++;
      }
      assert.ok(answered > 0);
    });
  });

  test("of gradients are the CPU's", async () => {
    const [images, labels] = [data.images.subarray(0, 784 * 64), data.labels.subarray(0, 64)];
    const [a, b] = [await own.gradients(images, labels), await reference.gradients(images, labels)];
    assert.ok(Math.abs(a.loss - b.loss) < 1e-4);
    for (const [name, { data: values }] of Object.entries(b.gradients)) {
      const scale = Math.hypot(...values);
      const difference = Math.hypot(...values.map((value, i) => value - a.gradients[name].data[i]));
      assert.ok(difference <= 1e-3 * scale, name);
    }
  });
});

test("a device that is not there is refused by name", () => {
  assert.throws(() => model("cuda:99"), { code: "LENET5_DEVICE_UNAVAILABLE" });
});

describe("CUDA graphs", { skip: STANDS_IN }, () => {
  const report = () => libtorch("The test").cuda();

  test("run the steps, but for the first and the smaller ones", async () => {
    const before = report().replays;
    // 15 full batches and a smaller one in each of 3 epochs; three are run before one is recorded.
    await trained(DEVICE);
    assert.equal(report().graphProblem, undefined);
    assert.equal(report().replays - before, 3 * 15 - 3);
  });

  test("run the steps on distorted images too", async () => {
    const before = report().replays;
    await trained(DEVICE, { augmentation: true });
    assert.equal(report().graphProblem, undefined);
    assert.equal(report().replays - before, 3 * 15 - 3);
  });

  test("can be turned off, and nothing else changes", async () => {
    process.env.LENET5_CUDA_GRAPHS = "0";
    try {
      const before = report().replays;
      const without = await trained(DEVICE, { progressInterval: 0 });
      assert.equal(report().replays, before);
      delete process.env.LENET5_CUDA_GRAPHS;
      assertAlike(await trained(DEVICE, { progressInterval: 0 }), without);
    } finally {
      delete process.env.LENET5_CUDA_GRAPHS;
    }
  });

  // More than libtorch has streams.
  test("of many trainings at once do not disturb each other", async () => {
    const runs = await Promise.all(Array.from({ length: 40 }, () => trained(DEVICE, { progressInterval: 0 })));
    for (const run of runs) assertAlike(run, runs[0]);
    assert.equal(report().graphProblem, undefined);
  });
});
