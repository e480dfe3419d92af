// A label means a name: a set that lacks a class, or counts its classes in another order, is measured by its names.
import { beforeAll, describe, expect, test } from "vitest";
import { type Dataset, LeNet5, subsetOf, syntheticDigits } from "../../lib/index.js";

const NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
/** The same images with their classes counted in another order, as a folder with these names would count them. */
const counted = (data: Dataset, classNames: string[]): Dataset => ({
  ...data,
  classNames,
  labels: data.labels.map((label) => classNames.indexOf(data.classNames[label]!)),
});

let digits: Dataset;
let backwards: Dataset;
let few: Dataset;
beforeAll(async () => {
  digits = { ...(await syntheticDigits.generate({ count: 320, seed: 1 })), classNames: NAMES };
  backwards = counted(digits, [...NAMES].reverse());
  const chosen = [...digits.labels.keys()].filter((i) => [3, 7].includes(digits.labels[i]!));
  few = subsetOf(digits, chosen);
});

test("a training that was prepared before the model had names is refused where it counts them in another order", async () => {
  using model = new LeNet5({ seed: 1 });
  const first = model.fit(digits, { epochs: 1 });
  const second = model.fit(backwards, { epochs: 1 });
  const third = model.fit(digits, { epochs: 1 });
  await first;
  await expect(second.then()).rejects.toMatchObject({ code: "LENET5_MODEL_MISMATCH" });
  await third;
  // What comes now is carried over.
  await model.fit(backwards, { epochs: 1 });
  expect(model.classNames).toEqual(NAMES);
});

describe("evaluate carries labels over by name", () => {
  test("for names that were given, adopted and loaded", async () => {
    using given = new LeNet5({ seed: 1, classNames: NAMES });
    using adopted = new LeNet5({ seed: 1 });
    await adopted.fit(digits, { epochs: 1 });
    using loaded = await LeNet5.load(await given.toTorchScript());
    for (const model of [given, adopted, loaded]) {
      expect(await model.evaluate(backwards)).toEqual(await model.evaluate(digits));
      expect(await model.evaluate(counted(few, ["seven", "three"]))).toEqual(await model.evaluate(few));
    }
  });

  test("from labels in bytes, which stay the caller's", async () => {
    using model = new LeNet5({ seed: 1, classNames: NAMES });
    const known = await model.evaluate(digits);
    const labels = Uint8Array.from(backwards.labels);
    const classNames = [...backwards.classNames];
    const answer = model.evaluate({ images: digits.images, labels, classNames });
    expect(labels).toEqual(Uint8Array.from(backwards.labels));
    labels.fill(0);
    classNames.fill("none");
    expect(await answer).toEqual(known);
  });

  test("for names that are numbers too", async () => {
    const numbers = { ...digits, classNames: NAMES.map((_, i) => String(i)) };
    using model = new LeNet5({ seed: 1, classNames: numbers.classNames });
    expect(await model.evaluate(counted(numbers, [..."9876543210"]))).toEqual(await model.evaluate(numbers));
    // A state dict knows no names: then the order is all there is.
    using unnamed = LeNet5.fromStateDict(model.stateDict(), { normalization: model.normalization });
    expect(await unnamed.evaluate(digits)).toEqual(await model.evaluate(numbers));
  });

  test("and leaves a set or a model without names as it is", async () => {
    using named = new LeNet5({ seed: 1, classNames: NAMES });
    using unnamed = new LeNet5({ seed: 1 });
    const { images, labels } = backwards;
    const { loss } = await named.evaluate({ images, labels });
    expect((await unnamed.evaluate(backwards)).loss).toBe(loss);
    expect((await named.evaluate(digits)).loss).not.toBe(loss);
  });

  test("and refuses a class that the model does not have, and a label without a class", async () => {
    using model = new LeNet5({ seed: 1, classNames: NAMES });
    const cats = { ...digits, classNames: [...NAMES.slice(1), "cat"] };
    await expect(model.evaluate(cats)).rejects.toMatchObject({
      code: "LENET5_MODEL_MISMATCH",
      message: expect.stringContaining('the class "cat"'),
    });
    await expect(model.evaluate({ ...digits, classNames: ["seven", "three"] })).rejects.toMatchObject({
      code: "LENET5_INVALID_LABELS",
    });
  });
});

describe("fit carries labels over by name", () => {
  test("those of the training set, for a model that has names", async () => {
    const weightsAfter = async (data: Dataset) => {
      using model = new LeNet5({ seed: 1, classNames: NAMES });
      await model.fit(data, { epochs: 1, classWeights: "balanced" });
      expect(model.classNames).toEqual(NAMES);
      return model.stateDict();
    };
    expect(await weightsAfter(backwards)).toEqual(await weightsAfter(digits));
  });

  test.each([
    ["the model's", { classNames: NAMES }],
    ["those that a first training gives the model", {}],
  ])("those of the validation set, to %s", async (_, options) => {
    const validated = async (validation: Dataset) => {
      using model = new LeNet5({ seed: 1, ...options });
      const { epochs } = await model.fit(digits, { epochs: 1, validation });
      return epochs[0]!.validation;
    };
    expect(await validated(backwards)).toEqual(await validated(digits));
    expect(await validated(counted(few, ["seven", "three"]))).toEqual(await validated(few));
  });

  test("and refuses at once a class that the model does not have", () => {
    using model = new LeNet5({ seed: 1, classNames: NAMES });
    const cats = { ...digits, classNames: [...NAMES.slice(1), "cat"] };
    const mismatch = expect.objectContaining({ code: "LENET5_MODEL_MISMATCH" });
    expect(() => model.fit(cats)).toThrow(mismatch);
    expect(() => model.fit(digits, { validation: cats })).toThrow(mismatch);
    using fresh = new LeNet5({ seed: 1 });
    expect(() => fresh.fit(digits, { validation: cats })).toThrow(mismatch);
  });
});
