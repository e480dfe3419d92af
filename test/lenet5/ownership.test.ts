// Whose memory it is: what is handed to a call is the caller's again when the call returns, and what a call has begun
// with is what it ends with, whatever happens to the model meanwhile.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { afterAll, describe, expect, it } from "vitest";
import { readSafetensors } from "../../lib/formats/safetensors.js";
import { type FitEvent, LeNet5 } from "../../lib/index.js";
import { stripedImages } from "./striped-images.js";

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

  it.each([1, 320])("answers %i images whose memory goes away at once", async (count) => {
    using model = new LeNet5({ seed: 3 });
    const pixels = Uint8Array.from(data.images.subarray(0, count * 784));
    const expected = model.predictSync(pixels).labels;
    const asked = [model.predict(pixels), model.predict(Uint8Array.from(pixels))];
    transfer(pixels);
    for (const { labels } of await Promise.all(asked)) expect(labels).toEqual(expected);
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

it("gives what waits for a disposed model an error with a code", async () => {
  const model = new LeNet5({ seed: 3 });
  const asked = [model.predict(data.images.subarray(0, 784)), model.forward(data.images.subarray(0, 784))];
  const evaluating = model.evaluate(data);
  model.dispose();
  for (const one of asked) await expect(one).rejects.toMatchObject({ code: "LENET5_DISPOSED", name: "LeNet5Error" });
  expect((await evaluating).count).toBe(320);
});
