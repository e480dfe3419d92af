// Images that fill their frame, for inference and training. This package's kernels pass over black rows, patches of black
// pixels and outputs that ReLU closed; digits on black have many of each, photographs have few and noise has none of the
// first two. What the peers do does not depend on the pixels.
import { denseSets } from "../data.mjs";
import { measureInference } from "./inference.mjs";
import { measureTraining } from "./training.mjs";

export async function dense(run) {
  const { settings, selected, absent } = run;
  const taking = (kind) =>
    selected.filter((system) => {
      const why = system.suites[kind];
      if (why !== undefined) absent(system.name, why, `dense, ${kind}`);
      return why === undefined;
    });
  const results = [];
  for (const set of denseSets()) {
    const [predicting, learning] = [taking("inference"), taking("training")];
    const rows = await measureInference(
      { ...run, selected: predicting },
      { suite: "dense", set, batches: settings.batches, count: settings.denseRounds, alone: true },
    );
    results.push(...rows.map((row) => ({ suite: "dense", what: set, how: "inference", ...row })));
    const trained = await measureTraining(
      { ...run, selected: learning },
      { suite: "dense", set, count: settings.denseRounds },
    );
    results.push(...trained.map(({ row }) => ({ suite: "dense", what: set, how: "training", ...row })));
  }
  return results;
}
