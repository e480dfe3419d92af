// What the native trainer is asked for by the addon's interface: early stopping, class weights, augmentation, stopping.
import { describe, expect, it } from "vitest";
import type { NativeFitEvent, NativeFitRequest, NativeLeNet5, NativeTrainingState } from "../../lib/native/types.js";
import { libtorch, native } from "../../lib/native.js";
import { stripedImages } from "../lenet5/striped-images.js";

const train = { ...stripedImages(240), size: 28 };
const validation = { ...stripedImages(100), size: 28 };

function modelWith(engine: "fused" | "libtorch"): NativeLeNet5 {
  const options = { numClasses: 10, mean: 0.13, std: 0.31, device: "cpu", instructionSet: "auto", seed: 4 };
  return new (engine === "fused" ? native() : libtorch("The tests")).LeNet5({ ...options, engine });
}

const request: NativeFitRequest = {
  train,
  validation,
  epochs: 1,
  batchSize: 32,
  accumulated: 1,
  learningRate: 0.01,
  beta1: 0.9,
  beta2: 0.999,
  epsilon: 1e-8,
  weightDecay: 0,
  schedule: "constant",
  seed: 1,
  progressSeconds: 1e9,
  snapshots: true,
};

type EpochEvent = Extract<NativeFitEvent, { type: "epoch" }>;

async function run(model: NativeLeNet5, change: Partial<NativeFitRequest>, resume?: NativeTrainingState) {
  const epochs: EpochEvent[] = [];
  const fit = model.prepareFit({ ...request, ...change });
  const result = await fit.start(resume === undefined ? {} : { resume }, (event) => {
    if (event.type === "epoch") epochs.push(event);
  });
  return { epochs, result };
}

describe.each(["fused", "libtorch"] as const)("the %s engine", (engine) => {
  // A learning rate far too high, so that the loss goes up and down.
  const early = {
    epochs: 40,
    learningRate: 0.02,
    earlyStopping: { metric: "loss", patience: 2, minDelta: 0.001 },
  } as const;

  const never = { metric: "loss", patience: 1_000_000, minDelta: 1e6 } as const;

  it("stops early, has the best weights then, and resumes to the same end", async () => {
    const whole = modelWith(engine);
    const { epochs, result } = await run(whole, early);
    expect(result).toMatchObject({ stopped: false, stoppedEarly: true });
    const losses = epochs.map((epoch) => epoch.validation!.loss);
    expect(epochs.length).toBe(result.bestEpoch! + 2);
    // Nothing after the best epoch was better by more than minDelta.
    for (const loss of losses.slice(result.bestEpoch!))
      expect(loss).toBeGreaterThanOrEqual(losses[result.bestEpoch! - 1]! - 0.001);
    expect((await whole.evaluate(validation, 1000)).loss).toBe(losses[result.bestEpoch! - 1]);
    expect(whole.parameters()).toEqual(epochs[result.bestEpoch! - 1]!.state!.parameters);

    for (const after of [1, epochs.length - 1, epochs.length]) {
      const again = modelWith(engine);
      const rest = await run(again, early, epochs[after - 1]!.state!);
      expect(rest.epochs.map(({ epoch }) => epoch)).toEqual(epochs.slice(after).map(({ epoch }) => epoch));
      expect(rest.result).toEqual(result);
      expect(again.parameters()).toEqual(whole.parameters());
    }
  });

  it("says that it stopped early where no epoch had a figure", async () => {
    const model = modelWith(engine);
    const { epochs, result } = await run(model, { ...early, learningRate: 1e30 });
    expect(epochs.map(({ validation }) => validation!.loss)).toEqual([Number.NaN, Number.NaN]);
    expect(result).toEqual({ stopped: false, stoppedEarly: true });
  });

  it("keeps the weights of the moment when it is stopped, not the best ones", async () => {
    const model = modelWith(engine);
    const fit = model.prepareFit({ ...request, ...early, epochs: 100_000, earlyStopping: { ...never } });
    const states: Float32Array[] = [];
    const result = await fit.start({}, (event) => {
      if (event.type === "epoch") states.push(event.state!.parameters);
      if (states.length === 3) fit.stop();
    });
    expect(result).toEqual({ stopped: true, stoppedEarly: false });
    // Nothing is better than the first epoch by a million.
    expect(model.parameters()).not.toEqual(states[0]);
  });

  it("tells of its validation what grows with the classes, not with their square", async () => {
    const { epochs } = await run(modelWith(engine), {});
    const { actual, predicted, right, ...rest } = epochs[0]!.validation!;
    expect(Object.keys(rest)).toEqual(["loss"]);
    expect(actual).toEqual(Uint32Array.from({ length: 10 }, () => 10));
    expect(predicted.reduce((sum, count) => sum + count, 0)).toBe(100);
    for (const [i, count] of right.entries()) expect(count).toBeLessThanOrEqual(Math.min(actual[i]!, predicted[i]!));
  });

  it("draws the same distortions when it resumes, and others in each epoch", async () => {
    const augmentation = { shift: 2, rotation: 10, scale: 0.1, shear: 5, elasticAlpha: 20, elasticSigma: 4 };
    const whole = modelWith(engine);
    const { epochs } = await run(whole, { epochs: 3, augmentation });
    const again = modelWith(engine);
    await run(again, { epochs: 3, augmentation }, epochs[0]!.state!);
    expect(again.parameters()).toEqual(whole.parameters());
    const plain = modelWith(engine);
    await run(plain, { epochs: 3 });
    expect(plain.parameters()).not.toEqual(whole.parameters());
  });

  it("leaves classes of weight 0 out", async () => {
    const classWeights = Float32Array.from({ length: 10 }, (_, i) => (i < 5 ? 1 : 0));
    const model = modelWith(engine);
    await run(model, { epochs: 6, learningRate: 0.003, classWeights });
    const { confusion } = await model.evaluate(validation, 1000);
    // What it never had to tell is never its answer.
    for (let actual = 0; actual < 10; actual++) {
      expect(confusion!.subarray(actual * 10 + 5, actual * 10 + 10).every((count) => count === 0)).toBe(true);
    }
    const before = modelWith(engine).parameters();
    const idle = modelWith(engine);
    const { epochs } = await run(idle, { classWeights: new Float32Array(10) });
    expect(epochs[0]!.loss).toBe(0);
    expect(idle.parameters()).toEqual(before);
  });

  it("ends when it was stopped before it began, and when its data is given back", async () => {
    for (const how of ["stop", "dispose"] as const) {
      const model = modelWith(engine);
      const before = model.parameters();
      const fit = model.prepareFit({ ...request, epochs: 1000 });
      if (how === "stop") fit.stop();
      const running = fit.start({}, () => {});
      if (how === "dispose") fit.dispose();
      expect(await running).toMatchObject({ stopped: true });
      if (how === "stop") expect(model.parameters()).toEqual(before);
      fit.halt();
    }
  });
});

it("weighs classes alike with both engines", async () => {
  const classWeights = Float32Array.from({ length: 10 }, (_, i) => 0.5 + i / 4);
  const losses: number[][] = [];
  for (const engine of ["fused", "libtorch"] as const) {
    const { epochs } = await run(modelWith(engine), { epochs: 2, learningRate: 0.001, classWeights });
    losses.push(epochs.map(({ loss }) => loss));
  }
  expect(losses[0]).toEqual(losses[1]!.map((loss) => expect.closeTo(loss, 3)));
});

it("learns the same from thousands of images at once with both engines, which take them differently", async () => {
  const large = { ...stripedImages(9000), size: 28 };
  const classWeights = Float32Array.from({ length: 10 }, (_, i) => 0.5 + i / 4);
  const augmentation = { shift: 2, rotation: 10, scale: 0.1, shear: 5, elasticAlpha: 20, elasticSigma: 4 };
  for (const change of [{ classWeights }, { augmentation }]) {
    const losses: number[][] = [];
    for (const engine of ["fused", "libtorch"] as const) {
      const steps = { train: large, batchSize: 3000, accumulated: 3, epochs: 3, learningRate: 0.003 };
      const { epochs } = await run(modelWith(engine), { ...steps, ...change });
      losses.push(epochs.map(({ loss }) => loss));
    }
    expect(losses[0]).toEqual(losses[1]!.map((loss) => expect.closeTo(loss, 4)));
  }
});
