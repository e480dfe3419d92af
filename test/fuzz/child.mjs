// One short-lived process of models.test.ts: mutates a model file `count` times, from a seed, and loads each.
//
//   node child.mjs KIND FILE SEED FIRST LAST
//
// KIND torchscript, safetensors, onnx, onnxruntime, or repaired (TorchScript whose checksums are made right again).
// Prints "> INDEX" before each file and "= INDEX OUTCOME" after it, unbuffered: whoever reads knows which one crashed.
import { readFileSync, writeSync } from "node:fs";
import { buffer as collect } from "node:stream/consumers";
import { Random } from "../../build/esm/data/random.js";
import { readOnnx } from "../../build/esm/export/onnx.js";
import { checkZip, readZipEntry } from "../../build/esm/formats/zip-check.js";
import { LeNet5, ScriptModule } from "../../dist/esm/lenet5-libtorch.js";
import { mutate } from "../mutate.mjs";

const [kind, file, seed, first, last] = process.argv.slice(2);
const original = readFileSync(file);
const blank = new Float32Array(784);

/** The archive with one entry's contents damaged and every checksum right again. */
async function repaired(random) {
  const { ZipFile } = await import("yazl");
  const entries = await checkZip(original, { what: "an archive", where: file, maxInflatedBytes: 2 ** 28 });
  // Pickles and code are what a reader can trip over; weights are only numbers.
  const readable = entries.filter(({ name }) => !/\/(data|constants|\.data)\/[^/]*$/.test(name));
  const target = random.chance(0.9)
    ? readable[random.integer(readable.length)]
    : entries[random.integer(entries.length)];
  const zip = new ZipFile();
  for (const entry of entries) {
    const contents = await readZipEntry(original, entry);
    zip.addBuffer(entry === target ? mutate(contents, random) : contents, entry.name, { compress: false });
  }
  zip.end();
  return collect(zip.outputStream);
}

async function loadLeNet5(bytes) {
  const model = await LeNet5.load(bytes, { device: "cpu" });
  model.predictSync(blank);
  model.dispose();
}

async function load(bytes) {
  switch (kind) {
    case "safetensors":
      await loadLeNet5(bytes);
      return;
    case "onnx":
      readOnnx(bytes, "fuzz");
      return;
    case "onnxruntime": {
      const { InferenceSession, Tensor } = await import("onnxruntime-node");
      const session = await InferenceSession.create(bytes, { logSeverityLevel: 4 });
      await session.run({ input: new Tensor("float32", blank, [1, 1, 28, 28]) });
      return;
    }
    default: {
      let failure;
      try {
        await loadLeNet5(bytes);
      } catch (error) {
        failure = error;
      }
      // The same file through the door for anyone's TorchScript, which runs its code.
      const script = await ScriptModule.load(bytes, { device: "cpu" });
      try {
        await script.forward({ data: blank, shape: [1, 1, 28, 28], dtype: "float32" });
      } finally {
        script.dispose();
      }
      if (failure !== undefined) throw failure;
    }
  }
}

for (let index = Number(first); index < Number(last); index++) {
  const random = new Random(Number(seed), index);
  const bytes = kind === "repaired" ? await repaired(random) : mutate(original, random);
  writeSync(1, `> ${index}\n`);
  let outcome = "loaded";
  try {
    await load(bytes);
  } catch (error) {
    outcome = `${error?.code ?? "UNCODED"} ${String(error?.message).split("\n")[0].slice(0, 300)}`;
  }
  writeSync(1, `= ${index} ${outcome}\n`);
}
writeSync(1, `memory ${process.resourceUsage().maxRSS * 1024}\n`);
