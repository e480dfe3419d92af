// Precision, recall and F1, from evaluate and from the validation of fit.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Dataset, LeNet5, syntheticDigits } from "../../lib/index.js";
import { metricsOf } from "../../lib/lenet5/metrics.js";

const model = new LeNet5({ seed: 1, device: "cpu" });
afterAll(() => model.dispose());
let digits: Dataset;
beforeAll(async () => {
  digits = await syntheticDigits.generate({ count: 3000, seed: 2 });
});

/** What the native side counts where this is the confusion matrix, row-major. */
function countsOf(flat: readonly number[]) {
  const classes = Math.sqrt(flat.length);
  const sums = (holds: (at: number, i: number) => boolean) =>
    Uint32Array.from({ length: classes }, (_, i) =>
      flat.reduce((sum, count, at) => (holds(at, i) ? sum + count : sum), 0),
    );
  return {
    actual: sums((at, i) => Math.floor(at / classes) === i),
    predicted: sums((at, i) => at % classes === i),
    right: sums((at, i) => at === i * (classes + 1)),
  };
}

describe("a confusion matrix", () => {
  // What scikit-learn 1.5 gives for y_true = 0 0 0 0 1 1 2 2 2 2 2 and y_pred = 0 0 0 1 1 2 2 2 2 2 0:
  // precision_recall_fscore_support(y_true, y_pred) and its macro averages.
  const flat = [3, 1, 0, 0, 1, 1, 1, 0, 4];

  test("gives scikit-learn's figures", () => {
    const { accuracy, precision, recall, f1, count, perClass } = metricsOf(countsOf(flat), ["a", "b", "c"]);
    expect(count).toBe(11);
    expect(accuracy).toBeCloseTo(8 / 11, 12);
    const rows = [
      [0.75, 0.75, 0.75, 4],
      [0.5, 0.5, 0.5, 2],
      [0.8, 0.8, 0.8, 5],
    ];
    for (const [i, [p, r, f, support]] of rows.entries()) {
      expect(perClass[i]).toEqual({
        className: "abc"[i],
        precision: p,
        recall: r,
        f1: expect.closeTo(f!, 12),
        support,
      });
    }
    for (const mean of [precision, recall, f1]) expect(mean).toBeCloseTo((0.75 + 0.5 + 0.8) / 3, 12);
  });

  test("tells precision from recall", () => {
    const { perClass } = metricsOf(countsOf([8, 2, 0, 10]), ["a", "b"]);
    expect(perClass[0]).toMatchObject({ precision: 1, recall: 0.8, f1: expect.closeTo(16 / 18, 12), support: 10 });
    expect(perClass[1]).toMatchObject({ precision: 10 / 12, recall: 1, support: 10 });
  });

  test("counts a quotient by zero as 0, and a class that is not there not at all", () => {
    const { precision, recall, f1, perClass } = metricsOf(countsOf([5, 0, 0, 1, 0, 0, 0, 0, 0]), ["a", "b", "c"]);
    expect(perClass[1]).toMatchObject({ precision: 0, recall: 0, f1: 0, support: 1 });
    expect(perClass[2]).toMatchObject({ precision: 0, recall: 0, f1: 0, support: 0 });
    expect(precision).toBeCloseTo((5 / 6 + 0) / 2, 12);
    expect(recall).toBe(0.5);
    expect(f1).toBeCloseTo(10 / 11 / 2, 12);
  });
});

describe("evaluate", () => {
  test("has the figures of each class, and fit's validation the same averages", async () => {
    const { epochs } = await model.fit(digits, { epochs: 1, validation: digits });
    const evaluation = await model.evaluate(digits);
    const { accuracy, precision, recall, f1, perClass, confusion, count } = evaluation;
    for (const [name, value] of Object.entries({ accuracy, precision, recall, f1 })) {
      expect(epochs[0]!.validation![name as "f1"]).toBeCloseTo(value, 6);
    }
    expect(perClass.map(({ className }) => className)).toEqual([...digits.classNames]);
    expect(perClass.reduce((sum, { support }) => sum + support, 0)).toBe(count);
    expect(perClass[3]!.recall).toBeCloseTo(confusion![3]![3]! / 300, 12);
    // Every class has as many images, so that the mean recall is the accuracy.
    expect(recall).toBeCloseTo(accuracy, 12);
  });

  test("counts each class as its matrix does", async () => {
    const { confusion, perClass, count, accuracy } = await model.evaluate(digits);
    const rows = confusion!;
    expect(rows.flat().reduce((sum, n) => sum + n, 0)).toBe(count);
    expect(accuracy).toBeCloseTo(rows.reduce((sum, row, i) => sum + row[i]!, 0) / count, 12);
    for (const [i, { precision, recall, support }] of perClass.entries()) {
      expect(support).toBe(rows[i]!.reduce((sum, n) => sum + n, 0));
      expect(recall).toBeCloseTo(rows[i]![i]! / support, 12);
      const answered = rows.reduce((sum, row) => sum + row[i]!, 0);
      expect(precision).toBeCloseTo(answered === 0 ? 0 : rows[i]![i]! / answered, 12);
    }
  });

  test("has no matrix of a hundred million numbers for ten thousand classes", async () => {
    using many = new LeNet5({ seed: 1, numClasses: 10_000 });
    const data = { images: digits.images.subarray(0, 2 * 784), labels: Int32Array.of(7, 9_999) };
    const { labels } = many.predictSync(data.images);
    const evaluation = await many.evaluate(data);
    expect(evaluation).not.toHaveProperty("confusion");
    expect(evaluation).toMatchObject({ count: 2, accuracy: 0 });
    expect(evaluation.perClass.length).toBe(10_000);
    expect(evaluation.perClass[9_999]).toMatchObject({ support: 1, recall: 0 });
    expect((await many.evaluate({ ...data, labels })).accuracy).toBe(1);
    using some = new LeNet5({ seed: 1, numClasses: 1000 });
    expect((await some.evaluate({ ...data, labels: Int32Array.of(0, 999) })).confusion!.length).toBe(1000);
  });

  test("tells how far it is, to the end", async () => {
    const told: [number, number][] = [];
    await model.evaluate(digits, { onProgress: (done, total) => void told.push([done, total]) });
    expect(told.at(-1)).toEqual([3000, 3000]);
    expect(told.map(([done]) => done)).toEqual(told.map(([done]) => done).sort((a, b) => a - b));
    expect(new Set(told.map(([done]) => done)).size).toBe(told.length);
  });

  test("ends with what its callback throws", async () => {
    const failure = new Error("mine");
    const onProgress = () => {
      throw failure;
    };
    await expect(model.evaluate(digits, { onProgress })).rejects.toBe(failure);
  });
});
