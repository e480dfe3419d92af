// The addon without libtorch by itself, without the facade that checks values before it: wrong things give errors with a code, and never a
// crash. Each is what a mistake in lib/, or an array that changed under it, would hand over.
import { describe, expect, it } from "vitest";
import type { NativeFitRequest, NativeLeNet5, NativeTrainingState } from "../../lib/native/types.js";
import { native } from "../../lib/native.js";
import { stripedImages } from "../lenet5/striped-images.js";
import { codeOf, detached } from "./hostile.js";

const addon = native();
const options = {
  numClasses: 10,
  mean: 0.1307,
  std: 0.3081,
  device: "cpu",
  engine: "fused",
  instructionSet: "auto",
  seed: 1,
} as const;
const model = new addon.LeNet5(options);
const { images, labels } = stripedImages(20);
const set = { images, labels, size: 28 };

const request: NativeFitRequest = {
  train: set,
  epochs: 1,
  batchSize: 8,
  accumulated: 1,
  learningRate: 0.01,
  beta1: 0.9,
  beta2: 0.999,
  epsilon: 1e-8,
  weightDecay: 0,
  schedule: "constant",
  seed: 1,
  progressSeconds: 0,
  snapshots: true,
};

const pixels = new Float32Array(784);
const predictSync = (...args: unknown[]) => (model.predictSync as (...args: unknown[]) => void)(...args);
const call = (method: keyof NativeLeNet5, ...args: unknown[]) =>
  (model[method] as (...args: unknown[]) => unknown).call(model, ...args);
const construct = (change: object) => () => new addon.LeNet5({ ...options, ...change } as never);

/** Arguments of predictSync whose arrays lie over each other, wholly or by their last or first bytes; and side by side. */
function sharing() {
  const memory = new ArrayBuffer(4 * (784 + 10 + 1));
  const floats = (at: number, length: number) => new Float32Array(memory, at * 4, length);
  const refused = "LENET5_INVALID_ARGUMENT";
  const apart = new Float32Array(10);
  return [
    ["an output over the pixels", [floats(0, 784), 28, floats(0, 784), undefined, false], refused],
    ["an output over the pixels' end", [floats(0, 784), 28, floats(783, 10), undefined, false], refused],
    ["an output over the pixels' beginning", [floats(9, 784), 28, floats(0, 10), undefined, true], refused],
    ["labels over the pixels", [floats(0, 784), 28, apart, new Int32Array(memory, 0, 1), false], refused],
    ["labels over the output", [pixels, 28, floats(0, 10), new Int32Array(memory, 36, 1), false], refused],
    ["all of them side by side", [floats(0, 784), 28, floats(784, 10), new Int32Array(memory, 3176, 1), false], "none"],
    ["an output whose unused end is shared", [floats(10, 784), 28, floats(0, 795), undefined, false], "none"],
  ] as const;
}

describe("predictions", () => {
  it.each([
    ["an output that is too short", [pixels, 28, new Float32Array(9), undefined, false], "LENET5_INVALID_SHAPE"],
    ["an output of another kind", [pixels, 28, new Float64Array(10), undefined, false], "LENET5_INVALID_DTYPE"],
    [
      "an output without memory",
      [pixels, 28, detached(new Float32Array(10)), undefined, false],
      "LENET5_INVALID_ARGUMENT",
    ],
    ["too few labels", [pixels, 28, new Float32Array(10), new Int32Array(0), false], "LENET5_INVALID_SHAPE"],
    ["labels of another kind", [pixels, 28, new Float32Array(10), new Uint8Array(4), false], "LENET5_INVALID_DTYPE"],
    [
      "pixels of another kind",
      [new Int32Array(784), 28, new Float32Array(10), undefined, false],
      "LENET5_INVALID_DTYPE",
    ],
    ["pixels that are no array", [{ length: 784 }, 28, new Float32Array(10), undefined, false], "LENET5_INVALID_DTYPE"],
    [
      "pixels without memory",
      [detached(new Float32Array(784)), 28, new Float32Array(10), undefined, false],
      "LENET5_INVALID_ARGUMENT",
    ],
    ["half an image", [new Float32Array(392), 28, new Float32Array(10), undefined, false], "LENET5_INVALID_SHAPE"],
    ["another size", [pixels, 2 ** 30, new Float32Array(10), undefined, false], "LENET5_INVALID_SHAPE"],
    ["no size", [pixels, undefined, new Float32Array(10), undefined, false], "LENET5_INVALID_ARGUMENT"],
    ["nothing", [], "LENET5_INVALID_ARGUMENT"],
    ...sharing(),
  ] as const)("with %s", async (_, args, code) => {
    expect(await codeOf(() => predictSync(...args))).toBe(code);
  });

  it.each([
    ["parts of two kinds", [[pixels, new Uint8Array(784)], 28, false], "LENET5_INVALID_DTYPE"],
    ["a part without memory", [[pixels, detached(new Float32Array(784))], 28, false], "LENET5_INVALID_ARGUMENT"],
    ["no list", [pixels, 28, false], "LENET5_INVALID_ARGUMENT"],
    ["another object as cancellation", [[pixels], 28, false, model], "LENET5_INVALID_ARGUMENT"],
    ["too few counts", [[pixels], 28, false, undefined, new Int32Array(0)], "LENET5_COUNT_MISMATCH"],
    ["too large counts", [[pixels], 28, false, undefined, Int32Array.of(2 ** 30)], "LENET5_COUNT_MISMATCH"],
    ["negative counts", [[pixels], 28, false, undefined, Int32Array.of(-1, 2)], "LENET5_COUNT_MISMATCH"],
    ["counts of another kind", [[pixels], 28, false, undefined, [1]], "LENET5_INVALID_DTYPE"],
    ["counts for two arrays", [[pixels, pixels], 28, false, undefined, Int32Array.of(2)], "LENET5_COUNT_MISMATCH"],
  ] as const)("in a list with %s", async (_, args, code) => {
    expect(await codeOf(() => call("predict", ...args))).toBe(code);
  });

  it("in a list, of which some are not finite, are right for the others", async () => {
    const bad = new Float32Array(2 * 784);
    bad[784] = Number.NaN;
    const good = Float32Array.from({ length: 784 }, (_, i) => (i % 256) / 255);
    const alone = await model.predict([good], 28, false);
    const { output, labels: answers, refused } = await model.predict([good, bad, good], 28, false);
    expect(refused).toEqual(Uint32Array.of(1));
    expect(answers.length).toBe(4);
    for (const row of [0, 3]) {
      expect(Array.from(output.subarray(row * 10, row * 10 + 10))).toEqual(
        Array.from(alone.output, (p) => expect.closeTo(p, 5)),
      );
    }
    expect(alone.refused).toBeUndefined();
    const block = Float32Array.from([...good, ...bad, ...good]);
    const parts = await model.predict([block], 28, false, undefined, Int32Array.of(1, 2, 1));
    expect(parts).toEqual({ output, labels: answers, refused });
    expect(await codeOf(() => model.predict([bad], 28, false))).toBe("LENET5_INVALID_PIXELS");
  });

  it("of an array whose elements take its memory away while they are read", async () => {
    const first = new Float32Array(784);
    const parts = [first, pixels];
    Object.defineProperty(parts, 1, {
      get: () => {
        detached(first);
        return pixels;
      },
    });
    expect(await codeOf(() => call("predict", parts, 28, false))).toBe("LENET5_INVALID_ARGUMENT");
  });
});

const state = {
  parameters: model.parameters(),
  expAvg: model.parameters(),
  expAvgSq: model.parameters(),
  step: 1,
  epoch: 0,
  generator: new Uint8Array(5056),
};

describe("trainings and evaluations", () => {
  it.each([
    [
      "images without memory",
      { train: { ...set, images: detached(Uint8Array.from(images)) } },
      "LENET5_INVALID_ARGUMENT",
    ],
    [
      "labels without memory",
      { train: { ...set, labels: detached(Int32Array.from(labels)) } },
      "LENET5_INVALID_ARGUMENT",
    ],
    ["a label too large", { train: { ...set, labels: labels.map((label) => label + 1) } }, "LENET5_INVALID_LABELS"],
    ["a negative label", { train: { ...set, labels: labels.map((label) => -label) } }, "LENET5_INVALID_LABELS"],
    ["too few labels", { train: { ...set, labels: labels.subarray(1) } }, "LENET5_COUNT_MISMATCH"],
    ["labels of another kind", { train: { ...set, labels: Uint8Array.from(labels) } }, "LENET5_INVALID_DTYPE"],
    ["another size", { train: { ...set, size: 14 } }, "LENET5_INVALID_SHAPE"],
    ["no images", { train: { images: new Uint8Array(0), labels: new Int32Array(0), size: 28 } }, "LENET5_DATA_EMPTY"],
    ["a wrong validation", { validation: { ...set, labels: labels.map(() => 2 ** 30) } }, "LENET5_INVALID_LABELS"],
    ["batches of none", { batchSize: 0 }, "LENET5_INVALID_ARGUMENT"],
    ["batches of NaN", { batchSize: Number.NaN }, "LENET5_INVALID_ARGUMENT"],
    ["a negative epoch count", { epochs: -1 }, "LENET5_INVALID_ARGUMENT"],
    ["class weights of another number", { classWeights: new Float32Array(9) }, "LENET5_INVALID_OPTION"],
    ["class weights that are NaN", { classWeights: new Float32Array(10).fill(Number.NaN) }, "LENET5_INVALID_OPTION"],
    [
      "early stopping without validation",
      { earlyStopping: { metric: "loss", patience: 1, minDelta: 0 } },
      "LENET5_INVALID_OPTION",
    ],
    [
      "an augmentation out of range",
      { augmentation: { shift: 1e9, rotation: 0, scale: 0, shear: 0, elasticAlpha: 0, elasticSigma: 4 } },
      "LENET5_INVALID_OPTION",
    ],
  ])("with %s", async (_, change, code) => {
    expect(await codeOf(() => call("prepareFit", { ...request, ...change }))).toBe(code);
    if (!("train" in change)) return;
    expect(await codeOf(() => call("evaluate", change.train, 1000))).toBe(code);
  });

  it.each([
    ["parameters of another length", { parameters: new Float32Array(3) }],
    ["a moment of another length", { expAvgSq: new Float32Array(3) }],
    ["a generator that is none", {}],
    ["a generator of another length", { generator: new Uint8Array(8) }],
    [
      "best weights of another length",
      { earlyStopping: { bestEpoch: 1, bestValue: 0, waited: 0, parameters: new Float32Array(3) } },
    ],
  ])("resumed from %s", async (_, change) => {
    const fit = model.prepareFit(request);
    const before = model.parameters();
    expect(await codeOf(() => fit.start({ resume: { ...state, ...change } }, () => {}))).toBe(
      "LENET5_CHECKPOINT_CORRUPT",
    );
    expect(model.parameters()).toEqual(before);
    fit.dispose();
  });

  it("end when the state that they resume from disposes of them while it is read", async () => {
    let whole: NativeTrainingState = state;
    await model.prepareFit(request).start({}, (event) => {
      if (event.type === "epoch") whole = event.state!;
    });
    const fit = model.prepareFit(request);
    const before = model.parameters();
    const { generator } = whole;
    const resume = Object.defineProperty({ ...whole, parameters: new Float32Array(before.length) }, "generator", {
      get: () => {
        fit.dispose();
        return generator;
      },
    });
    expect(await codeOf(() => fit.start({ resume }, () => {}))).toBe("LENET5_DISPOSED");
    expect(model.parameters()).toEqual(before);
  });

  it.each([
    { mean: 0, std: 1e-50 },
    { mean: 1e39, std: 1 },
    { mean: 1e30, std: 1e-30 },
    { mean: 0, std: Number.NaN },
    { mean: Number.NaN, std: 1 },
  ])("are refused a normalisation that float32 cannot hold: %o", async (normalization) => {
    const fit = model.prepareFit(request);
    const before = model.parameters();
    expect(await codeOf(() => fit.start({ normalization }, () => {}))).toBe("LENET5_INVALID_OPTION");
    expect(await codeOf(construct(normalization))).toBe("LENET5_INVALID_OPTION");
    expect(model.parameters()).toEqual(before);
    fit.dispose();
  });

  it("are copied when they are prepared, and run once", async () => {
    const given = { images: Uint8Array.from(images), labels: Int32Array.from(labels), size: 28 };
    const whole = model.prepareFit({ ...request, train: given, validation: given });
    const survey = await whole.survey();
    given.labels.fill(1_000_000);
    detached(given.images);
    expect(await whole.survey()).toEqual(survey);
    const events: unknown[] = [];
    const other = model.prepareFit(request);
    const running = whole.start({}, (event) => events.push(event));
    // In this turn: the training takes less than a machine that is at work may take until the next one.
    const others = [whole, other].map((each) => codeOf(() => each.start({}, () => {})));
    expect(await Promise.all(others)).toEqual(["LENET5_MODEL_BUSY", "LENET5_MODEL_BUSY"]);
    expect(await running).toEqual({ stopped: false, stoppedEarly: false });
    expect(events.length).toBe(4);
    expect(await codeOf(() => whole.start({}, () => {}))).toBe("LENET5_MODEL_BUSY");
    whole.dispose();
    expect(await codeOf(() => whole.survey())).toBe("LENET5_DISPOSED");
    other.dispose();
  });

  it("take gradients of as many labels as images only", async () => {
    expect(await codeOf(() => call("gradients", pixels, 28, new Int32Array(2)))).toBe("LENET5_COUNT_MISMATCH");
    expect(await codeOf(() => call("gradients", pixels, 28, Int32Array.of(10)))).toBe("LENET5_INVALID_LABELS");
    expect(await codeOf(() => call("gradients", new Float32Array(0), 28, new Int32Array(0)))).toBe("LENET5_DATA_EMPTY");
  });

  it("end when they are cancelled, and tell how far they are", async () => {
    const cancellation = new addon.Cancellation();
    let last = 0;
    const whole = await model.evaluate(set, 4, cancellation, (done) => {
      last = done;
    });
    expect(whole.confusion!.reduce((sum, count) => sum + count, 0)).toBe(20);
    expect(last).toBeLessThanOrEqual(20);
    cancellation.cancel();
    expect(await codeOf(() => model.evaluate(set, 4, cancellation))).toBe("LENET5_ABORTED");
    expect(await codeOf(() => model.predict([images], 28, false, cancellation))).toBe("LENET5_ABORTED");
  });
});

describe("objects", () => {
  it.each([
    ["no classes", { numClasses: 0 }, "LENET5_INVALID_ARGUMENT"],
    ["classes without end", { numClasses: 2 ** 40 }, "LENET5_INVALID_ARGUMENT"],
    ["parameters of another number", { parameters: new Float32Array(3) }, "LENET5_MODEL_MISMATCH"],
    ["parameters of another kind", { parameters: new Float64Array(61706) }, "LENET5_INVALID_DTYPE"],
    ["an engine of another name", { engine: "warp" }, "LENET5_INVALID_OPTION"],
    ["a device of another type", { device: 7 }, "LENET5_INVALID_ARGUMENT"],
  ])("made with %s", async (_, change, code) => {
    expect(await codeOf(construct(change))).toBe(code);
  });

  it("of one class under another's methods, and made by hand", async () => {
    const strange = addon as unknown as Record<string, new (...args: unknown[]) => unknown>;
    expect(await codeOf(() => new strange.Fit!())).toBe("LENET5_INVALID_ARGUMENT");
    expect(await codeOf(() => new strange.Fit!(model))).toBe("LENET5_INVALID_ARGUMENT");
    expect(() =>
      model.predictSync.call(new addon.Cancellation() as never, pixels, 28, new Float32Array(10), undefined, false),
    ).toThrow();
    expect(await codeOf(() => model.setParameters(new Float32Array(3)))).toBe("LENET5_MODEL_MISMATCH");
  });

  it("threads out of range", async () => {
    expect(await codeOf(() => addon.setNumThreads(0))).toBe("LENET5_INVALID_ARGUMENT");
    expect(await codeOf(() => addon.setNumThreads(1e9))).toBe("LENET5_INVALID_ARGUMENT");
  });
});
