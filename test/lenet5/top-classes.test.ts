// The most probable classes of each image.
import { afterAll, describe, expect, test } from "vitest";
import { LeNet5 } from "../../lib/index.js";
import { stripedImages } from "./striped-images.js";

const { images } = stripedImages(5);
const model = new LeNet5({ seed: 3, device: "cpu", classNames: [..."abcdefghij"] });
afterAll(() => model.dispose());

describe("topK", () => {
  test("gives the most probable classes in order, by name", async () => {
    const { top, probabilities, labels } = await model.predict(images, { topK: 3 });
    expect(top).toHaveLength(5);
    for (const [i, classes] of top.entries()) {
      const row = Array.from(probabilities.subarray(10 * i, 10 * i + 10));
      const sorted = [...row].sort((a, b) => b - a);
      expect(classes.map(({ probability }) => probability)).toEqual(sorted.slice(0, 3));
      expect(classes[0]!.label).toBe(labels[i]);
      for (const { label, className, probability } of classes) {
        expect(className).toBe("abcdefghij"[label]);
        expect(probability).toBe(row[label]);
      }
    }
    expect(model.predictSync(images, { topK: 3 }).top.map((each) => each.map(({ label }) => label))).toEqual(
      top.map((each) => each.map(({ label }) => label)),
    );
  });

  test("gives all classes where there are fewer, and nothing where it is not asked for", async () => {
    const { top } = await model.predict(images, { topK: 100 });
    expect(top.map((classes) => classes.length)).toEqual(new Array(5).fill(10));
    expect(await model.predict(images)).not.toHaveProperty("top");
    expect((await model.predict(new Uint8Array(0), { topK: 1 })).top).toEqual([]);
  });

  test.each([0, -1, 1.5, Number.NaN, "3"])("refuses %s", async (topK) => {
    const refusal = { code: "LENET5_INVALID_OPTION", message: expect.stringContaining("topK") };
    await expect(model.predict(images, { topK: topK as number })).rejects.toMatchObject(refusal);
    expect(() => model.predictSync(images, { topK: topK as number })).toThrow(expect.objectContaining(refusal));
  });
});
