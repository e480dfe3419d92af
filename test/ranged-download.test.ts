import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { joined, RangedFile, RangesRefused } from "../lib/ranged-download.js";
import { temporaryFolder } from "./data/folder.js";
import { honest, type Manner, RangeServer, rangeOf } from "./libtorch/range-server.js";

const SIZE = 20_000_000;
let server: RangeServer;
let target: string;

beforeEach(async () => {
  const bytes = Buffer.alloc(SIZE);
  for (let i = 0; i < SIZE; i += 4) bytes.writeUInt32LE(Math.imul(i, 2654435761) >>> 0, i);
  server = await RangeServer.start(bytes);
  target = join(temporaryFolder(), "file");
});

afterEach(() => server.close());

const open = (more = {}) =>
  RangedFile.open({ url: server.address, target, maxBytes: 1e9, connectTimeout: 5_000, stallTimeout: 5_000, ...more });

/** Answers honestly until the `nth` request, which gets this instead. */
function onRequest(nth: number, manner: Manner): Manner {
  return (request, response, all) => (all.requests.length === nth ? manner : honest)(request, response, all);
}

test("parts lie at their places, and only they are fetched", async () => {
  const file = await open();
  await file.fetch([
    { start: 10, end: 20 },
    { start: 9_000_000, end: 19_000_000 },
  ]);
  await file.close();
  const got = readFileSync(target);
  expect(got.length).toBe(SIZE);
  expect(got.subarray(10, 20)).toEqual(server.bytes.subarray(10, 20));
  expect(got.subarray(9_000_000, 19_000_000).equals(server.bytes.subarray(9_000_000, 19_000_000))).toBe(true);
  expect(got.subarray(20, 9_000_000).every((byte) => byte === 0)).toBe(true);
  expect(server.asked).toBe(1 + 10 + 10_000_000);
});

test("what is here is not fetched again", async () => {
  const file = await open();
  await file.fetch([{ start: 0, end: 100 }]);
  const buffer = Buffer.alloc(50);
  await file.read(buffer, 25);
  expect(buffer).toEqual(server.bytes.subarray(25, 75));
  expect(server.asked).toBe(101);
  await file.read(buffer, 75);
  expect(buffer).toEqual(server.bytes.subarray(75, 125));
  const asked = server.asked;
  await file.read(buffer, 100_000);
  expect(server.asked).toBe(asked);
  expect(file.missingBytes([{ start: 0, end: 125 }])).toBe(0);
  await file.close();
});

test("several requests are under way at once, and no more than four", async () => {
  let now = 0;
  let most = 0;
  server.manner = (request, response, all) => {
    most = Math.max(most, ++now);
    setTimeout(() => {
      now--;
      honest(request, response, all);
    }, 50);
  };
  const file = await open();
  await file.fetch(Array.from({ length: 10 }, (_, i) => ({ start: i * 1000, end: i * 1000 + 10 })));
  await file.close();
  expect(most).toBe(4);
});

test("a part that breaks off goes on where it ended", async () => {
  server.manner = onRequest(2, (request, response, { bytes, headers }) => {
    const { start, end } = rangeOf(request, bytes);
    response.writeHead(206, {
      ...headers,
      "content-length": end - start,
      "content-range": `bytes ${start}-${end - 1}/${bytes.length}`,
    });
    response.write(bytes.subarray(start, start + 1_000_000), () => response.destroy());
  });
  const told: number[] = [];
  const file = await open({ onBytes: (bytes: number) => told.push(bytes) });
  await file.fetch([{ start: 0, end: 4_000_000 }]);
  await file.close();
  expect(readFileSync(target).subarray(0, 4_000_000).equals(server.bytes.subarray(0, 4_000_000))).toBe(true);
  const { start } = rangeOf(server.requests[2]!, server.bytes);
  expect(start).toBeGreaterThan(0);
  expect(start).toBeLessThanOrEqual(1_000_000);
  expect(told.at(-1)).toBe(4_000_000);
});

test("what the caller's function throws ends the call, and no server is asked again for it", async () => {
  const file = await open({
    onBytes: () => {
      throw new RangeError("enough");
    },
  });
  await expect(file.fetch([{ start: 0, end: 100 }])).rejects.toThrow(new RangeError("enough"));
  expect(server.requests).toHaveLength(2);
  await file.close();
});

test("a server that is busy for a moment is asked again, one that stays so is given up", async () => {
  const busy: Manner = (_request, response) => response.writeHead(503).end();
  server.manner = onRequest(2, busy);
  const file = await open();
  await file.fetch([{ start: 0, end: 100 }]);
  server.manner = busy;
  await expect(file.fetch([{ start: 200, end: 300 }])).rejects.toThrow("status 503 for bytes 200 to 299");
  await file.close();
});

const liar =
  (
    change: (range: { start: number; end: number }, size: number) => { range: string; body: [number, number] },
  ): Manner =>
  (request, response, { bytes, headers }) => {
    const asked = rangeOf(request, bytes);
    const { range, body } = change(asked, bytes.length);
    response.writeHead(206, { ...headers, "content-range": range }).end(bytes.subarray(...body));
  };

test.each<[string, Manner]>([
  ["ignores ranges", (_request, response, { bytes }) => response.writeHead(200).end(bytes)],
  ["refuses them", (_request, response) => response.writeHead(416).end()],
  ["names no range", liar(({ start, end }) => ({ range: "", body: [start, end] }))],
  [
    "gives another range",
    liar(({ start, end }, size) => ({ range: `bytes ${start + 1}-${end}/${size}`, body: [start, end] })),
  ],
  [
    "gives more than it says",
    liar(({ start, end }, size) => ({ range: `bytes ${start}-${end - 1}/${size}`, body: [start, end + 9] })),
  ],
  ["knows no size", liar(({ start, end }) => ({ range: `bytes ${start}-${end - 1}/*`, body: [start, end] }))],
  [
    "packs the bytes",
    (request, response, { bytes }) => {
      const { start, end } = rangeOf(request, bytes);
      response
        .writeHead(206, { "content-encoding": "br", "content-range": `bytes ${start}-${end - 1}/${SIZE}` })
        .end("x");
    },
  ],
])("a server that %s is refused", async (_title, manner) => {
  server.manner = manner;
  await expect(open()).rejects.toThrow(RangesRefused);
});

test.each<[string, Record<string, string>]>([
  ["by its ETag", { etag: '"first"' }],
  ["by its date", { "last-modified": "Mon, 01 Jan 2024 00:00:00 GMT" }],
  ["by its date where the ETag is a weak one", { etag: 'W/"x"', "last-modified": "Mon, 01 Jan 2024 00:00:00 GMT" }],
])("a file that changes between requests is noticed: %s", async (_title, headers) => {
  server.headers = headers;
  server.manner = (request, response, all) => {
    const version = headers.etag?.startsWith('"') ? headers.etag : headers["last-modified"];
    if (all.requests.length > 1) expect(request.headers["if-range"]).toBe(version);
    response.writeHead(all.requests.length > 2 ? 200 : 206, {
      ...headers,
      "content-range": `bytes ${rangeOf(request, all.bytes).start}-${rangeOf(request, all.bytes).end - 1}/${SIZE}`,
    });
    response.end(all.bytes.subarray(rangeOf(request, all.bytes).start, rangeOf(request, all.bytes).end));
  };
  const file = await open();
  await file.fetch([{ start: 0, end: 10 }]);
  await expect(file.fetch([{ start: 20, end: 30 }])).rejects.toThrow(RangesRefused);
  await file.close();
});

test("a file that changes under a server that does not look at If-Range is noticed, by its ETag and its size", async () => {
  for (const change of [() => (server.headers = { etag: '"second"' }), () => (server.bytes = Buffer.alloc(SIZE + 1))]) {
    server.headers = { etag: '"first"' };
    server.manner = (request, response, all) => {
      delete request.headers["if-range"];
      honest(request, response, all);
    };
    const file = await open();
    change();
    await expect(file.fetch([{ start: 0, end: 10 }])).rejects.toThrow("another file by the next request");
    await file.close();
  }
});

test("a file of another size than was known, or larger than allowed, is refused", async () => {
  await expect(open({ size: SIZE - 1 })).rejects.toThrow(`a file of ${SIZE} bytes and not ${SIZE - 1}`);
  await expect(open({ maxBytes: 1000 })).rejects.toThrow(RangesRefused);
});

test("a signal ends it", async () => {
  const controller = new AbortController();
  const file = await open({ signal: controller.signal });
  server.manner = (request, response, { bytes, headers }) => {
    const { start, end } = rangeOf(request, bytes);
    response.writeHead(206, { ...headers, "content-range": `bytes ${start}-${end - 1}/${SIZE}` }).write("some");
    controller.abort();
  };
  await expect(file.fetch([{ start: 0, end: 100 }])).rejects.toMatchObject({ code: "LENET5_ABORTED" });
  await file.close();
});

test("ranges are joined over small gaps", () => {
  const ranges = [
    { start: 50, end: 60 },
    { start: 0, end: 10 },
    { start: 5, end: 20 },
    { start: 25, end: 30 },
    { start: 7, end: 7 },
  ];
  expect(joined(ranges)).toEqual([
    { start: 0, end: 20 },
    { start: 25, end: 30 },
    { start: 50, end: 60 },
  ]);
  expect(joined(ranges, 5)).toEqual([
    { start: 0, end: 30 },
    { start: 50, end: 60 },
  ]);
});
