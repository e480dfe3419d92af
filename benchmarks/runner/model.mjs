// The weights every system is measured with: trained once by this package on a data set, written in the form each system
// reads, and the answers they must give. Run as a program of its own, so that the runner itself never loads the addon.
import { spawn } from "node:child_process";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { foldNormalization, readParameters } from "../systems/shared/network.mjs";
import { dataSet, testSet } from "./data.mjs";
import { modelFilesOf, packageEntry } from "./paths.mjs";
import { labelsOf, reference } from "./reference.mjs";

/** Noise cannot be learnt: it is shown to the weights that know digits. The validation split is for training alone. */
const weightsFor = (set) => (["noise", "digits-validation"].includes(set) ? "digits" : set);
export const filesFor = (set) => modelFilesOf(weightsFor(set));

/** What the weights depend on; other weights are made when it changes. */
const sourceOf = (set) => ({
  ...{ set, seed: 0, epochs: 2, batchSize: 64, learningRate: 0.005, schedule: "one-cycle", format: 2 },
  least: set === "fashion-mnist" ? 0.84 : 0.97,
});

async function readDescription(set) {
  try {
    const description = JSON.parse(await readFile(filesFor(set).description, "utf8"));
    return JSON.stringify(description.source) === JSON.stringify(sourceOf(weightsFor(set))) ? description : undefined;
  } catch {
    return undefined;
  }
}

/** The double-precision answers for the test images of a set, computed once for its weights: some eight seconds. */
async function answers(set, description) {
  const file = join(filesFor(set).folder, `answers-${set}.f64`);
  const made = await readFile(file).catch(() => undefined);
  if (made?.length === 10_000 * 80) {
    return new Float64Array(made.buffer.slice(made.byteOffset, made.byteOffset + made.length));
  }
  const { images } = await testSet(await dataSet(set));
  const { parameters } = await readParameters(filesFor(set));
  const values = reference({ parameters, normalization: description.normalization }, images);
  await writeFile(file, Buffer.from(values.buffer));
  return values;
}

/** The weights for a data set: their description, their files, the answers; they are made where they are missing. */
export async function modelFor(set, report) {
  if ((await readDescription(set)) === undefined) {
    report(`training the weights that every system is measured with: ${weightsFor(set)}`);
    await new Promise((done) => {
      const maker = spawn(process.execPath, [fileURLToPath(import.meta.url), weightsFor(set)], { stdio: "inherit" });
      maker.on("close", done);
    });
  }
  const description = await readDescription(set);
  if (description === undefined) {
    throw new Error("The measured weights could not be made: build the package first (npm run build).");
  }
  const values = await answers(set, description);
  return { ...description, files: filesFor(set), answers: values, labels: labelsOf(values) };
}

async function make(set) {
  const files = modelFilesOf(set);
  const { LeNet5, exportOnnx, mnist } = await import(packageEntry);
  const { train, test } = await mnist.load({ directory: await dataSet(set), download: false });
  const { seed, epochs, batchSize, learningRate, schedule, least } = sourceOf(set);
  const trained = new LeNet5({ seed, device: "cpu" });
  for await (const _ of trained.fit(train, { epochs, batchSize, learningRate, schedule }));
  const { accuracy } = await trained.evaluate(test);
  if (accuracy < least) throw new Error(`the trained model is right in only ${accuracy} of the test images`);

  const state = trained.stateDict();
  await mkdir(files.folder, { recursive: true });
  await trained.save(files.torchscript);
  // ONNX Runtime gets the normalisation inside c1, as the other peers do.
  const { normalization } = trained;
  const folded = foldNormalization({ parameters: state, normalization });
  const onnx = LeNet5.fromStateDict(folded, { device: "cpu", normalization: { mean: 0, std: 1 } });
  await exportOnnx(onnx, files.onnx);
  await writeFile(
    files.parameters,
    Buffer.concat(Object.values(state).map(({ data }) => Buffer.from(data.buffer, data.byteOffset, data.byteLength))),
  );
  // The answers belong to these weights.
  for (const other of [set, "noise"]) await writeFile(join(files.folder, `answers-${other}.f64`), "");
  const description = {
    source: sourceOf(set),
    accuracy,
    normalization,
    parameters: Object.entries(state).map(([name, { shape }]) => [name, shape]),
  };
  await writeFile(files.description, `${JSON.stringify(description)}\n`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await make(process.argv[2]);
