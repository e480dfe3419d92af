// The network held to values that PyTorch computed (test/fixtures/generate_lenet5_reference.py).
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { LeNet5 } from "../../lib/index.js";
import { largestDifference, stripedImages } from "./striped-images.js";

const reference = JSON.parse(readFileSync(new URL("../fixtures/lenet5-reference.json", import.meta.url), "utf8")) as {
  weights: Record<string, { sum: number; first: number[]; last: number }>;
  logProbabilities: number[];
  losses: number[];
  finalLogProbabilities: number[];
};
const oneCycle = JSON.parse(
  readFileSync(new URL("../fixtures/one-cycle/learning-rates.json", import.meta.url), "utf8"),
) as { runs: { steps: number; maximum: number; rates: [number, number][] }[] };

const normalization = { mean: 0.1307, std: 0.3081 };
const { images, labels } = stripedImages(640);

describe.each(["libtorch", "fused"] as const)("the %s engine", (engine) => {
  it("begins with the weights that PyTorch draws after torch.manual_seed(42)", () => {
    using model = new LeNet5({ seed: 42, engine });
    const state = model.stateDict();
    expect(Object.keys(state)).toEqual(Object.keys(reference.weights));
    for (const [name, known] of Object.entries(reference.weights)) {
      const values = state[name]!.data;
      expect(largestDifference(values.subarray(0, 4), known.first), name).toBeLessThan(1e-8);
      expect(values.at(-1), name).toBeCloseTo(known.last, 8);
      expect(
        values.reduce((sum, value) => sum + value, 0),
        name,
      ).toBeCloseTo(known.sum, 4);
    }
  });

  it("gives PyTorch's log-probabilities", () => {
    using model = new LeNet5({ seed: 42, engine, normalization });
    const { data, shape } = model.forwardSync(images.subarray(0, 20 * 784));
    expect(shape).toEqual([20, 10]);
    expect(largestDifference(data, reference.logProbabilities)).toBeLessThan(1e-5);
  });

  it("has PyTorch's first ten training losses and its answers afterwards", async () => {
    using model = new LeNet5({ seed: 42, engine, normalization });
    const losses: number[] = [];
    for await (const event of model.fit(
      { images, labels },
      { epochs: 1, learningRate: 0.001, batchSize: 64, schedule: "constant", progressInterval: 0 },
    )) {
      if (event.type === "progress") losses.push(event.loss);
    }
    expect(losses).toHaveLength(10);
    expect(largestDifference(losses, reference.losses)).toBeLessThan(2e-5);
    const { data } = model.forwardSync(images.subarray(0, 20 * 784));
    expect(largestDifference(data, reference.finalLogProbabilities)).toBeLessThan(1e-3);
  });
});

it("follows PyTorch's OneCycleLR", async () => {
  for (const { steps, maximum, rates } of oneCycle.runs.filter((run) => run.steps <= 100)) {
    using model = new LeNet5({ seed: 1 });
    // An epoch of one step each, so that each epoch event tells a step's learning rate.
    const data = { images: images.subarray(0, 784), labels: labels.subarray(0, 1) };
    const seen: number[] = [];
    for await (const event of model.fit(data, {
      epochs: steps,
      batchSize: 1,
      learningRate: maximum,
      schedule: "one-cycle",
    })) {
      if (event.type === "epoch") seen.push(event.learningRate);
    }
    expect(seen).toHaveLength(steps);
    for (const [step, rate] of rates) expect(Math.abs(seen[step]! / rate - 1)).toBeLessThan(1e-6);
  }
});
