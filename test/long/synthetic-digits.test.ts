// What the synthetic digits are worth: a network that has seen nothing else reads ones that it has not seen, and MNIST's
// test set.
import { expect, test } from "vitest";
import { type Dataset, LeNet5, syntheticDigits } from "../../lib/index.js";
import { describeWithMnist, loadDigits } from "../mnist.js";

async function accuracyOn(examine: (own: Dataset) => Promise<Dataset>, seed: number): Promise<number> {
  const drawn = await syntheticDigits.load({ seed });
  using model = new LeNet5({ seed, device: "cpu" });
  for await (const _ of model.fit(drawn.train, { epochs: 3, learningRate: 0.005, schedule: "one-cycle", seed }));
  const { accuracy, count } = await model.evaluate(await examine(drawn.test));
  console.log(`seed ${seed}: ${(100 * accuracy).toFixed(2)} % of ${count} images`);
  return accuracy;
}

test("a LeNet-5 trained on synthetic digits reads others of the kind", { timeout: 600_000 }, async () => {
  expect(await accuracyOn(async (own) => own, 0)).toBeGreaterThan(0.98);
});

describeWithMnist("a LeNet-5 trained on synthetic digits alone", () => {
  for (const seed of [0, 1, 2]) {
    test(`reads MNIST's test set, seed ${seed}`, { timeout: 600_000 }, async () => {
      expect(await accuracyOn(async () => (await loadDigits()).test, seed)).toBeGreaterThan(0.96);
    });
  }
});
