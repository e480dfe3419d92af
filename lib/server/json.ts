// JSON as the clients of model servers write it.
//
// Problem: these clients, and the servers they were made for, write NaN, Infinity and -Infinity among numbers, which JSON
// does not have. Resolution: a text is taken as JSON first; only where that fails are those three tokens, outside of
// strings, put into words that JSON.parse understands: null for NaN, and a number beyond all for infinity. Answers have them
// as words again.
//
// Problem: JSON.parse takes 60 ms for a megabyte of brackets, several times as long on a machine at work, and holds everybody up
// meanwhile. Resolution: no request of any protocol nests deeper than a tensor has dimensions and a few levels more, and a long
// text is looked at for that first, which takes two milliseconds a megabyte.
import { isUtf8 } from "node:buffer";
import { expectedButGot } from "../errors.js";

/** Nesting that is read, and the length up to which JSON.parse may find out by itself. */
const DEEPEST = 100;
const SHORT = 16_384;

const QUOTE = 0x22;

/** Reads JSON. NaN becomes null. @throws LENET5_REQUEST_INVALID */
export function parseJson(bytes: Buffer, where = "the body"): unknown {
  if (!isUtf8(bytes)) throw expectedButGot("REQUEST_INVALID", "JSON in UTF-8", where, "other bytes");
  const text = bytes.toString("utf8");
  if (text.length > SHORT && isDeep(text))
    throw expectedButGot("REQUEST_INVALID", `JSON of at most ${DEEPEST} levels`, where, "deeper nesting");
  try {
    return JSON.parse(text);
  } catch (error) {
    if (text.includes("NaN") || text.includes("Infinity")) {
      try {
        return JSON.parse(withoutNonNumbers(text));
      } catch {}
    }
    const tail = text.trim() === "" ? "nothing" : `text that does not parse: ${(error as Error).message}`;
    throw expectedButGot("REQUEST_INVALID", "JSON", where, tail);
  }
}

/** A value as JSON, with NaN, Infinity and -Infinity as these words, as Python's json writes them. */
export function writeJson(value: unknown): string {
  // JSON.stringify, many times as fast, has null for them and, here, for nothing else but a text that has the word in it.
  const text = JSON.stringify(value);
  return text.includes("null") ? withNonNumbers(value) : text;
}

function withNonNumbers(value: unknown): string {
  if (typeof value === "number") return String(value);
  if (Array.isArray(value)) return `[${value.map(withNonNumbers).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const entries = Object.entries(value).map(([name, inner]) => `${JSON.stringify(name)}:${withNonNumbers(inner)}`);
  return `{${entries.join(",")}}`;
}

function isDeep(text: string): boolean {
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    // Two comparisons for nearly all of a long text, which is digits, commas and points.
    if (code === QUOTE) at = endOfString(text, at) - 1;
    else if (code >= 0x5b) {
      if (code === 0x5b || code === 0x7b) {
        if (++depth > DEEPEST) return true;
      } else if (code === 0x5d || code === 0x7d) depth--;
    }
  }
  return false;
}

function withoutNonNumbers(text: string): string {
  const parts: string[] = [];
  let at = 0;
  while (at < text.length) {
    const quote = text.indexOf('"', at);
    const outside = text.slice(at, quote < 0 ? text.length : quote);
    parts.push(outside.replaceAll("NaN", "null").replaceAll("Infinity", "1e999"));
    if (quote < 0) break;
    at = endOfString(text, quote);
    parts.push(text.slice(quote, at));
  }
  return parts.join("");
}

/** The place behind a string's closing quote. */
function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end >= 0; end = text.indexOf('"', end + 1)) {
    let slashes = 0;
    while (text[end - 1 - slashes] === "\\") slashes++;
    if (slashes % 2 === 0) return end + 1;
  }
  return text.length;
}
