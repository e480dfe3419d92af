// Checks of option objects, with one message shape; used wherever the public API takes options.
import { expected, LeNet5Error } from "./errors.js";

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
