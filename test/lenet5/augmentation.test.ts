// Augmentation and class weights, as both engines train with them.
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { type FitEvent, type FitOptions, LeNet5 } from "../../lib/index.js";
import { largestDifference, stripedImages } from "./striped-images.js";

const data = stripedImages(320);
const strengths = { shift: 2, rotation: 10, scale: 0.1, shear: 10, elastic: { alpha: 30, sigma: 4 } };
const engines = ["fused", "libtorch"] as const;
const folder = mkdtempSync(join(tmpdir(), "lenet5-augmentation-"));
afterAll(() => rmSync(folder, { recursive: true }));

async function run(model: LeNet5, options: FitOptions, set = data): Promise<FitEvent[]> {
  const events: FitEvent[] = [];
  for await (const event of model.fit(set, options)) events.push(event);
  return events;
}

/** Loss of every step, from a model of seed 5. */
async function losses(engine: (typeof engines)[number], options: FitOptions, set = data): Promise<number[]> {
  using model = new LeNet5({ seed: 5, engine, device: "cpu" });
  const events = await run(model, { learningRate: 0.001, seed: 9, ...options, progressInterval: 0 }, set);
  return events.flatMap((event) => (event.type === "progress" ? [event.loss] : []));
}

function fingerprint(model: LeNet5): string {
  const hash = createHash("sha256");
  for (const { data: values } of Object.values(model.stateDict())) hash.update(values);
  return hash.digest("hex");
}

describe("augmentation", () => {
  it.each(engines)("resumes to bit-identical weights with the %s engine", async (engine) => {
    const options = { epochs: 3, learningRate: 0.001, schedule: "constant", seed: 9, augmentation: strengths } as const;
    using whole = new LeNet5({ seed: 5, engine, device: "cpu" });
    await run(whole, options);
    const checkpointDirectory = mkdtempSync(join(folder, "resume-"));
    using first = new LeNet5({ seed: 5, engine, device: "cpu" });
    await run(first, { ...options, epochs: 1, checkpointDirectory });
    using second = new LeNet5({ seed: 77, engine, device: "cpu" });
    const events = await run(second, { ...options, checkpointDirectory, resume: true });
    expect(events.flatMap((event) => (event.type === "epoch" ? [event.epoch] : []))).toEqual([2, 3]);
    expect(fingerprint(second)).toBe(fingerprint(whole));

    for (const augmentation of [false, { ...strengths, shift: 1 }]) {
      const other = run(second, { ...options, augmentation, checkpointDirectory, resume: true });
      await expect(other).rejects.toMatchObject({ code: "LENET5_CHECKPOINT_MISMATCH" });
    }
  });

  it("shows both engines the same images", async () => {
    const options = { epochs: 2, augmentation: strengths };
    expect(largestDifference(await losses("fused", options), await losses("libtorch", options))).toBeLessThan(1e-3);
  });

  it("distorts anew in every epoch and for every seed, and repeats itself for one", async () => {
    // One image, trained on without moving: its loss changes only because the image does.
    const one = { images: data.images.subarray(0, 784), labels: data.labels.subarray(0, 1) };
    const still = { epochs: 4, learningRate: 1e-30 };
    const plain = await losses("fused", still, one);
    const distorted = await losses("fused", { ...still, augmentation: strengths }, one);
    expect(new Set(plain).size).toBe(1);
    expect(new Set(distorted).size).toBe(4);
    expect(await losses("fused", { ...still, augmentation: strengths }, one)).toEqual(distorted);
    expect(await losses("fused", { ...still, augmentation: strengths, seed: 10 }, one)).not.toEqual(distorted);
  });
});

describe("class weights", () => {
  const classWeights = [0.5, 1, 2, 0, 1, 4, 1, 1, 0.25, 3];

  it("mean the same to both engines", async () => {
    const options = { epochs: 2, classWeights };
    const fused = await losses("fused", options);
    expect(largestDifference(fused, await losses("libtorch", options))).toBeLessThan(1e-3);
    expect(largestDifference(fused, await losses("fused", { epochs: 2 }))).toBeGreaterThan(1e-2);
  });

  it.each(engines)("of 1 change nothing, and those of 0 teach nothing, with the %s engine", async (engine) => {
    const ones = await losses(engine, { classWeights: Array(10).fill(1) });
    expect(largestDifference(ones, await losses(engine, {}))).toBeLessThan(1e-6);
    using model = new LeNet5({ seed: 5, engine, device: "cpu" });
    const before = fingerprint(model);
    const threes = { images: data.images.subarray(3 * 784, 4 * 784), labels: data.labels.subarray(3, 4) };
    const events = await run(model, { classWeights, progressInterval: 0 }, threes);
    expect(events.map((event) => event.loss)).toEqual(events.map(() => 0));
    expect(fingerprint(model)).toBe(before);
  });
});
