// One rank of a training, as the tests start it: what to do as JSON in the first argument; what happened as JSON on the last
// line of stdout. Each step is a line "step N" on stderr.
import { createHash } from "node:crypto";
import { isLeNet5Error, LeNet5, setNumThreads, syntheticDigits } from "../../dist/esm/lenet5-libtorch.js";

const { engine = "fused", seed = 1, data, fit, abortAtStep, abortAfter, leaveAtStep } = JSON.parse(process.argv[2]);

setNumThreads(1);
const { train, test } = await syntheticDigits.load({ trainCount: 1600, testCount: 200, seed: 1, ...data });
const model = new LeNet5({ seed, engine, device: "cpu" });
const controller = new AbortController();
if (abortAfter !== undefined) setTimeout(() => controller.abort(), abortAfter);
const losses = [];
const epochs = [];
const result = { losses, epochs, error: null };
try {
  const options = { seed: 5, progressInterval: 0, ...fit, signal: controller.signal };
  if (fit.validation === true) options.validation = test;
  for await (const event of model.fit(train, options)) {
    if (event.type === "epoch") {
      // What differs from rank to rank.
      const { seconds: _, imagesPerSecond: __, communicationSeconds: ___, checkpoint: ____, ...told } = event;
      epochs.push(told);
      continue;
    }
    losses.push(event.loss);
    process.stderr.write(`step ${losses.length}\n`);
    if (losses.length === abortAtStep) controller.abort();
    if (losses.length === leaveAtStep) break;
  }
} catch (error) {
  if (!isLeNet5Error(error)) throw error;
  result.error = { code: error.code, message: error.message };
}
const weights = createHash("sha256");
for (const { data: values } of Object.values(model.stateDict())) weights.update(values);
result.weights = weights.digest("hex");
result.megabytes = process.resourceUsage().maxRSS / 1024;
process.stdout.write(`${JSON.stringify(result)}\n`);
