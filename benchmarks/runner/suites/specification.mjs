// Training time as the project's specification has it: ten epochs at batch 64, evaluated on the test set in batches of 1,024
// after each, Adam at a constant learning rate of 0.01; this package's engines, libtorch, PyTorch and TensorFlow.
import { chooseTraining } from "../choosing.mjs";
import { SPECIFICATION } from "../recipes.mjs";
import { median, quartiles, significant } from "../statistics.mjs";
import { rotated } from "./inference.mjs";
import { fitOnce } from "./training.mjs";

/** Seconds of training from which one run is enough. */
const LONG = 30;

export async function specification(run) {
  const { settings, selected, report, fail } = run;
  const recipe = { ...SPECIFICATION, ...(settings.quick ? { epochs: 1 } : {}) };
  const chosen = [];
  for (const system of selected) {
    try {
      const one = await chooseTraining(run, system, "digits", recipe.batchSize);
      await one.child.end();
      chosen.push(one);
    } catch (error) {
      fail(system.name, error.message, "specification");
    }
  }
  const data = await run.folder("digits");
  const fits = new Map(chosen.map((one) => [one, []]));
  for (let seed = 0; seed < settings.specificationRuns; seed += 1) {
    for (const one of rotated(chosen, seed)) {
      // A minute of training varies less between its runs than three seconds do.
      if (fits.get(one)[0]?.allTrainingSeconds > LONG) continue;
      try {
        const result = await fitOnce(one, { ...recipe, seed }, data);
        fits.get(one).push(result);
        report(
          `specification: ${one.system.name}, seed ${seed}: ${result.allTrainingSeconds.toFixed(1)} s of training`,
        );
      } catch (error) {
        fail(one.system.name, error.message, "specification");
      }
    }
  }
  return chosen
    .filter((one) => fits.get(one).length > 0)
    .map((one) => {
      const runs = fits.get(one);
      const of = (key) => runs.map((fit) => fit[key]);
      return {
        suite: "specification",
        system: one.system.name,
        ...recipe,
        seconds: significant(median(of("allTrainingSeconds")), 4),
        secondsSpread: quartiles(of("allTrainingSeconds")).map((value) => significant(value, 4)),
        withStartAndEvaluation: significant(median(of("allSeconds")), 4),
        accuracy: significant(median(of("accuracy")), 4),
        accuracies: runs[0].accuracies.map((_, epoch) =>
          significant(median(runs.map(({ accuracies }) => accuracies[epoch])), 4),
        ),
        runs: runs.map(({ seed, allTrainingSeconds, accuracy }) => ({ seed, seconds: allTrainingSeconds, accuracy })),
        threads: one.threads,
        settings: one.how,
      };
    });
}
