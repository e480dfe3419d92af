// `npm run quickstart`: sets everything up, trains LeNet-5, saves it, loads it back, checks it and classifies digits.
// From "train" on it uses nothing but the package's public API, as a program of your own would.
import { spawnSync } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const folder = join(root, "quickstart-output");
const SHOWN = 10;

const setup = spawnSync(process.execPath, [join(root, "scripts", "setup.mjs")], { cwd: root, stdio: "inherit" });
if (setup.status !== 0) process.exit(setup.status ?? 1);

// Only now are there dependencies and a build to import.
const { contactSheet, LeNet5, mnist, subsetOf, syntheticDigits } = await import("../dist/esm/lenet5-libtorch.js");
const { drawInTerminal } = await import("../build/esm/cli/terminal-digits.js");
const { grouped, Output, percent, table } = await import("../build/esm/cli/output.js");
const { default: sharp } = await import("sharp");

const output = new Output(false);

async function loadDigits() {
  let progress;
  const bar = (title, total) => {
    progress ??= output.progress(title, total);
    return progress;
  };
  try {
    const digits = await mnist.load({
      connectTimeout: 4000,
      onProgress: ({ receivedBytes, totalBytes }) => bar("fetching MNIST", totalBytes ?? 10e6).update(receivedBytes),
    });
    return { name: "MNIST", ...digits };
  } catch (error) {
    if (error.code !== "LENET5_DATA_DOWNLOAD_FAILED") throw error;
    progress?.stop();
    progress = undefined;
    console.log("MNIST could not be fetched, so the network learns from synthetic digits, drawn here and now.");
    const digits = await syntheticDigits.load({ onProgress: (done, total) => bar("drawing", total).update(done) });
    return { name: "synthetic digits", ...digits };
  } finally {
    progress?.stop();
  }
}

const { name, train, test } = await loadDigits();
console.log(`\nTraining on ${grouped(train.count)} images of ${name}, testing on ${grouped(test.count)}.`);

const model = new LeNet5({ seed: 42 });
const rows = [];
let progress;
for await (const event of model.fit(train, {
  epochs: 3,
  batchSize: 64,
  learningRate: 0.005,
  schedule: "one-cycle",
  validation: test,
})) {
  if (event.type === "progress") {
    const { epoch, epochs, step, steps, loss, imagesPerSecond } = event;
    progress ??= output.progress(`epoch ${epoch}/${epochs}`, steps);
    progress.update(step, `loss ${loss.toFixed(4)}, ${grouped(imagesPerSecond)} images/s`);
  } else {
    progress?.stop();
    progress = undefined;
    rows.push(event);
  }
}
console.log(
  table(
    ["epoch", "loss", "seconds", "images/s", "test loss", "test accuracy"],
    rows.map(({ epoch, loss, seconds, imagesPerSecond, validation }) => [
      String(epoch),
      loss.toFixed(4),
      seconds.toFixed(2),
      grouped(imagesPerSecond),
      validation.loss.toFixed(4),
      percent(validation.accuracy),
    ]),
  ),
);

await mkdir(folder, { recursive: true });
const path = join(folder, "lenet5.pt");
await model.save(path);
const again = await LeNet5.load(path);
const before = await model.predict(test.images);
const after = await again.predict(test.images);
const difference = before.probabilities.reduce((most, p, i) => Math.max(most, Math.abs(p - after.probabilities[i])), 0);
const changed = before.labels.filter((label, i) => label !== after.labels[i]).length;
if (changed > 0) throw new Error(`The model answers differently after loading: ${changed} labels of ${test.count}`);
console.log(`
Saved as ${relative(root, path)} and loaded back: the same ${grouped(test.count)} labels, probabilities within ${difference.toExponential(1)}.
Python reads it too: torch.jit.load("${relative(root, path)}")`);

// Image files are classified as they are: here, digits of the test set written as PNG.
const files = [];
for (let i = 0; i < SHOWN; i++) {
  const file = join(folder, `digit-${i}.png`);
  const pixels = test.images.subarray(i * 784, (i + 1) * 784);
  await sharp(pixels, { raw: { width: 28, height: 28, channels: 1 } })
    .png()
    .toFile(file);
  files.push(file);
}
const { labels } = await again.predict(files);
console.log(`\n${SHOWN} PNG files, classified:\n`);
console.log(drawInTerminal(subsetOf(test, [...files.keys()]), labels));

// The sheet: a hundred digits with their predictions, all mistakes first.
const mistakes = [...after.labels.keys()].filter((i) => after.labels[i] !== test.labels[i]);
const others = [...after.labels.keys()].filter((i) => after.labels[i] === test.labels[i]);
const shown = [...mistakes.slice(0, 50), ...others].slice(0, 100);
const sheet = join(folder, "digits.png");
const predictions = Int32Array.from(shown, (i) => after.labels[i]);
await writeFile(sheet, await contactSheet(subsetOf(test, shown), { predictions }));
console.log(`${mistakes.length} mistakes in ${grouped(test.count)} test images. ${relative(root, sheet)} shows ${Math.min(mistakes.length, 50)} of them, framed red,
and ${100 - Math.min(mistakes.length, 50)} right answers.

Next:
  npx lenet5 predict --model ${relative(root, path)} ${relative(root, files[0])}
  npx lenet5 export --model ${relative(root, path)} --format onnx --output lenet5.onnx`);

model.dispose();
again.dispose();
