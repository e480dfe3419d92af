// The main job, on the real MNIST or, where it is not to be had, on synthetic digits.
import { createHash } from "node:crypto";
import { expect, it } from "vitest";
import { type Dataset, LeNet5 } from "../../lib/index.js";
import { digitsName, loadDigits } from "../mnist.js";

/** What a right implementation reaches in five epochs; one that learns, but wrongly, stays a percent or more below. */
const ENOUGH = digitsName === "MNIST" ? 0.989 : 0.97;

const options = { batchSize: 64, learningRate: 0.003, schedule: "one-cycle" } as const;

function fingerprint(model: LeNet5): string {
  const hash = createHash("sha256");
  for (const { data } of Object.values(model.stateDict())) hash.update(data);
  return hash.digest("hex");
}

it(`reaches ${ENOUGH * 100} % on the test set of ${digitsName} in five epochs`, { timeout: 300_000 }, async () => {
  const { train, test } = await loadDigits();
  using model = new LeNet5({ seed: 42 });
  let accuracy = 0;
  for await (const event of model.fit(train, { ...options, epochs: 5, validation: test })) {
    if (event.type === "epoch") accuracy = event.validation!.accuracy;
  }
  expect(accuracy).toBeGreaterThanOrEqual(ENOUGH);
  expect((await model.evaluate(test)).accuracy).toBeCloseTo(accuracy, 10);
  if (digitsName === "MNIST") expect(model.normalization).toEqual({ mean: 0.1307, std: 0.3081 });
});

it("gives the same weights with the same seed, on a whole data set", { timeout: 300_000 }, async () => {
  const { train } = await loadDigits();
  const weightsAfterAnEpoch = async (set: Dataset): Promise<string> => {
    using model = new LeNet5({ seed: 42 });
    for await (const _ of model.fit(set, { ...options, epochs: 1 }));
    return fingerprint(model);
  };
  expect(await weightsAfterAnEpoch(train)).toBe(await weightsAfterAnEpoch(train));
});
