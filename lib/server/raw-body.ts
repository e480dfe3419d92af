// Bodies of which no protocol says what they are: JSON where they begin like it.
import { parseJson } from "./json.js";

const WHITE_SPACE = new Set([0x20, 0x09, 0x0a, 0x0d]);
const BRACKET = 0x5b;
const BRACE = 0x7b;

/**
 * The value of a body that begins as an array or object of JSON; undefined for another.
 * @throws LENET5_REQUEST_INVALID where it does not go on so
 */
export function jsonOf(body: Uint8Array): { value: unknown } | undefined {
  let at = 0;
  while (at < body.length && WHITE_SPACE.has(body[at]!)) at++;
  if (body[at] !== BRACKET && body[at] !== BRACE) return undefined;
  return { value: parseJson(Buffer.from(body.buffer, body.byteOffset, body.byteLength)) };
}
