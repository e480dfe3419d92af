// JSON as the clients of model servers write it.
//
// Problem: these clients, and the servers they were made for, write NaN, Infinity and -Infinity among numbers, which JSON
// does not have. Resolution: a text is taken as JSON first; only where that fails are those three tokens, outside of
// strings, put into words that JSON.parse understands: null for NaN, and a number beyond all for infinity. Answers have them
// as words again.
//
// Problem: JSON.parse takes seconds for a few megabytes of brackets, and holds everybody up meanwhile. Resolution: no request
// of any protocol nests deeper than a tensor has dimensions and a few levels more, and a long text is looked at for that first,
// which takes a millisecond a megabyte.
import { isUtf8 } from "node:buffer";
import { expectedButGot } from "../errors.js";

/** Nesting that is read, and bytes up to which JSON.parse may find out by itself. */
const DEEPEST = 100;
const SHORT = 16_384;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** Reads JSON. NaN becomes null. @throws LENET5_REQUEST_INVALID */
export function parseJson(bytes: Buffer, where = "the body"): unknown {
  if (!isUtf8(bytes)) throw expectedButGot("REQUEST_INVALID", "JSON in UTF-8", where, "other bytes");
  if (bytes.length > SHORT && isDeep(bytes))
    throw expectedButGot("REQUEST_INVALID", `JSON of at most ${DEEPEST} levels`, where, "deeper nesting");
  const text = bytes.toString("utf8");
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

function isDeep(bytes: Buffer): boolean {
  let depth = 0;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at]!;
    // One comparison for nearly all of a long text, which is digits, commas and points; brackets come two after one another.
    if (byte === QUOTE) at = endOfText(bytes, at);
    else if (byte >= 0x5b) {
      if (byte === 0x5b || byte === 0x7b) {
        if (++depth > DEEPEST) return true;
      } else if (byte === 0x5d || byte === 0x7d) depth--;
    }
  }
  return false;
}

/** The place of a string's closing quote. */
function endOfText(bytes: Buffer, start: number): number {
  for (let end = bytes.indexOf(QUOTE, start + 1); end >= 0; end = bytes.indexOf(QUOTE, end + 1)) {
    let slashes = 0;
    while (bytes[end - 1 - slashes] === BACKSLASH) slashes++;
    if (slashes % 2 === 0) return end;
  }
  return bytes.length;
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
