// This package, through its public entry, as a user calls it. The first argument names the engine: fused or libtorch; a
// second one what is different: "augmented" trains on images distorted anew each epoch, "awaited" predicts by `predict`,
// "avx2" and "baseline" force the instruction set.
import { readFile } from "node:fs/promises";
import { packageEntry } from "../runner/paths.mjs";
import { say, serve } from "./shared/protocol.mjs";

const [engine, variant] = process.argv.slice(2);
const augmentation = variant === "augmented";
const instructionSet = ["avx2", "baseline"].includes(variant) ? variant : "auto";
const { LeNet5, libtorchVersion, mnist, setNumThreads } = await import(packageEntry);
const { version } = JSON.parse(await readFile(new URL("../../package.json", import.meta.url), "utf8"));
const place = { device: "cpu", engine, instructionSet };

let model;
let training;

serve({
  versions: { "lenet5-libtorch": version },

  async load({ torchscript }, threads) {
    setNumThreads(threads);
    model = await LeNet5.load(torchscript, place);
    if (model.engine !== engine) throw new Error(`the engine is ${model.engine}, not ${engine}`);
    // Asking for libtorch's version opens it.
    return engine === "libtorch" ? { versions: { libtorch: libtorchVersion() } } : {};
  },

  candidates(images, batch) {
    const size = batch * 784;
    const output = new Float32Array(batch * 10);
    const batchOf = (index) => images.subarray(index * size, (index + 1) * size);
    const set = model.instructionSet === "none" ? engine : model.instructionSet;
    const answer = ({ probabilities }) => probabilities.map(Math.log);
    const concurrent = (index) => model.predict(batchOf(index));
    const ways = {
      awaited: { name: `predict, awaited, ${set}`, async: true, call: concurrent },
      sync: {
        name: `predictSync with an output of the caller's, ${set}`,
        call: (index) => model.predictSync(batchOf(index), { output }),
      },
    };
    const { name, ...way } = ways[variant === "awaited" ? "awaited" : "sync"];
    return [{ name, make: async () => ({ ...way, answer, concurrent }) }];
  },

  useThreads(threads) {
    setNumThreads(threads);
  },

  async train(directory, batch, seconds) {
    training ??= {
      data: (await mnist.load({ directory, download: false })).train,
      model: new LeNet5({ seed: 0, ...place, normalization: { mean: 0.1307, std: 0.3081 } }),
    };
    // From the first progress to the last: the images between the two, whatever the package itself reports.
    let first;
    let last;
    const controller = new AbortController();
    try {
      for await (const event of training.model.fit(training.data, {
        epochs: 100,
        batchSize: batch,
        learningRate: 1e-3,
        schedule: "constant",
        progressInterval: 0.02,
        augmentation,
        signal: controller.signal,
      })) {
        if (event.type !== "progress") continue;
        last = { at: performance.now(), step: (event.epoch - 1) * event.steps + event.step };
        first ??= last;
        if (last.at - first.at >= seconds * 1000) controller.abort();
      }
    } catch (error) {
      if (error.code !== "LENET5_ABORTED") throw error;
    }
    // A whole epoch's last batch may be short by a few images: 32 of 60,000.
    const settings = training.model.instructionSet === "none" ? engine : training.model.instructionSet;
    return { images: (last.step - first.step) * batch, seconds: (last.at - first.at) / 1000, settings };
  },

  async fit(directory, recipe) {
    const { train, test } = await mnist.load({ directory, download: false });
    const { seed, epochs, batchSize, learningRate, schedule } = recipe;
    const fresh = new LeNet5({ seed, ...place });
    let trainingSeconds = 0;
    for await (const event of fresh.fit(train, {
      epochs,
      batchSize,
      learningRate,
      schedule,
      validation: test,
    })) {
      if (event.type !== "epoch") continue;
      trainingSeconds += event.seconds;
      say({ event: "evaluation", epoch: event.epoch, accuracy: event.validation.accuracy, trainingSeconds });
    }
    return { trainingSeconds };
  },
});
