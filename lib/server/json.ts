// JSON as the clients of model servers write it.
//
// Problem: these clients, and the servers they were made for, write NaN, Infinity and -Infinity among numbers, which JSON
// does not have. Resolution: a text is taken as JSON first; only where that fails are those three tokens, outside of
// strings, put into words that JSON.parse understands: null for NaN, and a number beyond all for infinity.
import { isUtf8 } from "node:buffer";
import { expectedButGot } from "../errors.js";

/** Reads JSON. NaN becomes null. @throws LENET5_REQUEST_INVALID */
export function parseJson(bytes: Buffer, where = "the body"): unknown {
  if (!isUtf8(bytes)) throw expectedButGot("REQUEST_INVALID", "JSON in UTF-8", where, "other bytes");
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
