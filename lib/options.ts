// Checks of option objects, with one message shape; used wherever the public API takes options.
import { expected, LeNet5Error } from "./errors.js";
import { isAbortSignal } from "./is.js";

/**
 * Refuses names that are not known, so that a slip ("batchsize") is not silently ignored.
 * @throws LENET5_UNKNOWN_OPTION, naming the nearest known option
 */
export function checkOptionNames(options: object, known: readonly string[], where: string): void {
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    throw expected("INVALID_ARGUMENT", "an object of options", where, options);
  }
  for (const name of Object.keys(options)) {
    if (known.includes(name)) continue;
    const near = nearest(name, known);
    throw new LeNet5Error(
      "UNKNOWN_OPTION",
      `Expected one of the options ${known.join(", ")} for ${where} but received "${name}"${near ? ` (did you mean "${near}"?)` : ""}`,
    );
  }
}

/**
 * Reads an object of options: names that are not known are refused, and each value is read once, so that what is checked
 * is what is used, whatever getters the object has. Options that are `undefined` count as left out.
 * @throws LENET5_UNKNOWN_OPTION, LENET5_INVALID_ARGUMENT
 */
export function readOptions<T extends object>(
  options: T | undefined,
  known: readonly (keyof T & string)[],
  where: string,
): T {
  if (options === undefined) return {} as T;
  checkOptionNames(options, known, where);
  const read: Partial<T> = {};
  for (const name of known) {
    const value = options[name];
    if (value !== undefined) read[name] = value;
  }
  return read as T;
}

/** True or false. @throws LENET5_INVALID_OPTION */
export function trueOrFalse(value: unknown, where: string): boolean {
  if (typeof value !== "boolean") throw expected("INVALID_OPTION", "true or false", where, value);
  return value;
}

/** A function that is called back, or none. @throws LENET5_INVALID_OPTION */
export function optionalFunction<T>(value: T, where: string): T {
  if (value !== undefined && typeof value !== "function") throw expected("INVALID_OPTION", "a function", where, value);
  return value;
}

/** An `AbortSignal`, or none. @throws LENET5_INVALID_OPTION */
export function optionalSignal(value: unknown, where = "signal"): AbortSignal | undefined {
  if (value !== undefined && !isAbortSignal(value)) throw expected("INVALID_OPTION", "an AbortSignal", where, value);
  return value;
}

/** A whole number in a range. @throws LENET5_INVALID_OPTION */
export function wholeNumber(value: unknown, where: string, min: number, max = Number.MAX_SAFE_INTEGER): number {
  if (!Number.isSafeInteger(value) || (value as number) < min || (value as number) > max) {
    const range = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`;
    throw expected("INVALID_OPTION", `a whole number ${range}`, where, value);
  }
  return value as number;
}

/** A finite number in a half-open or closed range, said in words by `range`. @throws LENET5_INVALID_OPTION */
export function finiteNumber(value: unknown, where: string, range: string, holds: (value: number) => boolean): number {
  if (typeof value !== "number" || !Number.isFinite(value) || !holds(value)) {
    throw expected("INVALID_OPTION", `a number ${range}`, where, value);
  }
  return value;
}

/** One of a few words. @throws LENET5_INVALID_OPTION */
export function oneOf<const T extends string>(value: unknown, where: string, words: readonly T[]): T {
  if (typeof value !== "string" || !(words as readonly string[]).includes(value)) {
    throw expected("INVALID_OPTION", words.map((word) => `"${word}"`).join(" or "), where, value);
  }
  return value as T;
}

/** The known name within two edits, if there is one. */
export function nearest(name: string, known: readonly string[]): string | undefined {
  let best: string | undefined;
  let bestDistance = 3;
  for (const candidate of known) {
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    row = next;
  }
  return row[b.length]!;
}
