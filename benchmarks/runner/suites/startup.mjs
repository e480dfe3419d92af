// From nothing to the first answer, in fresh processes: import, model load, first prediction; and what is then resident.
// Node's own start is measured beside them: `ownMs` is what comes on top of it.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { Child } from "../child.mjs";
import { summarize } from "../statistics.mjs";
import { rotated } from "./inference.mjs";

async function start(run, system) {
  const child = new Child(system, run.environment);
  try {
    const imported = await child.ready();
    const loaded = await child.request({ cmd: "load", model: run.modelFiles, threads: run.settings.threads });
    const first = await child.request({ cmd: "predict", pixels: run.firstImage });
    const { residentMB } = await child.memory();
    return {
      importMs: imported.at - child.startedAt,
      loadMs: loaded.at - imported.at,
      firstPredictionMs: first.at - loaded.at,
      totalMs: first.at - child.startedAt,
      residentMB,
      label: first.label,
      versions: { ...imported.versions, ...loaded.versions },
    };
  } finally {
    await child.end();
  }
}

/** Milliseconds from starting an empty Node to its first word. */
async function bareNode(environment) {
  const startedAt = performance.now();
  const child = spawn(process.execPath, ["--eval", "process.stdout.write('.')"], { env: environment });
  const ended = once(child, "close");
  await once(child.stdout, "data");
  const took = performance.now() - startedAt;
  await ended;
  return took;
}

export async function startup(run) {
  const { settings, selected, report, fail } = run;
  const rounds = new Map(selected.map((system) => [system, []]));
  for (let round = 0; round <= settings.startupRounds; round += 1) {
    const nodeMs = await bareNode(run.environment);
    for (const system of rotated([...rounds.keys()], round)) {
      try {
        const result = await start(run, system);
        run.versions(system, result.versions);
        if (result.label !== run.model.referenceLabels[0]) {
          fail(system.name, `the first prediction is ${result.label}`, "startup");
        }
        // The first round brings the files into the page cache: a warm start is what is compared.
        if (round > 0) rounds.get(system).push({ ...result, ownMs: result.totalMs - nodeMs });
      } catch (error) {
        rounds.delete(system);
        fail(system.name, `start: ${error.message}`, "startup");
      }
    }
    report(`startup: round ${round} of ${settings.startupRounds}${round === 0 ? " (warm-up)" : ""}`);
  }
  return [...rounds].map(([system, taken]) => ({
    suite: "startup",
    system: system.name,
    ...summarize(taken, ["importMs", "loadMs", "firstPredictionMs", "totalMs", "ownMs", "residentMB"]),
    correct: taken.every(({ label }) => label === run.model.referenceLabels[0]),
  }));
}
