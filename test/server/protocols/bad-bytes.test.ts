// What is wrong with a request before its protocol can look at it, and images that would fill the memory: by each protocol over
// REST, against a whole server.
import { connect } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import { crc32, deflateSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { cleanUp, emptyRepository, placeLeNet5, serve } from "../models.js";

let url: string;
beforeAll(async () => {
  const folder = await emptyRepository();
  (await placeLeNet5(folder)).dispose();
  ({ url } = await serve(folder, { requestTimeoutMilliseconds: 300 }));
});
afterAll(cleanUp);

function chunk(type: string, data: Buffer): Buffer {
  const named = Buffer.concat([Buffer.from(type, "latin1"), data]);
  const words = Buffer.alloc(8);
  words.writeUInt32BE(data.length, 0);
  words.writeUInt32BE(crc32(named), 4);
  return Buffer.concat([words.subarray(0, 4), named, words.subarray(4)]);
}

/** A PNG that says that it has 50,000 × 50,000 pixels, with the first hundred rows of them. */
function hugePng(): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(50_000, 0);
  header.writeUInt32BE(50_000, 4);
  header[8] = 8;
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  const rows = deflateSync(Buffer.alloc(50_001 * 100));
  return Buffer.concat([signature, chunk("IHDR", header), chunk("IDAT", rows), chunk("IEND", Buffer.alloc(0))]);
}

const png = hugePng();
const b64 = png.toString("base64");
const v2 = (data: unknown, datatype: string) =>
  JSON.stringify({ inputs: [{ name: "input0", shape: [1], datatype, data }] });
const error = { error: expect.stringMatching(/./) };
const exception = (code: number, type: string) => ({ code, type, message: expect.stringMatching(/./) });

/** By protocol: where requests go, what such a PNG is there, and what a refusal looks like. */
const PROTOCOLS = [
  {
    name: "Open Inference",
    path: "/v2/models/digits/infer",
    images: [
      [v2([b64], "BYTES"), 501, error],
      [png, 400, error],
    ],
    refusal: () => error,
  },
  {
    name: "TorchServe",
    path: "/predictions/digits",
    images: [[png, 400, exception(400, "BadRequestException")]],
    refusal: (code: number) => exception(code, code === 408 ? "RequestTimeoutException" : "BadRequestException"),
  },
  {
    name: "TensorFlow Serving",
    path: "/v1/models/digits:predict",
    images: [[JSON.stringify({ instances: [{ b64 }] }), 400, error]],
    refusal: () => error,
  },
] as const;

/** Bytes as they are, and all that comes back until the connection is at its end. */
async function raw(...pieces: string[]): Promise<{ status: number; body: unknown }> {
  const socket = connect(Number(new URL(url).port), "127.0.0.1")
    .setEncoding("latin1")
    .on("error", () => {});
  let answer = "";
  socket.on("data", (text) => {
    answer += text;
  });
  const closed = new Promise((resolve) => socket.on("close", resolve));
  for (const piece of pieces) {
    socket.write(piece);
    await wait(10);
  }
  await closed;
  const [head = "", body = ""] = answer.split("\r\n\r\n");
  return { status: Number(head.slice(9, 12)), body: body === "" ? undefined : JSON.parse(body) };
}

describe.each(PROTOCOLS)("$name", ({ path, images, refusal }) => {
  const head = `POST ${path} HTTP/1.1\r\nHost: a\r\n`;

  test("a PNG of 50,000 × 50,000 pixels", async () => {
    const before = process.memoryUsage.rss();
    for (const [body, status, words] of images) {
      const answer = await fetch(url + path, { method: "POST", body: body as string });
      expect([await answer.json(), answer.status]).toEqual([words, status]);
    }
    expect(process.memoryUsage.rss() - before).toBeLessThan(2 ** 28);
  });

  test("a body that stays away, and one that comes drop by drop", async () => {
    const slow = `${head}Content-Length: 1000\r\n\r\n`;
    for (const answer of await Promise.all([raw(slow), raw(slow, ...Array(100).fill("x"))])) {
      expect(answer.body).toMatchObject(refusal(408));
      expect(answer.status).toBe(408);
    }
  });

  test("a flood of headers, and one header without end", async () => {
    const many = Array.from({ length: 5000 }, (_, i) => `X-${i}: ${i}\r\n`).join("");
    for (const flood of [many, `X: ${"x".repeat(20_000)}\r\n`]) {
      const answer = await raw(`${head}${flood}\r\n`);
      expect(answer.body).toMatchObject(refusal(431));
      expect(answer.status).toBe(431);
    }
  });

  test("two lengths, and a length beside chunks", async () => {
    for (const lengths of [
      "Content-Length: 1\r\nContent-Length: 2",
      "Content-Length: 1\r\nTransfer-Encoding: chunked",
    ]) {
      const answer = await raw(`${head}${lengths}\r\n\r\n0\r\n\r\n`);
      expect(answer.body).toMatchObject(refusal(400));
      expect(answer.status).toBe(400);
    }
  });
});
