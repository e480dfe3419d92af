// Reads a result file and checks its shape, so that a report is not drawn from something else.
import { readFile } from "node:fs/promises";
import { registry } from "../runner/systems.mjs";

const needed = {
  inference: ["batch", "imagesPerSecond", "p50Ms", "p99Ms"],
  training: ["batch", "imagesPerSecond"],
  dense: ["batch", "imagesPerSecond"],
  specification: ["epochs", "batchSize", "evaluationBatch", "learningRate", "seconds", "accuracy"],
  recipes: ["epochs", "batchSize", "learningRate"],
  startup: ["importMs", "loadMs", "firstPredictionMs", "residentMB"],
  "script-module": ["p50Ms", "p99Ms"],
  serving: ["concurrency", "requestsPerSecond", "p50Ms", "p99Ms"],
  batch: ["imagesPerSecond"],
};
const answers = (row) =>
  ["inference", "script-module", "serving", "batch"].includes(row.suite) ||
  (row.suite === "dense" && row.how === "inference");

/** A way that was tried: its number of threads, its name, and its time or the error that it failed with. */
function isCandidate(one) {
  const outcome = one.error === undefined ? one.ms === undefined || one.ms > 0 : typeof one.error === "string";
  return typeof one.name === "string" && Number.isInteger(one.threads) && outcome;
}

/** What is wrong with a result, as sentences; an empty list means nothing is. */
export function problems(result) {
  const found = [];
  if (typeof result?.environment !== "object" || result.environment === null) found.push("environment is missing");
  for (const key of ["results", "absent"]) if (!Array.isArray(result?.[key])) found.push(`${key} is not a list`);
  if (found.length > 0) return found;
  const known = new Set(registry.map(({ name }) => name));
  for (const [index, row] of result.results.entries()) {
    const where = `results[${index}]`;
    if (!Object.hasOwn(needed, row.suite)) {
      found.push(`${where}.suite is ${JSON.stringify(row.suite)}`);
      continue;
    }
    if (!known.has(row.system)) found.push(`${where}.system is ${JSON.stringify(row.system)}`);
    for (const key of needed[row.suite]) {
      if (!(Number.isFinite(row[key]) && row[key] >= 0)) found.push(`${where}.${key} is ${JSON.stringify(row[key])}`);
    }
    if (answers(row) && typeof row.correct !== "boolean") found.push(`${where}.correct is not a boolean`);
    if (row.suite === "dense" && !(typeof row.what === "string" && ["inference", "training"].includes(row.how)))
      found.push(`${where} names no data set and how it was used`);
    if (row.candidates !== undefined && !(Array.isArray(row.candidates) && row.candidates.every(isCandidate)))
      found.push(`${where}.candidates has one without a name, threads, and a time or an error`);
    if (row.suite === "training" && !(row.secondsTo99 === null || row.secondsTo99 > 0)) {
      found.push(`${where}.secondsTo99 is ${JSON.stringify(row.secondsTo99)}`);
    }
  }
  for (const [index, row] of result.absent.entries()) {
    if (!known.has(row.system) || typeof row.why !== "string")
      found.push(`absent[${index}] names no system and reason`);
  }
  return found;
}

export async function readResult(path) {
  let result;
  try {
    result = JSON.parse(await readFile(path, "utf8"));
  } catch (error) {
    throw new Error(`${path}: ${error.code === "ENOENT" ? "not found; run `npm run bench`" : error.message}`);
  }
  const wrong = problems(result);
  if (wrong.length > 0) throw new Error(`${path} is no benchmark result: ${wrong.slice(0, 5).join("; ")}`);
  return result;
}
