#!/usr/bin/env node
// Measures distributed training on one machine, this package's and PyTorch's DistributedDataParallel, and what a model of
// compute, latency and bandwidth says of it and of more machines: `npm run bench:scaling -- --help`.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import os from "node:os";
import { dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { describeEnvironment } from "./runner/environment.mjs";
import { benchmarks } from "./runner/paths.mjs";
import { median, pairedRatios, significant } from "./runner/statistics.mjs";
import { plainTable } from "./runner/table.mjs";
import { measured } from "./scaling/measure.mjs";
import { fitted, isFitted, predicted, sensibleBatch } from "./scaling/model.mjs";

const help = `Usage: npm run bench:scaling -- [options]

  --ranks LIST     numbers of ranks (default: 1,2,4)
  --networks LIST  bare, 10gbit-0.1ms, 1gbit-1ms (default: all that this machine can shape; shaping needs root on Linux)
  --batch N        images of a step, of all ranks together (default: 64); on the bare machine 8 N too
  --rounds N       rounds, in which all take turns (default: 5)
  --json FILE      where the result goes (default: benchmarks/results/scaling.json)
  --from FILE      measure nothing: what the model says of an earlier result
  --quick          one short round: does everything work? No figures to quote.
`;

const { values: options } = parseArgs({
  options: {
    ranks: { type: "string", default: "1,2,4" },
    networks: { type: "string" },
    batch: { type: "string", default: "64" },
    rounds: { type: "string" },
    json: { type: "string", default: join(benchmarks, "results", "scaling.json") },
    from: { type: "string" },
    quick: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});
if (options.help) {
  console.log(help);
  process.exit(0);
}
const { quick } = options;
const ranks = options.ranks.split(",").map(Number);
const batch = Number(options.batch);
const rounds = Number(options.rounds ?? (quick ? 1 : 5));
if (![...ranks, batch, rounds].every((value) => Number.isInteger(value) && value > 0)) {
  console.error(help);
  process.exit(2);
}

const say = (text) => console.error(text);
const { environment, networks, results } = options.from
  ? JSON.parse(await readFile(options.from, "utf8"))
  : {
      environment: describeEnvironment({ batch, rounds, quick }),
      ...(await measured({ names: options.networks?.split(","), ranks, batch, rounds, quick, say })),
    };

const model = fitted(results, batch, environment.cores ?? os.availableParallelism());
for (const row of results.filter(({ system }) => system === "lenet5-fused")) {
  if (!isFitted(row, batch)) {
    row.predictedStepsPerSecond = significant(predicted(model, row, networks[row.network]), 4);
    row.predictionOff = significant(row.predictedStepsPerSecond / row.stepsPerSecond - 1, 2);
  }
  const peers = results.filter(({ system, network, ranks: size, batch: images }) => {
    return system.startsWith("pytorch") && network === row.network && size === row.ranks && images === row.batch;
  });
  if (peers.length === 0) continue;
  const best = peers.reduce((a, b) => (a.imagesPerSecond > b.imagesPerSecond ? a : b));
  row.againstPytorch = significant(median(pairedRatios(row.rounds, best.rounds)), 3);
}
const advice =
  model.own[2] === undefined
    ? []
    : ["10gbit-0.1ms", "1gbit-1ms"].map((name) => ({ network: name, ...sensibleBatch(model, name, 64) }));
const file = resolve(options.json);
await mkdir(dirname(file), { recursive: true });
await writeFile(file, `${JSON.stringify({ environment, networks, model, results, advice }, null, 1)}\n`);

const cells = [
  ["network", "system", "ranks", "batch", "images/s", "steps/s", "in sums", "predicted steps/s", "off", "× PyTorch"],
];
for (const row of results) {
  const share = (value) => (value === undefined ? "" : `${(value * 100).toFixed(0)} %`);
  cells.push([
    ...[
      row.network,
      row.system,
      String(row.ranks),
      String(row.batch),
      String(row.imagesPerSecond),
      String(row.stepsPerSecond),
    ],
    ...[share(row.communication), String(row.predictedStepsPerSecond ?? ""), share(row.predictionOff)],
    String(row.againstPytorch ?? ""),
  ]);
}
console.log(`\n${plainTable(cells)}\n`);
console.log(JSON.stringify({ model, networks }));
for (const each of advice) console.log(JSON.stringify(each));
console.log(`${file}${quick ? "; --quick: no figures to quote" : ""}`);
