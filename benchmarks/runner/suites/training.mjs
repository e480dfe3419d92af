// Training at batch 64: the steady rate, in interleaved windows; and the time to 99 % of MNIST's test set, from the
// process's start to the evaluation that reaches it, in fresh processes: by one recipe, and each system by its own.
import { Child } from "../child.mjs";
import { chooseTraining, chosen } from "../choosing.mjs";
import { COMMON, ownRecipes } from "../recipes.mjs";
import { rounds } from "../rounds.mjs";
import { median, quartiles, significant, summarize } from "../statistics.mjs";
import { childEnvironment } from "../systems.mjs";
import { rotated } from "./inference.mjs";

export const BATCH = 64;
export const GOAL = 0.99;

/** Windows of steady training on a data set. A system whose window takes far longer than asked gets fewer of them. */
export async function measureTraining(run, { suite, set, count, batch = BATCH }) {
  const { settings, selected, report, fail } = run;
  const measurements = [];
  for (const system of selected) {
    try {
      measurements.push(await chooseTraining(run, system, set, batch));
      report(`${suite}: ${system.name} warm, ${set}: ${measurements.at(-1).how ?? ""}`);
    } catch (error) {
      fail(system.name, `training on ${set}: ${error.message}`, suite);
    }
  }
  const request = { cmd: "train", batch, seconds: settings.trainingSeconds };
  const broken = new Set();
  const seen = new Map();
  const take = async (order) => {
    const figures = new Map();
    for (const one of order.of(measurements)) {
      const before = seen.get(one) ?? [];
      if (broken.has(one) || (before.length >= 2 && before[0].seconds > 3 * settings.trainingSeconds)) continue;
      try {
        const reply = await one.child.turn(request);
        seen.set(one, [...before, reply]);
        figures.set(one, { imagesPerSecond: reply.images / reply.seconds });
      } catch (error) {
        broken.add(one);
        fail(one.system.name, `training on ${set}: ${error.message}`, suite);
      }
    }
    return figures;
  };
  const taken = await rounds(run, `${suite}, ${set}`, count, take);
  // Their figures are taken: nobody else is to hold memory or a core while a fresh process trains.
  await Promise.all(measurements.map(({ child }) => child.end()));
  return measurements
    .filter((one) => taken.has(one) && !broken.has(one))
    .map((one) => ({
      one,
      row: {
        system: one.system.name,
        batch,
        ...summarize(taken.get(one), ["imagesPerSecond"]),
        ...chosen(one),
      },
    }));
}

/**
 * One run of `fit` in a fresh process, without the measured weights: nobody's loading of a model is on the clock. Resolves
 * with the seconds from the start of the process to the first evaluation at `goal` or above, or null when none reached it.
 */
export async function fitOnce({ system, threads, how }, recipe, data, goal = GOAL) {
  let secondsToGoal = null;
  let secondsOfTraining = null;
  const accuracies = [];
  const child = new Child(system, childEnvironment(threads), {
    onEvent(event) {
      accuracies.push(event.accuracy);
      if (secondsToGoal !== null || event.accuracy < goal) return;
      secondsToGoal = (event.at - child.startedAt) / 1000;
      secondsOfTraining = event.trainingSeconds;
    },
  });
  try {
    await child.ready();
    const request = { cmd: "fit", data, threads, recipe: { ...recipe, ...(how === undefined ? {} : { how }) } };
    const reply = await child.request(request, 1800);
    const { peakResidentMB } = await child.memory();
    return {
      seed: recipe.seed,
      secondsTo99: secondsToGoal,
      accuracy: accuracies.at(-1) ?? null,
      accuracies,
      trainingSeconds: secondsOfTraining ?? reply.trainingSeconds,
      allTrainingSeconds: reply.trainingSeconds,
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

const sameRecipe = (a, b) => ["epochs", "batchSize", "learningRate"].every((key) => a[key] === b[key]);

export async function training(run) {
  const { settings, report, fail, absent } = run;
  const trained = await measureTraining(run, { suite: "training", set: "digits", count: settings.trainingRounds });
  const own = await ownRecipes();
  const data = await run.folder("digits");

  const timed = trained.filter(({ one: { system } }) => {
    const why = system.suites.timeTo99;
    if (why !== undefined) absent(system.name, why, "training to 99 %");
    return why === undefined;
  });
  const fits = new Map(timed.map(({ one }) => [one, { common: [], own: [] }]));
  for (let seed = 0; seed < settings.fits; seed += 1) {
    for (const { one } of rotated(timed, seed)) {
      const recipes = { common: COMMON, own: own[one.system.name] };
      for (const [kind, recipe] of Object.entries(recipes)) {
        // Where a system's own recipe is the common one, its runs count for both.
        if (recipe === undefined || (kind === "own" && sameRecipe(recipe, COMMON))) continue;
        try {
          const result = await fitOnce(one, { ...recipe, seed }, data);
          fits.get(one)[kind].push(result);
          const reached =
            result.secondsTo99 === null ? "99 % not reached" : `99 % after ${result.secondsTo99.toFixed(1)} s`;
          const by = kind === "own" ? ", its own recipe" : "";
          report(
            `training: ${one.system.name}, seed ${seed}${by}: ${(result.accuracy * 100).toFixed(2)} %, ${reached}`,
          );
        } catch (error) {
          fail(one.system.name, `training to 99 %: ${error.message}`, "training");
        }
      }
    }
  }

  return trained.map(({ one, row }) => {
    const { common = [], own: mine = [] } = fits.get(one) ?? {};
    return {
      suite: "training",
      ...row,
      ...(common.length > 0 ? summarizeFits(common) : { secondsTo99: null, accuracy: null }),
      ...(mine.length > 0 ? { own: { recipe: own[one.system.name], ...summarizeFits(mine) } } : {}),
    };
  });
}
