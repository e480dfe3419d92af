// Images a second on a device, as one JSON object: `node measure.mjs`. Medians of five rounds after one that does not count.
import { performance } from "node:perf_hooks";
import { LeNet5 } from "../../dist/esm/lenet5-libtorch.js";
import { libtorch } from "../../dist/esm/scripts.js";
import { stripedImages } from "./images.mjs";

const DEVICE = process.env.LENET5_TEST_DEVICE ?? "cuda";
const ROUNDS = 5;
const SECONDS = Number(process.env.LENET5_MEASURE_SECONDS ?? 1);
const data = stripedImages(20_000);
const normalization = { mean: 0.1307, std: 0.3081 };

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

/** Images a second in epochs of at least SECONDS a round. */
async function training(batchSize, options) {
  const model = new LeNet5({ seed: 1, normalization, ...options });
  const seconds = [];
  let epochs = 0;
  let spent = 0;
  const run = model.fit(data, {
    epochs: 100_000,
    batchSize,
    schedule: "constant",
    learningRate: 1e-4,
    progressInterval: 60,
  });
  for await (const event of run) {
    if (event.type !== "epoch") continue;
    epochs++;
    spent += event.seconds;
    if (spent < SECONDS) continue;
    seconds.push(spent / epochs);
    epochs = 0;
    spent = 0;
    if (seconds.length > ROUNDS) break;
  }
  return Math.round(data.labels.length / median(seconds.slice(1)));
}

async function inference(count, options) {
  const model = new LeNet5({ seed: 1, normalization, ...options });
  const pixels = data.images.subarray(0, 784 * count);
  const rates = [];
  for (let round = 0; round <= ROUNDS; round++) {
    const start = performance.now();
    let calls = 0;
    for (; performance.now() - start < 1000 * SECONDS; calls++) model.predictSync(pixels);
    rates.push((1000 * calls * count) / (performance.now() - start));
  }
  return Math.round(median(rates.slice(1)));
}

const ways = {
  [`${DEVICE}, libtorch`]: { device: DEVICE, engine: "libtorch" },
  "cpu, fused": { device: "cpu", engine: "fused" },
};
const result = { device: DEVICE, training: {}, inference: {} };
for (const [name, options] of Object.entries(ways)) {
  const [trained, asked] = [{}, {}];
  for (const batch of [64, 256, 1024]) trained[batch] = await training(batch, options);
  for (const count of [1, 64, 1024, 4096]) asked[count] = await inference(count, options);
  result.training[name] = trained;
  result.inference[name] = asked;
}
if (DEVICE !== "cpu") {
  process.env.LENET5_CUDA_GRAPHS = "0";
  const trained = {};
  for (const batch of [64, 256, 1024]) trained[batch] = await training(batch, { device: DEVICE, engine: "libtorch" });
  result.training[`${DEVICE}, libtorch, without graphs`] = trained;
}
result.graphs = libtorch("The measurement").cuda();
console.log(JSON.stringify(result));
