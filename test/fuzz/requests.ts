// Damaged requests for the REST protocols, repeatable from a seed, and what any answer to them must look like.
import { connect } from "node:net";
import type { Random } from "../../lib/data/random.js";
import { mutate } from "../mutate.mjs";

/** A request before it is written down. */
export interface RawRequest {
  method: string;
  path: string;
  headers: [string, string][];
  body: Buffer;
}

/** What is put in the place of a value in JSON. */
const VALUES: readonly string[] = [
  "null",
  "true",
  "0",
  "-1",
  "1.5",
  "1e999",
  "-1e999",
  "9007199254740993",
  "4294967296",
  '""',
  '"__proto__"',
  '"constructor"',
  '"FP16"',
  '"BYTES"',
  '"INT64"',
  '"lenet5"',
  '"output0"',
  "[]",
  "{}",
  "[[]]",
  '{"b64":"iVBORw0KGgo="}',
  '{"__proto__":{"inputs":[]}}',
  '{"toString":1}',
  "NaN",
  "-Infinity",
  `${"[".repeat(300)}${"]".repeat(300)}`,
  `"${"a".repeat(3000)}"`,
  `[${Array(900).fill("0.5").join(",")}]`,
];
const SEGMENTS = [
  "..",
  "%2e%2e%2f",
  "%00",
  "%zz",
  "%ff",
  "__proto__",
  "9",
  "-1",
  "1e3",
  "none",
  "broken",
  "",
  "a".repeat(2000),
  "%2f",
  ":predict",
  "all",
  "versions",
  "?url=x",
  "*",
];
const METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE", "BREW", "post"];
const HEADERS: readonly [string, string][] = [
  ["Content-Type", "application/json"],
  ["Content-Type", "multipart/form-data"],
  ["Content-Type", "multipart/form-data; boundary=x"],
  [
    "Content-Type",
    "multipart/form-data; boundary=------------------------------------------------------------------------------------------",
  ],
  ["Content-Type", "image/png"],
  ["Content-Type", ";;;"],
  ["Content-Type", "text/plain; charset=utf-16"],
  ["Content-Encoding", "gzip"],
  ["Inference-Header-Content-Length", "0"],
  ["Inference-Header-Content-Length", "17"],
  ["Inference-Header-Content-Length", "99999999999999999999"],
  ["Inference-Header-Content-Length", "-1"],
  ["Inference-Header-Content-Length", "0x10"],
  ["Expect", "100-continue"],
  ["Authorization", "Bearer"],
  ["X-Request-Id", "a".repeat(500)],
  ["Connection", "upgrade"],
];
/** Numbers, words, lists and objects in JSON that hold no other. */
const TOKEN = /-?\d+(?:\.\d+)?|"(?:[^"\\]|\\.)*"|\[[^[\]]*\]|\{[^{}]*\}|true|false|null/g;

/** A damaged copy. */
export function damaged(request: RawRequest, random: Random): RawRequest {
  const copy = { ...request, headers: request.headers.map(([name, value]) => [name, value] as [string, string]) };
  const pick = <T>(list: readonly T[]): T => list[random.integer(list.length)]!;
  for (let damages = 1 + random.integer(2); damages > 0; damages--) {
    switch (random.integer(8)) {
      case 0:
      case 1:
        copy.body = mutate(copy.body, random);
        break;
      case 2:
      case 3:
      case 4: {
        const text = copy.body.toString("latin1");
        const tokens = [...text.slice(0, 2000).matchAll(TOKEN)];
        if (tokens.length === 0) break;
        const { index, 0: token } = pick(tokens);
        copy.body = Buffer.from(text.slice(0, index) + pick(VALUES) + text.slice(index + token.length), "latin1");
        break;
      }
      case 5: {
        const parts = copy.path.split("/");
        parts[1 + random.integer(parts.length - 1)] = pick(SEGMENTS);
        copy.path = parts.join("/");
        break;
      }
      case 6:
        copy.method = pick(METHODS);
        break;
      default:
        copy.headers.push([...pick(HEADERS)]);
    }
  }
  return copy;
}

/** The request's bytes. */
export function written({ method, path, headers, body }: RawRequest): Buffer {
  const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`).join("");
  const head = `${method} ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: ${body.length}\r\n${lines}\r\n`;
  return Buffer.concat([Buffer.from(head, "latin1"), body]);
}

/**
 * Sends bytes and gives all that came back until the server ended the connection.
 * @param isAll - ends this side at once. Node takes that for a client that has gone, and answers no more.
 */
export function exchange(port: number, bytes: Uint8Array, isAll = false, limit = 20_000): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1");
    const parts: Buffer[] = [];
    const timer = setTimeout(() => {
      socket.destroy();
      reject(new Error(`No end of the answer within ${limit} ms: ${Buffer.concat(parts).toString("latin1", 0, 500)}`));
    }, limit);
    socket.on("data", (part) => parts.push(part));
    // A server that refuses a body before it has read it may reset the connection.
    socket.on("error", () => {});
    socket.on("close", () => {
      clearTimeout(timer);
      resolve(Buffer.concat(parts));
    });
    if (isAll) socket.end(bytes);
    else socket.write(bytes);
  });
}

/** An answer's status, headers and body; undefined where there was none. */
export function answerOf(bytes: Buffer): { status: number; head: string; body: Buffer } | undefined {
  let text = bytes.toString("latin1");
  let start = 0;
  // What "Expect: 100-continue" is answered with first.
  while (text.startsWith("HTTP/1.1 100")) {
    start += text.indexOf("\r\n\r\n") + 4;
    text = text.slice(text.indexOf("\r\n\r\n") + 4);
  }
  const status = /^HTTP\/1\.1 (\d{3}) /.exec(text)?.[1];
  const end = text.indexOf("\r\n\r\n");
  if (status === undefined || end < 0) return undefined;
  return { status: Number(status), head: text.slice(0, end).toLowerCase(), body: bytes.subarray(start + end + 4) };
}
