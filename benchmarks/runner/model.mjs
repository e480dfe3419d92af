// The weights every system is measured with: trained once by this package, written in the form each system reads, and
// the labels they must give. Run as a program of its own, so that the runner itself never loads the addon.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { foldNormalization } from "../systems/shared/network.mjs";
import { model as folder, modelFiles, packageEntry } from "./paths.mjs";

export const CHECKED_IMAGES = 1000;

/** What the weights depend on; other weights are made when it changes. */
const source = { seed: 0, epochs: 2, batchSize: 64, learningRate: 0.005, schedule: "one-cycle", format: 1 };

/** The description of the weights, or undefined when they have not been made. */
export async function readModel() {
  try {
    const description = JSON.parse(await readFile(modelFiles.description, "utf8"));
    return JSON.stringify(description.source) === JSON.stringify(source) ? description : undefined;
  } catch {
    return undefined;
  }
}

async function make(directory) {
  const { LeNet5, exportOnnx, mnist } = await import(packageEntry);
  const { train, test } = await mnist.load({ directory, download: false });
  const { seed, epochs, batchSize, learningRate, schedule } = source;
  const trained = new LeNet5({ seed, device: "cpu" });
  for await (const _ of trained.fit(train, { epochs, batchSize, learningRate, schedule }));
  const { accuracy } = await trained.evaluate(test);
  if (accuracy < 0.98) throw new Error(`the trained model is right in only ${accuracy} of the test images`);

  const state = trained.stateDict();
  await mkdir(folder, { recursive: true });
  await trained.save(modelFiles.torchscript);
  // ONNX Runtime gets the normalisation inside c1, as the other peers do.
  const { normalization } = trained;
  const folded = foldNormalization({ parameters: state, normalization });
  const onnx = LeNet5.fromStateDict(folded, { device: "cpu", normalization: { mean: 0, std: 1 } });
  await exportOnnx(onnx, modelFiles.onnx);
  await writeFile(
    modelFiles.parameters,
    Buffer.concat(Object.values(state).map(({ data }) => Buffer.from(data.buffer, data.byteOffset, data.byteLength))),
  );
  // The reference engine's answers; every peer's own are compared with them, so that neither can be wrong alone.
  const reference = LeNet5.fromStateDict(state, {
    device: "cpu",
    engine: "libtorch",
    normalization,
  });
  const { labels } = await reference.predict(test.images.subarray(0, CHECKED_IMAGES * 784));
  const description = {
    source,
    accuracy,
    normalization,
    parameters: Object.entries(state).map(([name, { shape }]) => [name, shape]),
    referenceLabels: Array.from(labels),
  };
  await writeFile(modelFiles.description, `${JSON.stringify(description)}\n`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await make(process.argv[2]);
