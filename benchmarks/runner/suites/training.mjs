// Training at batch 64: the steady rate, in interleaved windows; and the time to 99 % of MNIST's test set, from the
// process's start to the evaluation that reaches it, in fresh processes by the same recipe.
import { Child } from "../child.mjs";
import { median, quartiles, significant, summarize } from "../statistics.mjs";
import { rotated } from "./inference.mjs";

export const BATCH = 64;
export const GOAL = 0.99;

/** Windows of steady training. A system whose window takes far longer than asked gets fewer of them. */
async function rates(run) {
  const { settings, children, report, fail, peak } = run;
  const rounds = new Map([...children.keys()].map((system) => [system, []]));
  const request = { cmd: "train", batch: BATCH, seconds: settings.trainingSeconds };
  for (const [system, child] of children) {
    try {
      await child.turn({ ...request, seconds: settings.trainingSeconds / 4 });
      report(`training: ${system.name} warm`);
    } catch (error) {
      rounds.delete(system);
      fail(system.name, `training: ${error.message}`, "training");
    }
  }
  for (let round = 0; round < settings.trainingRounds; round += 1) {
    await peak();
    for (const system of rotated([...rounds.keys()], round)) {
      const taken = rounds.get(system);
      if (taken === undefined || (taken.length >= 2 && taken[0].seconds > 3 * settings.trainingSeconds)) continue;
      try {
        const reply = await children.get(system).turn(request);
        taken.push({ ...reply, imagesPerSecond: reply.images / reply.seconds });
      } catch (error) {
        rounds.delete(system);
        fail(system.name, `training: ${error.message}`, "training");
      }
    }
    report(`training: round ${round + 1} of ${settings.trainingRounds}`);
  }
  return rounds;
}

/** One run to 99 %: the seconds from the start of its process, or null when no evaluation reached it. */
async function timeTo99(run, system, seed) {
  let secondsTo99 = null;
  let accuracy = null;
  let secondsOfTraining = null;
  const child = new Child(system, run.environment, {
    onEvent(event) {
      accuracy = event.accuracy;
      if (secondsTo99 !== null || event.accuracy < GOAL) return;
      secondsTo99 = (event.at - child.startedAt) / 1000;
      secondsOfTraining = event.trainingSeconds;
    },
  });
  try {
    await child.ready();
    await child.request({ cmd: "load", model: run.modelFiles, threads: run.settings.threads });
    const recipe = { ...run.settings.recipe, seed };
    const reply = await child.request({ cmd: "fit", data: run.data, recipe }, 900);
    const { peakResidentMB } = await child.memory();
    return {
      seed,
      secondsTo99,
      accuracy,
      trainingSeconds: secondsOfTraining ?? reply.trainingSeconds,
      allSeconds: (reply.at - child.startedAt) / 1000,
      peakResidentMB,
    };
  } finally {
    await child.end();
  }
}

/** The runs' medians. A run that missed the goal counts as slower than any that reached it. */
export function summarizeFits(fits) {
  const times = fits.map((run) => run.secondsTo99 ?? Number.POSITIVE_INFINITY);
  const value = (key) => significant(median(fits.map((run) => run[key])), 4);
  return {
    secondsTo99: significant(median(times), 4),
    accuracy: value("accuracy"),
    secondsOfTraining: value("trainingSeconds"),
    peakResidentMB: value("peakResidentMB"),
    reached: `${fits.filter((run) => run.secondsTo99 !== null).length} of ${fits.length} runs`,
    fits: fits.map((run) => ({ ...run, secondsTo99: significant(run.secondsTo99, 4) })),
    secondsTo99Spread: quartiles(times).map((time) => significant(time, 4)),
  };
}

export async function training(run) {
  const { settings, report, fail, absent } = run;
  const rounds = await rates(run);
  const trained = [...rounds.keys()];
  // Their figures are taken: nobody else is to hold memory or a core while a fresh process trains.
  await Promise.all([...run.children.values()].map((child) => child.end()));

  const fits = new Map(trained.map((system) => [system, []]));
  for (const system of trained) {
    if (system.suites.timeTo99 !== undefined) absent(system.name, system.suites.timeTo99, "training to 99 %");
  }
  for (let round = 0; round < settings.fits; round += 1) {
    for (const system of rotated(trained, round)) {
      if (system.suites.timeTo99 !== undefined || round >= system.fits) continue;
      try {
        const result = await timeTo99(run, system, round);
        fits.get(system).push(result);
        const reached =
          result.secondsTo99 === null ? "99 % not reached" : `99 % after ${result.secondsTo99.toFixed(1)} s`;
        report(`training: ${system.name}, seed ${round}: ${(result.accuracy * 100).toFixed(2)} %, ${reached}`);
      } catch (error) {
        fail(system.name, `training to 99 %: ${error.message}`, "training");
      }
    }
  }

  return trained.map((system) => ({
    suite: "training",
    system: system.name,
    batch: BATCH,
    ...summarize(rounds.get(system), ["imagesPerSecond"]),
    ...(fits.get(system).length > 0 ? summarizeFits(fits.get(system)) : { secondsTo99: null, accuracy: null }),
    threads: run.threadsOf(system),
  }));
}
