// A training as TensorBoard's own reader sees it: from the command line, and from a program.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { LeNet5, syntheticDigits } from "../../lib/index.js";
import { confusionImage } from "../../lib/tensorboard/training-log.js";
import { SummaryWriter, TrainingLog } from "../../lib/tensorboard.js";
import { lastJson, lenet5, line, temporaryFolder } from "../cli/lenet5.js";
import { describeWithTensorBoard } from "../python.js";
import { readEvents } from "./read-events.js";

test("--logdir that cannot be written is refused before anything is trained", async () => {
  const folder = temporaryFolder();
  writeFileSync(join(folder, "file"), "");
  const run = await lenet5(
    line`train --data ${folder} --logdir ${join(folder, "file")} --output ${join(folder, "m.pt")}`,
  );
  expect(run.status).not.toBe(0);
  expect(run.stderr).toMatch(
    /Expected a folder that can be written for --logdir but received .*LENET5_FILE_WRITE_FAILED/,
  );
});

test("the confusion matrix is blue on its diagonal and red beside it", () => {
  const { data, width, height } = confusionImage([[4, 0], [1, 0]]); // biome-ignore format: a matrix
  const at = (x: number, y: number) => [...data.subarray((y * width + x) * 3, (y * width + x) * 3 + 3)];
  expect([width, height]).toEqual([640, 640]);
  expect([at(0, 0), at(639, 0), at(0, 639), at(639, 639)]).toEqual([[0, 0, 255], [255, 255, 255], [255, 0, 0], [255, 255, 255]]); // biome-ignore format: a matrix
});

describeWithTensorBoard("a training", () => {
  test("of lenet5 train --logdir", async () => {
    const folder = temporaryFolder();
    const [data, logs] = [join(folder, "digits"), join(folder, "logs")];
    await lenet5(line`data synthesise --output ${data} --count 1000 --test-count 200 --seed 1`);
    const run = await lenet5(
      line`train --data ${data} --epochs 2 --threads 1 --logdir ${logs} --output ${join(folder, "m.pt")} --json`,
    );
    expect(run.stderr).not.toContain("LENET5_");
    const result = lastJson(run);
    const plain = join(folder, "plain.pt");
    await lenet5(line`train --data ${data} --epochs 2 --threads 1 --output ${plain}`);
    expect(readFileSync(join(folder, "m.pt")).equals(readFileSync(plain)), "the model of a training without").toBe(
      true,
    );
    const found = await readEvents(logs);
    const values = (tag: string) => found.scalars[tag]!.map(([step, value]) => [step, Math.fround(Number(value))]);
    const epochs = result.epochs as { loss: number; validation: { accuracy: number } }[];
    expect(values("loss/train")).toEqual(epochs.map(({ loss }, i) => [i + 1, Math.fround(loss)]));
    expect(values("accuracy/validation")).toEqual(
      epochs.map(({ validation }, i) => [i + 1, Math.fround(validation.accuracy)]),
    );
    for (const tag of ["accuracy/train", "loss/validation", "learning_rate", "images_per_second"])
      expect(found.scalars[tag]).toHaveLength(2);
    expect(values("test/accuracy")).toEqual([[2, Math.fround(result.test.accuracy)]]);
    expect(found.histograms["weights/c1.weight"]!.map(([step, , , count]) => [step, count])).toEqual([[1, 150], [2, 150]]); // biome-ignore format: a table
    expect(Object.keys(found.histograms)).toHaveLength(20);
    expect(found.histograms["gradients/output.bias"]!.map(([step, , , count]) => [step, count])).toEqual([[1, 10], [2, 10]]); // biome-ignore format: a table
    expect(Object.keys(found.images).sort()).toEqual(["confusion_matrix", "misclassified"]);
    expect(found.texts["configuration/text_summary"]![0]).toContain("| batchSize | 64 |");
    expect(found.hparams.values).toMatchObject({
      epochs: 2,
      batchSize: 64,
      schedule: "one-cycle",
      augmentation: false,
    });
    expect(found.hparams.metrics).toEqual(["test/accuracy", "test/loss"]);
    expect(found.graph!.length).toBeGreaterThan(20);
  });

  test("of a program", async () => {
    const folder = temporaryFolder();
    const { train, test: examined } = await syntheticDigits.load({ trainCount: 300, testCount: 50, seed: 1 });
    await using writer = new SummaryWriter(folder);
    using model = new LeNet5({ seed: 1 });
    const log = new TrainingLog(writer, model, { epochs: 1 });
    for await (const event of model.fit(train, { epochs: 1, progressInterval: 0 })) log.event(event);
    await log.finish({ test: examined, evaluation: await model.evaluate(examined) });
    const found = await readEvents(folder);
    expect(found.scalars["batch/loss"]!.map(([step]) => step)).toEqual([1, 2, 3, 4, 5]);
    expect(found.hparams.values).toEqual({ epochs: 1 });
  });
});
