// One rank of this package's distributed training, for benchmarks/scaling.mjs: two epochs, of which the second is measured.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { LeNet5, setNumThreads } from "../../dist/esm/lenet5-libtorch.js";

const { data, batch, engine, threads, limit } = JSON.parse(process.argv[2]);

setNumThreads(threads);
const [images, labels] = await Promise.all(
  ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"].map((name) => readFile(join(data, name))),
);
const count = Math.min(limit, labels.length - 8);
const model = new LeNet5({ engine, device: "cpu", seed: 1 });
const distributed = process.env.WORLD_SIZE === undefined ? false : { timeout: 120 };
const options = { epochs: 2, batchSize: batch, seed: 1, distributed };
const history = await model.fit(
  { images: images.subarray(16, 16 + 784 * count), labels: labels.subarray(8, 8 + count) },
  options,
);
const { seconds, communicationSeconds = 0 } = history.epochs[1];
const steps = Math.ceil(count / batch);
console.log(JSON.stringify({ images: count, steps, seconds, communicationSeconds }));
process.exit(0);
