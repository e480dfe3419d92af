#!/usr/bin/env node
// Measures this package and its peers in one run: `npm run bench -- --help`.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { Child } from "./runner/child.mjs";
import { testSet, unpackedMnist } from "./runner/data.mjs";
import { describeEnvironment } from "./runner/environment.mjs";
import { readModel } from "./runner/model.mjs";
import { benchmarks, modelFiles, packageEntry, resultFile } from "./runner/paths.mjs";
import { significant, summarize } from "./runner/statistics.mjs";
import { inference } from "./runner/suites/inference.mjs";
import { scriptModule } from "./runner/suites/script-module.mjs";
import { serving } from "./runner/suites/serving.mjs";
import { startup } from "./runner/suites/startup.mjs";
import { training } from "./runner/suites/training.mjs";
import { childEnvironment, fmaPeak, registry, takingPart } from "./runner/systems.mjs";
import { plainTable, targetCells } from "./runner/table.mjs";
import { compare, MULTIPLY_ADDS } from "./runner/targets.mjs";

const suites = { startup, inference, training, "script-module": scriptModule, serving };
/** Suites that start their processes themselves. */
const BY_THEMSELVES = ["startup", "serving"];
const help = `Usage: npm run bench -- [options]

  --suite NAMES    startup, inference, training, script-module, serving, comma-separated (default: all)
  --systems NAMES  ${registry.map(({ name }) => name).join(", ")} (default: all)
  --batches LIST   batch sizes of the inference suite (default: 1,32,256,1024)
  --json FILE      where the result goes (default: benchmarks/results/latest.json)
  --threads N      threads of every system (default: 2)
  --fits N         runs to 99 % of the systems that are compared (default: 5)
  --quick          few, short rounds: does everything work? No figures to quote.
`;

function fault(message) {
  console.error(message);
  process.exit(2);
}

function arguments_() {
  try {
    return parseArgs({
      options: {
        suite: { type: "string" },
        systems: { type: "string" },
        batches: { type: "string", default: "1,32,256,1024" },
        json: { type: "string", default: resultFile },
        threads: { type: "string", default: "2" },
        fits: { type: "string" },
        quick: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    }).values;
  } catch (error) {
    return fault(`${error.message}\n\n${help}`);
  }
}

function names(text, known, option) {
  const chosen = text === undefined ? known : text.split(",").map((name) => name.trim());
  const unknown = chosen.find((name) => !known.includes(name));
  if (unknown !== undefined) fault(`--${option} ${unknown}: one of ${known.join(", ")}`);
  return chosen;
}

function whole(text, option, most) {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > most) fault(`--${option} ${text}: a whole number, 1 to ${most}`);
  return value;
}

const options = arguments_();
if (options.help) {
  console.log(help);
  process.exit(0);
}
const chosenSuites = names(options.suite, Object.keys(suites), "suite");
const chosenSystems = names(
  options.systems,
  registry.map(({ name }) => name),
  "systems",
);
const { quick } = options;
const settings = {
  threads: whole(options.threads, "threads", 1024),
  batches: options.batches.split(",").map((batch) => whole(batch, "batches", 10_000)),
  quick,
  windowSeconds: quick ? 0.1 : 0.25,
  inferenceRounds: quick ? 2 : 7,
  trainingSeconds: quick ? 0.4 : 1.2,
  trainingRounds: quick ? 2 : 5,
  scriptModuleRounds: quick ? 2 : 5,
  startupRounds: quick ? 1 : 3,
  servingRounds: quick ? 1 : 3,
  servingSeconds: quick ? 1 : 3,
  servingWarmUp: 1,
  fits: options.fits === undefined ? (quick ? 1 : 5) : whole(options.fits, "fits", 100),
  recipe: {
    epochs: 3,
    batchSize: 64,
    learningRate: 0.005,
    schedule: "one-cycle (PyTorch's OneCycleLR defaults, momenta left alone)",
    optimizer: "Adam, beta1 0.9, beta2 0.999, epsilon 1e-8",
    evaluation: "10,000 test images after each epoch",
    seeds: "0, 1, … by run",
  },
};

const begin = performance.now();
const clock = () => `${((performance.now() - begin) / 1000).toFixed(0).padStart(4)} s `;
const report = (line) => console.error(clock() + line);
const absences = [];
let failed = false;
const absent = (system, why, suite) => {
  if (absences.some((row) => row.system === system && row.suite === suite)) return;
  absences.push({ system, ...(suite === undefined ? {} : { suite }), why });
  report(`absent: ${system}${suite === undefined ? "" : ` (${suite})`}: ${why}`);
};
/** A system that was there and failed: named like an absent one, and the run fails. */
const fail = (system, why, suite) => {
  failed = true;
  absences.push({ system, suite, why: `failed: ${why}`, failed: true });
  report(`FAILED: ${system}: ${why}`);
};

const data = await unpackedMnist().catch((error) => fault(error.message));
let model = await readModel();
if (model === undefined && existsSync(packageEntry)) {
  report("training the weights that every system is measured with");
  await new Promise((done) => {
    const maker = spawn(process.execPath, [join(benchmarks, "runner", "model.mjs"), data], { stdio: "inherit" });
    maker.on("close", done);
  });
  model = await readModel();
}
if (model === undefined) fault("The measured weights could not be made: build the package first (npm run build).");
const { firstImage, labels } = await testSet(data);
const right = model.referenceLabels.filter((label, index) => label === labels[index]).length;
if (right < 0.97 * model.referenceLabels.length)
  fault(`The reference labels are right in only ${right} of 1,000 images.`);

const selected = registry.filter((system) => {
  if (!chosenSystems.includes(system.name)) return false;
  const why = system.absent();
  if (why !== undefined) absent(system.name, why);
  return why === undefined;
});

const environment = describeEnvironment(settings);
if (environment.loadAverageBefore > 0.5) {
  report(
    `the machine is busy (load average ${environment.loadAverageBefore}): libraries that wait at barriers suffer most`,
  );
}
const childSettings = childEnvironment(settings.threads);
const threadsUsed = new Map();
const peaks = [];

async function startPeak() {
  if (!existsSync(fmaPeak)) {
    report("the multiply-add peak is not measured: run `npm run bench:setup`");
    return undefined;
  }
  const child = new Child({ name: "fma-peak", command: fmaPeak, args: [] }, childSettings);
  await child.ready();
  child.pause();
  return child;
}

/** Starts the systems of a suite, loads weights and data, and stops each until its turn. */
async function startChildren(suite) {
  const children = new Map();
  for (const system of takingPart(selected, suite)) {
    if (system.suites[suite] !== undefined) {
      absent(system.name, system.suites[suite], suite);
      continue;
    }
    const child = new Child(system, childSettings);
    try {
      const { versions } = await child.ready();
      environment.versions[system.name] = versions;
      if (!system.modules) {
        const loaded = await child.request({ cmd: "load", model: modelFiles, threads: settings.threads });
        Object.assign(environment.versions[system.name], loaded.versions);
        if (loaded.threads !== undefined) threadsUsed.set(system, loaded.threads);
        await child.request({ cmd: "data", data });
      }
      child.pause();
      children.set(system, child);
    } catch (error) {
      await child.end();
      fail(system.name, error.message, suite);
    }
  }
  return children;
}

const results = [];
for (const suite of chosenSuites) {
  const taking = takingPart(selected, suite);
  report(`${suite}: ${taking.map(({ name }) => name).join(", ")}`);
  const children = BY_THEMSELVES.includes(suite) ? new Map() : await startChildren(suite);
  const yardstick = [...BY_THEMSELVES, "script-module"].includes(suite) ? undefined : await startPeak();
  const rows = await suites[suite]({
    settings,
    selected: taking,
    children,
    report,
    fail,
    absent,
    model,
    modelFiles,
    data,
    firstImage,
    environment: childSettings,
    threadsOf: (system) => threadsUsed.get(system) ?? settings.threads,
    versions: (system, versions) => {
      environment.versions[system.name] = versions;
    },
    peak: async () => {
      if (yardstick === undefined) return;
      peaks.push(await yardstick.turn({ cmd: "peak", threads: settings.threads, seconds: quick ? 0.1 : 0.3 }));
    },
  });
  await Promise.all([...children.values(), ...(yardstick ? [yardstick] : [])].map((child) => child.end()));
  results.push(...rows);
}

if (peaks.length > 0) {
  environment.fmaPeak = {
    ...summarize(peaks, ["multiplyAddsPerSecond"]),
    instructionSet: peaks.at(-1).instructionSet,
    threads: settings.threads,
  };
  const possible = environment.fmaPeak.multiplyAddsPerSecond / MULTIPLY_ADDS;
  for (const row of results) {
    if (row.suite === "inference") row.shareOfPeak = significant(row.imagesPerSecond / possible, 3);
  }
}
environment.seconds = Math.round((performance.now() - begin) / 1000);

const result = { environment, results, absent: absences };
const file = resolve(options.json);
await mkdir(dirname(file), { recursive: true });
await writeFile(file, `${JSON.stringify(result, null, 1)}\n`);

console.log(`\n${plainTable(targetCells(compare(result)))}\n`);
for (const { system, suite, why } of absences) console.log(`absent: ${system}${suite ? ` (${suite})` : ""}: ${why}`);
console.log(`${file}, ${environment.seconds} s${quick ? "; --quick: no figures to quote" : ""}`);
process.exitCode = failed ? 1 : 0;
