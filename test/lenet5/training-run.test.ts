// What `fit` returns is both an async iterator and a promise, and says so where it is neither.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { packageRoot } from "#package-root";
import { type Dataset, type EpochEvent, type FitEvent, LeNet5, syntheticDigits } from "../../lib/index.js";
import { runNode } from "../cli/lenet5.js";

let digits: Dataset;
const made: LeNet5[] = [];
const model = (): LeNet5 => {
  const one = new LeNet5({ seed: 1, device: "cpu" });
  made.push(one);
  return one;
};
afterAll(() => {
  for (const one of made) one.dispose();
});
beforeAll(async () => {
  digits = await syntheticDigits.generate({ count: 640, seed: 1 });
});

const epochsOf = (events: readonly FitEvent[]): EpochEvent[] => events.filter((event) => event.type === "epoch");

describe("awaiting a training", () => {
  test("runs it to its end and gives the history", async () => {
    const one = model();
    const before = await one.evaluate(digits);
    const history = await one.fit(digits, { epochs: 4, validation: digits });
    expect(history.epochs.map(({ epoch }) => epoch)).toEqual([1, 2, 3, 4]);
    expect(history.stoppedEarly).toBe(false);
    const accuracies = history.epochs.map(({ validation }) => validation!.accuracy);
    expect(accuracies[history.bestEpoch! - 1]).toBe(Math.max(...accuracies));
    expect(history.epochs[0]!.seconds).toBeGreaterThan(0);
    expect((await one.evaluate(digits)).loss).toBeLessThan(before.loss);
    expect(one.training).toBe(false);
  });

  test("takes the published recipe where nothing is said", async () => {
    const { epochs } = await model().fit(digits);
    expect(epochs).toHaveLength(3);
    // One-cycle from a peak of 0.005 ends 250,000 times below it.
    expect(epochs[2]!.learningRate).toBeCloseTo(0.005 / 250_000, 9);
    const steps: number[] = [];
    for await (const event of model().fit(digits, { epochs: 1, progressInterval: 0 })) {
      if (event.type === "progress") steps.push(event.steps);
    }
    expect(steps).toEqual(new Array(10).fill(10));
  });

  test("gives the same weights as iterating", async () => {
    const [awaited, iterated] = [model(), model()];
    await awaited.fit(digits, { epochs: 2 });
    for await (const _ of iterated.fit(digits, { epochs: 2 }));
    expect(awaited.stateDict()).toEqual(iterated.stateDict());
  });

  test("twice gives one history", async () => {
    const run = model().fit(digits, { epochs: 2 });
    expect(await run).toBe(await run);
    expect(await run.finally(() => {})).toBe(await run);
  });

  test("rejects with what ends the training", async () => {
    const signal = AbortSignal.timeout(50);
    const run = model().fit(digits, { epochs: 100_000, signal });
    await expect(run).rejects.toMatchObject({ code: "LENET5_ABORTED" });
    expect(await run.catch((error: unknown) => (error as { code: string }).code)).toBe("LENET5_ABORTED");
    // A loop that begins only now is told as well, once.
    await expect(run.next()).rejects.toMatchObject({ code: "LENET5_ABORTED" });
    expect(await run.next()).toEqual({ done: true, value: undefined });
  });
});

describe("iterating and awaiting one training", () => {
  test("gives the history of that run", async () => {
    const run = model().fit(digits, { epochs: 3 });
    const events: FitEvent[] = [];
    for await (const event of run) events.push(event);
    const { epochs } = await run;
    expect(epochs).toEqual(epochsOf(events));
    expect(epochs).toHaveLength(3);
    expect(await run.next()).toEqual({ done: true, value: undefined });
  });

  test("at once: the loop still sees every epoch", async () => {
    const run = model().fit(digits, { epochs: 5 });
    const events: FitEvent[] = [await run.next().then(({ value }) => value as FitEvent)];
    const history = Promise.resolve(run);
    for await (const event of run) events.push(event);
    expect(epochsOf(events).map(({ epoch }) => epoch)).toEqual([1, 2, 3, 4, 5]);
    expect((await history).epochs).toEqual(epochsOf(events));
  });

  test("after one event: the rest runs by itself", async () => {
    const run = model().fit(digits, { epochs: 3 });
    await run.next();
    expect((await run).epochs).toHaveLength(3);
  });

  test("after the loop was left: the history so far", async () => {
    const one = model();
    const run = one.fit(digits, { epochs: 100_000 });
    for await (const event of run) if (event.type === "epoch") break;
    expect(one.training).toBe(false);
    const { epochs, stoppedEarly } = await run;
    expect(epochs.map(({ epoch }) => epoch)).toEqual([1]);
    expect(stoppedEarly).toBe(false);
  });

  test("an error that the loop has thrown is told to who awaits, and to nobody else", async () => {
    const run = model().fit(digits, { epochs: 100_000, signal: AbortSignal.timeout(30) });
    const loop = async () => {
      for await (const _ of run);
    };
    await expect(loop()).rejects.toMatchObject({ code: "LENET5_ABORTED" });
    await expect(run).rejects.toMatchObject({ code: "LENET5_ABORTED" });
  });

  test("return, throw and disposal stop it", async () => {
    const one = model();
    const returned = one.fit(digits, { epochs: 100_000 });
    await returned.next();
    expect(await returned.return()).toEqual({ done: true, value: undefined });
    const thrown = one.fit(digits, { epochs: 100_000 });
    await thrown.next();
    await expect(thrown.throw(new Error("enough"))).rejects.toThrow("enough");
    const driven = one.fit(digits, { epochs: 100_000 });
    const history = driven.then(({ epochs }) => epochs.length);
    await driven[Symbol.asyncDispose]();
    expect(await history).toBeLessThan(100_000);
    const never = one.fit(digits);
    await never.return();
    expect((await never).epochs).toEqual([]);
    expect(one.training).toBe(false);
  });
});

describe("what fit was given", () => {
  test("is copied before it returns", async () => {
    const [untouched, changed] = [model(), model()];
    const images = digits.images.slice();
    const labels = digits.labels.slice();
    const validation = { images: digits.images.slice(), labels: digits.labels.slice() };
    const options = { epochs: 2, validation };
    const run = changed.fit({ images, labels }, options);
    structuredClone(images, { transfer: [images.buffer] });
    labels.fill(1_000_000);
    validation.labels.fill(-5);
    validation.images.fill(0);
    options.epochs = 7;
    const history = await run;
    const known = await untouched.fit(digits, { epochs: 2, validation: digits });
    expect(history.epochs.map(({ validation }) => validation)).toEqual(
      known.epochs.map(({ validation }) => validation),
    );
    expect(changed.stateDict()).toEqual(untouched.stateDict());
  });
});

describe("a training that is neither iterated nor awaited", () => {
  const program = (statements: string) => [
    "--expose-gc",
    "--input-type=module",
    "--eval",
    `import { LeNet5 } from ${JSON.stringify(`${packageRoot}/dist/esm/lenet5-libtorch.js`)};
     const model = new LeNet5({ seed: 1, device: "cpu" });
     const data = { images: new Uint8Array(784 * 64), labels: new Int32Array(64) };
     ${statements}`,
  ];
  const WARNING = /LENET5_FIT_NOT_BEGUN.*await model\.fit/;

  test.each<[string, string]>([
    ["as the program's last statement", "model.fit(data);"],
    ["before process.exit", "model.fit(data); process.exit(0);"],
    ["kept in a variable", "globalThis.run = model.fit(data);"],
    ["many times", "for (let i = 0; i < 5; i++) model.fit(data);"],
  ])("warns once: %s", async (_, statements) => {
    const { status, stderr } = await runNode(program(statements));
    expect(status).toBe(0);
    expect(stderr).toMatch(WARNING);
    expect(stderr.match(/LENET5_FIT_NOT_BEGUN/g)).toHaveLength(1);
  });

  test("warns while the program goes on, when the garbage collector meets it", async () => {
    const { stdout, stderr } = await runNode(
      program(`
        let warned;
        process.on("warning", ({ code }) => { warned = code; });
        (() => { model.fit(data); })();
        for (let i = 0; i < 500 && !warned; i++) { gc(); await new Promise((next) => setTimeout(next, 10)); }
        console.log(warned);`),
    );
    expect(stderr).toMatch(WARNING);
    expect(stdout).toBe("LENET5_FIT_NOT_BEGUN\n");
  });

  test.each([
    "await model.fit(data, { epochs: 1 });",
    "for await (const _ of model.fit(data, { epochs: 1 }));",
    "model.fit(data, { epochs: 1 }).then(() => console.log('done'));",
    "await model.fit(data).return();",
    "try { model.fit(data, { epochs: 0 }); } catch {}",
  ])("is not warned of: %s", async (statements) => {
    const { status, stderr } = await runNode(program(`${statements} gc();`));
    expect([status, stderr]).toEqual([0, ""]);
  });
});
