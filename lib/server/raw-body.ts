// Bodies of which no protocol says what they are: JSON with numbers in it, nested or not.
import { expected, expectedButGot } from "../errors.js";

const WHITE_SPACE = new Set([0x20, 0x09, 0x0a, 0x0d]);

/**
 * The value of a body that begins as a JSON array or object; undefined for another.
 * @throws LENET5_REQUEST_INVALID where it goes on otherwise
 */
export function parsedJson(body: Uint8Array): { value: unknown } | undefined {
  let at = 0;
  while (at < body.length && WHITE_SPACE.has(body[at]!)) at++;
  if (body[at] !== 0x5b && body[at] !== 0x7b) return undefined;
  try {
    return { value: JSON.parse(Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString("utf8")) };
  } catch {
    throw expectedButGot("REQUEST_INVALID", "JSON", "the request body", "text that does not parse");
  }
}

/** Deepest nesting of numbers. */
const DEEPEST = 32;

/**
 * The numbers of nested arrays, row-major, and the arrays' sizes.
 * @param most - most numbers
 * @throws LENET5_REQUEST_INVALID, LENET5_INVALID_SHAPE where rows differ in length
 */
export function numbersOf(nested: unknown, most: number, where: string): { values: number[]; shape: number[] } {
  const shape: number[] = [];
  for (let level = nested; Array.isArray(level); level = level[0]) {
    if (shape.push(level.length) > DEEPEST) {
      throw expectedButGot("REQUEST_INVALID", `at most ${DEEPEST} levels of arrays`, where, "more");
    }
  }
  const values: number[] = [];
  const take = (value: unknown, depth: number): void => {
    if (depth < shape.length) {
      if (!Array.isArray(value) || value.length !== shape[depth]) {
        throw expected("INVALID_SHAPE", `an array of ${shape[depth]} in each row`, where, value);
      }
      for (const inner of value) take(inner, depth + 1);
      return;
    }
    if (typeof value !== "number") throw expected("REQUEST_INVALID", "numbers", where, value);
    if (values.push(value) > most) throw expectedButGot("INVALID_SHAPE", `at most ${most} numbers`, where, "more");
  };
  take(nested, 0);
  return { values, shape };
}
