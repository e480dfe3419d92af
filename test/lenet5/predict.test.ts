import sharp from "sharp";
import { describe, expect, it } from "vitest";
import { LeNet5, LeNet5Error } from "../../lib/index.js";
import { largestDifference, stripedImages } from "./striped-images.js";

const { images } = stripedImages(50);

/** 28×28 images on a black 32×32 canvas. */
function onCanvas(pixels: Uint8Array): Uint8Array {
  const count = pixels.length / 784;
  const canvas = new Uint8Array(count * 1024);
  for (let i = 0; i < count; i++) {
    for (let y = 0; y < 28; y++) {
      canvas.set(pixels.subarray(i * 784 + y * 28, i * 784 + y * 28 + 28), i * 1024 + (y + 2) * 32 + 2);
    }
  }
  return canvas;
}

describe.each(["libtorch", "fused"] as const)("predict with the %s engine", (engine) => {
  const model = new LeNet5({ seed: 3, engine });

  it("gives rows of probabilities and the index of the largest", async () => {
    const { labels, probabilities, count, numClasses, classNames } = await model.predict(images);
    expect([count, numClasses, labels.length, probabilities.length]).toEqual([50, 10, 50, 500]);
    expect(classNames).toEqual(["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    for (let i = 0; i < count; i++) {
      const row = probabilities.subarray(i * 10, i * 10 + 10);
      expect(row.reduce((sum, p) => sum + p, 0)).toBeCloseTo(1, 5);
      expect(labels[i]).toBe(row.indexOf(Math.max(...row)));
    }
  });

  it("takes bytes, floats, tensors and both sizes as the same images", async () => {
    const { data: known } = await model.forward(images);
    const floats = Float32Array.from(images, (pixel) => pixel / 255);
    const canvas = onCanvas(images);
    for (const input of [
      floats,
      { data: images, shape: [50, 1, 28, 28], dtype: "uint8" as const },
      { data: images, shape: [50, 28, 28], dtype: "uint8" as const },
      { data: images, shape: [50, 784], dtype: "uint8" as const },
      { data: floats, shape: [50, 1, 28, 28], dtype: "float32" as const },
      { data: canvas, shape: [50, 1, 32, 32], dtype: "uint8" as const },
      { data: Float32Array.from(canvas, (pixel) => pixel / 255), shape: [50, 32, 32], dtype: "float32" as const },
    ]) {
      const { data, shape } = await model.forward(input);
      expect(shape).toEqual([50, 10]);
      expect(largestDifference(data, known)).toBeLessThan(1e-5);
      expect(largestDifference(model.forwardSync(input).data, known)).toBeLessThan(1e-5);
    }
  });

  it("has a synchronous twin that writes into the array it is given", async () => {
    const { probabilities } = await model.predict(images);
    const output = new Float32Array(600).fill(-1);
    const result = model.predictSync(images, { output });
    expect(result.probabilities.buffer).toBe(output.buffer);
    expect(result.probabilities).toHaveLength(500);
    expect(largestDifference(result.probabilities, probabilities)).toBeLessThan(1e-6);
    expect(output[500]).toBe(-1);
    expect(() => model.predictSync(images, { output: new Float32Array(499) })).toThrow(
      /Expected a Float32Array of at least 500/,
    );
  });

  it("answers an empty batch with nothing", async () => {
    expect((await model.predict(new Uint8Array(0))).count).toBe(0);
    expect(model.predictSync(new Float32Array(0)).labels).toHaveLength(0);
  });

  it("gives each of many concurrent calls its own answer, and bad pixels fail only their own call", async () => {
    const { labels, probabilities } = await model.predict(images);
    const bad = new Float32Array(784).fill(Number.NaN);
    const calls = Array.from({ length: 200 }, (_, i) => {
      const image = images.subarray((i % 50) * 784, (i % 50) * 784 + 784);
      return model.predict(i % 3 === 0 ? Float32Array.from(image, (pixel) => pixel / 255) : image);
    });
    const failing = model.predict(bad);
    await expect(failing).rejects.toMatchObject({ code: "LENET5_INVALID_PIXELS" });
    for (const [i, answer] of (await Promise.all(calls)).entries()) {
      expect(answer.labels).toEqual(labels.slice(i % 50, (i % 50) + 1));
      expect(
        largestDifference(answer.probabilities, probabilities.slice((i % 50) * 10, (i % 50) * 10 + 10)),
      ).toBeLessThan(1e-5);
    }
  });

  it("rejects bad pixels with an error of the package also where the model was disposed of meanwhile", async () => {
    const model = new LeNet5({ engine });
    const good = new Float32Array(784);
    const calls = [model.predict(good), model.predict(new Float32Array(784).fill(Number.NaN)), model.predict(good)];
    await Promise.resolve();
    await Promise.resolve();
    model.dispose();
    const [first, bad, last] = await Promise.allSettled(calls);
    expect([first!.status, last!.status]).toEqual(["fulfilled", "fulfilled"]);
    expect((bad as PromiseRejectedResult).reason).toBeInstanceOf(LeNet5Error);
  });

  it("is not disturbed when the caller changes the pixels during the call", async () => {
    const mine = images.slice();
    const { labels } = await model.predict(images);
    const call = model.predict(mine);
    await Promise.resolve();
    await Promise.resolve();
    structuredClone(mine.buffer, { transfer: [mine.buffer] });
    expect((await call).labels).toEqual(labels);
  });
});

it("reads image files and encoded buffers", async () => {
  using model = new LeNet5({ seed: 3 });
  const png = await sharp(images.subarray(0, 784), { raw: { width: 28, height: 28, channels: 1 } })
    .png()
    .toBuffer();
  const one = await model.predict(png);
  const two = await model.predict([png, png]);
  expect(one.count).toBe(1);
  expect([...two.labels]).toEqual([one.labels[0], one.labels[0]]);
  await expect(model.predict("/nowhere/7.png")).rejects.toMatchObject({ code: "LENET5_DATA_NOT_FOUND" });
});

it("tells what is wrong with bad input", async () => {
  using model = new LeNet5({ seed: 3 });
  const cases: [unknown, string][] = [
    [new Uint8Array(783), "LENET5_INVALID_SHAPE"],
    [{ data: images, shape: [50, 3, 28, 28], dtype: "uint8" }, "LENET5_INVALID_SHAPE"],
    [{ data: images, shape: [39, 1, 28, 28], dtype: "uint8" }, "LENET5_INVALID_SHAPE"],
    [{ data: new Float64Array(784), shape: [1, 784], dtype: "float64" }, "LENET5_INVALID_DTYPE"],
    [{ data: images, shape: [50, 784], dtype: "complex64" }, "LENET5_INVALID_DTYPE"],
    [new Float32Array(784).fill(Number.POSITIVE_INFINITY), "LENET5_INVALID_PIXELS"],
    [17, "LENET5_INVALID_ARGUMENT"],
    [null, "LENET5_INVALID_ARGUMENT"],
  ];
  for (const [input, code] of cases) {
    await expect(model.predict(input as never)).rejects.toMatchObject({ code });
    expect(() => model.predictSync(input as never)).toThrow(expect.objectContaining({ code }));
  }
});

it("carries the caller's stack in a native failure", async () => {
  using model = new LeNet5({ seed: 3 });
  const askBadly = async () => await model.predict(new Float32Array(784).fill(Number.NaN));
  const error = await askBadly().catch((e: Error) => e);
  expect((error as Error).stack).toContain("predict.test.ts");
});

it("refuses to work after dispose, and disposes twice without complaint", async () => {
  const model = new LeNet5({ seed: 3 });
  const pending = model.predict(images);
  model.dispose();
  model.dispose();
  expect(model.disposed).toBe(true);
  await pending.catch((error: unknown) => expect(error).toMatchObject({ code: "LENET5_DISPOSED" }));
  await expect(model.predict(images)).rejects.toMatchObject({ code: "LENET5_DISPOSED" });
  expect(() => model.stateDict()).toThrow(expect.objectContaining({ code: "LENET5_DISPOSED" }));
});
