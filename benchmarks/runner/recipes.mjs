// The recipes to 99 %: the one that all systems train by, and each system's own.
//
// A system's own recipe is chosen by the suite `recipes` on a validation split of the training set, never on the test set; what
// it was chosen from, and when one was changed and why, is in docs/performance-log.md.
import { readFile } from "node:fs/promises";
import { recipesFile } from "./paths.mjs";

const optimizer = "Adam, beta1 0.9, beta2 0.999, epsilon 1e-8";

export const COMMON = {
  epochs: 3,
  batchSize: 64,
  learningRate: 0.005,
  schedule: "one-cycle",
};

/** COMMON in words, for the result file. */
export const describedRecipe = {
  ...COMMON,
  schedule: "one-cycle (PyTorch's OneCycleLR defaults, momenta left alone)",
  optimizer,
  evaluation: "10,000 test images after each epoch",
  seeds: "0, 1, … by run, the same for all",
};

/** The specification's: ten epochs at a constant rate. */
export const SPECIFICATION = {
  epochs: 10,
  batchSize: 64,
  learningRate: 0.01,
  schedule: "constant",
  evaluationBatch: 1024,
};

/** Each system's own recipe by its name; none where none was chosen yet. */
export async function ownRecipes() {
  const text = await readFile(recipesFile, "utf8").catch(() => undefined);
  return text === undefined ? {} : JSON.parse(text).systems;
}
