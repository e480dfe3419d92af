// The benchmarks are plain modules beside the package; they are loaded by address, so that they need no declarations.
import { fileURLToPath } from "node:url";

export const benchmarksFolder = fileURLToPath(new URL("../../benchmarks/", import.meta.url));

/** A module of the benchmarks by its path there. */
// biome-ignore lint/suspicious/noExplicitAny: untyped on purpose
export async function benchmarkModule(path: string): Promise<any> {
  return import(new URL(`../../benchmarks/${path}`, import.meta.url).href);
}

export interface Row {
  suite: string;
  system: string;
  [key: string]: unknown;
}

const rate = (suite: string, system: string, batch: number, imagesPerSecond: number, more = {}): Row => ({
  suite,
  system,
  batch,
  imagesPerSecond,
  rounds: { imagesPerSecond: [imagesPerSecond * 0.9, imagesPerSecond, imagesPerSecond * 1.1] },
  ...more,
});
const inference = (system: string, batch: number, imagesPerSecond: number) =>
  rate("inference", system, batch, imagesPerSecond, { p50Ms: 1, p99Ms: 2, correct: true, wrongLabels: 0 });

/** A row of the suite script-module. */
export const scriptModule = (system: string, what: string, how: string, p50Ms: number, correct = true): Row => ({
  suite: "script-module",
  system,
  what,
  how,
  p50Ms,
  p99Ms: 2 * p50Ms,
  rounds: { p50Ms: [p50Ms * 0.9, p50Ms, p50Ms * 1.1] },
  correct,
});

/** A result with round figures, of the shape that a run writes. */
export function sampleResult(): { environment: Record<string, unknown>; results: Row[]; absent: unknown[] } {
  return {
    environment: {
      date: "2026-01-02T03:04:05.000Z",
      processor: "Test processor",
      cores: 2,
      os: "Test",
      node: "v20.17.0",
      threads: 2,
      fmaPeak: { multiplyAddsPerSecond: 416_520 * 200_000 },
      recipe: { optimizer: "Adam", schedule: "one-cycle", learningRate: 0.004, batchSize: 64, epochs: 2 },
      versions: { pytorch: { pytorch: "2.13.0" }, "onnxruntime-node": { "onnxruntime-node": "1.30.0" } },
    },
    results: [
      inference("lenet5-fused", 1, 60_000),
      inference("pytorch", 1, 3000),
      inference("pytorch-optimized", 1, 3500),
      inference("tensorflow", 1, 1500),
      inference("onnxruntime-node", 1, 20_000),
      inference("lenet5-fused", 256, 80_000),
      inference("pytorch", 256, 20_000),
      inference("pytorch-optimized", 256, 40_000),
      inference("tensorflow", 256, 30_000),
      inference("onnxruntime-node", 256, 50_000),
      rate("training", "lenet5-fused", 64, 55_000, { secondsTo99: 4, secondsOfTraining: 2.5, accuracy: 0.9905 }),
      rate("training", "lenet5-fused-augmented", 64, 45_000, { secondsTo99: null }),
      rate("training", "pytorch", 64, 10_000, { secondsTo99: 18, secondsOfTraining: 14, accuracy: 0.991 }),
      rate("training", "tensorflow", 64, 6000, { secondsTo99: null, accuracy: 0.98 }),
      {
        suite: "startup",
        system: "lenet5-fused",
        importMs: 50,
        loadMs: 60,
        firstPredictionMs: 1,
        totalMs: 111,
        ownMs: 71,
        residentMB: 60,
        correct: true,
      },
      {
        suite: "startup",
        system: "onnxruntime-node",
        importMs: 60,
        loadMs: 40,
        firstPredictionMs: 22,
        totalMs: 122,
        ownMs: 82,
        residentMB: 90,
        correct: true,
      },
    ],
    absent: [{ system: "tfjs-node", why: "not installed" }],
  };
}
