// The trainers of the frameworks: their models answer, ours read PyTorch's, their event files draw the curves of ours, and
// whatever goes wrong leaves nothing half.
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { lastJson, lenet5, line, temporaryFolder } from "../cli/lenet5.js";
import { describeWithEnvironments, python, pythonFor } from "../python.js";
import { readEvents } from "../tensorboard/read-events.js";
import { SYSTEMS, trainer } from "./trainer.js";

const SETTINGS = line`--epochs 2 --batch-size 32 --test-batch-size 64 --learning-rate 0.004 --seed 7 --threads 1`;
// What a SavedModel answers for pixels, asked by TensorFlow itself.
const ASK = `
import gzip, json, sys
import numpy as np, tensorflow as tf
read = lambda path: np.frombuffer(gzip.open(path).read(), np.uint8)
pixels = read(sys.argv[2])[16:].reshape(-1, 1, 28, 28).astype(np.float32) / 255
(answer,) = tf.saved_model.load(sys.argv[1]).signatures["serving_default"](pixels=tf.constant(pixels)).values()
labels = read(sys.argv[3])[8:]
answer = answer.numpy()
print(json.dumps({"sums": float(np.exp(answer).sum(1).max()), "accuracy": float((answer.argmax(1) == labels).mean())}))
`;

describeWithEnvironments(["tensorflow"], "the trainers", () => {
  let data: string;
  beforeAll(async () => {
    data = mkdtempSync(join(tmpdir(), "lenet5-digits-"));
    await lenet5(line`data synthesise --output ${data} --count 2000 --test-count 500 --seed 1`);
  });
  afterAll(() => rmSync(data, { recursive: true, force: true }));

  test.each(SYSTEMS)("$system trains, logs, writes a model, and gives the same a second time", async (system) => {
    const folder = temporaryFolder();
    const [output, logs] = [join(folder, "deep", system.output), join(folder, "logs")];
    const words = line`--data ${data} --output ${output} --logdir ${logs} ${SETTINGS}`;
    mkdirSync(logs);
    writeFileSync(join(logs, "events.out.tfevents.1.other.1.0"), "somebody else's");
    const run = await trainer(system, words);
    expect(run.status, run.stderr).toBe(0);
    const result = lastJson(run);
    expect(result).toMatchObject({ system: system.system, model: output, batchSize: 32, learningRate: 0.004, seed: 7 });
    expect(result.accuracy).toBeGreaterThan(0.8);
    expect(result.epochs).toHaveLength(2);
    expect(result.imagesPerSecond).toBeCloseTo(4000 / result.trainingSeconds, 3);
    expect(result.versions[system.system === "pytorch" ? "torch" : "tensorflow"]).toMatch(/^2\./);

    // The curves have the tags and, of what does not depend on the weights, the values of ours.
    const ours = join(folder, "ours");
    const own = await lenet5(
      line`train --data ${data} --output ${join(folder, "ours.pt")} --logdir ${ours} --epochs 2 --batch-size 32 --learning-rate 0.004 --seed 7 --threads 1 --json`,
    );
    expect(own.status, own.stderr).toBe(0);
    const wanted = await readEvents(ours);
    const found = await readEvents(logs);
    // Within a tenth of a second, ours has no batch to draw.
    expect(Object.keys(found.scalars).sort()).toEqual(
      [...new Set([...Object.keys(wanted.scalars), "batch/loss"])].sort(),
    );
    const rates = (of: typeof found) =>
      of.scalars.learning_rate!.map(([step, value]) => [step, Math.fround(Number(value))]);
    expect(rates(found)).toEqual(rates(wanted));
    const weights = Object.keys(wanted.histograms).filter((tag) => tag.startsWith("weights/"));
    expect(Object.keys(found.histograms).sort()).toEqual(weights.sort());
    expect(found.scalars["accuracy/validation"]!.map(([, value]) => Math.fround(Number(value)))).toEqual(
      result.epochs.map(({ validation }: { validation: { accuracy: number } }) => Math.fround(validation.accuracy)),
    );
    expect(found.hparams.values).toMatchObject({ epochs: 2, batchSize: 32, schedule: "one-cycle", seed: 7 });
    // And the object at the end has the keys of ours.
    expect(Object.keys(lastJson(own))).toEqual(expect.arrayContaining(Object.keys(result)));

    // The model on the disk answers as the one that was trained.
    if (system.system === "pytorch") {
      const asked = lastJson(await lenet5(line`evaluate --model ${output} --data ${data} --json`));
      expect(asked.accuracy).toBeCloseTo(result.accuracy, 6);
      expect(asked.loss).toBeCloseTo(result.loss, 4);
    } else {
      const asked = await python<{ sums: number; accuracy: number }>(
        ASK,
        [output, ...["images-idx3", "labels-idx1"].map((kind) => join(data, `t10k-${kind}-ubyte.gz`))],
        { interpreter: pythonFor("tensorflow")! },
      );
      expect(asked.sums).toBeCloseTo(1, 5);
      expect(asked.accuracy).toBeCloseTo(result.accuracy, 6);
    }

    // A second run in the same places gives the same figures, and replaces what the first one left.
    const again = lastJson(await trainer(system, words));
    expect([again.loss, again.accuracy]).toEqual([result.loss, result.accuracy]);
    expect(readdirSync(join(folder, "deep"))).toEqual([system.output]);
    const files = readdirSync(logs);
    expect(files).toHaveLength(2);
    expect(files).toContain("events.out.tfevents.1.other.1.0");
  });

  test.each(SYSTEMS)(
    "$system, killed in the middle, leaves the model that was there and a log that can be read",
    async (system) => {
      const folder = temporaryFolder();
      const [output, logs] = [join(folder, system.output), join(folder, "logs")];
      const words = line`--data ${data} --output ${output} --logdir ${logs} --batch-size 32 --threads 1`;
      expect((await trainer(system, [...words, ...line`--epochs 1`])).status).toBe(0);
      const before = stamps(output);
      const killed = await trainer(system, [...words, ...line`--epochs 1000`], (text, child) => {
        if (text.includes("epoch 2/1000")) child.kill("SIGKILL");
      });
      expect(killed.signal).toBe("SIGKILL");
      expect(stamps(output)).toEqual(before);
      expect((await readEvents(logs)).scalars["loss/train"]!.length).toBeGreaterThanOrEqual(2);
      // What a process that was killed while it wrote has left goes with the next run.
      writeFileSync(join(folder, `.${system.output}.part`), "half");
      expect((await trainer(system, [...words, ...line`--epochs 1`])).status).toBe(0);
      expect(readdirSync(folder).sort()).toEqual(["logs", system.output].sort());
      expect(stamps(output)).not.toEqual(before);
    },
  );

  describe.each(SYSTEMS)("$system refuses", (system) => {
    // What both share takes one of them; each start is seconds of imports. (A test that is passed over counts as failed in CI.)
    const shared = (name: string, body: () => Promise<void>) => {
      if (system.system === "pytorch") test(name, body);
    };
    const refused = async (status: number, words: string[], pattern: RegExp) => {
      const run = await trainer(system, words);
      const told = run.stderr.split("\n").filter((text) => text.startsWith(`${system.system}_trainer: `));
      expect(told, run.stderr).toHaveLength(1);
      expect(told[0]).toMatch(pattern);
      expect(run.stderr).not.toContain("Traceback");
      expect({ status: run.status, stdout: run.stdout }).toEqual({ status, stdout: "" });
    };
    const places = () => {
      const folder = temporaryFolder();
      return { folder, words: line`--output ${join(folder, system.output)} --logdir ${join(folder, "logs")}` };
    };

    shared("options that make no sense", async () => {
      const { words } = places();
      const all = [...line`--data ${data}`, ...words];
      await refused(2, words, /: Expected a value for --data but received none$/);
      await refused(
        2,
        [...all, "--epochs", "0"],
        /: Expected a whole number from 1 to \d+ for --epochs but received '0'$/,
      );
      await refused(
        2,
        [...all, "--learning-rate", "nan"],
        /: Expected a number above 0 for --learning-rate but received 'nan'$/,
      );
      await refused(
        2,
        [...all, "--schedule", "cosine"],
        /: Expected constant, one-cycle for --schedule but received 'cosine'$/,
      );
      await refused(
        2,
        [...all, "--rate", "1"],
        /: Expected an option that --help lists for the command line but received --rate 1$/,
      );
    });

    shared("data that are missing, cut off, or contradict one another", async () => {
      const { folder, words } = places();
      const with_ = (name: string, change: (file: string) => void): string[] => {
        const damaged = join(folder, "data");
        mkdirSync(damaged, { recursive: true });
        for (const file of readdirSync(data))
          writeFileSync(join(damaged, file.replace(/\.gz$/, "")), gunzipSync(readFileSync(join(data, file))));
        change(join(damaged, name));
        return [...line`--data ${damaged}`, ...words];
      };
      await refused(
        1,
        [...line`--data ${join(folder, "none")}`, ...words],
        /: Expected an IDX file for .* but received No such file/,
      );
      await refused(
        1,
        with_("train-images-idx3-ubyte", (file) => truncateSync(file, 5000)),
        /: Expected 1568000 bytes of data, as its header declares, for .* but received room for 4984$/,
      );
      const many = (file: string) => writeFileSync(file, Buffer.from([0, 0, 8, 1, 0xff, 0xff, 0xff, 0xff, 1]));
      await refused(1, with_("t10k-labels-idx1-ubyte", many), /: Expected 4294967295 bytes of data/);
      const one = (file: string) => writeFileSync(file, Buffer.from([0, 0, 8, 1, 0, 0, 0, 1, 3]));
      await refused(
        1,
        with_("t10k-labels-idx1-ubyte", one),
        /: Expected 500 labels, one an image, for .* but received 1$/,
      );
      const eleven = (file: string) =>
        writeFileSync(file, Buffer.concat([readFileSync(file).subarray(0, -1), Buffer.from([11])]));
      await refused(1, with_("train-labels-idx1-ubyte", eleven), /: Expected labels below 10 for .* but received 11$/);
      await refused(
        1,
        with_("train-labels-idx1-ubyte", (file) => writeFileSync(file, Buffer.from([0x1f, 0x8b, 8, 0]))),
        /: Expected a whole gzip file for /,
      );
      expect(existsSync(join(folder, "logs"))).toBe(false);
    });

    test("places that cannot be written", async () => {
      const { folder } = places();
      const file = join(folder, "file");
      writeFileSync(file, "precious");
      const logs = join(folder, "logs");
      await refused(
        1,
        line`--data ${data} --logdir ${logs} --output ${join(file, "model")}`,
        /: Expected a place that can be written for --output /,
      );
      await refused(
        1,
        line`--data ${data} --logdir ${file} --output ${join(folder, "m")}`,
        /: Expected a folder that can be written for --logdir /,
      );
      // Nothing is replaced but a model by a model.
      const other = system.system === "pytorch" ? folder : file;
      await refused(
        1,
        line`--data ${data} --logdir ${logs} --output ${other}`,
        /: Expected (a file|a SavedModel's folder or a new one) for --output /,
      );
      expect(readFileSync(file, "utf8")).toBe("precious");
    });
  });
});

/** Inode and time of everything in a place: what would change if it were written anew. */
function stamps(place: string): unknown {
  const { ino, mtimeMs } = statSync(place);
  if (!statSync(place).isDirectory()) return [ino, mtimeMs];
  return [ino, readdirSync(place).map((name) => [name, stamps(join(place, name))])];
}
