// A folder of PNGs, each classified and its answer written: `lenet5 predict --input` against a DataLoader loop in PyTorch.
//
// Both are fresh processes that take turns. Timed is the work alone, from the first image on to the last answer: starts, imports
// and the listing of the folder belong to neither figure. PyTorch keeps its answers in memory; this package writes rows to a file.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { commandLine, peers, pythonExecutable, systems } from "../paths.mjs";
import { summarize } from "../statistics.mjs";
import { rotated } from "./inference.mjs";

const WHAT = "60,000 PNGs of 28×28";
/** Images on which PyTorch's ways are tried. */
const TRIED = 6000;
/** Answers that may differ: where two classes are as probable, rounding decides. */
const MAY_DIFFER = 0.001;

/** Runs a command; gives back the JSON object on its last line. */
function lastJson(command, args, environment) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { env: environment, stdio: ["ignore", "pipe", "pipe"] });
    const text = { stdout: "", stderr: "" };
    for (const name of ["stdout", "stderr"]) {
      child[name].setEncoding("utf8").on("data", (some) => {
        text[name] += some;
      });
    }
    child.on("error", reject);
    child.on("close", (status) => {
      if (status === 0) resolve(JSON.parse(text.stdout.trimEnd().split("\n").at(-1)));
      else reject(new Error(`ended with ${status}: ${text.stderr.trim().slice(-300)}`));
    });
  });
}

/** The folder of PNGs, in a sub-folder for each class, which is made once. */
async function pngs(run) {
  const folder = join(peers, "data", "png");
  if (existsSync(join(folder, "whole"))) return join(folder, "images");
  run.report("batch: writing 60,000 PNGs");
  await rm(folder, { recursive: true, force: true });
  const data = await run.folder("digits");
  const files = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"].map((name) => join(data, name));
  await mkdir(folder, { recursive: true });
  await python(run, "make", ...files, join(folder, "images"));
  await writeFile(join(folder, "whole"), "");
  return join(folder, "images");
}

const python = (run, ...words) =>
  lastJson(pythonExecutable, [join(systems, "image_folder.py"), ...words], run.environment);

/** How each system classifies the folder once: seconds, and its labels in the order of the paths. */
function waysOf(run, folder, scratch, chosenWays) {
  const threads = String(run.settings.threads);
  const model = run.modelFiles.torchscript;
  let how;
  return {
    async "lenet5-predict"() {
      const output = join(scratch, "answers.jsonl");
      const words = [commandLine, "predict", "--model", model, "--input", folder, "--output", output, "--json"];
      const { images, seconds } = await lastJson(process.execPath, words, run.environment);
      const lines = (await readFile(output, "utf8")).trimEnd().split("\n");
      return { images, seconds, labels: lines.map((line) => JSON.parse(line).label) };
    },
    async "pytorch-dataloader"() {
      if (how === undefined) {
        const chosen = await python(run, "choose", folder, model, threads, String(TRIED));
        how = chosen.how;
        run.report(`batch: pytorch-dataloader by ${how.loader}, ${how.workers} workers, batch ${how.batch}`);
        chosenWays.set("pytorch-dataloader", { way: how, ways: chosen.candidates });
      }
      const file = join(scratch, "labels");
      const { images, seconds, versions } = await python(run, "run", folder, model, threads, JSON.stringify(how), file);
      run.versions("pytorch-dataloader", versions);
      return { images, seconds, labels: [...(await readFile(file))] };
    },
  };
}

export async function batch(run) {
  const { settings, selected, report, fail } = run;
  if (selected.length === 0) return [];
  const folder = await pngs(run);
  const scratch = await mkdtemp(join(tmpdir(), "lenet5-batch-"));
  const chosenWays = new Map();
  const ways = waysOf(run, folder, scratch, chosenWays);
  const taken = new Map(selected.map((system) => [system, []]));
  const answers = new Map();
  try {
    for (let round = 0; round < settings.batchRounds; round += 1) {
      for (const system of rotated(selected, round)) {
        try {
          const { images, seconds, labels } = await ways[system.name]();
          taken.get(system).push({ imagesPerSecond: images / seconds });
          answers.set(system, labels);
          report(`batch: ${system.name}, ${Math.round(images / seconds).toLocaleString("en-US")} images/s`);
        } catch (error) {
          fail(system.name, error.message, "batch");
        }
      }
    }
  } finally {
    await rm(scratch, { recursive: true });
  }
  const [first] = answers.values();
  return selected
    .filter((system) => taken.get(system).length > 0)
    .map((system) => ({
      ...{ suite: "batch", system: system.name, what: WHAT },
      ...summarize(taken.get(system), ["imagesPerSecond"]),
      correct: alike(answers.get(system), first),
      ...chosenWays.get(system.name),
    }));
}

/** Whether two systems gave the same labels, but for a few. */
export function alike(labels, others) {
  if (labels.length !== others.length) return false;
  const different = labels.filter((label, index) => label !== others[index]).length;
  return different <= MAY_DIFFER * labels.length;
}
