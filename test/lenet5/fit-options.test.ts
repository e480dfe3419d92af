// What `fit` can be asked for beyond epochs: class weights, early stopping, weight decay, augmentation; and their refusals.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  AUGMENTED_RECIPE,
  type Dataset,
  DEFAULT_AUGMENTATION,
  DEFAULT_RECIPE,
  type FitOptions,
  LeNet5,
  syntheticDigits,
} from "../../lib/index.js";

const made: LeNet5[] = [];
const model = (): LeNet5 => {
  const one = new LeNet5({ seed: 1, device: "cpu" });
  made.push(one);
  return one;
};
afterAll(() => {
  for (const one of made) one.dispose();
});
let digits: Dataset;
beforeAll(async () => {
  digits = await syntheticDigits.generate({ count: 640, seed: 1 });
});

/** The weights after a short training. */
async function trained(options: FitOptions, data: Dataset | { images: Uint8Array; labels: Int32Array } = digits) {
  const one = model();
  const history = await one.fit(data, { epochs: 2, ...options });
  return { one, history, weights: one.stateDict() };
}

test("every option is read once: what was checked is what is used", () => {
  let asked = 0;
  const options = {
    resume: true,
    get checkpointDirectory() {
      return asked++ === 0 ? undefined : "/nowhere";
    },
  };
  expect(() => model().fit(digits, options as FitOptions)).toThrow(
    expect.objectContaining({ code: "LENET5_INVALID_OPTION" }),
  );
  expect(asked).toBe(1);
});

test("the recipes are the published ones, and nobody can change them", () => {
  expect(DEFAULT_RECIPE).toMatchObject({ epochs: 3, batchSize: 64, learningRate: 0.005, schedule: "one-cycle" });
  expect(AUGMENTED_RECIPE.augmentation).toEqual(DEFAULT_AUGMENTATION);
  expect(Object.isFrozen(DEFAULT_RECIPE) && Object.isFrozen(DEFAULT_AUGMENTATION.elastic)).toBe(true);
});

test("either recipe is what fit takes as options", async () => {
  expect((await model().fit(digits, { ...DEFAULT_RECIPE, epochs: 1 })).epochs).toHaveLength(1);
  const run = model().fit(digits, AUGMENTED_RECIPE);
  expect((await run.next()).value).toMatchObject({ epochs: AUGMENTED_RECIPE.epochs });
  await run.return();
});

describe("class weights", () => {
  test("of one are no weights at all", async () => {
    const [plain, ones, floats] = [
      await trained({}),
      await trained({ classWeights: new Array(10).fill(1) }),
      await trained({ classWeights: new Float32Array(10).fill(1) }),
    ];
    for (const { weights } of [ones, floats]) {
      for (const [name, { data }] of Object.entries(plain.weights)) {
        for (const [i, value] of data.entries()) expect(weights[name]!.data[i]).toBeCloseTo(value, 3);
      }
    }
  });

  test("balance a set in which one class is rare", async () => {
    // Two classes, one of them 31 times as frequent.
    const indices = Array.from({ length: 640 }, (_, i) => i);
    const kept = indices.filter((i) => digits.labels[i] === 0).slice(0, 62);
    const rare = indices.filter((i) => digits.labels[i] === 1).slice(0, 2);
    const order = [...kept, ...rare];
    const images = new Uint8Array(order.length * 784);
    for (const [to, from] of order.entries())
      images.set(digits.images.subarray(from * 784, (from + 1) * 784), to * 784);
    const data = { images, labels: Int32Array.from(order, (i) => digits.labels[i]!) };
    const plain = await trained({ epochs: 1 }, data);
    const balanced = await trained({ epochs: 1, classWeights: "balanced" }, data);
    const byHand = await trained({ epochs: 1, classWeights: [64 / 620, 64 / 20, 0, 0, 0, 0, 0, 0, 0, 0] }, data);
    expect(balanced.weights).toEqual(byHand.weights);
    expect(balanced.weights).not.toEqual(plain.weights);
  });

  test.each<[string, unknown]>([
    ["of another number", [1, 2]],
    ["below 0", [-1, 1, 1, 1, 1, 1, 1, 1, 1, 1]],
    ["that are NaN", new Float32Array(10).fill(Number.NaN)],
    ["that are text", [..."1234567890"]],
    ["that are all 0", new Array(10).fill(0)],
    ["by another word", "even"],
    ["in a typed array of another kind", new Int32Array(10).fill(1)],
  ])("%s are refused", (_, classWeights) => {
    expect(() => model().fit(digits, { classWeights: classWeights as number[] })).toThrow(
      expect.objectContaining({ code: "LENET5_INVALID_OPTION", message: expect.stringContaining("classWeights") }),
    );
  });
});

describe("early stopping", () => {
  const validation = () => ({ images: digits.images.slice(0, 784 * 64), labels: digits.labels.slice(0, 64) });

  test("ends the training when nothing gets better, and keeps the best weights", async () => {
    // A learning rate that ruins everything sooner or later.
    const options = { epochs: 200, learningRate: 0.02, schedule: "constant" as const, validation: validation() };
    const { one, history } = await trained({ ...options, earlyStopping: { metric: "loss", patience: 3 } });
    expect(history.stoppedEarly).toBe(true);
    expect(history.epochs.length).toBeLessThan(200);
    const losses = history.epochs.map((epoch) => epoch.validation!.loss);
    expect(history.bestEpoch).toBe(losses.indexOf(Math.min(...losses)) + 1);
    expect(history.epochs.length).toBe(history.bestEpoch! + 3);
    expect((await one.evaluate(validation())).loss).toBeCloseTo(Math.min(...losses), 5);
  });

  test("keeps the best weights also where the last epoch comes first", async () => {
    const { one, history } = await trained({
      epochs: 6,
      validation: validation(),
      earlyStopping: { metric: "accuracy", patience: 100, minDelta: 0 },
    });
    expect(history.stoppedEarly).toBe(false);
    expect(history.epochs).toHaveLength(6);
    const accuracies = history.epochs.map((epoch) => epoch.validation!.accuracy);
    expect(accuracies[history.bestEpoch! - 1]).toBe(Math.max(...accuracies));
    expect((await one.evaluate(validation())).accuracy).toBeCloseTo(Math.max(...accuracies), 6);
  });

  test("counts what is better by less than minDelta as no better", async () => {
    const { history } = await trained({
      epochs: 50,
      validation: validation(),
      earlyStopping: { patience: 2, minDelta: 1000 },
    });
    expect(history).toMatchObject({ stoppedEarly: true, bestEpoch: 1 });
    expect(history.epochs).toHaveLength(3);
  });

  test.each<[string, unknown, string]>([
    ["without a validation set", {}, "validation"],
    ["of an unknown metric", { metric: "f1" }, "metric"],
    ["with no patience", { patience: 0 }, "patience"],
    ["with a negative minDelta", { minDelta: -1 }, "minDelta"],
    ["that is true", true, "earlyStopping"],
  ])("%s is refused", (name, earlyStopping, names) => {
    const options = { earlyStopping, ...(name.startsWith("without") ? {} : { validation: digits }) } as FitOptions;
    expect(() => model().fit(digits, options)).toThrow(
      expect.objectContaining({ code: "LENET5_INVALID_OPTION", message: expect.stringContaining(names) }),
    );
  });

  test("refuses a misspelt option of its own", () => {
    const earlyStopping = { patiance: 3 } as object;
    expect(() => model().fit(digits, { validation: digits, earlyStopping })).toThrow(
      expect.objectContaining({ code: "LENET5_UNKNOWN_OPTION" }),
    );
  });
});

test("weight decay draws weights towards 0", async () => {
  const size = ({ weights }: { weights: ReturnType<LeNet5["stateDict"]> }) =>
    Object.values(weights).reduce((sum, { data }) => sum + data.reduce((part, value) => part + value * value, 0), 0);
  expect(size(await trained({ weightDecay: 0.1 }))).toBeLessThan(size(await trained({})) * 0.9);
});

describe("augmentation", () => {
  test.each<[string, unknown, string]>([
    ["a number", 3, "augmentation"],
    ["a shift beyond the image", { shift: 40 }, "augmentation.shift"],
    ["a rotation that is NaN", { rotation: Number.NaN }, "augmentation.rotation"],
    ["a scale of 1", { scale: 1 }, "augmentation.scale"],
    ["a shear of 90°", { shear: 90 }, "augmentation.shear"],
    ["an elastic distortion without alpha", { elastic: {} }, "elastic.alpha"],
    ["an elastic distortion of a sigma of 0", { elastic: { alpha: 30, sigma: 0 } }, "elastic.sigma"],
  ])("refuses %s", (_, augmentation, names) => {
    expect(() => model().fit(digits, { augmentation: augmentation as object })).toThrow(
      expect.objectContaining({ code: "LENET5_INVALID_OPTION", message: expect.stringContaining(names) }),
    );
  });

  test("refuses a misspelt strength", () => {
    for (const augmentation of [{ rotate: 10 }, { elastic: { alpha: 1, sgima: 2 } }] as object[]) {
      expect(() => model().fit(digits, { augmentation })).toThrow(
        expect.objectContaining({ code: "LENET5_UNKNOWN_OPTION" }),
      );
    }
  });

  test("changes what is learnt, reproducibly from the seed; off is off", async () => {
    const plain = await trained({});
    const augmented = await trained({ augmentation: true });
    expect((await trained({ augmentation: false })).weights).toEqual(plain.weights);
    expect(augmented.weights).not.toEqual(plain.weights);
    expect((await trained({ augmentation: true })).weights).toEqual(augmented.weights);
    expect((await trained({ augmentation: DEFAULT_AUGMENTATION })).weights).toEqual(augmented.weights);
    expect((await trained({ augmentation: { rotation: 10 } })).weights).not.toEqual(augmented.weights);
    expect((await trained({ augmentation: true, seed: 7 })).weights).not.toEqual(augmented.weights);
  });

  test("has its own recipe", async () => {
    const first = await model().fit(digits, { augmentation: true }).next();
    expect(first.value).toMatchObject({ epochs: AUGMENTED_RECIPE.epochs });
  });
});
