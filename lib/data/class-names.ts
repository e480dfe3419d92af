// Which class a label means, where a data set and a model count their classes differently.
//
// Problem: a folder that lacks a class, or names them in another order, numbers its labels otherwise than the model; held
// against the model's numbers they give wrong figures and no error. Resolution: labels are carried over by name.
import { expectedButGot } from "../errors.js";
import { isObject } from "../is.js";
import type { Dataset } from "./dataset.js";

/** A copy of the class names of a labelled set; undefined where it has none. */
export function classNamesOf(data: unknown): string[] | undefined {
  const names = isObject(data) ? data.classNames : undefined;
  if (!Array.isArray(names)) return undefined;
  const copy: unknown[] = Array.from(names);
  return copy.every((name) => typeof name === "string") ? (copy as string[]) : undefined;
}

/**
 * The model's label of each class of a data set; undefined where the labels are the model's already.
 *
 * @throws LENET5_MODEL_MISMATCH when the data set has a class that the model does not know
 */
export function labelsByName(
  modelNames: readonly string[],
  dataNames: readonly string[],
  where: string,
): Int32Array | undefined {
  if (dataNames.every((name, i) => name === modelNames[i])) return undefined;
  const positions = new Map<string, number>();
  for (const [i, name] of modelNames.entries()) if (!positions.has(name)) positions.set(name, i);
  const unknown = dataNames.find((name) => !positions.has(name));
  if (unknown === undefined) return Int32Array.from(dataNames, (name) => positions.get(name)!);
  // A model that never learnt names (a state dict from Python) has numbers; then the order is all there is.
  if (modelNames.length === dataNames.length && modelNames.every((name, i) => name === String(i))) return undefined;
  const known = modelNames.length > 12 ? `${modelNames.slice(0, 12).join(", ")}, …` : modelNames.join(", ");
  const received = `the class "${unknown.length > 80 ? `${unknown.slice(0, 77)}...` : unknown}"`;
  throw expectedButGot("MODEL_MISMATCH", `the model's classes (${known})`, where, received);
}

/** The data set with its labels counted as the model counts its classes. @throws as {@link labelsByName} */
export function inClassesOf(classNames: readonly string[], dataset: Dataset): Dataset {
  const byName = labelsByName(classNames, dataset.classNames, "the data set");
  if (byName === undefined) return dataset;
  return { ...dataset, labels: dataset.labels.map((label) => byName[label]!), classNames: [...classNames] };
}
