// Images without a black pixel, held to double precision (test/fixtures/generate_full_frame.py): what the kernels pass over on
// digits is computed here, by every instruction set that this machine has.
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { instructionSets, LeNet5 } from "../../lib/index.js";
import { largestDifference } from "./striped-images.js";

const SHOWN = 16;
const reference = JSON.parse(readFileSync(new URL("../fixtures/full-frame.json", import.meta.url), "utf8")) as {
  logProbabilities: Record<"noise" | "ramps" | "white", number[]>;
  losses: number[];
  final: number[];
};

const noise = Uint8Array.from({ length: 640 * 784 }, (_, p) => {
  const h = (p * 7919 + 104729) % 65521;
  return 1 + (((h * h) % 65521) % 255);
});
const images = {
  noise: noise.subarray(0, SHOWN * 784),
  ramps: Uint8Array.from({ length: SHOWN * 784 }, (_, p) => {
    const [i, y, x] = [Math.floor(p / 784), Math.floor((p % 784) / 28), p % 28];
    return 1 + (((x * (i + 1) + y * (SHOWN - i)) * 7) % 255);
  }),
  white: new Uint8Array(SHOWN * 784).fill(255),
};
const normalization = { mean: 0.1307, std: 0.3081 };

describe.each(instructionSets() as ("baseline" | "avx2" | "avx512")[])("the kernels for %s", (instructionSet) => {
  const fresh = () => new LeNet5({ seed: 7, engine: "fused", instructionSet, normalization });

  it.each(["noise", "ramps", "white"] as const)("are within 1e-5 of double precision on %s", (kind) => {
    using model = fresh();
    const pixels = images[kind];
    const floats = Float32Array.from(pixels, (byte) => byte / 255);
    const known = reference.logProbabilities[kind];
    // A batch shares weights, an image alone reads only the weights that it needs: two ways through the kernels.
    for (const input of [pixels, floats]) {
      expect(largestDifference(model.forwardSync(input).data, known)).toBeLessThan(1e-5);
      for (let i = 0; i < SHOWN; i++) {
        const { data } = model.forwardSync(input.subarray(i * 784, (i + 1) * 784));
        expect(largestDifference(data, known.slice(i * 10, (i + 1) * 10)), `image ${i}`).toBeLessThan(1e-5);
      }
    }
  });

  it("have double precision's first ten training losses on noise, and its answers afterwards", async () => {
    using model = fresh();
    const losses: number[] = [];
    const labels = Int32Array.from({ length: 640 }, (_, i) => i % 10);
    for await (const event of model.fit(
      { images: noise, labels },
      { epochs: 1, learningRate: 0.001, batchSize: 64, schedule: "constant", progressInterval: 0 },
    )) {
      if (event.type === "progress") losses.push(event.loss);
    }
    expect(losses).toHaveLength(10);
    expect(largestDifference(losses, reference.losses)).toBeLessThan(2e-5);
    expect(largestDifference(model.forwardSync(images.noise).data, reference.final)).toBeLessThan(2e-4);
  });
});
