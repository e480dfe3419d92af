#!/usr/bin/env node
// Measures this package and its peers in one run: `npm run bench -- --help`.
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { Child } from "./runner/child.mjs";
import { dataSet, testSet } from "./runner/data.mjs";
import { describeEnvironment } from "./runner/environment.mjs";
import { filesFor, modelFor } from "./runner/model.mjs";
import { executedMultiplyAdds, MULTIPLY_ADDS } from "./runner/multiply-adds.mjs";
import { packageEntry, resultFile } from "./runner/paths.mjs";
import { describedRecipe } from "./runner/recipes.mjs";
import { judge, readAnswers } from "./runner/reference.mjs";
import { significant, summarize } from "./runner/statistics.mjs";
import { batch } from "./runner/suites/batch.mjs";
import { dense } from "./runner/suites/dense.mjs";
import { inference } from "./runner/suites/inference.mjs";
import { recipes } from "./runner/suites/recipes.mjs";
import { scriptModule } from "./runner/suites/script-module.mjs";
import { serving } from "./runner/suites/serving.mjs";
import { specification } from "./runner/suites/specification.mjs";
import { startup } from "./runner/suites/startup.mjs";
import { training } from "./runner/suites/training.mjs";
import { childEnvironment, fmaPeak, registry, takingPart } from "./runner/systems.mjs";
import { plainTable, targetCells } from "./runner/table.mjs";
import { compare } from "./runner/targets.mjs";

const suites = {
  ...{ startup, inference, training, dense, specification },
  ...{ "script-module": scriptModule, serving, batch, recipes },
};
/** Suites whose rounds the multiply-add peak is measured in. */
const WITH_PEAK = ["inference", "training", "dense"];
/** What `recipes` chooses is in the repository: it is run when it is asked for. */
const DEFAULT_SUITES = Object.keys(suites).filter((name) => name !== "recipes");
const help = `Usage: npm run bench -- [options]

  --suite NAMES    ${Object.keys(suites).join(", ")}, comma-separated
                   (default: all but recipes, which chooses each system's own recipe to 99 %)
  --systems NAMES  ${registry.map(({ name }) => name).join(", ")} (default: all)
  --batches LIST   batch sizes of the inference suite (default: 1,32,256,1024)
  --json FILE      where the result goes (default: benchmarks/results/latest.json)
  --threads N      threads of every system (default: 2)
  --fits N         runs to 99 % of every system, each with a seed of its own (default: 5)
  --seed N         what the order of turns is drawn from (default: 1)
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
        seed: { type: "string", default: "1" },
        quick: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    }).values;
  } catch (error) {
    return fault(`${error.message}\n\n${help}`);
  }
}

function names(text, known, option, byDefault = known) {
  const chosen = text === undefined ? byDefault : text.split(",").map((name) => name.trim());
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
const chosenSuites = names(options.suite, Object.keys(suites), "suite", DEFAULT_SUITES);
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
  orderSeed: whole(options.seed, "seed", 2 ** 31),
  windowSeconds: quick ? 0.1 : 0.5,
  inferenceRounds: quick ? 2 : 9,
  trainingSeconds: quick ? 0.4 : 1.5,
  trainingRounds: quick ? 2 : 7,
  denseRounds: quick ? 1 : 5,
  scriptModuleRounds: quick ? 2 : 5,
  startupRounds: quick ? 1 : 3,
  servingRounds: quick ? 1 : 3,
  batchRounds: quick ? 1 : 3,
  servingSeconds: quick ? 1 : 3,
  servingWarmUp: 1,
  fits: options.fits === undefined ? (quick ? 1 : 5) : whole(options.fits, "fits", 100),
  specificationRuns: quick ? 1 : 3,
  recipe: describedRecipe,
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

const scratch = await mkdtemp(join(tmpdir(), "lenet5-benchmarks-"));
process.on("exit", () => execFileSync("rm", ["-rf", scratch]));
const models = new Map();
/** The weights and answers of a data set; made at the first call. */
async function model(set) {
  if (!models.has(set)) models.set(set, await modelFor(set, report));
  return models.get(set);
}
if (!existsSync(packageEntry)) fault("The package is not built: run `npm run build`.");
const data = await dataSet("digits").catch((error) => fault(error.message));
const digits = await model("digits").catch((error) => fault(error.message));
const { images, labels } = await testSet(data);
const right = digits.labels.filter((label, index) => label === labels[index]).length;
if (right < 0.97 * labels.length) fault(`The reference labels are right in only ${right} of ${labels.length} images.`);

const instructionSets = JSON.parse(
  execFileSync(
    process.execPath,
    ["-e", `import(${JSON.stringify(packageEntry)}).then((m) => console.log(JSON.stringify(m.instructionSets())))`],
    { encoding: "utf8" },
  ),
);
const selected = registry.filter((system) => {
  if (!chosenSystems.includes(system.name)) return false;
  const lacking = system.needs !== undefined && !instructionSets.includes(system.needs);
  const why = lacking ? `this processor has no ${system.needs}` : system.absent();
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
const peaks = [];
const repeated = [];
/** What was chosen for a system in one suite stands in the next ones. */
const choices = new Map();

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

/** Starts a system, loads weights and images, and stops it until its turn. */
async function start(system, threads, set) {
  const child = new Child(system, childEnvironment(threads));
  try {
    const { versions } = await child.ready();
    environment.versions[system.name] = versions;
    const loaded = await child.request({ cmd: "load", model: (await model(set)).files, threads });
    Object.assign(environment.versions[system.name], loaded.versions);
    await child.request({ cmd: "data", data: await dataSet(set) });
    child.pause();
    return child;
  } catch (error) {
    await child.end();
    throw error;
  }
}

/** Starts what runs anyone's TorchScript: it loads nothing yet. */
async function startModules(suite) {
  const children = new Map();
  for (const system of takingPart(selected, suite)) {
    const child = new Child(system, childSettings);
    try {
      environment.versions[system.name] = (await child.ready()).versions;
      child.pause();
      children.set(system, child);
    } catch (error) {
      await child.end();
      fail(system.name, error.message, suite);
    }
  }
  return children;
}

const file = resolve(options.json);
/** What was measured before a run of hours ended early; it never takes the place of a whole result. */
const unfinished = `${file}.unfinished`;
async function write(rows, to = file) {
  const result = { environment, results: rows, absent: absences };
  await mkdir(dirname(to), { recursive: true });
  await writeFile(to, `${JSON.stringify(result, null, 1)}\n`);
  return result;
}

const results = [];
for (const suite of chosenSuites) {
  const taking = takingPart(selected, suite).filter((system) => {
    if (system.suites[suite] !== undefined) absent(system.name, system.suites[suite], suite);
    return system.suites[suite] === undefined;
  });
  report(`${suite}: ${taking.map(({ name }) => name).join(", ")}`);
  const children = suite === "script-module" ? await startModules(suite) : new Map();
  const yardstick = WITH_PEAK.includes(suite) ? await startPeak() : undefined;
  const rows = await suites[suite]({
    ...{ settings, selected: taking, children, report, fail, absent, choices, repeated, data, start },
    model: { ...digits, referenceLabels: digits.labels },
    modelFiles: filesFor("digits"),
    firstImage: Array.from(images.subarray(0, 784), (value) => value / 255),
    environment: childSettings,
    folder: dataSet,
    answersFile: (name) => join(scratch, `${name}.f32`),
    judge: async (file, set) => judge(await readAnswers(file), (await model(set)).answers),
    versions: (system, versions) => {
      environment.versions[system.name] = versions;
    },
    peak: async () => {
      if (yardstick === undefined) return undefined;
      peaks.push(await yardstick.turn({ cmd: "peak", threads: settings.threads, seconds: quick ? 0.1 : 0.3 }));
      return peaks.at(-1).multiplyAddsPerSecond;
    },
  });
  await Promise.all([...children.values(), ...(yardstick ? [yardstick] : [])].map((child) => child.end()));
  results.push(...rows);
  await write(results, unfinished);
}

environment.instructionSets = instructionSets;
environment.repeatedRounds = repeated;
if (peaks.length > 0) {
  environment.fmaPeak = {
    ...summarize(peaks, ["multiplyAddsPerSecond"]),
    instructionSet: peaks.at(-1).instructionSet,
    threads: settings.threads,
  };
  const executed = { digits: executedMultiplyAdds(images) };
  for (const { what } of results.filter((row) => row.suite === "dense")) {
    executed[what] ??= executedMultiplyAdds((await testSet(await dataSet(what))).images);
  }
  environment.multiplyAdds = { nominal: MULTIPLY_ADDS, executed };
  const share = (rate, each) => significant((rate * each) / environment.fmaPeak.multiplyAddsPerSecond, 3);
  for (const row of results) {
    const predicts = row.suite === "inference" || (row.suite === "dense" && row.how === "inference");
    if (!predicts) continue;
    row.nominalShareOfPeak = share(row.imagesPerSecond, MULTIPLY_ADDS);
    // What the peers execute is theirs to know. Batches below a dozen read fewer weights than the count says.
    if (row.system.startsWith("lenet5-fused") && row.batch >= 12) {
      row.shareOfPeak = share(row.imagesPerSecond, executed[row.what ?? "digits"]);
    }
  }
}
environment.seconds = Math.round((performance.now() - begin) / 1000);

const result = await write(results);
await rm(unfinished, { force: true });

console.log(`\n${plainTable(targetCells(compare(result)))}\n`);
for (const { system, suite, why } of absences) console.log(`absent: ${system}${suite ? ` (${suite})` : ""}: ${why}`);
console.log(`${file}, ${environment.seconds} s${quick ? "; --quick: no figures to quote" : ""}`);
process.exitCode = failed ? 1 : 0;
