// The accuracies of the two recipes: what `fit` does by default, and what it does with `augmentation: true`.
import { expect, test } from "vitest";
import { type FitOptions, LeNet5 } from "../../lib/index.js";
import { describeWithMnist, loadDigits } from "../mnist.js";

const SEEDS = [1, 2, 3, 4, 5];

/** Accuracies on MNIST's test set, one a seed, in per cent. */
async function accuracies(options: FitOptions): Promise<number[]> {
  const { train, test: unseen } = await loadDigits();
  const found: number[] = [];
  for (const seed of SEEDS) {
    using model = new LeNet5({ seed, device: "cpu" });
    await model.fit(train, { ...options, seed });
    found.push(100 * (await model.evaluate(unseen)).accuracy);
  }
  return found;
}

const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
const list = (values: number[]) => values.map((value) => value.toFixed(2)).join(", ");

describeWithMnist("on MNIST's test set, seeds 1 to 5", () => {
  test("the default recipe reaches 99.0 %", { timeout: 600_000 }, async () => {
    const found = await accuracies({});
    console.log(`default recipe: mean ${mean(found).toFixed(3)} % of ${list(found)}`);
    expect(mean(found)).toBeGreaterThanOrEqual(99.0);
  });

  test("the recipe with augmentation reaches 99.4 %", { timeout: 3_600_000 }, async () => {
    const found = await accuracies({ augmentation: true });
    console.log(`with augmentation: mean ${mean(found).toFixed(3)} % of ${list(found)}`);
    expect(mean(found)).toBeGreaterThanOrEqual(99.4);
  });
});
