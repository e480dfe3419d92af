import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { benchmarkModule, sampleResult, scriptModule } from "./modules.js";

const { median, pairedRatios, quartiles, summarize } = await benchmarkModule("runner/statistics.mjs");
const { compare } = await benchmarkModule("runner/targets.mjs");
const { executedMultiplyAdds, MULTIPLY_ADDS } = await benchmarkModule("runner/multiply-adds.mjs");
const { problems } = await benchmarkModule("report/result-file.mjs");
const { summarizeFits } = await benchmarkModule("runner/suites/training.mjs");
const { foldNormalization, oneCycle } = await benchmarkModule("systems/shared/network.mjs");

interface Comparison {
  what: string;
  peer: string;
  ratio: number | null;
  worst?: number | null;
  reached: boolean | null;
}
const rows = (change: (result: ReturnType<typeof sampleResult>) => void = () => {}): Comparison[] => {
  const result = sampleResult();
  change(result);
  return compare(result);
};
const row = (found: Comparison[], what: string, peer?: string) =>
  found.find((one) => one.what === what && (peer === undefined || one.peer === peer))!;

test("medians and quartiles interpolate and keep the order of the rounds", () => {
  expect(median([9, 1, 5])).toBe(5);
  expect(median([4, 1, 3, 2])).toBe(2.5);
  expect(quartiles([1, 2, 3, 4, 5])).toEqual([2, 4]);
  expect(median([])).toBeNull();
  expect(summarize([{ a: 3 }, { a: 1 }, { a: 2 }], ["a"])).toEqual({
    a: 2,
    spread: { a: [1.5, 2.5] },
    rounds: { a: [3, 1, 2] },
  });
  // A round in which a slow system was passed over keeps its place.
  expect(summarize([{ a: 3 }, null, { a: 1 }], ["a"])).toMatchObject({ a: 2, rounds: { a: [3, null, 1] } });
});

test("ratios are of the same round alone", () => {
  expect(pairedRatios([6, 8, 9], [2, null, 3])).toEqual([3, 3]);
  expect(pairedRatios([6, null], [2, 2, 2])).toEqual([3]);
  expect(pairedRatios([6], [0])).toEqual([]);
});

test("ratios are the medians of the rounds' own, against the best of several peers", () => {
  const found = rows();
  expect(row(found, "inference, batch 1", "onnxruntime-node").ratio).toBeCloseTo(3);
  expect(row(found, "inference, batch 1", "onnxruntime-node").reached).toBe(false);
  expect(row(found, "inference, batch 1", "pytorch-optimized").ratio).toBeCloseTo(60 / 3.5);
  expect(row(found, "inference, batch 256", "onnxruntime-node").ratio).toBeCloseTo(1.6);
  expect(row(found, "inference, batch 256", "pytorch-optimized")).toMatchObject({ reached: false });
  expect(row(found, "training, batch 64", "pytorch")).toMatchObject({ reached: false });
  expect(found.filter(({ what, peer }) => what === "training, batch 64" && peer === "pytorch")).toMatchObject([
    { reached: false, target: 12 },
    { reached: true, target: 5 },
  ]);
  expect(row(found, "training with augmentation against without", "pytorch")).toMatchObject({ ours: 45_000 });
  expect(row(found, "training with augmentation against without", "pytorch").ratio).toBeCloseTo(4.5);
  expect(row(found, "from nothing to the first prediction")).toMatchObject({ ratio: 122 / 111, reached: true });
  expect(row(found, "resident then", "onnxruntime-node")).toMatchObject({ ratio: 1.5, reached: true });
  expect(found.filter(({ peer }) => peer === "the limit").map(({ reached }) => reached)).toEqual([false, true, false]);
  expect(row(found, "time to 99 %, one recipe")).toMatchObject({ ratio: 4.5, reached: false });
  expect(row(found, "training alone to 99 %, under 0.9 s")).toMatchObject({ reached: false });
});

test("the worst round stands beside the median of the rounds", () => {
  const found = rows(({ results }) => {
    const ours = results.find((one) => one.system === "lenet5-fused" && one.batch === 1)!;
    ours.rounds = { imagesPerSecond: [18_000 * 6, 20_000, 22_000 * 8] };
  });
  const { ratio, worst } = row(found, "inference, batch 1", "onnxruntime-node");
  expect([ratio, worst!]).toEqual([expect.closeTo(6), expect.closeTo(1)]);
});

test("time to 99 % is paired by seed, and each system may come with a recipe of its own", () => {
  const fits = (...seconds: number[]) => seconds.map((secondsTo99, seed) => ({ seed, secondsTo99 }));
  const found = rows(({ results }) => {
    const of = (system: string) => results.find((one) => one.suite === "training" && one.system === system)!;
    Object.assign(of("lenet5-fused"), { fits: fits(4, 5, 3) });
    Object.assign(of("pytorch"), {
      fits: fits(24, 10, 18),
      own: { secondsTo99: 9, secondsOfTraining: 6, fits: fits(10, 9, 8), reached: "3 of 3 runs" },
    });
  });
  expect(row(found, "time to 99 %, one recipe")).toMatchObject({ ratio: 6, worst: 2, theirs: 18, reached: true });
  expect(row(found, "time to 99 %, each by its best recipe")).toMatchObject({ ratio: 2.5, worst: 1.8, theirs: 9 });
});

test("the share of the peak counts what the kernels execute", () => {
  expect(MULTIPLY_ADDS).toBe(416_520);
  const images = new Uint8Array(2 * 784);
  const rest = 86_400 + 48_000 + 10_080 + 840;
  expect(executedMultiplyAdds(images)).toBe(rest);
  // One image full: c1 in Winograd's domain without the four rows of the border, each of which one or two outputs see.
  images.fill(1, 784);
  const full = 70_560 - 6 * 14 * 6 * (1 + 2 + 2 + 1);
  expect(executedMultiplyAdds(images)).toBe(rest + full / 2);
  const found = rows(({ environment }) => {
    environment.multiplyAdds = { nominal: MULTIPLY_ADDS, executed: { digits: 208_260 } };
  });
  expect(row(found, "executed multiply-adds, share of the peak, batch 256")).toMatchObject({ ratio: 0.2 });
});

test("on images that fill their frame, 85 % of each ratio is asked for", () => {
  const found = rows(({ results }) => {
    for (const one of results.filter(({ suite }) => suite === "inference" || suite === "training")) {
      results.push({ ...one, suite: "dense", what: "noise", how: one.suite });
    }
  });
  expect(row(found, "noise: inference, batch 256", "onnxruntime-node")).toMatchObject({ target: 3.4, reached: false });
  expect(row(found, "noise: training, batch 64", "pytorch").ratio).toBeCloseTo(5.5);
  // The figures of digits are not taken for those of noise.
  expect(row(found, "inference, batch 256", "onnxruntime-node").ratio).toBeCloseTo(1.6);
});

test("the specification's training is held against libtorch, PyTorch and TensorFlow", () => {
  const one = (system: string, seconds: number) => ({
    ...{ suite: "specification", system, epochs: 10, batchSize: 64, evaluationBatch: 1024, learningRate: 0.01 },
    ...{ seconds, accuracy: 0.985, accuracies: [0.97, 0.985] },
  });
  const found = rows(({ results }) => {
    results.push(one("lenet5-fused", 5), one("pytorch", 55), one("libtorch-plain", 20));
  });
  expect(row(found, "the specification's training", "pytorch")).toMatchObject({ ratio: 11, reached: true });
  expect(row(found, "the specification's training", "libtorch-plain")).toMatchObject({ ratio: 4, reached: false });
  expect(row(found, "the specification's training", "tensorflow")).toMatchObject({ reached: null });
});

test("a script module's call may take so many times torch.jit's, and wrong answers reach nothing", () => {
  const found = rows(({ results }) => {
    results.push(
      scriptModule("torch-jit", "MLP, batch 1", "call", 0.02),
      scriptModule("script-module", "MLP, batch 1", "runSync", 0.025),
      scriptModule("script-module", "MLP, batch 1", "awaited", 0.08),
      scriptModule("torch-jit", "loading ResNet-18", "loading", 30),
      scriptModule("script-module", "loading ResNet-18", "loading", 36),
      scriptModule("torch-jit", "ResNet-18, batch 1", "call", 20),
      scriptModule("script-module", "ResNet-18, batch 1", "awaited", 20, false),
    );
  });
  expect(row(found, "MLP, batch 1, runSync")).toMatchObject({ reached: true, peer: "torch-jit" });
  expect(row(found, "MLP, batch 1, runSync").ratio).toBeCloseTo(0.8);
  expect(row(found, "MLP, batch 1, awaited")).toMatchObject({ ratio: 0.25, target: 0.4, reached: false });
  expect(row(found, "loading ResNet-18").reached).toBe(true);
  expect(row(found, "ResNet-18, batch 1, awaited")).toMatchObject({ ratio: null, reached: false });
  expect(row(found, "2-layer LSTM, batch 1, awaited")).toMatchObject({ ratio: null, reached: null });
});

test("the libtorch engine is held to libtorch without us", () => {
  const found = rows(({ results }) => {
    const like = results.find((one) => one.suite === "inference" && one.batch === 1)!;
    results.push(
      { ...like, system: "lenet5-libtorch", imagesPerSecond: 950, rounds: {} },
      { ...like, system: "libtorch-plain", imagesPerSecond: 1000, rounds: {} },
    );
  });
  expect(row(found, "libtorch engine, inference, batch 1")).toMatchObject({ reached: true });
  expect(row(found, "libtorch engine, inference, batch 256")).toMatchObject({ ratio: null, reached: null });
});

test("rounds are paired: a machine that slows down for both leaves the ratio alone", () => {
  expect(row(rows(), "inference, batch 1", "onnxruntime-node").worst).toBeCloseTo(3);
});

test("wrong answers, ours or the peer's, reach nothing", () => {
  for (const system of ["lenet5-fused", "onnxruntime-node"]) {
    const found = rows(({ results }) => {
      for (const one of results) if (one.system === system) one.correct = false;
    });
    expect(row(found, "inference, batch 1", "onnxruntime-node")).toMatchObject({ ratio: null, reached: false });
  }
});

test("an absent peer is not measured; a 99 % that was missed is not reached", () => {
  const missing = (more: object) => {
    const found = rows(({ results }) => {
      const ours = results.find((one) => one.suite === "training" && one.system === "lenet5-fused")!;
      Object.assign(ours, { secondsTo99: null, ...more });
    });
    expect(row(found, "training, batch 64", "tfjs-node")).toMatchObject({ ratio: null, reached: null });
    return [row(found, "time to 99 %, one recipe"), row(found, "training alone to 99 %, under 0.9 s")];
  };
  for (const found of missing({})) expect(found).toMatchObject({ ratio: null, reached: null });
  for (const found of missing({ reached: "1 of 3 runs" })) expect(found).toMatchObject({ ratio: null, reached: false });
});

test("a run that misses 99 % counts as slower than any that reaches it", () => {
  const took = (secondsTo99: number | null) => ({
    secondsTo99,
    accuracy: 0.99,
    trainingSeconds: 2,
    peakResidentMB: 100,
  });
  expect(summarizeFits([took(3), took(null), took(5)])).toMatchObject({ secondsTo99: 5, reached: "2 of 3 runs" });
  expect(summarizeFits([took(3), took(null), took(null)])).toMatchObject({ secondsTo99: null, reached: "1 of 3 runs" });
});

test("a result file is checked before it is reported", () => {
  expect(problems(sampleResult())).toEqual([]);
  const change = (index: number, key: string, value: unknown) => {
    const result = sampleResult();
    result.results[index]![key] = value;
    return problems(result);
  };
  expect(change(0, "imagesPerSecond", "many")).toEqual(['results[0].imagesPerSecond is "many"']);
  expect(change(0, "correct", undefined)).toHaveLength(1);
  expect(change(0, "suite", "speed")).toHaveLength(1);
  expect(change(0, "system", "another")).toHaveLength(1);
  expect(change(10, "secondsTo99", undefined)).toHaveLength(1);
  const tried = { threads: 1, name: "eager" };
  expect(change(0, "candidates", [{ ...tried, ms: 1.5 }, { ...tried, error: "RuntimeError: no" }, tried])).toEqual([]);
  for (const wrong of [{ ...tried, ms: 0 }, { ...tried, error: 1 }, { name: "eager", ms: 1 }, { threads: 1 }])
    expect(change(0, "candidates", [wrong])).toHaveLength(1);
  expect(change(0, "suite", "dense")).toEqual(["results[0] names no data set and how it was used"]);
  expect(problems({})).toHaveLength(3);
  expect(problems(null)).toHaveLength(3);
});

test("the peers' one-cycle schedule is PyTorch's", async () => {
  const fixture = new URL("../fixtures/one-cycle/learning-rates.json", import.meta.url);
  const { runs } = JSON.parse(await readFile(fixture, "utf8"));
  for (const { steps, maximum, rates } of runs) {
    for (const [step, expected] of rates) {
      expect(Math.abs(oneCycle(step, steps, maximum) - expected), `step ${step} of ${steps}`).toBeLessThan(1e-12);
    }
  }
});

test("folding the normalisation into c1 leaves its sums as they were", () => {
  const values = (length: number, of: (index: number) => number) => Float32Array.from({ length }, (_, i) => of(i));
  const parameters = {
    "c1.weight": { shape: [6, 1, 5, 5], data: values(150, (i) => Math.sin(i)) },
    "c1.bias": { shape: [6], data: values(6, (i) => Math.cos(i)) },
  };
  const [mean, std] = [0.1307, 0.3081];
  const pixels = values(25, (i) => ((i * 7) % 25) / 25);
  const sum = (of: typeof parameters, map: number, input: (pixel: number) => number) =>
    pixels.reduce(
      (total, pixel, i) => total + input(pixel) * of["c1.weight"].data[map * 25 + i]!,
      of["c1.bias"].data[map]!,
    );
  const folded = foldNormalization({ parameters, normalization: { mean, std } });
  for (let map = 0; map < 6; map += 1) {
    const before = sum(parameters, map, (pixel) => (pixel - mean) / std);
    expect(Math.abs(sum(folded, map, (pixel) => pixel) - before)).toBeLessThan(1e-5);
  }
});
