// Whose memory it is: what is handed to a call is the caller's again when the call returns, and what a call has begun
// with is what it ends with, whatever happens to the model meanwhile.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { crc32 } from "node:zlib";
import sharp from "sharp";
import { afterAll, describe, expect, it } from "vitest";
import { readSafetensors } from "../../lib/formats/safetensors.js";
import { type FitEvent, LeNet5 } from "../../lib/index.js";
import { TrainingRun } from "../../lib/lenet5/training-run.js";
import { stripedImages } from "./striped-images.js";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

const folder = mkdtempSync(join(tmpdir(), "lenet5-ownership-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const data = stripedImages(320);
const copyOf = ({ images, labels } = data) => ({ images: Uint8Array.from(images), labels: Int32Array.from(labels) });
const transfer = (array: Uint8Array | Float32Array) =>
  structuredClone(array.buffer, { transfer: [array.buffer as ArrayBuffer] });

async function toEnd(events: AsyncIterable<FitEvent>): Promise<FitEvent[]> {
  const all: FitEvent[] = [];
  for await (const event of events) all.push(event);
  return all;
}

describe("predict", () => {
  const images = Array.from({ length: 10 }, (_, i) =>
    Float32Array.from(data.images.subarray(i * 784, i * 784 + 784), (p) => p / 255),
  );

  it.each(["predict", "forward"] as const)(
    "%s answers calls that reuse one array each with its own content",
    async (method) => {
      using model = new LeNet5({ seed: 3 });
      const reused = new Float32Array(784);
      const asked = images.map((image) => {
        reused.set(image);
        return method === "predict"
          ? model.predict(reused).then(({ probabilities }) => probabilities)
          : model.forward(reused).then((scores) => scores.data);
      });
      reused.fill(0);
      for (const [i, answer] of (await Promise.all(asked)).entries()) {
        const alone =
          method === "predict" ? model.predictSync(images[i]!).probabilities : model.forwardSync(images[i]!).data;
        expect(Array.from(answer)).toEqual(Array.from(alone).map((value) => expect.closeTo(value, 5)));
      }
    },
  );

  it.each([1, 3, 12, 13, 40])("answers %i images at once in memory of the caller's own", (count) => {
    using model = new LeNet5({ seed: 3 });
    using other = new LeNet5({ seed: 99 });
    const pixels = data.images.subarray(0, count * 784);
    const { labels, probabilities } = model.predictSync(pixels);
    const scores = model.forwardSync(pixels).data;
    const kept = [labels.slice(), probabilities.slice(), scores.slice()];
    const second = other.predictSync(new Float32Array(count * 784).fill(0.5));
    other.forwardSync(new Float32Array(count * 784).fill(0.25));
    expect([labels, probabilities, scores]).toEqual(kept);
    for (const array of [second.labels, second.probabilities]) {
      structuredClone(array.buffer, { transfer: [array.buffer as ArrayBuffer] });
    }
    const again = model.predictSync(pixels);
    expect([again.labels, again.probabilities, scores]).toEqual(kept);
  });

  it.each([1, 320])("answers %i images whose memory goes away at once", async (count) => {
    using model = new LeNet5({ seed: 3 });
    const pixels = Uint8Array.from(data.images.subarray(0, count * 784));
    const expected = model.predictSync(pixels).labels;
    const asked = [model.predict(pixels), model.predict(Uint8Array.from(pixels))];
    transfer(pixels);
    for (const { labels } of await Promise.all(asked)) expect(labels).toEqual(expected);
  });
});

describe("predictions that wait", () => {
  const zeros = (model: LeNet5) => {
    const state = model.stateDict();
    for (const { data: values } of Object.values(state)) values.fill(0);
    return state;
  };
  const bytes = (count: number) => Uint8Array.from(data.images.subarray(0, count * 784));
  const floats = (count: number) => Float32Array.from(bytes(count), (p) => p / 255);

  it.each([1, 300])("answer with the weights of the call, %i images", async (count) => {
    using model = new LeNet5({ seed: 3 });
    const before = model.stateDict();
    for (const change of ["load", "dispose"]) {
      model.loadStateDict(before);
      const { labels, probabilities } = model.predictSync(bytes(count));
      // The first is under way and the others behind it; one of them asks for nonsense.
      const first = model.predict(bytes(count));
      await Promise.resolve();
      const asked = [first, model.predict(bytes(count)), model.predict(floats(count))];
      const code = change === "load" ? "LENET5_INVALID_PIXELS" : "LENET5_DISPOSED";
      const nonsense = expect(model.predict(new Float32Array(784).fill(Number.NaN))).rejects.toMatchObject({ code });
      if (change === "load") model.loadStateDict(zeros(model));
      else model.dispose();
      for (const one of await Promise.all(asked)) {
        expect(one.labels).toEqual(labels);
        expect(one.probabilities[0]).toBeCloseTo(probabilities[0]!, 5);
      }
      await nonsense;
    }
  });

  it("get their own rows, whatever a neighbour's array says of its length", async () => {
    using model = new LeNet5({ seed: 3 });
    const honest = floats(4).subarray(3 * 784);
    const known = model.predictSync(honest).probabilities;
    class Short extends Float32Array {
      override get length() {
        return 784;
      }
    }
    const owned = (array: Float32Array | Uint8Array) => Object.defineProperty(array, "length", { value: 784 });
    const liars = [
      new Short(floats(3)),
      owned(floats(3)),
      { data: owned(floats(3)), shape: [3, 784], dtype: "float32" },
    ];
    for (const liar of liars) {
      const [lied, answer] = await Promise.all([model.predict(liar as Float32Array), model.predict(honest)]);
      expect(lied.count).toBe(3);
      expect(Array.from(answer.probabilities)).toEqual(Array.from(known, (p) => expect.closeTo(p, 5)));
    }
    const [lied, answer] = await Promise.all([model.predict(owned(bytes(3))), model.predict(bytes(1))]);
    expect([lied.count, answer.labels]).toEqual([3, model.predictSync(bytes(1)).labels]);
    expect(model.predictSync(owned(bytes(3))).count).toBe(3);
  });
});

describe("fit", () => {
  it("trains on the images of the moment of the call", async () => {
    const weights: unknown[] = [];
    for (const change of [false, true]) {
      using model = new LeNet5({ seed: 3 });
      const train = copyOf();
      const validation = copyOf();
      const run = model.fit(train, { epochs: 2, validation });
      if (change) {
        transfer(train.images);
        train.labels.fill(99);
      }
      const first = await run.next();
      expect(first.done).toBe(false);
      if (change) {
        // Written into the confusion matrix as an index, once upon a time.
        validation.labels.fill(0x7fffffff);
        transfer(validation.images);
      }
      const events = await toEnd(run);
      expect(events.at(-1)).toMatchObject({ type: "epoch", epoch: 2 });
      weights.push(model.stateDict());
    }
    expect(weights[1]).toEqual(weights[0]);
  });

  it("writes checkpoints of the data of the call, whatever becomes of the arrays", async () => {
    const checkpointDirectory = mkdtempSync(join(folder, "checkpoint-"));
    const options = { epochs: 1, schedule: "constant", checkpointDirectory } as const;
    using model = new LeNet5({ seed: 3 });
    const train = copyOf();
    const run = model.fit(train, options);
    structuredClone(train.labels.buffer, { transfer: [train.labels.buffer] });
    await run;
    using again = new LeNet5({ seed: 3 });
    const { epochs } = await again.fit(data, { ...options, epochs: 2, resume: true });
    expect(epochs.map(({ epoch }) => epoch)).toEqual([2]);
  });

  it("lets the caller's arrays go when the call has returned", async () => {
    using model = new LeNet5({ seed: 3 });
    const [run, images, labels] = (() => {
      const [train, validation] = [copyOf(), copyOf()];
      const training = model.fit(train, { epochs: 100_000, validation });
      return [training, new WeakRef(train.images), new WeakRef(validation.labels)] as const;
    })();
    await run.next();
    // What a WeakRef has been asked for stays until the end of the task.
    for (let i = 0; i < 3; i++) {
      await new Promise((resolve) => setTimeout(resolve, 10));
      collectGarbage();
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
    expect([images.deref(), labels.deref()]).toEqual([undefined, undefined]);
    await run.return();
  });

  it("gives the model free when it has ended, though nobody asks for its last events", async () => {
    using model = new LeNet5({ seed: 3 });
    const forgotten = model.fit(data, { epochs: 2 });
    await forgotten.next();
    for (let i = 0; i < 1000 && model.training; i++) await new Promise((resolve) => setTimeout(resolve, 10));
    expect(model.training).toBe(false);
    // Its late end is no end of the training after it.
    const next = model.fit(data, { epochs: 100_000 });
    await next.next();
    await forgotten.return();
    expect(model.training).toBe(true);
    await next.return();
    expect(model.training).toBe(false);
  });

  it.each(["fused", "libtorch"] as const)("ends with LENET5_DISPOSED when the model goes (%s)", async (engine) => {
    const model = new LeNet5({ seed: 3, engine });
    const seen: FitEvent[] = [];
    const running = (async () => {
      for await (const event of model.fit(data, { epochs: 100_000, progressInterval: 0.01 })) {
        seen.push(event);
        model.dispose();
      }
    })();
    await expect(running).rejects.toMatchObject({ code: "LENET5_DISPOSED" });
    expect(seen.length).toBe(1);
    expect(model.training).toBe(false);
  });

  it.each(["return", "throw"] as const)("lets go of its copy when it ends by %s before it began", async (way) => {
    const calls: string[] = [];
    const native = { stop: () => void calls.push("stop"), dispose: () => void calls.push("dispose") };
    const events = (async function* () {
      yield* [];
      return { stoppedEarly: false };
    })();
    const run = new TrainingRun(events, native, false);
    await (way === "return" ? run.return() : expect(run.throw(new Error("no"))).rejects.toThrow("no"));
    expect(calls).toEqual(["stop", "dispose"]);
  });

  it("refuses a model that went between the call and its beginning", async () => {
    const model = new LeNet5({ seed: 3 });
    const run = model.fit(data);
    model.dispose();
    await expect(run.next()).rejects.toMatchObject({ code: "LENET5_DISPOSED" });
  });

  it.each(["aborted", "left"])("keeps the checkpoint of every epoch that has ended when it is %s", async (way) => {
    using model = new LeNet5({ seed: 3 });
    const controller = new AbortController();
    const checkpointDirectory = mkdtempSync(join(folder, "checkpoint-"));
    const options = { epochs: 100_000, checkpointDirectory, progressInterval: 60, signal: controller.signal };
    const running = (async () => {
      for await (const event of model.fit(data, options)) {
        if (event.type !== "epoch") continue;
        // Training goes on while this loop is busy.
        await new Promise((resolve) => setTimeout(resolve, 500));
        if (way === "left") break;
        controller.abort();
      }
    })();
    if (way === "left") await running;
    else await expect(running).rejects.toMatchObject({ code: "LENET5_ABORTED" });
    const { metadata } = readSafetensors(readFileSync(join(checkpointDirectory, "checkpoint.safetensors")));
    expect(Number(metadata.epoch)).toBeGreaterThan(1);
    // The set's checksum is that of 0.1: its labels, then its images.
    const { labels, images } = data;
    expect(JSON.parse(metadata.settings!).data).toBe(crc32(images, crc32(new Uint8Array(labels.buffer))));
  });
});

describe("save", () => {
  it("writes the model that it was called on, though it is disposed of at once", async () => {
    const model = new LeNet5({ seed: 3 });
    const { labels } = model.predictSync(data.images);
    const path = join(folder, "disposed.pt");
    const saving = model.save(path);
    const archive = model.toTorchScript();
    model.dispose();
    await saving;
    await archive;
    using again = await LeNet5.load(path);
    expect(again.predictSync(data.images).labels).toEqual(labels);
    await expect(model.save(path)).rejects.toMatchObject({ code: "LENET5_DISPOSED" });
  });

  it("does not mix the weights of two epochs", async () => {
    using model = new LeNet5({ seed: 3 });
    let saves = 0;
    for await (const event of model.fit(data, { epochs: 100_000, progressInterval: 0.01 })) {
      if (event.type === "epoch") await model.save(join(folder, "training.pt"));
      if (event.type === "epoch" && ++saves === 5) break;
    }
    expect(saves).toBe(5);
  });
});

it("answers what a model was asked before it was disposed of, but not what it has still to decode", async () => {
  const model = new LeNet5({ seed: 3 });
  const pixels = data.images.subarray(0, 784);
  const png = await sharp(pixels, { raw: { width: 28, height: 28, channels: 1 } })
    .png()
    .toBuffer();
  const asked = [model.predict(pixels).then(({ count }) => count), model.forward(pixels).then(({ shape }) => shape[0])];
  const evaluating = model.evaluate(data);
  const decoding = expect(model.predict(png)).rejects.toMatchObject({ code: "LENET5_DISPOSED", name: "LeNet5Error" });
  model.dispose();
  expect(await Promise.all(asked)).toEqual([1, 1]);
  expect((await evaluating).count).toBe(320);
  await decoding;
});
