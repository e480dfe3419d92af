// The result as Markdown. In full: the promises, each suite's table, what is absent and why. In short, for the README:
// the promises alone. Both say what it was measured on.
import { registry } from "../runner/systems.mjs";
import { figure, markdownTable, targetCells } from "../runner/table.mjs";
import { compare } from "../runner/targets.mjs";

const label = (name) => registry.find((system) => system.name === name)?.label ?? name;
const rowsOf = (result, suite) => result.results.filter((row) => row.suite === suite);
const milliseconds = (value) => (value === null || value === undefined ? "–" : `${figure(value)} ms`);

/** Systems in the registry's order, each with its rows. */
function bySystem(rows) {
  return registry
    .map(({ name }) => [name, rows.filter((row) => row.system === name)])
    .filter(([, found]) => found.length > 0);
}

function inferenceTables(result) {
  const rows = rowsOf(result, "inference");
  if (rows.length === 0) return [];
  const batches = [...new Set(rows.map(({ batch }) => batch))].sort((a, b) => a - b);
  const cell = (found, batch, text) => {
    const row = found.find((one) => one.batch === batch);
    if (row === undefined) return "–";
    return row.correct ? text(row) : "wrong answers";
  };
  const table = (text) =>
    markdownTable([
      ["", ...batches.map((batch) => `batch ${batch.toLocaleString("en-US")}`)],
      ...bySystem(rows).map(([name, found]) => [label(name), ...batches.map((batch) => cell(found, batch, text))]),
    ]);
  return [
    "Inference, images per second:",
    table((row) => figure(row.imagesPerSecond)),
    "Inference, latency of a call, median / 99th percentile:",
    table((row) => `${figure(row.p50Ms)} / ${milliseconds(row.p99Ms)}`),
    ...waysTable(rows, batches),
  ];
}

/** How each system was run: the fastest of the ways and numbers of threads that were tried, and how far its answers are off. */
function waysTable(rows, batches) {
  if (!rows.some(({ candidates }) => candidates !== undefined)) return [];
  const off = (found) => found.map((row) => row.largestDifference).filter((value) => typeof value === "number");
  return [
    "The way and the threads that were the fastest, of all that were tried, and the largest difference of a log-probability " +
      "of 10,000 images from double precision; every candidate's time or error is in the result file:",
    markdownTable(
      [
        ["", ...batches.map((batch) => `batch ${batch.toLocaleString("en-US")}`), "largest difference"],
        ...bySystem(rows).map(([name, found]) => [
          label(name),
          ...batches.map((batch) => {
            const row = found.find((one) => one.batch === batch);
            return row === undefined ? "–" : `${row.settings}; ${row.threads} thread${row.threads === 1 ? "" : "s"}`;
          }),
          off(found).length > 0 ? Math.max(...off(found)).toExponential(1) : "–",
        ]),
      ],
      batches.map((_, index) => index + 1),
    ),
  ];
}

function shareLine(result) {
  const row = result.results.find(
    (one) => one.suite === "inference" && one.system === "lenet5-fused" && one.batch === 256,
  );
  const counts = result.environment.multiplyAdds;
  if (row?.shareOfPeak === undefined || counts === undefined) return [];
  const percent = (share) => `${(100 * share).toFixed(0)} %`;
  return [
    `At a batch of 256 the fused engine executes ${Math.round(counts.executed.digits).toLocaleString("en-US")} multiply-adds ` +
      `for a digit, ${percent(row.shareOfPeak)} of the measured peak. Counted as the ${counts.nominal.toLocaleString("en-US")} of ` +
      `a direct convolution it would be ${percent(row.nominalShareOfPeak)}.`,
  ];
}

/** Images that fill their frame, for each data set: inference by batch size, and training. */
function denseTables(result) {
  const rows = rowsOf(result, "dense");
  if (rows.length === 0) return [];
  const batches = [...new Set(rows.filter(({ how }) => how === "inference").map(({ batch }) => batch))];
  return [...new Set(rows.map(({ what }) => what))].flatMap((what) => [
    `Images that fill their frame, ${what}, images per second:`,
    markdownTable([
      ["", ...batches.map((batch) => `batch ${batch.toLocaleString("en-US")}`), "training, batch 64"],
      ...bySystem(rows.filter((row) => row.what === what)).map(([name, found]) => {
        const cell = (how, batch) => {
          const row = found.find((one) => one.how === how && one.batch === batch);
          if (row === undefined) return "–";
          return row.correct === false ? "wrong answers" : figure(row.imagesPerSecond);
        };
        return [label(name), ...batches.map((batch) => cell("inference", batch)), cell("training", 64)];
      }),
    ]),
  ]);
}

function specificationTable(result) {
  const rows = rowsOf(result, "specification");
  if (rows.length === 0) return [];
  const { epochs, batchSize, evaluationBatch, learningRate } = rows[0];
  return [
    `Training as the specification has it: ${epochs} epochs, batch ${batchSize}, evaluated in batches of ` +
      `${evaluationBatch.toLocaleString("en-US")}, Adam at a constant ${learningRate}; medians of ${rows[0].runs.length} seeds:`,
    markdownTable([
      ["", "training", "with start and evaluations", "accuracy"],
      ...bySystem(rows).map(([name, [row]]) => [
        label(name),
        figure(row.seconds, "s"),
        figure(row.withStartAndEvaluation, "s"),
        `${(100 * row.accuracy).toFixed(2)} %`,
      ]),
    ]),
  ];
}

const recipeText = ({ epochs, batchSize, learningRate }) =>
  `${epochs} epochs, batch ${batchSize}, peak ${learningRate}`;

function ownRecipesTable(result) {
  const rows = rowsOf(result, "training").filter(({ own }) => own !== undefined);
  if (rows.length === 0) return [];
  return [
    "Each system by its own recipe, chosen on a validation split, where it is not the common one:",
    markdownTable(
      [
        ["", "recipe", "time to 99 %", "of it training", "reached by"],
        ...bySystem(rows).map(([name, [{ own }]]) => [
          label(name),
          recipeText(own.recipe),
          figure(own.secondsTo99, "s"),
          own.secondsTo99 === null ? "–" : figure(own.secondsOfTraining, "s"),
          own.reached,
        ]),
      ],
      [1],
    ),
  ];
}

function repeatedLine({ repeatedRounds }) {
  if (repeatedRounds === undefined || repeatedRounds.length === 0) return [];
  const text = repeatedRounds
    .map(({ suite, shareOfPeak }) => `${suite} ${(100 * shareOfPeak).toFixed(0)} %`)
    .join(", ");
  return [`Rounds in which the measured peak fell below 90 % of the best, and which were taken again: ${text}.`];
}

function trainingTable(result) {
  const rows = rowsOf(result, "training");
  if (rows.length === 0) return [];
  const percent = (value) => (value === null || value === undefined ? "–" : `${(value * 100).toFixed(2)} %`);
  return [
    "Training, batch 64, and the time from the process's start to the evaluation that reaches 99 % of MNIST's test set:",
    markdownTable([
      ["", "images per second", "time to 99 %", "of it training", "reached by", "accuracy", "peak memory"],
      ...bySystem(rows).map(([name, [row]]) => [
        label(name),
        figure(row.imagesPerSecond),
        figure(row.secondsTo99, "s"),
        row.secondsTo99 === null ? "–" : figure(row.secondsOfTraining, "s"),
        row.reached ?? "–",
        percent(row.accuracy),
        row.peakResidentMB ? `${figure(row.peakResidentMB)} MB` : "–",
      ]),
    ]),
  ];
}

function startupTable(result) {
  const rows = rowsOf(result, "startup");
  if (rows.length === 0) return [];
  return [
    "Startup in a fresh process, and resident memory after the first prediction:",
    markdownTable([
      ["", "import", "model load", "first prediction", "all", "resident"],
      ...bySystem(rows).map(([name, [row]]) => [
        label(name),
        milliseconds(row.importMs),
        milliseconds(row.loadMs),
        milliseconds(row.firstPredictionMs),
        milliseconds(row.totalMs),
        `${figure(row.residentMB)} MB`,
      ]),
    ]),
  ];
}

function scriptModuleTable(result) {
  const rows = rowsOf(result, "script-module");
  if (rows.length === 0) return [];
  const cell = (what, system, how) => {
    const row = rows.find((one) => one.what === what && one.system === system && one.how === how);
    if (row === undefined) return "–";
    return row.correct ? `${figure(row.p50Ms)} / ${milliseconds(row.p99Ms)}` : "wrong answers";
  };
  const all = [...new Set(rows.map(({ what }) => what))];
  const loading = all.filter((what) => rows.some((row) => row.what === what && row.how === "loading"));
  return [
    "Anyone's TorchScript, a call's median / 99th percentile; loading is awaited:",
    markdownTable([
      ["", "`runSync`", "awaited", "torch.jit"],
      ...all.map((what) =>
        loading.includes(what)
          ? [what, "–", cell(what, "script-module", "loading"), cell(what, "torch-jit", "loading")]
          : [
              what,
              cell(what, "script-module", "runSync"),
              cell(what, "script-module", "awaited"),
              cell(what, "torch-jit", "call"),
            ],
      ),
    ]),
  ];
}

function servingTables(result) {
  const rows = rowsOf(result, "serving");
  if (rows.length === 0) return [];
  const at = [...new Set(rows.map(({ concurrency }) => concurrency))].sort((a, b) => a - b);
  const kinds = bySystem(rows).flatMap(([name, found]) =>
    [...new Set(found.map(({ what }) => what))].map((what) => [name, what, found.filter((row) => row.what === what)]),
  );
  const table = (text) =>
    markdownTable([
      ["", ...at.map((concurrency) => `${concurrency} at a time`)],
      ...kinds.map(([name, what, found]) => [
        `${label(name)}, ${what}`,
        ...at.map((concurrency) => {
          const row = found.find((one) => one.concurrency === concurrency);
          if (row === undefined) return "–";
          return row.correct ? text(row) : "wrong answers";
        }),
      ]),
    ]);
  return [
    "Requests a second over HTTP, right answers alone, load by ApacheBench on kept connections:",
    table((row) => figure(row.requestsPerSecond)),
    "The same, latency of a request, median / 99th percentile:",
    table((row) => `${figure(row.p50Ms)} / ${milliseconds(row.p99Ms)}`),
  ];
}

function batchTable(result) {
  const rows = rowsOf(result, "batch");
  if (rows.length === 0) return [];
  const how = ({ way }) => (way === undefined ? "–" : `${way.loader}; ${way.workers} workers, batch ${way.batch}`);
  return [
    `A folder of ${rows[0].what}, read, decoded and classified, images per second; PyTorch in the quickest of its ways:`,
    markdownTable(
      [
        ["", "images per second", "how"],
        ...bySystem(rows).map(([name, [row]]) => [
          label(name),
          row.correct ? figure(row.imagesPerSecond) : "wrong answers",
          how(row),
        ]),
      ],
      [2],
    ),
  ];
}

/** A system's versions are one line; a library that several systems share is named once. */
function versionsLine(versions) {
  const all = Object.assign({}, ...Object.values(versions ?? {}));
  return Object.entries(all)
    .map(([name, version]) => `${name} ${version}`)
    .join(", ");
}

function quickRun({ quick }) {
  return quick ? " This was a quick run that shows the benchmark works: no figures to quote." : "";
}

function machine({ date, processor, cores, os, threads }) {
  return `Measured ${date?.slice(0, 10)} on ${processor} (${cores} cores, ${os}), ${threads} threads, ratios are medians of the rounds' own, in each of which all systems took turns in random order`;
}

/** The one table for the README; `rest` is the address of the full report. */
export function headline(result, rest) {
  const { environment } = result;
  const parts = [
    `${machine(environment)}, in images a second where no unit is given. Versions, plots, every system's figures, start-up, servers and ` +
      `TorchScript are in [${rest}](${rest}).${quickRun(environment)}`,
    markdownTable(targetCells(compare(result, { networks: true })), [2]),
  ];
  return `${parts.join("\n\n")}\n`;
}

/** The full report; the plots lie beside it. */
export function report(result, charts) {
  const { environment, absent } = result;
  const peak = environment.fmaPeak?.multiplyAddsPerSecond;
  const { recipe } = environment;
  const parts = [
    `${machine(environment)}; ${versionsLine(environment.versions)}, Node ${environment.node}.` +
      (peak
        ? ` Fused multiply-add peak, measured in the same rounds: ${(peak / 1e9).toFixed(0)} billion a second.`
        : "") +
      quickRun(environment),
    markdownTable(targetCells(compare(result)), [2]),
    ...charts.map(({ name, title }) => `![${title}](${name}.svg)`),
    ...shareLine(result),
    ...repeatedLine(environment),
    ...inferenceTables(result),
    ...trainingTable(result),
    ...(recipe && rowsOf(result, "training").length > 0
      ? [
          `Recipe of every system: ${recipe.optimizer}; ${recipe.schedule}, peak learning rate ${recipe.learningRate}; ` +
            `batch ${recipe.batchSize}, ${recipe.epochs} epochs; evaluated on ${recipe.evaluation}; seeds ${recipe.seeds}.`,
        ]
      : []),
    ...ownRecipesTable(result),
    ...specificationTable(result),
    ...denseTables(result),
    ...startupTable(result),
    ...scriptModuleTable(result),
    ...servingTables(result),
    ...batchTable(result),
    ...(absent.length > 0
      ? [
          `Absent:\n\n${absent.map(({ system, suite, why }) => `- ${label(system)}${suite ? ` (${suite})` : ""}: ${why}`).join("\n")}`,
        ]
      : []),
  ];
  return `${parts.join("\n\n")}\n`;
}
