// The fused engine held to the libtorch engine, for every instruction set of the machine.
import { describe, expect, it } from "vitest";
import { instructionSets, LeNet5, type LeNet5Options } from "../../lib/index.js";
import { largestDifference, stripedImages } from "./striped-images.js";

const sets = instructionSets() as NonNullable<LeNet5Options["instructionSet"]>[];
const normalization = { mean: 0.1307, std: 0.3081 };

function pair(instructionSet: LeNet5Options["instructionSet"], numClasses = 10): { fused: LeNet5; libtorch: LeNet5 } {
  const options = { seed: 7, normalization, numClasses };
  return {
    fused: new LeNet5({ ...options, engine: "fused", instructionSet: instructionSet! }),
    libtorch: new LeNet5({ ...options, engine: "libtorch" }),
  };
}

/** Random pixels: no two alike, so that neither a maximum nor a ReLU is decided by rounding. */
function randomImages(count: number, seed: number): Float32Array {
  let state = seed >>> 0;
  return Float32Array.from({ length: count * 784 }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  });
}

it("lists at least the baseline", () => {
  expect(sets[0]).toBe("baseline");
});

describe.each(sets)("the fused engine with %s", (set) => {
  it.each([1, 7, 64, 1000])("gives libtorch's log-probabilities for a batch of %i", (count) => {
    const { fused, libtorch } = pair(set);
    expect(fused.instructionSet).toBe(set);
    const images = randomImages(count, count);
    const bytes = stripedImages(count).images;
    for (const input of [images, bytes]) {
      expect(largestDifference(fused.forwardSync(input).data, libtorch.forwardSync(input).data)).toBeLessThan(1e-5);
    }
  });

  it.each([1, 7, 64, 1000])("gives every parameter libtorch's gradient for a batch of %i", async (count) => {
    const { fused, libtorch } = pair(set);
    const images = randomImages(count, 31 + count);
    const labels = Int32Array.from({ length: count }, (_, i) => (i * 7) % 10);
    const own = await fused.gradients(images, labels);
    const other = await libtorch.gradients(images, labels);
    expect(Math.abs(own.loss - other.loss)).toBeLessThan(1e-5);
    for (const [name, { data }] of Object.entries(other.gradients)) {
      const scale = Math.hypot(...data);
      const difference = Math.hypot(...data.map((value, i) => value - own.gradients[name]!.data[i]!));
      expect(difference / scale, name).toBeLessThan(1e-4);
    }
  });

  // Rounding differs between the engines, and Adam turns tiny gradients of either sign into whole steps: after 100 steps
  // the losses still agree to three digits.
  it("trains 100 steps like libtorch, to within 1 % of the loss", async () => {
    const { fused, libtorch } = pair(set);
    const data = stripedImages(1600);
    const losses: number[][] = [];
    for (const model of [fused, libtorch]) {
      const own: number[] = [];
      const options = { epochs: 4, batchSize: 64, learningRate: 0.001, weightDecay: 1e-4, progressInterval: 0 };
      for await (const event of model.fit(data, options)) if (event.type === "progress") own.push(event.loss);
      losses.push(own);
    }
    expect(losses[0]).toHaveLength(100);
    for (const [step, loss] of losses[1]!.entries()) {
      expect(Math.abs(losses[0]![step]! - loss), `step ${step}`).toBeLessThan(0.01 * Math.max(loss, 0.1));
    }
  });

  it("answers for other numbers of classes", () => {
    for (const numClasses of [1, 2, 17, 100]) {
      const { fused, libtorch } = pair(set, numClasses);
      const input = randomImages(5, numClasses);
      expect(largestDifference(fused.forwardSync(input).data, libtorch.forwardSync(input).data)).toBeLessThan(1e-5);
    }
  });
});

it("refuses an instruction set that the machine has not", () => {
  const missing = (["avx2", "avx512"] as const).find((set) => !sets.includes(set));
  if (missing === undefined) expect(() => new LeNet5({ instructionSet: "sse9" as never })).toThrow(/Expected/);
  else expect(() => new LeNet5({ instructionSet: missing })).toThrow(/Expected one of this machine's instruction sets/);
});
