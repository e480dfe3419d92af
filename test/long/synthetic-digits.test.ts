// What the synthetic digits are worth: a network that has seen nothing else reads MNIST's test set.
import { expect, test } from "vitest";
import { LeNet5, mnist, syntheticDigits } from "../../lib/index.js";
import { describeWithMnist } from "../data/folder.js";

describeWithMnist("a LeNet-5 trained on synthetic digits alone", () => {
  for (const seed of [0, 1, 2]) {
    test(`reads MNIST's test set, seed ${seed}`, { timeout: 600_000 }, async () => {
      const { train } = await syntheticDigits.load({ seed, testCount: 10 });
      using model = new LeNet5({ seed, device: "cpu" });
      const options = { epochs: 3, batchSize: 64, learningRate: 0.005, schedule: "one-cycle", seed } as const;
      for await (const event of model.fit(train, options)) expect(event.type).toBeDefined();
      const { accuracy } = await model.evaluate((await mnist.load()).test);
      console.log(`seed ${seed}: ${(100 * accuracy).toFixed(2)} % of MNIST's 10,000 test images`);
      expect(accuracy).toBeGreaterThan(0.96);
    });
  }
});
